//! The proxy as it is shipped (`deploy/proxy`), as a real process before servers of a test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::child::GuardedChild;
use crate::edition::Edition;
use crate::wait::eventually;

/// `127.0.0.1:port` before two api-servers and two gateways. Ends when dropped.
pub struct Nginx {
    port: u16,
    directory: PathBuf,
    server: Mutex<GuardedChild>,
}

impl Nginx {
    /// Serves on this port with the shipped configuration. What it listens on and the addresses of the four behind it are
    /// another's, and nothing else: an address of numbers needs no `resolve`, which the nginx of older systems does not know.
    pub async fn start(port: u16, api_servers: [u16; 2], gateways: [u16; 2]) -> Self {
        Edition::need_services("a proxy as a process");
        let directory = tempfile::Builder::new().prefix("naru-nginx-").tempdir();
        let directory = directory.expect("a temporary directory").keep();
        // The master ends its workers when it is told to end, and not when it is killed.
        let server = Mutex::new(GuardedChild::new("TERM", Some(&directory)));
        let nginx = Self { port, directory, server };
        nginx.copy("nginx.conf", &[("listen 8080 ".to_owned(), format!("listen 127.0.0.1:{port} "))]);
        let names = ["api-server-1:8080", "api-server-2:8080", "chat-gateway-1:8081", "chat-gateway-2:8081"];
        let addresses: Vec<_> = std::iter::zip(names, api_servers.into_iter().chain(gateways))
            .map(|(name, port)| (format!("{name} resolve "), format!("127.0.0.1:{port} ")))
            .collect();
        nginx.copy("upstreams.conf", &addresses);
        nginx.run().await;
        nginx
    }

    fn copy(&self, name: &str, substitutions: &[(String, String)]) {
        let mut text = shipped(name);
        for (old, new) in substitutions {
            assert_eq!(text.matches(old.as_str()).count(), 1, "{name}: {old:?}");
            text = text.replace(old, new);
        }
        fs::write(self.directory.join(name), text).expect("our own folder can be written");
    }

    async fn run(&self) {
        let open = |name| File::create(self.directory.join(name)).expect("our own folder can be written");
        let mut command = Command::new(program());
        command.arg("-p").arg(&self.directory).arg("-c").arg(self.directory.join("nginx.conf"));
        command.args(["-e", "stderr", "-g", "daemon off;"]);
        command.stdout(open("access")).stderr(open("errors")).process_group(0);
        self.server().start(command);
        eventually("nginx accepts connections", async || {
            assert!(self.server().is_running(), "nginx ended:\n{}", self.errors());
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }

    /// As `nginx -s reload`: new workers take new connections, old ones keep what they have.
    pub fn reload(&self) {
        self.server().signal("HUP");
    }

    /// Whether an old worker still keeps connections after a reload.
    pub fn keeps_old_connections(&self) -> bool {
        let master = self.server().pid().expect("nginx runs").to_string();
        let processes = fs::read_dir("/proc").expect("the kernel lists processes");
        processes.flatten().any(|process| {
            let read = |name| fs::read_to_string(process.path().join(name)).unwrap_or_default();
            // The name in brackets, its state, its parent.
            let stat = read("stat");
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            parent == Some(master.as_str()) && read("cmdline").contains("is shutting down")
        })
    }

    /// The public API, as clients see it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where clients connect.
    pub fn websocket_url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// What it has logged of requests so far.
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.join("access")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// What it has complained of so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.directory.join("errors")).unwrap_or_default()
    }

    fn server(&self) -> MutexGuard<'_, GuardedChild> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file of `deploy/proxy`.
pub fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/proxy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Debian keeps it out of the PATH of who is not root.
fn program() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).is_file() { debian } else { "nginx" }
}

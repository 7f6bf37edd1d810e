//! Socket.IO with its Redis adapter as two Node processes, and sockets that speak as much of its protocol as they need.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use harness::child::GuardedChild;
use harness::ports::free_port;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::http::{HttpConnection, post};
use super::message;
use super::websocket::ListeningSocket;

/// Where npm's packages go: never among the sources.
const DIRECTORY: &str = "target/bench/peer";
const PROGRAM: &str = "server.mjs";
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../peer/package.json")),
    ("package-lock.json", include_str!("../../peer/package-lock.json")),
    (PROGRAM, include_str!("../../peer/server.mjs")),
];
/// 34 small packages take seconds; a registry that cannot be reached is not waited for.
const INSTALL_LIMIT: Duration = Duration::from_secs(90);
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// It verifies none.
const NO_TOKEN: &str = "none";

/// The program with its packages, ready to be started.
pub struct Installed {
    directory: PathBuf,
    /// As `node --version` tells it.
    pub node: String,
}

impl Installed {
    /// Installs what the lock file says. An error says why that cannot be: no Node, no npm, no registry.
    pub async fn prepare() -> anyhow::Result<Self> {
        let node = output("node", &["--version"], Path::new(".")).await?;
        let directory = PathBuf::from(DIRECTORY);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {DIRECTORY}"))?;
        let is_there = directory.join("node_modules").is_dir()
            && FILES.iter().all(|(name, text)| {
                fs::read_to_string(directory.join(name)).is_ok_and(|written| written == *text)
            });
        if !is_there {
            for (name, text) in FILES.iter().filter(|(name, _)| *name != PROGRAM) {
                fs::write(directory.join(name), text)?;
            }
            // Packages' own scripts are not run: none of these needs one.
            let arguments = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"];
            output("npm", &arguments, &directory).await?;
            // Last: it tells that all the others are there.
            fs::write(directory.join(PROGRAM), FILES[2].1)?;
        }
        Ok(Self { directory, node: node.trim().to_owned() })
    }
}

async fn output(program: &str, arguments: &[&str], directory: &Path) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(INSTALL_LIMIT, command.output()).await;
    let ended = ended.with_context(|| format!("{program} does not end"))?;
    let output = ended.with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed: {}", words.lines().next().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One of the two servers. It is killed when this is dropped, and when we end in any way.
pub struct SocketIo {
    _child: GuardedChild,
    pid: u32,
    address: String,
}

impl SocketIo {
    /// Starts the one with the sockets; returns when it listens, and hears what the other emits.
    pub async fn gateway(installed: &Installed, redis_url: &str) -> anyhow::Result<Self> {
        Self::start(installed, "gateway", redis_url).await
    }

    /// Starts the one that emits.
    pub async fn publisher(installed: &Installed, redis_url: &str) -> anyhow::Result<Self> {
        Self::start(installed, "publisher", redis_url).await
    }

    async fn start(installed: &Installed, role: &str, redis_url: &str) -> anyhow::Result<Self> {
        let port = free_port();
        let log = installed.directory.join(format!("{role}.log"));
        let mut command = Command::new("node");
        command.args([PROGRAM, role, &port.to_string(), redis_url]).current_dir(&installed.directory);
        command.env("NODE_ENV", "production").stdout(Stdio::null()).stderr(File::create(&log)?);
        // Ctrl-C in the terminal must reach us only: we end it.
        command.process_group(0);
        let mut child = GuardedChild::new("KILL", None);
        let pid = child.start(command).id();
        let address = format!("127.0.0.1:{port}");
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect(&address).await.is_err() {
            if let Some(status) = child.exit_status() {
                bail!("the {role} of Socket.IO ended: {status}, see {}", log.display());
            }
            if Instant::now() > limit {
                bail!("the {role} of Socket.IO does not listen");
            }
            sleep(POLL).await;
        }
        Ok(Self { _child: child, pid, address })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A socket that is in the room with this number.
    pub async fn listen(&self, room: usize) -> anyhow::Result<ListeningSocket> {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&room={room}", self.address);
        // Its first text is Engine.IO's handshake (`0{…}`).
        let mut socket = ListeningSocket::open(&url, NO_TOKEN).await?;
        // Connects to the main namespace; the answer (`40{…}`) and the event `ready` follow.
        socket.send("40").await?;
        let mut is_ready = false;
        while !is_ready {
            socket.next(|text| is_ready |= text.starts_with(br#"42["ready""#)).await?;
        }
        Ok(socket)
    }
}

/// The end that events are ordered over, of the server without sockets: what it emits reaches the other through Redis.
pub struct Emitter {
    connection: HttpConnection,
    base_url: String,
}

impl Emitter {
    pub async fn open(publisher: &SocketIo) -> anyhow::Result<Self> {
        let base_url = format!("http://{}", publisher.address);
        Ok(Self { connection: HttpConnection::open(&base_url).await?, base_url })
    }

    /// So many events to each of these rooms, each an entry with the fields and the length of ours. Answered when they are
    /// on their way to Redis.
    pub async fn emit(&mut self, rooms: Range<usize>, entries: usize) -> anyhow::Result<()> {
        let rooms: Vec<String> = rooms.map(|room| room.to_string()).collect();
        let order = json!({ "rooms": rooms, "entries": entries, "content": message::content() }).to_string();
        let request = post(&self.base_url, "/emit", NO_TOKEN, &order)?;
        let answer = self.connection.exchange(&request).await?;
        if answer.status != 204 {
            bail!("the publisher of Socket.IO answered {}", answer.status);
        }
        Ok(())
    }
}

//! A real PgBouncer in transaction mode, before a Postgres.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::child::GuardedChild;
use crate::edition::Edition;
use crate::ports::free_port;
use crate::postgres::{Postgres, unprivileged_owner};
use crate::wait::eventually;

/// Ends and leaves nothing behind when dropped.
pub struct PgBouncer {
    port: u16,
    postgres_port: u16,
    // Kept for its end.
    _server: Mutex<GuardedChild>,
}

impl PgBouncer {
    /// Each database's clients share `pool_size` connections to the server, a transaction at a time.
    pub async fn before(postgres: &Postgres, pool_size: u32) -> Self {
        Edition::need_services("a PgBouncer");
        // /tmp, as with Postgres: it runs as another user than root.
        let directory = tempfile::Builder::new().prefix("naru-pgbouncer-").tempdir_in("/tmp");
        let directory = directory.expect("a temporary directory").keep();
        let (port, postgres_port) = (free_port(), postgres.port());
        let configuration = directory.join("pgbouncer.ini");
        let options = format!(
            "[databases]\n* = host=127.0.0.1 port={postgres_port} user=naru\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {pool_size}\nmax_client_conn = 200\n\
             logfile = {}\n",
            directory.join("log").display()
        );
        fs::write(&configuration, options).expect("its options can be written");
        let mut command = Command::new(program());
        // Ctrl-C in the terminal is the watchdog's business.
        command.arg(&configuration).current_dir(&directory).process_group(0);
        if let Some((user, group)) = unprivileged_owner(&directory) {
            chown(&configuration, Some(user), Some(group)).expect("root may chown");
            command.uid(user).gid(group);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = GuardedChild::new("INT", Some(&directory));
        server.start(command);
        let bouncer = Self { port, postgres_port, _server: Mutex::new(server) };
        eventually("PgBouncer answers", async || {
            let url = format!("postgres://naru@127.0.0.1:{port}/postgres");
            // It knows few options of a connection, and this is not one of them.
            let options: PgConnectOptions = url.parse().expect("a URL of ours");
            options.extra_float_digits(None).connect().await.is_ok()
        })
        .await;
        bouncer
    }

    /// The same database, through this.
    pub fn through(&self, url: &str) -> String {
        url.replacen(&format!(":{}", self.postgres_port), &format!(":{}", self.port), 1)
    }
}

/// Debian keeps it where only root's PATH may lead.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.into_iter().map(|folder| folder.join("pgbouncer")).find(|program| program.is_file());
    found.expect("pgbouncer: run deploy/local/install-servers --for-tests")
}

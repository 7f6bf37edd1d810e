//! A real PostgreSQL: one for the whole test run, and private ones for tests that stop it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

use crate::child::GuardedChild;
use crate::edition::Edition;
use crate::ports::free_port;
use crate::postgres_programs::find_programs;
use crate::wait::eventually;

const TEMPLATE: &str = "naru_template";

/// One server with its own data directory, on a port that it keeps when it is stopped and started.
pub struct Postgres {
    port: u16,
    directory: PathBuf,
    programs: PathBuf,
    /// Whom the server runs as when the tests run as root, which PostgreSQL refuses.
    run_as: Option<(u32, u32)>,
    /// MiB of the disk that databases of [`Postgres::database_on_small_disk`] lie on.
    small_disk: Option<u32>,
    /// Keeps what it has committed even when the machine crashes, as in production.
    is_durable: bool,
    server: Mutex<GuardedChild>,
    template: OnceCell<()>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this process share.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::start_private).await
    }

    /// A server of the caller's own, which may be stopped; it ends and leaves nothing behind when dropped.
    pub async fn start_private() -> Self {
        Self::start_with(None, false).await
    }

    /// A private server that pays for every commit what production pays, for measurements.
    pub async fn start_durable() -> Self {
        Self::start_with(None, true).await
    }

    /// The same with a small disk besides, which is gone when the server ends.
    pub async fn start_with_small_disk(mebibytes: u32) -> Self {
        Self::start_with(Some(mebibytes), false).await
    }

    async fn start_with(small_disk: Option<u32>, is_durable: bool) -> Self {
        Edition::need_services("a Postgres");
        let programs = find_programs();
        let directory = new_directory();
        let run_as = unprivileged_owner(&directory);
        let server = Mutex::new(GuardedChild::new("QUIT", Some(&directory)));
        let postgres = Self {
            port: free_port(),
            directory,
            programs,
            run_as,
            small_disk,
            is_durable,
            server,
            template: OnceCell::new(),
            databases: AtomicU32::new(0),
        };
        postgres.initdb().await;
        postgres.start().await;
        postgres
    }

    /// Starts the server again, on the same port, with the same data.
    pub async fn start(&self) {
        let mut command = match self.small_disk {
            Some(mebibytes) => self.command_with_small_disk("postgres", mebibytes),
            None => self.command("postgres"),
        };
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-c", &format!("port={}", self.port), "-c", "max_connections=400"]);
        if !self.is_durable {
            // Only a crash of the machine could tell the difference; that of a process loses nothing.
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = self.log();
        command.stdout(log.try_clone().expect("a file handle can be cloned")).stderr(log);
        self.server().start(command);
        eventually("PostgreSQL answers", async || {
            assert!(self.server().is_running(), "PostgreSQL ended:\n{}", self.log_tail());
            PgConnection::connect(&self.url("postgres")).await.is_ok()
        })
        .await;
    }

    /// Ends the server as a crash would: at once, with every connection cut.
    pub fn stop(&self) {
        self.server().end();
    }

    /// Freezes the server: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.server().signal("STOP");
    }

    /// Ends a [`Postgres::pause`].
    pub fn resume(&self) {
        self.server().signal("CONT");
    }

    /// The URL of a new database without any table.
    pub async fn empty_database(&self) -> String {
        let name = self.new_name();
        self.administer(&format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// The URL of a new database with our migrations applied.
    pub async fn fresh_database(&self) -> String {
        self.template.get_or_init(|| self.make_template()).await;
        let name = self.new_name();
        self.administer(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await;
        self.url(&name)
    }

    /// The URL of a new database, with our migrations applied, all of whose tables lie on the small disk.
    pub async fn database_on_small_disk(&self) -> String {
        let name = self.new_name();
        let location = self.small_disk_directory();
        self.administer(&format!("CREATE TABLESPACE small LOCATION '{}'", location.display())).await;
        self.administer(&format!("CREATE DATABASE {name} TABLESPACE small")).await;
        let url = self.url(&name);
        api_server::store::migrate(&url).await.expect("the migrations apply");
        url
    }

    /// The server's first process, of which the others are children. Panics while it is stopped.
    pub fn pid(&self) -> u32 {
        self.server().pid().expect("PostgreSQL runs")
    }

    /// Where clients reach the server, for a proxy in front of it.
    pub fn port(&self) -> u16 {
        self.port
    }

    // Migrating takes longer than copying, and every test wants a database of its own.
    async fn make_template(&self) {
        self.administer(&format!("CREATE DATABASE {TEMPLATE}")).await;
        api_server::store::migrate(&self.url(TEMPLATE)).await.expect("the migrations apply");
    }

    async fn administer(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("PostgreSQL answers");
        let result = connection.execute(sqlx::AssertSqlSafe(statement)).await;
        result.unwrap_or_else(|e| panic!("{statement}: {e}"));
        // Closed politely, or the log of a failing test is full of resets.
        let _ = connection.close().await;
    }

    async fn initdb(&self) {
        let mut command = self.command("initdb");
        command.args(["--username=naru", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        let output =
            tokio::task::spawn_blocking(move || command.output()).await.expect("initdb is not cancelled");
        let output = output.expect("initdb starts");
        assert!(output.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        // The server's user may not be allowed to enter the directory in which the tests run.
        command.current_dir(&self.directory).env("LC_ALL", "C").arg("-D").arg(self.directory.join("data"));
        // Like a terminal's Ctrl-C, a signal to our group is the watchdog's business.
        command.process_group(0);
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
        command
    }

    /// The server in a mount namespace of its own: what is mounted there ends with it, and nobody else sees it.
    fn command_with_small_disk(&self, program: &str, mebibytes: u32) -> Command {
        let location = self.small_disk_directory();
        let mut options = format!("size={mebibytes}m,mode=0700");
        let mut command = Command::new("unshare");
        command.current_dir(&self.directory).env("LC_ALL", "C").process_group(0);
        match self.run_as {
            Some((user, group)) => options.push_str(&format!(",uid={user},gid={group}")),
            None => drop(command.args(["--user", "--map-current-user", "--keep-caps"])),
        }
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\"; shift 2; exec \"$@\"";
        command.args(["--mount", "sh", "-ec", script, "sh", &options]).arg(location);
        if let Some((user, group)) = self.run_as {
            command.arg("setpriv").arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.arg("--clear-groups");
        }
        command.arg(self.programs.join(program)).arg("-D").arg(self.directory.join("data"));
        command
    }

    fn small_disk_directory(&self) -> PathBuf {
        let location = self.directory.join("small");
        fs::create_dir_all(&location).expect("the server's directory can be written");
        location
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://naru@127.0.0.1:{}/{database}", self.port)
    }

    fn new_name(&self) -> String {
        format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed))
    }

    fn server(&self) -> MutexGuard<'_, GuardedChild> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> File {
        let path = self.directory.join("log");
        File::options().create(true).append(true).open(path).expect("the log can be written")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// A directory that the watchdog will remove; its path holds no secret and no other user may enter it.
fn new_directory() -> PathBuf {
    // Root's own TMPDIR may be closed to the user as whom the server runs; /tmp never is.
    let base = if is_root() { PathBuf::from("/tmp") } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("naru-postgres-").tempdir_in(base).expect("a temporary directory").keep()
}

fn is_root() -> bool {
    // std has no geteuid; what we create belongs to us.
    tempfile::tempfile().and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.uid() == 0)
}

/// Gives the directory to whom a server runs as that refuses to run as root; `None`: the tests do not run as root.
pub(crate) fn unprivileged_owner(directory: &Path) -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let owner = ["postgres", "nobody"].into_iter().find_map(|name| Some((id("-u", name)?, id("-g", name)?)));
    let (user, group) = owner.expect("a user named postgres or nobody, as PostgreSQL does not run as root");
    chown(directory, Some(user), Some(group)).expect("root may chown");
    Some((user, group))
}

fn id(option: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([option, user]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

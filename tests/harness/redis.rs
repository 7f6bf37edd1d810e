//! A real Redis: one for the whole test run, and private ones for tests that stop or empty it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, FromRedisValue, cmd};
use tokio::sync::OnceCell;

use crate::child::GuardedChild;
use crate::edition::Edition;
use crate::ports::free_port;
use crate::wait::eventually;

/// One server, on a port that it keeps when it is stopped and started.
pub struct Redis {
    port: u16,
    directory: PathBuf,
    /// Beside those that every server gets.
    flags: Vec<String>,
    server: Mutex<GuardedChild>,
    prefixes: AtomicU32,
}

impl Redis {
    /// The server that all tests of this process share. Tests keep apart by [`Redis::fresh_prefix`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED.get_or_init(Self::start_private).await
    }

    /// A server of the caller's own, which may be stopped, frozen and emptied; it ends when dropped.
    pub async fn start_private() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// As [`Redis::start_private`], with flags of the caller's.
    pub(crate) async fn start_with(flags: Vec<String>) -> Self {
        Edition::need_services("a Redis");
        let directory = tempfile::Builder::new().prefix("naru-redis-").tempdir();
        let directory = directory.expect("a temporary directory").keep();
        // It writes nothing that would be worth an orderly end.
        let server = Mutex::new(GuardedChild::new("KILL", Some(&directory)));
        let redis = Self { port: free_port(), directory, flags, server, prefixes: AtomicU32::new(0) };
        redis.start_empty().await;
        redis
    }

    /// Starts the server again on the same port. It has forgotten everything.
    pub async fn start_empty(&self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&self.directory);
        command.args(["--logfile", "log"]).args(&self.flags).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C in the terminal is the watchdog's business.
        command.process_group(0);
        self.server().start(command);
        eventually("redis-server answers", async || {
            assert!(self.server().is_running(), "redis-server ended:\n{}", self.log());
            self.connection().await.is_some()
        })
        .await;
    }

    /// Kills the server.
    pub fn stop(&self) {
        self.server().end();
    }

    /// Freezes the server: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.server().signal("STOP");
    }

    /// Ends a [`Redis::pause`].
    pub fn resume(&self) {
        self.server().signal("CONT");
    }

    /// Empties the server while it runs.
    pub async fn flush(&self) {
        self.ask::<()>("FLUSHALL", &[]).await;
    }

    /// A key prefix that no other test of this process uses.
    pub fn fresh_prefix(&self) -> String {
        format!("test-{}", self.prefixes.fetch_add(1, Ordering::Relaxed))
    }

    /// How often the server has executed this command (`mget`), calls from within scripts included.
    pub async fn commands_processed(&self, name: &str) -> u64 {
        let statistics: String = self.ask("INFO", &["commandstats"]).await;
        let start = format!("cmdstat_{}:calls=", name.to_lowercase());
        let line = statistics.lines().find_map(|line| line.strip_prefix(&start));
        let calls = line.and_then(|rest| rest.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("INFO shows a number"))
    }

    /// Runs one command, for tests that look at the registry or spoil it.
    pub async fn ask<T: FromRedisValue>(&self, command: &str, arguments: &[&str]) -> T {
        let mut connection = self.connection().await.expect("redis-server answers");
        let answer = cmd(command).arg(arguments).query_async(&mut connection).await;
        answer.unwrap_or_else(|e| panic!("{command} {arguments:?}: {e}"))
    }

    /// `redis://…`, as REDIS_URL takes it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's process. Panics while it is stopped.
    pub fn pid(&self) -> u32 {
        self.server().pid().expect("redis-server runs")
    }

    /// Where clients reach the server, for a proxy in front of it.
    pub fn port(&self) -> u16 {
        self.port
    }

    // A connection for each question: one that is kept would break with every stop and freeze.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        let client = Client::open(self.url()).expect("our own URL is valid");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        // While it loads, Redis accepts connections and refuses commands.
        cmd("PING").query_async::<()>(&mut connection).await.ok()?;
        Some(connection)
    }

    fn server(&self) -> MutexGuard<'_, GuardedChild> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

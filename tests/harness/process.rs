//! Our own services as real processes, for tests that kill them.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::child::GuardedChild;
use crate::wait::{eventually, eventually_some};

const KEPT_LINES: usize = 2_000;
/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// One program of this workspace, running. It is killed when dropped, and when the test process ends in any way.
pub struct ServiceProcess {
    name: String,
    child: Mutex<GuardedChild>,
    output: Arc<Mutex<VecDeque<String>>>,
}

impl ServiceProcess {
    /// Starts the program with these arguments and with no other environment than this.
    pub fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program(name));
        command.args(arguments).env_clear().envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in the terminal must reach the tests only, which then end the process.
        command.process_group(0);
        let mut guarded = GuardedChild::new("KILL", None);
        let output = Arc::default();
        let child = guarded.start(command);
        keep_lines(child.stdout.take(), &output);
        keep_lines(child.stderr.take(), &output);
        Self { name: name.to_owned(), child: Mutex::new(guarded), output }
    }

    /// Runs the program to its end: what it printed (stdout, stderr), and how it ended.
    pub fn run(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
        let mut command = Command::new(program(name));
        command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
        command.output().unwrap_or_else(|e| panic!("{name} starts: {e}"))
    }

    /// Waits until `url` (a `/readyz`) answers 200.
    pub async fn wait_ready(&self, url: &str) {
        let client = reqwest::Client::new();
        let what = format!("{} is ready at {url}", self.name);
        eventually(&what, async || {
            assert!(self.child().is_running(), "{} ended before it was ready", self.name);
            client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// SIGKILL, as a machine that loses power would.
    pub async fn kill9(&self) {
        self.child().signal("KILL");
        eventually("a killed process is gone", async || !self.child().is_running()).await;
    }

    /// SIGTERM, as an orchestrator would.
    pub fn sigterm(&self) {
        self.child().signal("TERM");
    }

    /// Freezes the process; [`ServiceProcess::resume`] ends that.
    pub fn pause(&self) {
        self.child().signal("STOP");
    }

    /// Ends a [`ServiceProcess::pause`].
    pub fn resume(&self) {
        self.child().signal("CONT");
    }

    /// How the process ends, within the usual limit.
    pub async fn wait_exit(&self) -> ExitStatus {
        eventually_some(&format!("{} ends", self.name), async || self.child().exit_status()).await
    }

    /// How the process ends, for what takes its time by design; `None`: not by then.
    pub async fn wait_exit_by(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.child().exit_status() {
                None if Instant::now() < deadline => {}
                status => return status,
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for a line of output that contains `text`, and returns it.
    pub async fn wait_line(&self, text: &str) -> String {
        let what = format!("{} prints {text:?}", self.name);
        eventually_some(&what, async || self.output().into_iter().find(|line| line.contains(text))).await
    }

    /// Checks that the process lives on for a while.
    pub async fn assert_stays_up(&self, period: Duration) {
        tokio::time::sleep(period).await;
        assert!(self.child().is_running(), "{} ended", self.name);
    }

    /// What the process has printed lately, stdout and stderr.
    pub fn output(&self) -> Vec<String> {
        lock(&self.output).iter().cloned().collect()
    }

    /// The process's number. Panics when it has ended.
    pub fn pid(&self) -> u32 {
        self.child().pid().unwrap_or_else(|| panic!("{} runs", self.name))
    }

    fn child(&self) -> MutexGuard<'_, GuardedChild> {
        lock(&self.child)
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.output();
            eprintln!("--- the last {} lines of {}:\n{}", lines.len(), self.name, lines.join("\n"));
        }
    }
}

/// Reads a pipe to its end, whatever it brings: a program that nobody reads from would block.
fn keep_lines(pipe: Option<impl Read + Send + 'static>, output: &Arc<Mutex<VecDeque<String>>>) {
    let mut reader = BufReader::new(pipe.expect("the pipe was asked for"));
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let mut kept = lock(&output);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
}

/// `target/{profile}/{name}`: beside a program that asks, and beside the directory of a test's executable.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let directory = own.parent().expect("a program lies in a directory");
    let profile = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    let program = profile.expect("tests lie in target/{profile}/deps").join(name);
    assert!(
        program.is_file(),
        "{} is missing: tests/run builds it, and so does `cargo build --workspace --bins`",
        program.display()
    );
    program
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

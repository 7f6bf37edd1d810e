//! A child process that never outlives the test process.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::watchdog::Watchdog;

/// How long an ordered end may take before it becomes a SIGKILL.
const END_LIMIT: Duration = Duration::from_secs(10);

/// At most one process at a time: it can be started, ended, and started again.
pub struct GuardedChild {
    child: Option<Child>,
    last_status: Option<ExitStatus>,
    watchdog: Watchdog,
    end_signal: &'static str,
}

impl GuardedChild {
    /// `end_signal` makes the process end at once; `directory` is removed when everything is over.
    pub fn new(end_signal: &'static str, directory: Option<&Path>) -> Self {
        Self { child: None, last_status: None, watchdog: Watchdog::start(end_signal, directory), end_signal }
    }

    /// Starts the process; the returned child still holds the pipes that the command asked for.
    pub fn start(&mut self, mut command: Command) -> &mut Child {
        assert!(!self.is_running(), "already started");
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{} starts: {e}", program.display()));
        self.watchdog.guard(child.id());
        self.child.insert(child)
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.exit_status();
        self.child.is_some()
    }

    /// Its number; `None`: it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How the process ended, if it has. Afterwards it can be started again.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if let Some(child) = &mut self.child {
            let status = child.try_wait().expect("our own child can be waited for")?;
            self.watchdog.guard_nothing();
            self.child = None;
            self.last_status = Some(status);
        }
        self.last_status
    }

    /// Sends a signal by name (`TERM`, `STOP`), nothing to a process that has ended.
    pub fn signal(&mut self, name: &str) {
        // The process is ours and has not been waited for: its id cannot be somebody else's.
        if let Some(child) = &self.child {
            // The shell's own kill: a bare Debian has no program of that name.
            let mut kill = Command::new("sh");
            kill.args(["-c", r#"kill -s "$1" "$2""#, "kill", name, &child.id().to_string()]);
            kill.stderr(Stdio::null()).status().expect("sh starts");
        }
    }

    /// Ends the process and waits for it. Blocks, for a few milliseconds as a rule: `drop` cannot await.
    pub fn end(&mut self) {
        self.signal("CONT");
        self.signal(self.end_signal);
        let deadline = Instant::now() + END_LIMIT;
        while self.is_running() {
            if Instant::now() > deadline {
                self.signal("KILL");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for GuardedChild {
    fn drop(&mut self) {
        self.end();
    }
}

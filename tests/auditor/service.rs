//! One api-server or gateway as a process that is started again whenever it ends, as an orchestrator would.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::child::GuardedChild;

use crate::random::Random;

const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Service {
    pub name: String,
    program: PathBuf,
    flags: Vec<String>,
    log: PathBuf,
    child: Mutex<GuardedChild>,
}

impl Service {
    pub fn start(name: &str, program: &Path, flags: Vec<String>, logs: &Path) -> Arc<Self> {
        let service = Arc::new(Self {
            name: name.to_owned(),
            program: program.to_owned(),
            flags,
            log: logs.join(format!("{name}.log")),
            child: Mutex::new(GuardedChild::new("KILL", None)),
        });
        service.start_process();
        service
    }

    /// Starts the process again a short random time after each of its ends; runs until it is aborted.
    pub async fn keep_running(self: Arc<Self>, mut random: Random) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.child().is_running() {
                tokio::time::sleep(random.millis(300, 2_000)).await;
                self.start_process();
            }
        }
    }

    /// A signal by name, such as `KILL`.
    pub fn signal(&self, signal: &str) {
        self.child().signal(signal);
    }

    fn start_process(&self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let mut command = Command::new(&self.program);
        command.args(&self.flags).env_clear();
        command.stdout(Stdio::from(log.try_clone().expect("a file handle can be cloned"))).stderr(log);
        // Ctrl-C in the terminal must reach the auditor only, which then ends the process.
        command.process_group(0);
        self.child().start(command);
    }

    fn child(&self) -> MutexGuard<'_, GuardedChild> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

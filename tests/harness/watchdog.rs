//! Cleans up behind a test process however it ends, SIGKILL included.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

// Every line on stdin names the process to guard from now on (an empty one: none). End of file means that the test
// process has ended, since nobody else holds the other end of the pipe. The wait before `rm` is bounded: where
// process 1 does not reap orphans, a dead server stays visible for ever.
const SCRIPT: &str = r#"
pid=
while IFS= read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  kill -s "$1" "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
  kill -s KILL "$pid" 2>/dev/null
fi
[ -z "$2" ] || rm -rf "$2"
"#;

/// A shell that outlives us by a moment: it ends the guarded process and removes the directory.
pub struct Watchdog {
    shell: Child,
    /// Taken on drop, which is the end of file for the shell.
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// `signal` is what makes the guarded process end at once; `directory` is removed in the end.
    pub fn start(signal: &str, directory: Option<&Path>) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog", signal])
            .arg(directory.unwrap_or(Path::new("")))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must not end the shell before its work is done.
            .process_group(0)
            .spawn()
            .expect("sh starts");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }

    /// From now on this process is the guarded one.
    pub fn guard(&mut self, pid: u32) {
        self.tell(&pid.to_string());
    }

    /// The guarded process has been waited for: its id may belong to somebody else soon.
    pub fn guard_nothing(&mut self) {
        self.tell("");
    }

    fn tell(&mut self, line: &str) {
        let pipe = self.pipe.as_mut().expect("the pipe is open until drop");
        writeln!(pipe, "{line}").expect("the watchdog reads until we end");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Whoever drops a server may rely on its directory being gone.
        let _ = self.shell.wait();
    }
}

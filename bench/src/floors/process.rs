//! A floor as a process of its own, whose CPU time and memory can be told apart from the load's.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::bail;
use harness::child::GuardedChild;
use harness::ports::free_port;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// The first argument that makes this program a floor.
pub const ARGUMENT: &str = "floor";
/// The program that runs, even when another has been built in its place since.
const OURSELVES: &str = "/proc/self/exe";
/// A debug build on a busy machine takes a tenth of that.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// This very program, serving a floor. It is killed when this is dropped, and when we end in any way.
pub struct FloorProcess {
    child: GuardedChild,
    address: String,
    pid: u32,
}

impl FloorProcess {
    /// Starts `floors::serve(name, [address, args…])` on a free port of this machine, and waits until that port accepts
    /// connections.
    pub async fn start(name: &str, args: &[String]) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(OURSELVES);
        command.args([ARGUMENT, name, &address]).args(args).stdout(Stdio::null());
        // Ctrl-C in the terminal must reach us only: we end the floor.
        command.process_group(0);
        let mut child = GuardedChild::new("KILL", None);
        let pid = child.start(command).id();
        let mut floor = Self { child, address, pid };
        floor.wait_until_it_accepts(name).await?;
        Ok(floor)
    }

    async fn wait_until_it_accepts(&mut self, name: &str) -> anyhow::Result<()> {
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect(&self.address).await.is_err() {
            if let Some(status) = self.child.exit_status() {
                bail!("the floor {name} ended before it accepted anything: {status}");
            }
            if Instant::now() > limit {
                bail!("the floor {name} does not accept connections");
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }
}

//! Lets the load tool go before what it measures, as if it had cores of its own: one that waits for a core measures itself.

use std::process::Command;

use anyhow::{Context, bail};

use super::cluster::{Cluster, Service};
use crate::meters::threads::{family, thread_ids};

/// A tenth of the load tool's share of a core that both want: each step is a factor of 1.25 (sched(7)).
const NICENESS: &str = "10";

/// While this lives the load tool goes first. What it wakes up to do still waits until whoever runs has had its slice
/// (`SCHED_BATCH`): each answer would else take the core from the server that has just written it.
pub struct Precedence(());

impl Precedence {
    /// Over the services, Postgres and Redis of this cluster, which stay behind.
    pub fn over(cluster: &Cluster) -> anyhow::Result<Self> {
        let services = cluster.apis.iter().chain(&cluster.gateways).map(Service::pid);
        let processes = services.chain([cluster.redis.pid()]).chain(family(cluster.postgres.pid())?);
        // Linux keeps it for each thread. Those that start later inherit it.
        let threads: Vec<String> = processes.flat_map(thread_ids).collect();
        run(Command::new("renice").args(["-n", NICENESS, "-p"]).args(threads))?;
        set_policy("--batch")?;
        Ok(Self(()))
    }
}

impl Drop for Precedence {
    fn drop(&mut self) {
        // Who may do the one may do the other; the next scenario would be a little off.
        let _set = set_policy("--other");
    }
}

/// Of all our threads.
fn set_policy(policy: &str) -> anyhow::Result<()> {
    let own = std::process::id().to_string();
    run(Command::new("chrt").args([policy, "--all-tasks", "--pid", "0", &own]))
}

/// Both are in Debian's `util-linux` and `bsdutils`, which every system has.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{name} does not start"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

//! CPU time of other processes, as the kernel counts it (`/proc`, Linux).

use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::threads::{self, family};
use crate::site::cluster::{Cluster, Service};

/// A clock tick of `/proc/PID/stat`: USER_HZ is 100 on every Linux that Rust runs on (proc(5), sysconf(3)).
const TICK: Duration = Duration::from_millis(10);

/// CPU time, user and kernel, of each part of a cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub apis: Duration,
    pub gateways: Duration,
    pub postgres: Duration,
    pub redis: Duration,
    /// This process: the load, and floors that run in it.
    pub load: Duration,
}

impl Cpu {
    /// So far.
    pub fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let all = |services: &[Service]| {
            services.iter().map(|service| of_process(service.pid())).sum::<anyhow::Result<Duration>>()
        };
        Ok(Self {
            apis: all(&cluster.apis)?,
            gateways: all(&cluster.gateways)?,
            postgres: of_family(cluster.postgres.pid())?,
            redis: of_process(cluster.redis.pid())?,
            load: of_process(std::process::id())?,
        })
    }

    /// Between an earlier moment and this one.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            apis: self.apis.saturating_sub(earlier.apis),
            gateways: self.gateways.saturating_sub(earlier.gateways),
            postgres: self.postgres.saturating_sub(earlier.postgres),
            redis: self.redis.saturating_sub(earlier.redis),
            load: self.load.saturating_sub(earlier.load),
        }
    }

    /// Everything but the load.
    pub fn of_what_is_measured(&self) -> Duration {
        self.apis + self.gateways + self.postgres + self.redis
    }
}

/// Of one process with all its threads. What its children used is not in it.
pub fn of_process(pid: u32) -> anyhow::Result<Duration> {
    Ok(Times::of(pid)?.own)
}

/// The same to the nanosecond and not to the hundredth of a second, of the threads that are alive: for a process that
/// keeps its threads.
pub fn of_threads(pid: u32) -> anyhow::Result<Duration> {
    match threads::ran(pid) {
        // A kernel that was built without it.
        Duration::ZERO => of_process(pid),
        time => Ok(time),
    }
}

/// Of a process, its children, and those that have ended.
fn of_family(pid: u32) -> anyhow::Result<Duration> {
    let parent = Times::of(pid)?;
    // One that has ended since is in its parent's count the next time.
    let living = family(pid)?.into_iter().skip(1).filter_map(|child| of_process(child).ok());
    Ok(parent.own + parent.of_ended_children + living.sum::<Duration>())
}

struct Times {
    own: Duration,
    of_ended_children: Duration,
}

impl Times {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        let stat = stat.with_context(|| format!("process {pid} cannot be looked at"))?;
        // The second field is the program's name in parentheses, in which anything may be.
        let (_, after_name) = stat.rsplit_once(')').context("/proc/PID/stat has another shape")?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let number =
            |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        // Numbered as in proc(5): 14 utime, 15 stime, 16 cutime, 17 cstime.
        Ok(Self {
            own: TICK * (number(14) + number(15)),
            of_ended_children: TICK * (number(16) + number(17)),
        })
    }
}

/// CPU time of this thread or process for one thing.
pub fn microseconds_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

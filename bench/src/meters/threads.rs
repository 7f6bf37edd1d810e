//! Who wants a core and who has one: time that threads of other processes run, and wait to run (`/proc`, Linux).

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::site::cluster::{Cluster, Service};

/// A thread's time so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    ran: Duration,
    /// Ready to run, without a core.
    waited: Duration,
}

/// All threads of a cluster and of this process, at one moment.
pub struct Threads(Vec<(&'static str, HashMap<String, Times>)>);

/// Of a process, the thread that slept least, in shares of the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Busiest {
    pub process: &'static str,
    pub ran: f64,
    pub waited: f64,
}

impl Threads {
    pub fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let all = |services: &[Service]| services.iter().map(Service::pid).collect();
        let groups: [(_, Vec<u32>); 5] = [
            ("load tool", vec![std::process::id()]),
            ("api-server", all(&cluster.apis)),
            ("gateway", all(&cluster.gateways)),
            ("Postgres", family(cluster.postgres.pid())?),
            ("Redis", vec![cluster.redis.pid()]),
        ];
        let times = |processes: Vec<u32>| processes.into_iter().flat_map(threads).collect();
        Ok(Self(groups.map(|(name, processes)| (name, times(processes))).into()))
    }

    /// Since an earlier moment, `passed` ago.
    pub fn busiest_since(&self, earlier: &Self, passed: Duration) -> Vec<Busiest> {
        let share = |now: Duration, before: Duration| now.saturating_sub(before).div_duration_f64(passed);
        let of_process = |((process, now), (_, before)): (&(&'static str, _), &(_, HashMap<_, Times>))| {
            let now: &HashMap<String, Times> = now;
            let shares = now.iter().map(|(thread, now)| {
                let before = before.get(thread).copied().unwrap_or_default();
                (share(now.ran, before.ran), share(now.waited, before.waited))
            });
            let (ran, waited) = shares.max_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)))?;
            Some(Busiest { process, ran, waited })
        };
        self.0.iter().zip(&earlier.0).filter_map(of_process).collect()
    }
}

/// A process and its children.
pub fn family(process: u32) -> anyhow::Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.with_context(|| format!("process {process} cannot be looked at"))?;
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    Ok(std::iter::once(process).chain(children).collect())
}

/// The ids of a process's threads; none when it has ended.
pub fn thread_ids(process: u32) -> Vec<String> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    threads.filter_map(|thread| thread.ok()?.file_name().into_string().ok()).collect()
}

/// What all threads of a process that are alive have run, to the nanosecond.
pub fn ran(process: u32) -> Duration {
    threads(process).into_iter().map(|(_, times)| times.ran).sum()
}

/// By id.
fn threads(process: u32) -> Vec<(String, Times)> {
    let times = |id: String| {
        let schedstat = fs::read_to_string(format!("/proc/{process}/task/{id}/schedstat")).ok()?;
        Some((id, parse(&schedstat)?))
    };
    thread_ids(process).into_iter().filter_map(times).collect()
}

/// Nanoseconds on a CPU, nanoseconds of waiting for one, and how often (the kernel's scheduler/sched-stats).
fn parse(schedstat: &str) -> Option<Times> {
    let mut numbers = schedstat.split_whitespace().map(|number| number.parse().map(Duration::from_nanos));
    Some(Times { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_slept_least_is_told() {
        let at = |ran, waited| parse(&format!("{ran} {waited} 7")).unwrap();
        let threads = |of: &[(&str, Times)]| {
            Threads(vec![("server", of.iter().map(|(id, times)| ((*id).to_owned(), *times)).collect())])
        };
        let before = threads(&[("1", at(500, 0)), ("2", at(0, 100))]);
        let now = threads(&[("1", at(900, 0)), ("2", at(250, 600))]);
        let busiest = now.busiest_since(&before, Duration::from_nanos(1_000));
        assert_eq!(busiest, [Busiest { process: "server", ran: 0.25, waited: 0.5 }]);
    }

    #[test]
    fn this_thread_has_run() {
        let own = threads(std::process::id());
        assert!(own.iter().any(|(_, times)| times.ran > Duration::ZERO));
    }
}

//! Takes push jobs that are due, as many as there are places, and holds back what may not be pushed now.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::PushSender;
use super::alarm::Alarm;
use super::attempt::Attempts;
use super::back_off::held_back;
use super::budgets::{Budgets, PushQuotas};
use super::faults::{Faults, Room};
use super::settler::Settler;
use super::traces::PushTraces;
use crate::metrics::{BudgetLabels, Metrics};
use crate::store::{PushJob, Store};

/// Jobs taken by one statement.
const BATCH: usize = 100;
/// Longer than a push waits for its place and takes. After a crash the jobs are due again this late.
const LEASE: Duration = Duration::from_secs(60);
/// While the project has no budget, jobs that are taken in vain are given back; this bounds how many: those of one
/// look a second.
const SHORTEST_STOP: Duration = Duration::from_secs(1);

pub struct PushWorker {
    pub store: Arc<dyn Store>,
    pub sender: Arc<dyn PushSender>,
    pub metrics: Metrics,
    pub hide_content: bool,
    /// Pushes at one time, at least 1.
    pub in_flight: usize,
    /// How long messages gather before a device is told of more.
    pub fold_window: Duration,
    /// How long nothing is tried after our credentials were refused.
    pub fault_pause: Duration,
    pub quotas: PushQuotas,
    /// The api-servers that share the quotas; 0 counts as 1.
    pub live_servers: Arc<AtomicU32>,
    pub traces: PushTraces,
}

impl PushWorker {
    /// Runs until `stopping`; then finishes what is in flight and gives back what waits for its place. `wake` says that jobs have begun to wait, which are due
    /// after the fold window.
    pub async fn run(self, wake: Arc<Notify>, stopping: CancellationToken) {
        let mut alarm = Alarm::new(wake.clone(), self.fold_window);
        let (settler, settling) = Settler::start(self.store.clone(), self.fold_window, wake);
        let most = self.in_flight.max(1);
        let mut places = Places {
            budgets: Budgets::new(self.quotas, self.live_servers),
            pushes: JoinSet::new(),
            most,
            attempts: Arc::new(Attempts {
                store: self.store.clone(),
                sender: self.sender,
                metrics: self.metrics.clone(),
                hide_content: self.hide_content,
                fault_pause: self.fault_pause,
                faults: Mutex::new(Faults::new(Instant::now(), self.fault_pause)),
                places: Semaphore::new(most),
                settler,
                traces: self.traces,
                stopping: stopping.clone(),
            }),
            metrics: self.metrics,
        };
        let mut is_down = false;
        loop {
            let room = tokio::select! {
                () = stopping.cancelled() => break,
                room = places.room() => room,
            };
            let leased_at = Instant::now();
            // Not given up halfway: what it has taken would wait for the lease to end.
            let jobs = match self.store.lease_pushes(room, LEASE).await {
                Ok(jobs) => {
                    if std::mem::take(&mut is_down) {
                        info!("push jobs can be read again");
                    }
                    jobs
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_down, true) {
                        warn!(%error, "cannot read push jobs");
                    }
                    Vec::new()
                }
            };
            let may_be_more = jobs.len() as i64 == room;
            let stop = places.take_on(jobs, leased_at);
            let pause = async {
                match stop {
                    Some(stop) => sleep(stop).await,
                    None if may_be_more => {}
                    None => alarm.rings().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => break,
                () = pause => {}
            }
        }
        while places.pushes.join_next().await.is_some() {}
        drop(places);
        // At worst it has panicked, and what it had not written is pushed again when the leases end.
        let _ended = settling.await;
    }
}

/// The pushes at one time and those that wait, and what bounds them.
struct Places {
    budgets: Budgets,
    /// Those that wait for a place are among them.
    pushes: JoinSet<()>,
    /// Places, at least 1.
    most: usize,
    attempts: Arc<Attempts>,
    metrics: Metrics,
}

impl Places {
    /// Waits until something may be pushed; answers how many jobs to take. As many as there are places may wait for
    /// one, so that nobody waits for the database, and half of them are taken together. Not more: the leases of those
    /// that wait run, and another server could have pushed them.
    async fn room(&mut self) -> i64 {
        loop {
            while self.pushes.try_join_next().is_some() {}
            while self.pushes.len() > self.most + self.most / 2 {
                self.pushes.join_next().await;
            }
            let room = self.attempts.faults().room(Instant::now());
            match room {
                Room::Any => return (2 * self.most - self.pushes.len()).min(BATCH) as i64,
                Room::One => return 1,
                Room::None { until } => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    // It may be the one that was tried, and have been taken: then the others go on at once.
                    Some(_) = self.pushes.join_next() => {}
                },
            }
        }
    }

    /// Starts what may be pushed and gives the rest back. Answers how long nothing at all may be pushed.
    fn take_on(&mut self, jobs: Vec<PushJob>, leased_at: Instant) -> Option<Duration> {
        let mut stop = None;
        for job in jobs {
            let attempts = self.attempts.clone();
            match self.hold(&job, &mut stop) {
                None => self.pushes.spawn(async move { attempts.make(job, leased_at).await }),
                Some(pause) => self.pushes.spawn(async move { attempts.hold_back(job.id, pause).await }),
            };
        }
        stop
    }

    /// How long the job has to wait, where it may not be tried now.
    fn hold(&self, job: &PushJob, stop: &mut Option<Duration>) -> Option<Duration> {
        let platform = job.push.as_ref()?.platform;
        let now = Instant::now();
        if let Some(wait) = self.attempts.faults().wait(platform, now) {
            return Some(wait);
        }
        match self.budgets.take(&job.user_id, &job.device_id, platform) {
            Ok(()) => {
                self.attempts.faults().trying(platform, now);
                None
            }
            Err(exhausted) => {
                let labels = BudgetLabels { budget: exhausted.budget };
                self.metrics.pushes_held_back.get_or_create(&labels).inc();
                if exhausted.is_for_all {
                    *stop = Some(exhausted.wait.max(SHORTEST_STOP));
                }
                Some(held_back(exhausted.wait))
            }
        }
    }
}

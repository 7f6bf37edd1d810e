//! Takes push jobs that are due, sends them, and does what each outcome asks for.

use std::sync::Arc;
use std::time::Duration;

use shared_types::EntryBody;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{Push, PushOutcome, PushSender, PushText, Reason};
use crate::metrics::{Metrics, PushLabels};
use crate::store::{PendingPush, PushJob, Store};

/// Jobs taken at once, and thereby the pushes whose lease runs while they wait for a place in flight.
const BATCH: i64 = 100;
/// Longer than any push can take, its wait for a place in flight included. After a crash the jobs are due again
/// this late.
const LEASE: Duration = Duration::from_secs(60);
/// How long jobs that others left, or that come due, may go unnoticed.
const POLL: Duration = Duration::from_secs(1);
/// With the pauses below the last attempt is about a day after the first.
const MAX_ATTEMPTS: i32 = 30;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// While our credentials are refused, one attempt in this time is enough to notice that they work again.
const OUR_FAULT_PAUSE: Duration = Duration::from_secs(60);

pub struct PushWorker {
    pub store: Arc<dyn Store>,
    pub sender: Arc<dyn PushSender>,
    pub metrics: Metrics,
    pub hide_content: bool,
    /// Pushes at one time.
    pub in_flight: usize,
}

impl PushWorker {
    /// Runs until `stopping`; then finishes what is in flight.
    pub async fn run(self, wake: Arc<Notify>, stopping: CancellationToken) {
        let this = Arc::new(self);
        let places = Arc::new(Semaphore::new(this.in_flight));
        let mut pushes = JoinSet::new();
        loop {
            let jobs = tokio::select! {
                () = stopping.cancelled() => break,
                jobs = this.store.lease_pushes(BATCH, LEASE) => jobs.unwrap_or_else(|error| {
                    warn!(%error, "cannot read push jobs");
                    Vec::new()
                }),
            };
            if jobs.is_empty() {
                tokio::select! {
                    () = stopping.cancelled() => break,
                    () = wake.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
                continue;
            }
            for job in jobs {
                // Never closed. Waiting here keeps the number of tasks at the number of places.
                let Ok(place) = places.clone().acquire_owned().await else { break };
                let this = this.clone();
                pushes.spawn(async move {
                    this.work(job).await;
                    drop(place);
                });
            }
            while pushes.try_join_next().is_some() {}
        }
        while pushes.join_next().await.is_some() {}
    }

    async fn work(&self, job: PushJob) {
        let written = match &job.push {
            // The device or its user has gone, or the target was disabled since.
            None => self.store.finish_pushes(&[job.id]).await,
            Some(pending) => {
                let Some(push) = self.push(&job, pending) else {
                    return self.ended(self.store.finish_pushes(&[job.id]).await);
                };
                let outcome = self.sender.send(&push).await;
                self.count(&job, &outcome);
                self.act(&job, pending, outcome).await
            }
        };
        self.ended(written);
    }

    fn push(&self, job: &PushJob, pending: &PendingPush) -> Option<Push> {
        let entry = &pending.entry;
        let EntryBody::Message { content, .. } = &entry.body else { return None };
        let name = pending.channel_name.as_deref();
        Some(Push {
            user_id: job.user_id.clone(),
            device_id: job.device_id.clone(),
            platform: pending.platform,
            target: pending.target.clone(),
            text: if self.hide_content {
                PushText::hiding(name, &entry.sender_id)
            } else {
                PushText::showing(name, &entry.sender_id, content)
            },
            channel_id: entry.channel_id,
            seq: entry.seq,
            message_id: entry.id,
            sender_id: entry.sender_id.clone(),
            unread: pending.unread_total,
        })
    }

    async fn act(
        &self,
        job: &PushJob,
        pending: &PendingPush,
        outcome: PushOutcome,
    ) -> Result<(), crate::store::StoreError> {
        match outcome {
            PushOutcome::Sent => {
                self.metrics.push_failing_by_our_fault.set(0);
                self.store.finish_pushes(&[job.id]).await
            }
            PushOutcome::TargetGone(reason) => {
                let version = pending.target_version;
                if !self.store.disable_device(&job.user_id, &job.device_id, version, reason.code).await? {
                    // The verdict is about a target that the device has no more: the one that it has now gets the push.
                    return self.store.postpone_push(job.id, Duration::ZERO).await;
                }
                info!(user_id = %job.user_id, device_id = %job.device_id, reason = reason.code, "a device is pushed to no more");
                self.store.finish_pushes(&[job.id]).await
            }
            PushOutcome::RetryAfter { after, reason } => {
                debug!(job = job.id, %reason, "a push is put off");
                let pause = after.map_or_else(|| back_off(job), not_together);
                self.put_off(job, pause, &reason).await
            }
            PushOutcome::Rejected(reason) => {
                warn!(job = job.id, %reason, "a push was refused and is not tried again");
                self.store.fail_push(job.id, reason.code).await
            }
            PushOutcome::OurFault(reason) => {
                // Nothing is wrong with the job or its target: it waits until the operator has mended this.
                if self.metrics.push_failing_by_our_fault.set(1) == 0 {
                    error!(%reason, "pushes fail by our own fault: check the service account and its rights");
                }
                self.store.postpone_push(job.id, OUR_FAULT_PAUSE).await
            }
        }
    }

    async fn put_off(
        &self,
        job: &PushJob,
        pause: Duration,
        reason: &Reason,
    ) -> Result<(), crate::store::StoreError> {
        if job.attempts >= MAX_ATTEMPTS {
            warn!(job = job.id, %reason, attempts = job.attempts, "a push was tried for the last time");
            return self.store.fail_push(job.id, reason.code).await;
        }
        self.store.postpone_push(job.id, pause.min(LONGEST_PAUSE)).await
    }

    fn count(&self, job: &PushJob, outcome: &PushOutcome) {
        let reason = outcome.reason().map_or("", |reason| reason.code);
        self.metrics.pushes.get_or_create(&PushLabels { outcome: outcome.label(), reason }).inc();
        if *outcome == PushOutcome::Sent {
            let delay = chrono::Utc::now() - job.created_at.as_datetime();
            self.metrics.push_delay_seconds.observe(delay.as_seconds_f64().max(0.0));
        }
    }

    fn ended(&self, written: Result<(), crate::store::StoreError>) {
        if let Err(error) = written {
            // The lease ends and the job is done again: a push twice is better than none.
            warn!(%error, "cannot write what became of a push");
        }
    }
}

/// Doubles with each attempt; spread over its second half, so that what failed together does not come back
/// together.
fn back_off(job: &PushJob) -> Duration {
    let doublings = u32::try_from(job.attempts - 1).unwrap_or(0).min(12);
    let longest = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + random_share() / 2.0)
}

/// What the push service asked for, and up to a tenth more: everyone was told the same.
fn not_together(after: Duration) -> Duration {
    after.mul_f64(1.0 + random_share() / 10.0)
}

/// From 0 to 1. Without randomness it is 1: the longest pause.
fn random_share() -> f64 {
    let mut random = [0_u8; 2];
    getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u16::from_le_bytes(random)) / 65_535.0)
}

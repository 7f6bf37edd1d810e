//! One push job: what it says, that it is sent, and what its outcome asks for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared_types::EntryBody;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::back_off::{back_off, not_together};
use super::faults::{Faults, Scope};
use super::settler::Settler;
use super::traces::{PushTraces, end_push};
use super::{Push, PushOutcome, PushSender, PushText, Reason};
use crate::metrics::{Metrics, PushLabels};
use crate::store::{PendingPush, PushJob, Store, StoreError};

/// With the pauses of the back-off the last attempt is about a day after the first.
const MAX_ATTEMPTS: i32 = 30;
/// Longer waits are not worth it: what the push service asks for is forgotten by then.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// From its lease to its place. Longer, and the lease could end during the push: then another server may have the job.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Between attempts to write what became of a push: a database that restarts costs no second push. More would
/// outlast the lease.
const WRITE_PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// Whatever an attempt needs.
pub(super) struct Attempts {
    pub(super) store: Arc<dyn Store>,
    pub(super) sender: Arc<dyn PushSender>,
    pub(super) metrics: Metrics,
    pub(super) hide_content: bool,
    pub(super) fault_pause: Duration,
    /// Held only to look or to change, never over an await.
    pub(super) faults: Mutex<Faults>,
    /// One for each push at one time; whoever waits for one has its job already.
    pub(super) places: Semaphore,
    pub(super) settler: Settler,
    pub(super) traces: PushTraces,
    /// The process ends: what waits is left to the others.
    pub(super) stopping: CancellationToken,
}

impl Attempts {
    /// Sends what there is to push, of a job that was taken at `leased_at`.
    pub(super) async fn make(&self, job: PushJob, leased_at: Instant) {
        let Some((pending, push)) =
            job.push.as_ref().and_then(|pending| Some((pending, self.push(&job, pending)?)))
        else {
            // The device or its user has gone, or the target was disabled since.
            return self.settler.finish(&job).await;
        };
        let place = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return self.hold_back(job.id, Duration::ZERO).await,
            // Never closed.
            place = self.places.acquire() => place,
        };
        if let Some(pause) = self.too_late(pending, leased_at) {
            return self.hold_back(job.id, pause).await;
        }
        let begun_at = Instant::now();
        let span = self.traces.begin_push(&push, job.attempts);
        let outcome = self.sender.send(&push).await;
        end_push(span, &outcome);
        self.count(&job, &push, &outcome);
        self.judge(pending, &outcome, begun_at);
        // Not before: the next one has to see that it was refused. Nor later: it need not wait for the database.
        drop(place);
        self.act(&job, pending, outcome).await;
    }

    /// Gives a job back that was not tried.
    pub(super) async fn hold_back(&self, job: i64, pause: Duration) {
        written(|| self.store.postpone_push(job, pause, true)).await;
    }

    /// How long a job has to wait that may not be pushed any more when it has got its place.
    fn too_late(&self, pending: &PendingPush, leased_at: Instant) -> Option<Duration> {
        if self.faults().has_closed_since(pending.platform, leased_at) {
            return Some(self.fault_pause);
        }
        (leased_at.elapsed() > LONGEST_WAIT).then_some(Duration::ZERO)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        // A panic while it is held cannot leave it half changed.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
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
            text: match pending.messages {
                2.. => PushText::counting(name, &entry.sender_id, pending.messages),
                _ if self.hide_content => PushText::hiding(name, &entry.sender_id),
                _ => PushText::showing(name, &entry.sender_id, content),
            },
            channel_id: entry.channel_id,
            seq: entry.seq,
            message_id: entry.id,
            sender_id: entry.sender_id.clone(),
            messages: pending.messages.max(1),
            unread: pending.unread_total,
        })
    }

    fn count(&self, job: &PushJob, push: &Push, outcome: &PushOutcome) {
        let reason = outcome.reason().map_or("", |reason| reason.code);
        self.metrics.pushes.get_or_create(&PushLabels { outcome: outcome.label(), reason }).inc();
        if *outcome == PushOutcome::Sent {
            self.metrics.pushed_messages.inc_by(push.messages.unsigned_abs());
            self.metrics.push_delay.observe(job.created_at.elapsed().as_secs_f64());
        }
    }

    /// What the outcome says about our own credentials.
    fn judge(&self, pending: &PendingPush, outcome: &PushOutcome, begun_at: Instant) {
        let (platform, now) = (pending.platform, Instant::now());
        let scope = match outcome {
            PushOutcome::OurFault(_) => Scope::Everything,
            PushOutcome::PlatformFault(_) => Scope::Platform,
            // Refused or not: our credentials were looked at and taken.
            PushOutcome::Sent | PushOutcome::TargetGone(_) | PushOutcome::Rejected(_) => {
                if self.faults().worked(platform, begun_at, now) {
                    self.metrics.push_failing_by_our_fault.set(0);
                    info!("pushes go on: the push service takes our credentials again");
                }
                return;
            }
            // Whoever says "later" may not have looked at them.
            PushOutcome::RetryAfter { .. } => return,
        };
        if self.faults().refused(scope, platform, begun_at, now) {
            self.metrics.push_failing_by_our_fault.set(1);
            let reason = outcome.reason().map(ToString::to_string).unwrap_or_default();
            error!(
                reason,
                ?platform,
                "pushes fail by our own fault: check the service account, its rights and Firebase's keys"
            );
        }
    }

    async fn act(&self, job: &PushJob, pending: &PendingPush, outcome: PushOutcome) {
        match outcome {
            PushOutcome::Sent => self.settler.finish(job).await,
            PushOutcome::TargetGone(reason) => self.give_up_target(job, pending, &reason).await,
            PushOutcome::RetryAfter { after, reason } => {
                let entry = &pending.entry;
                debug!(pushJob = job.id, channelId = %entry.channel_id, messageId = %entry.id, %reason, "a push is put off");
                let pause = after.map_or_else(|| back_off(job.attempts), not_together);
                self.put_off(job, pending, pause, &reason).await;
            }
            PushOutcome::Rejected(reason) => {
                let entry = &pending.entry;
                warn!(pushJob = job.id, channelId = %entry.channel_id, messageId = %entry.id, %reason, "a push was refused and is not tried again");
                written(|| self.store.fail_push(job.id, reason.code)).await;
            }
            // Nothing is wrong with the job or its target: it waits until the operator has mended this.
            PushOutcome::OurFault(_) | PushOutcome::PlatformFault(_) => {
                self.hold_back(job.id, self.fault_pause).await;
            }
        }
    }

    async fn give_up_target(&self, job: &PushJob, pending: &PendingPush, reason: &Reason) {
        let version = pending.target_version;
        let disable = || self.store.disable_device(&job.user_id, &job.device_id, version, reason.code);
        match written(disable).await {
            Some(true) => {
                info!(userId = %job.user_id, deviceId = %job.device_id, reason = reason.code, "a device is pushed to no more");
                self.settler.finish(job).await;
            }
            // The verdict is about a target that the device has no more: the one that it has now gets the push.
            Some(false) => self.hold_back(job.id, Duration::ZERO).await,
            None => {}
        }
    }

    async fn put_off(&self, job: &PushJob, pending: &PendingPush, pause: Duration, reason: &Reason) {
        if job.attempts >= MAX_ATTEMPTS {
            let entry = &pending.entry;
            warn!(pushJob = job.id, channelId = %entry.channel_id, messageId = %entry.id, %reason, attempts = job.attempts, "a push was tried for the last time");
            written(|| self.store.fail_push(job.id, reason.code)).await;
            return;
        }
        written(|| self.store.postpone_push(job.id, pause.min(LONGEST_PAUSE), false)).await;
    }
}

/// `None`: the database does not take it. The lease ends and the job is done again: a push twice is better than none.
pub(super) async fn written<T, F>(write: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for pause in WRITE_PAUSES {
        match write().await {
            Ok(written) => return Some(written),
            Err(error) => debug!(%error, "what became of a push is written again"),
        }
        tokio::time::sleep(pause).await;
    }
    write().await.inspect_err(|error| warn!(%error, "cannot write what became of a push")).ok()
}

//! What devices have acked: gathered, and reported to the api-server once a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared_types::api_server_api::{Ack, MAX_ACKS};
use shared_types::{ChannelId, Seq, UserId};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api_client::{ApiClient, ApiError};
use crate::metrics::{AckOutcome, Metrics};

const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Users and channels that may wait while the api-servers are away, about 15 MB. Whatever is dropped beyond costs a
/// push too many, no more.
const MAX_WAITING: usize = 100_000;

/// Foreground and background apart: a background session may have more than a foreground one, and pushes are
/// cancelled by the foreground's only.
type Key = (UserId, ChannelId, bool);

pub(crate) struct Acks {
    waiting: Mutex<HashMap<Key, Seq>>,
    /// One flush at a time: the last one, of a gateway that stops, must find what a failed one has put back.
    flushing: AsyncMutex<()>,
    api: Arc<ApiClient>,
    metrics: Arc<Metrics>,
}

impl Acks {
    pub(crate) fn new(api: Arc<ApiClient>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), flushing: AsyncMutex::default(), api, metrics })
    }

    /// Everything of the channel up to `seq` is on a device of the user. Never waits.
    pub(crate) fn record(&self, user_id: &UserId, channel_id: ChannelId, seq: Seq, is_foreground: bool) {
        self.add(&mut self.waiting(), (user_id.clone(), channel_id, is_foreground), seq);
    }

    /// Reports once a second until told to stop.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.flush().await;
        }
    }

    /// Reports all that waits. By `deadline` it is left.
    pub(crate) async fn flush_by(&self, deadline: Instant) {
        let is_done = timeout_at(deadline, self.flush()).await.unwrap_or(false);
        if !is_done {
            warn!(gatewayId = %self.api.gateway_id(), "not every ack was reported: some users may be pushed to about what they have read");
        }
    }

    /// Says whether everything was reported. What was not goes on waiting.
    async fn flush(&self) -> bool {
        let _alone = self.flushing.lock().await;
        let taken = std::mem::take(&mut *self.waiting());
        let mut acks = taken.into_iter().map(|((user_id, channel_id, is_foreground), seq)| Ack {
            user_id,
            channel_id,
            seq,
            is_foreground,
        });
        loop {
            let request: Vec<Ack> = acks.by_ref().take(MAX_ACKS).collect();
            if request.is_empty() {
                return true;
            }
            let count = request.len();
            match self.api.report_acks(request.clone()).await {
                Ok(()) => self.metrics.acked(AckOutcome::Flushed, count),
                Err(ApiError::Refused) => self.metrics.acked(AckOutcome::Dropped, count),
                Err(ApiError::Unavailable) => {
                    let mut waiting = self.waiting();
                    for ack in request.into_iter().chain(acks) {
                        self.add(&mut waiting, (ack.user_id, ack.channel_id, ack.is_foreground), ack.seq);
                    }
                    return false;
                }
            }
        }
    }

    fn add(&self, waiting: &mut HashMap<Key, Seq>, key: Key, seq: Seq) {
        if let Some(highest) = waiting.get_mut(&key) {
            *highest = seq.max(*highest);
        } else if waiting.len() < MAX_WAITING {
            waiting.insert(key, seq);
        } else {
            self.metrics.acked(AckOutcome::Dropped, 1);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Seq>> {
        // Nothing panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

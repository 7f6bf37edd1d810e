//! Whether delivery as a whole is behind: back-pressure by delay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::lanes::{Lanes, LanesLoad};
use super::outgoing::Outgoing;
use crate::metrics::Metrics;
use crate::queue_wait::QueueWait;

/// How long an answer is good for: every send asks, and lanes are many.
const GOOD_FOR: Duration = Duration::from_millis(2);

/// Entries that were handed over together, and when.
pub(super) struct Handover {
    pub(super) entries: Vec<Outgoing>,
    pub(super) since: Instant,
}

/// Judges by how long things wait, not by how many they are: one entry may be a delivery or ten thousand.
///
/// Delivery is congested while the dispatcher is behind, or more than half of the lanes are that are in use and whose
/// gateways answer. One slow gateway of several holds up its own users only; when most are behind, it is we who take
/// too much. With a single gateway in use it is the measure, however slow: nobody could be delivered to sooner. A gateway
/// that fails does not count, nor does Redis when it is gone: refusing sends would not help them.
pub(super) struct Congestion {
    dispatcher: Arc<QueueWait>,
    queue: mpsc::Sender<Handover>,
    lanes: Lanes,
    metrics: Metrics,
    started: Instant,
    /// In ms after `started`.
    judged_at: AtomicU64,
    is_congested: AtomicBool,
}

impl Congestion {
    pub(super) fn new(
        dispatcher: Arc<QueueWait>,
        queue: mpsc::Sender<Handover>,
        lanes: Lanes,
        metrics: Metrics,
    ) -> Self {
        let (started, judged_at) = (Instant::now(), AtomicU64::new(0));
        Self { dispatcher, queue, lanes, metrics, started, judged_at, is_congested: AtomicBool::new(false) }
    }

    /// Never older than 2 ms.
    pub(super) fn is_congested(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let judged_at = self.judged_at.load(Ordering::Relaxed);
        let is_due = u128::from(now.saturating_sub(judged_at)) >= GOOD_FOR.as_millis();
        // Of those who find it too old, one judges.
        let order = Ordering::Relaxed;
        if is_due && self.judged_at.compare_exchange(judged_at, now, order, order).is_ok() {
            self.judge();
        }
        self.is_congested.load(order)
    }

    fn judge(&self) {
        let LanesLoad { behind, in_use, is_full } = self.lanes.load();
        let is_dispatcher_behind = self.dispatcher.is_behind(is_empty(&self.queue));
        let is_congested = is_full || is_dispatcher_behind || behind * 2 > in_use;
        self.is_congested.store(is_congested, Ordering::Relaxed);
        self.metrics.lanes_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.metrics.delivery_congested.set(i64::from(is_congested));
    }
}

/// Whether nothing waits in this queue.
pub(super) fn is_empty<T>(queue: &mpsc::Sender<T>) -> bool {
    queue.capacity() == queue.max_capacity()
}

//! How much has been accepted and not been delivered: the measure of back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::metrics::Metrics;

/// Counts entries between commit and the end of their fan-out.
pub(super) struct Backlog {
    entries: AtomicUsize,
    limit: usize,
    drained: Notify,
    metrics: Metrics,
}

impl Backlog {
    pub(super) fn new(limit: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { entries: AtomicUsize::new(0), limit, drained: Notify::new(), metrics })
    }

    pub(super) fn has_room(&self) -> bool {
        self.entries.load(Ordering::Relaxed) < self.limit
    }

    /// Counts one entry until the ticket is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Ticket {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.metrics.undelivered.inc();
        Ticket { backlog: self.clone(), since: Instant::now() }
    }

    /// Waits until nothing is on its way, at most `limit`; answers what is left.
    pub(super) async fn drained(&self, limit: Duration) -> usize {
        let empty = async {
            loop {
                let notified = self.drained.notified();
                if self.entries.load(Ordering::Acquire) == 0 {
                    return;
                }
                notified.await;
            }
        };
        let _in_time = timeout(limit, empty).await;
        self.entries.load(Ordering::Acquire)
    }
}

/// One entry on its way.
pub(super) struct Ticket {
    backlog: Arc<Backlog>,
    since: Instant,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let backlog = &self.backlog;
        backlog.metrics.undelivered.dec();
        backlog.metrics.delivery_duration.observe(self.since.elapsed().as_secs_f64());
        if backlog.entries.fetch_sub(1, Ordering::Release) == 1 {
            backlog.drained.notify_waiters();
        }
    }
}

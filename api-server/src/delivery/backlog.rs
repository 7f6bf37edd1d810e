//! How much has been accepted and not been delivered: the measure of back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::metrics::Metrics;

/// The JSON of all entries together, for long ones: a hundred thousand of a usual length.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Counts entries between commit and the end of their fan-out.
pub(super) struct Backlog {
    entries: AtomicUsize,
    bytes: AtomicUsize,
    limit: usize,
    drained: Notify,
    metrics: Metrics,
}

impl Backlog {
    pub(super) fn new(limit: usize, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            limit,
            drained: Notify::new(),
            metrics,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.entries.load(Ordering::Relaxed) < self.limit && self.bytes.load(Ordering::Relaxed) < MAX_BYTES
    }

    /// Counts one entry, of this length, until the ticket is dropped.
    pub(super) fn enter(self: &Arc<Self>, bytes: usize) -> Ticket {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.undelivered.inc();
        Ticket { backlog: self.clone(), bytes, since: Instant::now() }
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
    bytes: usize,
    since: Instant,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let backlog = &self.backlog;
        backlog.metrics.undelivered.dec();
        backlog.metrics.delivery_duration.observe(self.since.elapsed().as_secs_f64());
        backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if backlog.entries.fetch_sub(1, Ordering::Release) == 1 {
            backlog.drained.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn backlog(limit: usize) -> Arc<Backlog> {
        Backlog::new(limit, Metrics::register(&mut Registry::default()))
    }

    #[test]
    fn there_is_room_again_when_what_was_one_too_many_is_on_its_way_no_longer() {
        let backlog = backlog(2);
        let _first = backlog.enter(1);
        assert!(backlog.has_room());
        let second = backlog.enter(1);
        assert!(!backlog.has_room());
        drop(second);
        assert!(backlog.has_room());
    }

    #[test]
    fn few_entries_that_are_long_take_as_much_room_as_many() {
        let backlog = backlog(1_000);
        let _half = backlog.enter(MAX_BYTES / 2);
        assert!(backlog.has_room());
        let other_half = backlog.enter(MAX_BYTES / 2);
        assert!(!backlog.has_room());
        drop(other_half);
        assert!(backlog.has_room());
    }
}

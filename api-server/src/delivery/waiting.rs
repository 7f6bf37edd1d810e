//! What waits until its time has come.

use std::collections::BTreeMap;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep_until};

/// Things by the time at which they are due, each for a number of recipients, which the gauge shows.
pub(super) struct Waiting<T> {
    by_time: BTreeMap<Instant, Vec<(usize, T)>>,
    recipients: usize,
    gauge: Gauge,
}

impl<T> Waiting<T> {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self { by_time: BTreeMap::new(), recipients: 0, gauge }
    }

    pub(super) fn insert(&mut self, due: Instant, recipients: usize, thing: T) {
        self.by_time.entry(due).or_default().push((recipients, thing));
        self.recipients += recipients;
        self.show();
    }

    pub(super) fn recipients(&self) -> usize {
        self.recipients
    }

    /// Waits until something is due; for ever while nothing waits.
    pub(super) async fn due(&self) {
        match self.by_time.first_key_value() {
            Some((due, _)) => sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    /// Takes out what is due, and the oldest of what is beyond `limit` recipients.
    pub(super) fn take_due(&mut self, limit: usize) -> Vec<T> {
        let now = Instant::now();
        let mut taken = Vec::new();
        while let Some(oldest) = self.by_time.first_entry()
            && (*oldest.key() <= now || self.recipients > limit)
        {
            for (recipients, thing) in oldest.remove() {
                self.recipients -= recipients;
                taken.push(thing);
            }
        }
        self.show();
        taken
    }

    fn show(&self) {
        self.gauge.set(i64::try_from(self.recipients).unwrap_or(i64::MAX));
    }
}

//! Removes what is older than is to be kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::store::Store;

/// Entries of one batch: some 10 ms, for which nobody waits in Postgres, and only the next batch of messages in SQLite.
const MAX_ENTRIES: i64 = 1_000;
/// Half of the time at most is the database's; the other half is everybody else's.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// How often it is asked whether a round is due, or a server that was at it has died.
const POLL: Duration = Duration::from_secs(5);
/// Between two batches of one server nobody else takes over; far more than a batch and its pause take.
const LEASE: Duration = Duration::from_secs(30);
/// From the end of a round through all channels to the next one. What is old goes so much later than it might.
const ROUND_PAUSE: Duration = Duration::from_secs(3_600);

/// One server of all works at it at a time.
pub(crate) struct Retention {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Metrics,
    pub(crate) kept_for: Duration,
}

impl Retention {
    /// Runs until `stopping`.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut is_failing = false;
        let mut removed = 0;
        loop {
            let began = Instant::now();
            let batch = self.store.remove_old_entries(self.kept_for, MAX_ENTRIES, LEASE, ROUND_PAUSE);
            let pause = match batch.await {
                Ok(batch) => {
                    if std::mem::take(&mut is_failing) {
                        info!("old entries are removed again");
                    }
                    self.metrics.entries_removed.inc_by(batch.entries);
                    removed += batch.entries;
                    if batch.is_done && removed > 0 {
                        info!(entries = std::mem::take(&mut removed), "removed what was older than is kept");
                    }
                    if batch.is_done { POLL } else { began.elapsed().max(SHORTEST_PAUSE) }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!(%error, "old entries cannot be removed");
                    }
                    POLL
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }
}

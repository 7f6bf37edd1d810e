//! Says that this process lives, and takes over what others, or a lost answer, have left in the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shared_runtime::ops::Draining;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::delivery::Delivery;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::store::{Store, StoreError};

/// How often this process says that it lives, and looks for rows on which nobody works.
const ROUND: Duration = Duration::from_secs(2);
/// Three chances before others take over. A crash is made good within this and one round: 8 s.
const LEASE: Duration = Duration::from_secs(6);
/// Own rows that are not in hand are taken up at this age: later than an append waits for its answer, 8 s, so that
/// nobody works on them any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// Rows of one statement. Each has up to 256 entries, so that one statement's stay below the default backlog.
const MAX_ROWS: i64 = 64;
/// Pushes that are due are counted no further: a hundred thousand would take the database longer, and mean the same.
const MOST_DUE: i64 = 10_000;

/// The heartbeat and the sweep of one process.
pub(crate) struct Sweeper {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) outbox: Outbox,
    pub(crate) delivery: Delivery,
    pub(crate) metrics: Metrics,
    pub(crate) draining: Draining,
    /// How many api-servers live, this one included: they share the budgets of the push service.
    pub(crate) live_servers: Arc<AtomicU32>,
}

impl Sweeper {
    /// Runs until `stopping`; from `draining` on it takes nothing over.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = rounds.tick() => {}
            }
            let round = async {
                let live = self.store.keep_outbox(LEASE).await?;
                self.live_servers.store(live, Ordering::Relaxed);
                self.show_what_waits().await?;
                // After an outage everybody's lease has ended: those who live get a round to say so.
                if is_failing { Ok(()) } else { self.adopt().await }
            };
            // Not given up halfway: whoever stops us must know that no heartbeat follows.
            let outcome = round.await;
            match &outcome {
                Ok(()) if is_failing => info!("the outbox is swept again"),
                Err(error) if !is_failing => warn!(%error, "the outbox cannot be swept"),
                _ => {}
            }
            is_failing = outcome.is_err();
        }
    }

    async fn show_what_waits(&self) -> Result<(), StoreError> {
        self.metrics.outbox_oldest.set(self.store.outbox_age().await?.as_secs_f64());
        self.metrics.push_jobs_due.set(self.store.due_pushes(MOST_DUE).await?);
        Ok(())
    }

    /// Takes over what there is, while delivery has room and the next heartbeat is not due.
    async fn adopt(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut rows = 0;
        while !self.draining.is_draining() && self.delivery.has_room() && began.elapsed() < ROUND {
            let in_hand = self.outbox.in_hand();
            let entries = self.store.adopt_outbox(&in_hand, FORGOTTEN_AFTER, MAX_ROWS).await?;
            if entries.is_empty() {
                break;
            }
            let adopted = self.delivery.submit(entries).await;
            self.metrics.outbox_adopted.inc_by(adopted as u64);
            rows += adopted;
        }
        if rows > 0 {
            info!(rows, "took over what was left in the outbox");
        }
        Ok(())
    }
}

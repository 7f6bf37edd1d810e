//! From a committed entry to its recipients: who, where, by socket or by push.

mod backlog;
mod dispatch;
mod fanout;
mod gateway_client;
pub(crate) mod outgoing;
mod participants;
pub mod registry;
mod second_look;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::push::queue::PushQueue;
use crate::store::{Committed, Store};
use backlog::Backlog;
use dispatch::Dispatcher;
use gateway_client::{Lanes, LanesOptions};
use outgoing::Outgoing;
use participants::ParticipantCache;
use registry::Registry;

/// What delivery is built from.
pub struct DeliveryParts {
    pub store: Arc<dyn Store>,
    pub registry: Arc<Registry>,
    pub pushes: PushQueue,
    pub metrics: Metrics,
    pub internal_secret: String,
    /// Entries that may be on their way; beyond it [`Delivery::has_room`] says no.
    pub max_undelivered: usize,
    /// Sends that may be stored after `has_room` was last asked: they must find room too.
    pub max_waiting_sends: usize,
}

/// Takes committed entries and sees to it that they reach everyone. Clones share the queue.
#[derive(Clone)]
pub struct Delivery {
    queue: mpsc::Sender<Vec<Outgoing>>,
    backlog: Arc<Backlog>,
    stopping: CancellationToken,
}

impl Delivery {
    /// Starts the tasks. They end after [`Delivery::finish`].
    pub fn start(parts: DeliveryParts) -> Result<Self, reqwest::Error> {
        let backlog = Backlog::new(parts.max_undelivered, parts.metrics.clone());
        // Room for everything that the backlog's limit lets in, one entry a batch at worst, so that a writer never
        // waits here with senders' answers behind it.
        let (queue, incoming) = mpsc::channel(parts.max_undelivered + parts.max_waiting_sends);
        let stopping = CancellationToken::new();
        let (missing, reported) = mpsc::channel(second_look::QUEUE);
        let lanes = Lanes::new(LanesOptions {
            registry: parts.registry.clone(),
            missing: missing.clone(),
            metrics: parts.metrics.clone(),
            internal_secret: parts.internal_secret,
            stopping: stopping.clone(),
        })?;
        tokio::spawn(second_look::run(
            reported,
            parts.registry.clone(),
            lanes.clone(),
            parts.pushes.clone(),
            stopping.clone(),
        ));
        let dispatcher = Dispatcher {
            participants: ParticipantCache::new(parts.store),
            registry: parts.registry,
            lanes,
            missing,
            pushes: parts.pushes,
            stopping: stopping.clone(),
        };
        tokio::spawn(dispatcher.run(incoming));
        Ok(Self { queue, backlog, stopping })
    }

    /// Whether more may be accepted: fewer entries are on their way than the limit.
    pub fn has_room(&self) -> bool {
        self.backlog.has_room()
    }

    /// Hands over entries that are committed, in `seq` order within each channel.
    pub async fn submit(&self, committed: Vec<Committed>) {
        let outgoing = committed
            .into_iter()
            .filter_map(|committed| Outgoing::new(committed, &self.backlog))
            .collect::<Vec<_>>();
        // Fails only after `finish`; what comes later is found by `sync`.
        let _stopped = self.queue.send(outgoing).await;
    }

    /// Waits until everything is delivered, at most `limit`, and ends the tasks. Answers what was left.
    pub async fn finish(&self, limit: Duration) -> usize {
        let left = self.backlog.drained(limit).await;
        self.stopping.cancel();
        left
    }
}

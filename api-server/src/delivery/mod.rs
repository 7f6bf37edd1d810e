//! From a committed entry to its recipients: who, where, by socket or by push.

mod ack_watch;
mod backlog;
mod congestion;
mod deliver_body;
mod dispatch;
pub mod ephemeral;
mod fanout;
mod gateway_client;
mod lanes;
#[doc(hidden)]
pub mod micro;
pub(crate) mod outgoing;
mod participants;
pub mod registry;
mod second_look;
mod traced_call;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared_runtime::traces::Trace;
use shared_types::{ChannelId, UserId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::metrics::Metrics;
use crate::outbox::{Outbox, RowGuard};
use crate::push::queue::PushQueue;
use crate::queue_wait::QueueWait;
use crate::store::{Committed, OutboxId, Store};
use backlog::Backlog;
use congestion::{Congestion, Handover, is_empty};
use dispatch::Dispatcher;
use ephemeral::{Ephemeral, Teller};
use gateway_client::GatewayClient;
use lanes::{Lanes, LanesOptions};
use outgoing::Outgoing;
use participants::ParticipantCache;
use registry::Registry;
use second_look::SecondLook;

/// What delivery is built from.
pub struct DeliveryParts {
    pub store: Arc<dyn Store>,
    pub registry: Arc<Registry>,
    pub pushes: PushQueue,
    pub outbox: Outbox,
    pub metrics: Metrics,
    pub internal_secret: String,
    /// How long a device that was written to may take to say that it has the entry.
    pub ack_timeout: Duration,
    /// Entries that may be on their way; beyond it [`Delivery::has_room`] says no.
    pub max_undelivered: usize,
    /// Sends that may be stored after `has_room` was last asked: they must find room too.
    pub max_waiting_sends: usize,
}

/// The JSON of a message of 200 characters.
const USUAL_ENTRY_BYTES: usize = 512;

/// A committed entry with its JSON, which is what everyone gets of it.
pub struct Written {
    committed: Committed,
    /// `None`: it cannot be shown, which has been logged.
    pub json: Option<Bytes>,
    trace: Option<Trace>,
}

impl Written {
    /// Serialises the entry, the only time that this is done.
    pub fn new(committed: Committed, trace: Option<Trace>) -> Self {
        let entry = &committed.entry;
        let mut json = Vec::with_capacity(USUAL_ENTRY_BYTES);
        let json = match serde_json::to_writer(&mut json, entry) {
            Ok(()) => Some(Bytes::from(json)),
            Err(error) => {
                error!(%error, channelId = %entry.channel_id, messageId = %entry.id, seq = entry.seq, "an entry cannot be shown");
                None
            }
        };
        Self { committed, json, trace }
    }
}

/// Takes committed entries and sees to it that they reach everyone. Clones share the queue.
#[derive(Clone)]
pub struct Delivery {
    queue: mpsc::Sender<Handover>,
    participants: Arc<ParticipantCache>,
    wait: Arc<QueueWait>,
    ephemeral: mpsc::Sender<Vec<Ephemeral>>,
    backlog: Arc<Backlog>,
    congestion: Arc<Congestion>,
    outbox: Outbox,
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
        let (unacked, answers) = mpsc::channel(ack_watch::QUEUE);
        let (ephemeral, lots) = mpsc::channel(ephemeral::QUEUE);
        let client =
            GatewayClient::new(parts.registry.clone(), parts.metrics.clone(), parts.internal_secret)?;
        let lanes = Lanes::new(LanesOptions {
            client,
            registry: parts.registry.clone(),
            missing: missing.clone(),
            unacked,
            metrics: parts.metrics.clone(),
            stopping: stopping.clone(),
        });
        let second_look =
            SecondLook::new(parts.registry.clone(), lanes.clone(), parts.pushes.clone(), &parts.metrics);
        tokio::spawn(second_look.run(reported, stopping.clone()));
        let watch = ack_watch::run(
            answers,
            parts.ack_timeout,
            parts.pushes.clone(),
            parts.metrics.clone(),
            stopping.clone(),
        );
        tokio::spawn(watch);
        let wait = Arc::new(QueueWait::new(Instant::now()));
        let congestion = Congestion::new(wait.clone(), queue.clone(), lanes.clone(), parts.metrics.clone());
        let participants = Arc::new(ParticipantCache::new(parts.store));
        let teller = Teller {
            participants: participants.clone(),
            registry: parts.registry.clone(),
            lanes: lanes.clone(),
        };
        tokio::spawn(teller.run(lots, stopping.clone()));
        let dispatcher = Dispatcher {
            participants: participants.clone(),
            registry: parts.registry,
            lanes,
            missing,
            pushes: parts.pushes,
            wait: wait.clone(),
            stopping: stopping.clone(),
        };
        tokio::spawn(dispatcher.run(incoming));
        let congestion = Arc::new(congestion);
        Ok(Self { queue, participants, wait, ephemeral, backlog, congestion, outbox: parts.outbox, stopping })
    }

    /// Whether more may be accepted: fewer entries are on their way than the limit, and they do not wait for too long.
    pub fn has_room(&self) -> bool {
        self.backlog.has_room() && !self.congestion.is_congested()
    }

    /// A version of the channel's membership under which the user is known to take part; `None` if that is not known.
    pub fn known_membership(&self, channel: ChannelId, user: &UserId) -> Option<i64> {
        self.participants.known_membership(channel, user)
    }

    /// Hands over entries that are committed, in `seq` order within each channel: all of each of their rows of the
    /// outbox. Answers how many rows these are.
    pub async fn submit(&self, committed: Vec<Committed>) -> usize {
        self.submit_written(committed.into_iter().map(|committed| Written::new(committed, None))).await
    }

    /// The same for entries that have been serialised.
    pub async fn submit_written(&self, written: impl Iterator<Item = Written>) -> usize {
        let mut rows: HashMap<OutboxId, Arc<RowGuard>> = HashMap::new();
        let mut outgoing = Vec::with_capacity(written.size_hint().0);
        for Written { committed: Committed { entry, membership_version, outbox }, json, trace } in written {
            let row = rows.entry(outbox).or_insert_with(|| self.outbox.guard(outbox)).clone();
            let ticket = self.backlog.enter(json.as_ref().map_or(0, Bytes::len));
            outgoing
                .extend(json.map(|json| Outgoing::new(&entry, json, membership_version, row, ticket, trace)));
        }
        let count = rows.len();
        drop(rows);
        // Fails only after `finish`; what comes later is in the outbox.
        self.wait.puts(outgoing.len(), is_empty(&self.queue));
        let _stopped = self.queue.send(Handover { entries: outgoing, since: Instant::now() }).await;
        count
    }

    /// Tells those who are connected now. Never waits; dropped when there is no room.
    pub fn tell(&self, frames: Vec<Ephemeral>) {
        let _dropped = self.ephemeral.try_send(frames);
    }

    /// Waits until everything is delivered, at most `limit`, and ends the tasks; what they had in hand stays in the
    /// outbox. Answers how many entries were left that did not only wait for their time.
    pub async fn finish(&self, limit: Duration) -> usize {
        let left = self.backlog.drained(limit).await;
        self.outbox.close();
        self.stopping.cancel();
        left
    }
}

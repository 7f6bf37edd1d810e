//! One lane per gateway: a bounded queue and one request in flight that carries all that waits.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared_types::gateway_api::{DeliverResponse, Recipients};
use shared_types::{GatewayId, UserId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::ack_watch::Unacked;
use super::congestion::is_empty;
use super::deliver_body::DeliverBody;
use super::fanout::{Content, Hasher, Shipment};
use super::gateway_client::GatewayClient;
use super::outgoing::{Outgoing, Presence};
use super::registry::Registry;
use super::second_look::{Missing, Next};
use super::traced_call::TracedCall;
use crate::metrics::Metrics;
use crate::queue_wait::QueueWait;

/// Shipments that may wait for one gateway, less than the whole backlog: one gateway that is slow or fails, and
/// whose lane runs over while the others keep up, is no reason to refuse sends.
const LANE_QUEUE: usize = 8_192;
/// The same in bytes, for large channels: a dozen full requests.
const LANE_BYTES: usize = 24 * 1024 * 1024;
/// What may wait in all lanes together: beyond it sends are refused, whatever the reason is that it waits.
const MAX_WAITING_BYTES: usize = 4 * LANE_BYTES;
/// Ephemeral frames are taken while no more than this waits: they must not hold up entries, let alone crowd them out.
const EPHEMERAL_ROOM: usize = LANE_QUEUE / 8;
/// Shipments of one request, and the body at which a request is full: well below what a gateway takes.
const MAX_SHIPMENTS: usize = 512;
const FULL_BODY_BYTES: usize = 2 * 1024 * 1024;
/// Recipients of one shipment; larger channels go in several.
const MAX_RECIPIENTS: usize = 10_000;
/// A lane with nothing to do whose gateway is dead ends after this.
const IDLE: Duration = Duration::from_secs(60);
/// A lane that nothing was put into for this long says nothing about how delivery gets on.
const IN_USE: Duration = Duration::from_secs(5);

/// The lanes to all gateways. Clones share them.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

pub(super) struct LanesOptions {
    pub(super) client: GatewayClient,
    pub(super) registry: Arc<Registry>,
    pub(super) missing: mpsc::Sender<Missing>,
    pub(super) unacked: mpsc::Sender<Unacked>,
    pub(super) metrics: Metrics,
    pub(super) stopping: CancellationToken,
}

struct Shared {
    options: LanesOptions,
    lanes: Mutex<AllLanes>,
}

type AllLanes = HashMap<GatewayId, Lane, Hasher>;

struct Lane {
    queue: mpsc::Sender<Shipment>,
    /// Its work are bytes, of which each recipient makes some.
    wait: Arc<QueueWait>,
}

/// How all lanes get on.
pub(super) struct LanesLoad {
    /// Lanes that take in more than their gateways take out.
    pub(super) behind: usize,
    /// Lanes that are in use and whose gateways do not fail.
    pub(super) in_use: usize,
    /// Together they have no room for more.
    pub(super) is_full: bool,
}

impl Lane {
    fn put(&self, shipment: Shipment) -> Result<(), TrySendError<Shipment>> {
        let bytes = shipment.bytes();
        if self.wait.work_ahead() + bytes > LANE_BYTES {
            return Err(TrySendError::Full(shipment));
        }
        self.wait.puts(bytes, is_empty(&self.queue));
        self.queue.try_send(shipment).inspect_err(|_| self.wait.puts_not(bytes))
    }

    fn is_in_use(&self) -> bool {
        !self.wait.is_failing() && (!is_empty(&self.queue) || self.wait.age() < IN_USE)
    }
}

impl Lanes {
    pub(super) fn new(options: LanesOptions) -> Self {
        Self(Arc::new(Shared { options, lanes: Mutex::default() }))
    }

    /// Puts a shipment into its gateway's lane. Never waits: for whom a full lane has no room is returned, with
    /// what was tried, once that is all that was to be tried for them.
    #[must_use]
    pub(super) fn enqueue(
        &self,
        gateway: &GatewayId,
        outgoing: &Outgoing,
        mut recipients: Vec<UserId>,
        is_second_try: bool,
    ) -> Vec<(UserId, Vec<GatewayId>)> {
        let mut missing = Vec::new();
        while !recipients.is_empty() {
            let rest = recipients.split_off(recipients.len().min(MAX_RECIPIENTS));
            let content = Content::Entry(outgoing.clone());
            let shipment = Shipment { content, recipients, is_second_try, since: Instant::now() };
            if let Err(refused) = self.with_lane(gateway, |lane| lane.put(shipment)) {
                let (TrySendError::Full(shipment) | TrySendError::Closed(shipment)) = refused;
                self.0.options.metrics.count_gateway_request("lane_full");
                missing.extend(self.0.settle_refused(gateway, outgoing, &shipment.recipients));
            } else {
                self.0.options.metrics.lane_depth.inc();
            }
            recipients = rest;
        }
        missing
    }

    /// The same for what may be dropped.
    pub(super) fn enqueue_ephemeral(&self, gateway: &GatewayId, frame: Bytes, recipients: Vec<UserId>) {
        let content = Content::Ephemeral(frame);
        let shipment = Shipment { content, recipients, is_second_try: false, since: Instant::now() };
        let is_taken = self.with_lane(gateway, |lane| {
            lane.queue.max_capacity() - lane.queue.capacity() < EPHEMERAL_ROOM && lane.put(shipment).is_ok()
        });
        if is_taken {
            self.0.options.metrics.lane_depth.inc();
        }
    }

    /// Under the lock that `retire` takes, so that nothing is put into a lane that has ended.
    fn with_lane<T>(&self, gateway: &GatewayId, put: impl FnOnce(&Lane) -> T) -> T {
        let mut lanes = self.0.lanes();
        match lanes.get(gateway) {
            Some(lane) => put(lane),
            None => put(lanes.entry(gateway.clone()).or_insert_with(|| self.start_lane(gateway))),
        }
    }

    fn start_lane(&self, gateway: &GatewayId) -> Lane {
        let (sender, queue) = mpsc::channel(LANE_QUEUE);
        let wait = Arc::new(QueueWait::new(Instant::now()));
        tokio::spawn(self.0.clone().run_lane(gateway.clone(), queue, wait.clone()));
        Lane { queue: sender, wait }
    }

    pub(super) fn load(&self) -> LanesLoad {
        let lanes = self.0.lanes();
        let behind = |lane: &&Lane| lane.wait.is_behind(is_empty(&lane.queue));
        let bytes: usize = lanes.values().map(|lane| lane.wait.work_ahead()).sum();
        LanesLoad {
            behind: lanes.values().filter(behind).count(),
            in_use: lanes.values().filter(|lane| lane.is_in_use()).count(),
            is_full: bytes > MAX_WAITING_BYTES,
        }
    }
}

impl Shared {
    async fn run_lane(
        self: Arc<Self>,
        gateway: GatewayId,
        mut queue: mpsc::Receiver<Shipment>,
        wait: Arc<QueueWait>,
    ) {
        loop {
            let first = tokio::select! {
                () = self.options.stopping.cancelled() => return,
                first = tokio::time::timeout(IDLE, queue.recv()) => first,
            };
            let Ok(Some(first)) = first else {
                if self.retire(&gateway, &queue) {
                    return;
                }
                continue;
            };
            let (shipments, bytes) = gather(first, &mut queue, &wait);
            let sent_at = Instant::now();
            self.options.metrics.lane_depth.dec_by(i64::try_from(shipments.len()).unwrap_or(0));
            tokio::select! {
                () = self.options.stopping.cancelled() => return,
                () = self.deliver(&gateway, &wait, shipments, bytes) => { wait.did(bytes, sent_at.elapsed()); }
            }
        }
    }

    /// Removes an idle lane whose gateway is dead.
    fn retire(&self, gateway: &GatewayId, queue: &mpsc::Receiver<Shipment>) -> bool {
        let mut lanes = self.lanes();
        let is_over = queue.is_empty() && self.options.registry.url_of(gateway).is_none();
        if is_over {
            lanes.remove(gateway);
        }
        is_over
    }

    fn lanes(&self) -> MutexGuard<'_, AllLanes> {
        // The map is whole after every statement, so a panic elsewhere has not broken it.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, gateway: &GatewayId, wait: &QueueWait, shipments: Vec<Shipment>, bytes: usize) {
        let mut body = DeliverBody::with_capacity(bytes);
        for shipment in &shipments {
            body.add(&shipment.recipients, shipment.json());
        }
        let traced = TracedCall::begin(gateway, &shipments);
        let answer = self.options.client.deliver(gateway, wait, body.finish().into(), traced.header()).await;
        traced.end(answer.is_some());
        self.report(gateway, shipments, answer).await;
    }

    /// Accounts for every recipient: who was there, who has still to ack, and who is to be looked for again.
    async fn report(&self, gateway: &GatewayId, shipments: Vec<Shipment>, answer: Option<DeliverResponse>) {
        let answered = answer.is_some();
        let answer = answer.unwrap_or_default();
        let (absent, awaiting_ack) = (by_delivery(answer.absent), by_delivery(answer.awaiting_ack));
        let (mut reached, mut not_there) = (0, 0);
        for (index, Shipment { content, recipients, is_second_try, .. }) in shipments.into_iter().enumerate()
        {
            let Content::Entry(outgoing) = content else { continue };
            let (absent, awaiting_ack) = (absent.get(&index), awaiting_ack.get(&index));
            let settled = outgoing.settle(gateway, &recipients, |user| match () {
                () if !answered || names(absent, user) => Presence::Absent,
                () if names(awaiting_ack, user) && outgoing.may_push_to(user) => Presence::AwaitingAck,
                () => Presence::Present,
            });
            let gone = if answered { absent.map_or(0, HashSet::len) } else { recipients.len() };
            reached += recipients.len().saturating_sub(gone);
            not_there += gone;
            // Both are closed only while stopping.
            if !settled.awaiting_ack.is_empty() {
                let unacked = Unacked { outgoing: outgoing.at_rest(), users: settled.awaiting_ack };
                let _stopped = self.options.unacked.send(unacked).await;
            }
            if !settled.missing.is_empty() {
                let next = if is_second_try { Next::Push } else { Next::Look };
                let missing = Missing { outgoing, users: settled.missing, next };
                let _stopped = self.options.missing.send(missing).await;
            }
        }
        self.options.metrics.count_deliveries("session", reached);
        self.options.metrics.count_deliveries("absent", not_there);
    }

    /// As if the gateway had said that they are absent.
    fn settle_refused(
        &self,
        gateway: &GatewayId,
        outgoing: &Outgoing,
        recipients: &[UserId],
    ) -> Vec<(UserId, Vec<GatewayId>)> {
        let mut settled = outgoing.settle(gateway, recipients, |_| Presence::Absent);
        if !settled.awaiting_ack.is_empty() {
            let unacked = Unacked { outgoing: outgoing.at_rest(), users: settled.awaiting_ack };
            // Nobody may wait here. Without room their acks are not waited for either.
            if let Err(TrySendError::Full(unacked)) = self.options.unacked.try_send(unacked) {
                settled.missing.extend(unacked.users.into_iter().map(|user| (user, Vec::new())));
            }
        }
        settled.missing
    }
}

/// All that waits, up to what one request carries, and about as many bytes as its body takes.
fn gather(first: Shipment, queue: &mut mpsc::Receiver<Shipment>, wait: &QueueWait) -> (Vec<Shipment>, usize) {
    let mut bytes = first.bytes();
    let mut last_put = first.since;
    let mut shipments = vec![first];
    let is_full = loop {
        if shipments.len() >= MAX_SHIPMENTS || bytes >= FULL_BODY_BYTES {
            break true;
        }
        let Ok(next) = queue.try_recv() else { break false };
        bytes += next.bytes();
        last_put = next.since;
        shipments.push(next);
    };
    wait.took(last_put, is_full && !queue.is_empty());
    (shipments, bytes)
}

fn by_delivery(answers: Vec<Recipients>) -> HashMap<usize, HashSet<UserId>> {
    let mut users: HashMap<usize, HashSet<UserId>> = HashMap::new();
    for part in answers {
        users.entry(part.delivery).or_default().extend(part.recipients);
    }
    users
}

fn names(users: Option<&HashSet<UserId>>, user: &UserId) -> bool {
    users.is_some_and(|users| users.contains(user))
}

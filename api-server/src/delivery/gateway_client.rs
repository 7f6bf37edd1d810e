//! One lane per gateway: a bounded queue and one request in flight that carries all that waits.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::value::RawValue;
use shared_types::gateway_api::{DELIVER_PATH, DeliverResponse};
use shared_types::{GatewayId, UserId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::fanout::Shipment;
use super::registry::Registry;
use super::second_look::Missing;
use crate::metrics::{Metrics, OutcomeLabels};

/// Shipments that may wait for one gateway, a small share of the whole backlog: beyond it the gateway is as good
/// as gone for them, and the others are not held up.
const LANE_QUEUE: usize = 8_192;
/// Shipments of one request, and the body at which a request is full: well below what a gateway takes.
const MAX_SHIPMENTS: usize = 512;
const FULL_BODY_BYTES: usize = 2 * 1024 * 1024;
/// Recipients of one shipment; larger channels go in several.
const MAX_RECIPIENTS: usize = 10_000;
/// A gateway only enqueues; one that takes longer is in trouble.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Longer than a lease lasts: one that holds its lease and cannot be reached is given up.
const GIVE_UP: Duration = Duration::from_secs(15);
/// A lane with nothing to do whose gateway is dead ends after this.
const IDLE: Duration = Duration::from_secs(60);

/// The lanes to all gateways. Clones share them.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

pub(super) struct LanesOptions {
    pub(super) registry: Arc<Registry>,
    pub(super) missing: mpsc::Sender<Missing>,
    pub(super) metrics: Metrics,
    pub(super) internal_secret: String,
    pub(super) stopping: CancellationToken,
}

struct Shared {
    options: LanesOptions,
    client: reqwest::Client,
    lanes: Mutex<HashMap<GatewayId, mpsc::Sender<Shipment>>>,
}

impl Lanes {
    pub(super) fn new(options: LanesOptions) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            .build()?;
        Ok(Self(Arc::new(Shared { options, client, lanes: Mutex::default() })))
    }

    /// Puts a shipment into its gateway's lane. Never waits: for whom a full lane has no room is returned, with
    /// what was tried, once that is all that was to be tried for them.
    #[must_use]
    pub(super) fn enqueue(
        &self,
        gateway: &GatewayId,
        mut shipment: Shipment,
    ) -> Vec<(UserId, Vec<GatewayId>)> {
        let mut missing = Vec::new();
        while shipment.recipients.len() > MAX_RECIPIENTS {
            let rest = shipment.recipients.split_off(MAX_RECIPIENTS);
            let Shipment { outgoing, is_second_try, .. } = &shipment;
            let rest =
                Shipment { recipients: rest, outgoing: outgoing.clone(), is_second_try: *is_second_try };
            missing.extend(self.enqueue_one(gateway, shipment));
            shipment = rest;
        }
        missing.extend(self.enqueue_one(gateway, shipment));
        missing
    }

    fn enqueue_one(&self, gateway: &GatewayId, shipment: Shipment) -> Vec<(UserId, Vec<GatewayId>)> {
        let refused = {
            let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = lanes.entry(gateway.clone()).or_insert_with(|| self.start_lane(gateway));
            lane.try_send(shipment)
        };
        match refused {
            Ok(()) => {
                self.0.options.metrics.lane_depth.inc();
                Vec::new()
            }
            Err(mpsc::error::TrySendError::Full(shipment) | mpsc::error::TrySendError::Closed(shipment)) => {
                self.0.count("lane_full");
                shipment.outgoing.settle(gateway, &shipment.recipients, |_| true)
            }
        }
    }

    fn start_lane(&self, gateway: &GatewayId) -> mpsc::Sender<Shipment> {
        let (sender, queue) = mpsc::channel(LANE_QUEUE);
        tokio::spawn(self.0.clone().run_lane(gateway.clone(), queue));
        sender
    }
}

/// A delivery as it goes over the wire; what is borrowed is written, not copied.
#[derive(Serialize)]
struct DeliveryRef<'a> {
    recipients: &'a [UserId],
    entry: &'a RawValue,
}

#[derive(Serialize)]
struct DeliverRequestRef<'a> {
    deliveries: Vec<DeliveryRef<'a>>,
}

impl Shared {
    async fn run_lane(self: Arc<Self>, gateway: GatewayId, mut queue: mpsc::Receiver<Shipment>) {
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
            let shipments = gather(first, &mut queue);
            self.options.metrics.lane_depth.dec_by(i64::try_from(shipments.len()).unwrap_or(0));
            tokio::select! {
                () = self.options.stopping.cancelled() => return,
                () = self.deliver(&gateway, shipments) => {}
            }
        }
    }

    /// Removes an idle lane whose gateway is dead. Under the lock that `enqueue` takes, so nothing slips in.
    fn retire(&self, gateway: &GatewayId, queue: &mpsc::Receiver<Shipment>) -> bool {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = queue.is_empty() && self.options.registry.url_of(gateway).is_none();
        if is_over {
            lanes.remove(gateway);
        }
        is_over
    }

    async fn deliver(&self, gateway: &GatewayId, shipments: Vec<Shipment>) {
        let deliveries = shipments
            .iter()
            .map(|shipment| DeliveryRef { recipients: &shipment.recipients, entry: shipment.outgoing.json() })
            .collect();
        let answer = match serde_json::to_vec(&DeliverRequestRef { deliveries }) {
            Ok(body) => self.post(gateway, body.into()).await,
            Err(error) => {
                warn!(%error, gateway_id = %gateway, "a delivery cannot be written");
                None
            }
        };
        self.report(gateway, shipments, answer).await;
    }

    /// Asks until the gateway answers or is given up, which is when its lease ends. Its sessions may still live
    /// while it restarts its listener or its network heals; only the lease says that they do not.
    async fn post(&self, gateway: &GatewayId, body: Bytes) -> Option<DeliverResponse> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut attempts = 0_u32;
        while let Some(url) = self.options.registry.url_of(gateway) {
            attempts += 1;
            match self.try_post(&url, body.clone()).await {
                Ok(answer) => {
                    self.count("delivered");
                    if attempts > 1 {
                        info!(gateway_id = %gateway, attempts, "the gateway answers again");
                    }
                    return Some(answer);
                }
                Err(reason) => {
                    self.count("failed");
                    if attempts == 1 {
                        warn!(gateway_id = %gateway, reason, "a gateway does not take deliveries");
                    }
                }
            }
            if started.elapsed() > GIVE_UP {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
        self.count("given_up");
        warn!(gateway_id = %gateway, attempts, "gave up on a gateway: its recipients are looked up again");
        None
    }

    async fn try_post(&self, url: &str, body: Bytes) -> Result<DeliverResponse, String> {
        let request = self
            .client
            .post(format!("{url}{DELIVER_PATH}"))
            .bearer_auth(&self.options.internal_secret)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let response = request.send().await.map_err(|error| reason(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        response.json().await.map_err(|error| reason(&error))
    }

    /// Accounts for every recipient: who was there, and who is to be looked for again.
    async fn report(&self, gateway: &GatewayId, shipments: Vec<Shipment>, answer: Option<DeliverResponse>) {
        let mut absent: HashMap<usize, HashSet<UserId>> = HashMap::new();
        let answered = answer.is_some();
        for part in answer.unwrap_or_default().absent {
            absent.entry(part.delivery).or_default().extend(part.recipients);
        }
        for (index, shipment) in shipments.into_iter().enumerate() {
            let absent = absent.get(&index);
            let is_absent = |user: &UserId| !answered || absent.is_some_and(|absent| absent.contains(user));
            let users = shipment.outgoing.settle(gateway, &shipment.recipients, is_absent);
            let gone = if answered { absent.map_or(0, HashSet::len) } else { shipment.recipients.len() };
            self.options.metrics.count_deliveries("session", shipment.recipients.len().saturating_sub(gone));
            self.options.metrics.count_deliveries("absent", gone);
            if !users.is_empty() {
                let missing =
                    Missing { outgoing: shipment.outgoing, users, is_second_try: shipment.is_second_try };
                // Closed only while stopping.
                let _stopped = self.options.missing.send(missing).await;
            }
        }
    }

    fn count(&self, outcome: &'static str) {
        self.options.metrics.gateway_requests.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

/// All that waits, up to what one request carries.
fn gather(first: Shipment, queue: &mut mpsc::Receiver<Shipment>) -> Vec<Shipment> {
    // A user id takes at most 64 bytes, quotes and comma.
    let size = |shipment: &Shipment| shipment.outgoing.json().get().len() + shipment.recipients.len() * 67;
    let mut bytes = size(&first);
    let mut shipments = vec![first];
    while shipments.len() < MAX_SHIPMENTS && bytes < FULL_BODY_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += size(&next);
        shipments.push(next);
    }
    shipments
}

/// What went wrong, with its causes and without the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut words =
        String::from(if error.is_timeout() { "it did not answer in time" } else { "the call failed" });
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

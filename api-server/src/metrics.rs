//! What this service counts, by Prometheus' conventions; `docs/metrics.md` says what each means.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use shared_runtime::metrics::{OutcomeLabels, by_outcome, register_build_info, registered, seconds};

use crate::store::Connections;

const SENDS: [&str; 5] = ["stored", "deduplicated", "refused", "rate_limited", "overloaded"];
const DELIVERIES: [&str; 3] = ["session", "absent", "push"];
const GATEWAY_REQUESTS: [&str; 4] = ["delivered", "failed", "given_up", "lane_full"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    /// The route's pattern, never the path: a path has ids in it.
    pub route: Cow<'static, str>,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub method: &'static str,
    pub route: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PushLabels {
    pub outcome: &'static str,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BudgetLabels {
    pub budget: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabels {
    state: &'static str,
}

/// Every series of the api-server. Clones count into the same ones.
#[derive(Clone)]
pub struct Metrics {
    pub requests: Family<RequestLabels, Counter>,
    pub request_duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    pub http_worker_turn: Histogram,
    pub sends: Family<OutcomeLabels, Counter>,
    pub batch_size: Histogram,
    pub batch_duration: Histogram,
    pub writer_wait: Histogram,
    pub waiting_sends: Gauge,
    pub undelivered: Gauge,
    pub deliveries: Family<OutcomeLabels, Counter>,
    pub delivery_duration: Histogram,
    pub gateway_requests: Family<OutcomeLabels, Counter>,
    pub lane_depth: Gauge,
    pub lanes_behind: Gauge,
    pub delivery_congested: Gauge,
    pub live_gateways: Gauge,
    pub registry_failures: Counter,
    pub registry_lookup_duration: Histogram,
    pub absent_after_second_look: Counter,
    pub delayed_looks: Gauge,
    pub outbox_adopted: Counter,
    pub outbox_oldest: Gauge<f64, AtomicU64>,
    pub entries_removed: Counter,
    pub acks: Counter,
    pub awaiting_acks: Gauge,
    pub unacked_pushes: Counter,
    pub pushes: Family<PushLabels, Counter>,
    pub pushed_messages: Counter,
    pub pushes_held_back: Family<BudgetLabels, Counter>,
    pub push_delay: Histogram,
    pub push_jobs_due: Gauge,
    pub push_failing_by_our_fault: Gauge,
    postgres_connections: Family<StateLabels, Gauge>,
    pub trace_spans_dropped: Counter,
}

impl Metrics {
    /// Registers everything under `naru_api_…`, and which version this is.
    pub fn register(registry: &mut Registry) -> Self {
        register_build_info(registry, "api-server");
        let api = registry.sub_registry_with_prefix("naru_api");
        Self {
            requests: registered(
                api,
                "http_requests",
                "Public requests by route and status",
                Family::default(),
            ),
            request_duration: registered(
                api,
                "http_request_duration_seconds",
                "Time to answer a public request, by route",
                Family::new_with_constructor(seconds),
            ),
            http_worker_turn: registered(
                api,
                "http_worker_turn_seconds",
                "Time that an HTTP worker took for everything that was ready, while sends came",
                seconds(),
            ),
            sends: registered(api, "sends", "Sends by what became of them", by_outcome(&SENDS)),
            batch_size: registered(
                api,
                "writer_batch_size",
                "Messages in one batch of the group commit",
                // From 1 to 256, the largest batch.
                Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            ),
            batch_duration: registered(
                api,
                "writer_batch_duration_seconds",
                "Time that one batch took to commit",
                seconds(),
            ),
            writer_wait: registered(
                api,
                "writer_wait_seconds",
                "Time that the first message of a batch waited until the batch was taken up",
                seconds(),
            ),
            waiting_sends: registered(api, "waiting_sends", "Sends that wait to be stored", Gauge::default()),
            undelivered: registered(
                api,
                "undelivered_entries",
                "Stored entries whose fan-out has not ended",
                Gauge::default(),
            ),
            deliveries: registered(
                api,
                "deliveries",
                "Recipients by how an entry reached them",
                by_outcome(&DELIVERIES),
            ),
            delivery_duration: registered(
                api,
                "delivery_duration_seconds",
                "Time from commit to the end of fan-out, without waiting for acks and for who is expected back",
                seconds(),
            ),
            gateway_requests: registered(
                api,
                "gateway_requests",
                "Calls to gateways by outcome",
                by_outcome(&GATEWAY_REQUESTS),
            ),
            lane_depth: registered(api, "lane_depth", "Shipments that wait for a gateway", Gauge::default()),
            lanes_behind: registered(
                api,
                "lanes_behind",
                "Gateways to which more is to be delivered than they take",
                Gauge::default(),
            ),
            delivery_congested: registered(
                api,
                "delivery_congested",
                "1 while sends are refused because deliveries wait for too long",
                Gauge::default(),
            ),
            live_gateways: registered(
                api,
                "live_gateways",
                "Gateways that hold a lease, as this server last saw it",
                Gauge::default(),
            ),
            registry_failures: registered(
                api,
                "registry_failures",
                "Look-ups that Redis did not answer",
                Counter::default(),
            ),
            registry_lookup_duration: registered(
                api,
                "registry_lookup_duration_seconds",
                "Time that one look-up of recipients took",
                seconds(),
            ),
            absent_after_second_look: registered(
                api,
                "absent_after_second_look",
                "Recipients who were looked for again in vain",
                Counter::default(),
            ),
            delayed_looks: registered(
                api,
                "delayed_looks",
                "Recipients who are looked for again in a moment",
                Gauge::default(),
            ),
            outbox_adopted: registered(
                api,
                "outbox_adopted",
                "Batches taken over from a server that died or whose answer was lost",
                Counter::default(),
            ),
            outbox_oldest: registered(
                api,
                "outbox_oldest_seconds",
                "Age of the oldest row of the outbox, whoever works on it and whatever it waits for",
                Gauge::default(),
            ),
            entries_removed: registered(
                api,
                "entries_removed",
                "Entries that were older than is to be kept",
                Counter::default(),
            ),
            acks: registered(api, "acks", "Acks taken from gateways", Counter::default()),
            awaiting_acks: registered(
                api,
                "awaiting_acks",
                "Recipients who were written to and have still to ack",
                Gauge::default(),
            ),
            unacked_pushes: registered(
                api,
                "unacked_pushes",
                "Devices that are pushed to because no ack came in time",
                Counter::default(),
            ),
            pushes: registered(api, "pushes", "Pushes by outcome", Family::default()),
            pushed_messages: registered(
                api,
                "pushed_messages",
                "Messages that accepted pushes told of; more than pushes, where they folded",
                Counter::default(),
            ),
            pushes_held_back: registered(
                api,
                "pushes_held_back",
                "Times that a push was put off for want of budget",
                Family::default(),
            ),
            push_delay: registered(
                api,
                "push_delay_seconds",
                "Time from a push's job to its acceptance",
                // From 10 ms to about 3 hours: retries are part of a push's delay.
                Histogram::new(exponential_buckets(0.01, 4.0, 11)),
            ),
            push_jobs_due: registered(
                api,
                "push_jobs_due",
                "Pushes that are due and that nobody has taken on yet, up to 10000",
                Gauge::default(),
            ),
            push_failing_by_our_fault: registered(
                api,
                "push_failing_by_our_fault",
                "1 while the push service refuses our credentials or options",
                Gauge::default(),
            ),
            postgres_connections: registered(
                api,
                "postgres_connections",
                "Connections to Postgres by what they do",
                Family::default(),
            ),
            trace_spans_dropped: registered(
                api,
                "trace_spans_dropped",
                "Spans of traces for which there was no room or no collector",
                Counter::default(),
            ),
        }
    }

    pub fn count_send(&self, outcome: &'static str) {
        self.sends.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub fn count_gateway_request(&self, outcome: &'static str) {
        self.gateway_requests.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub fn count_deliveries(&self, outcome: &'static str, recipients: usize) {
        self.deliveries.get_or_create(&OutcomeLabels { outcome }).inc_by(recipients as u64);
    }

    pub fn show_connections(&self, Connections { idle, used }: Connections) {
        for (state, count) in [("idle", idle), ("used", used)] {
            self.postgres_connections.get_or_create(&StateLabels { state }).set(i64::from(count));
        }
    }
}

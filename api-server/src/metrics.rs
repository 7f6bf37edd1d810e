//! What this service counts, by Prometheus' conventions.

use std::borrow::Cow;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    /// The route's pattern, never the path: a path has ids in it.
    pub route: Cow<'static, str>,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    pub outcome: &'static str,
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

/// Every series of the api-server. Clones count into the same ones.
#[derive(Clone)]
pub struct Metrics {
    pub requests: Family<RequestLabels, Counter>,
    pub request_seconds: Histogram,
    pub sends: Family<OutcomeLabels, Counter>,
    pub batch_size: Histogram,
    pub batch_seconds: Histogram,
    pub waiting_sends: Gauge,
    pub undelivered: Gauge,
    pub deliveries: Family<OutcomeLabels, Counter>,
    pub delivery_seconds: Histogram,
    pub gateway_requests: Family<OutcomeLabels, Counter>,
    pub lane_depth: Gauge,
    pub lanes_behind: Gauge,
    pub delivery_congested: Gauge,
    pub registry_failures: Counter,
    pub outbox_adopted: Counter,
    pub entries_removed: Counter,
    pub acks: Counter,
    pub awaiting_acks: Gauge,
    pub unacked_pushes: Counter,
    pub delayed_looks: Gauge,
    pub pushes: Family<PushLabels, Counter>,
    pub pushed_messages: Counter,
    pub pushes_held_back: Family<BudgetLabels, Counter>,
    pub push_delay_seconds: Histogram,
    pub push_failing_by_our_fault: Gauge,
}

impl Metrics {
    /// Registers everything under `naru_api_…`.
    pub fn register(registry: &mut Registry) -> Self {
        // From 0.5 ms to 16 s, which spans a cached answer and the longest time-out.
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Self {
            requests: Family::default(),
            request_seconds: seconds(),
            sends: Family::default(),
            // From 1 to 256, the largest batch.
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            batch_seconds: seconds(),
            waiting_sends: Gauge::default(),
            undelivered: Gauge::default(),
            deliveries: Family::default(),
            delivery_seconds: seconds(),
            gateway_requests: Family::default(),
            lane_depth: Gauge::default(),
            lanes_behind: Gauge::default(),
            delivery_congested: Gauge::default(),
            registry_failures: Counter::default(),
            outbox_adopted: Counter::default(),
            entries_removed: Counter::default(),
            acks: Counter::default(),
            awaiting_acks: Gauge::default(),
            unacked_pushes: Counter::default(),
            delayed_looks: Gauge::default(),
            pushes: Family::default(),
            pushed_messages: Counter::default(),
            pushes_held_back: Family::default(),
            // From 10 ms to about 3 hours: retries are part of a push's delay.
            push_delay_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 11)),
            push_failing_by_our_fault: Gauge::default(),
        };
        let naru = registry.sub_registry_with_prefix("naru_api");
        naru.register("http_requests", "Public requests by route and status", metrics.requests.clone());
        naru.register(
            "http_request_seconds",
            "Time to answer a public request",
            metrics.request_seconds.clone(),
        );
        naru.register("sends", "Sends by what became of them", metrics.sends.clone());
        naru.register(
            "writer_batch_size",
            "Messages in one batch of the group commit",
            metrics.batch_size.clone(),
        );
        naru.register(
            "writer_batch_seconds",
            "Time that one batch took to commit",
            metrics.batch_seconds.clone(),
        );
        naru.register("waiting_sends", "Sends that wait to be stored", metrics.waiting_sends.clone());
        naru.register(
            "undelivered_entries",
            "Stored entries whose fan-out has not ended",
            metrics.undelivered.clone(),
        );
        naru.register("deliveries", "Recipients by how an entry reached them", metrics.deliveries.clone());
        naru.register(
            "delivery_seconds",
            "Time from commit to the end of fan-out, without waiting for acks and for who is expected back",
            metrics.delivery_seconds.clone(),
        );
        naru.register("gateway_requests", "Calls to gateways by outcome", metrics.gateway_requests.clone());
        naru.register("lane_depth", "Shipments that wait for a gateway", metrics.lane_depth.clone());
        naru.register(
            "lanes_behind",
            "Gateways to which more is to be delivered than they take",
            metrics.lanes_behind.clone(),
        );
        naru.register(
            "delivery_congested",
            "1 while sends are refused because deliveries wait for too long",
            metrics.delivery_congested.clone(),
        );
        naru.register(
            "registry_failures",
            "Look-ups that Redis did not answer",
            metrics.registry_failures.clone(),
        );
        naru.register(
            "outbox_adopted",
            "Batches taken over from a server that died or whose answer was lost",
            metrics.outbox_adopted.clone(),
        );
        naru.register(
            "entries_removed",
            "Entries that were older than is to be kept",
            metrics.entries_removed.clone(),
        );
        naru.register("acks", "Acks taken from gateways", metrics.acks.clone());
        naru.register(
            "awaiting_acks",
            "Recipients who were written to and have still to ack",
            metrics.awaiting_acks.clone(),
        );
        naru.register(
            "unacked_pushes",
            "Devices that are pushed to because no ack came in time",
            metrics.unacked_pushes.clone(),
        );
        naru.register(
            "delayed_looks",
            "Recipients who are looked for again in a moment",
            metrics.delayed_looks.clone(),
        );
        naru.register("pushes", "Pushes by outcome", metrics.pushes.clone());
        naru.register(
            "pushed_messages",
            "Messages that accepted pushes told of; more than pushes, where they folded",
            metrics.pushed_messages.clone(),
        );
        naru.register(
            "pushes_held_back",
            "Times that a push was put off for want of budget",
            metrics.pushes_held_back.clone(),
        );
        naru.register(
            "push_delay_seconds",
            "Time from a push's job to its acceptance",
            metrics.push_delay_seconds.clone(),
        );
        naru.register(
            "push_failing_by_our_fault",
            "1 while the push service refuses our credentials or options",
            metrics.push_failing_by_our_fault.clone(),
        );
        metrics
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
}

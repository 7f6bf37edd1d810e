//! How both services register what they count: by Prometheus' conventions, each series beside its help.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    pub outcome: &'static str,
}

/// Registers a series and answers the handle that counts into it.
pub fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A counter for each outcome, all of them there from the start: the first event of a series that begins with it is seen
/// by no `rate`.
pub fn by_outcome(outcomes: &[&'static str]) -> Family<OutcomeLabels, Counter> {
    let family = Family::default();
    for &outcome in outcomes {
        drop(family.get_or_create_owned(&OutcomeLabels { outcome }));
    }
    family
}

/// From 0.5 ms to 16 s, which spans a cached answer and the longest time-out.
pub fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

/// From 1 ms to 131 s, for what may wait for a person's device.
pub fn seconds_until_seen() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

/// `…_redis_connections_opened_total`, where there is a Redis.
pub fn register_redis(registry: &mut Registry, opened: Option<Counter>) {
    if let Some(opened) = opened {
        registry.register("redis_connections_opened", "Connections made to Redis", opened);
    }
}

/// `naru_build_info`: 1, with the version.
pub fn register_build_info(registry: &mut Registry, service: &'static str) {
    let info = Info::new(vec![("version", env!("CARGO_PKG_VERSION")), ("service", service)]);
    registry.register("naru_build", "The version that runs", info);
}

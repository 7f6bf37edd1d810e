//! What every handler may use.

use std::sync::Arc;

use prometheus_client::registry::Registry as MetricsRegistry;
use shared_runtime::internal_secret::InternalSecret;
use shared_runtime::ops::Draining;
use shared_runtime::tokens::CachedVerifier;
use shared_runtime::traces::Sampling;

use crate::delivery::Delivery;
use crate::delivery::registry::Registry;
use crate::limits::SendLimits;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::store::Store;
use crate::writer::Writer;

pub struct State {
    pub store: Arc<dyn Store>,
    pub outbox: Outbox,
    pub writer: Writer,
    pub delivery: Delivery,
    pub registry: Arc<Registry>,
    pub tokens: CachedVerifier,
    pub internal_secret: InternalSecret,
    pub limits: SendLimits,
    pub metrics: Metrics,
    pub metrics_registry: Arc<MetricsRegistry>,
    pub draining: Draining,
    pub sampling: Sampling,
}

impl State {
    /// The metrics, with what is looked at only when somebody asks.
    pub fn metrics_now(&self) -> &MetricsRegistry {
        // Judged anew with each send, which there may have been none of for long.
        let _has_room = self.delivery.has_room();
        if let Some(connections) = self.store.connections() {
            self.metrics.show_connections(connections);
        }
        &self.metrics_registry
    }
}

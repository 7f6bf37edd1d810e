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

//! Traces: what a request caused, span by span, told to an OpenTelemetry collector. Off unless there is one.
//!
//! What is recorded travels as an `Option<Trace>` with the thing that it is about. The many that are not recorded carry
//! `None`, and cost a look at it.

mod export;
mod options;
mod propagation;
mod sampling;
mod span;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::RandomIdGenerator;
use prometheus_client::metrics::counter::Counter;
use tracing::info;

pub use opentelemetry::trace::{SpanKind, TraceId};
pub use options::{SamplingOptions, TraceOptions};
pub use propagation::Traced;
pub use sampling::Sampling;
pub use span::{Span, Trace};

use crate::secret::OptionError;
use export::{Exporter, Recorder};

/// Who the spans are from.
pub struct Service<'a> {
    pub name: &'static str,
    /// The program's, as Cargo has it.
    pub version: &'static str,
    /// New at each start.
    pub instance_id: &'a str,
}

/// Where this process records spans, if it does. Clones share it.
#[derive(Clone, Default)]
pub struct Traces {
    recorder: Option<Arc<Recorder>>,
    exporter: Arc<Mutex<Option<Exporter>>>,
}

impl Traces {
    /// Starts the task that sends spans to the collector of the options, on this runtime; without one nothing is ever
    /// recorded. Spans for which there was no room, or no collector, are counted in `dropped`.
    pub fn start(
        options: &TraceOptions,
        service: &Service<'_>,
        dropped: Counter,
    ) -> Result<Self, OptionError> {
        let Some(collector) = options.collector()? else { return Ok(Self::default()) };
        let resource = Resource::builder()
            .with_service_name(service.name)
            .with_attribute(KeyValue::new("service.version", service.version))
            .with_attribute(KeyValue::new("service.instance.id", service.instance_id.to_owned()))
            .build();
        info!(%collector, instance_id = service.instance_id, "traces are sent");
        let (recorder, exporter) = Exporter::start(&collector, &resource, dropped)?;
        Ok(Self { recorder: Some(Arc::new(recorder)), exporter: Arc::new(Mutex::new(Some(exporter))) })
    }

    pub fn is_on(&self) -> bool {
        self.recorder.is_some()
    }

    /// Goes on with a trace that another service of ours records, from what it wrote by [`Trace::traceparent`].
    pub fn follow(&self, traceparent: &str) -> Option<Trace> {
        let recorder = self.recorder.as_ref()?;
        let caller = propagation::parse(traceparent)?;
        caller.is_sampled().then(|| Trace::of_caller(recorder, &caller))
    }

    /// Sends what has been recorded, at most for `limit` and two seconds, and takes nothing more.
    pub async fn finish(&self, limit: Duration) {
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            exporter.finish(limit).await;
        }
    }
}

fn new_root(recorder: &Arc<Recorder>, trace_id: TraceId) -> Trace {
    Trace::at(recorder, trace_id, SpanId::INVALID, false)
}

fn ids() -> RandomIdGenerator {
    RandomIdGenerator::default()
}

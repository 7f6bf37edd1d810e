//! Which requests from outside are traced.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{IdGenerator, Sampler, SamplingDecision, ShouldSample};

use super::export::Recorder;
use super::options::SamplingOptions;
use super::{Trace, Traces, ids, new_root, propagation};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Decides where a trace begins; everything after that follows the decision.
pub struct Sampling(Option<On>);

struct On {
    recorder: Arc<Recorder>,
    share: Sampler,
    /// `None`: nobody may ask.
    asked: Option<DefaultDirectRateLimiter>,
}

impl Sampling {
    pub fn new(traces: &Traces, options: &SamplingOptions) -> Self {
        Self(traces.recorder.clone().map(|recorder| {
            On {
                recorder,
                share: Sampler::TraceIdRatioBased(options.trace_sample),
                asked: NonZeroU32::new(options.trace_asked_rate)
                    .map(|rate| RateLimiter::direct(Quota::per_second(rate))),
            }
        }))
    }

    /// The trace of a request with these headers, if it is to be recorded. Its caller may say that it is not, and, as
    /// often as anybody may, that it is.
    pub fn of(&self, headers: &HeaderMap) -> Option<Trace> {
        let on = self.0.as_ref()?;
        let caller = headers.get(TRACEPARENT).and_then(|value| propagation::parse(value.to_str().ok()?));
        if let Some(caller) = caller {
            if !caller.is_sampled() {
                return None;
            }
            if on.asked.as_ref().is_some_and(|asked| asked.check().is_ok()) {
                return Some(Trace::of_caller(&on.recorder, &caller));
            }
        }
        let trace_id = ids().new_trace_id();
        let verdict = on.share.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        (verdict.decision == SamplingDecision::RecordAndSample).then(|| new_root(&on.recorder, trace_id))
    }
}

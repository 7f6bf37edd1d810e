//! One span, and the place in a trace where spans hang.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, SpanData, SpanEvents, SpanLinks};

use super::export::Recorder;
use super::ids;

/// Spans of one trace in one process: a message to a thousand would have a thousand pushes or writes, and they say no
/// more than the first few.
const MAX_SPANS: u32 = 64;

/// A place in a trace that is recorded: what begins here becomes the child of one span.
#[derive(Clone)]
pub struct Trace(Arc<Place>);

struct Place {
    recorder: Arc<Recorder>,
    trace_id: TraceId,
    span_id: SpanId,
    /// The span is another process's.
    is_remote: bool,
    spans_left: Arc<AtomicU32>,
}

impl Trace {
    pub(super) fn at(recorder: &Arc<Recorder>, trace_id: TraceId, span_id: SpanId, is_remote: bool) -> Self {
        let spans_left = Arc::new(AtomicU32::new(MAX_SPANS));
        Self(Arc::new(Place { recorder: recorder.clone(), trace_id, span_id, is_remote, spans_left }))
    }

    pub(super) fn of_caller(recorder: &Arc<Recorder>, caller: &SpanContext) -> Self {
        Self::at(recorder, caller.trace_id(), caller.span_id(), true)
    }

    /// For log lines, so that they are found from the trace and the other way round.
    pub fn id(&self) -> TraceId {
        self.0.trace_id
    }

    /// By which another service goes on with it, as W3C's Trace Context has it.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.0.trace_id, self.0.span_id)
    }

    /// `None`: the trace has enough spans.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Option<Span> {
        let take = |left: u32| left.checked_sub(1);
        self.0.spans_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let place = Place {
            recorder: self.0.recorder.clone(),
            trace_id: self.0.trace_id,
            span_id: ids().new_span_id(),
            is_remote: false,
            spans_left: self.0.spans_left.clone(),
        };
        Some(Span(Box::new(Live {
            inside: Self(Arc::new(place)),
            parent: self.clone(),
            name: name.into(),
            kind,
            began: Instant::now(),
            began_at: SystemTime::now(),
            attributes: Vec::new(),
            status: Status::Unset,
        })))
    }
}

impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        (self.0.trace_id, self.0.span_id) == (other.0.trace_id, other.0.span_id)
    }
}

impl Eq for Trace {}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

/// Something that takes time. Ends, and is recorded, when it is dropped: what is cut off is seen as far as it came.
pub struct Span(Box<Live>);

struct Live {
    inside: Trace,
    parent: Trace,
    name: Cow<'static, str>,
    kind: SpanKind,
    began: Instant,
    began_at: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Span {
    /// The place where what this causes hangs.
    pub fn inside(&self) -> &Trace {
        &self.0.inside
    }

    pub fn began(&self) -> Instant {
        self.0.began
    }

    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.0.name = name.into();
    }

    /// Never content, tokens, push targets or users.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.attributes.push(KeyValue::new(name, value));
    }

    /// It has come to nothing.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        self.0.status = Status::error(why);
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.name, self.0.inside)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Live { inside, parent, name, kind, began, began_at, attributes, status } = &mut *self.0;
        let (inside, parent) = (&inside.0, &parent.0);
        let (sampled, state) = (TraceFlags::SAMPLED, TraceState::NONE);
        inside.recorder.record(SpanData {
            span_context: SpanContext::new(inside.trace_id, inside.span_id, sampled, false, state),
            parent_span_id: parent.span_id,
            parent_span_is_remote: parent.is_remote,
            span_kind: kind.clone(),
            name: std::mem::take(name),
            start_time: *began_at,
            // Not the clock again: it may have been set since.
            end_time: *began_at + began.elapsed(),
            attributes: std::mem::take(attributes),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: std::mem::take(status),
            instrumentation_scope: inside.recorder.scope(),
        });
    }
}

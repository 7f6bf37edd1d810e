//! The deliveries of a request that belong to traces.

use actix_web::http::header::HeaderMap;
use shared_runtime::traces::{Span, SpanKind, Traces};
use shared_types::gateway_api::{MAX_TRACED_DELIVERIES, TRACES_HEADER};

use crate::session::frame::Frame;
use crate::session::hub::Delivered;

/// Their spans, ascending by the delivery's index. Nearly always empty, and then nothing is allocated.
pub(super) struct TracedDeliveries(Vec<TracedDelivery>);

struct TracedDelivery {
    index: usize,
    span: Span,
    frames: u64,
    absent: usize,
    awaiting_ack: usize,
}

impl TracedDeliveries {
    /// They begin now. What cannot be read is not traced, and delivered all the same.
    pub(super) fn begin(traces: &Traces, headers: &HeaderMap) -> Self {
        if !traces.is_on() {
            return Self(Vec::new());
        }
        let header = headers.get(TRACES_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let spans = header.split(',').take(MAX_TRACED_DELIVERIES).filter_map(|part| {
            let (index, traceparent) = part.split_once('=')?;
            let span = traces.follow(traceparent)?.begin("deliver", SpanKind::Server)?;
            Some(TracedDelivery { index: index.parse().ok()?, span, frames: 0, absent: 0, awaiting_ack: 0 })
        });
        Self(spans.collect())
    }

    /// Its writes are to hang below the span of its delivery.
    pub(super) fn mark(&mut self, index: usize, frame: Frame) -> Frame {
        let Some(traced) = self.find(index) else { return frame };
        if let Some(at) = frame.position {
            traced.span.set("channelId", at.channel_id.to_string());
            traced.span.set("seq", at.seq);
        }
        frame.traced(traced.span.inside().clone())
    }

    /// Some of the recipients have been served.
    pub(super) fn note(&mut self, index: usize, delivered: &Delivered) {
        let Some(traced) = self.find(index) else { return };
        traced.frames += delivered.frames;
        traced.absent += delivered.absent.len();
        traced.awaiting_ack += delivered.awaiting_ack.len();
    }

    /// All have been served.
    pub(super) fn end(self) {
        for TracedDelivery { mut span, frames, absent, awaiting_ack, .. } in self.0 {
            span.set("frames", frames as i64);
            span.set("absent", absent as i64);
            span.set("awaitingAck", awaiting_ack as i64);
        }
    }

    fn find(&mut self, index: usize) -> Option<&mut TracedDelivery> {
        let position = self.0.binary_search_by_key(&index, |traced| traced.index).ok()?;
        self.0.get_mut(position)
    }
}

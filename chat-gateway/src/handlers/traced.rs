//! The deliveries of a request that belong to traces.

use actix_web::http::header::HeaderMap;
use shared_runtime::traces::{Span, SpanKind, Traces};
use shared_types::gateway_api::{MAX_TRACED_DELIVERIES, TRACES_HEADER};

use crate::session::frame::Frame;
use crate::session::hub::Delivered;

/// Their spans, ascending by the delivery's index. Nearly always empty, and then nothing is allocated.
pub(super) struct TracedDeliveries(Vec<(usize, Span)>);

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
            Some((index.parse().ok()?, span))
        });
        Self(spans.collect())
    }

    /// Its writes are to hang below the span of its delivery.
    pub(super) fn mark(&self, index: usize, frame: Frame) -> Frame {
        match self.find(index) {
            Some(position) => frame.traced(self.0[position].1.inside().clone()),
            None => frame,
        }
    }

    /// Some of the recipients have been served.
    pub(super) fn note(&mut self, index: usize, frame: &Frame, delivered: &Delivered) {
        let Some(position) = self.find(index) else { return };
        let span = &mut self.0[position].1;
        if let Some(at) = frame.position {
            span.set("channelId", at.channel_id.to_string());
            span.set("seq", at.seq);
        }
        span.set("frames", delivered.frames as i64);
        span.set("absent", delivered.absent.len() as i64);
        span.set("awaitingAck", delivered.awaiting_ack.len() as i64);
    }

    fn find(&self, index: usize) -> Option<usize> {
        self.0.binary_search_by_key(&index, |(of, _)| *of).ok()
    }
}

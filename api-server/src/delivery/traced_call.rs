//! The spans of a call to a gateway: each traced entry in it has one, in its own trace.

use std::time::Instant;

use reqwest::header::HeaderValue;
use shared_runtime::traces::{Span, SpanKind};
use shared_types::GatewayId;
use shared_types::gateway_api::MAX_TRACED_DELIVERIES;

use super::fanout::{Content, Shipment};

/// Nearly always empty, and then nothing is allocated.
pub(super) struct TracedCall(Vec<(usize, Span)>);

impl TracedCall {
    /// The call begins now.
    pub(super) fn begin(gateway: &GatewayId, shipments: &[Shipment]) -> Self {
        let spans = shipments.iter().enumerate().filter_map(|(index, shipment)| {
            let Content::Entry(outgoing) = &shipment.content else { return None };
            let mut span = outgoing.trace()?.begin("gateway call", SpanKind::Client)?;
            span.set("gatewayId", gateway.to_string());
            span.set("channelId", outgoing.channel_id().to_string());
            span.set("seq", outgoing.seq());
            span.set("recipients", shipment.recipients.len() as i64);
            span.set("secondTry", shipment.is_second_try);
            span.set("waitMs", since(shipment.since, span.began()));
            span.set("shipments", shipments.len() as i64);
            Some((index, span))
        });
        Self(spans.take(MAX_TRACED_DELIVERIES).collect())
    }

    /// What the gateway has to know of them.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        let parts = self.0.iter().map(|(index, span)| format!("{index}={}", span.inside().traceparent()));
        HeaderValue::try_from(parts.collect::<Vec<_>>().join(",")).ok()
    }

    /// The gateway has answered, or is given up.
    pub(super) fn end(self, has_answered: bool) {
        for (_, mut span) in self.0 {
            span.set("outcome", if has_answered { "delivered" } else { "given_up" });
            if !has_answered {
                span.fail("the gateway does not answer");
            }
        }
    }
}

fn since(earlier: Instant, later: Instant) -> f64 {
    later.saturating_duration_since(earlier).as_secs_f64() * 1e3
}

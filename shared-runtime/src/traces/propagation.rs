//! A trace on its way: W3C's `traceparent` between processes, a request's extensions within one.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::Trace;

/// Its only field; `tracestate` is other vendors' and ends here.
struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// `None`: it is none, and its bearer is like one without.
pub(super) fn parse(traceparent: &str) -> Option<SpanContext> {
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Traceparent(traceparent));
    let caller = context.span().span_context().clone();
    caller.is_valid().then_some(caller)
}

/// As a handler's argument: the trace of the request, if it is recorded.
pub struct Traced(pub Option<Trace>);

impl FromRequest for Traced {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.extensions().get::<Trace>().cloned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_names_a_trace_a_span_and_whether_it_is_recorded() {
        let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        for (flags, is_sampled) in [("01", true), ("00", false), ("03", true)] {
            let caller = parse(&format!("00-{ids}-{flags}")).unwrap();
            assert_eq!(format!("{}-{}", caller.trace_id(), caller.span_id()), ids);
            assert_eq!(caller.is_sampled(), is_sampled);
        }
        for broken in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert!(parse(broken).is_none(), "{broken}");
        }
    }
}

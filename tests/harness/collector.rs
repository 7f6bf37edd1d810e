//! An OpenTelemetry collector that only remembers: OTLP over HTTP, as the real one takes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use crate::runtime::background;
use crate::wait::eventually_some;

const PROTOBUF: &str = "application/x-protobuf";

/// Takes spans on a port of its own. Ends when dropped.
pub struct Collector {
    endpoint: String,
    spans: Spans,
    handle: ServerHandle,
}

type Spans = Arc<Mutex<Vec<SeenSpan>>>;

/// A span as the collector got it.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    /// What its process said of itself.
    pub resource: BTreeMap<String, String>,
    pub name: String,
    pub trace_id: String,
    pub id: String,
    /// Empty: it has none.
    pub parent_id: String,
    pub attributes: BTreeMap<String, String>,
    pub has_failed: bool,
    pub started_ns: u64,
    pub ended_ns: u64,
}

impl Collector {
    pub async fn start() -> Self {
        let spans = Spans::default();
        let data = web::Data::new(spans.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(data.clone()).route("/v1/traces", web::post().to(take))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("a port is free");
        let endpoint = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        background().spawn(server);
        Self { endpoint, spans, handle }
    }

    /// As NARU_OTLP_ENDPOINT takes it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What has come so far.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `find` finds what it looks for among all that has come.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&[SeenSpan]) -> Option<T>) -> T {
        eventually_some(what, async || find(&self.spans())).await
    }
}

impl SeenSpan {
    /// An attribute; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    fn new(resource: &Option<Resource>, span: Span) -> Self {
        let resource = resource.as_ref().map(|resource| texts(&resource.attributes));
        Self {
            resource: resource.unwrap_or_default(),
            name: span.name,
            trace_id: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            attributes: texts(&span.attributes),
            has_failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
            started_ns: span.start_time_unix_nano,
            ended_ns: span.end_time_unix_nano,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // The command is sent at once; only its effect would have to be awaited.
        drop(self.handle.stop(false));
    }
}

async fn take(request: HttpRequest, body: web::Bytes, spans: web::Data<Spans>) -> HttpResponse {
    let is_protobuf = |headers: &HeaderMap| headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
    let Ok(request_body) = ExportTraceServiceRequest::decode(body) else {
        return HttpResponse::BadRequest().finish();
    };
    if !is_protobuf(request.headers()) {
        return HttpResponse::UnsupportedMediaType().finish();
    }
    for of_resource in request_body.resource_spans {
        let seen = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        let seen = seen.map(|span| SeenSpan::new(&of_resource.resource, span));
        spans.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    HttpResponse::Ok().content_type(PROTOBUF).body(answer)
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        any_value::Value::BoolValue(is_so) => is_so.to_string(),
        other => panic!("no span of ours has {other:?}"),
    };
    let value = |attribute: &KeyValue| Some(text(attribute.value.as_ref()?.value.as_ref()?));
    attributes.iter().filter_map(|attribute| Some((attribute.key.clone(), value(attribute)?))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Operations endpoints: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::HttpResponse;
use prometheus_client::registry::Registry;
use serde::Serialize;

/// Content type of OpenMetrics text, which Prometheus asks for and `prometheus-client` writes.
const METRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/readyz` says of one thing that the service needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Dependency {
    Up,
    Down,
}

impl Dependency {
    pub fn from_result<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Up } else { Self::Down }
    }
}

/// Whether this process is on its way out.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// 200: the process answers, which is all that a liveness probe should ask.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "alive"}))
}

/// 200 when everything is up and the service is not draining, else 503. Names what is down.
pub fn readyz(draining: &Draining, dependencies: &[(&str, Dependency)]) -> HttpResponse {
    let is_draining = draining.is_draining();
    let is_ready = !is_draining && dependencies.iter().all(|(_, state)| *state == Dependency::Up);
    let states: serde_json::Map<String, serde_json::Value> =
        dependencies.iter().map(|(name, state)| ((*name).to_owned(), serde_json::json!(state))).collect();
    let body = serde_json::json!({
        "status": if is_ready { "ready" } else if is_draining { "draining" } else { "notReady" },
        "dependencies": states,
    });
    if is_ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

/// The registry as Prometheus text.
pub fn metrics(registry: &Registry) -> HttpResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => HttpResponse::Ok().content_type(METRICS_TEXT).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

//! `POST /drain`: what SIGTERM does, except that the process stays.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use shared_runtime::rejection::Rejection;

use crate::state::Gateway;

/// 202: the drain has begun, or had begun before.
pub(crate) async fn drain(gateway: Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, Rejection> {
    gateway.internal_secret.admit(request.headers())?;
    gateway.drain_requested.cancel();
    Ok(HttpResponse::Accepted().json(serde_json::json!({"status": "draining"})))
}

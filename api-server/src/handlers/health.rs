//! Whether this server lives, whether it should be sent traffic, and what it counts.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use shared_runtime::ops::{self, Dependency};
use tokio::time::timeout;

use crate::state::State;

/// A probe's own time-out is a few seconds; the answer must come before.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Does the process live?
#[utoipa::path(
    get, path = "/livez", tag = "operations", responses((status = 200, description = "It answers"))
)]
pub async fn livez() -> HttpResponse {
    ops::livez().await
}

/// Should this server be sent traffic?
///
/// 503 while the database or the session registry does not answer, or while draining.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "Yes"),
        (status = 503, description = "No; the body names what is down"),
    )
)]
pub async fn readyz(state: web::Data<State>) -> HttpResponse {
    let database = async { timeout(PROBE_LIMIT, state.store.ping()).await.map_err(drop)?.map_err(drop) };
    let registry = async { timeout(PROBE_LIMIT, state.registry.ping()).await.map_err(drop)?.map_err(drop) };
    let (database, registry) = tokio::join!(database, registry);
    let dependencies =
        [("database", Dependency::from_result(&database)), ("registry", Dependency::from_result(&registry))];
    ops::readyz(&state.draining, &dependencies)
}

pub async fn metrics(state: web::Data<State>) -> HttpResponse {
    ops::metrics(state.metrics_now())
}

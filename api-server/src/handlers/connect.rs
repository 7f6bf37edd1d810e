//! `POST /connect`: which gateway to use, and a ticket that opens it.

use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared_runtime::rejection::Rejection;
use shared_types::registry_keys::{TICKET_TTL, TicketGrant};
use shared_types::{GatewayId, Timestamp};
use std::time::Duration;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::state::State;

/// 192 bits: cannot be guessed within the 30 s that it lives.
const TICKET_BYTES: usize = 24;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Where to open the WebSocket; append `?ticket=`.
    url: String,
    /// Good once, until `expiresAt`, for the caller only.
    ticket: String,
    #[schema(format = DateTime, value_type = String)]
    expires_at: Timestamp,
    #[schema(value_type = String)]
    gateway: GatewayId,
}

/// Get a gateway and a ticket.
///
/// A gateway that lives and does not drain, the least loaded first.
#[utoipa::path(
    post, path = "/connect", tag = "sessions",
    responses(
        (status = 200, description = "Where to connect", body = Connection),
        (status = 503, description = "No gateway is to be had now", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn connect(caller: Caller, state: web::Data<State>) -> Result<HttpResponse, Rejection> {
    let chosen = state.registry.choose_gateway().await.map_err(Rejection::unavailable)?;
    let Some((gateway, url)) = chosen else {
        return Err(Rejection::overloaded(Duration::from_secs(1)));
    };
    let mut bytes = [0_u8; TICKET_BYTES];
    getrandom::fill(&mut bytes).map_err(Rejection::internal)?;
    let ticket = URL_SAFE_NO_PAD.encode(bytes);
    let expires_at = Timestamp::from(Timestamp::now().as_datetime() + TICKET_TTL);
    let grant = TicketGrant { user_id: caller.user_id, expires_at: caller.token_expires_at };
    state.registry.issue_ticket(&ticket, &grant).await.map_err(Rejection::unavailable)?;
    Ok(HttpResponse::Ok().json(Connection { url, ticket, expires_at, gateway }))
}

//! `/try/…`: what the page needs where somebody tries Naru out. Served only when asked for: it hands out tokens.

use std::fmt::Write;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use prometheus_client::encoding::text::encode;
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_runtime::tokens::{TokenOptions, unix_seconds};
use shared_types::{Claims, Timestamp, UserId};

use crate::body::JsonBody;
use crate::state::State;

/// Long enough to try things out for a day, short enough not to be forgotten.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// A gateway that does not answer must not hold up the charts of the others.
const SCRAPE_LIMIT: Duration = Duration::from_secs(2);
/// Charts of more gateways would be unreadable, and each costs a request a second.
const MAX_GATEWAYS: usize = 16;
const MAX_METRICS_BYTES: usize = 1024 * 1024;

/// What `/try/…` needs beyond the service's state.
pub struct TryOut {
    tokens: TokenOptions,
    client: reqwest::Client,
}

impl TryOut {
    pub fn new(tokens: TokenOptions) -> Result<Self, reqwest::Error> {
        Ok(Self { tokens, client: reqwest::Client::builder().no_proxy().build()? })
    }
}

pub fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/try/config", web::get().to(config))
        .route("/try/token", web::post().to(token))
        .route("/try/metrics", web::get().to(metrics));
}

/// What there is to try.
async fn config() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"tokens": true, "operator": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskForToken {
    name: UserId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandedOut {
    token: String,
    user_id: UserId,
    expires_at: Timestamp,
}

/// A token for any name.
async fn token(
    JsonBody(asked): JsonBody<AskForToken>,
    try_out: web::Data<TryOut>,
) -> Result<HttpResponse, Rejection> {
    let claims = Claims {
        sub: asked.name.clone(),
        exp: unix_seconds() + TOKEN_TTL.as_secs(),
        iss: None,
        aud: None,
        role: None,
    };
    let token = try_out.tokens.sign(claims).map_err(Rejection::internal)?;
    let expires_at = Timestamp::from(Timestamp::now().as_datetime() + TOKEN_TTL);
    Ok(HttpResponse::Ok().json(HandedOut { token, user_id: asked.name, expires_at }))
}

/// The metrics of this server and of every live gateway, one after the other.
async fn metrics(state: web::Data<State>, try_out: web::Data<TryOut>) -> Result<HttpResponse, Rejection> {
    let mut text = String::new();
    encode(&mut text, state.metrics_now()).map_err(Rejection::internal)?;
    let gateways = state.registry.live_urls().await.map_err(Rejection::unavailable)?;
    for (gateway, url) in gateways.into_iter().take(MAX_GATEWAYS) {
        // Whoever does not answer is left out of the charts.
        if let Some(scraped) = scrape(&try_out.client, &url).await {
            // Writing to a string cannot fail.
            let _written = write!(text, "# gateway {gateway}\n{scraped}");
        }
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text))
}

async fn scrape(client: &reqwest::Client, url: &str) -> Option<String> {
    let answer = client.get(format!("{url}/metrics")).timeout(SCRAPE_LIMIT).send().await.ok()?;
    let text = answer.error_for_status().ok()?.text().await.ok()?;
    (text.len() <= MAX_METRICS_BYTES).then_some(text)
}

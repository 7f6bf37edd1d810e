//! The tutorial's way: one transaction a message, and one registry read and one POST for each recipient, in turn.
//!
//! As good as such a thing gets without being another one: pooled and kept connections everywhere, statements prepared,
//! no thread ever blocked. It does less than a Naru does: it trusts tokens unseen, asks nobody whether the sender is a
//! member, and forgets whatever it does not deliver at once.

pub mod api;
pub mod gateway;

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgPool;

use super::process::FloorProcess;
use crate::site::Site;
use crate::site::cluster::Cluster;

/// As `floors::serve` knows its two halves.
pub const API: &str = "tutorial-api";
pub const GATEWAY: &str = "tutorial-gateway";

/// Where an api hands over what one user shall get.
const PUSH_PATH: &str = "/ws/send/message";

/// Of both: well above the pauses between two trials, and above what the api keeps its own connections for, or a POST
/// could meet the end of its connection.
const KEEP_ALIVE: Duration = Duration::from_secs(600);

/// Two processes, on the Postgres and the Redis of a cluster. They end when this is dropped.
pub struct Tutorial {
    pub site: Site,
    /// With the tables and indexes of the cluster's own.
    pub database: PgPool,
    _api: FloorProcess,
    _gateway: FloorProcess,
}

/// What the api posts: one message for one user.
#[derive(Serialize, Deserialize)]
struct Push {
    recipient: String,
    entry: Box<RawValue>,
}

impl Tutorial {
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let (database_url, redis_url) = (cluster.postgres.fresh_database().await, cluster.redis.url());
        let database = PgPool::connect(&database_url).await.context("Postgres does not answer")?;
        let gateway = FloorProcess::start(GATEWAY, std::slice::from_ref(&redis_url)).await?;
        let api = FloorProcess::start(API, &[database_url, redis_url]).await?;
        let site = Site {
            apis: vec![format!("http://{}", api.address())],
            gateways: vec![format!("ws://{}/ws", gateway.address())],
            tokens: cluster.site().tokens,
        };
        Ok(Self { site, database, _api: api, _gateway: gateway })
    }
}

/// Where the registry has the gateway of a user.
fn registry_key(user: &str) -> String {
    format!("tutorial:{user}")
}

/// Whose token a request has; it is believed.
fn user_of(request: &actix_web::HttpRequest) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let header = request.headers().get("authorization")?.to_str().ok()?;
    let token = header.strip_prefix("Bearer ")?;
    Some(jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token).ok()?.sub)
}

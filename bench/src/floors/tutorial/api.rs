//! The tutorial's API: stores a message, then tells each member's gateway.

use actix_web::error::ErrorInternalServerError;
use actix_web::web::{self, Data, Json};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, cmd};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use super::{KEEP_ALIVE, PUSH_PATH, Push, registry_key, user_of};

/// As many as transactions of one row are fastest with.
const DATABASE_CONNECTIONS: u32 = 32;

struct Parts {
    database: PgPool,
    redis: MultiplexedConnection,
    gateways: reqwest::Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendMessage {
    channel_id: Uuid,
    content: String,
    client_message_id: String,
}

/// The same JSON as a Naru's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    r#type: &'static str,
    id: Uuid,
    channel_id: Uuid,
    seq: i64,
    sender_id: String,
    created_at: String,
    kind: &'static str,
    content: String,
    client_message_id: String,
}

/// Serves until the process ends.
pub async fn serve(address: &str, database_url: &str, redis_url: &str) -> anyhow::Result<()> {
    // Without a ping each time that a connection is taken.
    let pool = PgPoolOptions::new().max_connections(DATABASE_CONNECTIONS).test_before_acquire(false);
    let redis = Client::open(redis_url)?.get_multiplexed_async_connection().await;
    let parts = Data::new(Parts {
        database: pool.connect(database_url).await.context("Postgres does not answer")?,
        redis: redis.context("Redis does not answer")?,
        gateways: reqwest::Client::builder().tcp_nodelay(true).build()?,
    });
    let app = move || App::new().app_data(parts.clone()).route("/send/message", web::post().to(send_message));
    HttpServer::new(app).keep_alive(KEEP_ALIVE).disable_signals().bind(address)?.run().await?;
    Ok(())
}

async fn send_message(
    request: HttpRequest,
    body: Json<SendMessage>,
    parts: Data<Parts>,
) -> actix_web::Result<HttpResponse> {
    let Some(sender) = user_of(&request) else { return Ok(HttpResponse::Unauthorized().finish()) };
    let entry = store(&parts.database, sender, body.into_inner()).await.map_err(ErrorInternalServerError)?;
    let shown = to_raw_value(&entry)?;
    let members: Vec<String> = sqlx::query_scalar("SELECT user_id FROM participants WHERE channel_id = $1")
        .bind(entry.channel_id)
        .fetch_all(&parts.database)
        .await
        .map_err(ErrorInternalServerError)?;
    for member in members {
        deliver(&parts, member, &shown).await.map_err(ErrorInternalServerError)?;
    }
    Ok(HttpResponse::Created().json(entry))
}

async fn store(database: &PgPool, sender_id: String, message: SendMessage) -> sqlx::Result<Entry> {
    let mut transaction = database.begin().await?;
    let (seq, created_at): (i64, DateTime<Utc>) = sqlx::query_as(
        "UPDATE channels SET last_seq = last_seq + 1, updated_at = now() WHERE id = $1
         RETURNING last_seq, updated_at",
    )
    .bind(message.channel_id)
    .fetch_one(&mut *transaction)
    .await?;
    let entry = Entry {
        r#type: "message",
        id: Uuid::now_v7(),
        channel_id: message.channel_id,
        seq,
        sender_id,
        created_at: created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        kind: "text",
        content: message.content,
        client_message_id: message.client_message_id,
    };
    sqlx::query(
        "INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, client_message_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(entry.channel_id)
    .bind(entry.seq)
    .bind(entry.id)
    .bind(entry.r#type)
    .bind(&entry.sender_id)
    .bind(created_at)
    .bind(entry.kind)
    .bind(&entry.content)
    .bind(&entry.client_message_id)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(entry)
}

async fn deliver(parts: &Parts, recipient: String, entry: &RawValue) -> anyhow::Result<()> {
    let key = registry_key(&recipient);
    let gateway: Option<String> = cmd("GET").arg(key).query_async(&mut parts.redis.clone()).await?;
    let Some(gateway) = gateway else { return Ok(()) };
    let push = Push { recipient, entry: entry.to_owned() };
    let answer = parts.gateways.post(format!("{gateway}{PUSH_PATH}")).json(&push).send().await?;
    answer.error_for_status()?.bytes().await?;
    Ok(())
}

//! One row per transaction, `seq` and all, by 32 connections.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Postgres};
use uuid::Uuid;

use super::log::{FloorLog, Place, begin_anew, client_message_id};
use crate::effort::Effort;
use crate::load::closed_loop::{self, Worker};
use crate::load::message;
use crate::meters::rate::Rate;

pub const CONNECTIONS: usize = 32;

const NUMBER: &str =
    "UPDATE channels SET last_seq = last_seq + 1, updated_at = now() WHERE id = $1 RETURNING last_seq";
const STORE: &str = "
    INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, client_message_id)
    VALUES ($1, $2, $3, 'message', $4, now(), 'text', $5, $6)";

/// Messages stored a second over the log's first `channels` channels: what a server does that begins a transaction for
/// each request, with both of its statements prepared. It leaves out what [`super::batched_insert`] leaves out.
/// `begin` is called after the warm-up.
pub async fn rate(
    effort: &Effort,
    log: &FloorLog,
    channels: usize,
    begin: impl FnOnce(),
) -> anyhow::Result<Rate> {
    begin_anew(&log.database).await?;
    let mut workers = Vec::with_capacity(CONNECTIONS);
    for index in 0..CONNECTIONS {
        let connection = log.database.acquire().await?;
        let (places, content) = (log.places.clone(), message::content());
        workers.push(Rows { index, connection, places, channels, content, messages: 0 });
    }
    closed_loop::rate(effort, workers, begin).await
}

struct Rows {
    index: usize,
    connection: PoolConnection<Postgres>,
    places: Arc<[Place]>,
    channels: usize,
    content: String,
    messages: u64,
}

impl Worker for Rows {
    async fn turn(&mut self) -> anyhow::Result<u64> {
        // As the product's senders: no two of them in one channel at a time while there are enough.
        let place = &self.places[(self.index + self.messages as usize * CONNECTIONS) % self.channels];
        let mut transaction = self.connection.begin().await?;
        let seq: i64 = sqlx::query_scalar(NUMBER).bind(place.channel_id).fetch_one(&mut *transaction).await?;
        sqlx::query(STORE)
            .bind(place.channel_id)
            .bind(seq)
            .bind(Uuid::now_v7())
            .bind(&place.sender_id)
            .bind(&self.content)
            .bind(client_message_id(self.index, self.messages))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.messages += 1;
        Ok(1)
    }
}

//! One connection that stores batches by `UNNEST`, `seq` and all, and nothing else.

use std::sync::Arc;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use uuid::Uuid;

use super::log::{FloorLog, Place, begin_anew, client_message_id};
use crate::effort::Effort;
use crate::load::closed_loop::{self, Worker};
use crate::load::message;
use crate::meters::rate::Rate;

/// What it stores is what the product stores of a message, in the same table with the same two indices, numbered
/// without gaps under the locks of the channels' rows. What it leaves out: nobody looks whether the channel is there,
/// whether the sender is in it, or whether the message has been stored before (a repeat would fail on the unique
/// index, and its batch with it); there is no row of the outbox, and no lock order that lets a second writer work beside
/// it; the senders are not told `seq`, time or id of what was stored; and nobody waits for a batch to gather: the next
/// one is ready when the one before is committed.
const STATEMENT: &str = "
    WITH input AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[])
            WITH ORDINALITY AS i (channel_id, sender_id, id, content, client_message_id, ord)
    ), advanced AS (
        UPDATE channels c SET last_seq = c.last_seq + added.messages, updated_at = now()
        FROM (SELECT channel_id, count(*) AS messages FROM input GROUP BY channel_id) added
        WHERE c.id = added.channel_id
        RETURNING c.id, c.last_seq - added.messages AS seq_before
    )
    INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, client_message_id)
    SELECT i.channel_id, a.seq_before + row_number() OVER (PARTITION BY i.channel_id ORDER BY i.ord), i.id,
           'message', i.sender_id, now(), 'text', i.content, i.client_message_id
    FROM input i JOIN advanced a ON a.id = i.channel_id";

/// Messages stored a second, in batches of `batch` over the log's first `channels` channels. `begin` is called after the
/// warm-up.
pub async fn rate(
    effort: &Effort,
    log: &FloorLog,
    channels: usize,
    batch: usize,
    begin: impl FnOnce(),
) -> anyhow::Result<Rate> {
    begin_anew(&log.database).await?;
    let gather = Gather {
        places: log.places.clone(),
        channels,
        size: batch,
        messages: 0,
        content: message::content(),
    };
    let mut worker = Batches { connection: log.database.acquire().await?, gather, ready: Batch::default() };
    worker.ready = worker.gather.next();
    closed_loop::rate(effort, vec![worker], begin).await
}

struct Batches {
    connection: PoolConnection<Postgres>,
    gather: Gather,
    ready: Batch,
}

impl Worker for Batches {
    async fn turn(&mut self) -> anyhow::Result<u64> {
        let batch = std::mem::take(&mut self.ready);
        let stored = sqlx::query(STATEMENT)
            .bind(batch.channel_ids)
            .bind(batch.sender_ids)
            .bind(batch.ids)
            .bind(batch.contents)
            .bind(batch.client_message_ids)
            .execute(&mut *self.connection);
        // The statement is on its way when the next batch is made.
        let (stored, ready) = tokio::join!(stored, async { self.gather.next() });
        self.ready = ready;
        Ok(stored?.rows_affected())
    }
}

#[derive(Default)]
struct Batch {
    channel_ids: Vec<Uuid>,
    sender_ids: Vec<String>,
    ids: Vec<Uuid>,
    contents: Vec<String>,
    client_message_ids: Vec<String>,
}

/// Makes batches: the channels in turn.
struct Gather {
    places: Arc<[Place]>,
    channels: usize,
    size: usize,
    messages: u64,
    content: String,
}

impl Gather {
    fn next(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.size {
            let place = &self.places[self.messages as usize % self.channels];
            batch.channel_ids.push(place.channel_id);
            batch.sender_ids.push(place.sender_id.clone());
            batch.ids.push(Uuid::now_v7());
            batch.contents.push(self.content.clone());
            batch.client_message_ids.push(client_message_id(0, self.messages));
            self.messages += 1;
        }
        batch
    }
}

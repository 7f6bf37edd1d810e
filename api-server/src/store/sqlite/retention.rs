//! The removal of old entries, in bounded batches; as `remove_old_entries` in Postgres' migrations.

use std::time::Duration;

use async_trait::async_trait;
use shared_types::Seq;
use sqlx::FromRow;
use uuid::Uuid;

use super::Sqlite;
use super::moments::{after, before};
use crate::store::columns::Moment;
use crate::store::{Removal, RetentionStore, StoreError};

#[derive(FromRow)]
struct ChannelRow {
    id: Uuid,
    is_old: bool,
}

#[async_trait]
impl RetentionStore for Sqlite {
    async fn remove_old_entries(
        &self,
        kept_for: Duration,
        most: i64,
        lease: Duration,
        pause: Duration,
    ) -> Result<Removal, StoreError> {
        let now = Moment::now();
        let kept_from = before(now, kept_for);
        let nothing = Removal { entries: 0, is_done: true };
        let Some(from) = self.take_turn(now, lease, pause).await? else { return Ok(nothing) };
        // What is old stays old, so it is looked for beside the writer.
        let channels: Vec<ChannelRow> = sqlx::query_as(
            "SELECT c.id, coalesce((SELECT e.created_at FROM entries e WHERE e.channel_id = c.id ORDER BY e.seq LIMIT 1)
                                   < $2, false) AS is_old
             FROM channels c WHERE c.id >= $1 ORDER BY c.id LIMIT $3",
        )
        .bind(from)
        .bind(kept_from)
        .bind(most)
        .fetch_all(&self.readers)
        .await?;
        let (mut removed, mut next_channel) = (0, from);
        for channel in &channels {
            next_channel = channel.id;
            if channel.is_old {
                removed += self.remove_beginning(channel.id, kept_from, most - removed).await?;
                if removed >= most {
                    break;
                }
            }
        }
        let is_done = removed < most && i64::try_from(channels.len()).unwrap_or(i64::MAX) < most;
        if is_done {
            self.end_round(now, kept_from, pause).await?;
        } else {
            // The last channel is looked at again: there may be more of it.
            sqlx::query("UPDATE retention SET next_channel = $1")
                .bind(next_channel)
                .execute(&self.writer)
                .await?;
        }
        Ok(Removal { entries: removed.unsigned_abs(), is_done })
    }
}

impl Sqlite {
    /// Where the round goes on, if it is this process's turn. A time that lies further ahead than any was written before
    /// the clock was set back.
    async fn take_turn(
        &self,
        now: Moment,
        lease: Duration,
        pause: Duration,
    ) -> Result<Option<Uuid>, StoreError> {
        Ok(sqlx::query_scalar(
            "UPDATE retention SET owner = $1, due_at = $2 WHERE owner = $1 OR due_at <= $3 OR due_at > $4
             RETURNING next_channel",
        )
        .bind(self.owner)
        .bind(after(now, lease))
        .bind(now)
        .bind(after(now, lease.max(pause)))
        .fetch_optional(&self.writer)
        .await?)
    }

    /// `created_at` never goes back within a channel, so what is old lies at the beginning.
    async fn remove_beginning(&self, channel: Uuid, kept_from: i64, most: i64) -> Result<i64, StoreError> {
        let last_old: Option<Seq> = sqlx::query_scalar(
            "SELECT max(o.seq) FROM (
                 SELECT e.seq, e.created_at FROM entries e WHERE e.channel_id = $1 ORDER BY e.seq LIMIT $3
             ) o WHERE o.created_at < $2",
        )
        .bind(channel)
        .bind(kept_from)
        .bind(most)
        .fetch_one(&self.readers)
        .await?;
        let removed = sqlx::query("DELETE FROM entries WHERE channel_id = $1 AND seq <= $2")
            .bind(channel)
            .bind(last_old)
            .execute(&self.writer)
            .await?;
        Ok(i64::try_from(removed.rows_affected()).unwrap_or(i64::MAX))
    }

    async fn end_round(&self, now: Moment, kept_from: i64, pause: Duration) -> Result<(), StoreError> {
        let mut transaction = self.begin_write().await?;
        // What was still to be delivered of them is not wanted any more.
        sqlx::query("DELETE FROM outbox WHERE written_at < $1")
            .bind(kept_from)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE retention SET owner = NULL, next_channel = zeroblob(16), due_at = $1")
            .bind(after(now, pause))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

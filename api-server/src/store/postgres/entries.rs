//! The log: pages of history, sync, and the entries that are not messages.

use async_trait::async_trait;
use shared_types::{ChannelId, Entry, EntryBody, EntryId, Seq, UserId};
use sqlx::Row;
use std::collections::HashMap;
use uuid::Uuid;

use super::Postgres;
use super::statements::Transaction;
use crate::store::columns::Moment;
use crate::store::rows::{EntryRow, REMOVED_SEQ, change_columns, entries, entry_columns, page};
use crate::store::{Committed, EntryStore, OutboxId, Page, StoreError, Window};

const COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl EntryStore for Postgres {
    async fn history(&self, channel: ChannelId, window: Window, limit: i64) -> Result<Page, StoreError> {
        match window {
            Window::Latest => self.before(channel, Seq::MAX, limit).await,
            Window::Before(seq) => self.before(channel, seq, limit).await,
            Window::After(seq) => {
                let mut page = self.after(channel, seq, limit).await?;
                if page.begins_later_than(seq) {
                    page.removed_seq = self.removed_seq(channel).await?;
                }
                Ok(page)
            }
            Window::Around(seq) => {
                // The entry itself leads the newer half.
                let older = self.before(channel, seq, limit / 2).await?;
                let newer = self.after(channel, seq - 1, limit - limit / 2).await?;
                let has_more = older.has_more || newer.has_more;
                let entries = older.entries.into_iter().chain(newer.entries).collect();
                Ok(Page { entries, has_more, removed_seq: 0 })
            }
        }
    }

    async fn sync(
        &self,
        user: &UserId,
        cursors: &HashMap<ChannelId, Seq>,
        limit: i64,
    ) -> Result<HashMap<ChannelId, Page>, StoreError> {
        let (channels, after): (Vec<Uuid>, Vec<i64>) = cursors.iter().map(|(id, seq)| (id.0, *seq)).unzip();
        let mine: Vec<(Uuid, Seq)> = sqlx::query_as(
            "SELECT p.channel_id, c.last_seq FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.user_id = $1 AND p.channel_id = ANY ($2)",
        )
        .bind(user.as_str())
        .bind(&channels)
        .fetch_all(&self.pool)
        .await?;
        let mut pages: HashMap<ChannelId, Page> = HashMap::with_capacity(mine.len());
        for (channel, _) in &mine {
            let page = Page { entries: Vec::new(), has_more: false, removed_seq: 0 };
            pages.insert(ChannelId(*channel), page);
        }
        // Membership is checked again by the statement that reads, so that nobody reads on after a removal.
        let sql = format!(
            "SELECT {COLUMNS} FROM unnest($1::uuid[], $2::bigint[]) AS wanted (channel_id, after_seq)
             JOIN participants p ON p.channel_id = wanted.channel_id AND p.user_id = $3
             CROSS JOIN LATERAL (
                 SELECT * FROM entries WHERE entries.channel_id = wanted.channel_id AND entries.seq > wanted.after_seq
                 ORDER BY entries.seq LIMIT $4
             ) e
             ORDER BY e.channel_id, e.seq"
        );
        let rows: Vec<EntryRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channels)
            .bind(after)
            .bind(user.as_str())
            .bind(limit + 1)
            .fetch_all(&self.pool)
            .await?;
        for entry in entries(rows)? {
            let Some(page) = pages.get_mut(&entry.channel_id) else { continue };
            if i64::try_from(page.entries.len()).unwrap_or(i64::MAX) < limit {
                page.entries.push(entry);
            } else {
                page.has_more = true;
            }
        }
        for (channel, last_seq) in mine.into_iter().map(|(id, last_seq)| (ChannelId(id), last_seq)) {
            let (Some(page), Some(cursor)) = (pages.get_mut(&channel), cursors.get(&channel)) else {
                continue;
            };
            // Most channels have nothing new, and that is known already.
            if *cursor < last_seq && page.begins_later_than(*cursor) {
                page.removed_seq = self.removed_seq(channel).await?;
            }
        }
        Ok(pages)
    }
}

impl Postgres {
    async fn before(&self, channel: ChannelId, seq: Seq, limit: i64) -> Result<Page, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM entries e WHERE e.channel_id = $1 AND e.seq < $2 ORDER BY e.seq DESC LIMIT $3"
        );
        let mut page = self.page(sql, channel, seq, limit).await?;
        page.entries.reverse();
        Ok(page)
    }

    async fn after(&self, channel: ChannelId, seq: Seq, limit: i64) -> Result<Page, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM entries e WHERE e.channel_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3"
        );
        self.page(sql, channel, seq, limit).await
    }

    /// Up to where retention has removed everything.
    async fn removed_seq(&self, channel: ChannelId) -> Result<Seq, StoreError> {
        Ok(sqlx::query_scalar(REMOVED_SEQ).bind(channel.0).fetch_one(&self.pool).await?)
    }

    /// One more than asked for is read: its presence is `has_more`.
    async fn page(&self, sql: String, channel: ChannelId, seq: Seq, limit: i64) -> Result<Page, StoreError> {
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channel.0)
            .bind(seq)
            .bind(limit + 1)
            .fetch_all(&self.pool)
            .await?;
        page(rows, limit)
    }
}

/// Appends an entry that is no message, and the intent to deliver it, within the transaction that changes what it
/// tells of. The channel's row is locked by the caller; `version_step` is how much the membership's version grows.
pub(super) async fn append_change(
    connection: &mut Transaction,
    owner: Uuid,
    channel: ChannelId,
    sender: &UserId,
    body: EntryBody,
    version_step: i64,
) -> Result<Committed, StoreError> {
    // Never back, as with messages: a clock may be set back.
    let row = sqlx::query(
        "UPDATE channels SET last_seq = last_seq + 1, membership_version = membership_version + $2,
                             updated_at = greatest(updated_at, date_trunc('milliseconds', clock_timestamp()))
         WHERE id = $1 RETURNING last_seq, membership_version, updated_at",
    )
    .bind(channel.0)
    .bind(version_step)
    .fetch_one(&mut *connection)
    .await?;
    let entry = Entry {
        id: EntryId::generate(),
        channel_id: channel,
        seq: row.try_get("last_seq")?,
        sender_id: sender.clone(),
        created_at: row.try_get::<Moment, _>("updated_at")?.0,
        body,
    };
    let (content, user_ids) = change_columns(&entry.body);
    let outbox = OutboxId::generate();
    sqlx::query(
        "WITH intended AS (
             INSERT INTO outbox (id, owner, written_at, channel_ids, first_seqs, last_seqs)
             VALUES ($9, $10, $6, ARRAY[$1], ARRAY[$2], ARRAY[$2])
         )
         INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, content, user_ids)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(channel.0)
    .bind(entry.seq)
    .bind(entry.id.0)
    .bind(entry.body.type_name())
    .bind(sender.as_str())
    .bind(Moment(entry.created_at))
    .bind(content)
    .bind(user_ids)
    .bind(outbox.0)
    .bind(owner)
    .execute(connection)
    .await?;
    Ok(Committed { entry, membership_version: row.try_get("membership_version")?, outbox })
}

//! The log: pages of history, sync, and the entries that are not messages.

use std::collections::HashMap;

use async_trait::async_trait;
use shared_types::{ChannelId, Entry, EntryBody, EntryId, Seq, UserId};
use sqlx::{Acquire, AssertSqlSafe, FromRow, SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use super::Sqlite;
use super::ids::json_of;
use super::outbox::intend;
use crate::store::columns::Moment;
use crate::store::rows::{REMOVED_SEQ, change_columns, entry_columns, page};
use crate::store::{Committed, EntryStore, OutboxId, Page, StoreError, Window};

const COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl EntryStore for Sqlite {
    async fn history(&self, channel: ChannelId, window: Window, limit: i64) -> Result<Page, StoreError> {
        match window {
            Window::Latest => before(&self.readers, channel, Seq::MAX, limit).await,
            Window::Before(seq) => before(&self.readers, channel, seq, limit).await,
            Window::After(seq) => {
                let mut page = after(&self.readers, channel, seq, limit).await?;
                if page.begins_later_than(seq) {
                    page.removed_seq = removed_seq(&self.readers, channel).await?;
                }
                Ok(page)
            }
            Window::Around(seq) => {
                // The entry itself leads the newer half.
                let older = before(&self.readers, channel, seq, limit / 2).await?;
                let newer = after(&self.readers, channel, seq - 1, limit - limit / 2).await?;
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
        let mut connection = self.readers.acquire().await?;
        // All is read as of one moment, so that nobody reads on after a removal.
        let mut snapshot = connection.begin().await?;
        let mine: Vec<(Uuid, Seq)> = sqlx::query_as(
            "SELECT p.channel_id, c.last_seq FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.user_id = $1 AND p.channel_id IN (SELECT unhex(value) FROM json_each($2))",
        )
        .bind(user.as_str())
        .bind(json_of(cursors.keys().map(|channel| channel.0)))
        .fetch_all(&mut *snapshot)
        .await?;
        let mut pages = HashMap::with_capacity(mine.len());
        for (channel, last_seq) in mine {
            let channel = ChannelId(channel);
            let Some(cursor) = cursors.get(&channel) else { continue };
            // Most channels have nothing new, and that is known already.
            let page = if *cursor < last_seq {
                let mut page = after(&mut *snapshot, channel, *cursor, limit).await?;
                if page.begins_later_than(*cursor) {
                    page.removed_seq = removed_seq(&mut *snapshot, channel).await?;
                }
                page
            } else {
                Page { entries: Vec::new(), has_more: false, removed_seq: 0 }
            };
            pages.insert(channel, page);
        }
        snapshot.commit().await?;
        Ok(pages)
    }
}

async fn before(
    connection: impl SqliteExecutor<'_>,
    channel: ChannelId,
    seq: Seq,
    limit: i64,
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM entries e WHERE e.channel_id = $1 AND e.seq < $2 ORDER BY e.seq DESC LIMIT $3"
    );
    let mut page = read(connection, sql, channel, seq, limit).await?;
    page.entries.reverse();
    Ok(page)
}

async fn after(
    connection: impl SqliteExecutor<'_>,
    channel: ChannelId,
    seq: Seq,
    limit: i64,
) -> Result<Page, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM entries e WHERE e.channel_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3"
    );
    read(connection, sql, channel, seq, limit).await
}

/// Up to where retention has removed everything.
async fn removed_seq(connection: impl SqliteExecutor<'_>, channel: ChannelId) -> Result<Seq, StoreError> {
    Ok(sqlx::query_scalar(REMOVED_SEQ).bind(channel.0).fetch_one(connection).await?)
}

async fn read(
    connection: impl SqliteExecutor<'_>,
    sql: String,
    channel: ChannelId,
    seq: Seq,
    limit: i64,
) -> Result<Page, StoreError> {
    let rows = sqlx::query_as(AssertSqlSafe(sql))
        .bind(channel.0)
        .bind(seq)
        .bind(limit + 1)
        .fetch_all(connection)
        .await?;
    page(rows, limit)
}

#[derive(FromRow)]
struct HeadRow {
    last_seq: Seq,
    membership_version: i64,
    updated_at: Moment,
}

/// Appends an entry that is no message, and the intent to deliver it, within the transaction that changes what it
/// tells of; `version_step` is how much the membership's version grows.
pub(super) async fn append_change(
    connection: &mut SqliteConnection,
    owner: Uuid,
    channel: ChannelId,
    sender: &UserId,
    body: EntryBody,
    version_step: i64,
) -> Result<Committed, StoreError> {
    // Never back, as with messages: a clock may be set back.
    let head: HeadRow = sqlx::query_as(
        "UPDATE channels SET last_seq = last_seq + 1, membership_version = membership_version + $2,
                             updated_at = max(updated_at, $3)
         WHERE id = $1 RETURNING last_seq, membership_version, updated_at",
    )
    .bind(channel.0)
    .bind(version_step)
    .bind(Moment::now())
    .fetch_one(&mut *connection)
    .await?;
    let entry = Entry {
        id: EntryId::generate(),
        channel_id: channel,
        seq: head.last_seq,
        sender_id: sender.clone(),
        created_at: head.updated_at.0,
        body,
    };
    let (content, user_ids) = change_columns(&entry.body);
    sqlx::query(
        "INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, content, user_ids)
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
    .execute(&mut *connection)
    .await?;
    let outbox = OutboxId::generate();
    intend(connection, outbox, owner, [(channel, entry.seq, entry.seq)]).await?;
    Ok(Committed { entry, membership_version: head.membership_version, outbox })
}

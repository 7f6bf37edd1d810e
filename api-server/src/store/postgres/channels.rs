//! Channels: creation, the list with what is unread, renaming.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use shared_types::{ChannelId, EntryBody, UserId};
use sqlx::Row;
use uuid::Uuid;

use super::Postgres;
use super::entries::append_change;
use super::participants::{insert_participants, lock_and_read_standing};
use crate::store::rows::{CHANNEL_VIEW, EntryRow, ViewRow, entry_columns, views};
use crate::store::{Change, ChannelCursor, ChannelKind, ChannelStore, ChannelView, Role, StoreError, roles};

const MESSAGE_COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl ChannelStore for Postgres {
    async fn create_group(
        &self,
        name: Option<&str>,
        members: &[(UserId, Role)],
    ) -> Result<ChannelId, StoreError> {
        let channel = ChannelId::generate();
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO channels (id, kind, name, created_at, updated_at)
             VALUES ($1, $2, $3, date_trunc('milliseconds', now()), date_trunc('milliseconds', now()))",
        )
        .bind(channel.0)
        .bind(ChannelKind::Group.word())
        .bind(name)
        .execute(&mut transaction)
        .await?;
        insert_participants(&mut transaction, channel, members, 0).await?;
        transaction.commit().await?;
        Ok(channel)
    }

    async fn open_direct(&self, one: &UserId, other: &UserId) -> Result<(ChannelId, bool), StoreError> {
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        let pair = format!("{first} {second}");
        let mut transaction = self.pool.begin().await?;
        let created: Option<Uuid> = sqlx::query_scalar(
            "INSERT INTO channels (id, kind, direct_pair, created_at, updated_at)
             VALUES ($1, $2, $3, date_trunc('milliseconds', now()), date_trunc('milliseconds', now()))
             ON CONFLICT (direct_pair) DO NOTHING RETURNING id",
        )
        .bind(ChannelId::generate().0)
        .bind(ChannelKind::Direct.word())
        .bind(&pair)
        .fetch_optional(&mut transaction)
        .await?;
        let Some(id) = created else {
            transaction.rollback().await?;
            let id: Uuid = sqlx::query_scalar("SELECT id FROM channels WHERE direct_pair = $1")
                .bind(&pair)
                .fetch_one(&self.pool)
                .await?;
            return Ok((ChannelId(id), false));
        };
        let members = [(first.clone(), Role::Member), (second.clone(), Role::Member)];
        insert_participants(&mut transaction, ChannelId(id), &members, 0).await?;
        transaction.commit().await?;
        Ok((ChannelId(id), true))
    }

    async fn channel(
        &self,
        channel: ChannelId,
        user: &UserId,
        sees_all: bool,
    ) -> Result<Option<ChannelView>, StoreError> {
        let sql = format!(
            "{CHANNEL_VIEW} FROM channels c LEFT JOIN participants p ON p.channel_id = c.id AND p.user_id = $2
             WHERE c.id = $1 AND ($3 OR p.user_id IS NOT NULL)"
        );
        let row: Option<ViewRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channel.0)
            .bind(user.as_str())
            .bind(sees_all)
            .fetch_optional(&self.pool)
            .await?;
        match row {
            Some(row) => Ok(self.with_last_messages(vec![row]).await?.pop()),
            None => Ok(None),
        }
    }

    async fn channels(
        &self,
        user: &UserId,
        after: Option<ChannelCursor>,
        limit: i64,
    ) -> Result<Vec<ChannelView>, StoreError> {
        let sql = format!(
            "{CHANNEL_VIEW} FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.user_id = $1 AND ($2::timestamptz IS NULL OR (c.updated_at, c.id) < ($2, $3))
             ORDER BY c.updated_at DESC, c.id DESC LIMIT $4"
        );
        let before = after.and_then(|cursor| DateTime::<Utc>::from_timestamp_micros(cursor.updated_at_us));
        let rows: Vec<ViewRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(user.as_str())
            .bind(before)
            .bind(after.map(|cursor| cursor.id.0))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        self.with_last_messages(rows).await
    }

    async fn rename(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        name: &str,
    ) -> Result<Change, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(standing) = lock_and_read_standing(&mut transaction, channel, caller, may_manage).await?
        else {
            return Ok(Change::NotFound);
        };
        if let Err(denial) = roles::may_rename(standing, may_manage) {
            return Ok(denial.into());
        }
        let row = sqlx::query(
            "UPDATE channels SET name = $2 WHERE id = $1 AND name IS DISTINCT FROM $2 RETURNING 1",
        )
        .bind(channel.0)
        .bind(name)
        .fetch_optional(&mut transaction)
        .await?;
        if row.map(|row| row.try_get::<i32, _>(0)).transpose()?.is_none() {
            return Ok(Change::Unchanged);
        }
        let body = EntryBody::ChannelRenamed { name: name.to_owned() };
        let committed = append_change(&mut transaction, self.owner, channel, caller, body, 0).await?;
        transaction.commit().await?;
        Ok(Change::Committed(committed))
    }

    async fn channels_besides(
        &self,
        user: &UserId,
        known: &[ChannelId],
        limit: i64,
    ) -> Result<Vec<ChannelId>, StoreError> {
        let known: Vec<Uuid> = known.iter().map(|id| id.0).collect();
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT c.id FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.user_id = $1 AND NOT c.id = ANY ($2) ORDER BY c.updated_at DESC, c.id DESC LIMIT $3",
        )
        .bind(user.as_str())
        .bind(known)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(ChannelId).collect())
    }
}

impl Postgres {
    async fn with_last_messages(&self, rows: Vec<ViewRow>) -> Result<Vec<ChannelView>, StoreError> {
        let sql = format!(
            "SELECT {MESSAGE_COLUMNS} FROM unnest($1::uuid[]) AS wanted (channel_id) CROSS JOIN LATERAL (
                 SELECT * FROM entries WHERE entries.channel_id = wanted.channel_id AND entries.type = 'message'
                 ORDER BY entries.seq DESC LIMIT 1
             ) e"
        );
        let last: Vec<EntryRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        views(rows, last)
    }
}

//! Channels: creation, the list with what is unread, renaming.

use async_trait::async_trait;
use shared_types::{ChannelId, EntryBody, UserId};
use sqlx::{AssertSqlSafe, SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use super::Sqlite;
use super::entries::append_change;
use super::ids::json_of;
use super::participants::{insert_participants, read_standing};
use crate::store::columns::Moment;
use crate::store::rows::{CHANNEL_VIEW, ViewRow, entry_columns, views};
use crate::store::{Change, ChannelCursor, ChannelKind, ChannelStore, ChannelView, Role, StoreError, roles};

const MESSAGE_COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl ChannelStore for Sqlite {
    async fn create_group(
        &self,
        name: Option<&str>,
        members: &[(UserId, Role)],
    ) -> Result<ChannelId, StoreError> {
        let mut transaction = self.begin_write().await?;
        let channel = insert_channel(&mut transaction, ChannelKind::Group, name, None).await?;
        insert_participants(&mut transaction, channel, members, 0).await?;
        transaction.commit().await?;
        Ok(channel)
    }

    async fn open_direct(&self, one: &UserId, other: &UserId) -> Result<(ChannelId, bool), StoreError> {
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        let pair = format!("{first} {second}");
        // Mostly it is there, and then nobody has to wait for the writer.
        if let Some(channel) = direct_channel(&self.readers, &pair).await? {
            return Ok((channel, false));
        }
        let mut transaction = self.begin_write().await?;
        if let Some(channel) = direct_channel(&mut *transaction, &pair).await? {
            transaction.rollback().await?;
            return Ok((channel, false));
        }
        let channel = insert_channel(&mut transaction, ChannelKind::Direct, None, Some(&pair)).await?;
        let members = [(first.clone(), Role::Member), (second.clone(), Role::Member)];
        insert_participants(&mut transaction, channel, &members, 0).await?;
        transaction.commit().await?;
        Ok((channel, true))
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
        let row: Option<ViewRow> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(channel.0)
            .bind(user.as_str())
            .bind(sees_all)
            .fetch_optional(&self.readers)
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
        // The page is chosen first: counted in one statement with the sorting, what is unread would be counted in
        // all of the user's channels.
        let sql = format!(
            "{CHANNEL_VIEW} FROM (
                 SELECT mine.channel_id, mine.user_id FROM participants mine JOIN channels ON id = mine.channel_id
                 WHERE mine.user_id = $1 AND ($2 IS NULL OR (updated_at * 1000, id) < ($2, $3))
                 ORDER BY updated_at DESC, id DESC LIMIT $4
             ) listed
             JOIN channels c ON c.id = listed.channel_id
             JOIN participants p ON p.channel_id = listed.channel_id AND p.user_id = listed.user_id
             ORDER BY c.updated_at DESC, c.id DESC"
        );
        let rows: Vec<ViewRow> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(user.as_str())
            .bind(after.map(|cursor| cursor.updated_at_us))
            .bind(after.map(|cursor| cursor.id.0))
            .bind(limit)
            .fetch_all(&self.readers)
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
        let mut transaction = self.begin_write().await?;
        let Some(standing) = read_standing(&mut *transaction, channel, caller, may_manage).await? else {
            return Ok(Change::NotFound);
        };
        if let Err(denial) = roles::may_rename(standing, may_manage) {
            return Ok(denial.into());
        }
        let renamed = sqlx::query("UPDATE channels SET name = $2 WHERE id = $1 AND name IS DISTINCT FROM $2")
            .bind(channel.0)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        if renamed.rows_affected() == 0 {
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
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT c.id FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.user_id = $1 AND c.id NOT IN (SELECT unhex(value) FROM json_each($2))
             ORDER BY c.updated_at DESC, c.id DESC LIMIT $3",
        )
        .bind(user.as_str())
        .bind(json_of(known.iter().map(|id| id.0)))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        Ok(ids.into_iter().map(ChannelId).collect())
    }
}

impl Sqlite {
    async fn with_last_messages(&self, rows: Vec<ViewRow>) -> Result<Vec<ChannelView>, StoreError> {
        let sql = format!(
            "SELECT {MESSAGE_COLUMNS} FROM json_each($1) wanted
             JOIN entries e ON e.channel_id = unhex(wanted.value) AND e.seq = (
                 SELECT seq FROM entries WHERE channel_id = unhex(wanted.value) AND type = 'message'
                 ORDER BY seq DESC LIMIT 1
             )"
        );
        let last = sqlx::query_as(AssertSqlSafe(sql))
            .bind(json_of(rows.iter().map(|row| row.id)))
            .fetch_all(&self.readers)
            .await?;
        views(rows, last)
    }
}

async fn direct_channel(
    connection: impl SqliteExecutor<'_>,
    pair: &str,
) -> Result<Option<ChannelId>, StoreError> {
    let id: Option<Uuid> = sqlx::query_scalar("SELECT id FROM channels WHERE direct_pair = $1")
        .bind(pair)
        .fetch_optional(connection)
        .await?;
    Ok(id.map(ChannelId))
}

async fn insert_channel(
    connection: &mut SqliteConnection,
    kind: ChannelKind,
    name: Option<&str>,
    direct_pair: Option<&str>,
) -> Result<ChannelId, StoreError> {
    let channel = ChannelId::generate();
    sqlx::query(
        "INSERT INTO channels (id, kind, name, direct_pair, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(channel.0)
    .bind(kind.word())
    .bind(name)
    .bind(direct_pair)
    .bind(Moment::now())
    .execute(connection)
    .await?;
    Ok(channel)
}

//! Participants: who is in a channel, in which role, and how far each has read.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use shared_types::api_server_api::Ack;
use shared_types::{ChannelId, EntryBody, Seq, UserId};
use uuid::Uuid;

use super::Postgres;
use super::entries::append_change;
use super::statements::Transaction;
use crate::store::rows::{
    MEMBER_COLUMNS, MemberRow, MembershipRow, ParticipantRow, StandingRow, by_channel, by_user, parsed,
};
use crate::store::{
    Change, Member, Membership, MovedCursor, ParticipantStore, Participants, ReadCursor, Role, Standing,
    StoreError, roles,
};

#[async_trait]
impl ParticipantStore for Postgres {
    async fn standing(&self, channel: ChannelId, caller: &UserId) -> Result<Option<Standing>, StoreError> {
        let row: Option<StandingRow> = sqlx::query_as(
            "SELECT c.kind, c.last_seq, p.role FROM channels c
             LEFT JOIN participants p ON p.channel_id = c.id AND p.user_id = $2 WHERE c.id = $1",
        )
        .bind(channel.0)
        .bind(caller.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.map(Standing::try_from).transpose()
    }

    async fn members(
        &self,
        channel: ChannelId,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM participants
             WHERE channel_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3"
        );
        let rows: Vec<MemberRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channel.0)
            .bind(after.map_or("", UserId::as_str))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Member::try_from).collect()
    }

    async fn participants(
        &self,
        channels: &[ChannelId],
    ) -> Result<Vec<(ChannelId, Participants)>, StoreError> {
        let ids: Vec<Uuid> = channels.iter().map(|id| id.0).collect();
        let rows: Vec<ParticipantRow> = sqlx::query_as(
            "SELECT p.channel_id, c.membership_version, p.user_id, p.joined_seq FROM channels c
             JOIN participants p ON p.channel_id = c.id WHERE c.id = ANY ($1) ORDER BY p.channel_id, p.user_id",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        by_channel(rows)
    }

    async fn add_members(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        users: &[UserId],
    ) -> Result<Change, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(standing) = lock_and_read_standing(&mut transaction, channel, caller, may_manage).await?
        else {
            return Ok(Change::NotFound);
        };
        if let Err(denial) = roles::may_add_members(standing, may_manage) {
            return Ok(denial.into());
        }
        let members: Vec<_> = users.iter().map(|user| (user.clone(), Role::Member)).collect();
        // They have "read" what was there before them, their own joining included.
        let added = insert_participants(&mut transaction, channel, &members, standing.last_seq + 1).await?;
        if added.is_empty() {
            return Ok(Change::Unchanged);
        }
        if roles::may_be_adding_to_nobody(standing) {
            promote_an_owner_if_none_is_left(&mut transaction, channel).await?;
        }
        let body = EntryBody::MemberJoined { user_ids: added };
        let committed = append_change(&mut transaction, self.owner, channel, caller, body, 1).await?;
        transaction.commit().await?;
        Ok(Change::Committed(committed))
    }

    async fn remove_member(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        user: &UserId,
    ) -> Result<Change, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(standing) = lock_and_read_standing(&mut transaction, channel, caller, may_manage).await?
        else {
            return Ok(Change::NotFound);
        };
        let role = role_of(&mut transaction, channel, user).await?;
        let removed = match roles::may_remove(standing, may_manage, caller == user, role) {
            Ok(removed) => removed,
            Err(denial) => return Ok(denial.into()),
        };
        if removed == Role::Owner {
            // One row is deleted and another one may be promoted: locked in the order in which acks lock them.
            sqlx::query("SELECT 1 FROM participants WHERE channel_id = $1 ORDER BY user_id FOR UPDATE")
                .bind(channel.0)
                .execute(&mut transaction)
                .await?;
        }
        sqlx::query("DELETE FROM participants WHERE channel_id = $1 AND user_id = $2")
            .bind(channel.0)
            .bind(user.as_str())
            .execute(&mut transaction)
            .await?;
        if removed == Role::Owner {
            promote_an_owner_if_none_is_left(&mut transaction, channel).await?;
        }
        let body = EntryBody::MemberLeft { user_ids: vec![user.clone()] };
        let committed = append_change(&mut transaction, self.owner, channel, caller, body, 1).await?;
        transaction.commit().await?;
        Ok(Change::Committed(committed))
    }

    async fn set_role(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        user: &UserId,
        role: Role,
    ) -> Result<Result<Member, Change>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(standing) = lock_and_read_standing(&mut transaction, channel, caller, may_manage).await?
        else {
            return Ok(Err(Change::NotFound));
        };
        if let Err(denial) = roles::may_set_role(standing, may_manage) {
            return Ok(Err(denial.into()));
        }
        let sql = format!(
            "UPDATE participants SET role = $3 WHERE channel_id = $1 AND user_id = $2 RETURNING {MEMBER_COLUMNS}"
        );
        let row: Option<MemberRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channel.0)
            .bind(user.as_str())
            .bind(role.word())
            .fetch_optional(&mut transaction)
            .await?;
        let Some(row) = row else { return Ok(Err(Change::Unchanged)) };
        if let Err(denial) = roles::still_owned(owners(&mut transaction, channel).await?) {
            return Ok(Err(denial.into()));
        }
        transaction.commit().await?;
        Ok(Ok(row.try_into()?))
    }

    async fn mark_read(
        &self,
        channel: ChannelId,
        user: &UserId,
        seq: Seq,
    ) -> Result<Option<ReadCursor>, StoreError> {
        self.move_read_cursor(channel, user, seq).await
    }

    async fn acknowledge(&self, acks: &[Ack]) -> Result<Vec<MovedCursor>, StoreError> {
        self.move_delivered_cursors(acks).await
    }

    async fn memberships(&self, users: &[UserId]) -> Result<HashMap<UserId, Vec<Membership>>, StoreError> {
        let rows: Vec<MembershipRow> = sqlx::query_as(
            "SELECT p.user_id, p.channel_id, c.last_seq, p.joined_seq
             FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.user_id = ANY ($1) ORDER BY c.updated_at DESC, c.id DESC",
        )
        .bind(users.iter().map(UserId::as_str).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        by_user(rows)
    }
}

/// Locks the channel against other changes and messages, then reads what the caller is in it. `None` when there
/// is no such channel or the caller may not know of it. Two statements, so that the second sees what was
/// committed while the first waited.
pub(super) async fn lock_and_read_standing(
    connection: &mut Transaction,
    channel: ChannelId,
    caller: &UserId,
    may_manage: bool,
) -> Result<Option<Standing>, StoreError> {
    sqlx::query("SELECT 1 FROM channels WHERE id = $1 FOR NO KEY UPDATE")
        .bind(channel.0)
        .fetch_optional(&mut *connection)
        .await?;
    let row: Option<StandingRow> = sqlx::query_as(
        "SELECT c.kind, c.last_seq, p.role FROM channels c
         LEFT JOIN participants p ON p.channel_id = c.id AND p.user_id = $2
         WHERE c.id = $1 AND ($3 OR p.user_id IS NOT NULL)",
    )
    .bind(channel.0)
    .bind(caller.as_str())
    .bind(may_manage)
    .fetch_optional(connection)
    .await?;
    row.map(Standing::try_from).transpose()
}

/// Adds those who are not in yet; answers them, in the order given.
pub(super) async fn insert_participants(
    connection: &mut Transaction,
    channel: ChannelId,
    members: &[(UserId, Role)],
    joined_seq: Seq,
) -> Result<Vec<UserId>, StoreError> {
    let users: Vec<&str> = members.iter().map(|(user, _)| user.as_str()).collect();
    let roles: Vec<&str> = members.iter().map(|(_, role)| role.word()).collect();
    // The statement's moment, after the lock: one for all of them, where `clock_timestamp()` is asked for each row
    // and the next millisecond may begin between two.
    let inserted: Vec<String> = sqlx::query_scalar(
        "INSERT INTO participants (channel_id, user_id, role, joined_at, joined_seq, delivered_seq, read_seq)
         SELECT $1, m.user_id, m.role, date_trunc('milliseconds', statement_timestamp()), $4, $4, $4
         FROM unnest($2::text[], $3::text[]) AS m (user_id, role)
         ON CONFLICT DO NOTHING RETURNING user_id",
    )
    .bind(channel.0)
    .bind(users)
    .bind(roles)
    .bind(joined_seq)
    .fetch_all(connection)
    .await?;
    let mut inserted: HashSet<String> = inserted.into_iter().collect();
    // Taken out of the set, so that a user who is named twice is answered once.
    Ok(members.iter().map(|(user, _)| user).filter(|user| inserted.remove(user.as_str())).cloned().collect())
}

async fn role_of(
    connection: &mut Transaction,
    channel: ChannelId,
    user: &UserId,
) -> Result<Option<Role>, StoreError> {
    let role: Option<String> =
        sqlx::query_scalar("SELECT role FROM participants WHERE channel_id = $1 AND user_id = $2")
            .bind(channel.0)
            .bind(user.as_str())
            .fetch_optional(connection)
            .await?;
    role.map(parsed).transpose()
}

async fn owners(connection: &mut Transaction, channel: ChannelId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM participants WHERE channel_id = $1 AND role = 'owner'")
        .bind(channel.0)
        .fetch_one(connection)
        .await?)
}

async fn promote_an_owner_if_none_is_left(
    connection: &mut Transaction,
    channel: ChannelId,
) -> Result<(), StoreError> {
    if owners(connection, channel).await? > 0 {
        return Ok(());
    }
    let sql = format!(
        "UPDATE participants SET role = 'owner' WHERE channel_id = $1 AND user_id = (
             SELECT user_id FROM participants WHERE channel_id = $1 ORDER BY {} LIMIT 1)",
        roles::SUCCESSION
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(channel.0).execute(connection).await?;
    Ok(())
}

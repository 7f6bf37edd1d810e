//! How far each participant has got: read and delivered cursors, which only move forward.

use shared_types::api_server_api::Ack;
use shared_types::{ChannelId, Seq, UserId};
use uuid::Uuid;

use super::Sqlite;
use super::ids::json_of_cursors;
use super::push_jobs::cancel_settled;
use crate::store::rows::moved_cursors;
use crate::store::{MovedCursor, ReadCursor, StoreError};

impl Sqlite {
    pub(super) async fn move_read_cursor(
        &self,
        channel: ChannelId,
        user: &UserId,
        seq: Seq,
    ) -> Result<Option<ReadCursor>, StoreError> {
        let stands_at: Option<(Seq, i64)> = sqlx::query_as(
            "SELECT p.read_seq, c.membership_version FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.channel_id = $1 AND p.user_id = $2",
        )
        .bind(channel.0)
        .bind(user.as_str())
        .fetch_optional(&self.readers)
        .await?;
        let Some((stands_at, membership_version)) = stands_at else { return Ok(None) };
        // Clients repeat themselves: only a cursor that moves waits for the writer.
        if stands_at >= seq {
            return Ok(Some(ReadCursor { seq: stands_at, has_moved: false, membership_version }));
        }
        let mut transaction = self.begin_write().await?;
        let moved = sqlx::query(
            "UPDATE participants SET read_seq = $3, delivered_seq = max(
                 delivered_seq, min($3, (SELECT last_seq FROM channels WHERE id = channel_id)))
             WHERE channel_id = $1 AND user_id = $2 AND read_seq < $3",
        )
        .bind(channel.0)
        .bind(user.as_str())
        .bind(seq)
        .execute(&mut *transaction)
        .await?;
        let has_moved = moved.rows_affected() > 0;
        if has_moved {
            cancel_settled(&mut transaction, &json_of_cursors([(user, channel, seq)])?).await?;
        }
        let stands_at: Option<(Seq, i64)> = sqlx::query_as(
            "SELECT p.read_seq, c.membership_version FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.channel_id = $1 AND p.user_id = $2",
        )
        .bind(channel.0)
        .bind(user.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(stands_at.map(|(seq, membership_version)| ReadCursor { seq, has_moved, membership_version }))
    }

    pub(super) async fn move_delivered_cursors(&self, acks: &[Ack]) -> Result<Vec<MovedCursor>, StoreError> {
        let acked = json_of_cursors(acks.iter().map(|ack| (&ack.user_id, ack.channel_id, ack.seq)))?;
        let foreground = acks.iter().filter(|ack| ack.is_foreground);
        let settled = json_of_cursors(foreground.map(|ack| (&ack.user_id, ack.channel_id, ack.seq)))?;
        let mut transaction = self.begin_write().await?;
        let moved: Vec<(String, Uuid, Seq, i64)> = sqlx::query_as(
            "UPDATE participants SET delivered_seq = a.seq
             FROM (
                 SELECT a.value ->> 0 AS user_id, c.id AS channel_id, min(max(a.value ->> 2), c.last_seq) AS seq
                 FROM json_each($1) a JOIN channels c ON c.id = unhex(a.value ->> 1) GROUP BY 1, 2
             ) a
             WHERE participants.channel_id = a.channel_id AND participants.user_id = a.user_id
               AND participants.delivered_seq < a.seq
             RETURNING user_id, channel_id, delivered_seq,
                       (SELECT membership_version FROM channels WHERE id = participants.channel_id)",
        )
        .bind(acked)
        .fetch_all(&mut *transaction)
        .await?;
        cancel_settled(&mut transaction, &settled).await?;
        transaction.commit().await?;
        moved_cursors(moved)
    }
}

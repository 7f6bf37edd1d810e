//! How far each participant has got: read and delivered cursors, which only move forward.

use shared_types::api_server_api::Ack;
use shared_types::{ChannelId, Seq, UserId};
use uuid::Uuid;

use super::Postgres;
use super::push_jobs::CANCEL_SETTLED;
use crate::store::rows::moved_cursors;
use crate::store::{MovedCursor, ReadCursor, StoreError};

impl Postgres {
    pub(super) async fn move_read_cursor(
        &self,
        channel: ChannelId,
        user: &UserId,
        seq: Seq,
    ) -> Result<Option<ReadCursor>, StoreError> {
        // The row is written only when the cursor moves; the last branch reads it as it was when the statement
        // began. Had another device moved it on since, it stands at `seq` at least.
        let sql = format!(
            "WITH moved AS (
                 UPDATE participants p
                 SET read_seq = $3, delivered_seq = greatest(p.delivered_seq, least($3, c.last_seq))
                 FROM channels c
                 WHERE c.id = p.channel_id AND p.channel_id = $1 AND p.user_id = $2 AND p.read_seq < $3
                 RETURNING 1
             ), settled (user_id, channel_id, seq) AS (
                 SELECT $2, $1, $3
             ), {CANCEL_SETTLED}
             SELECT greatest(p.read_seq, $3), EXISTS (SELECT 1 FROM moved), c.membership_version
             FROM participants p JOIN channels c ON c.id = p.channel_id
             WHERE p.channel_id = $1 AND p.user_id = $2"
        );
        let row: Option<(Seq, bool, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channel.0)
            .bind(user.as_str())
            .bind(seq)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(seq, has_moved, membership_version)| ReadCursor { seq, has_moved, membership_version }))
    }

    pub(super) async fn move_delivered_cursors(&self, acks: &[Ack]) -> Result<Vec<MovedCursor>, StoreError> {
        // Rows are locked one by one in the same order by all, so that no two batches wait for each other; those that
        // stand far enough are left alone. LATERAL keeps the planner from reading all members of a large channel.
        let sql = format!(
            "WITH acked AS MATERIALIZED (
                 SELECT user_id, channel_id, max(seq) AS seq, max(seq) FILTER (WHERE is_foreground) AS foreground_seq
                 FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::boolean[])
                     AS a (user_id, channel_id, seq, is_foreground)
                 GROUP BY user_id, channel_id
             ), behind AS MATERIALIZED (
                 SELECT a.channel_id, a.user_id, least(a.seq, c.last_seq) AS seq, c.membership_version
                 FROM (SELECT * FROM acked ORDER BY channel_id, user_id COLLATE \"C\") a
                 JOIN LATERAL (SELECT * FROM channels WHERE id = a.channel_id LIMIT 1) c ON true
                 JOIN LATERAL (
                     SELECT 1 FROM participants p
                     WHERE p.channel_id = a.channel_id AND p.user_id = a.user_id
                       AND p.delivered_seq < least(a.seq, c.last_seq)
                     FOR NO KEY UPDATE
                 ) p ON true
             ), moved AS (
                 UPDATE participants p SET delivered_seq = b.seq FROM behind b
                 WHERE p.channel_id = b.channel_id AND p.user_id = b.user_id AND p.delivered_seq < b.seq
                 RETURNING p.user_id, p.channel_id, b.seq, b.membership_version
             ), settled AS (
                 SELECT user_id, channel_id, foreground_seq AS seq FROM acked WHERE foreground_seq IS NOT NULL
             ), {CANCEL_SETTLED}
             SELECT * FROM moved"
        );
        let moved: Vec<(String, Uuid, Seq, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(acks.iter().map(|ack| ack.user_id.as_str()).collect::<Vec<_>>())
            .bind(acks.iter().map(|ack| ack.channel_id.0).collect::<Vec<_>>())
            .bind(acks.iter().map(|ack| ack.seq).collect::<Vec<_>>())
            .bind(acks.iter().map(|ack| ack.is_foreground).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        moved_cursors(moved)
    }
}

//! The outbox: which processes live, and the rows on which nobody works.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Postgres;
use crate::store::rows::{CommittedRow, committed, entry_columns};
use crate::store::{Committed, FARTHEST_LEASE, OutboxId, OutboxStore, StoreError};

const ENTRY_COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl OutboxStore for Postgres {
    async fn keep_outbox(&self, lease: Duration) -> Result<u32, StoreError> {
        // Who has been dead for long is struck off. Rows that another one is striking off, or that turn out to live, are
        // passed over: nobody waits for a row here while holding one.
        let others: i64 = sqlx::query_scalar(
            "WITH kept AS (
                 INSERT INTO api_servers (id, alive_until) VALUES ($1, now() + make_interval(secs => $2))
                 ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until
             ), struck_off AS (
                 DELETE FROM api_servers WHERE id IN (
                     SELECT id FROM api_servers WHERE alive_until < now() - interval '1 hour' AND id <> $1
                     FOR UPDATE SKIP LOCKED
                 )
             )
             SELECT count(*) FROM api_servers
             WHERE alive_until > now() AND alive_until <= now() + make_interval(secs => $3) AND id <> $1",
        )
        .bind(self.owner)
        .bind(lease.as_secs_f64())
        .bind(FARTHEST_LEASE.as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1))
    }

    async fn adopt_outbox(
        &self,
        in_flight: &[OutboxId],
        forgotten_after: Duration,
        limit: i64,
    ) -> Result<Vec<Committed>, StoreError> {
        // Two who want the same row: the second passes it over while the first has it locked, and reads the new owner,
        // who lives, when it comes later.
        let sql = format!(
            "WITH abandoned AS (
                 SELECT o.id FROM outbox o
                 WHERE CASE WHEN o.owner = $1 THEN
                           (o.written_at <= now() - make_interval(secs => $3)
                            OR o.written_at > now() + make_interval(secs => $5)) AND o.id <> ALL ($2)
                       ELSE NOT EXISTS (
                           SELECT 1 FROM api_servers s WHERE s.id = o.owner
                           AND s.alive_until > now() AND s.alive_until <= now() + make_interval(secs => $5)
                       ) END
                 ORDER BY o.written_at, o.id LIMIT $4 FOR UPDATE OF o SKIP LOCKED
             ), adopted AS (
                 UPDATE outbox o SET owner = $1 FROM abandoned a WHERE o.id = a.id
                 RETURNING o.id, o.channel_ids, o.first_seqs, o.last_seqs
             )
             SELECT a.id AS outbox_id, c.membership_version, {ENTRY_COLUMNS} FROM adopted a
             CROSS JOIN LATERAL unnest(a.channel_ids, a.first_seqs, a.last_seqs)
                 AS place (channel_id, first_seq, last_seq)
             JOIN channels c ON c.id = place.channel_id
             CROSS JOIN LATERAL (
                 SELECT * FROM entries WHERE entries.channel_id = place.channel_id
                   AND entries.seq BETWEEN place.first_seq AND place.last_seq ORDER BY entries.seq OFFSET 0
             ) e
             ORDER BY e.channel_id, e.seq"
        );
        let rows: Vec<CommittedRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(self.owner)
            .bind(uuids(in_flight))
            .bind(forgotten_after.as_secs_f64())
            .bind(limit)
            .bind(FARTHEST_LEASE.as_secs_f64())
            .fetch_all(&self.pool)
            .await?;
        committed(rows)
    }

    async fn remove_from_outbox(&self, rows: &[OutboxId]) -> Result<(), StoreError> {
        // A locked row is being taken over, and its new owner removes it.
        sqlx::query(
            "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED)",
        )
        .bind(uuids(rows))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn leave_outbox(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM api_servers WHERE id = $1").bind(self.owner).execute(&self.pool).await?;
        Ok(())
    }

    async fn outbox_age(&self) -> Result<Duration, StoreError> {
        // A clock that was set back leaves rows of the future behind.
        let seconds: f64 = sqlx::query_scalar(
            "SELECT coalesce(greatest(extract(epoch FROM now() - min(written_at)), 0), 0)::float8 FROM outbox",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

fn uuids(rows: &[OutboxId]) -> Vec<Uuid> {
    rows.iter().map(|row| row.0).collect()
}

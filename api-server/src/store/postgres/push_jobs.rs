//! Push jobs: made by the fan-out, taken under a lease, ended or put off.

use async_trait::async_trait;
use std::time::Duration;

use shared_types::{ChannelId, Seq, UserId};
use uuid::Uuid;

use super::Postgres;
use crate::store::rows::{EntryRow, JobRow, entry_columns, jobs};
use crate::store::{PushJob, PushJobStore, StoreError};

const ENTRY_COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl PushJobStore for Postgres {
    async fn enqueue_pushes(&self, pushes: &[(UserId, ChannelId, Seq)]) -> Result<u64, StoreError> {
        let users: Vec<&str> = pushes.iter().map(|(user, ..)| user.as_str()).collect();
        let channels: Vec<Uuid> = pushes.iter().map(|(_, channel, _)| channel.0).collect();
        let seqs: Vec<i64> = pushes.iter().map(|(.., seq)| *seq).collect();
        let inserted = sqlx::query(
            "INSERT INTO push_jobs (user_id, device_id, channel_id, seq, due_at, created_at)
             SELECT d.user_id, d.device_id, o.channel_id, o.seq, now(), now()
             FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS o (user_id, channel_id, seq)
             JOIN devices d ON d.user_id = o.user_id AND d.disabled_at IS NULL
             ON CONFLICT DO NOTHING",
        )
        .bind(users)
        .bind(channels)
        .bind(seqs)
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected())
    }

    async fn lease_pushes(&self, limit: i64, lease: Duration) -> Result<Vec<PushJob>, StoreError> {
        let rows: Vec<JobRow> = sqlx::query_as(
            "WITH due AS (
                 SELECT id FROM push_jobs WHERE failed_at IS NULL AND due_at <= now()
                 ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
             ), leased AS (
                 UPDATE push_jobs j SET due_at = now() + make_interval(secs => $2), attempts = attempts + 1
                 FROM due WHERE j.id = due.id RETURNING j.*
             )
             SELECT l.id AS job_id, l.user_id AS job_user_id, l.device_id, l.attempts, l.created_at AS job_created_at,
                    l.channel_id AS job_channel_id, l.seq AS job_seq,
                    d.platform, d.installation_id, d.registration_token, d.target_version, c.name AS channel_name,
                    (SELECT sum(unread.messages)::bigint FROM participants mine
                     CROSS JOIN LATERAL (
                         SELECT count(*) AS messages FROM entries u
                         WHERE u.channel_id = mine.channel_id AND u.seq > mine.read_seq
                           AND u.type = 'message' AND u.sender_id <> mine.user_id
                     ) unread
                     WHERE mine.user_id = l.user_id) AS unread_total
             FROM leased l
             LEFT JOIN participants p ON p.channel_id = l.channel_id AND p.user_id = l.user_id
             LEFT JOIN devices d ON d.user_id = p.user_id AND d.device_id = l.device_id AND d.disabled_at IS NULL
             LEFT JOIN channels c ON c.id = l.channel_id
             ORDER BY l.id",
        )
        .bind(limit)
        .bind(lease.as_secs_f64())
        .fetch_all(&self.pool)
        .await?;
        let entries = self.entries_of(&rows).await?;
        jobs(rows, entries)
    }

    async fn finish_pushes(&self, jobs: &[i64]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM push_jobs WHERE id = ANY ($1)").bind(jobs).execute(&self.pool).await?;
        Ok(())
    }

    async fn postpone_push(&self, job: i64, pause: Duration) -> Result<(), StoreError> {
        sqlx::query("UPDATE push_jobs SET due_at = now() + make_interval(secs => $2) WHERE id = $1")
            .bind(job)
            .bind(pause.as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn fail_push(&self, job: i64, reason: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE push_jobs SET failed_at = now(), failed_reason = $2 WHERE id = $1")
            .bind(job)
            .bind(reason)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

impl Postgres {
    async fn entries_of(&self, jobs: &[JobRow]) -> Result<Vec<EntryRow>, StoreError> {
        let sql = format!(
            "SELECT {ENTRY_COLUMNS} FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::bigint[]) AS d (channel_id, seq)) wanted
             JOIN entries e ON e.channel_id = wanted.channel_id AND e.seq = wanted.seq"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(jobs.iter().map(|job| job.job_channel_id).collect::<Vec<_>>())
            .bind(jobs.iter().map(|job| job.job_seq).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?)
    }
}

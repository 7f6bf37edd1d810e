//! Push jobs: made by the fan-out, taken under a lease, ended or put off.

use std::time::Duration;

use async_trait::async_trait;
use shared_types::{ChannelId, Seq, UserId};
use sqlx::AssertSqlSafe;

use super::Sqlite;
use super::ids::hex;
use crate::store::columns::Moment;
use crate::store::rows::{EntryRow, JobRow, corrupt, entry_columns, jobs};
use crate::store::{PushJob, PushJobStore, StoreError};

const ENTRY_COLUMNS: &str = entry_columns!("e");

#[async_trait]
impl PushJobStore for Sqlite {
    async fn enqueue_pushes(&self, pushes: &[(UserId, ChannelId, Seq)]) -> Result<u64, StoreError> {
        let owed: Vec<_> =
            pushes.iter().map(|(user, channel, seq)| (user.as_str(), hex(channel.0), seq)).collect();
        let owed = serde_json::to_string(&owed).map_err(|error| corrupt(&format!("a push: {error}")))?;
        let inserted = sqlx::query(
            "INSERT INTO push_jobs (user_id, device_id, channel_id, seq, due_at, created_at)
             SELECT d.user_id, d.device_id, unhex(o.value ->> 1), o.value ->> 2, $2, $2 FROM json_each($1) o
             JOIN devices d ON d.user_id = o.value ->> 0 AND d.disabled_at IS NULL
             WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(owed)
        .bind(Moment::now())
        .execute(&self.writer)
        .await?;
        Ok(inserted.rows_affected())
    }

    async fn lease_pushes(&self, limit: i64, lease: Duration) -> Result<Vec<PushJob>, StoreError> {
        let now = Moment::now();
        // Workers ask again and again, mostly in vain: that shall not keep the writer busy.
        let due: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM push_jobs WHERE failed_at IS NULL AND due_at <= $1 LIMIT 1")
                .bind(now)
                .fetch_optional(&self.readers)
                .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let leased: Vec<i64> = sqlx::query_scalar(
            "UPDATE push_jobs SET due_at = $2, attempts = attempts + 1 WHERE id IN (
                 SELECT id FROM push_jobs WHERE failed_at IS NULL AND due_at <= $1 ORDER BY due_at, id LIMIT $3
             ) RETURNING id",
        )
        .bind(now)
        .bind(after(now, lease))
        .bind(limit)
        .fetch_all(&self.writer)
        .await?;
        // Nobody else touches them from here on, so the rest is read beside the writer.
        let rows = self.job_rows(&leased).await?;
        let entries = self.entries_of(&rows).await?;
        jobs(rows, entries)
    }

    async fn finish_pushes(&self, jobs: &[i64]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM push_jobs WHERE id IN (SELECT value FROM json_each($1))")
            .bind(json(jobs))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn postpone_push(&self, job: i64, pause: Duration) -> Result<(), StoreError> {
        sqlx::query("UPDATE push_jobs SET due_at = $2 WHERE id = $1")
            .bind(job)
            .bind(after(Moment::now(), pause))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn fail_push(&self, job: i64, reason: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE push_jobs SET failed_at = $3, failed_reason = $2 WHERE id = $1")
            .bind(job)
            .bind(reason)
            .bind(Moment::now())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

impl Sqlite {
    async fn job_rows(&self, leased: &[i64]) -> Result<Vec<JobRow>, StoreError> {
        // What a user has not read is counted once, however many jobs they have.
        Ok(sqlx::query_as(
            "WITH leased AS MATERIALIZED (
                 SELECT * FROM push_jobs WHERE id IN (SELECT value FROM json_each($1))
             ), unread AS MATERIALIZED (
                 SELECT mine.user_id, sum((
                     SELECT count(*) FROM entries u
                     WHERE u.channel_id = mine.channel_id AND u.seq > mine.read_seq
                       AND u.type = 'message' AND u.sender_id <> mine.user_id
                 )) AS messages
                 FROM participants mine WHERE mine.user_id IN (SELECT user_id FROM leased) GROUP BY mine.user_id
             )
             SELECT l.id AS job_id, l.user_id AS job_user_id, l.device_id, l.attempts, l.created_at AS job_created_at,
                    l.channel_id AS job_channel_id, l.seq AS job_seq,
                    d.platform, d.installation_id, d.registration_token, d.target_version, c.name AS channel_name,
                    unread.messages AS unread_total
             FROM leased l
             LEFT JOIN participants p ON p.channel_id = l.channel_id AND p.user_id = l.user_id
             LEFT JOIN devices d ON d.user_id = p.user_id AND d.device_id = l.device_id AND d.disabled_at IS NULL
             LEFT JOIN channels c ON c.id = l.channel_id
             LEFT JOIN unread ON unread.user_id = l.user_id
             ORDER BY l.id",
        )
        .bind(json(leased))
        .fetch_all(&self.readers)
        .await?)
    }

    async fn entries_of(&self, jobs: &[JobRow]) -> Result<Vec<EntryRow>, StoreError> {
        let places: Vec<_> = jobs.iter().map(|job| (hex(job.job_channel_id), job.job_seq)).collect();
        let places = serde_json::to_string(&places).map_err(|error| corrupt(&format!("a place: {error}")))?;
        let sql = format!(
            "SELECT {ENTRY_COLUMNS} FROM (
                 SELECT DISTINCT unhex(value ->> 0) AS channel_id, value ->> 1 AS seq FROM json_each($1)
             ) wanted
             JOIN entries e ON e.channel_id = wanted.channel_id AND e.seq = wanted.seq"
        );
        Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(places).fetch_all(&self.readers).await?)
    }
}

/// Rounded up: nothing is due before its time.
fn after(now: Moment, pause: Duration) -> i64 {
    let pause = pause.as_nanos().div_ceil(1_000_000);
    now.as_millis().saturating_add(i64::try_from(pause).unwrap_or(i64::MAX))
}

fn json(ids: &[i64]) -> String {
    format!("[{}]", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

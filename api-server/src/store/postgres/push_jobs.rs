//! Push jobs: made by the fan-out, taken under a lease, ended or put off.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use shared_types::Seq;
use uuid::Uuid;

use super::Postgres;
use crate::store::rows::{EntryRow, JobRow, entry_columns, jobs};
use crate::store::{FARTHEST_PUSH, PushJob, PushJobStore, PushWanted, StoreError};

const ENTRY_COLUMNS: &str = entry_columns!("e");

/// Two steps of a statement that has a step `settled (user_id, channel_id, seq)`: what waits to be told up to `seq`
/// needs not be told any more. Rows are locked in one order, the same as in `enqueue_pushes`.
pub(super) const CANCEL_SETTLED: &str = "
    told AS MATERIALIZED (
        SELECT j.id, s.seq FROM (SELECT * FROM settled ORDER BY user_id COLLATE \"C\", channel_id) s
        JOIN LATERAL (
            SELECT w.id FROM push_jobs w
            WHERE w.user_id = s.user_id AND w.channel_id = s.channel_id AND w.due_at IS NOT NULL AND w.first_seq <= s.seq
            ORDER BY w.device_id FOR NO KEY UPDATE
        ) j ON true
    ), cancelled AS (
        UPDATE push_jobs j
        SET first_seq = greatest(j.first_seq, told.seq + 1),
            settled_seq = greatest(j.settled_seq, least(j.seq, told.seq)),
            due_at = CASE WHEN j.seq > told.seq THEN j.due_at END
        FROM told WHERE j.id = told.id AND j.due_at IS NOT NULL
    )";

#[async_trait]
impl PushJobStore for Postgres {
    async fn enqueue_pushes(&self, pushes: &[PushWanted], pause: Duration) -> Result<u64, StoreError> {
        // A row that begins to wait gets this transaction's moment, one that waits already keeps its own.
        let begun: i64 = sqlx::query_scalar(
            "WITH wanted AS (
                 SELECT w.user_id, w.channel_id, min(w.seq) AS first_seq, max(w.seq) AS seq
                 FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::boolean[])
                     AS w (user_id, channel_id, seq, unless_delivered)
                 JOIN participants p ON p.channel_id = w.channel_id AND p.user_id = w.user_id
                 WHERE w.seq > p.read_seq AND NOT (w.unless_delivered AND w.seq <= p.delivered_seq)
                 GROUP BY w.user_id, w.channel_id
             ), waiting AS (
                 INSERT INTO push_jobs AS j (user_id, device_id, channel_id, first_seq, seq, due_at, created_at)
                 SELECT d.user_id, d.device_id, w.channel_id, w.first_seq, w.seq,
                        now() + make_interval(secs => $5), now()
                 FROM wanted w JOIN devices d ON d.user_id = w.user_id AND d.disabled_at IS NULL
                 ORDER BY d.user_id, w.channel_id, d.device_id
                 ON CONFLICT (user_id, channel_id, device_id) DO UPDATE SET
                     first_seq = CASE WHEN j.due_at IS NULL THEN greatest(excluded.first_seq, j.settled_seq + 1)
                                 ELSE least(j.first_seq, greatest(excluded.first_seq, j.settled_seq + 1)) END,
                     seq = greatest(j.seq, excluded.seq),
                     created_at = CASE WHEN j.due_at IS NULL THEN excluded.created_at ELSE j.created_at END,
                     attempts = CASE WHEN j.due_at IS NULL THEN 0 ELSE j.attempts END,
                     due_at = coalesce(j.due_at, excluded.due_at),
                     failed_at = NULL, failed_reason = NULL
                 WHERE excluded.seq > j.settled_seq
                   AND (j.due_at IS NULL OR excluded.seq > j.seq
                        OR greatest(excluded.first_seq, j.settled_seq + 1) < j.first_seq)
                 RETURNING j.created_at
             )
             SELECT count(*) FROM waiting WHERE created_at = now()",
        )
        .bind(pushes.iter().map(|push| push.user_id.as_str()).collect::<Vec<_>>())
        .bind(pushes.iter().map(|push| push.channel_id.0).collect::<Vec<_>>())
        .bind(pushes.iter().map(|push| push.seq).collect::<Vec<_>>())
        .bind(pushes.iter().map(|push| push.unless_delivered).collect::<Vec<_>>())
        .bind(pause.as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(begun.unsigned_abs())
    }

    async fn lease_pushes(&self, limit: i64, lease: Duration) -> Result<Vec<PushJob>, StoreError> {
        let rows: Vec<JobRow> = sqlx::query_as("SELECT * FROM lease_pushes($1, $2, $3)")
            .bind(limit)
            .bind(lease.as_secs_f64())
            .bind(FARTHEST_PUSH.as_secs_f64())
            .fetch_all(&self.pool)
            .await?;
        let entries = self.entries_of(&rows).await?;
        jobs(rows, entries)
    }

    async fn finish_pushes(&self, jobs: &[(i64, Seq)], pause: Duration) -> Result<(), StoreError> {
        // Rows are locked in the order of `CANCEL_SETTLED` and `enqueue_pushes`.
        sqlx::query(
            "WITH told AS MATERIALIZED (
                 SELECT j.id, f.seq
                 FROM (SELECT id, max(seq) AS seq FROM unnest($1::bigint[], $2::bigint[]) AS f (id, seq) GROUP BY id) f
                 JOIN push_jobs j ON j.id = f.id
                 ORDER BY j.user_id, j.channel_id, j.device_id FOR NO KEY UPDATE OF j
             )
             UPDATE push_jobs j SET settled_seq = greatest(j.settled_seq, told.seq),
                 first_seq = greatest(j.first_seq, told.seq + 1),
                 attempts = 0, created_at = CASE WHEN j.seq > told.seq THEN now() ELSE j.created_at END,
                 due_at = CASE WHEN j.seq > told.seq AND j.due_at IS NOT NULL
                               THEN now() + make_interval(secs => $3) END
             FROM told WHERE j.id = told.id",
        )
        .bind(jobs.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(jobs.iter().map(|(_, seq)| *seq).collect::<Vec<_>>())
        .bind(pause.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn postpone_push(&self, job: i64, pause: Duration, uncounted: bool) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE push_jobs SET due_at = now() + make_interval(secs => $2),
                 attempts = CASE WHEN $3 THEN greatest(attempts - 1, 0) ELSE attempts END
             WHERE id = $1 AND due_at IS NOT NULL",
        )
        .bind(job)
        .bind(pause.as_secs_f64())
        .bind(uncounted)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn fail_push(&self, job: i64, reason: &str) -> Result<(), StoreError> {
        // What has come since it was taken has not been tried: that waits on, as after a push that was made.
        sqlx::query(
            "UPDATE push_jobs SET settled_seq = greatest(settled_seq, leased_seq),
                 first_seq = greatest(first_seq, leased_seq + 1),
                 attempts = CASE WHEN seq > leased_seq THEN 0 ELSE attempts END,
                 created_at = CASE WHEN seq > leased_seq THEN now() ELSE created_at END,
                 due_at = CASE WHEN seq > leased_seq THEN now() END,
                 failed_at = CASE WHEN seq > leased_seq THEN NULL ELSE now() END,
                 failed_reason = CASE WHEN seq > leased_seq THEN NULL ELSE $2 END
             WHERE id = $1 AND due_at IS NOT NULL",
        )
        .bind(job)
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn due_pushes(&self, at_most: i64) -> Result<i64, StoreError> {
        let due = "SELECT count(*) FROM (SELECT 1 FROM push_jobs WHERE due_at <= now() LIMIT $1) due";
        Ok(sqlx::query_scalar(due).bind(at_most).fetch_one(&self.pool).await?)
    }
}

impl Postgres {
    async fn entries_of(&self, jobs: &[JobRow]) -> Result<Vec<EntryRow>, StoreError> {
        // A message to a group is the same for all its members.
        let wanted: BTreeSet<(Uuid, Seq)> =
            jobs.iter().map(|job| (job.job_channel_id, job.job_seq)).collect();
        let (channel_ids, seqs): (Vec<Uuid>, Vec<Seq>) = wanted.into_iter().unzip();
        let sql = format!(
            "SELECT {ENTRY_COLUMNS} FROM unnest($1::uuid[], $2::bigint[]) AS wanted (channel_id, seq)
             CROSS JOIN LATERAL (
                 SELECT * FROM entries WHERE entries.channel_id = wanted.channel_id AND entries.seq = wanted.seq LIMIT 1
             ) e"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(channel_ids)
            .bind(seqs)
            .fetch_all(&self.pool)
            .await?)
    }
}

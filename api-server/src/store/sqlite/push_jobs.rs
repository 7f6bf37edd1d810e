//! Push jobs: made by the fan-out, taken under a lease, ended or put off.

use std::time::Duration;

use async_trait::async_trait;
use shared_types::Seq;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Sqlite;
use super::ids::hex;
use super::moments::after;
use crate::store::columns::Moment;
use crate::store::rows::{EntryRow, JobRow, corrupt, entry_columns, jobs};
use crate::store::{FARTHEST_PUSH, PushJob, PushJobStore, PushWanted, StoreError};

const ENTRY_COLUMNS: &str = entry_columns!("e");

/// Which devices are to be told what, of `$1`: users, channels, seqs, and whether only what is not delivered counts.
const WANTED: &str = "
    SELECT p.user_id, p.channel_id, d.device_id, min(o.value ->> 2) AS first_seq, max(o.value ->> 2) AS seq
    FROM json_each($1) o
    JOIN participants p ON p.channel_id = unhex(o.value ->> 1) AND p.user_id = o.value ->> 0
    JOIN devices d ON d.user_id = p.user_id AND d.disabled_at IS NULL
    WHERE o.value ->> 2 > p.read_seq AND NOT (o.value ->> 3 AND o.value ->> 2 <= p.delivered_seq)
    GROUP BY p.user_id, p.channel_id, d.device_id";

#[async_trait]
impl PushJobStore for Sqlite {
    async fn enqueue_pushes(&self, pushes: &[PushWanted], pause: Duration) -> Result<u64, StoreError> {
        let wanted: Vec<_> = pushes
            .iter()
            .map(|push| (push.user_id.as_str(), hex(push.channel_id.0), push.seq, push.unless_delivered))
            .collect();
        let wanted = serde_json::to_string(&wanted).map_err(|error| corrupt(&format!("a push: {error}")))?;
        let now = Moment::now();
        let mut transaction = self.begin_write().await?;
        // First those that wait already, so that the second statement's are the ones that begin to.
        sqlx::query(AssertSqlSafe(format!(
            "WITH wanted AS ({WANTED})
             UPDATE push_jobs SET first_seq = min(push_jobs.first_seq, max(w.first_seq, settled_seq + 1)), seq = max(push_jobs.seq, w.seq)
             FROM wanted w
             WHERE push_jobs.user_id = w.user_id AND push_jobs.channel_id = w.channel_id
               AND push_jobs.device_id = w.device_id AND due_at IS NOT NULL AND w.seq > settled_seq
               AND (w.seq > push_jobs.seq OR max(w.first_seq, settled_seq + 1) < push_jobs.first_seq)"
        )))
        .bind(&wanted)
        .execute(&mut *transaction)
        .await?;
        let begun = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO push_jobs (user_id, device_id, channel_id, first_seq, seq, due_at, created_at)
             SELECT w.user_id, w.device_id, w.channel_id, w.first_seq, w.seq, $3, $2 FROM ({WANTED}) w
             WHERE true ON CONFLICT (user_id, channel_id, device_id) DO UPDATE SET
                 first_seq = max(excluded.first_seq, settled_seq + 1), seq = excluded.seq, attempts = 0,
                 due_at = excluded.due_at, created_at = excluded.created_at, failed_at = NULL, failed_reason = NULL
             WHERE due_at IS NULL AND excluded.seq > settled_seq"
        )))
        .bind(&wanted)
        .bind(now)
        .bind(after(now, pause))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(begun.rows_affected())
    }

    async fn lease_pushes(&self, limit: i64, lease: Duration) -> Result<Vec<PushJob>, StoreError> {
        let now = Moment::now();
        // Workers ask again and again, mostly in vain: that shall not keep the writer busy.
        let due: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM push_jobs WHERE due_at <= $1 OR due_at > $2 LIMIT 1")
                .bind(now)
                .bind(after(now, FARTHEST_PUSH))
                .fetch_optional(&self.readers)
                .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let leased: Vec<i64> = sqlx::query_scalar(
            "UPDATE push_jobs SET due_at = $2, attempts = attempts + 1, leased_seq = seq WHERE id IN (
                 SELECT id FROM (SELECT id FROM push_jobs WHERE due_at <= $1 ORDER BY due_at, id LIMIT $3)
                 UNION ALL
                 SELECT id FROM (SELECT id FROM push_jobs WHERE due_at > $4 ORDER BY due_at, id LIMIT $3)
                 LIMIT $3
             ) RETURNING id",
        )
        .bind(now)
        .bind(after(now, lease))
        .bind(limit)
        .bind(after(now, FARTHEST_PUSH))
        .fetch_all(&self.writer)
        .await?;
        // Nobody else touches them from here on, so the rest is read beside the writer.
        let rows = self.job_rows(&leased).await?;
        let entries = self.entries_of(&rows).await?;
        jobs(rows, entries)
    }

    async fn finish_pushes(&self, jobs: &[(i64, Seq)], pause: Duration) -> Result<(), StoreError> {
        let jobs = serde_json::to_string(jobs).map_err(|error| corrupt(&format!("a job: {error}")))?;
        let now = Moment::now();
        sqlx::query(
            "UPDATE push_jobs SET settled_seq = max(settled_seq, told.seq), first_seq = max(first_seq, told.seq + 1),
                 attempts = 0, created_at = iif(push_jobs.seq > told.seq, $2, created_at),
                 due_at = iif(push_jobs.seq > told.seq AND due_at IS NOT NULL, $3, NULL)
             FROM (SELECT value ->> 0 AS id, max(value ->> 1) AS seq FROM json_each($1) GROUP BY 1) told
             WHERE push_jobs.id = told.id",
        )
        .bind(jobs)
        .bind(now)
        .bind(after(now, pause))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn postpone_push(&self, job: i64, pause: Duration, uncounted: bool) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE push_jobs SET due_at = $2, attempts = iif($3, max(attempts - 1, 0), attempts)
             WHERE id = $1 AND due_at IS NOT NULL",
        )
        .bind(job)
        .bind(after(Moment::now(), pause))
        .bind(uncounted)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn fail_push(&self, job: i64, reason: &str) -> Result<(), StoreError> {
        // What has come since it was taken has not been tried: that waits on, as after a push that was made.
        sqlx::query(
            "UPDATE push_jobs SET settled_seq = max(settled_seq, leased_seq),
                 first_seq = max(first_seq, leased_seq + 1),
                 attempts = iif(seq > leased_seq, 0, attempts),
                 created_at = iif(seq > leased_seq, $3, created_at),
                 due_at = iif(seq > leased_seq, $3, NULL),
                 failed_at = iif(seq > leased_seq, NULL, $3),
                 failed_reason = iif(seq > leased_seq, NULL, $2)
             WHERE id = $1 AND due_at IS NOT NULL",
        )
        .bind(job)
        .bind(reason)
        .bind(Moment::now())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn due_pushes(&self, at_most: i64) -> Result<i64, StoreError> {
        let due = "SELECT count(*) FROM (SELECT 1 FROM push_jobs WHERE due_at <= $2 LIMIT $1) due";
        Ok(sqlx::query_scalar(due).bind(at_most).bind(Moment::now()).fetch_one(&self.readers).await?)
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
                    (SELECT count(*) FROM entries e
                     WHERE e.channel_id = l.channel_id AND e.seq BETWEEN l.first_seq AND l.seq AND e.seq > p.read_seq
                       AND e.type = 'message' AND e.sender_id <> l.user_id) AS messages,
                    unread.messages AS unread_total
             FROM leased l
             LEFT JOIN participants p
                    ON p.channel_id = l.channel_id AND p.user_id = l.user_id AND p.read_seq < l.seq
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

/// What waits to be told up to a cursor's `seq` needs not be told any more.
pub(super) async fn cancel_settled(
    connection: &mut SqliteConnection,
    cursors: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE push_jobs SET first_seq = max(first_seq, s.seq + 1),
             settled_seq = max(settled_seq, min(push_jobs.seq, s.seq)), due_at = iif(push_jobs.seq > s.seq, due_at, NULL)
         FROM (
             SELECT value ->> 0 AS user_id, unhex(value ->> 1) AS channel_id, max(value ->> 2) AS seq
             FROM json_each($1) GROUP BY 1, 2
         ) s
         WHERE push_jobs.user_id = s.user_id AND push_jobs.channel_id = s.channel_id
           AND due_at IS NOT NULL AND first_seq <= s.seq",
    )
    .bind(cursors)
    .execute(connection)
    .await?;
    Ok(())
}

fn json(ids: &[i64]) -> String {
    format!("[{}]", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

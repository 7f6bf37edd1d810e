//! The outbox: which processes live, and the rows on which nobody works.

use std::time::Duration;

use async_trait::async_trait;
use shared_types::{ChannelId, Seq};
use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use super::Sqlite;
use super::ids::{hex, json_of};
use super::moments::{after, before};
use crate::store::columns::Moment;
use crate::store::rows::{CommittedRow, committed, corrupt, entry_columns};
use crate::store::{Committed, FARTHEST_LEASE, OutboxId, OutboxStore, StoreError};

/// Who has been dead for so long is struck off.
const STRUCK_OFF_AFTER: Duration = Duration::from_secs(3_600);

const ENTRY_COLUMNS: &str = entry_columns!("e");

/// On which rows `o` nobody works.
const ABANDONED: &str = "CASE WHEN o.owner = $1 THEN
        (o.written_at <= $3 OR o.written_at > $5) AND o.id NOT IN (SELECT unhex(value) FROM json_each($2))
    ELSE NOT EXISTS (
        SELECT 1 FROM api_servers s WHERE s.id = o.owner AND s.alive_until > $4 AND s.alive_until <= $5
    ) END";

#[async_trait]
impl OutboxStore for Sqlite {
    async fn keep_outbox(&self, lease: Duration) -> Result<u32, StoreError> {
        let now = Moment::now();
        let mut transaction = self.begin_write().await?;
        sqlx::query(
            "INSERT INTO api_servers (id, alive_until) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until",
        )
        .bind(self.owner)
        .bind(after(now, lease))
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM api_servers WHERE alive_until < $2 AND id <> $1")
            .bind(self.owner)
            .bind(before(now, STRUCK_OFF_AFTER))
            .execute(&mut *transaction)
            .await?;
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM api_servers WHERE alive_until > $2 AND alive_until <= $3 AND id <> $1",
        )
        .bind(self.owner)
        .bind(now)
        .bind(after(now, FARTHEST_LEASE))
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1))
    }

    async fn adopt_outbox(
        &self,
        in_flight: &[OutboxId],
        forgotten_after: Duration,
        limit: i64,
    ) -> Result<Vec<Committed>, StoreError> {
        let in_flight = json_of(in_flight.iter().map(|row| row.0));
        let now = Moment::now();
        // Sweepers ask again and again, mostly in vain: that shall not keep the writer busy.
        let sql = format!("SELECT 1 FROM outbox o WHERE {ABANDONED} LIMIT 1");
        let abandoned: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(self.owner)
            .bind(&in_flight)
            .bind(before(now, forgotten_after))
            .bind(now)
            .bind(after(now, FARTHEST_LEASE))
            .fetch_optional(&self.readers)
            .await?;
        if abandoned.is_none() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "UPDATE outbox SET owner = $1 WHERE id IN (
                 SELECT o.id FROM outbox o WHERE {ABANDONED} ORDER BY o.written_at, o.id LIMIT $6
             ) RETURNING id"
        );
        let adopted: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(self.owner)
            .bind(in_flight)
            .bind(before(now, forgotten_after))
            .bind(now)
            .bind(after(now, FARTHEST_LEASE))
            .bind(limit)
            .fetch_all(&self.writer)
            .await?;
        // They are our own from here on, so the rest is read beside the writer.
        let sql = format!(
            "SELECT o.id AS outbox_id, c.membership_version, {ENTRY_COLUMNS} FROM json_each($1) adopted
             JOIN outbox o ON o.id = unhex(adopted.value)
             JOIN json_each(o.places) place
             JOIN channels c ON c.id = unhex(place.value ->> 0)
             JOIN entries e ON e.channel_id = c.id AND e.seq BETWEEN place.value ->> 1 AND place.value ->> 2
             ORDER BY e.channel_id, e.seq"
        );
        let rows: Vec<CommittedRow> =
            sqlx::query_as(AssertSqlSafe(sql)).bind(json_of(adopted)).fetch_all(&self.readers).await?;
        committed(rows)
    }

    async fn remove_from_outbox(&self, rows: &[OutboxId]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE id IN (SELECT unhex(value) FROM json_each($1))")
            .bind(json_of(rows.iter().map(|row| row.0)))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn leave_outbox(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM api_servers WHERE id = $1").bind(self.owner).execute(&self.writer).await?;
        Ok(())
    }

    async fn outbox_age(&self) -> Result<Duration, StoreError> {
        let oldest: Option<i64> =
            sqlx::query_scalar("SELECT min(written_at) FROM outbox").fetch_one(&self.readers).await?;
        let age_ms = oldest.map_or(0, |oldest| Moment::now().as_millis().saturating_sub(oldest));
        // A clock that was set back leaves rows of the future behind.
        Ok(Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)))
    }
}

/// Leaves the intent to deliver what a transaction stores: for each channel its first and last `seq`.
pub(super) async fn intend(
    connection: &mut SqliteConnection,
    outbox: OutboxId,
    owner: Uuid,
    places: impl IntoIterator<Item = (ChannelId, Seq, Seq)>,
) -> Result<(), StoreError> {
    let places: Vec<(String, Seq, Seq)> =
        places.into_iter().map(|(channel, first, last)| (hex(channel.0), first, last)).collect();
    let places = serde_json::to_string(&places).map_err(|error| corrupt(&format!("a place: {error}")))?;
    sqlx::query("INSERT INTO outbox (id, owner, written_at, places) VALUES ($1, $2, $3, $4)")
        .bind(outbox.0)
        .bind(owner)
        .bind(Moment::now())
        .bind(places)
        .execute(connection)
        .await?;
    Ok(())
}

//! Devices: where a user's pushes go.

use async_trait::async_trait;
use shared_types::{DeviceId, UserId};

use super::Postgres;
use crate::store::rows::{DEVICE_COLUMNS, DeviceRow, target_columns};
use crate::store::{Device, DevicePlatform, DeviceStore, DeviceTarget, StoreError};

#[async_trait]
impl DeviceStore for Postgres {
    async fn put_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        platform: DevicePlatform,
        target: &DeviceTarget,
        most: i64,
    ) -> Result<Option<Device>, StoreError> {
        let (installation, registration) = target_columns(target);
        let mut transaction = self.pool.begin().await?;
        // One at a time for each target, or two users who register the same one deadlock or collide.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended(coalesce($1, $2), 0))")
            .bind(installation)
            .bind(registration)
            .execute(&mut transaction)
            .await?;
        // Then one at a time for each user, or several at once each count the others' devices as not there yet.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))")
            .bind(user.as_str())
            .execute(&mut transaction)
            .await?;
        sqlx::query(
            "DELETE FROM devices WHERE (installation_id = $3 OR registration_token = $4)
               AND NOT (user_id = $1 AND device_id = $2)",
        )
        .bind(user.as_str())
        .bind(device.as_str())
        .bind(installation)
        .bind(registration)
        .execute(&mut transaction)
        .await?;
        let others: i64 =
            sqlx::query_scalar("SELECT count(*) FROM devices WHERE user_id = $1 AND device_id <> $2")
                .bind(user.as_str())
                .bind(device.as_str())
                .fetch_one(&mut transaction)
                .await?;
        if others >= most {
            return Ok(None);
        }
        let row: DeviceRow = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "INSERT INTO devices (user_id, device_id, platform, installation_id, registration_token, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, now(), now())
             ON CONFLICT (user_id, device_id) DO UPDATE SET
                 platform = excluded.platform, installation_id = excluded.installation_id,
                 registration_token = excluded.registration_token, updated_at = now(),
                 target_version = devices.target_version + 1, disabled_at = NULL, disabled_reason = NULL
             RETURNING {DEVICE_COLUMNS}"
        )))
        .bind(user.as_str())
        .bind(device.as_str())
        .bind(platform.word())
        .bind(installation)
        .bind(registration)
        .fetch_one(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(row.try_into()?))
    }

    async fn devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError> {
        let sql = format!("SELECT {DEVICE_COLUMNS} FROM devices WHERE user_id = $1 ORDER BY device_id");
        let rows: Vec<DeviceRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user.as_str()).fetch_all(&self.pool).await?;
        rows.into_iter().map(Device::try_from).collect()
    }

    async fn delete_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError> {
        // Its jobs are locked in the order in which pushes are enqueued.
        let deleted: i64 = sqlx::query_scalar(
            "WITH deleted AS (
                 DELETE FROM devices WHERE user_id = $1 AND device_id = $2 RETURNING 1
             ), locked AS MATERIALIZED (
                 SELECT id FROM push_jobs WHERE user_id = $1 AND device_id = $2 ORDER BY channel_id FOR UPDATE
             ), forgotten AS (
                 DELETE FROM push_jobs WHERE id IN (SELECT id FROM locked)
             )
             SELECT count(*) FROM deleted",
        )
        .bind(user.as_str())
        .bind(device.as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(deleted > 0)
    }

    async fn disable_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        target_version: i64,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let disabled = sqlx::query(
            "UPDATE devices SET disabled_at = now(), disabled_reason = $4
             WHERE user_id = $1 AND device_id = $2 AND target_version = $3 AND disabled_at IS NULL",
        )
        .bind(user.as_str())
        .bind(device.as_str())
        .bind(target_version)
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(disabled.rows_affected() > 0)
    }
}

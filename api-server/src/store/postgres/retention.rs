//! The removal of old entries, in bounded batches.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use crate::store::{Removal, RetentionStore, StoreError};

#[async_trait]
impl RetentionStore for Postgres {
    async fn remove_old_entries(
        &self,
        kept_for: Duration,
        most: i64,
        lease: Duration,
        pause: Duration,
    ) -> Result<Removal, StoreError> {
        let (removed, is_done): (i64, bool) = sqlx::query_as(
            "SELECT removed, is_done FROM remove_old_entries(
                 $1, make_interval(secs => $2), $3, make_interval(secs => $4), make_interval(secs => $5))",
        )
        .bind(self.owner)
        .bind(kept_for.as_secs_f64())
        .bind(most)
        .bind(lease.as_secs_f64())
        .bind(pause.as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(Removal { entries: removed.unsigned_abs(), is_done })
    }
}

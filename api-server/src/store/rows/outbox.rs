//! Entries as rows of the outbox name them.

use sqlx::FromRow;
use uuid::Uuid;

use super::EntryRow;
use crate::store::{Committed, OutboxId, StoreError};

#[derive(FromRow)]
pub(in crate::store) struct CommittedRow {
    outbox_id: Uuid,
    membership_version: i64,
    #[sqlx(flatten)]
    entry: EntryRow,
}

pub(in crate::store) fn committed(rows: Vec<CommittedRow>) -> Result<Vec<Committed>, StoreError> {
    rows.into_iter()
        .map(|row| {
            Ok(Committed {
                entry: row.entry.try_into()?,
                membership_version: row.membership_version,
                outbox: OutboxId(row.outbox_id),
            })
        })
        .collect()
}

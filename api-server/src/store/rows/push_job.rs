//! Rows of `push_jobs`, with what there is to push.

use std::collections::HashMap;

use shared_types::Entry;
use sqlx::FromRow;
use uuid::Uuid;

use super::device::target;
use super::{EntryRow, parsed};
use crate::store::columns::Moment;
use crate::store::{PendingPush, PushJob, StoreError};

#[derive(FromRow)]
pub(in crate::store) struct JobRow {
    job_id: i64,
    job_user_id: String,
    device_id: String,
    attempts: i32,
    job_created_at: Moment,
    platform: Option<String>,
    installation_id: Option<String>,
    registration_token: Option<String>,
    target_version: Option<i64>,
    channel_name: Option<String>,
    messages: Option<i64>,
    unread_total: Option<i64>,
    pub(in crate::store) job_channel_id: Uuid,
    pub(in crate::store) job_seq: i64,
}

/// The jobs with their entries, which `entries` holds in any order.
pub(in crate::store) fn jobs(rows: Vec<JobRow>, entries: Vec<EntryRow>) -> Result<Vec<PushJob>, StoreError> {
    let entries = entries
        .into_iter()
        .map(Entry::try_from)
        .map(|entry| entry.map(|entry| ((entry.channel_id.0, entry.seq), entry)))
        .collect::<Result<HashMap<_, _>, _>>()?;
    rows.into_iter()
        .map(|row| {
            let entry = entries.get(&(row.job_channel_id, row.job_seq)).cloned();
            job(row, entry)
        })
        .collect()
}

fn job(row: JobRow, entry: Option<Entry>) -> Result<PushJob, StoreError> {
    let push = match (entry, row.platform, row.target_version) {
        (Some(entry), Some(platform), Some(target_version)) => Some(PendingPush {
            platform: parsed(platform)?,
            target: target(row.installation_id, row.registration_token)?,
            target_version,
            entry,
            messages: row.messages.unwrap_or(0).max(1),
            channel_name: row.channel_name,
            unread_total: row.unread_total.unwrap_or(0),
        }),
        _ => None,
    };
    Ok(PushJob {
        id: row.job_id,
        user_id: parsed(row.job_user_id)?,
        device_id: parsed(row.device_id)?,
        seq: row.job_seq,
        attempts: row.attempts,
        created_at: row.job_created_at.0,
        push,
    })
}

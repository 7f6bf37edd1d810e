//! Rows of `entries`.

use shared_types::{ChannelId, Entry, EntryBody, EntryId, UserId};
use sqlx::FromRow;
use uuid::Uuid;

use super::{corrupt, parsed, raw_json};
use crate::store::columns::{Moment, UserIds};
use crate::store::{Page, StoreError};

/// The columns of `entries`, in the order of every SELECT that reads them.
macro_rules! entry_columns {
    ($table:literal) => {
        concat!(
            $table,
            ".id, ",
            $table,
            ".channel_id, ",
            $table,
            ".seq, ",
            $table,
            ".sender_id, ",
            $table,
            ".created_at, ",
            $table,
            ".type, ",
            $table,
            ".kind, ",
            $table,
            ".content, ",
            $table,
            ".metadata, ",
            $table,
            ".client_message_id, ",
            $table,
            ".user_ids"
        )
    };
}
pub(in crate::store) use entry_columns;

#[derive(FromRow)]
pub(in crate::store) struct EntryRow {
    id: Uuid,
    channel_id: Uuid,
    seq: i64,
    sender_id: String,
    created_at: Moment,
    r#type: String,
    kind: Option<String>,
    content: Option<String>,
    metadata: Option<String>,
    client_message_id: Option<String>,
    user_ids: Option<UserIds>,
}

impl TryFrom<EntryRow> for Entry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        let user_ids = row.user_ids.map(|UserIds(ids)| ids).unwrap_or_default();
        let body = match row.r#type.as_str() {
            "message" => EntryBody::Message {
                kind: row.kind.ok_or_else(|| corrupt("a message without kind"))?,
                content: row.content.ok_or_else(|| corrupt("a message without content"))?,
                metadata: row.metadata.map(raw_json).transpose()?,
                client_message_id: row.client_message_id.map(parsed).transpose()?,
            },
            "memberJoined" => EntryBody::MemberJoined { user_ids },
            "memberLeft" => EntryBody::MemberLeft { user_ids },
            "channelRenamed" => EntryBody::ChannelRenamed { name: row.content.unwrap_or_default() },
            other => return Err(corrupt(&format!("an entry of type {other:?}"))),
        };
        Ok(Entry {
            id: EntryId(row.id),
            channel_id: ChannelId(row.channel_id),
            seq: row.seq,
            sender_id: parsed::<UserId>(row.sender_id)?,
            created_at: row.created_at.0,
            body,
        })
    }
}

pub(in crate::store) fn entries(rows: Vec<EntryRow>) -> Result<Vec<Entry>, StoreError> {
    rows.into_iter().map(Entry::try_from).collect()
}

/// One row more than `limit` was asked for: its presence is `has_more`.
pub(in crate::store) fn page(mut rows: Vec<EntryRow>, limit: i64) -> Result<Page, StoreError> {
    let has_more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    if has_more {
        rows.pop();
    }
    Ok(Page { entries: entries(rows)?, has_more })
}

/// `content` and `user_ids` of an entry that tells of a change.
pub(in crate::store) fn change_columns(body: &EntryBody) -> (Option<&str>, Option<UserIds>) {
    match body {
        EntryBody::ChannelRenamed { name } => (Some(name), None),
        EntryBody::MemberJoined { user_ids } | EntryBody::MemberLeft { user_ids } => {
            (None, Some(UserIds(user_ids.clone())))
        }
        EntryBody::Message { content, .. } => (Some(content), None),
    }
}

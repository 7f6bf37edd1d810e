//! Rows of `entries`.

use shared_types::{ChannelId, Entry, EntryBody, EntryId, Seq, UserId};
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

/// Up to which `seq` the log of channel $1 has nothing any more.
pub(in crate::store) const REMOVED_SEQ: &str = "
    SELECT coalesce((SELECT e.seq - 1 FROM entries e WHERE e.channel_id = $1 ORDER BY e.seq LIMIT 1),
                    (SELECT c.last_seq FROM channels c WHERE c.id = $1), 0)";

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
    Ok(Page { entries: entries(rows)?, has_more, removed_seq: 0 })
}

impl Page {
    /// Whether something may be missing between the cursor that was asked for and the entries.
    pub(in crate::store) fn begins_later_than(&self, cursor: Seq) -> bool {
        self.entries.first().is_none_or(|entry| entry.seq > cursor.max(0) + 1)
    }
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

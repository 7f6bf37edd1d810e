//! Channels as their participants see them.

use std::collections::HashMap;

use shared_types::{ChannelId, Entry};
use sqlx::FromRow;
use uuid::Uuid;

use super::{EntryRow, parsed};
use crate::store::columns::Moment;
use crate::store::{ChannelKind, ChannelView, StoreError};

/// One channel `c` as its participant `p` sees it. `unread_count` counts the messages of others after `read_seq`; the log
/// of a channel that is read to its end is not looked at.
pub(in crate::store) const CHANNEL_VIEW: &str = "
    SELECT c.id, c.kind, c.name, c.last_seq, c.updated_at, coalesce(p.read_seq, 0) AS read_seq,
           (SELECT count(*) FROM participants m WHERE m.channel_id = c.id) AS member_count,
           CASE WHEN p.read_seq < c.last_seq THEN (
               SELECT count(*) FROM entries u
               WHERE u.channel_id = c.id AND u.seq > p.read_seq AND u.type = 'message' AND u.sender_id <> p.user_id
           ) ELSE 0 END AS unread_count";

#[derive(FromRow)]
pub(in crate::store) struct ViewRow {
    pub(in crate::store) id: Uuid,
    kind: String,
    name: Option<String>,
    last_seq: i64,
    read_seq: i64,
    unread_count: i64,
    member_count: i64,
    updated_at: Moment,
}

/// The rows with each channel's last message, which `last` holds in any order.
pub(in crate::store) fn views(
    rows: Vec<ViewRow>,
    last: Vec<EntryRow>,
) -> Result<Vec<ChannelView>, StoreError> {
    let mut last = last
        .into_iter()
        .map(Entry::try_from)
        .map(|entry| entry.map(|entry| (entry.channel_id.0, entry)))
        .collect::<Result<HashMap<_, _>, _>>()?;
    rows.into_iter()
        .map(|row| {
            Ok(ChannelView {
                id: ChannelId(row.id),
                kind: parsed::<ChannelKind>(row.kind)?,
                name: row.name,
                last_seq: row.last_seq,
                read_seq: row.read_seq,
                unread_count: row.unread_count,
                last_message: last.remove(&row.id),
                member_count: row.member_count,
                updated_at: row.updated_at.0,
            })
        })
        .collect()
}

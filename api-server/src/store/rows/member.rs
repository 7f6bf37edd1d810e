//! Rows of `participants`.

use std::collections::HashMap;

use shared_types::{ChannelId, Seq, UserId};
use sqlx::FromRow;
use uuid::Uuid;

use super::parsed;
use crate::store::columns::Moment;
use crate::store::{Member, Membership, MovedCursor, Participant, Participants, Standing, StoreError};

pub(in crate::store) const MEMBER_COLUMNS: &str = "user_id, role, joined_at, delivered_seq, read_seq";

#[derive(FromRow)]
pub(in crate::store) struct MemberRow {
    user_id: String,
    role: String,
    joined_at: Moment,
    delivered_seq: Seq,
    read_seq: Seq,
}

impl TryFrom<MemberRow> for Member {
    type Error = StoreError;

    fn try_from(row: MemberRow) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: parsed(row.user_id)?,
            role: parsed(row.role)?,
            joined_at: row.joined_at.0,
            delivered_seq: row.delivered_seq,
            read_seq: row.read_seq,
        })
    }
}

#[derive(FromRow)]
pub(in crate::store) struct StandingRow {
    kind: String,
    last_seq: Seq,
    role: Option<String>,
}

impl TryFrom<StandingRow> for Standing {
    type Error = StoreError;

    fn try_from(row: StandingRow) -> Result<Self, StoreError> {
        Ok(Self { kind: parsed(row.kind)?, role: row.role.map(parsed).transpose()?, last_seq: row.last_seq })
    }
}

#[derive(FromRow)]
pub(in crate::store) struct ParticipantRow {
    channel_id: Uuid,
    membership_version: i64,
    user_id: String,
    joined_seq: Seq,
}

/// Rows of several channels, each channel's together.
pub(in crate::store) fn by_channel(
    rows: Vec<ParticipantRow>,
) -> Result<Vec<(ChannelId, Participants)>, StoreError> {
    let mut found: Vec<(ChannelId, Participants)> = Vec::new();
    for row in rows {
        let channel = ChannelId(row.channel_id);
        let participant = Participant { user_id: parsed(row.user_id)?, joined_seq: row.joined_seq };
        match found.last_mut() {
            Some((last, participants)) if *last == channel => participants.members.push(participant),
            _ => found.push((
                channel,
                Participants { version: row.membership_version, members: vec![participant] },
            )),
        }
    }
    Ok(found)
}

/// Rows of user, channel, `seq` and membership version.
pub(in crate::store) fn moved_cursors(
    rows: Vec<(String, Uuid, Seq, i64)>,
) -> Result<Vec<MovedCursor>, StoreError> {
    rows.into_iter()
        .map(|(user_id, channel_id, seq, membership_version)| {
            Ok(MovedCursor {
                user_id: parsed(user_id)?,
                channel_id: ChannelId(channel_id),
                seq,
                membership_version,
            })
        })
        .collect()
}

#[derive(FromRow)]
pub(in crate::store) struct MembershipRow {
    user_id: String,
    channel_id: Uuid,
    last_seq: Seq,
    joined_seq: Seq,
}

/// Each user's rows stay in their order.
pub(in crate::store) fn by_user(
    rows: Vec<MembershipRow>,
) -> Result<HashMap<UserId, Vec<Membership>>, StoreError> {
    let mut found: HashMap<UserId, Vec<Membership>> = HashMap::new();
    for row in rows {
        let MembershipRow { user_id, channel_id, last_seq, joined_seq } = row;
        let membership = Membership { channel_id: ChannelId(channel_id), last_seq, joined_seq };
        found.entry(parsed(user_id)?).or_default().push(membership);
    }
    Ok(found)
}

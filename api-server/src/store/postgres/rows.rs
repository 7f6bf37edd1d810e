//! Rows as they come from the database, turned into the types that cannot be wrong.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use shared_types::{ChannelId, Entry, EntryBody, EntryId, UserId};
use sqlx::FromRow;
use uuid::Uuid;

use crate::store::{ChannelKind, DevicePlatform, DeviceTarget, Role, StoreError};

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
pub(super) use entry_columns;

#[derive(FromRow)]
pub(super) struct EntryRow {
    id: Uuid,
    channel_id: Uuid,
    seq: i64,
    sender_id: String,
    created_at: DateTime<Utc>,
    r#type: String,
    kind: Option<String>,
    content: Option<String>,
    metadata: Option<String>,
    client_message_id: Option<String>,
    user_ids: Option<Vec<String>>,
}

impl TryFrom<EntryRow> for Entry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        let body = match row.r#type.as_str() {
            "message" => EntryBody::Message {
                kind: row.kind.ok_or_else(|| corrupt("a message without kind"))?,
                content: row.content.ok_or_else(|| corrupt("a message without content"))?,
                metadata: row.metadata.map(raw_json).transpose()?,
                client_message_id: row.client_message_id.map(parsed).transpose()?,
            },
            "memberJoined" => EntryBody::MemberJoined { user_ids: user_ids(row.user_ids)? },
            "memberLeft" => EntryBody::MemberLeft { user_ids: user_ids(row.user_ids)? },
            "channelRenamed" => EntryBody::ChannelRenamed { name: row.content.unwrap_or_default() },
            other => return Err(corrupt(&format!("an entry of type {other:?}"))),
        };
        Ok(Entry {
            id: EntryId(row.id),
            channel_id: ChannelId(row.channel_id),
            seq: row.seq,
            sender_id: parsed(row.sender_id)?,
            created_at: row.created_at.into(),
            body,
        })
    }
}

fn user_ids(ids: Option<Vec<String>>) -> Result<Vec<UserId>, StoreError> {
    ids.unwrap_or_default().into_iter().map(parsed).collect()
}

/// An identifier that was valid when it was written.
pub(super) fn parsed<T: TryFrom<String>>(raw: String) -> Result<T, StoreError>
where
    T::Error: std::fmt::Display,
{
    T::try_from(raw).map_err(|error| corrupt(&format!("an identifier that {error}")))
}

pub(super) fn raw_json(raw: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(raw).map_err(|error| corrupt(&format!("metadata that is no JSON: {error}")))
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

pub(super) fn entries(rows: Vec<EntryRow>) -> Result<Vec<Entry>, StoreError> {
    rows.into_iter().map(Entry::try_from).collect()
}

/// An enum that lies in the database as one of a few words.
macro_rules! stored_as_word {
    ($name:ident { $($variant:ident = $word:literal),+ }) => {
        impl $name {
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(word: String) -> Result<Self, String> {
                match word.as_str() {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("is {other:?}")),
                }
            }
        }
    };
}

stored_as_word!(ChannelKind { Direct = "direct", Group = "group" });
stored_as_word!(Role { Owner = "owner", Admin = "admin", Member = "member" });
stored_as_word!(DevicePlatform { Android = "android", Ios = "ios", Web = "web" });

/// The one target that a device's row has.
pub(super) fn target(
    installation_id: Option<String>,
    registration_token: Option<String>,
) -> Result<DeviceTarget, StoreError> {
    match (installation_id, registration_token) {
        (Some(id), None) => Ok(DeviceTarget::Installation(id)),
        (None, Some(token)) => Ok(DeviceTarget::Registration(token)),
        _ => Err(corrupt("a device without exactly one target")),
    }
}

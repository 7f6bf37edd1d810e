//! Rows as they come from either database, turned into the types that cannot be wrong.

mod channel;
mod device;
mod entry;
mod member;
mod outbox;
mod push_job;

use serde_json::value::RawValue;

use super::{ChannelKind, DevicePlatform, Role, StoreError};

pub(super) use channel::{CHANNEL_VIEW, ViewRow, views};
pub(super) use device::{DEVICE_COLUMNS, DeviceRow, target_columns};
pub(super) use entry::{EntryRow, REMOVED_SEQ, change_columns, entries, entry_columns, page};
pub(super) use member::{
    MEMBER_COLUMNS, MemberRow, MembershipRow, ParticipantRow, StandingRow, by_channel, by_user, moved_cursors,
};
pub(super) use outbox::{CommittedRow, committed};
pub(super) use push_job::{JobRow, jobs};

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

//! Identifiers. Each is parsed once; a value that exists is valid.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Position of an entry in its channel's log: from 1, without gaps. 0 means "before the first".
pub type Seq = i64;

/// Why a string is no identifier: says the rule, never repeats the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

/// A short string that obeys a rule; cloning it copies a pointer.
macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The rule in words, as error documents show it.
            pub const RULE: &'static str = $rule;

            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn is_valid(raw: &str) -> bool {
                let is_valid: fn(&str) -> bool = $is_valid;
                is_valid(raw)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(raw: &str) -> Result<Self, InvalidId> {
                if Self::is_valid(raw) { Ok(Self(raw.into())) } else { Err(InvalidId(Self::RULE)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(raw: String) -> Result<Self, InvalidId> {
                raw.parse()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

string_id!(
    /// Who a token's `sub` names. The host application owns its users; none are registered here first.
    UserId,
    "must be 1 to 64 characters of A-Z a-z 0-9 _ - . : @ |",
    |raw| (1..=64).contains(&raw.len())
        && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:@|".contains(&b))
);

/// A [`UserId`] that is looked at and not kept: borrowed from the JSON that it stands in, unless that has escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdRef<'a>(Cow<'a, str>);

impl UserIdRef<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a UserId> for UserIdRef<'a> {
    fn from(user_id: &'a UserId) -> Self {
        Self(Cow::Borrowed(user_id.as_str()))
    }
}

impl From<&UserIdRef<'_>> for UserId {
    fn from(user_id: &UserIdRef<'_>) -> Self {
        Self((&*user_id.0).into())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for UserIdRef<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyString;

        impl<'de> Visitor<'de> for AnyString {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, raw: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(raw))
            }

            fn visit_str<E>(self, raw: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(raw.to_owned()))
            }
        }

        let raw = deserializer.deserialize_str(AnyString)?;
        if UserId::is_valid(&raw) {
            Ok(Self(raw))
        } else {
            Err(serde::de::Error::custom(InvalidId(UserId::RULE)))
        }
    }
}

string_id!(
    /// The sender's own name for a message; sending it again makes no second message.
    ClientMessageId,
    "must be 1 to 64 bytes without control characters",
    |raw| (1..=64).contains(&raw.len()) && !raw.chars().any(char::is_control)
);

string_id!(
    /// An application's name for one installation of itself, unique within its user.
    DeviceId,
    "must be 1 to 128 characters of A-Z a-z 0-9 _ - . :",
    |raw| (1..=128).contains(&raw.len())
        && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
);

string_id!(
    /// One run of one gateway process: new at each start, so that a restart cannot revive old sessions.
    GatewayId,
    "must be 1 to 64 characters of A-Z a-z 0-9 -",
    |raw| (1..=64).contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
);

impl GatewayId {
    /// A fresh id for a process that starts now.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }
}

/// A UUIDv7 with a meaning of its own.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id, later than those made before it in this process.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(raw: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(raw).map(Self).map_err(|_| InvalidId("must be a UUID"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A conversation with participants.
    ChannelId
);
uuid_id!(
    /// One entry of a channel's log.
    EntryId
);
uuid_id!(
    /// One WebSocket of one device of one user.
    SessionId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_takes_the_contracts_characters_and_no_others() {
        for good in ["a", "A-Z_0.9:x@y|z", &"u".repeat(64)] {
            assert_eq!(good.parse::<UserId>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a/b", "a\n", &"u".repeat(65)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_user_id_is_borrowed_from_its_json_unless_it_has_escapes() {
        let json = r#"["alice","\u0061lice"]"#;
        let [plain, escaped] = serde_json::from_str::<[UserIdRef<'_>; 2]>(json).unwrap();
        assert!(matches!(plain.0, Cow::Borrowed(_)));
        assert_eq!((plain.as_str(), escaped.as_str()), ("alice", "alice"));
        for wrong in ["\"a b\"", "\"\"", "7"] {
            assert!(serde_json::from_str::<UserIdRef<'_>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_invalid_id_names_its_rule_in_the_json_error() {
        let error = serde_json::from_str::<UserId>("\"a b\"").unwrap_err().to_string();
        assert!(error.contains("1 to 64 characters"), "{error}");
    }
}

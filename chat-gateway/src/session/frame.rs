//! What is written to clients: one text, shared by every session that gets it.

use bytestring::ByteString;
use serde::Deserialize;
use shared_types::frames::ServerFrame;
use shared_types::{ChannelId, Seq, UserId};

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) channel_id: ChannelId,
    /// At least 1.
    pub(crate) seq: Seq,
}

/// Shared behind an `Arc`: what waits in a mailbox costs the session one pointer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// `None`: ephemeral, or a frame of the gateway's own. Nobody misses it.
    pub(crate) position: Option<Position>,
    pub(crate) text: ByteString,
}

/// The fields of an entry that a gateway looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    channel_id: Option<ChannelId>,
    seq: Option<Seq>,
}

/// What a gateway looks at of an entry that may be a joining.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Joining {
    r#type: String,
    user_ids: Vec<UserId>,
}

impl Frame {
    /// From an object as an api-server wrote it. The error names the rule that it breaks.
    pub(crate) fn from_api(json: Box<str>) -> Result<Self, &'static str> {
        if !json.starts_with('{') {
            return Err("must be an object");
        }
        let head: Head = serde_json::from_str(&json)
            .map_err(|_| "must have a UUID and a number as channelId and seq, if any")?;
        let position = match (head.channel_id, head.seq) {
            (_, None) => None,
            (Some(channel_id), Some(seq)) if seq >= 1 => Some(Position { channel_id, seq }),
            (_, Some(_)) => return Err("with a seq must have a channelId, and a seq of at least 1"),
        };
        Ok(Self { position, text: String::from(json).into() })
    }

    /// Whether this entry says that the user has joined the channel.
    pub(crate) fn tells_of_joining(&self, user_id: &UserId) -> bool {
        // As a rule the word is not there, and nothing is parsed.
        self.text.contains("\"memberJoined\"")
            && serde_json::from_str::<Joining>(&self.text)
                .is_ok_and(|entry| entry.r#type == "memberJoined" && entry.user_ids.contains(user_id))
    }

    /// The gateway's own words.
    pub(crate) fn of(frame: &ServerFrame) -> Self {
        Self { position: None, text: text(frame) }
    }
}

/// A frame as it goes out.
pub(crate) fn text(frame: &ServerFrame) -> ByteString {
    // Strings, numbers and maps by id only: writing them cannot fail.
    serde_json::to_string(frame).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_a_position_and_an_ephemeral_frame_none() {
        let frame = |json: &str| Frame::from_api(json.into());
        let channel_id: ChannelId = "0199aaaa-0000-7000-8000-000000000000".parse().unwrap();
        let entry =
            frame(r#"{"seq":7,"more":[1],"channelId":"0199aaaa-0000-7000-8000-000000000000"}"#).unwrap();
        assert_eq!(entry.position, Some(Position { channel_id, seq: 7 }));
        assert_eq!(frame(r#"{"type":"typing"}"#).unwrap().position, None);
        let with_channel = r#"{"type":"typing","channelId":"0199aaaa-0000-7000-8000-000000000000"}"#;
        assert_eq!(frame(with_channel).unwrap().position, None);
        for broken in [
            "7",
            r#"{"seq":7}"#,
            r#"{"seq":0,"channelId":"0199aaaa-0000-7000-8000-000000000000"}"#,
            r#"{"seq":"7","channelId":"0199aaaa-0000-7000-8000-000000000000"}"#,
            r#"{"seq":7,"channelId":"x"}"#,
        ] {
            frame(broken).unwrap_err();
        }
    }

    #[test]
    fn only_an_entry_that_names_the_user_as_joined_tells_of_their_joining() {
        let tells = |json: &str| {
            let frame = Frame { position: None, text: json.into() };
            frame.tells_of_joining(&"alice".parse().unwrap())
        };
        assert!(tells(r#"{"type":"memberJoined","seq":7,"userIds":["bob","alice"]}"#));
        for other in [
            r#"{"type":"memberJoined","userIds":["bob"]}"#,
            r#"{"type":"memberLeft","userIds":["alice"]}"#,
            r#"{"type":"message","metadata":{"type":"memberJoined","userIds":["alice"]}}"#,
            r#"{"type":"message","userIds":["alice"],"kind":"memberJoined"}"#,
        ] {
            assert!(!tells(other), "{other}");
        }
    }
}

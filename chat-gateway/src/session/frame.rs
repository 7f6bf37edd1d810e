//! What is written to clients: the bytes of one frame, shared by every session that gets it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared_runtime::traces::{Span, SpanKind, Trace};
use shared_types::frames::ServerFrame;
use shared_types::{ChannelId, Seq, Timestamp, UserId};

use super::wire::{self, Opcode};

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
    /// When its entry was written, if the time until it is on the wire is measured.
    pub(crate) sampled: Option<Timestamp>,
    tells_of_joining: bool,
    /// Header and all, so that it is put together once and not for each who gets it.
    wire: Bytes,
    /// Where its writes hang, if they are traced.
    trace: Option<Trace>,
}

/// The fields of an entry that a gateway looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    channel_id: Option<ChannelId>,
    seq: Option<Seq>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
}

/// What a gateway looks at of an entry that may be a joining.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Joining {
    user_ids: Vec<UserId>,
}

/// What a gateway looks at of an entry whose time it takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    created_at: Timestamp,
}

impl Frame {
    /// From an object as an api-server wrote it. The error names the rule that it breaks.
    pub(crate) fn from_api(json: &str) -> Result<Self, &'static str> {
        if !json.starts_with('{') {
            return Err("must be an object");
        }
        let head: Head<'_> = serde_json::from_str(json)
            .map_err(|_| "must have a UUID and a number as channelId and seq, if any")?;
        let position = match (head.channel_id, head.seq) {
            (_, None) => None,
            (Some(channel_id), Some(seq)) if seq >= 1 => Some(Position { channel_id, seq }),
            (_, Some(_)) => return Err("with a seq must have a channelId, and a seq of at least 1"),
        };
        let tells_of_joining = head.r#type.is_some_and(|word| word.get() == "\"memberJoined\"");
        Ok(Self {
            position,
            sampled: None,
            tells_of_joining,
            wire: wire::encode(Opcode::Text, json.as_bytes()),
            trace: None,
        })
    }

    /// The same entry for one recipient, with whom its time is taken. `None`: it is no entry.
    pub(crate) fn to_measure(&self) -> Option<Self> {
        let Written { created_at } = serde_json::from_slice(wire::payload(&self.wire)).ok()?;
        let Self { position, tells_of_joining, .. } = *self;
        let (wire, trace) = (self.wire.clone(), self.trace.clone());
        Some(Self { position, sampled: Some(created_at), tells_of_joining, wire, trace })
    }

    pub(crate) fn traced(self, trace: Trace) -> Self {
        Self { trace: Some(trace), ..self }
    }

    /// The span of a write of it that begins now, if it is traced.
    pub(crate) fn begin_write(&self) -> Option<Span> {
        let mut span = self.trace.as_ref()?.begin("socket write", SpanKind::Internal)?;
        if let Some(Position { channel_id, seq }) = self.position {
            span.set("channelId", channel_id.to_string());
            span.set("seq", seq);
        }
        Some(span)
    }

    /// Whether this entry says that the user has joined the channel.
    pub(crate) fn tells_of_joining(&self, user_id: &UserId) -> bool {
        // As a rule it tells of nobody's, and nothing is parsed.
        self.tells_of_joining
            && serde_json::from_slice::<Joining>(wire::payload(&self.wire))
                .is_ok_and(|entry| entry.user_ids.contains(user_id))
    }

    /// The gateway's own words.
    pub(crate) fn of(frame: &ServerFrame) -> Self {
        Self { position: None, sampled: None, tells_of_joining: false, wire: wire_of(frame), trace: None }
    }

    /// As it goes out.
    pub(crate) fn wire(&self) -> &Bytes {
        &self.wire
    }
}

/// A frame of the gateway's own as it goes out.
pub(crate) fn wire_of(frame: &ServerFrame) -> Bytes {
    // Strings, numbers and maps by id only: writing them cannot fail.
    wire::encode(Opcode::Text, &serde_json::to_vec(frame).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_a_position_and_an_ephemeral_frame_none() {
        let frame = Frame::from_api;
        let channel_id: ChannelId = "0199aaaa-0000-7000-8000-000000000000".parse().unwrap();
        let json = r#"{"seq":7,"more":[1],"channelId":"0199aaaa-0000-7000-8000-000000000000"}"#;
        let entry = frame(json).unwrap();
        assert_eq!(entry.position, Some(Position { channel_id, seq: 7 }));
        assert_eq!(entry.wire()[..], [&[0x81, json.len() as u8], json.as_bytes()].concat());
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
        let tells = |json: &str| Frame::from_api(json).unwrap().tells_of_joining(&"alice".parse().unwrap());
        let long = format!(
            r#"{{"seq":7,"channelId":"0199aaaa-0000-7000-8000-000000000000","type":"memberJoined","by":"{}","userIds":["alice"]}}"#,
            "x".repeat(70_000)
        );
        assert!(tells(r#"{"type":"memberJoined","userIds":["bob","alice"]}"#));
        assert!(tells(&long));
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

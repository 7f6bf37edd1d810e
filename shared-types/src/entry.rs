//! An entry of a channel's log: one JSON for answers, history, sync and frames.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{ChannelId, ClientMessageId, EntryId, Seq, Timestamp, UserId};

/// `{type, id, channelId, seq, senderId, createdAt, …}`, `type` first.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: EntryId,
    pub channel_id: ChannelId,
    pub seq: Seq,
    pub sender_id: UserId,
    pub created_at: Timestamp,
    pub body: EntryBody,
}

/// What happened. Clients skip types that they do not know, so more may come.
#[derive(Debug, Clone)]
pub enum EntryBody {
    /// `kind` is `text` or a word of the application's; `metadata` is the sender's JSON object, byte for byte.
    Message {
        kind: String,
        content: String,
        metadata: Option<Box<RawValue>>,
        client_message_id: Option<ClientMessageId>,
    },
    MemberJoined {
        user_ids: Vec<UserId>,
    },
    MemberLeft {
        user_ids: Vec<UserId>,
    },
    ChannelRenamed {
        name: String,
    },
}

impl EntryBody {
    /// The `type` on the wire and in the database.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::MemberJoined { .. } => "memberJoined",
            Self::MemberLeft { .. } => "memberLeft",
            Self::ChannelRenamed { .. } => "channelRenamed",
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.body.type_name())?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("channelId", &self.channel_id)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("senderId", &self.sender_id)?;
        map.serialize_entry("createdAt", &self.created_at)?;
        match &self.body {
            EntryBody::Message { kind, content, metadata, client_message_id } => {
                map.serialize_entry("kind", kind)?;
                map.serialize_entry("content", content)?;
                if let Some(metadata) = metadata {
                    map.serialize_entry("metadata", metadata)?;
                }
                if let Some(client_message_id) = client_message_id {
                    map.serialize_entry("clientMessageId", client_message_id)?;
                }
            }
            EntryBody::MemberJoined { user_ids } | EntryBody::MemberLeft { user_ids } => {
                map.serialize_entry("userIds", user_ids)?;
            }
            EntryBody::ChannelRenamed { name } => map.serialize_entry("name", name)?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_its_type_first_and_its_metadata_byte_for_byte() {
        let entry = Entry {
            id: EntryId(uuid::Uuid::nil()),
            channel_id: ChannelId(uuid::Uuid::nil()),
            seq: 7,
            sender_id: "alice".parse().unwrap(),
            created_at: chrono::DateTime::from_timestamp(0, 0).unwrap().into(),
            body: EntryBody::Message {
                kind: "text".into(),
                content: "hello".into(),
                metadata: Some(RawValue::from_string("{\"n\": 1.0}".into()).unwrap()),
                client_message_id: Some("c-1".parse().unwrap()),
            },
        };
        assert_eq!(
            serde_json::to_string(&entry).unwrap(),
            "{\"type\":\"message\",\"id\":\"00000000-0000-0000-0000-000000000000\",\
             \"channelId\":\"00000000-0000-0000-0000-000000000000\",\"seq\":7,\"senderId\":\"alice\",\
             \"createdAt\":\"1970-01-01T00:00:00.000Z\",\"kind\":\"text\",\"content\":\"hello\",\
             \"metadata\":{\"n\": 1.0},\"clientMessageId\":\"c-1\"}"
        );
    }
}

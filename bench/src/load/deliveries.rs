//! Entries posted to a gateway's internal listener, as an api-server's lane does: the gateway alone is measured.

use std::fmt::Write;
use std::ops::Range;

use anyhow::bail;
use harness::tokens::INTERNAL_SECRET;
use shared_types::gateway_api::{DELIVER_PATH, DeliverResponse};
use uuid::Uuid;

use super::http::{HttpConnection, post};
use super::message;
use crate::site::cluster::Service;
use crate::site::population::User;

/// Channels of made-up users, of which no database knows. Nobody else may deliver to them: `seq` is counted here.
pub struct Deliveries {
    connection: HttpConnection,
    base_url: String,
    channels: Vec<Channel>,
}

struct Channel {
    id: Uuid,
    /// As JSON.
    recipients: String,
    members: usize,
    last_seq: u64,
}

impl Deliveries {
    /// A channel for each `members` neighbours among the users.
    pub async fn open(gateway: &Service, users: &[User], members: usize) -> anyhow::Result<Self> {
        Self::of(gateway, users.chunks(members).map(|some| some.iter().collect()).collect()).await
    }

    /// A channel for each of the groups.
    pub async fn of(gateway: &Service, groups: Vec<Vec<&User>>) -> anyhow::Result<Self> {
        let channel = |members: Vec<&User>| {
            let ids: Vec<&str> = members.iter().map(|user| user.id.as_str()).collect();
            let recipients = serde_json::to_string(&ids)?;
            Ok(Channel { id: Uuid::now_v7(), recipients, members: members.len(), last_seq: 0 })
        };
        Ok(Self {
            connection: HttpConnection::open(&gateway.internal_url).await?,
            base_url: gateway.internal_url.clone(),
            channels: groups.into_iter().map(channel).collect::<anyhow::Result<_>>()?,
        })
    }

    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// How long a frame's text is, to a digit of its `seq`.
    pub fn frame_bytes() -> usize {
        entry(&Uuid::nil(), 10_000, &message::content(), 0).len()
    }

    /// One request: `entries` entries of each of the channels, due at `due`. It is answered when they are in the
    /// sessions' mailboxes; how many frames these are.
    pub async fn post(&mut self, channels: Range<usize>, entries: usize, due: u64) -> anyhow::Result<u64> {
        self.post_content(channels, entries, due, &message::content()).await
    }

    /// The same with another content.
    pub async fn post_content(
        &mut self,
        channels: Range<usize>,
        entries: usize,
        due: u64,
        content: &str,
    ) -> anyhow::Result<u64> {
        let (mut body, mut frames) = (String::from(r#"{"deliveries":["#), 0);
        for _ in 0..entries {
            for channel in &mut self.channels[channels.clone()] {
                channel.last_seq += 1;
                frames += channel.members as u64;
                let entry = entry(&channel.id, channel.last_seq, content, due);
                write!(body, r#"{{"recipients":{},"entry":{entry}}},"#, channel.recipients)?;
            }
        }
        body.pop();
        body.push_str("]}");
        let request = post(&self.base_url, DELIVER_PATH, INTERNAL_SECRET, &body)?;
        let answer = self.connection.exchange(&request).await?;
        if answer.status != 200 {
            let reason = String::from_utf8_lossy(self.connection.body(&answer));
            bail!("the gateway answered {}: {reason}", answer.status);
        }
        let response: DeliverResponse = serde_json::from_slice(self.connection.body(&answer))?;
        let absent: usize = response.absent.iter().map(|absent| absent.recipients.len()).sum();
        if absent > 0 {
            bail!("{absent} frames went to nobody");
        }
        Ok(frames)
    }
}

/// As an api-server writes it.
fn entry(channel: &Uuid, seq: u64, content: &str, due: u64) -> String {
    let mut entry = format!(
        r#"{{"type":"message","id":"{channel}","channelId":"{channel}","seq":{seq},"senderId":"bench-0000000","createdAt":"2026-01-01T00:00:00.000Z","kind":"text","content":"{content}","clientMessageId":"m-0000-000000-{seq:010}"}}"#
    )
    .into_bytes();
    if let Some(position) = message::stamp_position(&entry) {
        message::stamp(&mut entry, position, due);
    }
    String::from_utf8(entry).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_entry_is_json_and_says_when_it_was_due() {
        let text = entry(&Uuid::nil(), 7, &message::content(), 0xabc);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["seq"], 7);
        assert_eq!(message::due(text.as_bytes()), Some(0xabc));
        assert_eq!(Deliveries::frame_bytes(), text.len() + "10000".len() - "7".len());
    }
}

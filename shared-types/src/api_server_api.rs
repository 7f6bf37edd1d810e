//! What a gateway asks of an api-server, on its internal listener.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ChannelId, Seq, UserId};

/// Path of [`AckRequest`]: `POST`, answered with 204.
pub const ACKS_PATH: &str = "/internal/acks";
/// Path of [`ResumeRequest`]: `POST`, answered with [`ResumeResponse`].
pub const RESUME_PATH: &str = "/internal/resume";
/// Most acks of one request: about 1 MB.
pub const MAX_ACKS: usize = 5_000;
/// Most sessions of one request, which is one statement for the database.
pub const MAX_RESUMES: usize = 256;
/// Most channels that a client did not name of one session's answer; one with more unknown ones reads the list.
pub const MAX_NEW_CHANNELS: usize = 1_000;
/// Most entries of one answer; of the largest that are 6 MB, of ordinary ones 60 KB.
pub const MAX_ENTRIES: i64 = 200;

/// Path of a channel's log: `GET …?afterSeq=&limit=` (limit 1 to [`MAX_ENTRIES`]), answered with [`EntriesResponse`].
/// Nobody's membership is asked for: a gateway passes on only what its users have a right to.
pub fn entries_path(channel: ChannelId) -> String {
    format!("/internal/channels/{channel}/entries")
}

/// What devices have said that they have.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AckRequest {
    pub acks: Vec<Ack>,
}

/// Everything of the channel up to `seq` is on a device of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ack {
    pub user_id: UserId,
    pub channel_id: ChannelId,
    pub seq: Seq,
    /// Said by a foreground session: pushes about it need not be made any more.
    pub is_foreground: bool,
}

/// Sessions that resume at the same time: what there is for each.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumeRequest {
    pub sessions: Vec<ResumeSession>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumeSession {
    pub user_id: UserId,
    /// Those that the client named.
    pub channels: Vec<ChannelId>,
}

/// One answer for each session, in the request's order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeResponse {
    pub sessions: Vec<ResumableChannels>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumableChannels {
    /// Of the channels that were named, those that the user is in.
    pub channels: HashMap<ChannelId, NamedChannel>,
    /// The user's channels that were not named, latest activity first, at most [`MAX_NEW_CHANNELS`].
    pub new_channels: Vec<NewChannel>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedChannel {
    /// The user may have every entry up to here: membership and `seq` were read together.
    pub last_seq: Seq,
    /// The entry with which the user joined; 0: was in it from the beginning.
    pub joined_seq: Seq,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewChannel {
    pub channel_id: ChannelId,
    pub last_seq: Seq,
    /// As in [`NamedChannel`].
    pub joined_seq: Seq,
}

impl NewChannel {
    /// Where the user's part of the channel begins: what is before the joining is history.
    pub fn begins_after(self) -> Seq {
        (self.joined_seq - 1).max(0)
    }
}

/// Ascending entries after a cursor, each as the bytes that clients get.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntriesResponse {
    pub entries: Vec<Box<RawValue>>,
    pub has_more: bool,
    /// Up to here nothing is kept any more. Absent if the entries begin right after the cursor.
    #[serde(default)]
    pub removed_seq: Seq,
}

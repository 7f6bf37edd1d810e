//! What outlives a process: channels, participants, entries, the outbox, retention, devices, push jobs.

mod columns;
mod error;
mod postgres;
mod roles;
mod rows;
mod sqlite;
mod tables;

use std::time::Duration;

use serde_json::value::RawValue;
use shared_types::{ChannelId, ClientMessageId, DeviceId, Entry, EntryBody, EntryId, Seq, Timestamp, UserId};
use uuid::Uuid;

pub use error::StoreError;
pub use postgres::{Postgres, Statements, migrate, migrate_with};
pub use sqlite::Sqlite;
pub use tables::{
    Appender, ChannelStore, DeviceStore, EntryStore, OutboxStore, ParticipantStore, PushJobStore,
    RetentionStore, Store,
};

/// No lease of an api-server and no age of a row is asked for beyond this; the server's own are 6 s and 10 s. What lies
/// further ahead was written before the clock was set back: without a limit a dead process would live on for as long.
const FARTHEST_LEASE: Duration = Duration::from_secs(60);
/// The same for what waits to be pushed, which nobody puts off for more than about an hour: a back-off, a
/// `Retry-After` or a budget's hour, spread by up to a tenth.
const FARTHEST_PUSH: Duration = Duration::from_secs(2 * 3_600);

/// Connections to a database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub idle: u32,
    pub used: u32,
}

/// A message that has been checked and not been stored.
#[derive(Debug, Clone)]
pub struct Draft {
    pub entry_id: EntryId,
    pub channel_id: ChannelId,
    pub sender_id: UserId,
    pub kind: String,
    pub content: String,
    pub metadata: Option<Box<RawValue>>,
    pub client_message_id: Option<ClientMessageId>,
    /// A version of the channel's membership under which the sender is known to take part. A store may spare itself
    /// looking, if the version is still this one.
    pub known_membership: Option<i64>,
}

impl Draft {
    /// The entry that it has become.
    pub fn into_entry(self, seq: Seq, created_at: Timestamp) -> Entry {
        Entry {
            id: self.entry_id,
            channel_id: self.channel_id,
            seq,
            sender_id: self.sender_id,
            created_at,
            body: EntryBody::Message {
                kind: self.kind,
                content: self.content,
                metadata: self.metadata,
                client_message_id: self.client_message_id,
            },
        }
    }
}

/// What became of one draft of a batch.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The draft's entry has this place in the log.
    Stored {
        seq: Seq,
        created_at: Timestamp,
        membership_version: i64,
    },
    /// The sender has used this `clientMessageId` in this channel before, for this entry.
    Earlier(Entry),
    NoSuchChannel,
    NotAParticipant,
}

/// An entry that has been committed, with the version of the membership that it was committed under, and the row of
/// the outbox that keeps the intent to deliver it.
#[derive(Debug, Clone)]
pub struct Committed {
    pub entry: Entry,
    pub membership_version: i64,
    pub outbox: OutboxId,
}

/// One row of the outbox: all entries of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboxId(pub Uuid);

impl OutboxId {
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChannelKind {
    /// Exactly two participants, once per pair, for ever.
    Direct,
    /// Any number of participants.
    Group,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    Owner,
    Admin,
    Member,
}

impl Role {
    /// May rename the channel and add and remove members.
    pub fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}

/// A channel as one user sees it.
#[derive(Debug, Clone)]
pub struct ChannelView {
    pub id: ChannelId,
    pub kind: ChannelKind,
    pub name: Option<String>,
    pub last_seq: Seq,
    pub read_seq: Seq,
    pub unread_count: i64,
    pub last_message: Option<Entry>,
    pub member_count: i64,
    pub updated_at: Timestamp,
}

/// Where a page of the channel list ended: order is latest activity first, then id.
#[derive(Debug, Clone, Copy)]
pub struct ChannelCursor {
    /// Microseconds since 1970.
    pub updated_at_us: i64,
    pub id: ChannelId,
}

/// What the caller is in a channel.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub kind: ChannelKind,
    /// `None`: no participant.
    pub role: Option<Role>,
    pub last_seq: Seq,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub user_id: UserId,
    pub role: Role,
    pub joined_at: Timestamp,
    /// Up to here everything is on at least one device of the member.
    pub delivered_seq: Seq,
    pub read_seq: Seq,
}

/// Where a read cursor stands, after it was asked to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCursor {
    pub seq: Seq,
    pub has_moved: bool,
    pub membership_version: i64,
}

/// A delivered cursor that was moved to `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedCursor {
    pub user_id: UserId,
    pub channel_id: ChannelId,
    pub seq: Seq,
    pub membership_version: i64,
}

/// Who gets a channel's entries, as of one version of its membership.
#[derive(Debug, Clone)]
pub struct Participants {
    pub version: i64,
    /// Ascending by user id.
    pub members: Vec<Participant>,
}

impl Participants {
    pub fn contains(&self, user: &UserId) -> bool {
        self.members.binary_search_by(|member| member.user_id.cmp(user)).is_ok()
    }
}

#[derive(Debug, Clone)]
pub struct Participant {
    pub user_id: UserId,
    /// Entries up to here were there before the user was.
    pub joined_seq: Seq,
}

/// One of a user's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub channel_id: ChannelId,
    pub last_seq: Seq,
    /// The entry with which the user joined; 0: was in it from the beginning.
    pub joined_seq: Seq,
}

/// What became of a change to a channel.
#[derive(Debug, Clone)]
pub enum Change {
    /// Done; an entry says so.
    Committed(Committed),
    /// It was so already.
    Unchanged,
    /// No channel, or the caller may not see it.
    NotFound,
    /// The caller's role does not reach that far.
    Forbidden(&'static str),
    /// Not for this kind of channel, or not while it is as it is.
    Refused(&'static str),
}

/// Which part of a log.
#[derive(Debug, Clone, Copy)]
pub enum Window {
    Latest,
    Before(Seq),
    After(Seq),
    Around(Seq),
}

/// Ascending entries, and whether there are more beyond them in the direction asked for.
#[derive(Debug, Clone)]
pub struct Page {
    pub entries: Vec<Entry>,
    pub has_more: bool,
    /// Up to here nothing is kept any more. Looked up when the entries do not begin right after the cursor that was
    /// asked for; else 0.
    pub removed_seq: Seq,
}

/// One batch of the removal of old entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    pub entries: u64,
    /// There is nothing more to do now, or it is another process's turn.
    pub is_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DevicePlatform {
    Android,
    Ios,
    Web,
}

/// Exactly one of the two, as FCM knows it.
#[derive(Clone, PartialEq, Eq)]
pub enum DeviceTarget {
    Installation(String),
    Registration(String),
}

#[derive(Clone)]
pub struct Device {
    pub device_id: DeviceId,
    pub platform: DevicePlatform,
    pub target: DeviceTarget,
    pub updated_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
    pub disabled_reason: Option<String>,
}

/// Somebody is to be told of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushWanted {
    pub user_id: UserId,
    pub channel_id: ChannelId,
    pub seq: Seq,
    /// Written to a session that has not acked it: not needed if a device of the user has it by now.
    pub unless_delivered: bool,
}

/// One push that this process has taken on for the length of its lease.
#[derive(Clone)]
pub struct PushJob {
    pub id: i64,
    pub user_id: UserId,
    pub device_id: DeviceId,
    /// The newest message that the device is to be told of.
    pub seq: Seq,
    pub attempts: i32,
    /// When the oldest of what is to be told began to wait.
    pub created_at: Timestamp,
    /// `None` when there is nothing to push any more: the user has read it or left, device or entry are gone, or the
    /// device is disabled.
    pub push: Option<PendingPush>,
}

#[derive(Clone)]
pub struct PendingPush {
    pub platform: DevicePlatform,
    pub target: DeviceTarget,
    pub target_version: i64,
    /// The newest one.
    pub entry: Entry,
    /// Messages that this push tells of, at least 1: those of others since the job began to wait, unread.
    pub messages: i64,
    pub channel_name: Option<String>,
    /// Unread messages of the user in all channels.
    pub unread_total: i64,
}

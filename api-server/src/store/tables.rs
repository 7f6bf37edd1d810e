//! What a store can do, one trait for each table; two databases implement all of them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use shared_types::api_server_api::Ack;
use shared_types::{ChannelId, DeviceId, Seq, UserId};

use super::{
    Change, ChannelCursor, ChannelView, Committed, Connections, Device, DevicePlatform, DeviceTarget, Draft,
    Member, Membership, MovedCursor, OutboxId, Page, Participants, PushJob, PushWanted, ReadCursor, Removal,
    Role, Standing, StoreError, Verdict, Window,
};

/// Everything that outlives a process. Two real implementations: Postgres, and SQLite for the embedded edition; one
/// suite of tests runs both.
#[async_trait]
pub trait Store:
    ChannelStore
    + ParticipantStore
    + EntryStore
    + OutboxStore
    + RetentionStore
    + DeviceStore
    + PushJobStore
    + Send
    + Sync
{
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// A way to append that one writer keeps for itself.
    fn appender(&self) -> Box<dyn Appender>;

    /// What the connections to a database server do now; `None` where there is no server.
    fn connections(&self) -> Option<Connections>;

    /// Ends the connections, when nobody needs them any more.
    async fn close(&self);
}

/// Appends batches of messages.
#[async_trait]
pub trait Appender: Send {
    /// Stores a batch in one transaction, together with one row of the outbox for all that it stored; answers one
    /// verdict per draft, in their order. After an error nothing of the batch is known to be stored or not, except
    /// that after [`StoreError::Refused`] nothing is.
    ///
    /// No (channel, sender, `clientMessageId`) may stand twice in `drafts`.
    async fn append(&mut self, outbox: OutboxId, drafts: &[&Draft]) -> Result<Vec<Verdict>, StoreError>;
}

#[async_trait]
pub trait ChannelStore {
    /// A new group; `members` holds each user once with the role that they start with.
    async fn create_group(
        &self,
        name: Option<&str>,
        members: &[(UserId, Role)],
    ) -> Result<ChannelId, StoreError>;

    /// The pair's one channel, and whether this call made it. Two callers at the same moment get the same one.
    async fn open_direct(&self, one: &UserId, other: &UserId) -> Result<(ChannelId, bool), StoreError>;

    /// One channel as `user` sees it; one that the user is not in only with `sees_all`.
    async fn channel(
        &self,
        channel: ChannelId,
        user: &UserId,
        sees_all: bool,
    ) -> Result<Option<ChannelView>, StoreError>;

    /// A page of the user's channels, latest activity first.
    async fn channels(
        &self,
        user: &UserId,
        after: Option<ChannelCursor>,
        limit: i64,
    ) -> Result<Vec<ChannelView>, StoreError>;

    /// Gives a group another name; owners and admins only, or any caller with `may_manage`.
    async fn rename(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        name: &str,
    ) -> Result<Change, StoreError>;

    /// Ids of the user's channels that are not in `known`, latest activity first, at most `limit`.
    async fn channels_besides(
        &self,
        user: &UserId,
        known: &[ChannelId],
        limit: i64,
    ) -> Result<Vec<ChannelId>, StoreError>;
}

#[async_trait]
pub trait ParticipantStore {
    /// What the caller is in a channel; `None` when there is no such channel.
    async fn standing(&self, channel: ChannelId, caller: &UserId) -> Result<Option<Standing>, StoreError>;

    /// A page of members, ordered by user id.
    async fn members(
        &self,
        channel: ChannelId,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<Member>, StoreError>;

    /// Everybody who gets each channel's entries, and the version of that membership, read together.
    async fn participants(
        &self,
        channels: &[ChannelId],
    ) -> Result<Vec<(ChannelId, Participants)>, StoreError>;

    /// Adds those who are not in the group yet, as members.
    async fn add_members(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        users: &[UserId],
    ) -> Result<Change, StoreError>;

    /// Removes one member, or lets the caller leave. The last owner's place goes to the longest-standing admin,
    /// else to the longest-standing member.
    async fn remove_member(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        user: &UserId,
    ) -> Result<Change, StoreError>;

    /// Gives a member another role. Owners only; the last owner stays one. Leaves no entry.
    async fn set_role(
        &self,
        channel: ChannelId,
        caller: &UserId,
        may_manage: bool,
        user: &UserId,
        role: Role,
    ) -> Result<Result<Member, Change>, StoreError>;

    /// Moves the read cursor forward, never back, and the delivered cursor to it at least; cancels the user's
    /// waiting pushes about what is read. `None`: no participant.
    async fn mark_read(
        &self,
        channel: ChannelId,
        user: &UserId,
        seq: Seq,
    ) -> Result<Option<ReadCursor>, StoreError>;

    /// Moves delivered cursors forward, never back and never beyond the channel's last entry; cancels the user's
    /// waiting pushes about what a foreground session has. Acks of users who are not in the channel are passed over.
    /// Answers the cursors that moved, each once.
    async fn acknowledge(&self, acks: &[Ack]) -> Result<Vec<MovedCursor>, StoreError>;

    /// Every channel of each user, latest activity first; membership and last `seq` are of the same moment. Users without channels are left out. One statement, however many users.
    async fn memberships(&self, users: &[UserId]) -> Result<HashMap<UserId, Vec<Membership>>, StoreError>;
}

#[async_trait]
pub trait EntryStore {
    /// A page of one channel's log. Whether the caller may see it is the caller's business.
    async fn history(&self, channel: ChannelId, window: Window, limit: i64) -> Result<Page, StoreError>;

    /// The entries after each cursor, at most `limit` a channel, for those channels that the user is in.
    async fn sync(
        &self,
        user: &UserId,
        cursors: &HashMap<ChannelId, Seq>,
        limit: i64,
    ) -> Result<HashMap<ChannelId, Page>, StoreError>;
}

#[async_trait]
pub trait DeviceStore {
    /// Registers a device, or gives it another target. A target that another user's (or another) device had
    /// leaves it. `None`: the user has `most` devices already.
    async fn put_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        platform: DevicePlatform,
        target: &DeviceTarget,
        most: i64,
    ) -> Result<Option<Device>, StoreError>;

    /// The user's devices by id.
    async fn devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError>;

    /// Whether there was such a device. Its push jobs go with it.
    async fn delete_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, StoreError>;

    /// Stops pushing to a device, unless it has been given another target since the push was made. Answers
    /// whether it was stopped.
    async fn disable_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        target_version: i64,
        reason: &str,
    ) -> Result<bool, StoreError>;
}

/// The intent to deliver: a row for each batch of entries, written in the batch's transaction, removed when its
/// fan-out has ended. A row belongs to the process that wrote it, as long as that lives.
#[async_trait]
pub trait OutboxStore {
    /// Says that this process lives, and that its rows are its own for `lease` from now. Answers how many live.
    async fn keep_outbox(&self, lease: Duration) -> Result<u32, StoreError>;

    /// Takes over up to `limit` rows on which nobody works: of processes that do not live, and own ones that were
    /// written more than `forgotten_after` ago and are not in `in_flight` (their batch was committed, and its answer
    /// lost). Oldest first; rows that another process is taking at this moment are passed over. Answers their
    /// entries, in `seq` order within each channel, with the membership version as of now.
    async fn adopt_outbox(
        &self,
        in_flight: &[OutboxId],
        forgotten_after: Duration,
        limit: i64,
    ) -> Result<Vec<Committed>, StoreError>;

    /// The fan-out of these rows has ended.
    async fn remove_from_outbox(&self, rows: &[OutboxId]) -> Result<(), StoreError>;

    /// This process stops: whatever it leaves in the outbox may be taken over at once.
    async fn leave_outbox(&self) -> Result<(), StoreError>;

    /// The age of the oldest row, whoever works on it; zero when there is none.
    async fn outbox_age(&self) -> Result<Duration, StoreError>;
}

/// The removal of what is older than is to be kept: in rounds through all channels, one process at a time.
#[async_trait]
pub trait RetentionStore {
    /// Removes the oldest entries of some channels, if it is this process's turn: at most `most` entries, older than
    /// `kept_for`, and of at most `most` channels. Each channel loses the beginning of its log and nothing else; `seq`
    /// goes on as if nothing had been removed. With the last entries of a round goes what has not been delivered of them.
    ///
    /// Until `lease` is over the next batch is this process's too; a round begins `pause` after the one before it.
    async fn remove_old_entries(
        &self,
        kept_for: Duration,
        most: i64,
        lease: Duration,
        pause: Duration,
    ) -> Result<Removal, StoreError>;
}

/// One job for each device and channel: what it has still to be told, and up to where it has been told.
#[async_trait]
pub trait PushJobStore {
    /// Makes every live device of the user due, `pause` from now, to be told of the channel up to `seq`. A job that
    /// waits already takes the entry in and keeps its time. Nothing is made of what the user has read, nor of what a
    /// job has been made of before: doing it again changes nothing. Answers how many devices have begun to wait.
    async fn enqueue_pushes(&self, pushes: &[PushWanted], pause: Duration) -> Result<u64, StoreError>;

    /// Takes up to `limit` jobs that are due; nobody else gets them until the lease ends. What is pushed is read
    /// now, not when the job was made: the latest target, name and counts, and nothing for who has left.
    async fn lease_pushes(&self, limit: i64, lease: Duration) -> Result<Vec<PushJob>, StoreError>;

    /// Of each of these jobs the device has been told up to `seq`, or there is nothing to tell up to there. If more has
    /// come since, the job is due again after `pause`, with its attempts counted anew.
    async fn finish_pushes(&self, jobs: &[(i64, Seq)], pause: Duration) -> Result<(), StoreError>;

    /// The job is tried again after `pause`, unless it was cancelled since. With `uncounted` the attempt that was
    /// made does not count towards the last one.
    async fn postpone_push(&self, job: i64, pause: Duration, uncounted: bool) -> Result<(), StoreError>;

    /// The job is kept, with the reason, and not tried again until something new is to be told; that may have come since
    /// it was taken.
    async fn fail_push(&self, job: i64, reason: &str) -> Result<(), StoreError>;

    /// Jobs that are due and that nobody has taken; counts no further than `at_most`.
    async fn due_pushes(&self, at_most: i64) -> Result<i64, StoreError>;
}

//! Frames that tell of the moment: for whoever is connected now, and for nobody else.

use std::sync::Arc;

use bytes::Bytes;
use shared_types::frames::ServerFrame;
use shared_types::{ChannelId, UserId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fanout::connected;
use super::lanes::Lanes;
use super::participants::ParticipantCache;
use super::registry::Registry;

/// Lots of frames that may wait; what comes when there is no room is dropped.
pub(super) const QUEUE: usize = 256;
/// Lots that share one look-up.
const MAX_LOTS: usize = 16;
/// In a larger channel nobody looks at who has read what, and each ack would be told to everybody.
const MAX_MEMBERS: usize = 32;

/// A frame for the members of a channel.
pub struct Ephemeral {
    channel_id: ChannelId,
    /// Those who were members then and still are.
    membership_version: i64,
    /// JSON.
    frame: Bytes,
}

impl Ephemeral {
    pub fn new(channel_id: ChannelId, membership_version: i64, frame: &ServerFrame) -> Option<Self> {
        // Ids and numbers: writing them cannot fail.
        let frame = serde_json::to_vec(frame).ok()?.into();
        Some(Self { channel_id, membership_version, frame })
    }
}

/// The one task that tells them.
pub(super) struct Teller {
    pub(super) participants: Arc<ParticipantCache>,
    pub(super) registry: Arc<Registry>,
    pub(super) lanes: Lanes,
}

impl Teller {
    pub(super) async fn run(self, mut lots: mpsc::Receiver<Vec<Ephemeral>>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_LOTS);
        loop {
            let taken = tokio::select! {
                () = stopping.cancelled() => return,
                taken = lots.recv_many(&mut batch, MAX_LOTS) => taken,
            };
            if taken == 0 {
                return;
            }
            // Whom nobody can find now is not told.
            let _told = self.tell(batch.drain(..).flatten().collect()).await;
        }
    }

    async fn tell(&self, frames: Vec<Ephemeral>) -> Option<()> {
        let wanted: Vec<_> =
            frames.iter().map(|frame| (frame.channel_id, frame.membership_version)).collect();
        let participants = self.participants.get(&wanted).await.ok()?;
        let told: Vec<_> = frames
            .into_iter()
            .zip(participants)
            .filter_map(|(frame, participants)| Some((frame, participants?)))
            .filter(|(_, participants)| participants.members.len() <= MAX_MEMBERS)
            .collect();
        let members = told.iter().flat_map(|(_, participants)| &participants.members);
        let mut users: Vec<UserId> = members.map(|member| member.user_id.clone()).collect();
        users.sort_unstable();
        users.dedup();
        let locations = self.registry.locate(&users).await.ok()?;
        for (frame, participants) in told {
            let members = participants.members.iter().map(|member| &member.user_id);
            for (gateway, recipients) in connected(members, &locations) {
                self.lanes.enqueue_ephemeral(&gateway, frame.frame.clone(), recipients);
            }
        }
        Some(())
    }
}

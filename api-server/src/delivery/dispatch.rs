//! The one task that turns committed entries into shipments, in order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::congestion::Handover;
use super::fanout::{Hasher, Locations, plan};
use super::lanes::Lanes;
use super::outgoing::Outgoing;
use super::participants::ParticipantCache;
use super::registry::Registry;
use super::second_look::{Missing, Next};
use crate::push::queue::PushQueue;
use crate::queue_wait::QueueWait;
use crate::retry::until_done;
use crate::store::{Participant, Participants};
use shared_types::UserId;

/// Batches of the writers that share one look-up.
const MAX_BATCHES: usize = 64;

pub(super) struct Dispatcher {
    pub(super) participants: Arc<ParticipantCache>,
    pub(super) registry: Arc<Registry>,
    pub(super) lanes: Lanes,
    pub(super) missing: mpsc::Sender<Missing>,
    pub(super) pushes: PushQueue,
    pub(super) wait: Arc<QueueWait>,
    pub(super) stopping: CancellationToken,
}

impl Dispatcher {
    /// One look-up at a time: while it runs, the next entries gather. Being one task, it keeps the order.
    pub(super) async fn run(self, mut incoming: mpsc::Receiver<Handover>) {
        let mut batches: Vec<Handover> = Vec::with_capacity(MAX_BATCHES);
        loop {
            let taken = tokio::select! {
                () = self.stopping.cancelled() => return,
                taken = incoming.recv_many(&mut batches, MAX_BATCHES) => taken,
            };
            let Some(last) = batches.last() else { return };
            self.wait.took(last.since, taken == MAX_BATCHES && !incoming.is_empty());
            let began = Instant::now();
            let entries: Vec<Outgoing> = batches.drain(..).flat_map(|batch| batch.entries).collect();
            let work = entries.len();
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.dispatch(entries) => {}
            }
            self.wait.did(work, began.elapsed());
        }
    }

    async fn dispatch(&self, entries: Vec<Outgoing>) {
        let wanted: Vec<_> =
            entries.iter().map(|entry| (entry.channel_id(), entry.membership_version())).collect();
        let mut questions = 0_u32;
        let mut participants = until_done("participants", || {
            self.note_repeat(&mut questions);
            self.participants.get(&wanted)
        })
        .await;
        let users = everyone(&entries, &participants);
        // After the commit, not while it runs: whoever claims a session after this look-up also resumes after the
        // commit and finds the entry in the log. A look-up before the commit would miss a second device that
        // claims and resumes in between.
        let mut look_ups = 0_u32;
        let locations = until_done("locations", || {
            self.note_repeat(&mut look_ups);
            self.registry.locate(&users)
        })
        .await;
        if look_ups > 1 {
            // Whoever has been removed while the entries waited for Redis must not get them any more. Nobody new can
            // be among the recipients: who has joined since has joined after these entries.
            participants = until_done("participants", || self.participants.get_anew(&wanted)).await;
        }
        self.wait.works();
        for (entry, participants) in entries.into_iter().zip(participants) {
            if let Some(participants) = participants {
                self.ship(&entry, &participants, &locations).await;
            }
        }
    }

    /// A question that is asked again has not been answered.
    fn note_repeat(&self, asked: &mut u32) {
        *asked += 1;
        if *asked > 1 {
            self.wait.fails();
        }
    }

    async fn ship(&self, entry: &Outgoing, participants: &Participants, locations: &Locations) {
        let recipients = recipients(entry, participants);
        let plan = plan(entry, recipients, locations);
        let mut missing = Vec::new();
        for (gateway, recipients) in plan.gateways {
            let users = self.lanes.enqueue(&gateway, entry, recipients, false);
            missing.push(Missing { outgoing: entry.clone(), users, next: Next::LookWhenThereIsRoom });
        }
        missing.push(Missing::expected_back(entry.clone(), plan.expected_back));
        for missing in missing.into_iter().filter(|missing| !missing.users.is_empty()) {
            // Closed only while stopping.
            let _stopped = self.missing.send(missing).await;
        }
        self.pushes.enqueue(entry, plan.offline).await;
    }
}

/// Those who were in the channel when the entry was written and still are.
fn recipients<'a>(entry: &'a Outgoing, participants: &'a Participants) -> impl Iterator<Item = &'a UserId> {
    let joined_by_then = |member: &&Participant| member.joined_seq <= entry.seq();
    participants.members.iter().filter(joined_by_then).map(|member| &member.user_id)
}

fn everyone(entries: &[Outgoing], participants: &[Option<Arc<Participants>>]) -> Vec<UserId> {
    let mut users: HashSet<&UserId, Hasher> = HashSet::default();
    for (entry, participants) in entries.iter().zip(participants) {
        if let Some(participants) = participants {
            users.extend(recipients(entry, participants));
        }
    }
    users.into_iter().cloned().collect()
}

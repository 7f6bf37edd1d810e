//! Whoever a gateway reports absent is looked up again before a push is made: connect and send race each other, and
//! who has just lost a session comes back in a moment.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use shared_types::registry_keys::RETURN_TIME;
use shared_types::{GatewayId, UserId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fanout::{Locations, Place, plan};
use super::lanes::Lanes;
use super::outgoing::Outgoing;
use super::registry::Registry;
use super::waiting::Waiting;
use crate::metrics::Metrics;
use crate::push::queue::PushQueue;
use crate::retry::until_done;

/// Reports that may wait. A lane whose report finds no room waits with its next request, and no one else does.
pub(super) const QUEUE: usize = 1_024;
/// Reports that share one look-up.
const MAX_REPORTS: usize = 256;
/// How long a gateway's release of a session may be on its way to the registry.
const RELEASE_TIME: Duration = Duration::from_millis(250);
/// How long a full lane is left alone: a few of its requests, when its gateway answers at all.
const ROOM_TIME: Duration = Duration::from_secs(1);
/// Recipients who may wait to be looked for; one takes about 100 bytes. Beyond it the oldest are looked for early, and
/// some of them pushed to who would have come back.
const MAX_WAITING: usize = 200_000;

/// Recipients of one entry who are not where they were thought to be.
pub(super) struct Missing {
    pub(super) outgoing: Outgoing,
    /// Each with the gateways that were tried.
    pub(super) users: Vec<(UserId, Vec<GatewayId>)>,
    pub(super) next: Next,
}

/// What is to be done about those who are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The registry may know better by now.
    Look,
    /// It named only what had been tried. When their release has reached it they are elsewhere, expected back or
    /// offline; if it still names the same place they have come back there, or are there in the background.
    LookWhenReleased,
    /// Their gateway's lane was full. That says nothing about whether they are there.
    LookWhenThereIsRoom,
    /// They were nowhere, and expected back: when the time for that is over they are there, or offline.
    LookWhenReturned,
    /// They were looked for in vain.
    Push,
}

impl Next {
    fn pause(self) -> Duration {
        match self {
            Self::Look | Self::Push => Duration::ZERO,
            Self::LookWhenReleased => RELEASE_TIME,
            Self::LookWhenThereIsRoom => ROOM_TIME,
            Self::LookWhenReturned => RETURN_TIME,
        }
    }
}

impl Missing {
    /// They are nowhere, and the registry expects them back.
    pub(super) fn expected_back(outgoing: Outgoing, users: Vec<UserId>) -> Self {
        let users = users.into_iter().map(|user| (user, Vec::new())).collect();
        Self { outgoing, users, next: Next::LookWhenReturned }
    }
}

/// The one task that looks again.
pub(super) struct SecondLook {
    registry: Arc<Registry>,
    lanes: Lanes,
    pushes: PushQueue,
    waiting: Waiting<Missing>,
    absent: Counter,
}

impl SecondLook {
    pub(super) fn new(registry: Arc<Registry>, lanes: Lanes, pushes: PushQueue, metrics: &Metrics) -> Self {
        let waiting = Waiting::new(metrics.delayed_looks.clone());
        Self { registry, lanes, pushes, waiting, absent: metrics.absent_after_second_look.clone() }
    }

    pub(super) async fn run(mut self, mut reports: mpsc::Receiver<Missing>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_REPORTS);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.waiting.due() => {}
                taken = reports.recv_many(&mut batch, MAX_REPORTS) => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.act(std::mem::take(&mut batch)) => {}
            }
        }
    }

    async fn act(&mut self, reports: Vec<Missing>) {
        let mut due = Vec::with_capacity(reports.len());
        for missing in reports {
            match missing.next {
                Next::Push => self.push(&missing.outgoing, missing.users).await,
                Next::Look => due.push(missing),
                next => self.wait(&missing.outgoing, missing.users, next),
            }
        }
        due.extend(self.waiting.take_due(MAX_WAITING));
        let mut users: Vec<UserId> =
            due.iter().flat_map(|missing| missing.users.iter().map(|(user, _)| user.clone())).collect();
        users.sort_unstable();
        users.dedup();
        let locations = until_done("locations", || self.registry.locate(&users)).await;
        for missing in due {
            self.look(missing, &locations).await;
        }
    }

    async fn look(&mut self, missing: Missing, locations: &Locations) {
        let Missing { outgoing, users, next } = missing;
        let mut found = Locations::default();
        let (mut unreleased, mut expected_back, mut offline) = (Vec::new(), Vec::new(), Vec::new());
        for (user, tried) in users {
            match locations.get(&user) {
                Some(Place::Gateways(gateways)) => {
                    let is_new = |gateway: &&GatewayId| next != Next::Look || !tried.contains(gateway);
                    let gateways: Arc<[GatewayId]> = gateways.iter().filter(is_new).cloned().collect();
                    if gateways.is_empty() {
                        unreleased.push((user, tried));
                    } else {
                        found.insert(user, Place::Gateways(gateways));
                    }
                }
                Some(Place::ExpectedBack) if next != Next::LookWhenReturned => {
                    expected_back.push((user, tried));
                }
                _ => offline.push((user, tried)),
            }
        }
        self.wait(&outgoing, unreleased, Next::LookWhenReleased);
        self.wait(&outgoing, expected_back, Next::LookWhenReturned);
        for (gateway, recipients) in plan(&outgoing, found.keys(), &found).gateways {
            let refused = self.lanes.enqueue(&gateway, &outgoing, recipients, true);
            // They wait for as long as their gateway lives and is full, so that this must end somewhere.
            if self.waiting.recipients() < MAX_WAITING {
                self.wait(&outgoing, refused, Next::LookWhenThereIsRoom);
            } else {
                offline.extend(refused);
            }
        }
        self.push(&outgoing, offline).await;
    }

    /// Who may be gone is worth waiting for only because of the push: whoever comes back finds the entry in the log.
    fn wait(&mut self, outgoing: &Outgoing, mut users: Vec<(UserId, Vec<GatewayId>)>, next: Next) {
        if next != Next::LookWhenThereIsRoom {
            users.retain(|(user, _)| outgoing.may_push_to(user));
        }
        if !users.is_empty() {
            let due = Instant::now() + next.pause();
            self.waiting.insert(due, users.len(), Missing { outgoing: outgoing.at_rest(), users, next });
        }
    }

    async fn push(&self, outgoing: &Outgoing, users: Vec<(UserId, Vec<GatewayId>)>) {
        self.absent.inc_by(users.len() as u64);
        self.pushes.enqueue(outgoing, users.into_iter().map(|(user, _)| user).collect()).await;
    }
}

//! One entry on its way, and who of its recipients is still to be accounted for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use shared_types::{ChannelId, EntryBody, GatewayId, Seq, UserId};
use tracing::error;

use super::backlog::{Backlog, Ticket};
use crate::store::Committed;

/// An entry between commit and the end of its fan-out, which is when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Inner>);

struct Inner {
    channel_id: ChannelId,
    seq: Seq,
    sender_id: UserId,
    is_message: bool,
    membership_version: i64,
    json: Box<RawValue>,
    /// Recipients on several gateways: present on one of them is enough.
    several: Mutex<HashMap<UserId, Several>>,
    _ticket: Ticket,
}

struct Several {
    gateways: Vec<GatewayId>,
    answers_due: usize,
    is_present: bool,
}

impl Outgoing {
    /// Serialises the entry, the only time that this is done.
    pub(super) fn new(committed: Committed, backlog: &Arc<Backlog>) -> Option<Self> {
        let Committed { entry, membership_version } = committed;
        let json = serde_json::value::to_raw_value(&entry)
            .inspect_err(|error| error!(%error, channel_id = %entry.channel_id, seq = entry.seq, "an entry cannot be shown"))
            .ok()?;
        Some(Self(Arc::new(Inner {
            channel_id: entry.channel_id,
            seq: entry.seq,
            is_message: matches!(entry.body, EntryBody::Message { .. }),
            sender_id: entry.sender_id,
            membership_version,
            json,
            several: Mutex::default(),
            _ticket: backlog.enter(),
        })))
    }

    pub(super) fn channel_id(&self) -> ChannelId {
        self.0.channel_id
    }

    pub(super) fn seq(&self) -> Seq {
        self.0.seq
    }

    pub(super) fn membership_version(&self) -> i64 {
        self.0.membership_version
    }

    pub(super) fn json(&self) -> &RawValue {
        &self.0.json
    }

    /// Who is pushed to when absent: everyone but the sender, and only about messages.
    pub(crate) fn may_push_to(&self, user: &UserId) -> bool {
        self.0.is_message && *user != self.0.sender_id
    }

    /// What the push queue needs to know.
    pub(crate) fn place(&self) -> (ChannelId, Seq) {
        (self.0.channel_id, self.0.seq)
    }

    /// The user is being looked for on several gateways at once.
    pub(super) fn expect_several(&self, user: &UserId, gateways: &[GatewayId]) {
        let state = Several { gateways: gateways.to_vec(), answers_due: gateways.len(), is_present: false };
        self.several().insert(user.clone(), state);
    }

    /// A gateway has answered for some recipients. Returns those that are now known to be nowhere that was tried,
    /// each with what was tried.
    pub(super) fn settle(
        &self,
        gateway: &GatewayId,
        recipients: &[UserId],
        is_absent: impl Fn(&UserId) -> bool,
    ) -> Vec<(UserId, Vec<GatewayId>)> {
        let mut several = self.several();
        let mut missing = Vec::new();
        for user in recipients {
            let absent = is_absent(user);
            let Some(state) = several.get_mut(user) else {
                if absent {
                    missing.push((user.clone(), vec![gateway.clone()]));
                }
                continue;
            };
            state.answers_due = state.answers_due.saturating_sub(1);
            state.is_present |= !absent;
            if state.answers_due == 0
                && let Some(state) = several.remove(user)
                && !state.is_present
            {
                missing.push((user.clone(), state.gateways));
            }
        }
        missing
    }

    fn several(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, Several>> {
        // The map is whole after every statement, so a panic elsewhere has not broken it.
        self.0.several.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

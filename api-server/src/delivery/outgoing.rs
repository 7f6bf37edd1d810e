//! One entry on its way, and who of its recipients is still to be accounted for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use shared_runtime::traces::Trace;
use shared_types::{ChannelId, Entry, EntryBody, GatewayId, Seq, UserId};

use super::backlog::Ticket;
use crate::outbox::RowGuard;

/// An entry between commit and the end of its fan-out, which is when the last clone is dropped: then its batch's row
/// may leave the outbox.
#[derive(Clone)]
pub(crate) struct Outgoing {
    inner: Arc<Inner>,
    /// `None` once nothing but time is waited for.
    _ticket: Option<Arc<Ticket>>,
}

struct Inner {
    channel_id: ChannelId,
    seq: Seq,
    sender_id: UserId,
    is_message: bool,
    membership_version: i64,
    json: Bytes,
    /// Recipients on several gateways: present on one of them is enough.
    several: Mutex<HashMap<UserId, Several>>,
    /// Where what becomes of it hangs, if that is traced.
    trace: Option<Trace>,
    _row: Arc<RowGuard>,
}

struct Several {
    gateways: Vec<GatewayId>,
    answers_due: usize,
    best: Presence,
}

/// What a gateway has said of a recipient, in the order in which one answer outdoes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    Absent,
    /// There, and still to say that the entry has arrived.
    AwaitingAck,
    Present,
}

/// Recipients of whom all that was asked has been answered, and who are not simply present.
#[derive(Default)]
pub(super) struct Settled {
    /// Nowhere, each with what was tried.
    pub(super) missing: Vec<(UserId, Vec<GatewayId>)>,
    pub(super) awaiting_ack: Vec<UserId>,
}

impl Outgoing {
    /// `json` is the entry's.
    pub(super) fn new(
        entry: &Entry,
        json: Bytes,
        membership_version: i64,
        row: Arc<RowGuard>,
        ticket: Ticket,
        trace: Option<Trace>,
    ) -> Self {
        let inner = Inner {
            channel_id: entry.channel_id,
            seq: entry.seq,
            is_message: matches!(entry.body, EntryBody::Message { .. }),
            sender_id: entry.sender_id.clone(),
            membership_version,
            json,
            several: Mutex::default(),
            trace,
            _row: row,
        };
        Self { inner: Arc::new(inner), _ticket: Some(Arc::new(ticket)) }
    }

    /// The same entry for what waits until a time has come: it stays in the outbox, and is no reason to refuse sends.
    pub(super) fn at_rest(&self) -> Self {
        Self { inner: self.inner.clone(), _ticket: None }
    }

    pub(super) fn channel_id(&self) -> ChannelId {
        self.inner.channel_id
    }

    pub(super) fn seq(&self) -> Seq {
        self.inner.seq
    }

    pub(super) fn membership_version(&self) -> i64 {
        self.inner.membership_version
    }

    pub(super) fn json(&self) -> &[u8] {
        &self.inner.json
    }

    /// Who is pushed to when absent: everyone but the sender, and only about messages.
    pub(crate) fn may_push_to(&self, user: &UserId) -> bool {
        self.inner.is_message && *user != self.inner.sender_id
    }

    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.inner.trace.as_ref()
    }

    /// What the push queue needs to know.
    pub(crate) fn place(&self) -> (ChannelId, Seq) {
        (self.inner.channel_id, self.inner.seq)
    }

    /// The user is being looked for on several gateways at once.
    pub(super) fn expect_several(&self, user: &UserId, gateways: &[GatewayId]) {
        let state =
            Several { gateways: gateways.to_vec(), answers_due: gateways.len(), best: Presence::Absent };
        self.several().insert(user.clone(), state);
    }

    /// A gateway has answered for some recipients.
    pub(super) fn settle(
        &self,
        gateway: &GatewayId,
        recipients: &[UserId],
        presence: impl Fn(&UserId) -> Presence,
    ) -> Settled {
        let mut several = self.several();
        let mut settled = Settled::default();
        for user in recipients {
            let said = presence(user);
            // Hardly anybody is on several gateways.
            let state = if several.is_empty() { None } else { several.get_mut(user) };
            let Some(state) = state else {
                settled.add(user, said, || vec![gateway.clone()]);
                continue;
            };
            state.answers_due = state.answers_due.saturating_sub(1);
            state.best = state.best.max(said);
            if state.answers_due == 0
                && let Some(state) = several.remove(user)
            {
                settled.add(user, state.best, || state.gateways);
            }
        }
        settled
    }

    fn several(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, Several>> {
        // The map is whole after every statement, so a panic elsewhere has not broken it.
        self.inner.several.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settled {
    fn add(&mut self, user: &UserId, said: Presence, tried: impl FnOnce() -> Vec<GatewayId>) {
        match said {
            Presence::Absent => self.missing.push((user.clone(), tried())),
            Presence::AwaitingAck => self.awaiting_ack.push(user.clone()),
            Presence::Present => {}
        }
    }
}

//! The session registry in this process's memory, for the embedded edition.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use shared_types::registry_keys::{LEASE_TTL, Lease, RETURN_TIME, TICKET_TTL, TicketGrant};
use shared_types::{GatewayId, UserId};

use super::{Intent, RegistryUnavailable, SessionRegistry, Whereabouts};

/// Tickets that have ended are forgotten when there are this many; one takes about 200 bytes.
const SWEEP_TICKETS_AT: usize = 10_000;

/// Those who did not come back are forgotten when there are this many, or twice as many as were left the last time:
/// so that a sweep is paid for by as many releases as it looks at.
const SWEEP_RETURNING_AT: usize = 10_000;

/// One lock for everything: each call holds it for a few map operations, and never while it waits.
#[derive(Default)]
pub struct InProcessRegistry(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    users: HashMap<UserId, Vec<GatewayId>>,
    /// Who has just left, and until when they are expected back.
    returning: HashMap<UserId, Instant>,
    sweep_returning_at: usize,
    leases: HashMap<GatewayId, (Lease, Instant)>,
    tickets: HashMap<String, (TicketGrant, Instant)>,
}

impl Contents {
    fn claim(&mut self, gateway: &GatewayId, user_id: &UserId) {
        self.returning.remove(user_id);
        let entry = self.users.entry(user_id.clone()).or_default();
        if !entry.contains(gateway) {
            entry.push(gateway.clone());
        }
    }

    fn release(&mut self, gateway: &GatewayId, user_id: &UserId, expected_back: bool) {
        let Some(entry) = self.users.get_mut(user_id) else { return };
        entry.retain(|id| id != gateway);
        if !entry.is_empty() {
            return;
        }
        self.users.remove(user_id);
        if expected_back {
            let now = Instant::now();
            if self.returning.len() >= self.sweep_returning_at.max(SWEEP_RETURNING_AT) {
                self.returning.retain(|_, until| *until > now);
                self.sweep_returning_at = 2 * self.returning.len();
            }
            self.returning.insert(user_id.clone(), now + RETURN_TIME);
        }
    }
}

impl InProcessRegistry {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Each map is whole after every statement, so a panic elsewhere has not broken it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionRegistry for InProcessRegistry {
    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Whereabouts>, RegistryUnavailable> {
        let contents = self.contents();
        let now = Instant::now();
        let whereabouts = |user| Whereabouts {
            gateways: contents.users.get(user).map(|entry| entry[..].into()).unwrap_or_default(),
            is_expected_back: contents.returning.get(user).is_some_and(|until| *until > now),
        };
        Ok(users.iter().map(whereabouts).collect())
    }

    async fn leases(&self) -> Result<HashMap<GatewayId, Lease>, RegistryUnavailable> {
        let mut contents = self.contents();
        let now = Instant::now();
        contents.leases.retain(|_, (_, until)| *until > now);
        Ok(contents.leases.iter().map(|(id, (lease, _))| (id.clone(), lease.clone())).collect())
    }

    async fn renew(&self, gateway: &GatewayId, lease: &Lease) -> Result<bool, RegistryUnavailable> {
        let now = Instant::now();
        let before = self.contents().leases.insert(gateway.clone(), (lease.clone(), now + LEASE_TTL));
        Ok(before.is_some_and(|(_, until)| until > now))
    }

    async fn resign(&self, gateway: &GatewayId) -> Result<(), RegistryUnavailable> {
        self.contents().leases.remove(gateway);
        Ok(())
    }

    async fn settle(
        &self,
        gateway: &GatewayId,
        intents: &[(UserId, Intent)],
    ) -> Result<(), RegistryUnavailable> {
        let mut contents = self.contents();
        for (user_id, intent) in intents {
            match intent {
                Intent::Claim => contents.claim(gateway, user_id),
                Intent::Release { expected_back } => contents.release(gateway, user_id, *expected_back),
            }
        }
        Ok(())
    }

    async fn issue_ticket(&self, ticket: &str, grant: &TicketGrant) -> Result<(), RegistryUnavailable> {
        let mut contents = self.contents();
        let now = Instant::now();
        if contents.tickets.len() >= SWEEP_TICKETS_AT {
            contents.tickets.retain(|_, (_, until)| *until > now);
        }
        contents.tickets.insert(ticket.to_owned(), (grant.clone(), now + TICKET_TTL));
        Ok(())
    }

    async fn redeem_ticket(&self, ticket: &str) -> Result<Option<TicketGrant>, RegistryUnavailable> {
        let taken = self.contents().tickets.remove(ticket);
        Ok(taken.filter(|(_, until)| *until > Instant::now()).map(|(grant, _)| grant))
    }

    async fn ping(&self) -> Result<(), RegistryUnavailable> {
        Ok(())
    }
}

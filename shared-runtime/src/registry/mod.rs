//! The session registry: which gateways live, and which of them hold a session of a user.

mod in_process;
mod redis;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use shared_types::registry_keys::{Lease, TicketGrant};
use shared_types::{GatewayId, UserId};

pub use in_process::InProcessRegistry;
pub use redis::RedisRegistry;

use crate::redis::RedisUnavailable;

/// Why the registry gave no answer. Only the one in Redis ever has a reason.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RegistryUnavailable(#[from] RedisUnavailable);

/// What is to become of a gateway's place in a user's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Claim,
    /// The user's last session here has ended. `expected_back`: not because the client wished it, so it will
    /// probably connect again; for [`shared_types::registry_keys::RETURN_TIME`] the registry remembers that.
    Release {
        expected_back: bool,
    },
}

/// Where a user is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The gateways that the user's entry names. Some may be dead. Shared by all whose entries name the same.
    pub gateways: Arc<[GatewayId]>,
    /// Nowhere, but was just now and is expected back.
    pub is_expected_back: bool,
}

/// Two real implementations: Redis, one server or a cluster, and this process's memory for the embedded edition; one
/// suite of tests runs all. Every call may be made twice and then means the same, except `redeem_ticket`.
#[async_trait]
pub trait SessionRegistry: Send + Sync {
    /// Where each user is, in the users' order; one round trip, of a cluster's nodes one each at the same time.
    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Whereabouts>, RegistryUnavailable>;

    /// Every gateway that holds a lease.
    async fn leases(&self) -> Result<HashMap<GatewayId, Lease>, RegistryUnavailable>;

    /// Renews a lease for [`shared_types::registry_keys::LEASE_TTL`]. Says whether it was still there, and no server of
    /// the registry has started or taken over since the last renewal: if not, the registry may have lost whatever it
    /// held of this gateway.
    async fn renew(&self, gateway: &GatewayId, lease: &Lease) -> Result<bool, RegistryUnavailable>;

    /// Takes a lease back: nobody looks there from now on.
    async fn resign(&self, gateway: &GatewayId) -> Result<(), RegistryUnavailable>;

    /// Names the gateway in users' entries, or takes it and nothing else out of them.
    async fn settle(
        &self,
        gateway: &GatewayId,
        intents: &[(UserId, Intent)],
    ) -> Result<(), RegistryUnavailable>;

    /// Keeps what a ticket grants until it is redeemed or ends.
    async fn issue_ticket(&self, ticket: &str, grant: &TicketGrant) -> Result<(), RegistryUnavailable>;

    /// Takes a ticket out, so that it lets in once. `None`: unknown, used or ended.
    async fn redeem_ticket(&self, ticket: &str) -> Result<Option<TicketGrant>, RegistryUnavailable>;

    /// Whether the registry answers.
    async fn ping(&self) -> Result<(), RegistryUnavailable>;

    /// How many connections have been made to reach it; `None` where it needs none.
    fn connections_opened(&self) -> Option<Counter> {
        None
    }
}

//! The session registry in Redis: one pipeline a question.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::Pipeline;
use prometheus_client::metrics::counter::Counter;
use shared_types::registry_keys::{
    CLAIM_SCRIPT, LEASE_TTL, Lease, RELEASE_SCRIPT, RETURN_TIME, RegistryKeys, TICKET_TTL, TicketGrant,
    USER_ENTRY_TTL, parse_user_entry,
};
use shared_types::{GatewayId, UserId};

use super::{Intent, RegistryUnavailable, SessionRegistry, Whereabouts};
use crate::redis::Redis;

/// Keys of one MGET; more go into the same round trip as further commands.
const KEYS_PER_COMMAND: usize = 10_000;

/// Gateways that are known again in one answer; with more, looking for one takes as long as reading it anew.
const MAX_NAMED: usize = 16;

pub struct RedisRegistry {
    redis: Redis,
    keys: RegistryKeys,
}

impl RedisRegistry {
    pub fn new(redis: Redis, prefix: &str) -> Self {
        Self { redis, keys: RegistryKeys::new(prefix) }
    }
}

#[async_trait]
impl SessionRegistry for RedisRegistry {
    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Whereabouts>, RegistryUnavailable> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::new();
        for chunk in users.chunks(KEYS_PER_COMMAND) {
            pipeline.cmd("MGET");
            for user in chunk {
                pipeline.arg(self.keys.user(user));
            }
        }
        let entries: Vec<Vec<Option<String>>> = self.redis.run(&pipeline).await?;
        let mut named = Vec::new();
        Ok(entries.into_iter().flatten().map(|entry| whereabouts(entry, &mut named)).collect())
    }

    async fn leases(&self) -> Result<HashMap<GatewayId, Lease>, RegistryUnavailable> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SMEMBERS").arg(self.keys.gateways());
        let (ids,): (Vec<String>,) = self.redis.run(&pipeline).await?;
        let ids: Vec<GatewayId> = ids.into_iter().filter_map(|id| id.parse().ok()).collect();
        let mut live = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(live);
        }
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in &ids {
            pipeline.cmd("GET").arg(self.keys.lease(id));
        }
        let leases: Vec<Option<String>> = self.redis.run(&pipeline).await?;
        let mut dead = Pipeline::new();
        for (id, lease) in ids.into_iter().zip(leases) {
            match lease.and_then(|lease| serde_json::from_str::<Lease>(&lease).ok()) {
                Some(lease) => drop(live.insert(id, lease)),
                // A gateway that lives adds itself again with its next renewal.
                None => drop(dead.cmd("SREM").arg(self.keys.gateways()).arg(id.as_str()).ignore()),
            }
        }
        if !dead.is_empty() {
            self.redis.run::<()>(&dead).await?;
        }
        Ok(live)
    }

    async fn renew(&self, gateway: &GatewayId, lease: &Lease) -> Result<bool, RegistryUnavailable> {
        let key = self.keys.lease(gateway);
        let mut pipeline = Pipeline::with_capacity(3);
        // Atomic: emptied between the question and the renewal, Redis would seem to have lost nothing.
        pipeline.atomic();
        pipeline.cmd("EXISTS").arg(&key);
        pipeline.cmd("SET").arg(&key).arg(json(lease)).arg("PX").arg(millis(LEASE_TTL)).ignore();
        pipeline.cmd("SADD").arg(self.keys.gateways()).arg(gateway.as_str()).ignore();
        let (existed,): (bool,) = self.redis.run(&pipeline).await?;
        Ok(existed)
    }

    async fn resign(&self, gateway: &GatewayId) -> Result<(), RegistryUnavailable> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("DEL").arg(self.keys.lease(gateway)).ignore();
        pipeline.cmd("SREM").arg(self.keys.gateways()).arg(gateway.as_str()).ignore();
        Ok(self.redis.run(&pipeline).await?)
    }

    async fn settle(
        &self,
        gateway: &GatewayId,
        intents: &[(UserId, Intent)],
    ) -> Result<(), RegistryUnavailable> {
        let mut pipeline = Pipeline::with_capacity(intents.len());
        for (user_id, intent) in intents {
            // By their texts (half a KiB): a Redis that has restarted knows no scripts by name.
            let (script, ttl) = match intent {
                Intent::Claim => (CLAIM_SCRIPT, USER_ENTRY_TTL),
                Intent::Release { expected_back: true } => (RELEASE_SCRIPT, RETURN_TIME),
                Intent::Release { expected_back: false } => (RELEASE_SCRIPT, Duration::ZERO),
            };
            pipeline.cmd("EVAL").arg(script).arg(1).arg(self.keys.user(user_id));
            pipeline.arg(gateway.as_str()).arg(millis(ttl)).ignore();
        }
        Ok(self.redis.run(&pipeline).await?)
    }

    async fn issue_ticket(&self, ticket: &str, grant: &TicketGrant) -> Result<(), RegistryUnavailable> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline
            .cmd("SET")
            .arg(self.keys.ticket(ticket))
            .arg(json(grant))
            .arg("PX")
            .arg(millis(TICKET_TTL))
            .ignore();
        Ok(self.redis.run(&pipeline).await?)
    }

    async fn redeem_ticket(&self, ticket: &str) -> Result<Option<TicketGrant>, RegistryUnavailable> {
        let mut pipeline = Pipeline::with_capacity(1);
        // Run twice, the second finds nothing and the client gets a new ticket: better than letting in twice.
        pipeline.cmd("GETDEL").arg(self.keys.ticket(ticket));
        let (stored,): (Option<String>,) = self.redis.run(&pipeline).await?;
        Ok(stored.and_then(|grant| serde_json::from_str(&grant).ok()))
    }

    async fn ping(&self) -> Result<(), RegistryUnavailable> {
        Ok(self.redis.ping().await?)
    }

    fn connections_opened(&self) -> Option<Counter> {
        Some(self.redis.connections_opened())
    }
}

/// `named` are gateways that other entries have named: there are few, and one id for all of them will do.
fn whereabouts(entry: Option<String>, named: &mut Vec<GatewayId>) -> Whereabouts {
    let Some(entry) = entry else { return Whereabouts::default() };
    let gateways = match named.iter().find(|gateway| gateway.as_str() == entry) {
        Some(gateway) => vec![gateway.clone()],
        None => {
            let gateways: Vec<GatewayId> = parse_user_entry(&entry).collect();
            if let ([gateway], true) = (&gateways[..], named.len() < MAX_NAMED) {
                named.push(gateway.clone());
            }
            gateways
        }
    };
    Whereabouts { gateways, is_expected_back: entry.is_empty() }
}

/// Leases and grants are strings, numbers and flags: writing them cannot fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

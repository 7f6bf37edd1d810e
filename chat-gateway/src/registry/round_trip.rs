//! The registry's conversations with Redis: one pipeline each.

use deadpool_redis::redis::Pipeline;
use shared_runtime::redis::{Redis, RedisUnavailable};
use shared_types::registry_keys::{
    CLAIM_SCRIPT, LEASE_TTL, Lease, RELEASE_SCRIPT, RegistryKeys, USER_ENTRY_TTL,
};
use shared_types::{GatewayId, UserId};

/// What is to become of a user's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Claim,
    Release,
}

/// Writes for one gateway. Everything here may run twice and means the same.
pub(super) struct RoundTrips {
    pub(super) redis: Redis,
    pub(super) keys: RegistryKeys,
    pub(super) gateway_id: GatewayId,
}

impl RoundTrips {
    /// Renews the lease. Says whether it was still there: if not, Redis has lost what it held of us.
    pub(super) async fn renew(&self, lease: &Lease) -> Result<bool, RedisUnavailable> {
        let key = self.keys.lease(&self.gateway_id);
        // A lease is strings, a number and a flag: writing it cannot fail.
        let value = serde_json::to_string(lease).unwrap_or_default();
        let mut pipeline = Pipeline::with_capacity(3);
        // Atomic: emptied between the question and the renewal, Redis would seem to have lost nothing.
        pipeline.atomic();
        pipeline.cmd("EXISTS").arg(&key);
        pipeline.cmd("SET").arg(&key).arg(value).arg("PX").arg(millis(LEASE_TTL)).ignore();
        pipeline.cmd("SADD").arg(self.keys.gateways()).arg(self.gateway_id.as_str()).ignore();
        let (existed,): (bool,) = self.redis.run(&pipeline).await?;
        Ok(existed)
    }

    /// Takes the lease back: nobody looks here from now on.
    pub(super) async fn resign(&self) -> Result<(), RedisUnavailable> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("DEL").arg(self.keys.lease(&self.gateway_id)).ignore();
        pipeline.cmd("SREM").arg(self.keys.gateways()).arg(self.gateway_id.as_str()).ignore();
        self.redis.run(&pipeline).await
    }

    /// Claims and releases, each by compare-and-set in Redis itself.
    pub(super) async fn settle(&self, intents: &[(UserId, Intent)]) -> Result<(), RedisUnavailable> {
        let mut pipeline = Pipeline::with_capacity(intents.len());
        for (user_id, intent) in intents {
            // By their texts (half a KiB): a Redis that has restarted knows no scripts by name.
            let script = if *intent == Intent::Claim { CLAIM_SCRIPT } else { RELEASE_SCRIPT };
            pipeline.cmd("EVAL").arg(script).arg(1).arg(self.keys.user(user_id));
            pipeline.arg(self.gateway_id.as_str());
            if *intent == Intent::Claim {
                pipeline.arg(millis(USER_ENTRY_TTL));
            }
            pipeline.ignore();
        }
        self.redis.run(&pipeline).await
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

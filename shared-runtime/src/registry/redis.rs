//! The session registry in Redis: one round trip a question.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis::{RedisWrite, ToRedisArgs, Value, cmd, from_redis_value};
use futures_util::future::join;
use prometheus_client::metrics::counter::Counter;
use shared_types::registry_keys::{
    CLAIM_SCRIPT, LEASE_TTL, Lease, RELEASE_SCRIPT, RETURN_TIME, RegistryKeys, TICKET_TTL, TicketGrant,
    USER_ENTRY_TTL, parse_user_entry,
};
use shared_types::{GatewayId, UserId};

use super::{Intent, RegistryUnavailable, SessionRegistry, Whereabouts};
use crate::redis::{Redis, RedisUnavailable};

/// Entries that are known again in one answer; with more, looking for one takes as long as reading it anew.
const MAX_KNOWN: usize = 16;

pub struct RedisRegistry {
    redis: Redis,
    keys: RegistryKeys,
    /// The servers that held keys at the last renewal.
    servers: Mutex<HashSet<String>>,
}

impl RedisRegistry {
    pub fn new(redis: Redis, prefix: &str) -> Self {
        Self { redis, keys: RegistryKeys::new(prefix), servers: Mutex::default() }
    }

    /// Whether a server holds keys that did not before. It may be one that has started again, or a replica that has
    /// taken over: without the last claims, or without any.
    fn has_new_server(&self, now: Result<Vec<String>, RedisUnavailable>) -> bool {
        // Who cannot be asked is judged when it can.
        let Ok(now) = now else { return false };
        let now: HashSet<String> = now.into_iter().collect();
        let mut before = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !now.is_subset(&before);
        *before = now;
        is_new
    }

    async fn write_lease(&self, gateway: &GatewayId, lease: &Lease) -> Result<bool, RedisUnavailable> {
        let mut listed = cmd("SADD");
        listed.arg(self.keys.gateways()).arg(gateway.as_str());
        // First, and alone: the keys may lie on two servers, and what the next command finds out must not be lost because
        // this one fails.
        self.redis.run(vec![listed]).await?;
        let mut renewed = cmd("SET");
        // GET, in the same command: emptied between the question and the renewal, Redis would seem to have lost nothing.
        renewed.arg(self.keys.lease(gateway)).arg(json(lease)).arg("PX").arg(millis(LEASE_TTL)).arg("GET");
        let before = self.redis.run(vec![renewed]).await?;
        Ok(!matches!(before[..], [Value::Nil]))
    }
}

#[async_trait]
impl SessionRegistry for RedisRegistry {
    async fn whereabouts(&self, users: &[UserId]) -> Result<Vec<Whereabouts>, RegistryUnavailable> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let key = |user| UserKey { start: self.keys.users(), user };
        let entries = self.redis.values(users.iter().map(key)).await?;
        let mut known = Known::default();
        Ok(entries.iter().map(|entry| known.whereabouts(entry)).collect())
    }

    async fn leases(&self) -> Result<HashMap<GatewayId, Lease>, RegistryUnavailable> {
        let mut listed = cmd("SMEMBERS");
        listed.arg(self.keys.gateways());
        let ids = self.redis.run(vec![listed]).await?.pop().unwrap_or(Value::Nil);
        let ids = ids.into_sequence().unwrap_or_default().into_iter().filter_map(string);
        let ids: Vec<GatewayId> = ids.filter_map(|id| id.parse().ok()).collect();
        let mut live = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(live);
        }
        // They are few. Whoever counts a server's MGETs counts look-ups of recipients.
        let gets = ids.iter().map(|id| {
            let mut get = cmd("GET");
            get.arg(self.keys.lease(id));
            get
        });
        let leases = self.redis.run(gets.collect()).await?;
        let mut dead = Vec::new();
        for (id, lease) in ids.into_iter().zip(leases) {
            match string(lease).and_then(|lease| serde_json::from_str::<Lease>(&lease).ok()) {
                Some(lease) => drop(live.insert(id, lease)),
                None => dead.push(id),
            }
        }
        if !dead.is_empty() {
            // A gateway that lives adds itself again with its next renewal.
            let mut unlisted = cmd("SREM");
            unlisted.arg(self.keys.gateways());
            for id in &dead {
                unlisted.arg(id.as_str());
            }
            self.redis.run(vec![unlisted]).await?;
        }
        Ok(live)
    }

    async fn renew(&self, gateway: &GatewayId, lease: &Lease) -> Result<bool, RegistryUnavailable> {
        let (existed, servers) = join(self.write_lease(gateway, lease), self.redis.servers()).await;
        let existed = existed?;
        Ok(!self.has_new_server(servers) && existed)
    }

    async fn resign(&self, gateway: &GatewayId) -> Result<(), RegistryUnavailable> {
        let (mut lease, mut listed) = (cmd("DEL"), cmd("SREM"));
        lease.arg(self.keys.lease(gateway));
        listed.arg(self.keys.gateways()).arg(gateway.as_str());
        self.redis.run(vec![lease, listed]).await?;
        Ok(())
    }

    async fn settle(
        &self,
        gateway: &GatewayId,
        intents: &[(UserId, Intent)],
    ) -> Result<(), RegistryUnavailable> {
        let settled = intents.iter().map(|(user_id, intent)| {
            // By their texts (half a KiB): a Redis that has restarted knows no scripts by name.
            let (script, ttl) = match intent {
                Intent::Claim => (CLAIM_SCRIPT, USER_ENTRY_TTL),
                Intent::Release { expected_back: true } => (RELEASE_SCRIPT, RETURN_TIME),
                Intent::Release { expected_back: false } => (RELEASE_SCRIPT, Duration::ZERO),
            };
            let mut settled = cmd("EVAL");
            settled.arg(script).arg(1).arg(self.keys.user(user_id)).arg(gateway.as_str()).arg(millis(ttl));
            settled
        });
        self.redis.run(settled.collect()).await?;
        Ok(())
    }

    async fn issue_ticket(&self, ticket: &str, grant: &TicketGrant) -> Result<(), RegistryUnavailable> {
        let mut issued = cmd("SET");
        issued.arg(self.keys.ticket(ticket)).arg(json(grant)).arg("PX").arg(millis(TICKET_TTL));
        self.redis.run(vec![issued]).await?;
        Ok(())
    }

    async fn redeem_ticket(&self, ticket: &str) -> Result<Option<TicketGrant>, RegistryUnavailable> {
        // Run twice, the second finds nothing and the client gets a new ticket: better than letting in twice.
        let mut taken = cmd("GETDEL");
        taken.arg(self.keys.ticket(ticket));
        let stored = self.redis.run(vec![taken]).await?.pop().and_then(string);
        Ok(stored.and_then(|grant| serde_json::from_str(&grant).ok()))
    }

    async fn ping(&self) -> Result<(), RegistryUnavailable> {
        Ok(self.redis.ping().await?)
    }

    fn connections_opened(&self) -> Option<Counter> {
        Some(self.redis.connections_opened())
    }
}

/// What lies at a key, if there is anything and it is text.
fn string(value: Value) -> Option<String> {
    from_redis_value(value).ok().flatten()
}

/// The key of a user's entry, written where it goes.
struct UserKey<'a> {
    start: &'a str,
    user: &'a UserId,
}

impl ToRedisArgs for UserKey<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        // Into memory, which does not fail.
        let _written = argument.write_all(self.start.as_bytes());
        let _written = argument.write_all(self.user.as_str().as_bytes());
    }
}

/// Entries of other users that have been read: gateways are few, so most entries say the same.
#[derive(Default)]
struct Known<'a>(Vec<(&'a [u8], Arc<[GatewayId]>)>);

impl<'a> Known<'a> {
    fn whereabouts(&mut self, entry: &'a Value) -> Whereabouts {
        let Value::BulkString(entry) = entry else { return Whereabouts::default() };
        let known = self.0.iter().find(|(known, _)| known == entry);
        let gateways = known.map(|(_, gateways)| gateways.clone()).unwrap_or_else(|| {
            let gateways: Arc<[GatewayId]> =
                std::str::from_utf8(entry).map(parse_user_entry).into_iter().flatten().collect();
            if self.0.len() < MAX_KNOWN {
                self.0.push((entry, gateways.clone()));
            }
            gateways
        });
        Whereabouts { gateways, is_expected_back: entry.is_empty() }
    }
}

/// Leases and grants are strings, numbers and flags: writing them cannot fail.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The session registry as an api-server sees it: where users are, and which gateways live.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use deadpool_redis::redis::Pipeline;
use shared_runtime::redis::{Redis, RedisUnavailable};
use shared_types::registry_keys::{Lease, RegistryKeys, TICKET_TTL, TicketGrant, parse_user_entry};
use shared_types::{GatewayId, UserId};
use tokio_util::sync::CancellationToken;

use super::fanout::Locations;
use crate::metrics::Metrics;

/// How old the table of leases may grow. A lease itself ends after 10 s.
const REFRESH: Duration = Duration::from_secs(1);
/// Keys of one MGET; more go into the same round trip as further commands.
const KEYS_PER_COMMAND: usize = 10_000;

/// Where users are and which gateways live.
pub struct Registry {
    redis: Redis,
    keys: RegistryKeys,
    leases: RwLock<Arc<Leases>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Leases {
    live: HashMap<GatewayId, Gateway>,
    read_at: Option<Instant>,
}

struct Gateway {
    lease: Lease,
    /// Clients sent there since the lease was read: its own count does not know them yet.
    sent_there: AtomicU64,
}

impl Registry {
    pub fn new(redis: Redis, prefix: &str, metrics: Metrics) -> Self {
        Self { redis, keys: RegistryKeys::new(prefix), leases: RwLock::default(), metrics }
    }

    /// Reads the leases every second until `stopping`.
    pub async fn keep_leases_fresh(self: Arc<Self>, stopping: CancellationToken) {
        let mut tick = tokio::time::interval(REFRESH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = tick.tick() => {}
            }
            // Whoever needs an answer asks for itself and reports the failure; here the next tick tries again.
            let _failed = self.refresh().await;
        }
    }

    /// The live gateways of each user, in one round trip; users without any are left out.
    pub(super) async fn locate(&self, users: &[UserId]) -> Result<Locations, RedisUnavailable> {
        if users.is_empty() {
            return Ok(Locations::new());
        }
        let mut pipeline = Pipeline::new();
        for chunk in users.chunks(KEYS_PER_COMMAND) {
            pipeline.cmd("MGET").arg(chunk.iter().map(|user| self.keys.user(user)).collect::<Vec<_>>());
        }
        let entries: Vec<Vec<Option<String>>> = self.counted(self.redis.run(&pipeline).await)?;
        let named: Vec<(&UserId, Vec<GatewayId>)> = users
            .iter()
            .zip(entries.into_iter().flatten())
            .filter_map(|(user, entry)| Some((user, parse_user_entry(&entry?).collect())))
            .collect();
        let mut leases = self.leases();
        // A gateway that started within the last second is not in the table. Ids of dead ones are looked for again
        // only after the table's next reading.
        let is_unknown = |id: &GatewayId| !leases.live.contains_key(id);
        if named.iter().flat_map(|(_, gateways)| gateways).any(is_unknown)
            && leases.read_at.is_none_or(|at| at.elapsed() > REFRESH / 20)
        {
            self.refresh().await?;
            leases = self.leases();
        }
        Ok(named
            .into_iter()
            .filter_map(|(user, mut gateways)| {
                gateways.retain(|id| leases.live.contains_key(id));
                (!gateways.is_empty()).then(|| (user.clone(), gateways))
            })
            .collect())
    }

    /// The internal URL of a gateway; `None` once its lease has ended.
    pub(super) fn url_of(&self, gateway: &GatewayId) -> Option<String> {
        self.leases().live.get(gateway).map(|gateway| gateway.lease.url.clone())
    }

    /// The gateway that a client should connect to: live, not draining, least loaded.
    pub async fn choose_gateway(&self) -> Result<Option<(GatewayId, String)>, RedisUnavailable> {
        self.refresh().await?;
        let leases = self.leases();
        let load = |gateway: &Gateway| gateway.lease.sessions + gateway.sent_there.load(Ordering::Relaxed);
        let chosen = leases
            .live
            .iter()
            .filter(|(_, gateway)| !gateway.lease.is_draining)
            .min_by_key(|(id, gateway)| (load(gateway), (*id).clone()));
        Ok(chosen.map(|(id, gateway)| {
            gateway.sent_there.fetch_add(1, Ordering::Relaxed);
            (id.clone(), gateway.lease.public_url.clone())
        }))
    }

    /// Keeps what a ticket grants until it is used or ends.
    pub async fn issue_ticket(&self, ticket: &str, grant: &TicketGrant) -> Result<(), RedisUnavailable> {
        let grant = serde_json::to_string(grant).unwrap_or_default();
        let mut pipeline = Pipeline::new();
        let ttl_ms = u64::try_from(TICKET_TTL.as_millis()).unwrap_or(u64::MAX);
        pipeline.cmd("SET").arg(self.keys.ticket(ticket)).arg(grant).arg("PX").arg(ttl_ms).ignore();
        self.redis.run(&pipeline).await
    }

    pub async fn ping(&self) -> Result<(), RedisUnavailable> {
        self.redis.ping().await
    }

    /// Reads every lease, and forgets the ids of gateways that have none.
    async fn refresh(&self) -> Result<(), RedisUnavailable> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SMEMBERS").arg(self.keys.gateways());
        let (ids,): (Vec<String>,) = self.counted(self.redis.run(&pipeline).await)?;
        let ids: Vec<GatewayId> = ids.into_iter().filter_map(|id| id.parse().ok()).collect();
        let mut live = HashMap::with_capacity(ids.len());
        if !ids.is_empty() {
            let mut pipeline = Pipeline::with_capacity(ids.len());
            for id in &ids {
                pipeline.cmd("GET").arg(self.keys.lease(id));
            }
            let leases: Vec<Option<String>> = self.counted(self.redis.run(&pipeline).await)?;
            let mut dead = Pipeline::new();
            for (id, lease) in ids.into_iter().zip(leases) {
                match lease.and_then(|lease| serde_json::from_str::<Lease>(&lease).ok()) {
                    Some(lease) => drop(live.insert(id, lease)),
                    // A gateway that lives adds itself again with its next renewal.
                    None => drop(dead.cmd("SREM").arg(self.keys.gateways()).arg(id.as_str()).ignore()),
                }
            }
            if !dead.is_empty() {
                self.counted(self.redis.run::<()>(&dead).await)?;
            }
        }
        self.replace(live);
        Ok(())
    }

    fn replace(&self, leases: HashMap<GatewayId, Lease>) {
        let before = self.leases();
        let live = leases
            .into_iter()
            .map(|(id, lease)| {
                // Until the gateway has counted its sessions anew, those sent there are not among them.
                let sent_there = before
                    .live
                    .get(&id)
                    .filter(|known| known.lease == lease)
                    .map_or(0, |known| known.sent_there.load(Ordering::Relaxed));
                (id, Gateway { lease, sent_there: AtomicU64::new(sent_there) })
            })
            .collect();
        *self.leases.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Leases { live, read_at: Some(Instant::now()) });
    }

    fn leases(&self) -> Arc<Leases> {
        self.leases.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counted<T>(&self, answer: Result<T, RedisUnavailable>) -> Result<T, RedisUnavailable> {
        answer.inspect_err(|_| {
            self.metrics.registry_failures.inc();
        })
    }
}

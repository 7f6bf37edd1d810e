//! The session registry as an api-server sees it: where users are, and which gateways live.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use shared_runtime::registry::{RegistryUnavailable, SessionRegistry, Whereabouts};
use shared_types::registry_keys::{Lease, RETURN_TIME, TicketGrant};
use shared_types::{GatewayId, UserId};
use tokio_util::sync::CancellationToken;

use super::fanout::{Hasher, Locations, Place};
use crate::metrics::Metrics;

/// How old the table of leases may grow. A lease itself ends after 10 s.
const REFRESH: Duration = Duration::from_secs(1);

/// Where users are and which gateways live.
pub struct Registry {
    sessions: Arc<dyn SessionRegistry>,
    leases: RwLock<Arc<Leases>>,
    /// When it last gave no answer. It may have come back empty, and gateways need some seconds to tell it again whom
    /// they have.
    failed_at: Mutex<Option<Instant>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Leases {
    live: HashMap<GatewayId, Gateway, Hasher>,
    /// Looked for and not found: until the table's next reading nobody asks again. As many as gateways have died
    /// whose sessions' entries are still there.
    dead: Mutex<HashSet<GatewayId>>,
}

impl Leases {
    fn is_unknown(&self, id: &GatewayId) -> bool {
        !self.live.contains_key(id) && !self.dead().contains(id)
    }

    fn note_dead<'a>(&self, ids: impl Iterator<Item = &'a GatewayId>) {
        let ids: Vec<GatewayId> = ids.cloned().collect();
        self.dead().extend(ids);
    }

    fn dead(&self) -> MutexGuard<'_, HashSet<GatewayId>> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Gateway {
    lease: Lease,
    /// Clients sent there since the lease was read: its own count does not know them yet.
    sent_there: AtomicU64,
}

impl Registry {
    pub fn new(sessions: Arc<dyn SessionRegistry>, metrics: Metrics) -> Self {
        Self { sessions, leases: RwLock::default(), failed_at: Mutex::default(), metrics }
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

    /// Where each user is, in one round trip: on which live gateways, or expected back. Who is neither is left out.
    pub(super) async fn locate(&self, users: &[UserId]) -> Result<Locations, RegistryUnavailable> {
        if users.is_empty() {
            return Ok(Locations::default());
        }
        let asked_at = Instant::now();
        let whereabouts = self.counted(self.sessions.whereabouts(users).await)?;
        self.metrics.registry_lookup_duration.observe(asked_at.elapsed().as_secs_f64());
        let mut leases = self.leases();
        // A gateway that started a moment ago is not in the table.
        if whereabouts.iter().flat_map(|user| &user.gateways[..]).any(|id| leases.is_unknown(id)) {
            self.refresh().await?;
            leases = self.leases();
            let unknown =
                whereabouts.iter().flat_map(|user| &user.gateways[..]).filter(|id| leases.is_unknown(id));
            leases.note_dead(unknown);
        }
        let is_unsure = self.failed_just_now();
        let is_live = |id: &GatewayId| leases.live.contains_key(id);
        let places = whereabouts.into_iter().map(|Whereabouts { mut gateways, is_expected_back }| {
            if !gateways.iter().all(is_live) {
                gateways = gateways.iter().filter(|id| is_live(id)).cloned().collect();
            }
            match (gateways.is_empty(), is_expected_back || is_unsure) {
                (false, _) => Some(Place::Gateways(gateways)),
                (true, true) => Some(Place::ExpectedBack),
                (true, false) => None,
            }
        });
        Ok(users.iter().zip(places).filter_map(|(user, place)| Some((user.clone(), place?))).collect())
    }

    /// The internal URL of a gateway; `None` once its lease has ended.
    pub(super) fn url_of(&self, gateway: &GatewayId) -> Option<String> {
        self.leases().live.get(gateway).map(|gateway| gateway.lease.url.clone())
    }

    /// The gateway that a client should connect to: live, not draining, least loaded.
    pub async fn choose_gateway(&self) -> Result<Option<(GatewayId, String)>, RegistryUnavailable> {
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

    /// The internal URL of every live gateway.
    pub async fn live_urls(&self) -> Result<Vec<(GatewayId, String)>, RegistryUnavailable> {
        self.refresh().await?;
        let leases = self.leases();
        Ok(leases.live.iter().map(|(id, gateway)| (id.clone(), gateway.lease.url.clone())).collect())
    }

    /// Keeps what a ticket grants until it is used or ends.
    pub async fn issue_ticket(&self, ticket: &str, grant: &TicketGrant) -> Result<(), RegistryUnavailable> {
        self.sessions.issue_ticket(ticket, grant).await
    }

    pub async fn ping(&self) -> Result<(), RegistryUnavailable> {
        self.sessions.ping().await
    }

    /// Reads every lease.
    async fn refresh(&self) -> Result<(), RegistryUnavailable> {
        let live = self.counted(self.sessions.leases().await)?;
        self.replace(live);
        Ok(())
    }

    fn replace(&self, leases: HashMap<GatewayId, Lease>) {
        self.metrics.live_gateways.set(i64::try_from(leases.len()).unwrap_or(i64::MAX));
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
            Arc::new(Leases { live, dead: Mutex::default() });
    }

    fn leases(&self) -> Arc<Leases> {
        self.leases.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counted<T>(&self, answer: Result<T, RegistryUnavailable>) -> Result<T, RegistryUnavailable> {
        answer.inspect_err(|_| {
            self.metrics.registry_failures.inc();
            *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        })
    }

    fn failed_just_now(&self) -> bool {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|at| at.elapsed() < RETURN_TIME)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry as MetricsRegistry;
    use shared_runtime::registry::{InProcessRegistry, Intent};

    use super::*;

    fn lease() -> Lease {
        Lease { url: "http://g".into(), public_url: "ws://g/ws".into(), sessions: 0, is_draining: false }
    }

    #[tokio::test]
    async fn a_gateway_newer_than_the_table_is_found_and_a_dead_one_is_asked_for_once() {
        let sessions = Arc::new(InProcessRegistry::default());
        let metrics = Metrics::register(&mut MetricsRegistry::default());
        let registry = Registry::new(sessions.clone(), metrics);
        let (new, dead) = (GatewayId::generate(), GatewayId::generate());
        let (alice, bob): (UserId, UserId) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        registry.refresh().await.unwrap();
        sessions.settle(&dead, &[(bob.clone(), Intent::Claim)]).await.unwrap();
        assert!(registry.locate(std::slice::from_ref(&bob)).await.unwrap().is_empty());
        let table = registry.leases();

        sessions.renew(&new, &lease()).await.unwrap();
        sessions.settle(&new, &[(alice.clone(), Intent::Claim)]).await.unwrap();

        assert!(registry.locate(std::slice::from_ref(&bob)).await.unwrap().is_empty());
        assert!(Arc::ptr_eq(&table, &registry.leases()), "nobody asks for a dead gateway again");
        assert!(registry.locate(std::slice::from_ref(&alice)).await.unwrap().contains_key(&alice));
    }
}

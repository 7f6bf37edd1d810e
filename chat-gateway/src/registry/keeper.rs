//! The one task that writes to the registry for this gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared_runtime::registry::{Intent, RegistryUnavailable, SessionRegistry};
use shared_types::registry_keys::{LEASE_RENEWAL, LEASE_TTL, Lease, USER_ENTRY_RENEWAL};
use shared_types::{GatewayId, UserId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};
use url::Url;

use super::{Claim, ClaimError, Shared};
use crate::jitter::jitter;
use crate::metrics::Metrics;
use crate::session::hub::Hub;

/// Users in one pipeline: enough that a round trip's latency vanishes, few enough that Redis serves others between.
const MAX_BATCH: usize = 500;
/// While Redis is away it is asked this often, more or less; it must have its sessions back within 5 s of its return.
const RETRY: Duration = Duration::from_secs(1);
/// What a stopping gateway spends on leaving Redis tidy. What it does not get done ends with its lease.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);

/// Api-servers read the leases once a second: so long after its claims everyone is found again for sure.
const FOUND_AGAIN: Duration = Duration::from_millis(1_500);
/// Sessions that look into the log together; the next ones a moment later, so that the api-servers keep up.
const CATCH_UP_GROUP: usize = 500;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(250);

/// What the keeper says of this gateway, and where.
pub(crate) struct Setup {
    pub(crate) registry: Arc<dyn SessionRegistry>,
    pub(crate) gateway_id: GatewayId,
    pub(crate) advertise_url: Url,
    pub(crate) public_url: Url,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    claims: mpsc::Receiver<Claim>,
    registry: Arc<dyn SessionRegistry>,
    gateway_id: GatewayId,
    lease: Lease,
    metrics: Arc<Metrics>,
    renew_at: Instant,
    claim_all_at: Instant,
    /// Nothing is tried before this, after something failed.
    retry_at: Option<Instant>,
    is_failing: bool,
    /// How many more times everyone is claimed anew, at a renewal each.
    claim_all_rounds: u8,
    /// Nobody found this gateway for a while: when everyone is claimed again, its sessions look what they missed.
    was_lost: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, claims: mpsc::Receiver<Claim>, setup: Setup) -> Self {
        let Setup { registry, gateway_id, advertise_url, public_url, metrics } = setup;
        let now = Instant::now();
        Self {
            shared,
            claims,
            registry,
            gateway_id,
            lease: Lease {
                url: String::from(advertise_url).trim_end_matches('/').to_owned(),
                public_url: public_url.into(),
                sessions: 0,
                is_draining: false,
            },
            metrics,
            renew_at: now,
            claim_all_at: now + USER_ENTRY_RENEWAL,
            retry_at: None,
            is_failing: false,
            claim_all_rounds: 0,
            was_lost: false,
        }
    }

    /// The first renewal, so that a gateway that has started is known. Without Redis it starts and is not ready.
    pub(crate) async fn begin(&mut self) {
        self.renew().await;
    }

    /// Keeps the registry until it is told to retire.
    pub(crate) async fn run(mut self) {
        let retire = self.shared.retire.clone();
        while !retire.is_cancelled() {
            let now = Instant::now();
            if self.retry_at.is_some_and(|retry_at| now < retry_at) {
                self.refuse_until_retry(&retire).await;
                continue;
            }
            // The lease comes first: all sessions depend on it, a claim is one.
            let is_draining = self.shared.is_draining.load(Ordering::Relaxed);
            if now >= self.renew_at || is_draining != self.lease.is_draining {
                self.renew().await;
                continue;
            }
            let mut waiting = Vec::new();
            while waiting.len() < MAX_BATCH
                && let Ok(claim) = self.claims.try_recv()
            {
                waiting.push(claim);
            }
            let unsettled = self.shared.take_unsettled(MAX_BATCH - waiting.len());
            if waiting.is_empty() && unsettled.is_empty() {
                if std::mem::take(&mut self.was_lost) {
                    tokio::spawn(catch_up(self.shared.hub.clone()));
                }
                let wake = self.shared.wake.notified();
                tokio::select! {
                    Some(claim) = self.claims.recv() => waiting.push(claim),
                    () = wake => continue,
                    () = sleep_until(self.renew_at) => continue,
                    () = retire.cancelled() => break,
                }
            }
            self.settle(waiting, unsettled).await;
        }
        self.farewell().await;
    }

    async fn renew(&mut self) {
        self.lease.sessions = self.shared.hub.session_count() as u64;
        self.lease.is_draining = self.shared.is_draining.load(Ordering::Relaxed);
        let asked_at = Instant::now();
        match self.registry.renew(&self.gateway_id, &self.lease).await {
            Ok(existed) => {
                let held = self.hold_until(asked_at + LEASE_TTL);
                if held.is_some() && !existed {
                    warn!(
                        gatewayId = %self.gateway_id,
                        "the registry has lost the lease, or one of its servers is new; claiming every user again"
                    );
                    self.claim_all_rounds = self.claim_all_rounds.max(1);
                    self.was_lost = true;
                }
                if std::mem::take(&mut self.is_failing) {
                    info!(gatewayId = %self.gateway_id, "the registry answers again");
                }
                let is_hour_over = asked_at >= self.claim_all_at;
                if self.claim_all_rounds > 0 || is_hour_over {
                    self.claim_all_rounds = self.claim_all_rounds.saturating_sub(1);
                    self.claim_all_at = asked_at + USER_ENTRY_RENEWAL;
                    self.shared.unsettle(self.shared.hub.users());
                }
                // A little early rather than late, so that gateways that started together do not come together.
                self.renew_at = asked_at + LEASE_RENEWAL - jitter(LEASE_RENEWAL / 10);
            }
            Err(error) => self.failed(&error, "cannot renew the lease"),
        }
    }

    /// Makes the entries of these users say what the hub says now.
    async fn settle(&mut self, waiting: Vec<Claim>, unsettled: Vec<(UserId, bool)>) {
        // Whoever asked for a claim and has gone was let down, and will come again.
        let mut users: HashMap<UserId, bool> =
            waiting.iter().map(|claim| (claim.user_id.clone(), true)).collect();
        users.extend(unsettled);
        let intent = |(user_id, expected_back)| {
            let is_here = self.shared.hub.has(&user_id);
            (user_id, if is_here { Intent::Claim } else { Intent::Release { expected_back } })
        };
        let intents: Vec<(UserId, Intent)> = users.into_iter().map(intent).collect();
        let verdict = self.registry.settle(&self.gateway_id, &intents).await.map_err(Arc::new);
        if let Err(error) = &verdict {
            self.failed(error, "cannot claim or release users");
            // Nobody knows what Redis has seen of it, so all of it is looked at again.
            self.shared.unsettle_again(intents);
        }
        for claim in waiting {
            // Whoever asked may have gone; leaving the hub has unsettled the user again.
            let _ = claim.done.send(verdict.clone().map_err(ClaimError::Unavailable));
        }
    }

    /// Until Redis is tried again nobody is kept waiting for it.
    async fn refuse_until_retry(&mut self, retire: &tokio_util::sync::CancellationToken) {
        let Some(retry_at) = self.retry_at else { return };
        tokio::select! {
            () = sleep_until(retry_at) => self.retry_at = None,
            Some(claim) = self.claims.recv() => {
                let _ = claim.done.send(Err(ClaimError::NoLease));
            }
            () = retire.cancelled() => {}
        }
    }

    fn failed(&mut self, error: &RegistryUnavailable, what: &str) {
        self.metrics.registry_failures.inc();
        // One line when it begins; the metric tells how long it lasts.
        if !self.is_failing {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            warn!(gatewayId = %self.gateway_id, %error, cause, "{what}");
        }
        self.is_failing = true;
        // Twice: what was on its way when Redis stopped answering may arrive after the first round, late and out
        // of order; the second, a renewal later, has the last word.
        self.claim_all_rounds = 2;
        self.renew_at = Instant::now();
        self.retry_at = Some(Instant::now() + RETRY / 2 + jitter(RETRY / 2));
    }

    fn hold_until(&self, until: Instant) -> Option<Instant> {
        self.shared.lease_until.lock().unwrap_or_else(PoisonError::into_inner).replace(until)
    }

    /// Releases everyone and gives up the lease, so that nobody has to wait for its end.
    async fn farewell(mut self) {
        self.claims.close();
        // Sessions that could not be closed in time are no reason to stay listed.
        for user_id in self.shared.hub.users() {
            self.shared.release(user_id, true);
        }
        let farewell = async {
            loop {
                let users = self.shared.take_unsettled(MAX_BATCH);
                if users.is_empty() {
                    break;
                }
                let release = |(user_id, expected_back)| (user_id, Intent::Release { expected_back });
                let intents: Vec<_> = users.into_iter().map(release).collect();
                self.registry.settle(&self.gateway_id, &intents).await?;
            }
            self.registry.resign(&self.gateway_id).await
        };
        match timeout(FAREWELL_LIMIT, farewell).await {
            Ok(Ok(())) => info!(gatewayId = %self.gateway_id, "left the registry"),
            Ok(Err(error)) => {
                warn!(gatewayId = %self.gateway_id, %error, "cannot leave the registry; the lease ends by itself");
            }
            Err(_) => {
                warn!(gatewayId = %self.gateway_id, "cannot leave the registry in time; the lease ends by itself");
            }
        }
    }
}

/// Has every session look into the log for what was sent while nobody found it.
async fn catch_up(hub: Arc<Hub>) {
    sleep(FOUND_AGAIN).await;
    for group in hub.sessions().chunks(CATCH_UP_GROUP) {
        for session in group {
            session.mailbox.catch_up();
        }
        sleep(CATCH_UP_PAUSE).await;
    }
}

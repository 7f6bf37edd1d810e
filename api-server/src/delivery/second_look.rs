//! Whoever a gateway reports absent is looked up again before a push is made: connect and send race each other.

use std::collections::HashMap;
use std::sync::Arc;

use shared_types::{GatewayId, UserId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fanout::{Locations, Shipment, plan};
use super::gateway_client::Lanes;
use super::outgoing::Outgoing;
use super::registry::Registry;
use crate::push::queue::PushQueue;
use crate::retry::until_done;

/// Reports that may wait. A lane whose report finds no room waits with its next request, and no one else does.
pub(super) const QUEUE: usize = 1_024;
/// Reports that share one look-up.
const MAX_REPORTS: usize = 256;

/// Recipients of one entry that were not where they were thought to be.
pub(super) struct Missing {
    pub(super) outgoing: Outgoing,
    /// Each with the gateways that were tried.
    pub(super) users: Vec<(UserId, Vec<GatewayId>)>,
    pub(super) is_second_try: bool,
}

pub(super) async fn run(
    mut reports: mpsc::Receiver<Missing>,
    registry: Arc<Registry>,
    lanes: Lanes,
    pushes: PushQueue,
    stopping: CancellationToken,
) {
    let mut batch = Vec::with_capacity(MAX_REPORTS);
    loop {
        let taken = tokio::select! {
            () = stopping.cancelled() => return,
            taken = reports.recv_many(&mut batch, MAX_REPORTS) => taken,
        };
        if taken == 0 {
            return;
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = look(std::mem::take(&mut batch), &registry, &lanes, &pushes) => {}
        }
    }
}

async fn look(batch: Vec<Missing>, registry: &Registry, lanes: &Lanes, pushes: &PushQueue) {
    let (again, nowhere): (Vec<_>, Vec<_>) = batch.into_iter().partition(|missing| !missing.is_second_try);
    for missing in nowhere {
        let users = missing.users.into_iter().map(|(user, _)| user).collect();
        pushes.enqueue(&missing.outgoing, users).await;
    }
    let mut users: Vec<UserId> =
        again.iter().flat_map(|missing| missing.users.iter().map(|(user, _)| user.clone())).collect();
    users.sort_unstable();
    users.dedup();
    let locations = until_done("locations", || registry.locate(&users)).await;
    for missing in again {
        // A place that was tried and where nobody was is not tried again.
        let elsewhere: Locations = missing
            .users
            .iter()
            .filter_map(|(user, tried)| {
                let gateways: Vec<GatewayId> =
                    locations.get(user)?.iter().filter(|gateway| !tried.contains(gateway)).cloned().collect();
                (!gateways.is_empty()).then(|| (user.clone(), gateways))
            })
            .collect::<HashMap<_, _>>();
        let plan = plan(&missing.outgoing, missing.users.iter().map(|(user, _)| user), &elsewhere);
        for (gateway, recipients) in plan.gateways {
            let shipment = Shipment { outgoing: missing.outgoing.clone(), recipients, is_second_try: true };
            let refused = lanes.enqueue(&gateway, shipment);
            pushes.enqueue(&missing.outgoing, refused.into_iter().map(|(user, _)| user).collect()).await;
        }
        pushes.enqueue(&missing.outgoing, plan.offline).await;
    }
}

//! The hot paths alone, for the micro-benchmarks of `bench`. Nothing else may use this.

use shared_types::{Entry, GatewayId, UserId};

use super::backlog::Backlog;
use super::fanout::{Locations, Place, plan};
use super::outgoing::Outgoing;
use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// An entry whose recipients are about to be grouped.
pub struct FanOut {
    outgoing: Outgoing,
    recipients: Vec<UserId>,
    locations: Locations,
}

impl FanOut {
    /// Each recipient is on one of the gateways, in turn; without gateways nobody is anywhere.
    pub fn new(entry: &Entry, recipients: Vec<UserId>, gateways: &[GatewayId]) -> Option<Self> {
        let outbox = Outbox::default();
        let row = outbox.guard(outbox.begin());
        let ticket = Backlog::new(1, Metrics::register(&mut Default::default())).enter(0);
        let json = serde_json::to_vec(entry).ok()?.into();
        let outgoing = Outgoing::new(entry, json, 1, row, ticket, None);
        let places = recipients.iter().cloned().zip(gateways.iter().cycle());
        let locations = places.map(|(user, gateway)| (user, Place::Gateways([gateway.clone()].into())));
        Some(Self { outgoing, locations: locations.collect(), recipients })
    }

    /// Gateways to call and recipients to push to.
    pub fn plan(&self) -> (usize, usize) {
        let plan = plan(&self.outgoing, self.recipients.iter(), &self.locations);
        (plan.gateways.len(), plan.offline.len())
    }
}

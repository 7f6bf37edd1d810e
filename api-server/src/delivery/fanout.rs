//! Who gets an entry where: a pure plan from participants and locations.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use shared_types::{GatewayId, UserId};

use super::outgoing::Outgoing;

/// Where a user is, as the registry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// On these, one at least. Shared by all who are on the same.
    Gateways(Arc<[GatewayId]>),
    /// Nowhere, but was just now.
    ExpectedBack,
}

/// Keyed by the process, so that nobody can choose ids that collide; and several times as fast as the standard one, which
/// counts where every recipient of every entry is looked up a few times.
pub(super) type Hasher = foldhash::fast::RandomState;

/// Who is not among them is offline.
pub(super) type Locations = HashMap<UserId, Place, Hasher>;

pub(super) type ByGateway = HashMap<GatewayId, Vec<UserId>, Hasher>;

/// Something for some recipients on one gateway.
pub(super) struct Shipment {
    pub(super) content: Content,
    pub(super) recipients: Vec<UserId>,
    /// After the second try there is no third.
    pub(super) is_second_try: bool,
    /// When it was put into its lane.
    pub(super) since: std::time::Instant,
}

pub(super) enum Content {
    Entry(Outgoing),
    /// Nobody misses it when it does not arrive.
    Ephemeral(Bytes),
}

impl Shipment {
    pub(super) fn json(&self) -> &[u8] {
        match &self.content {
            Content::Entry(outgoing) => outgoing.json(),
            Content::Ephemeral(frame) => frame,
        }
    }

    /// About what it takes in a request's body.
    pub(super) fn bytes(&self) -> usize {
        // A user id takes at most 64 bytes, quotes and comma; the names around them 30.
        self.json().len() + self.recipients.len() * 67 + 30
    }
}

/// What one entry needs.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) gateways: ByGateway,
    pub(super) expected_back: Vec<UserId>,
    pub(super) offline: Vec<UserId>,
}

/// Groups the recipients by gateway. The sender's own devices get the entry too.
pub(super) fn plan<'a>(
    outgoing: &Outgoing,
    recipients: impl Iterator<Item = &'a UserId>,
    locations: &Locations,
) -> Plan {
    let mut plan = Plan::default();
    for user in recipients {
        match locations.get(user) {
            None => plan.offline.push(user.clone()),
            Some(Place::ExpectedBack) => plan.expected_back.push(user.clone()),
            Some(Place::Gateways(gateways)) => {
                if gateways.len() > 1 {
                    outgoing.expect_several(user, gateways);
                }
                add(&mut plan.gateways, user, gateways);
            }
        }
    }
    plan
}

/// Those of the recipients who are connected, by gateway.
pub(super) fn connected<'a>(
    recipients: impl Iterator<Item = &'a UserId>,
    locations: &Locations,
) -> ByGateway {
    let mut by_gateway = ByGateway::default();
    for user in recipients {
        if let Some(Place::Gateways(gateways)) = locations.get(user) {
            add(&mut by_gateway, user, gateways);
        }
    }
    by_gateway
}

fn add(by_gateway: &mut ByGateway, user: &UserId, gateways: &[GatewayId]) {
    for gateway in gateways {
        match by_gateway.get_mut(gateway) {
            Some(recipients) => recipients.push(user.clone()),
            None => drop(by_gateway.insert(gateway.clone(), vec![user.clone()])),
        }
    }
}

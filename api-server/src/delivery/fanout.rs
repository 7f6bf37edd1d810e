//! Who gets an entry where: a pure plan from participants and locations.

use std::collections::HashMap;

use shared_types::{GatewayId, UserId};

use super::outgoing::Outgoing;

/// Where each user has sessions, as the registry says.
pub(super) type Locations = HashMap<UserId, Vec<GatewayId>>;

/// One entry for some recipients on one gateway.
pub(super) struct Shipment {
    pub(super) outgoing: Outgoing,
    pub(super) recipients: Vec<UserId>,
    /// After the second look there is no third.
    pub(super) is_second_try: bool,
}

/// What one entry needs.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) gateways: HashMap<GatewayId, Vec<UserId>>,
    pub(super) offline: Vec<UserId>,
}

/// Groups the recipients by gateway; who is on none is offline. The sender's own devices get the entry too.
pub(super) fn plan<'a>(
    outgoing: &Outgoing,
    recipients: impl Iterator<Item = &'a UserId>,
    locations: &Locations,
) -> Plan {
    let mut plan = Plan::default();
    for user in recipients {
        match locations.get(user).map_or(&[][..], Vec::as_slice) {
            [] => plan.offline.push(user.clone()),
            gateways => {
                if gateways.len() > 1 {
                    outgoing.expect_several(user, gateways);
                }
                for gateway in gateways {
                    match plan.gateways.get_mut(gateway) {
                        Some(recipients) => recipients.push(user.clone()),
                        None => drop(plan.gateways.insert(gateway.clone(), vec![user.clone()])),
                    }
                }
            }
        }
    }
    plan
}

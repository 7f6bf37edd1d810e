//! `/readyz` and `/metrics`; `/livez` is the same for both services.

use actix_web::HttpResponse;
use actix_web::web::Data;
use shared_runtime::ops::{self, Dependency};

use crate::state::Gateway;

/// Ready is: api-servers can find this gateway, and clients that connect now would stay.
pub(crate) async fn readyz(gateway: Data<Gateway>) -> HttpResponse {
    let registry = Dependency::from_result(&gateway.session_registry.ping().await);
    let lease = if gateway.registry.holds_lease() { Dependency::Up } else { Dependency::Down };
    ops::readyz(&gateway.draining, &[("registry", registry), ("lease", lease)])
}

pub(crate) async fn metrics(gateway: Data<Gateway>) -> HttpResponse {
    ops::metrics(gateway.metrics.current(&gateway.hub, gateway.registry.holds_lease()))
}

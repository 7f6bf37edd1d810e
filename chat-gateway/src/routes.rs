//! What is served on which listener.

use actix_web::web::{self, ServiceConfig};
use actix_web::{Resource, Route};
use shared_runtime::ops::livez;
use shared_types::gateway_api::DELIVER_PATH;

use crate::handlers::{connect, deliver, drain, echo, health, method_not_allowed, not_found};

/// For clients.
pub(crate) fn public(app: &mut ServiceConfig, with_echo: bool) {
    app.service(call("/ws", web::get().to(connect::connect)));
    if with_echo {
        app.service(call("/ws/echo", web::get().to(echo::echo)));
    }
    probes(app);
}

/// For api-servers and operations.
pub(crate) fn internal(app: &mut ServiceConfig) {
    app.service(call(DELIVER_PATH, web::post().to(deliver::deliver)));
    app.service(call("/drain", web::post().to(drain::drain)));
    app.service(call("/metrics", web::get().to(health::metrics)));
    probes(app);
}

fn probes(app: &mut ServiceConfig) {
    app.service(call("/livez", web::get().to(livez)));
    app.service(call("/readyz", web::get().to(health::readyz)));
    app.default_service(web::to(not_found));
}

fn call(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(method_not_allowed))
}

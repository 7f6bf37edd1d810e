//! One file per call.

pub(crate) mod connect;
pub(crate) mod deliver;
pub(crate) mod drain;
pub(crate) mod echo;
pub(crate) mod health;

use actix_web::HttpRequest;
use shared_runtime::rejection::Rejection;
use shared_types::ProblemCode;

use crate::state::Gateway;

/// Only those who know the secret between the services may make internal calls.
fn admit_internal(gateway: &Gateway, request: &HttpRequest) -> Result<(), Rejection> {
    if gateway.internal_secret.admits(request.headers()) {
        Ok(())
    } else {
        Err(Rejection::unauthorized("Internal calls need the internal secret as their bearer token."))
    }
}

pub(crate) async fn not_found() -> Result<actix_web::HttpResponse, Rejection> {
    Err(Rejection::new(ProblemCode::NotFound, "Nothing is served at this path."))
}

pub(crate) async fn method_not_allowed() -> Result<actix_web::HttpResponse, Rejection> {
    Err(Rejection::new(ProblemCode::MethodNotAllowed, "This path is served, but not by this method."))
}

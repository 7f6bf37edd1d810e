//! One file per call.

pub(crate) mod connect;
pub(crate) mod deliver;
pub(crate) mod drain;
pub(crate) mod echo;
pub(crate) mod health;
mod traced;

use shared_runtime::rejection::Rejection;
use shared_types::ProblemCode;

pub(crate) async fn not_found() -> Result<actix_web::HttpResponse, Rejection> {
    Err(Rejection::new(ProblemCode::NotFound, "Nothing is served at this path."))
}

pub(crate) async fn method_not_allowed() -> Result<actix_web::HttpResponse, Rejection> {
    Err(Rejection::new(ProblemCode::MethodNotAllowed, "This path is served, but not by this method."))
}

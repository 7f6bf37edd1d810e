//! Every request has an id: the caller's, if it sent a sane one. Errors become problem documents here.

use std::borrow::Cow;

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use shared_types::ProblemCode;
use tracing::error;

use crate::failure_lines::take_line;
use crate::rejection::Rejection;
use crate::traces::Trace;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Long enough for a UUID or a trace id with a prefix; longer ones are replaced.
const MAX_BYTES: usize = 128;

/// Middleware (`actix_web::middleware::from_fn`): gives the request its id, turns every error into a
/// problem document that carries it, and logs a server's fault once.
pub async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let request_id = sane(request.headers()).unwrap_or_else(new_id);
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = as_problem(response, request_id.to_str().unwrap_or_default());
    response.headers_mut().insert(X_REQUEST_ID, request_id);
    Ok(response)
}

/// The caller's id, if there is one and it is printable ASCII without spaces.
fn sane(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let is_sane = (1..=MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    is_sane.then(|| id.clone())
}

fn new_id() -> HeaderValue {
    let mut text = uuid::Uuid::encode_buffer();
    let id: &str = uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text);
    // Digits and hyphens are a header's value in any case.
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("none"))
}

fn as_problem(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let status = response.status();
    let is_bare_failure = (status.is_client_error() || status.is_server_error())
        && matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    let foreign;
    let rejection = match response.error() {
        Some(failure) => match failure.as_error::<Rejection>() {
            Some(rejection) => rejection,
            None => {
                foreign = from_framework(status, failure.to_string());
                &foreign
            }
        },
        // Some of the framework's parts answer with a status and nothing else.
        None if is_bare_failure => {
            foreign = from_framework(status, status.canonical_reason().unwrap_or("refused").to_owned());
            &foreign
        }
        None => return ServiceResponse::new(request, response),
    };
    // A span around every request would cost each of them as much as reading it, for the few that are logged.
    if let Some(cause) = &rejection.cause
        && let Some(left_out) = take_line()
    {
        let trace_id = request.extensions().get::<Trace>().map(|trace| trace.id().to_string());
        error!(
            requestId = request_id,
            traceId = trace_id,
            method = %request.method(),
            path = request.path(),
            code = ?rejection.code,
            error = %Causes(cause.as_ref()),
            linesLeftOut = (left_out > 0).then_some(left_out),
            "a request failed"
        );
    }
    let mut problem = rejection.to_response(request_id);
    // What middleware inside this one has set (CORS) stays.
    for (name, value) in response.headers() {
        if !problem.headers().contains_key(name) {
            problem.headers_mut().insert(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, problem)
}

/// The framework's own refusals in the contract's words.
fn from_framework(status: StatusCode, detail: String) -> Rejection {
    let code = match status.as_u16() {
        400 => ProblemCode::InvalidRequest,
        404 => ProblemCode::NotFound,
        405 => ProblemCode::MethodNotAllowed,
        413 => ProblemCode::PayloadTooLarge,
        status if status < 500 => ProblemCode::InvalidRequest,
        _ => return Rejection::internal(std::io::Error::other(detail)),
    };
    Rejection::new(code, Cow::Owned(detail))
}

/// An error and what caused it, in one line.
struct Causes<'a>(&'a (dyn std::error::Error + Send + Sync));

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

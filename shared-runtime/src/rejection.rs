//! A request that is not served: the error type of every handler, shown as a problem document.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use shared_types::problem::PROBLEM_JSON;
use shared_types::{FieldError, Problem, ProblemCode};

/// Why a request is not served. Becomes a [`Problem`] with the request's id in `request_id`'s middleware.
#[derive(Debug)]
pub struct Rejection {
    pub code: ProblemCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    /// For the log only; a body never shows it.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Rejection {
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None, cause: None }
    }

    /// 422 that names each wrong field.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!("These fields are wrong: {}.", fields.join(", "));
        Self { errors, ..Self::new(ProblemCode::InvalidRequest, detail) }
    }

    /// 422 for one field.
    pub fn invalid_field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), detail: rule.into() }])
    }

    /// 401; the reason is for people and says nothing about the key.
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::Unauthorized, detail)
    }

    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::Forbidden, detail)
    }

    /// 404, the same words for a channel that does not exist and one that the caller may not see.
    pub fn channel_not_found() -> Self {
        Self::new(ProblemCode::ChannelNotFound, "There is no such channel, or you are no participant of it.")
    }

    pub fn rate_limited(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(ProblemCode::RateLimited, "You are sending faster than this server allows.")
        }
    }

    /// 503 before anything was done: trying again is safe.
    pub fn overloaded(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(ProblemCode::Overloaded, "The server cannot take this now. Try again later.")
        }
    }

    /// 503 because something that this service needs does not answer.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Box::new(cause)), ..Self::overloaded(Duration::from_secs(1)) }
    }

    /// 500 whose body reveals nothing.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Some(Box::new(cause)),
            ..Self::new(ProblemCode::Internal, "This is our fault. The request id helps to find out why.")
        }
    }

    /// The response, with the id that its request was given.
    pub fn to_response(&self, request_id: &str) -> HttpResponse {
        let problem = Problem {
            type_uri: "about:blank".into(),
            title: self.code.title().into(),
            status: self.code.status(),
            detail: self.detail.clone().into_owned(),
            code: self.code,
            request_id: request_id.into(),
            errors: self.errors.clone(),
        };
        let mut response = HttpResponse::build(self.status_code()).json(problem);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.code == ProblemCode::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry_after) = self.retry_after {
            // Whole seconds, rounded up: a client that obeys must not come too early.
            let seconds = retry_after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(RETRY_AFTER, value);
            }
        }
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Rejection {}

impl ResponseError for Rejection {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Without a body: [`Rejection::to_response`] makes it, once the request's id is known.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

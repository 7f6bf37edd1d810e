//! RFC 9457 problem documents: the one shape of every REST error.

use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// `{type, title, status, detail, code, requestId, errors?}`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: String,
    pub status: u16,
    /// What was wrong with this request, for people.
    pub detail: String,
    pub code: ProblemCode,
    pub request_id: String,
    /// Which fields were wrong; only with `invalid_request`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One wrong field and its rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

/// Stable: clients may branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    MalformedJson,
    Unauthorized,
    Forbidden,
    NotFound,
    ChannelNotFound,
    MethodNotAllowed,
    Conflict,
    PayloadTooLarge,
    InvalidRequest,
    RateLimited,
    Internal,
    Overloaded,
}

impl ProblemCode {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedJson => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::ChannelNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::InvalidRequest => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Overloaded => 503,
        }
    }

    /// A few words that never change.
    pub const fn title(self) -> &'static str {
        match self {
            Self::MalformedJson => "The body is not valid JSON",
            Self::Unauthorized => "Authentication is required",
            Self::Forbidden => "This is not allowed",
            Self::NotFound => "There is nothing here",
            Self::ChannelNotFound => "No such channel",
            Self::MethodNotAllowed => "This method is not served here",
            Self::Conflict => "This conflicts with what is stored",
            Self::PayloadTooLarge => "The body is too large",
            Self::InvalidRequest => "The request is invalid",
            Self::RateLimited => "Too many requests",
            Self::Internal => "Something went wrong here",
            Self::Overloaded => "The service is overloaded",
        }
    }
}

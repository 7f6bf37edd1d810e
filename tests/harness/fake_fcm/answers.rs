//! What the fake can be told to do, and Google's words for it.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use serde_json::{Value, json};

/// What becomes of a push to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    Sent,
    Unregistered,
    SenderIdMismatch,
    InvalidArgument,
    /// 400 without details, as for a payload over 4,096 bytes.
    PayloadTooBig,
    /// `retry_after` as the header's text, so that dates and nonsense can be sent.
    QuotaExceeded {
        retry_after: Option<String>,
    },
    Unavailable {
        retry_after: Option<String>,
    },
    Internal,
    BadGatewayHtml,
    /// A plain 401; the access token is revoked.
    Unauthorized,
    ThirdPartyAuthError,
    PermissionDenied,
    /// 404 without FCM's own code, as for a project that does not exist.
    NotFound,
    /// Accepts after a while.
    Slow(Duration),
    /// Accepts after [`release`](super::FakeFcm::release).
    Hold,
    /// Cuts the TCP connection without an answer.
    DropConnection,
}

/// What becomes of a request for an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenBehaviour {
    Grant,
    /// 400 `invalid_grant`, as for a deleted key.
    InvalidGrant,
    /// 503.
    Unavailable,
    /// 200 with something that is no token.
    Garbage,
    /// Grants after [`release`](super::FakeFcm::release).
    Hold,
    DropConnection,
}

impl Behaviour {
    /// The error that it stands for; `None` where the push is accepted, or the connection cut.
    pub(super) fn error(&self, target: &str) -> Option<HttpResponse> {
        let own = |status, grpc, code| Some(error(status, grpc, target, vec![fcm_error(code)], None));
        match self {
            Self::Sent | Self::Slow(_) | Self::Hold | Self::DropConnection => None,
            Self::Unregistered => own(404, "NOT_FOUND", "UNREGISTERED"),
            Self::SenderIdMismatch => own(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            Self::InvalidArgument => Some(invalid_argument("message.token", target)),
            Self::PayloadTooBig => Some(payload_too_big()),
            Self::QuotaExceeded { retry_after } => {
                let details = vec![fcm_error("QUOTA_EXCEEDED")];
                Some(error(429, "RESOURCE_EXHAUSTED", target, details, retry_after.as_deref()))
            }
            Self::Unavailable { retry_after } => {
                let details = vec![fcm_error("UNAVAILABLE")];
                Some(error(503, "UNAVAILABLE", target, details, retry_after.as_deref()))
            }
            Self::Internal => own(500, "INTERNAL", "INTERNAL"),
            Self::BadGatewayHtml => Some(
                HttpResponse::BadGateway()
                    .content_type("text/html; charset=UTF-8")
                    .body("<!DOCTYPE html><html lang=en><title>Error 502 (Server Error)!!1</title>"),
            ),
            Self::Unauthorized => Some(unauthorized()),
            Self::ThirdPartyAuthError => own(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            Self::PermissionDenied => Some(permission_denied()),
            Self::NotFound => Some(error(404, "NOT_FOUND", target, Vec::new(), None)),
        }
    }
}

pub(super) fn unauthorized() -> HttpResponse {
    let detail = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ACCESS_TOKEN_EXPIRED",
        "domain": "googleapis.com",
    });
    error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", vec![detail], None)
}

pub(super) fn permission_denied() -> HttpResponse {
    let words = "Permission 'cloudmessaging.messages.create' denied on the project.";
    error(403, "PERMISSION_DENIED", words, Vec::new(), None)
}

/// `value` is repeated, as Google does.
pub(super) fn invalid_argument(field: &str, value: &str) -> HttpResponse {
    let words = format!("Invalid value at '{field}' (TYPE_STRING), \"{value}\"");
    let violations = json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{ "field": field, "description": words }],
    });
    error(400, "INVALID_ARGUMENT", &words, vec![fcm_error("INVALID_ARGUMENT"), violations], None)
}

pub(super) fn payload_too_big() -> HttpResponse {
    let words = "Android message is too big. The payload of the message is limited to 4096 bytes.";
    error(400, "INVALID_ARGUMENT", words, Vec::new(), None)
}

pub(super) fn token_refused(status: StatusCode, code: &str, description: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": code, "error_description": description }))
}

fn fcm_error(code: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code })
}

/// Google's error document; `words` repeat the target, as Google's sometimes do: nobody may log them.
fn error(
    status: u16,
    grpc: &str,
    words: &str,
    details: Vec<Value>,
    retry_after: Option<&str>,
) -> HttpResponse {
    let mut document = json!({ "error": { "code": status, "message": words, "status": grpc } });
    if !details.is_empty() {
        document["error"]["details"] = details.into();
    }
    let mut response = HttpResponse::build(StatusCode::from_u16(status).expect("a status"));
    if let Some(retry_after) = retry_after {
        response.insert_header((RETRY_AFTER, retry_after));
    }
    response.json(document)
}

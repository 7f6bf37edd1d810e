//! What FCM's answers mean: status and error document to outcome. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::push::{PushOutcome, Reason};

/// What Google advises after a 429 that does not say when.
const QUOTA_PAUSE: Duration = Duration::from_secs(60);
/// Longer waits are asked for by mistake; whoever waits may as well ask again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
const MAX_DETAIL_CHARACTERS: usize = 200;

/// What an answer asks of us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done(PushOutcome),
    /// A plain 401: the access token is not taken (any more).
    AccessTokenRefused(Reason),
}

/// Reads an answer. `retry_after` is its header, already read.
pub(super) fn verdict(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Verdict {
    if (200..=299).contains(&status) {
        return Verdict::Done(PushOutcome::Sent);
    }
    let answer = ErrorAnswer::read(body);
    let error = answer.as_ref().map(|answer| &answer.error);
    let code = error.and_then(FcmError::fcm_code).unwrap_or_default();
    let reason = |code: &'static str| Reason::new(code, describe(status, error));
    let retry = |after: Option<Duration>, code| PushOutcome::RetryAfter { after, reason: reason(code) };
    Verdict::Done(match (status, code) {
        (403, "SENDER_ID_MISMATCH") => PushOutcome::TargetGone(reason("sender_id_mismatch")),
        (404, "UNREGISTERED") => PushOutcome::TargetGone(reason("unregistered")),
        (401, "THIRD_PARTY_AUTH_ERROR") => PushOutcome::PlatformFault(reason("third_party_auth_error")),
        (401, _) => return Verdict::AccessTokenRefused(reason("access_token_refused")),
        (403, _) => PushOutcome::OurFault(reason("permission_denied")),
        (404, _) => PushOutcome::OurFault(reason("not_found")),
        (400, _) => match error {
            // Not FCM's own words: something on the way was unwell.
            None => retry(retry_after, "unreadable_answer"),
            Some(error) if error.details.is_empty() => PushOutcome::Rejected(reason("payload_too_big")),
            Some(_) => PushOutcome::Rejected(reason("invalid_argument")),
        },
        (413, _) => PushOutcome::Rejected(reason("payload_too_big")),
        (408, _) => retry(retry_after, "timeout"),
        (429, _) => retry(retry_after.or(Some(QUOTA_PAUSE)), "quota_exceeded"),
        (503, _) => retry(retry_after, "unavailable"),
        (500..=599, _) => retry(retry_after, "server_error"),
        _ => PushOutcome::OurFault(reason("unexpected_status")),
    })
}

/// `Retry-After`, in either of its forms.
pub(super) fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A moment that has passed means now.
        Err(_) => DateTime::parse_from_rfc2822(header)
            .ok()?
            .to_utc()
            .signed_duration_since(now)
            .to_std()
            .unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: FcmError,
}

impl ErrorAnswer {
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

#[derive(Deserialize)]
struct FcmError {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(rename = "@type", default)]
    kind: String,
    #[serde(rename = "errorCode", default)]
    error_code: Option<String>,
    #[serde(rename = "fieldViolations", default)]
    field_violations: Vec<FieldViolation>,
}

#[derive(Deserialize)]
struct FieldViolation {
    #[serde(default)]
    field: String,
}

impl FcmError {
    /// FCM's own code; `status` alone says less (a 404 is NOT_FOUND for a wrong project, too).
    fn fcm_code(&self) -> Option<&str> {
        let own = |detail: &&Detail| detail.kind == "type.googleapis.com/google.firebase.fcm.v1.FcmError";
        self.details.iter().find(own)?.error_code.as_deref()
    }
}

/// Status, Google's words for it and the fields it complains of. Never `message`: it repeats the values, and with them the
/// target or the content.
fn describe(status: u16, error: Option<&FcmError>) -> String {
    let mut words = vec![status.to_string()];
    if let Some(error) = error {
        words.push(error.status.clone());
        words.extend(error.fcm_code().map(str::to_owned));
        let violations = error.details.iter().flat_map(|detail| &detail.field_violations);
        words.extend(violations.map(|violation| violation.field.clone()));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ").chars().filter(|character| !character.is_control()).take(MAX_DETAIL_CHARACTERS).collect()
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;

//! The HTTP client of the FCM sender, and its failures in words.

use std::error::Error;
use std::time::Duration;

use chrono::Utc;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, redirect};
use url::Url;

use super::options::{FcmSetupError, is_loopback};
use super::outcome;
use crate::push::{PushOutcome, Reason};

/// Answers are some hundred bytes; a proxy's page is not read to its end.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;
const MAX_DETAIL_CHARACTERS: usize = 200;

/// A client for one server: HTTP/2 by ALPN, and without TLS (a fake on loopback) from the first byte.
pub(super) fn client(server: &Url, request_timeout: Duration) -> Result<Client, FcmSetupError> {
    let mut builder = Client::builder()
        .timeout(request_timeout)
        // A redirect would carry the access token to a place that nobody configured.
        .redirect(redirect::Policy::none())
        // All pushes share one connection: when it dies silently, it must be given up before the requests on it are.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(request_timeout / 2);
    if server.scheme() == "http" {
        builder = builder.http2_prior_knowledge();
    }
    if is_loopback(server) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(FcmSetupError::HttpClient)
}

/// The wait that the server asks for.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    outcome::retry_after(response.headers().get(RETRY_AFTER)?.to_str().ok()?, Utc::now())
}

/// The answer's body, up to a limit.
pub(super) async fn read_body(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

/// No answer: whether the push was taken is unknown, and a second one of the same tag replaces it.
pub(super) fn unanswered(error: reqwest::Error) -> PushOutcome {
    let code = match &error {
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "connect_failed",
        _ => "connection_lost",
    };
    PushOutcome::RetryAfter { after: None, reason: Reason::new(code, describe(error)) }
}

/// The error and its causes in one line. Without the URL, which the operator knows, and which names the project.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words.chars().take(MAX_DETAIL_CHARACTERS).collect()
}

//! What an FCM sender is built from, and why it may not be.

use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

pub use super::service_account::ServiceAccountError;

pub const DEFAULT_ENDPOINT: &str = "https://fcm.googleapis.com";
/// FCM answers in well under a second; past this, its answer is not worth a place in flight.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The streams that one HTTP/2 connection to Google carries. More would wait inside the client, where nobody sees them, and
/// spend their time-out there.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 100;
/// A device that was off for longer learns more from opening the app than from notifications that old.
pub const DEFAULT_TTL: Duration = Duration::from_secs(7 * 86_400);
/// FCM keeps nothing for longer than four weeks.
pub const MAX_TTL: Duration = Duration::from_secs(28 * 86_400);

#[derive(Debug, Clone)]
pub struct FcmOptions {
    /// Google's service-account JSON; its `project_id` and `token_uri` are honoured.
    pub service_account_path: PathBuf,
    pub endpoint: Url,
    /// Of one request, and of the wait for a place in flight.
    pub request_timeout: Duration,
    pub max_in_flight: usize,
    /// How long FCM keeps a push for a device that it cannot reach.
    pub ttl: Duration,
}

impl FcmOptions {
    pub fn new(service_account_path: impl Into<PathBuf>, endpoint: Url) -> Self {
        Self {
            service_account_path: service_account_path.into(),
            endpoint,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            ttl: DEFAULT_TTL,
        }
    }

    pub(super) fn check(&self) -> Result<(), FcmSetupError> {
        check_endpoint(&self.endpoint)?;
        let rules = [
            (self.request_timeout.is_zero(), "the FCM request time-out must be more than 0"),
            (self.max_in_flight == 0, "the number of FCM requests in flight must be at least 1"),
            (self.ttl > MAX_TTL, "the FCM TTL must be at most 28 days"),
        ];
        match rules.into_iter().find(|(is_broken, _)| *is_broken) {
            Some((_, rule)) => Err(FcmSetupError::Option(rule)),
            None => Ok(()),
        }
    }
}

/// Why there is no sender. Never holds a key.
#[derive(Debug, thiserror::Error)]
pub enum FcmSetupError {
    #[error(transparent)]
    ServiceAccount(#[from] ServiceAccountError),
    #[error(
        "{what} would be reached over plain http at {host}; credentials travel by https, except to loopback"
    )]
    PlainHttp { what: &'static str, host: String },
    #[error("{0} must be an http(s) URL with a host")]
    NoHttpUrl(&'static str),
    #[error("{0}")]
    Option(&'static str),
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(reqwest::Error),
}

/// Whether pushes may be sent there.
pub fn check_endpoint(url: &Url) -> Result<(), FcmSetupError> {
    check_url("the FCM endpoint", url)
}

/// Access tokens and contents go there: https, or a fake on this machine.
pub(super) fn check_url(what: &'static str, url: &Url) -> Result<(), FcmSetupError> {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(()),
        ("http", Some(_)) if is_loopback(url) => Ok(()),
        ("http", Some(host)) => Err(FcmSetupError::PlainHttp { what, host: host.to_string() }),
        _ => Err(FcmSetupError::NoHttpUrl(what)),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        let is_allowed = |url: &str| check_url("it", &Url::parse(url).unwrap()).is_ok();
        for good in
            ["https://fcm.googleapis.com", "http://127.0.0.1:9", "http://[::1]:9", "http://localhost/x"]
        {
            assert!(is_allowed(good), "{good}");
        }
        for bad in
            ["http://fcm.googleapis.com", "http://10.0.0.1", "http://localhost.evil.example", "ftp://x"]
        {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}

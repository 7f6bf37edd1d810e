//! Firebase Cloud Messaging, HTTP v1: sends one push and says what came of it.

mod http;
mod message;
mod oauth;
mod options;
mod outcome;
mod service_account;
mod token_cache;

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

pub use options::{
    DEFAULT_ENDPOINT, DEFAULT_MAX_IN_FLIGHT, DEFAULT_REQUEST_TIMEOUT, DEFAULT_TTL, FcmOptions, FcmSetupError,
    MAX_TTL, ServiceAccountError, check_endpoint,
};

use self::oauth::AccessTokens;
use self::outcome::Verdict;
use self::service_account::ServiceAccount;
use self::token_cache::AccessToken;
use super::{Push, PushOutcome, PushSender, Reason};

/// Sends through FCM. Share one: it holds the connection, the access token and the bound on requests in flight.
pub struct FcmSender {
    client: Client,
    send_url: Url,
    tokens: AccessTokens,
    in_flight: Semaphore,
    request_timeout: Duration,
    ttl: Duration,
}

impl FcmSender {
    /// Reads the service account; nothing is sent yet.
    pub fn new(options: &FcmOptions) -> Result<Self, FcmSetupError> {
        options.check()?;
        let account = ServiceAccount::read(&options.service_account_path)?;
        options::check_url("the service account's `token_uri`", &account.token_uri)?;
        // Two clients: either server may be a fake, and then alone speaks HTTP/2 without TLS.
        let token_client = http::client(&account.token_uri, options.request_timeout)?;
        Ok(Self {
            client: http::client(&options.endpoint, options.request_timeout)?,
            send_url: send_url(&options.endpoint, &account.project_id)?,
            tokens: AccessTokens::new(token_client, account),
            in_flight: Semaphore::new(options.max_in_flight.min(Semaphore::MAX_PERMITS)),
            request_timeout: options.request_timeout,
            ttl: options.ttl,
        })
    }

    async fn deliver(&self, push: &Push) -> PushOutcome {
        let Ok(payload) = message::payload(push, self.ttl, SystemTime::now()) else {
            return PushOutcome::Rejected(Reason::new("payload_too_big", "not sent"));
        };
        let payload = Bytes::from(payload);
        let Ok(Ok(_place)) = timeout(self.request_timeout, self.in_flight.acquire()).await else {
            let reason = Reason::new("busy", "no place in flight within the time-out");
            return PushOutcome::RetryAfter { after: None, reason };
        };
        let token = match self.tokens.get().await {
            Ok(token) => token,
            Err(outcome) => return outcome,
        };
        if let Verdict::Done(outcome) = self.post(&token, payload.clone()).await {
            return outcome;
        }
        // Access tokens can be revoked before their end: once more with a new one.
        self.tokens.forget(&token);
        let token = match self.tokens.get().await {
            Ok(token) => token,
            Err(outcome) => return outcome,
        };
        match self.post(&token, payload).await {
            Verdict::Done(outcome) => outcome,
            Verdict::AccessTokenRefused(reason) => {
                let outcome = PushOutcome::OurFault(reason);
                self.tokens.give_up(&token, outcome.clone());
                outcome
            }
        }
    }

    async fn post(&self, token: &AccessToken, payload: Bytes) -> Verdict {
        let request = self
            .client
            .post(self.send_url.clone())
            .header(AUTHORIZATION, &token.0)
            .header(CONTENT_TYPE, "application/json")
            .body(payload);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Verdict::Done(http::unanswered(error)),
        };
        let (status, retry_after) = (response.status(), http::retry_after(&response));
        match http::read_body(response).await {
            Ok(body) => outcome::verdict(status.as_u16(), retry_after, &body),
            // The status alone says that it was taken; what is missing is only its name.
            Err(_) if status.is_success() => Verdict::Done(PushOutcome::Sent),
            Err(error) => Verdict::Done(http::unanswered(error)),
        }
    }
}

impl PushSender for FcmSender {
    fn send<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, PushOutcome> {
        Box::pin(self.deliver(push))
    }
}

impl fmt::Debug for FcmSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FcmSender").field("send_url", &self.send_url.as_str()).finish_non_exhaustive()
    }
}

fn send_url(endpoint: &Url, project_id: &str) -> Result<Url, FcmSetupError> {
    let mut url = endpoint.clone();
    url.path_segments_mut()
        .map_err(|()| FcmSetupError::NoHttpUrl("the FCM endpoint"))?
        .pop_if_empty()
        .extend(["v1", "projects", project_id, "messages:send"]);
    Ok(url)
}

//! Access tokens for Google: fetched with the service account, kept, and renewed before their end by one request at a time.
//!
//! Not `gcp_auth` 0.12.7: everyone who waits for a token fetches one in turn, the answer with the token goes to the log,
//! a 401 cannot drop what is cached, and it brings a second HTTP stack.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use super::http;
use super::service_account::ServiceAccount;
use super::token_cache::{AccessToken, Lookup, TokenCache};
use crate::push::{PushOutcome, Reason};

pub(super) struct AccessTokens {
    client: Client,
    account: ServiceAccount,
    // Held only to look or to put, never over an await.
    cache: RwLock<TokenCache>,
    // Whoever holds it fetches; a tokio lock, because it is held during the request.
    fetching: Mutex<()>,
}

impl AccessTokens {
    pub(super) fn new(client: Client, account: ServiceAccount) -> Self {
        Self { client, account, cache: RwLock::default(), fetching: Mutex::default() }
    }

    /// A token to send with; else what the push has come to without one.
    pub(super) async fn get(&self) -> Result<AccessToken, PushOutcome> {
        let guard = match self.look_up() {
            Lookup::Fresh(token) => return Ok(token),
            Lookup::Failing(outcome) => return Err(outcome),
            // The old one is good for a while yet: one renews it, the others do not wait for that.
            Lookup::Aging(token) => match self.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(token),
            },
            Lookup::Missing => self.fetching.lock().await,
        };
        self.fetch_unless_done(guard).await
    }

    /// Drops a token that FCM refused, unless another has taken its place already.
    pub(super) fn forget(&self, refused: &AccessToken) {
        self.cache_mut().forget(refused);
    }

    /// FCM refused even a new token: for a moment nobody asks for another one.
    pub(super) fn give_up(&self, refused: &AccessToken, outcome: PushOutcome) {
        let mut cache = self.cache_mut();
        cache.forget(refused);
        cache.remember_failure(outcome, Instant::now());
    }

    async fn fetch_unless_done(&self, _guard: MutexGuard<'_, ()>) -> Result<AccessToken, PushOutcome> {
        // While we waited for the lock, its holder may have fetched, or failed to.
        let aging = match self.look_up() {
            Lookup::Fresh(token) => return Ok(token),
            Lookup::Failing(outcome) => return Err(outcome),
            Lookup::Aging(token) => Some(token),
            Lookup::Missing => None,
        };
        match self.fetch().await {
            Ok((token, lifetime)) => {
                tracing::debug!(lifetimeSeconds = lifetime.as_secs(), "got an FCM access token");
                self.cache_mut().put(token.clone(), lifetime, Instant::now());
                Ok(token)
            }
            Err(outcome) => {
                self.cache_mut().remember_failure(outcome.clone(), Instant::now());
                let reason = outcome.reason().map(ToString::to_string);
                match aging {
                    Some(token) => {
                        tracing::warn!(
                            reason,
                            "the FCM access token was not renewed; it is still good for a while"
                        );
                        Ok(token)
                    }
                    None => Err(outcome),
                }
            }
        }
    }

    async fn fetch(&self) -> Result<(AccessToken, Duration), PushOutcome> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let assertion = self
            .account
            .assertion(now)
            .map_err(|e| PushOutcome::OurFault(Reason::new("assertion_not_signed", e.to_string())))?;
        let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
        let request = self.client.post(self.account.token_uri.clone()).form(&form);
        let unanswered = |error| PushOutcome::RetryAfter {
            after: None,
            reason: Reason::new("token_endpoint_unavailable", http::describe(error)),
        };
        let response = request.send().await.map_err(unanswered)?;
        let (status, after) = (response.status().as_u16(), http::retry_after(&response));
        let body = http::read_body(response).await.map_err(unanswered)?;
        let retry = |detail: String| PushOutcome::RetryAfter {
            after,
            reason: Reason::new("token_endpoint_unavailable", detail),
        };
        match status {
            200 => read_token(&body).ok_or_else(|| retry("an answer without a usable token".to_owned())),
            408 | 429 | 500.. => Err(retry(status.to_string())),
            _ => Err(PushOutcome::OurFault(Reason::new("service_account_refused", refusal(status, &body)))),
        }
    }

    fn look_up(&self) -> Lookup {
        self.cache().look_up(Instant::now())
    }

    // A panic while it is held cannot leave the cache half changed, so a poisoned lock is as good as any.
    fn cache(&self) -> RwLockReadGuard<'_, TokenCache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache_mut(&self) -> RwLockWriteGuard<'_, TokenCache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_token(body: &[u8]) -> Option<(AccessToken, Duration)> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: u64,
    }
    let granted: Granted = serde_json::from_slice(body).ok()?;
    let mut header = HeaderValue::try_from(format!("Bearer {}", granted.access_token)).ok()?;
    // So that no HTTP library prints it.
    header.set_sensitive(true);
    Some((AccessToken(header), Duration::from_secs(granted.expires_in)))
}

/// Google's word for what is wrong, such as `invalid_grant`. Only if it is a word: nothing else of the answer is repeated.
fn refusal(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let word = serde_json::from_slice(body).ok().map(|refusal: Refusal| refusal.error);
    match word.filter(|word| word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        Some(word) => format!("{status} {word}"),
        None => status.to_string(),
    }
}

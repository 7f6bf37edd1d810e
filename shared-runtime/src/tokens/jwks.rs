//! Keys from a JWKS URL, cached: fetched anew when they are old or when a token names an unknown one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, decode_header};
use tokio::sync::{Mutex, RwLock};
use tracing::{info, warn};
use url::Url;

use super::InvalidToken;

/// Keys older than this are fetched anew, so that a withdrawn key stops working.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Tokens with made-up key ids must not become requests to the issuer.
const MIN_PAUSE: Duration = Duration::from_secs(10);
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// Issuers publish a handful of keys; a longer list is not one.
const MAX_KEYS: usize = 100;
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A key and the one algorithm that it is good for.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    pub(super) key: Arc<DecodingKey>,
    pub(super) algorithm: Algorithm,
    id: Option<String>,
}

pub(super) struct Jwks {
    url: Url,
    client: reqwest::Client,
    keys: RwLock<Cached>,
    /// Held by the one task that fetches; says when it last tried.
    last_try: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Cached {
    keys: Vec<VerifyingKey>,
    fetched_at: Option<Instant>,
}

impl Jwks {
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_LIMIT)
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()?;
        Ok(Self { url, client, keys: RwLock::default(), last_try: Mutex::default() })
    }

    /// The key that the token names. Its header chooses among our keys and nothing else.
    pub(super) async fn key_for(&self, token: &str) -> Result<VerifyingKey, InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken::Malformed)?;
        let id = header.kid.as_deref();
        let (found, is_fresh) = self.find(id).await;
        if let (Some(key), true) = (&found, is_fresh) {
            return Ok(key.clone());
        }
        let knows_keys = self.refresh().await;
        // Old keys are better than none while the issuer does not answer.
        match self.find(id).await.0.or(found) {
            Some(key) => Ok(key),
            None if knows_keys => Err(InvalidToken::Signature),
            None => Err(InvalidToken::KeysUnavailable),
        }
    }

    async fn find(&self, id: Option<&str>) -> (Option<VerifyingKey>, bool) {
        let cached = self.keys.read().await;
        let is_fresh = cached.fetched_at.is_some_and(|at| at.elapsed() < MAX_AGE);
        let key = match id {
            Some(id) => cached.keys.iter().find(|key| key.id.as_deref() == Some(id)),
            // Without a name there must be no choice.
            None if cached.keys.len() == 1 => cached.keys.first(),
            None => None,
        };
        (key.cloned(), is_fresh)
    }

    /// Fetches the keys unless that was tried just now. Says whether there are any.
    async fn refresh(&self) -> bool {
        let mut last_try = self.last_try.lock().await;
        if last_try.is_none_or(|at| at.elapsed() >= MIN_PAUSE) {
            *last_try = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => {
                    info!(keys = keys.len(), "fetched the token issuer's keys");
                    *self.keys.write().await = Cached { keys, fetched_at: Some(Instant::now()) };
                }
                Err(error) => warn!(%error, "cannot fetch the token issuer's keys"),
            }
        }
        !self.keys.read().await.keys.is_empty()
    }

    async fn fetch(&self) -> Result<Vec<VerifyingKey>, Box<dyn std::error::Error + Send + Sync>> {
        let mut response = self.client.get(self.url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY_BYTES {
                return Err("the key set is larger than 256 KiB".into());
            }
        }
        let set: JwkSet = serde_json::from_slice(&body)?;
        Ok(set.keys.iter().take(MAX_KEYS).filter_map(verifying_key).collect())
    }
}

/// A key that we verify with; others in the set (encryption, other algorithms) are passed over.
fn verifying_key(jwk: &Jwk) -> Option<VerifyingKey> {
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    // A key that its issuer keeps for another algorithm (say PS256) is not ours to use.
    let declared = jwk.common.key_algorithm.map(|declared| declared.to_string());
    if declared.is_some_and(|declared| declared != format!("{algorithm:?}")) {
        return None;
    }
    let key = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
    Some(VerifyingKey { key, algorithm, id: jwk.common.key_id.clone() })
}

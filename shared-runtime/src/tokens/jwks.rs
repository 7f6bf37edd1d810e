//! Keys from a JWKS URL, cached: fetched anew when they are old or when a token names an unknown one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
/// Without any key everybody is refused, so an issuer that was not to be reached is asked again soon.
const MIN_PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(1);
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
    /// How often the keys have been fetched.
    generation: AtomicU64,
    /// Held by the one task that fetches; says when it last tried.
    last_try: Mutex<Option<Instant>>,
    min_pause: Duration,
}

#[derive(Default)]
struct Cached {
    keys: Vec<VerifyingKey>,
    fetched_at: Option<Instant>,
}

impl Jwks {
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        Self::with_pause(url, MIN_PAUSE)
    }

    fn with_pause(url: Url, min_pause: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_LIMIT)
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()?;
        Ok(Self {
            url,
            client,
            keys: RwLock::default(),
            generation: AtomicU64::new(0),
            last_try: Mutex::default(),
            min_pause,
        })
    }

    /// Another number after every fetch: what was verified before it may have been signed by a key that is gone.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The key that the token names. Its header chooses among our keys and nothing else.
    pub(super) async fn key_for(&self, token: &str) -> Result<VerifyingKey, InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken::Malformed)?;
        let id = header.kid.as_deref();
        let (found, is_fresh) = self.find(id).await;
        if let (Some(key), true) = (&found, is_fresh) {
            return Ok(key.clone());
        }
        let mut last_try = match &found {
            // Old keys are better than none while the issuer does not answer: one caller asks for new ones, and
            // the others do not wait for it.
            Some(old) => match self.last_try.try_lock() {
                Ok(last_try) => last_try,
                Err(_) => return Ok(old.clone()),
            },
            None => self.last_try.lock().await,
        };
        // Whoever held the lock before may have fetched it.
        if let (Some(key), true) = self.find(id).await {
            return Ok(key);
        }
        let knows_keys = self.refresh(&mut last_try).await;
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
    async fn refresh(&self, last_try: &mut Option<Instant>) -> bool {
        let had_keys = !self.keys.read().await.keys.is_empty();
        let pause = if had_keys { self.min_pause } else { self.min_pause.min(MIN_PAUSE_WITHOUT_KEYS) };
        if last_try.is_none_or(|at| at.elapsed() >= pause) {
            *last_try = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => {
                    // The first keys need no pause after them: one that is published just then is found at once.
                    if !had_keys && !keys.is_empty() {
                        *last_try = None;
                    }
                    info!(keys = keys.len(), "fetched the token issuer's keys");
                    *self.keys.write().await = Cached { keys, fetched_at: Some(Instant::now()) };
                    self.generation.fetch_add(1, Ordering::Release);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::atomic::AtomicUsize;

    // {"alg":"EdDSA","kid":"unknown"} with claims and a signature that nobody looks at here.
    const UNKNOWN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6InVua25vd24ifQ.e30.AA";

    /// An issuer with one key, and how often it was asked.
    fn issuer() -> (Url, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let body = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"known","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = head.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
                count.fetch_add(1, Ordering::Relaxed);
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        (url, asked)
    }

    #[tokio::test]
    async fn an_unknown_key_id_makes_one_request_to_the_issuer_in_each_pause() {
        let (url, asked) = issuer();
        let patient = Jwks::with_pause(url.clone(), Duration::from_secs(3_600)).unwrap();
        for _ in 0..5 {
            assert!(matches!(patient.key_for(UNKNOWN).await, Err(InvalidToken::Signature)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "the first keys, and one look for the unknown one");
        let restless = Jwks::with_pause(url, Duration::ZERO).unwrap();
        for _ in 0..5 {
            assert!(matches!(restless.key_for(UNKNOWN).await, Err(InvalidToken::Signature)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 7);
    }

    #[tokio::test]
    async fn an_old_key_is_used_without_waiting_while_another_caller_asks_for_new_ones() {
        let (url, asked) = issuer();
        let jwks = Jwks::with_pause(url, Duration::ZERO).unwrap();
        assert!(jwks.key_for(UNKNOWN).await.is_err());
        let fetches = asked.load(Ordering::Relaxed);
        jwks.keys.write().await.fetched_at = None;
        // {"alg":"EdDSA","kid":"known"}
        let known = "eyJhbGciOiJFZERTQSIsImtpZCI6Imtub3duIn0.e30.AA";
        let fetching = jwks.last_try.lock().await;
        assert!(jwks.key_for(known).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), fetches);
        drop(fetching);
        assert!(jwks.key_for(known).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), fetches + 1);
    }
}

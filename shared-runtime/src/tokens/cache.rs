//! Tokens that have been verified, so that each is verified once while it is in use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use shared_types::Claims;

use super::{InvalidToken, Keys, TokenVerifier, unix_seconds};

/// All cached tokens with their claims: those of about 80,000 users.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// What an entry takes beside the token: claims, pointers, the table's own.
const BYTES_BESIDE_TOKEN: u64 = 200;
/// A guess for the cache's tables.
const EXPECTED_TOKENS: usize = 10_000;
/// A key of the issuer's may be withdrawn, so what it has signed is verified again when the keys have been fetched, and
/// after this time, so that they are. A secret stays the same for as long as the process runs.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Verifies tokens and remembers which are good. A bad one is never remembered.
pub struct CachedVerifier {
    verifier: TokenVerifier,
    /// Under the whole token: nothing but the very same bytes is taken for it.
    good: Cache<Box<str>, Good, ByBytes>,
    good_for: Option<Duration>,
}

#[derive(Clone)]
struct Good {
    claims: Arc<Claims>,
    until: Option<Instant>,
    /// Of the keys.
    generation: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<str>, Good> for ByBytes {
    fn weight(&self, token: &Box<str>, _: &Good) -> u64 {
        token.len() as u64 + BYTES_BESIDE_TOKEN
    }
}

impl CachedVerifier {
    pub fn new(verifier: TokenVerifier) -> Self {
        let good_for = match &verifier.keys {
            Keys::Secrets(_) => None,
            Keys::Jwks(_) => Some(GOOD_FOR),
        };
        Self { verifier, good: Cache::with_weighter(EXPECTED_TOKENS, MAX_BYTES, ByBytes), good_for }
    }

    /// As [`TokenVerifier::verify`].
    pub async fn verify(&self, token: &str) -> Result<Arc<Claims>, InvalidToken> {
        if let Some(verdict) = self.remembered(token) {
            return verdict;
        }
        // Before it is verified: keys that come meanwhile may not know it.
        let generation = self.generation();
        let claims = Arc::new(self.verifier.verify(token).await?);
        let until = self.good_for.map(|time| Instant::now() + time);
        self.good.insert(token.into(), Good { claims: claims.clone(), until, generation });
        Ok(claims)
    }

    /// What is known without verifying: a token that was good, and whether it still is. Its `nbf` has come, once and
    /// for all; its `exp` is looked at each time.
    pub fn remembered(&self, token: &str) -> Option<Result<Arc<Claims>, InvalidToken>> {
        let Good { claims, until, generation } = self.good.get(token)?;
        if generation != self.generation() || until.is_some_and(|until| until <= Instant::now()) {
            return None;
        }
        if claims.exp <= unix_seconds() {
            self.good.remove(token);
            return Some(Err(InvalidToken::Expired));
        }
        Some(Ok(claims))
    }

    fn generation(&self) -> u64 {
        match &self.verifier.keys {
            Keys::Secrets(_) => 0,
            Keys::Jwks(jwks) => jwks.generation(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, EncodingKey, Header, encode};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn verifier(secret: &[u8]) -> CachedVerifier {
        let keys = Keys::Secrets(vec![DecodingKey::from_secret(secret)]);
        CachedVerifier::new(TokenVerifier { keys, issuer: None, audience: None })
    }

    fn token(sub: &str, exp: u64) -> String {
        let claims = Claims { sub: sub.parse().unwrap(), exp, iss: None, aud: None, role: None };
        encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
    }

    #[tokio::test]
    async fn a_good_token_is_verified_once_and_another_one_is_not_taken_for_it() {
        let verifier = verifier(SECRET);
        let (alice, bob) = (token("alice", unix_seconds() + 60), token("bob", unix_seconds() + 60));
        assert!(verifier.remembered(&alice).is_none());
        let first = verifier.verify(&alice).await.unwrap();
        assert!(Arc::ptr_eq(&first, &verifier.verify(&alice).await.unwrap()));
        assert_eq!(verifier.verify(&bob).await.unwrap().sub.as_str(), "bob");
        let forged = format!("{}A", &alice[..alice.len() - 1]);
        let forged = if forged == alice { format!("{}B", &alice[..alice.len() - 1]) } else { forged };
        assert!(verifier.verify(&forged).await.is_err());
    }

    #[tokio::test]
    async fn a_bad_token_is_never_remembered() {
        let verifier = verifier(b"another secret of at least 32 bytes");
        let alice = token("alice", unix_seconds() + 60);
        for _ in 0..2 {
            assert_eq!(verifier.verify(&alice).await.unwrap_err(), InvalidToken::Signature);
        }
        assert!(verifier.verify(&token("alice", unix_seconds() - 1)).await.is_err());
        assert!(verifier.good.is_empty());
    }

    #[tokio::test]
    async fn a_remembered_token_ends_in_the_second_that_it_names() {
        let verifier = verifier(SECRET);
        let alice = token("alice", unix_seconds() + 2);
        let claims = verifier.verify(&alice).await.unwrap();
        while verifier.verify(&alice).await.is_ok() {
            assert!(unix_seconds() <= claims.exp);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(unix_seconds() >= claims.exp);
        assert_eq!(verifier.verify(&alice).await.unwrap_err(), InvalidToken::Expired);
        assert!(verifier.good.is_empty());
    }

    #[tokio::test]
    async fn what_an_issuers_key_has_signed_is_verified_again_after_its_time() {
        let mut verifier = verifier(SECRET);
        verifier.good_for = Some(Duration::ZERO);
        let alice = token("alice", unix_seconds() + 60);
        let first = verifier.verify(&alice).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &verifier.verify(&alice).await.unwrap()));
    }

    #[tokio::test]
    async fn more_tokens_than_there_is_room_for_make_the_cache_no_larger() {
        let mut verifier = verifier(SECRET);
        verifier.good = Cache::with_weighter(10, 4_096, ByBytes);
        for user in 0..100 {
            verifier.verify(&token(&format!("user-{user}"), unix_seconds() + 60)).await.unwrap();
        }
        assert!(verifier.good.weight() <= 4_096);
    }
}

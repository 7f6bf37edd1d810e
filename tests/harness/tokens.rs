//! Tokens: right ones, and wrong in every way that a verifier must notice.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

/// What the services of a test sign and verify with. Known to everybody, as it is published here.
pub const JWT_SECRET: &str = "test-only-jwt-secret-0123456789abcdef";

/// The secret before a rotation.
pub const PREVIOUS_JWT_SECRET: &str = "test-only-previous-secret-0123456789";

/// What api-servers and gateways of a test tell each other.
pub const INTERNAL_SECRET: &str = "test-only-internal-secret-0123456789ab";

/// The one that takes its place in a rotation.
pub const NEXT_INTERNAL_SECRET: &str = "test-only-next-internal-secret-0123456";

/// A user's token, good for an hour.
pub fn token_for(user: &str) -> String {
    Token::of(user).sign()
}

/// The token of the host's back end.
pub fn service_token() -> String {
    Token::of("back-end").claim("role", "service").sign()
}

/// A token in the making: a good one, spoilt step by step.
#[derive(Clone)]
pub struct Token {
    header: Header,
    claims: Map<String, Value>,
    key: EncodingKey,
}

impl Token {
    /// HS256 with [`JWT_SECRET`], good for an hour.
    pub fn of(user: &str) -> Self {
        let claims = Map::from_iter([("sub".to_owned(), json!(user))]);
        let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
        Self { header: Header::new(Algorithm::HS256), claims, key }.expires_in(3_600)
    }

    /// Seconds from now; negative has expired.
    pub fn expires_in(self, seconds: i64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        self.claim("exp", now.saturating_add_signed(seconds))
    }

    /// Sets a claim: `iss`, `aud`, `role`, or one with a value of the wrong type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Signs with another secret.
    pub fn secret(mut self, secret: &str) -> Self {
        self.key = EncodingKey::from_secret(secret.as_bytes());
        self
    }

    /// Signs with another algorithm of the same family (HS384, HS512).
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.header.alg = algorithm;
        self
    }

    /// Signs with a key pair, naming it in the header.
    pub fn key(mut self, algorithm: Algorithm, key_id: &str, key: EncodingKey) -> Self {
        self.header = Header::new(algorithm);
        self.header.kid = Some(key_id.to_owned());
        self.key = key;
        self
    }

    /// Names a key in the header; `None` names none.
    pub fn key_id(mut self, key_id: Option<&str>) -> Self {
        self.header.kid = key_id.map(str::to_owned);
        self
    }

    /// Names a place for keys in the header, which no verifier may ever fetch.
    pub fn key_url(mut self, url: &str) -> Self {
        self.header.jku = Some(url.to_owned());
        self
    }

    /// The token.
    pub fn sign(self) -> String {
        encode(&self.header, &self.claims, &self.key).expect("the key fits the algorithm")
    }

    /// The token with `alg: none` and without a signature.
    pub fn unsigned(self) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&Value::Object(self.claims)))
    }

    /// The token with a signature that was made for other claims.
    pub fn tampered(self) -> String {
        let honest = self.clone().sign();
        let forged = self.claim("sub", "somebody-else").sign();
        let (forged_content, _) = forged.rsplit_once('.').expect("a token has three parts");
        let (_, honest_signature) = honest.rsplit_once('.').expect("a token has three parts");
        format!("{forged_content}.{honest_signature}")
    }
}

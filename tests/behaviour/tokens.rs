//! Tokens: which ones open the REST API and a WebSocket, and which open neither.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::jwks::JwksServer;
use harness::keys;
use harness::tokens::{JWT_SECRET, PREVIOUS_JWT_SECRET, Token};
use harness::websocket::Dial;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::shared_cluster::Verb;

/// One api-server and one gateway that check tokens in the same way.
pub struct Doors(pub Cluster);

impl Doors {
    pub async fn with(flags: &[&str]) -> Self {
        let builder = Cluster::builder().apis(1).gateways(1);
        Self(flags.iter().fold(builder, |builder, flag| builder.flag(*flag)).start().await)
    }

    pub async fn with_jwks(jwks: &JwksServer) -> Self {
        let builder = Cluster::builder().apis(1).gateways(1).without_flag("--jwt-secret");
        Self(builder.flag(format!("--jwt-jwks-url={}", jwks.url())).start().await)
    }

    pub async fn rest(&self, token: &str) -> Answer {
        Answer::of(self.0.api(0).request(Verb::GET, "/channels").bearer_auth(token)).await
    }

    pub async fn websocket(&self, token: &str) -> u16 {
        match Dial::to(&self.0.gateway_url(0)).bearer(token).try_connect().await {
            Ok(mut session) => {
                assert_eq!(session.next_json().await["type"], "ready");
                101
            }
            Err(refusal) => {
                assert!(refusal.body.contains("\"code\""), "no problem document: {refusal:?}");
                refusal.status
            }
        }
    }

    pub async fn open(&self, token: &str) {
        self.rest(token).await.expect(200);
        assert_eq!(self.websocket(token).await, 101);
    }

    pub async fn stay_shut(&self, why: &str, token: &str) {
        let answer = self.rest(token).await;
        assert_eq!(answer.status, 401, "{why}: {answer:#?}");
        answer.expect_problem(401, "unauthorized");
        assert_eq!(self.websocket(token).await, 401, "{why}");
    }
}

/// A token with any header, with an HMAC for its signature.
pub fn forged(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let content = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{content}.{}", BASE64.encode(hmac::sign(&key, content.as_bytes())))
}

pub fn good_claims() -> Value {
    json!({"sub": "alice", "exp": 4_000_000_000_u64})
}

#[tokio::test]
async fn a_good_token_opens_both_doors_and_a_bad_one_neither() {
    let doors = Doors::with(&[]).await;
    let alice = || Token::of("alice");
    for good in [
        alice().sign(),
        alice()
            .claim("iss", "anybody")
            .claim("aud", json!(["anything"]))
            .claim("colour", json!({"x": 1}))
            .sign(),
        alice().claim("exp", 4_000_000_000.5).sign(),
        alice().key_id(Some("ignored")).sign(),
        Token::of(&format!("{}:@|._-Z9", "u".repeat(56))).sign(),
        forged(&json!({"alg": "HS256"}), &good_claims(), JWT_SECRET.as_bytes()),
    ] {
        doors.open(&good).await;
    }
    let honest = alice().sign();
    let parts: Vec<&str> = honest.split('.').collect();
    let with_header = |header: Value| forged(&header, &good_claims(), JWT_SECRET.as_bytes());
    for (why, bad) in [
        ("alg none", alice().unsigned()),
        ("alg none with a signature", with_header(json!({"alg": "none"}))),
        ("alg nOnE", with_header(json!({"alg": "nOnE"}))),
        ("no alg", with_header(json!({"typ": "JWT"}))),
        ("HS384", alice().algorithm(Algorithm::HS384).sign()),
        ("HS512", alice().algorithm(Algorithm::HS512).sign()),
        ("RS256 by name", with_header(json!({"alg": "RS256"}))),
        ("ES256 by name", with_header(json!({"alg": "ES256", "kid": "x"}))),
        ("a real RS256", alice().key(Algorithm::RS256, "k", keys::generate(Algorithm::RS256)).sign()),
        ("another secret", alice().secret("another-secret-of-at-least-32-bytes!!").sign()),
        ("the empty secret", forged(&json!({"alg": "HS256"}), &good_claims(), b"")),
        ("an old secret that is not configured", alice().secret(PREVIOUS_JWT_SECRET).sign()),
        ("expired", alice().expires_in(-1).sign()),
        ("long expired", alice().expires_in(-1_000_000).sign()),
        ("expires this second", alice().expires_in(0).sign()),
        ("not yet good", alice().claim("nbf", 4_000_000_000_u64).sign()),
        ("no exp", alice().without("exp").sign()),
        ("exp null", alice().claim("exp", Value::Null).sign()),
        ("exp a string", alice().claim("exp", "4000000000").sign()),
        ("no sub", alice().without("sub").sign()),
        ("sub null", alice().claim("sub", Value::Null).sign()),
        ("sub a number", alice().claim("sub", 7).sign()),
        ("sub empty", Token::of("").sign()),
        ("sub with a space", Token::of("a b").sign()),
        ("sub not ASCII", Token::of("älice").sign()),
        ("sub with NUL", Token::of("a\0").sign()),
        ("sub too long", Token::of(&"u".repeat(65)).sign()),
        ("another user's signature", alice().tampered()),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{honest}.x")),
        ("no token", "naru".into()),
        ("claims that are no object", forged(&json!({"alg": "HS256"}), &json!([]), JWT_SECRET.as_bytes())),
    ] {
        doors.stay_shut(why, &bad).await;
    }
}

#[tokio::test]
async fn while_a_secret_is_rotated_the_previous_one_opens_too_and_issuer_and_audience_are_demanded() {
    let doors = Doors::with(&[
        &format!("--jwt-previous-secret={PREVIOUS_JWT_SECRET}"),
        "--jwt-issuer=https://issuer.example",
        "--jwt-audience=naru",
    ])
    .await;
    let right = || Token::of("alice").claim("iss", "https://issuer.example").claim("aud", "naru");
    doors.open(&right().sign()).await;
    doors.open(&right().claim("aud", json!(["other", "naru"])).sign()).await;
    doors.open(&right().secret(PREVIOUS_JWT_SECRET).sign()).await;
    for (why, bad) in [
        ("a third secret", right().secret("another-secret-of-at-least-32-bytes!!").sign()),
        ("expired, by the previous secret", right().secret(PREVIOUS_JWT_SECRET).expires_in(-5).sign()),
        ("no issuer", right().without("iss").sign()),
        ("another issuer", right().claim("iss", "https://issuer.example/").sign()),
        ("issuers", right().claim("iss", json!(["https://issuer.example"])).sign()),
        ("no audience", right().without("aud").sign()),
        ("another audience", right().claim("aud", "narus").sign()),
        ("other audiences", right().claim("aud", json!(["a", "b"])).sign()),
        ("no audience in the list", right().claim("aud", json!([])).sign()),
        (
            "another audience by the previous secret",
            right().secret(PREVIOUS_JWT_SECRET).claim("aud", "x").sign(),
        ),
    ] {
        doors.stay_shut(why, &bad).await;
    }
}

//! Key sets: tokens that are checked with the keys of a JWKS, and nothing in a token that chooses them.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use harness::api_client::Answer;
use harness::jwks::JwksServer;
use harness::keys;
use harness::tokens::Token;
use harness::wait::eventually;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, Header, encode};
use serde_json::{Value, json};

use crate::tokens::{Doors, forged, good_claims};

#[tokio::test]
async fn keys_of_a_jwks_open_by_their_own_algorithm_and_are_fetched_once() {
    let jwks = JwksServer::start().await;
    let doors = Doors::with_jwks(&jwks).await;
    let alice = || Token::of("alice");
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    // Several at the same moment, before any key is there.
    let tokens = algorithms.map(|algorithm| jwks.sign(algorithm, alice()));
    for answer in futures_util::future::join_all(tokens.iter().map(|token| doors.rest(token))).await {
        answer.expect(200);
    }
    for _ in 0..5 {
        for algorithm in algorithms {
            doors.open(&jwks.sign(algorithm, alice())).await;
        }
    }
    assert_eq!(jwks.requests(), 2, "one of the api-server, one of the gateway");

    let published: Value = Answer::of(doors.0.client().get(jwks.url())).await.body;
    let key_of =
        |kty: &str| published["keys"].as_array().unwrap().iter().find(|key| key["kty"] == kty).unwrap();
    let (rsa, okp) = (key_of("RSA"), key_of("OKP"));
    let bytes_of = |value: &Value| BASE64.decode(value.as_str().unwrap()).unwrap();
    for (kind, key, secret) in [
        ("modulus", rsa, bytes_of(&rsa["n"])),
        ("modulus in base64", rsa, rsa["n"].as_str().unwrap().into()),
        ("whole key", rsa, rsa.to_string().into_bytes()),
        ("point", okp, bytes_of(&okp["x"])),
    ] {
        for algorithm in ["HS256", "RS256", "EdDSA"] {
            let forged = forged(&json!({"alg": algorithm, "kid": key["kid"]}), &good_claims(), &secret);
            doors.stay_shut(&format!("{algorithm} signed with the public {kind}"), &forged).await;
        }
    }
    let kid = rsa["kid"].as_str();
    for algorithm in algorithms {
        let foreign = alice().key(algorithm, kid.unwrap(), keys::generate(algorithm)).sign();
        doors.stay_shut("another's key under our key's id", &foreign).await;
    }
    doors
        .stay_shut("our Ed25519 key under our RSA key's id", &{
            let token = jwks.sign(Algorithm::EdDSA, alice());
            let header = BASE64.encode(json!({"alg": "EdDSA", "kid": kid}).to_string());
            format!("{header}.{}", token.split_once('.').unwrap().1)
        })
        .await;
    doors.stay_shut("no secret is configured", &alice().sign()).await;
    doors.stay_shut("alg none", &alice().unsigned()).await;
    doors.stay_shut("expired", &jwks.sign(Algorithm::ES256, alice().expires_in(-5))).await;
}

#[tokio::test]
async fn a_token_does_not_say_where_its_key_comes_from() {
    let (jwks, evil) = (JwksServer::start().await, JwksServer::start().await);
    let doors = Doors::with_jwks(&jwks).await;
    doors.open(&jwks.sign(Algorithm::ES256, Token::of("alice"))).await;
    let key = keys::generate(Algorithm::ES256);
    for kid in ["evil-key", "key-1"] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid.to_owned());
        header.jku = Some(evil.url().to_owned());
        header.x5u = Some(evil.url().to_owned());
        header.jwk = Some(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap());
        doors.stay_shut(kid, &encode(&header, &good_claims(), &key).unwrap()).await;
        let token = evil.sign(Algorithm::ES256, Token::of("alice").key_url(evil.url()));
        doors.stay_shut("jku", &token).await;
    }
    // What a header says besides is no reason to refuse a token that our own key has signed.
    doors.open(&jwks.sign(Algorithm::ES256, Token::of("alice").key_url(evil.url()))).await;
    assert_eq!(evil.requests(), 0);
}

#[tokio::test]
async fn a_rotated_key_is_found_and_made_up_key_ids_do_not_become_requests() {
    let jwks = JwksServer::start().await;
    let doors = Doors::with_jwks(&jwks).await;
    let old = jwks.sign(Algorithm::RS256, Token::of("alice"));
    doors.open(&old).await;
    jwks.rotate(Algorithm::RS256);
    doors.open(&jwks.sign(Algorithm::RS256, Token::of("alice"))).await;
    assert_eq!(jwks.requests(), 4, "both have looked again");
    doors.stay_shut("the key was withdrawn", &old).await;
    let made_up = (0..20).map(|index| {
        let kid = format!("made-up-{index}");
        let token = jwks.sign(Algorithm::ES256, Token::of("alice").key_id(None));
        let header = BASE64.encode(json!({"alg": "ES256", "kid": kid}).to_string());
        let token = format!("{header}.{}", token.split_once('.').unwrap().1);
        let doors = &doors;
        async move { doors.stay_shut("unknown key", &token).await }
    });
    futures_util::future::join_all(made_up).await;
    // How many exactly is a matter of time; the unit tests of the key cache have that.
    assert!(jwks.requests() < 20, "{} requests for 40 tokens with unknown keys", jwks.requests());
}

#[tokio::test]
async fn while_the_jwks_is_down_nobody_is_called_unauthorized_and_afterwards_it_works() {
    let jwks = JwksServer::start().await;
    jwks.set_broken(true);
    let doors = Doors::with_jwks(&jwks).await;
    let token = jwks.sign(Algorithm::EdDSA, Token::of("alice"));
    for _ in 0..10 {
        let answer = doors.rest(&token).await;
        assert!(answer.header("retry-after").is_some(), "{answer:#?}");
        answer.expect_problem(503, "overloaded");
        assert_eq!(doors.websocket(&token).await, 503);
    }
    // What is no token at all is told apart without a key.
    doors.stay_shut("no token", "naru").await;
    jwks.set_broken(false);
    eventually("the keys are asked for again", async || {
        doors.rest(&token).await.status == 200 && doors.websocket(&token).await == 101
    })
    .await;
    doors.open(&token).await;
    jwks.set_broken(true);
    doors.open(&token).await;
}

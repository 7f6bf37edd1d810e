//! The fake's service account: written for the sender, and verified when it asks for an access token.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::PROJECT;
use crate::keys;

const CLIENT_EMAIL: &str = "pusher@naru-fake.iam.example";
const KEY_ID: &str = "fake-key-1";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Google's limit for an assertion, and what it grants to clocks.
const MAX_ASSERTION_SECONDS: u64 = 3_600;

pub(super) struct Account {
    public_key: DecodingKey,
    token_uri: String,
}

impl Account {
    /// Writes the file. The key that it holds is kept, so that a restarted fake knows the senders that have read it.
    /// Fakes of one test run share a key where `may_share_key`: making one takes a while.
    pub(super) fn new(path: &Path, may_share_key: bool, token_uri: String) -> io::Result<Self> {
        static SHARED_KEY: OnceLock<String> = OnceLock::new();
        let private_key = match written_key(path) {
            Some(key) => key,
            None if may_share_key => SHARED_KEY.get_or_init(keys::rsa_private_key_pem).clone(),
            None => keys::rsa_private_key_pem(),
        };
        let file = json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": KEY_ID,
            "private_key": private_key,
            "client_email": CLIENT_EMAIL,
            "client_id": "1",
            "auth_uri": "https://accounts.example/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        });
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        writeln!(out, "{file:#}")?;
        Ok(Self { public_key: public_key(&private_key).map_err(io::Error::other)?, token_uri })
    }

    /// Whether Google would take this assertion; else its words for why not.
    pub(super) fn verify(&self, assertion: &str) -> Result<(), &'static str> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
            scope: String,
            iat: u64,
            exp: u64,
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&[&self.token_uri]);
        rules.set_required_spec_claims(&["aud", "exp", "iss"]);
        let token =
            decode::<Claims>(assertion, &self.public_key, &rules).map_err(|_| "Invalid JWT Signature.")?;
        let claims = token.claims;
        let faults = [
            (token.header.kid.as_deref() != Some(KEY_ID), "Invalid key id."),
            (claims.iss != CLIENT_EMAIL, "Invalid issuer."),
            (!claims.scope.split(' ').any(|scope| scope == SCOPE), "Invalid OAuth scope."),
            (claims.exp.saturating_sub(claims.iat) > MAX_ASSERTION_SECONDS, "Invalid lifetime."),
        ];
        faults.into_iter().find(|(is_fault, _)| *is_fault).map_or(Ok(()), |(_, words)| Err(words))
    }
}

fn written_key(path: &Path) -> Option<String> {
    let file: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let key = file["private_key"].as_str()?;
    public_key(key).ok().map(|_| key.to_owned())
}

fn public_key(private_key: &str) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    let private_key = EncodingKey::from_rsa_pem(private_key.as_bytes())?;
    DecodingKey::from_jwk(&Jwk::from_encoding_key(&private_key, Algorithm::RS256)?)
}

//! Tokens of made-up users, signed with the deployment's secret or made elsewhere.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use shared_runtime::tokens::unix_seconds;

/// Longer than any run.
const LIFETIME_SECONDS: u64 = 6 * 3_600;

pub enum Tokens {
    Signed(EncodingKey),
    /// By user id.
    Given(HashMap<String, String>),
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

impl Tokens {
    pub fn signed_with(secret: &str) -> Self {
        Self::Signed(EncodingKey::from_secret(secret.as_bytes()))
    }

    /// One line a user: the user's id, a space, the token.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut tokens = HashMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let Some((user, token)) = line.trim().split_once(' ') else {
                bail!("{}:{}: must be a user's id, a space, and a token", path.display(), index + 1);
            };
            tokens.insert(user.to_owned(), token.trim().to_owned());
        }
        Ok(Self::Given(tokens))
    }

    /// The token of this user.
    pub fn of(&self, user: &str) -> anyhow::Result<String> {
        match self {
            Self::Signed(key) => sign(key, user, None),
            Self::Given(tokens) => tokens.get(user).cloned().with_context(|| format!("no token for {user}")),
        }
    }

    /// The token of the host's back end, which may make channels for anybody.
    pub fn of_service(&self) -> anyhow::Result<String> {
        match self {
            Self::Signed(key) => sign(key, "bench", Some("service")),
            Self::Given(tokens) => tokens
                .get("service")
                .cloned()
                .context("no token of a service: add a line for the user `service`"),
        }
    }

    /// The users whose tokens were given; `None` where any user can be made up.
    pub fn users(&self) -> Option<Vec<String>> {
        match self {
            Self::Signed(_) => None,
            Self::Given(tokens) => {
                let mut users: Vec<String> =
                    tokens.keys().filter(|user| *user != "service").cloned().collect();
                users.sort_unstable();
                Some(users)
            }
        }
    }
}

fn sign(key: &EncodingKey, user: &str, role: Option<&str>) -> anyhow::Result<String> {
    let claims = Claims { sub: user, exp: unix_seconds() + LIFETIME_SECONDS, role };
    encode(&Header::new(Algorithm::HS256), &claims, key).context("cannot sign a token")
}

//! Who calls: tokens are verified here, by a shared secret or by a JWKS.

mod cache;
mod jwks;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use shared_types::Claims;
use url::Url;

use crate::secret::{OptionError, Secret, secret_from};
pub use cache::CachedVerifier;
use jwks::Jwks;

const SECRET: &str = "NARU_JWT_SECRET";
const PREVIOUS: &str = "NARU_JWT_PREVIOUS_SECRET";
/// An HS256 key shorter than its hash can be guessed (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Longest token that is looked at: far above real ones, far below what would cost time.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens (one of secret and JWKS URL is required)")]
pub struct TokenOptions {
    /// HS256 secret, at least 32 bytes
    #[arg(long, env = "NARU_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_secret: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "NARU_JWT_SECRET_FILE", value_name = "PATH")]
    jwt_secret_file: Option<PathBuf>,
    /// The secret before this one, still accepted while it is rotated
    #[arg(long, env = "NARU_JWT_PREVIOUS_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_previous_secret: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "NARU_JWT_PREVIOUS_SECRET_FILE", value_name = "PATH")]
    jwt_previous_secret_file: Option<PathBuf>,
    /// Where the issuer publishes its RS256, ES256 or EdDSA keys
    #[arg(long, env = "NARU_JWT_JWKS_URL", value_name = "URL")]
    jwt_jwks_url: Option<String>,
    /// Required `iss`
    #[arg(long, env = "NARU_JWT_ISSUER", value_name = "ISS")]
    jwt_issuer: Option<String>,
    /// Required `aud`
    #[arg(long, env = "NARU_JWT_AUDIENCE", value_name = "AUD")]
    jwt_audience: Option<String>,
}

impl TokenOptions {
    /// The secret that signs, if tokens are signed by a secret.
    pub fn signing_secret(&self) -> Result<Option<Secret>, OptionError> {
        let secret = secret_from(SECRET, self.jwt_secret.as_ref(), self.jwt_secret_file.as_deref())?;
        secret.map(|secret| long_enough(SECRET, secret)).transpose()
    }

    pub fn verifier(&self) -> Result<TokenVerifier, OptionError> {
        let previous = secret_from(
            PREVIOUS,
            self.jwt_previous_secret.as_ref(),
            self.jwt_previous_secret_file.as_deref(),
        )?;
        let url = self.jwt_jwks_url.as_deref().filter(|url| !url.is_empty());
        let keys = match (self.signing_secret()?, url) {
            (Some(_), Some(_)) => {
                return Err(OptionError::Invalid {
                    name: SECRET,
                    rule: "and NARU_JWT_JWKS_URL contradict each other: give one of them".into(),
                });
            }
            (None, None) => {
                return Err(OptionError::Invalid {
                    name: SECRET,
                    rule: "or NARU_JWT_JWKS_URL is required (--jwt-secret or --jwt-jwks-url)".into(),
                });
            }
            (Some(secret), None) => {
                let previous = previous.map(|secret| long_enough(PREVIOUS, secret)).transpose()?;
                let secrets = std::iter::once(secret).chain(previous);
                Keys::Secrets(secrets.map(|s| DecodingKey::from_secret(s.expose().as_bytes())).collect())
            }
            (None, Some(_)) if previous.is_some() => {
                return Err(OptionError::Invalid {
                    name: PREVIOUS,
                    rule: "has no meaning beside NARU_JWT_JWKS_URL".into(),
                });
            }
            (None, Some(url)) => {
                let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
                let url = url.ok_or(OptionError::Invalid {
                    name: "NARU_JWT_JWKS_URL",
                    rule: "must be an http or https URL".into(),
                })?;
                Keys::Jwks(Box::new(Jwks::new(url).map_err(|error| OptionError::Invalid {
                    name: "NARU_JWT_JWKS_URL",
                    rule: format!("cannot be used: {error}"),
                })?))
            }
        };
        let non_empty = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Ok(TokenVerifier {
            keys,
            issuer: non_empty(&self.jwt_issuer),
            audience: non_empty(&self.jwt_audience),
        })
    }

    /// Signs claims with the configured secret, `iss` and `aud` included, for trying things out.
    pub fn sign(&self, mut claims: Claims) -> Result<String, OptionError> {
        let secret =
            self.signing_secret()?.ok_or(OptionError::Missing { name: SECRET, flag: "--jwt-secret" })?;
        claims.iss = self.jwt_issuer.clone().filter(|iss| !iss.is_empty());
        claims.aud = self.jwt_audience.clone().filter(|aud| !aud.is_empty()).map(Into::into);
        let key = EncodingKey::from_secret(secret.expose().as_bytes());
        encode(&Header::new(Algorithm::HS256), &claims, &key)
            .map_err(|error| OptionError::Invalid { name: SECRET, rule: format!("cannot sign: {error}") })
    }
}

fn long_enough(name: &'static str, secret: Secret) -> Result<Secret, OptionError> {
    if secret.expose().len() >= MIN_SECRET_BYTES {
        Ok(secret)
    } else {
        Err(OptionError::Invalid { name, rule: "must be at least 32 bytes".into() })
    }
}

/// Why a token is refused. The words are shown to the caller; they say nothing about keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("The token is malformed.")]
    Malformed,
    #[error("The token's signature is not valid.")]
    Signature,
    #[error("The token has expired.")]
    Expired,
    #[error("The token was not made for this server.")]
    NotForUs,
    #[error("The keys to check the token with are not to be had now.")]
    KeysUnavailable,
}

enum Keys {
    /// The current one first.
    Secrets(Vec<DecodingKey>),
    Jwks(Box<Jwks>),
}

/// Verifies tokens. Nothing in a token chooses the algorithm or where its key comes from.
pub struct TokenVerifier {
    keys: Keys,
    issuer: Option<String>,
    audience: Option<String>,
}

impl TokenVerifier {
    /// The claims of a token that is good now.
    pub async fn verify(&self, token: &str) -> Result<Claims, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::Malformed);
        }
        let claims = match &self.keys {
            Keys::Secrets(secrets) => {
                let validation = self.validation(Algorithm::HS256);
                let mut verdict = Err(InvalidToken::Signature);
                for secret in secrets {
                    verdict = check(token, secret, &validation);
                    if !matches!(verdict, Err(InvalidToken::Signature)) {
                        break;
                    }
                }
                verdict
            }
            Keys::Jwks(jwks) => {
                let key = jwks.key_for(token).await?;
                check(token, &key.key, &self.validation(key.algorithm))
            }
        }?;
        if claims.exp <= unix_seconds() { Err(InvalidToken::Expired) } else { Ok(claims) }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // `exp` is checked to the second by `verify`; this allows for a fast clock in `nbf`.
        validation.leeway = 30;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

fn check(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, InvalidToken> {
    match decode::<Claims>(token, key, validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => InvalidToken::Signature,
            ErrorKind::ExpiredSignature => InvalidToken::Expired,
            ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience | ErrorKind::ImmatureSignature => {
                InvalidToken::NotForUs
            }
            _ => InvalidToken::Malformed,
        }),
    }
}

/// Seconds since 1970, now.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

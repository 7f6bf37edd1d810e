//! The secret between the services, checked in constant time.

use actix_web::http::header::HeaderMap;
use clap::Args;
use std::path::PathBuf;
use subtle::ConstantTimeEq;

use crate::bearer::bearer_token;
use crate::rejection::Rejection;
use crate::secret::{OptionError, Secret, secret_from};

const NAME: &str = "NARU_INTERNAL_SECRET";
const MIN_BYTES: usize = 32;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Internal calls")]
pub struct InternalSecretOptions {
    /// Secret that both services know, at least 32 bytes
    #[arg(long, env = "NARU_INTERNAL_SECRET", hide_env_values = true, value_name = "SECRET")]
    internal_secret: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "NARU_INTERNAL_SECRET_FILE", value_name = "PATH")]
    internal_secret_file: Option<PathBuf>,
}

impl InternalSecretOptions {
    pub fn resolve(&self) -> Result<InternalSecret, OptionError> {
        let secret = secret_from(NAME, self.internal_secret.as_ref(), self.internal_secret_file.as_deref())?
            .ok_or(OptionError::Missing { name: NAME, flag: "--internal-secret" })?;
        if secret.expose().len() < MIN_BYTES {
            return Err(OptionError::Invalid { name: NAME, rule: "must be at least 32 bytes".into() });
        }
        Ok(InternalSecret(secret))
    }
}

/// What an internal call must carry as its bearer token.
#[derive(Debug, Clone)]
pub struct InternalSecret(Secret);

impl InternalSecret {
    /// Refuses a call that does not know the secret. Takes as long for a near miss as for a far one.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let token = bearer_token(headers).unwrap_or_default();
        if token.as_bytes().ct_eq(self.0.expose().as_bytes()).into() {
            return Ok(());
        }
        Err(Rejection::unauthorized("Internal calls need the internal secret as their bearer token."))
    }

    /// For the caller's `Authorization` header.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

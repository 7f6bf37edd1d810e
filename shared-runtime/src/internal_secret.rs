//! The secret between the services, checked in constant time.

use actix_web::http::header::HeaderMap;
use clap::Args;
use std::path::{Path, PathBuf};
use subtle::{Choice, ConstantTimeEq};

use crate::bearer::bearer_token;
use crate::rejection::Rejection;
use crate::secret::{OptionError, Secret, secret_from};

const NAME: &str = "NARU_INTERNAL_SECRET";
const PREVIOUS: &str = "NARU_INTERNAL_PREVIOUS_SECRET";
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
    /// Another secret, accepted and never sent, while it is rotated
    #[arg(long, env = "NARU_INTERNAL_PREVIOUS_SECRET", hide_env_values = true, value_name = "SECRET")]
    internal_previous_secret: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "NARU_INTERNAL_PREVIOUS_SECRET_FILE", value_name = "PATH")]
    internal_previous_secret_file: Option<PathBuf>,
}

impl InternalSecretOptions {
    pub fn resolve(&self) -> Result<InternalSecret, OptionError> {
        let current = long_enough(NAME, self.internal_secret.as_ref(), self.internal_secret_file.as_deref())?;
        let previous = long_enough(
            PREVIOUS,
            self.internal_previous_secret.as_ref(),
            self.internal_previous_secret_file.as_deref(),
        )?;
        let current = current.ok_or(OptionError::Missing { name: NAME, flag: "--internal-secret" })?;
        Ok(InternalSecret { current, previous })
    }
}

fn long_enough(
    name: &'static str,
    given: Option<&Secret>,
    file: Option<&Path>,
) -> Result<Option<Secret>, OptionError> {
    let secret = secret_from(name, given, file)?;
    match secret {
        Some(secret) if secret.expose().len() < MIN_BYTES => {
            Err(OptionError::Invalid { name, rule: "must be at least 32 bytes".into() })
        }
        secret => Ok(secret),
    }
}

/// What an internal call must carry as its bearer token.
#[derive(Debug, Clone)]
pub struct InternalSecret {
    current: Secret,
    /// Or this, while the two are exchanged: services are restarted one after the other.
    previous: Option<Secret>,
}

impl InternalSecret {
    /// Refuses a call that does not know the secret. Takes as long for a near miss as for a far one, and does not tell
    /// by the time which of the two it was.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let token = bearer_token(headers).unwrap_or_default().as_bytes();
        let is_known = std::iter::once(&self.current)
            .chain(&self.previous)
            .fold(Choice::from(0), |known, secret| known | token.ct_eq(secret.expose().as_bytes()));
        if is_known.into() {
            return Ok(());
        }
        Err(Rejection::unauthorized("Internal calls need the internal secret as their bearer token."))
    }

    /// For the caller's `Authorization` header.
    pub fn expose(&self) -> &str {
        self.current.expose()
    }
}

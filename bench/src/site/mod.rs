//! Where the load goes: a private cluster, or a deployment that is there already.

pub mod cluster;
mod gateways;
pub mod ground;
pub mod population;
pub mod precedence;
pub mod programs;
pub mod tables;
pub mod tokens;

use std::sync::Arc;

use anyhow::{Context, bail};

use self::tokens::Tokens;
use crate::options::SiteOptions;

/// Where is measured.
pub enum Place {
    /// On private clusters, which each scenario starts as it needs them.
    Local,
    /// On this deployment; what it costs inside, and its floors, cannot be seen.
    Deployment(Site),
}

impl Place {
    pub async fn of(options: &SiteOptions) -> anyhow::Result<Self> {
        let Some(api) = &options.api else { return Ok(Self::Local) };
        let tokens = match (&options.tokens, &options.jwt_secret, &options.jwt_secret_file) {
            (Some(path), ..) => Tokens::from_file(path)?,
            (None, Some(secret), _) => Tokens::signed_with(secret.expose()),
            (None, None, Some(path)) => {
                let secret = std::fs::read_to_string(path);
                let secret = secret.with_context(|| format!("cannot read {}", path.display()))?;
                Tokens::signed_with(secret.trim_end())
            }
            (None, None, None) => {
                bail!("--api needs --jwt-secret, --jwt-secret-file or --tokens: whom to send as")
            }
        };
        let api = api.trim_end_matches('/').to_owned();
        let gateways = match options.gateway.as_slice() {
            [] => gateways::ask(&api, &tokens).await?,
            named => named.to_vec(),
        };
        Ok(Self::Deployment(Site { apis: vec![api], gateways, tokens: Arc::new(tokens) }))
    }
}

/// What clients of a Naru need to know of it.
#[derive(Clone)]
pub struct Site {
    /// Public base URLs of the api-servers, or of what stands before them. At least one.
    pub apis: Vec<String>,
    /// Where clients connect (`ws://…/ws`), one URL for each gateway. At least one.
    pub gateways: Vec<String>,
    pub tokens: Arc<Tokens>,
}

impl Site {
    /// The api-server for the client with this number: clients spread evenly.
    pub fn api(&self, client: usize) -> &str {
        &self.apis[client % self.apis.len()]
    }

    /// The gateway for the session with this number.
    pub fn gateway(&self, session: usize) -> &str {
        &self.gateways[session % self.gateways.len()]
    }
}

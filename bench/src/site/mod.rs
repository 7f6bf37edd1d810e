//! Where the load goes: a private cluster, or a deployment that is there already.

pub mod cluster;
pub mod population;
pub mod programs;
pub mod tokens;

use std::sync::Arc;

use self::tokens::Tokens;

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

//! The claims of a token, and who they make the caller.

use serde::{Deserialize, Serialize};

use crate::UserId;

/// What a token says. `iss` and `aud` are checked by the verifier when configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    /// Seconds since 1970.
    pub exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl Claims {
    /// The host's back end: may act for any user by `senderId` and may manage any channel.
    pub fn is_service(&self) -> bool {
        self.role.as_deref() == Some("service")
    }
}

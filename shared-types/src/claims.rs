//! The claims of a token, and who they make the caller.

use serde::{Deserialize, Deserializer, Serialize};

use crate::UserId;

/// What a token says. `iss` and `aud` are checked by the verifier when configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    /// Seconds since 1970.
    #[serde(deserialize_with = "whole_seconds")]
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

/// RFC 7519 allows fractions in a NumericDate, and some libraries write them. Cut off, they shorten the token.
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumericDate {
        Whole(u64),
        Fraction(f64),
    }
    Ok(match NumericDate::deserialize(deserializer)? {
        NumericDate::Whole(seconds) => seconds,
        // Saturates: before 1970 becomes 0, which has expired just as well.
        NumericDate::Fraction(seconds) => seconds as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_may_have_a_fraction() {
        let exp = |json: &str| {
            serde_json::from_str::<Claims>(&format!(r#"{{"sub":"a","exp":{json}}}"#)).map(|claims| claims.exp)
        };
        for (json, seconds) in [("1700000000", 1_700_000_000), ("1700000000.9", 1_700_000_000), ("-1.5", 0)] {
            assert_eq!(exp(json).unwrap(), seconds, "{json}");
        }
        for wrong in ["\"1700000000\"", "null", "[]", "true"] {
            assert!(exp(wrong).is_err(), "{wrong}");
        }
    }
}

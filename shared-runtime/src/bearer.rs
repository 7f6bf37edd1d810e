//! The `Authorization: Bearer` header.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

/// The token of the one `Authorization: Bearer` header; `None` when there is none, or several.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

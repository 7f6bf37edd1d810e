//! Who connects, and whether it may: origin, then bearer token or ticket.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, ORIGIN};
use shared_runtime::bearer::bearer_token;
use shared_runtime::origins::{ANY, parse_origins};
use shared_runtime::rejection::Rejection;
use shared_runtime::secret::OptionError;
use shared_runtime::tokens::{InvalidToken, unix_seconds};
use shared_types::UserId;
use tracing::debug;
use url::form_urlencoded;

use crate::state::Gateway;

/// Longer ones were not made by an api-server.
const MAX_TICKET_BYTES: usize = 128;

/// How soon a client that was turned away for our own sake may come again.
pub(crate) const COME_AGAIN: Duration = Duration::from_secs(1);

/// Whose session it is, and until when it may last.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user_id: UserId,
    /// Seconds since 1970.
    pub(crate) expires_at: u64,
}

/// Which browsers' pages may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedOrigins {
    Any,
    Only(Vec<String>),
}

impl AllowedOrigins {
    pub(crate) fn parse(options: &[String]) -> Result<Self, OptionError> {
        let origins = parse_origins(options)?;
        Ok(if origins == [ANY] { Self::Any } else { Self::Only(origins) })
    }

    /// Browsers always name their page's origin in an upgrade and nobody else has to, so without one there is no
    /// page that could be somebody else's.
    pub(crate) fn admit(&self, request: &HttpRequest) -> Result<(), Rejection> {
        let mut origins = request.headers().get_all(ORIGIN);
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return if request.headers().contains_key(ORIGIN) { Err(foreign()) } else { Ok(()) };
        };
        let is_allowed = match self {
            Self::Any => true,
            Self::Only(allowed) => {
                origin.to_str().is_ok_and(|origin| allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)))
            }
        };
        if is_allowed { Ok(()) } else { Err(foreign()) }
    }
}

fn foreign() -> Rejection {
    Rejection::forbidden("This origin may not connect here.")
}

/// Authenticates an upgrade by exactly one of `Authorization: Bearer` and `?ticket=`.
pub(crate) async fn authenticate(gateway: &Gateway, request: &HttpRequest) -> Result<Identity, Rejection> {
    let ticket = ticket_of(request.query_string())?;
    let has_header = request.headers().contains_key(AUTHORIZATION);
    match (ticket, bearer_token(request.headers())) {
        (Some(_), _) if has_header => Err(Rejection::invalid_field(
            "ticket",
            "must not come with an Authorization header: send one of them",
        )),
        (Some(ticket), _) => redeem(gateway, &ticket).await,
        (None, Some(token)) => match gateway.verifier.verify(token).await {
            Ok(claims) => Ok(Identity { user_id: claims.sub, expires_at: claims.exp }),
            Err(InvalidToken::KeysUnavailable) => Err(Rejection::overloaded(COME_AGAIN)),
            Err(error) => Err(Rejection::unauthorized(error.to_string())),
        },
        (None, None) => Err(Rejection::unauthorized(
            "Send `Authorization: Bearer` with a token, or `?ticket=` from POST /connect.",
        )),
    }
}

/// The ticket, if the query has one. Nothing else may be in it, a token least of all: URLs are logged everywhere.
fn ticket_of(query: &str) -> Result<Option<String>, Rejection> {
    let mut ticket = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "ticket" if ticket.is_none() => ticket = Some(value.into_owned()),
            "ticket" => return Err(Rejection::invalid_field("ticket", "must be given once")),
            "token" | "access_token" | "jwt" | "authorization" => {
                return Err(Rejection::invalid_field(
                    name,
                    "a token never goes in a URL: send it as `Authorization: Bearer`, or get a ticket by POST /connect",
                ));
            }
            _ => return Err(Rejection::invalid_field(name, "is not a parameter of this call")),
        }
    }
    Ok(ticket)
}

/// Takes the ticket out of the registry, so that it lets in once.
async fn redeem(gateway: &Gateway, ticket: &str) -> Result<Identity, Rejection> {
    let unknown =
        || Rejection::unauthorized("The ticket is unknown, used or expired. Get a new one by POST /connect.");
    let is_sane = ticket.len() <= MAX_TICKET_BYTES
        && ticket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if ticket.is_empty() || !is_sane {
        return Err(unknown());
    }
    let taken = gateway.session_registry.redeem_ticket(ticket).await.map_err(|error| {
        debug!(%error, "cannot redeem a ticket");
        Rejection::overloaded(COME_AGAIN)
    })?;
    let grant = taken.ok_or_else(unknown)?;
    if grant.expires_at <= unix_seconds() {
        return Err(Rejection::unauthorized(InvalidToken::Expired.to_string()));
    }
    Ok(Identity { user_id: grant.user_id, expires_at: grant.expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn allowed(options: &[&str]) -> AllowedOrigins {
        AllowedOrigins::parse(&options.iter().map(|&o| o.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn admits(allowed: &AllowedOrigins, origins: &[&str]) -> bool {
        let mut request = TestRequest::default();
        for origin in origins {
            request = request.append_header((ORIGIN, *origin));
        }
        allowed.admit(&request.to_http_request()).is_ok()
    }

    #[test]
    fn an_origin_is_admitted_when_it_is_listed_and_no_browser_needs_none() {
        let only = allowed(&["https://chat.example.com", " http://localhost:3000/ ", ""]);
        assert!(admits(&only, &[]));
        assert!(admits(&only, &["https://chat.example.com"]));
        assert!(admits(&only, &["http://localhost:3000"]));
        for foreign in ["https://evil.example", "https://chat.example.com.evil.example", "null", "", "*"] {
            assert!(!admits(&only, &[foreign]), "{foreign}");
        }
        assert!(!admits(&only, &["https://chat.example.com", "https://evil.example"]));
        assert!(!admits(&allowed(&[]), &["https://chat.example.com"]));
        assert!(admits(&allowed(&["*"]), &["https://anywhere.example"]));
        // What sandboxed pages send must not follow from an app's own scheme.
        assert!(!admits(&allowed(&["capacitor://localhost"]), &["null"]));
    }

    #[test]
    fn a_query_holds_a_ticket_or_nothing() {
        assert_eq!(ticket_of("").unwrap(), None);
        assert_eq!(ticket_of("ticket=abc").unwrap().as_deref(), Some("abc"));
        for wrong in ["ticket=a&ticket=b", "token=x", "access_token=x", "ticket=a&v=1", "x"] {
            assert!(ticket_of(wrong).is_err(), "{wrong}");
        }
    }
}

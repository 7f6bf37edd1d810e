//! Who calls: the user or service that the request's token names.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use futures_util::future::Either;
use shared_runtime::bearer::bearer_token;
use shared_runtime::rejection::Rejection;
use shared_runtime::tokens::InvalidToken;
use shared_types::{Claims, UserId};

use crate::state::State;

/// The caller, verified.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user_id: UserId,
    /// The host's back end: may act for any user and manage any channel.
    pub is_service: bool,
    /// When the token ends, in seconds since 1970.
    pub token_expires_at: u64,
}

impl Caller {
    /// The user that the call acts for: the caller, or for a service whomever it names.
    pub fn acting_as(&self, named: Option<UserId>) -> Result<UserId, Rejection> {
        match named {
            Some(user) if user == self.user_id || self.is_service => Ok(user),
            Some(_) => Err(Rejection::forbidden("Only a service may name another sender by `senderId`.")),
            None => Ok(self.user_id.clone()),
        }
    }
}

impl From<Arc<Claims>> for Caller {
    fn from(claims: Arc<Claims>) -> Self {
        Self { user_id: claims.sub.clone(), is_service: claims.is_service(), token_expires_at: claims.exp }
    }
}

type Verdict = Result<Caller, Rejection>;

impl FromRequest for Caller {
    type Error = Rejection;
    type Future = Either<Ready<Verdict>, Pin<Box<dyn Future<Output = Verdict>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(state) = request.app_data::<web::Data<State>>() else {
            let missing = std::io::Error::other("the service has no state");
            return Either::Left(ready(Err(Rejection::internal(missing))));
        };
        let Some(token) = bearer_token(request.headers()) else {
            let words = "Send a token in one `Authorization: Bearer` header.";
            return Either::Left(ready(Err(Rejection::unauthorized(words))));
        };
        if let Some(verdict) = state.tokens.remembered(token) {
            return Either::Left(ready(verdict.map(Self::from).map_err(refused)));
        }
        let (state, token) = (state.clone(), token.to_owned());
        Either::Right(Box::pin(
            async move { state.tokens.verify(&token).await.map(Self::from).map_err(refused) },
        ))
    }
}

fn refused(reason: InvalidToken) -> Rejection {
    match reason {
        InvalidToken::KeysUnavailable => Rejection::unavailable(reason),
        reason => Rejection::unauthorized(reason.to_string()),
    }
}

//! Who calls: the user or service that the request's token names.

use std::future::Future;
use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use shared_runtime::bearer::bearer_token;
use shared_runtime::rejection::Rejection;
use shared_runtime::tokens::InvalidToken;
use shared_types::UserId;

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

impl FromRequest for Caller {
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Rejection>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = bearer_token(request.headers()).map(str::to_owned);
        let state = request.app_data::<web::Data<State>>().cloned();
        Box::pin(async move {
            let Some(state) = state else {
                return Err(Rejection::internal(std::io::Error::other("the service has no state")));
            };
            let token = token.ok_or_else(|| {
                Rejection::unauthorized("Send a token in one `Authorization: Bearer` header.")
            })?;
            match state.tokens.verify(&token).await {
                Ok(claims) => Ok(Self {
                    is_service: claims.is_service(),
                    token_expires_at: claims.exp,
                    user_id: claims.sub,
                }),
                Err(reason @ InvalidToken::KeysUnavailable) => Err(Rejection::unavailable(reason)),
                Err(reason) => Err(Rejection::unauthorized(reason.to_string())),
            }
        })
    }
}

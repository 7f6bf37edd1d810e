//! `GET /ws`: a client becomes a session.

use actix_web::rt::spawn;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use shared_runtime::rejection::Rejection;
use shared_types::{ProblemCode, close_code};
use tracing::debug;

use crate::auth::{COME_AGAIN, authenticate};
use crate::metrics::ConnectOutcome;
use crate::session::bell::Bell;
use crate::session::hub::{Refused, Session};
use crate::session::run::run;
use crate::session::socket::{Ending, Socket};
use crate::state::Gateway;
use crate::upgrade::Handshake;

pub(crate) async fn connect(
    gateway: Data<Gateway>,
    bell: Data<Bell>,
    request: HttpRequest,
) -> Result<HttpResponse, actix_web::Error> {
    let outcome = upgrade(&gateway, &bell, &request).await;
    gateway.metrics.connected(match &outcome {
        Ok((_, outcome)) => *outcome,
        Err(error) => outcome_of(&gateway, error),
    });
    outcome.map(|(response, _)| response)
}

async fn upgrade(
    gateway: &Data<Gateway>,
    bell: &Data<Bell>,
    request: &HttpRequest,
) -> Result<(HttpResponse, ConnectOutcome), actix_web::Error> {
    // First of all, so that a request that cannot become a session does not use up its ticket.
    let handshake = Handshake::of(request)?;
    gateway.allowed_origins.admit(request)?;
    if gateway.draining.is_draining() || gateway.hub.is_full() {
        return Err(Rejection::overloaded(COME_AGAIN).into());
    }
    let identity = authenticate(gateway, request).await?;

    // In the hub before the claim: from the moment that others may look here, there is something to find.
    let session = Session::new(gateway.mailbox_frames, bell.clone().into_inner());
    let membership = match gateway.registry.join(identity.user_id.clone(), session) {
        Ok(membership) => membership,
        // Others were faster.
        Err(Refused::Full) => return Err(Rejection::overloaded(COME_AGAIN).into()),
        Err(Refused::TooManyOfThisUser) => {
            let gateway = gateway.clone();
            let answer = handshake.accept(request, move |connection| {
                let socket = Socket::open(connection, &[], gateway.socket_limits);
                let closing = socket.close(Ending::Ours(close_code::TOO_MANY_SESSIONS));
                spawn(gateway.sockets.track_future(closing));
            });
            return Ok((answer, ConnectOutcome::TooManySessions));
        }
    };
    // A session that nobody can find would look alive and miss its entries, so without a claim there is none: the
    // client comes again, to this gateway or another.
    if let Err(error) = gateway.registry.claim(&identity.user_id).await {
        // The keeper has logged the outage once; a line for each client would bury it.
        debug!(%error, userId = %identity.user_id, "cannot claim");
        return Err(Rejection::overloaded(COME_AGAIN).into());
    }
    // Asked again: a drain that began meanwhile may not have seen this session.
    if gateway.draining.is_draining() {
        return Err(Rejection::overloaded(COME_AGAIN).into());
    }

    debug!(sessionId = %membership.session().id, userId = %identity.user_id, "session begins");
    let gateway = gateway.clone();
    let answer = handshake.accept(request, move |connection| {
        let sockets = gateway.sockets.clone();
        spawn(sockets.track_future(run(gateway, identity, membership, connection)));
    });
    Ok((answer, ConnectOutcome::Ready))
}

fn outcome_of(gateway: &Gateway, error: &actix_web::Error) -> ConnectOutcome {
    match error.as_error::<Rejection>().map(|rejection| rejection.code) {
        Some(ProblemCode::Unauthorized) => ConnectOutcome::Unauthorized,
        Some(ProblemCode::Forbidden) => ConnectOutcome::ForeignOrigin,
        Some(ProblemCode::Overloaded) if gateway.draining.is_draining() => ConnectOutcome::Draining,
        Some(ProblemCode::Overloaded) => ConnectOutcome::Overloaded,
        _ => ConnectOutcome::Invalid,
    }
}

//! One file per resource; each handler is the list of steps that its call takes.

pub mod channels;
pub mod connect;
pub mod devices;
pub mod health;
pub mod history;
pub mod internal;
pub mod members;
pub mod read;
pub mod send_message;
pub mod sync;
pub mod try_out;
pub mod view;

use shared_runtime::rejection::Rejection;
use shared_types::{ChannelId, ProblemCode};

use crate::auth::Caller;
use crate::delivery::Delivery;
use crate::state::State;
use crate::store::{Change, Standing, StoreError};

/// What a failing store means to a caller: try again when it is away, our fault otherwise.
pub fn store_failed(error: StoreError) -> Rejection {
    match error {
        StoreError::Unavailable(_) => Rejection::unavailable(error),
        _ => Rejection::internal(error),
    }
}

/// What the caller is in a channel that it may see; any other is not found.
pub async fn visible(state: &State, channel: ChannelId, caller: &Caller) -> Result<Standing, Rejection> {
    let standing = state.store.standing(channel, &caller.user_id).await.map_err(store_failed)?;
    standing
        .filter(|standing| standing.role.is_some() || caller.is_service)
        .ok_or_else(Rejection::channel_not_found)
}

/// Sees to the delivery of a committed change; a refused one becomes its problem.
pub async fn settle(delivery: &Delivery, change: Change) -> Result<Option<shared_types::Entry>, Rejection> {
    match change {
        Change::Committed(committed) => {
            let entry = committed.entry.clone();
            delivery.submit(vec![committed]).await;
            Ok(Some(entry))
        }
        Change::Unchanged => Ok(None),
        Change::NotFound => Err(Rejection::channel_not_found()),
        Change::Forbidden(why) => Err(Rejection::forbidden(why)),
        Change::Refused(why) => Err(Rejection::new(ProblemCode::Conflict, why)),
    }
}

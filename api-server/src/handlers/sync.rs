//! `POST /sync`: what a client has missed, in all its channels at once.

use std::collections::{BTreeMap, HashMap};

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_types::{ChannelId, Seq};
use utoipa::ToSchema;

use super::history::{EntryPage, MAX_PAGE};
use super::store_failed;
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::state::State;
use crate::store::Page;

const MAX_CHANNELS: usize = 1_000;
const DEFAULT_LIMIT: i64 = 100;
/// Entries of one answer: 2,000 of the largest make about 60 MB, of ordinary ones 600 KB.
const MAX_ENTRIES: i64 = 2_000;
/// Ids of channels that the client did not name; a client with more unknown ones reads the list.
const MAX_NEW_CHANNELS: i64 = 1_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// Cursor by channel id: the highest `seq` up to which the client has everything. At most 1,000.
    #[schema(value_type = HashMap<String, i64>)]
    channels: HashMap<ChannelId, Seq>,
    /// Entries for each channel, 1 to 200; 100 when absent. With many channels fewer are sent, and `hasMore` says so.
    #[schema(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// Those of the named channels that the caller is in.
    #[schema(value_type = HashMap<String, EntryPage>)]
    channels: BTreeMap<ChannelId, EntryPage>,
    /// The caller's channels that were not named.
    #[schema(value_type = Vec<uuid::Uuid>)]
    new_channels: Vec<ChannelId>,
}

/// Read what was missed.
#[utoipa::path(
    post, path = "/sync", tag = "messages", request_body = Sync,
    responses((status = 200, description = "The entries after each cursor", body = Synced)),
    security(("bearer" = []))
)]
pub async fn sync(
    caller: Caller,
    JsonBody(body): JsonBody<Sync>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    if body.channels.len() > MAX_CHANNELS {
        return Err(Rejection::invalid_field("channels", "must be at most 1,000 cursors"));
    }
    if let Some((channel, _)) = body.channels.iter().find(|(_, cursor)| **cursor < 0) {
        return Err(Rejection::invalid_field(format!("channels.{channel}"), "must be at least 0"));
    }
    let limit = body.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Rejection::invalid_field("limit", "must be a whole number from 1 to 200"));
    }
    // Every channel gets at least one, so that each call makes progress everywhere.
    let share = MAX_ENTRIES / i64::try_from(body.channels.len().max(1)).unwrap_or(MAX_ENTRIES);
    let limit = limit.min(share.max(1));
    let pages: HashMap<ChannelId, Page> =
        state.store.sync(&caller.user_id, &body.channels, limit).await.map_err(store_failed)?;
    let named: Vec<ChannelId> = body.channels.keys().copied().collect();
    let new_channels = state
        .store
        .channels_besides(&caller.user_id, &named, MAX_NEW_CHANNELS)
        .await
        .map_err(store_failed)?;
    let channels = pages.into_iter().map(|(id, page)| (id, page.into())).collect();
    Ok(HttpResponse::Ok().json(Synced { channels, new_channels }))
}

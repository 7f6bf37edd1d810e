//! `/channels`: create, list, show, rename.

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_types::{ChannelId, UserId};
use utoipa::{IntoParams, ToSchema};

use super::view::ChannelBody;
use super::{settle, store_failed};
use crate::auth::Caller;
use crate::body::{JsonBody, path_segment, query, query_number};
use crate::state::State;
use crate::store::{ChannelCursor, ChannelKind, ChannelView, Role};

const MAX_MEMBERS_PER_CALL: usize = 1_000;
const MAX_NAME_CHARACTERS: usize = 128;
const DEFAULT_PAGE: i64 = 50;
const MAX_PAGE: i64 = 200;
/// The year 5138: a cursor from beyond is none of ours, and one from far beyond is none that Postgres can read.
const MAX_CURSOR_US: i64 = 100_000_000_000 * 1_000_000;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateChannel {
    kind: ChannelKind,
    /// At most 1,000. Of a direct channel: the other participant; the caller may be named too.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    member_ids: Vec<UserId>,
    /// Of a group.
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// For a service: the user that it acts for.
    #[schema(value_type = Option<String>)]
    sender_id: Option<UserId>,
}

/// Create a channel.
///
/// The caller is a participant and, in a group, its owner. A direct channel exists once per pair: 200 with the
/// existing one. A service that names no `senderId` is no participant itself; the first member is then the owner.
#[utoipa::path(
    post, path = "/channels", tag = "channels", request_body = CreateChannel,
    responses(
        (status = 201, description = "Created", body = ChannelBody),
        (status = 200, description = "The pair's existing direct channel", body = ChannelBody),
        (status = 422, description = "A field is wrong", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn create_channel(
    caller: Caller,
    JsonBody(body): JsonBody<CreateChannel>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    if body.member_ids.len() > MAX_MEMBERS_PER_CALL {
        return Err(Rejection::invalid_field("memberIds", "must be at most 1,000 user ids"));
    }
    let creator = match (&body.sender_id, caller.is_service) {
        (None, true) => None,
        _ => Some(caller.acting_as(body.sender_id.clone())?),
    };
    // The creator first, everyone once, in the order given.
    let mut users: Vec<UserId> = Vec::with_capacity(body.member_ids.len() + 1);
    let mut seen = std::collections::HashSet::new();
    for user in creator.iter().cloned().chain(body.member_ids) {
        if seen.insert(user.clone()) {
            users.push(user);
        }
    }
    let (channel, is_new) = match body.kind {
        ChannelKind::Direct => {
            let [one, other] = users.as_slice() else {
                return Err(Rejection::invalid_field(
                    "memberIds",
                    "must make exactly two participants of a direct channel",
                ));
            };
            if body.name.is_some() {
                return Err(Rejection::invalid_field("name", "must be absent: a direct channel has no name"));
            }
            state.store.open_direct(one, other).await.map_err(store_failed)?
        }
        ChannelKind::Group => {
            if users.is_empty() {
                return Err(Rejection::invalid_field("memberIds", "must name at least one user"));
            }
            let name = body.name.map(checked_name).transpose()?;
            let roles = std::iter::once(Role::Owner).chain(std::iter::repeat(Role::Member));
            let members: Vec<_> = users.iter().cloned().zip(roles).collect();
            (state.store.create_group(name.as_deref(), &members).await.map_err(store_failed)?, true)
        }
    };
    let viewer = creator.as_ref().unwrap_or(&caller.user_id);
    let view = show(&state, channel, viewer, caller.is_service).await?;
    Ok(if is_new { HttpResponse::Created().json(view) } else { HttpResponse::Ok().json(view) })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// 1 to 200; 50 when absent.
    limit: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelPage {
    channels: Vec<ChannelBody>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List my channels, latest activity first.
#[utoipa::path(
    get, path = "/channels", tag = "channels", params(PageQuery),
    responses((status = 200, description = "A page", body = ChannelPage)),
    security(("bearer" = []))
)]
pub async fn list_channels(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let page: PageQuery = query(&request)?;
    let limit = query_number("limit", page.limit.as_deref(), 1..=MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    let after = page.cursor.as_deref().map(parse_cursor).transpose()?;
    let mut channels = state.store.channels(&caller.user_id, after, limit + 1).await.map_err(store_failed)?;
    let page_length = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = channels.len() > page_length;
    channels.truncate(page_length);
    let next_cursor = channels.last().filter(|_| has_more).map(format_cursor);
    let channels = channels.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(ChannelPage { channels, next_cursor }))
}

/// Show one channel.
#[utoipa::path(
    get, path = "/channels/{channelId}", tag = "channels", params(("channelId" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The channel", body = ChannelBody),
        (status = 404, description = "No such channel, or the caller is no participant", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn show_channel(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    Ok(HttpResponse::Ok().json(show(&state, channel, &caller.user_id, caller.is_service).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameChannel {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
}

/// Rename a group (owner, admin).
#[utoipa::path(
    patch, path = "/channels/{channelId}", tag = "channels", params(("channelId" = uuid::Uuid, Path)),
    request_body = RenameChannel,
    responses(
        (status = 200, description = "The channel", body = ChannelBody),
        (status = 403, description = "The caller is a plain member", body = shared_types::Problem),
        (status = 404, description = "No such channel, or the caller is no participant", body = shared_types::Problem),
        (status = 409, description = "A direct channel has no name", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn rename_channel(
    caller: Caller,
    request: HttpRequest,
    JsonBody(body): JsonBody<RenameChannel>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let name = checked_name(body.name)?;
    let change =
        state.store.rename(channel, &caller.user_id, caller.is_service, &name).await.map_err(store_failed)?;
    settle(&state.delivery, change).await?;
    Ok(HttpResponse::Ok().json(show(&state, channel, &caller.user_id, caller.is_service).await?))
}

async fn show(
    state: &State,
    channel: ChannelId,
    viewer: &UserId,
    sees_all: bool,
) -> Result<ChannelBody, Rejection> {
    let view = state.store.channel(channel, viewer, sees_all).await.map_err(store_failed)?;
    view.map(Into::into).ok_or_else(Rejection::channel_not_found)
}

fn checked_name(name: String) -> Result<String, Rejection> {
    let is_right = (1..=MAX_NAME_CHARACTERS).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.chars().any(char::is_control);
    if is_right {
        Ok(name)
    } else {
        Err(Rejection::invalid_field(
            "name",
            "must be 1 to 128 characters, not only spaces, without control characters",
        ))
    }
}

/// Opaque to clients: where the page ended.
fn format_cursor(last: &ChannelView) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{}", last.updated_at.as_datetime().timestamp_micros(), last.id))
}

fn parse_cursor(raw: &str) -> Result<ChannelCursor, Rejection> {
    let parse = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(raw).ok()?).ok()?;
        let (updated_at_us, id) = text.split_once('/')?;
        let updated_at_us = updated_at_us.parse().ok()?;
        if !(0..MAX_CURSOR_US).contains(&updated_at_us) {
            return None;
        }
        Some(ChannelCursor { updated_at_us, id: id.parse().ok()? })
    };
    parse().ok_or_else(|| Rejection::invalid_field("cursor", "must be the `nextCursor` of a page"))
}

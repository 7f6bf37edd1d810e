//! `/channels/{channelId}/members`: list, add, change a role, remove or leave.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_types::{EntryBody, ProblemCode, UserId};
use utoipa::{IntoParams, ToSchema};

use super::view::MemberBody;
use super::{settle, store_failed, visible};
use crate::auth::Caller;
use crate::body::{JsonBody, path_segment, query, query_number};
use crate::state::State;
use crate::store::{Change, Role};

const MAX_USERS_PER_CALL: usize = 1_000;
const DEFAULT_PAGE: i64 = 100;
const MAX_PAGE: i64 = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MemberQuery {
    /// 1 to 1,000; 100 when absent.
    limit: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberPage {
    members: Vec<MemberBody>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List the members, by user id.
#[utoipa::path(
    get, path = "/channels/{channelId}/members", tag = "members",
    params(("channelId" = uuid::Uuid, Path), MemberQuery),
    responses((status = 200, description = "A page", body = MemberPage)),
    security(("bearer" = []))
)]
pub async fn list_members(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let page: MemberQuery = query(&request)?;
    let limit = query_number("limit", page.limit.as_deref(), 1..=MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    let after: Option<UserId> = page
        .cursor
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| Rejection::invalid_field("cursor", "must be the `nextCursor` of a page"))?;
    visible(&state, channel, &caller).await?;
    let mut members = state.store.members(channel, after.as_ref(), limit + 1).await.map_err(store_failed)?;
    let page_length = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = members.len() > page_length;
    members.truncate(page_length);
    let next_cursor = members.last().filter(|_| has_more).map(|member| member.user_id.to_string());
    let members = members.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(MemberPage { members, next_cursor }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMembers {
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    user_ids: Vec<UserId>,
}

/// Who was added; those who were in already are not listed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddedMembers {
    #[schema(value_type = Vec<String>)]
    added: Vec<UserId>,
}

/// Add members to a group (owner, admin).
#[utoipa::path(
    post, path = "/channels/{channelId}/members", tag = "members", params(("channelId" = uuid::Uuid, Path)),
    request_body = AddMembers,
    responses(
        (status = 200, description = "They are members now", body = AddedMembers),
        (status = 403, description = "The caller is a plain member", body = shared_types::Problem),
        (status = 409, description = "A direct channel's participants do not change", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn add_members(
    caller: Caller,
    request: HttpRequest,
    JsonBody(body): JsonBody<AddMembers>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    if !(1..=MAX_USERS_PER_CALL).contains(&body.user_ids.len()) {
        return Err(Rejection::invalid_field("userIds", "must be 1 to 1,000 user ids"));
    }
    let change = state
        .store
        .add_members(channel, &caller.user_id, caller.is_service, &body.user_ids)
        .await
        .map_err(store_failed)?;
    let entry = settle(&state.delivery, change).await?;
    let added = match entry.map(|entry| entry.body) {
        Some(EntryBody::MemberJoined { user_ids }) => user_ids,
        _ => Vec::new(),
    };
    Ok(HttpResponse::Ok().json(AddedMembers { added }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    role: Role,
}

/// Change a member's role (owner).
#[utoipa::path(
    patch, path = "/channels/{channelId}/members/{userId}", tag = "members",
    params(("channelId" = uuid::Uuid, Path), ("userId" = String, Path)), request_body = SetRole,
    responses(
        (status = 200, description = "The member", body = MemberBody),
        (status = 403, description = "The caller is no owner", body = shared_types::Problem),
        (status = 409, description = "The channel would have no owner", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn set_role(
    caller: Caller,
    request: HttpRequest,
    JsonBody(body): JsonBody<SetRole>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let user: UserId = path_segment(&request, "userId")?;
    let outcome = state
        .store
        .set_role(channel, &caller.user_id, caller.is_service, &user, body.role)
        .await
        .map_err(store_failed)?;
    match outcome {
        Ok(member) => Ok(HttpResponse::Ok().json(MemberBody::from(member))),
        Err(Change::Unchanged) => Err(no_such_member()),
        Err(change) => settle(&state.delivery, change).await.map(|_| HttpResponse::NoContent().finish()),
    }
}

/// Remove a member, or leave.
///
/// When the last owner goes, the longest-standing admin becomes owner, else the longest-standing member.
#[utoipa::path(
    delete, path = "/channels/{channelId}/members/{userId}", tag = "members",
    params(("channelId" = uuid::Uuid, Path), ("userId" = String, Path)),
    responses(
        (status = 204, description = "The user is no member any more"),
        (status = 403, description = "The caller's role does not reach that far", body = shared_types::Problem),
        (status = 409, description = "A direct channel's participants do not change", body = shared_types::Problem),
    ),
    security(("bearer" = []))
)]
pub async fn remove_member(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let user: UserId = path_segment(&request, "userId")?;
    let change = state
        .store
        .remove_member(channel, &caller.user_id, caller.is_service, &user)
        .await
        .map_err(store_failed)?;
    match settle(&state.delivery, change).await? {
        Some(_) => Ok(HttpResponse::NoContent().finish()),
        None => Err(no_such_member()),
    }
}

fn no_such_member() -> Rejection {
    Rejection::new(ProblemCode::NotFound, "The channel has no such member.")
}

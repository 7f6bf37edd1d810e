//! `PUT /channels/{channelId}/read`: the read cursor.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_types::Seq;
use shared_types::frames::ServerFrame;
use utoipa::ToSchema;

use super::{store_failed, visible};
use crate::auth::Caller;
use crate::body::{JsonBody, path_segment};
use crate::delivery::ephemeral::Ephemeral;
use crate::state::State;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// 0 to the channel's `lastSeq`.
    seq: Seq,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadCursor {
    /// Where the cursor stands now: it never moves back.
    read_seq: Seq,
}

/// Move my read cursor forward.
#[utoipa::path(
    put, path = "/channels/{channelId}/read", tag = "channels", params(("channelId" = uuid::Uuid, Path)),
    request_body = MarkRead, responses((status = 200, description = "The cursor", body = ReadCursor)),
    security(("bearer" = []))
)]
pub async fn mark_read(
    caller: Caller,
    request: HttpRequest,
    JsonBody(body): JsonBody<MarkRead>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let standing = visible(&state, channel, &caller).await?;
    if !(0..=standing.last_seq).contains(&body.seq) {
        let rule = format!("must be from 0 to the channel's lastSeq, {}", standing.last_seq);
        return Err(Rejection::invalid_field("seq", rule));
    }
    // A service that is no participant has no cursor.
    let read = state.store.mark_read(channel, &caller.user_id, body.seq).await.map_err(store_failed)?;
    let read = read.ok_or_else(Rejection::channel_not_found)?;
    let read_seq = read.seq;
    if read.has_moved {
        let frame = ServerFrame::Read { channel_id: channel, user_id: caller.user_id, read_seq };
        state.delivery.tell(Ephemeral::new(channel, read.membership_version, &frame).into_iter().collect());
    }
    Ok(HttpResponse::Ok().json(ReadCursor { read_seq }))
}

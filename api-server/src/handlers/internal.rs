//! `/internal/…`: what gateways ask for. The routes have checked that they are gateways.

use std::collections::{HashMap, HashSet};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use shared_runtime::rejection::Rejection;
use shared_types::api_server_api::{
    AckRequest, MAX_ACKS, MAX_ENTRIES, MAX_NEW_CHANNELS, MAX_RESUMES, NamedChannel, NewChannel,
    ResumableChannels, ResumeRequest, ResumeResponse, ResumeSession,
};
use shared_types::frames::ServerFrame;
use shared_types::{ChannelId, UserId};

use super::history::EntryPage;
use super::store_failed;
use crate::body::{JsonBody, path_segment, query, query_number};
use crate::delivery::ephemeral::Ephemeral;
use crate::state::State;
use crate::store::{Membership, MovedCursor, Window};

/// Most bytes of a body: as many resumes as one request may hold, each as large as a client's frame may be (64 KiB).
pub const MAX_INTERNAL_BODY_BYTES: usize = 16 * 1024 * 1024;

/// `POST /internal/acks`: moves delivered cursors, and tells the channels.
pub async fn acks(
    JsonBody(body): JsonBody<AckRequest>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    if body.acks.len() > MAX_ACKS {
        return Err(Rejection::invalid_field("acks", format!("must be at most {MAX_ACKS} acks")));
    }
    let moved = state.store.acknowledge(&body.acks).await.map_err(store_failed)?;
    state.metrics.acks.inc_by(body.acks.len() as u64);
    state.delivery.tell(moved.into_iter().filter_map(delivered).collect());
    Ok(HttpResponse::NoContent().finish())
}

fn delivered(moved: MovedCursor) -> Option<Ephemeral> {
    let MovedCursor { user_id, channel_id, seq, membership_version } = moved;
    let frame = ServerFrame::Delivered { channel_id, user_id, delivered_seq: seq };
    Ephemeral::new(channel_id, membership_version, &frame)
}

/// `POST /internal/resume`: what there is for each of these sessions, in one statement.
pub async fn resume(
    JsonBody(body): JsonBody<ResumeRequest>,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    if body.sessions.len() > MAX_RESUMES {
        return Err(Rejection::invalid_field("sessions", format!("must be at most {MAX_RESUMES} sessions")));
    }
    let users: HashSet<&UserId> = body.sessions.iter().map(|session| &session.user_id).collect();
    let users: Vec<UserId> = users.into_iter().cloned().collect();
    let memberships = state.store.memberships(&users).await.map_err(store_failed)?;
    let sessions = body.sessions.into_iter().map(|session| resumable(session, &memberships)).collect();
    Ok(HttpResponse::Ok().json(ResumeResponse { sessions }))
}

fn resumable(session: ResumeSession, memberships: &HashMap<UserId, Vec<Membership>>) -> ResumableChannels {
    let named: HashSet<ChannelId> = session.channels.into_iter().collect();
    let mut answer = ResumableChannels { channels: HashMap::new(), new_channels: Vec::new() };
    for membership in memberships.get(&session.user_id).into_iter().flatten() {
        let Membership { channel_id, last_seq, joined_seq } = *membership;
        if named.contains(&channel_id) {
            answer.channels.insert(channel_id, NamedChannel { last_seq, joined_seq });
        } else if answer.new_channels.len() < MAX_NEW_CHANNELS {
            answer.new_channels.push(NewChannel { channel_id, last_seq, joined_seq });
        }
    }
    answer
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntriesQuery {
    after_seq: Option<String>,
    limit: Option<String>,
}

/// `GET /internal/channels/{channelId}/entries?afterSeq=&limit=`: the log after a cursor. A channel that does not exist
/// has no entries.
pub async fn entries(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let asked: EntriesQuery = query(&request)?;
    let after = query_number("afterSeq", asked.after_seq.as_deref(), 0..=i64::MAX)?.unwrap_or(0);
    let limit = query_number("limit", asked.limit.as_deref(), 1..=MAX_ENTRIES)?.unwrap_or(MAX_ENTRIES);
    let page = state.store.history(channel, Window::After(after), limit).await.map_err(store_failed)?;
    Ok(HttpResponse::Ok().json(EntryPage::from(page)))
}

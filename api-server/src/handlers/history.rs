//! `GET /channels/{channelId}/messages`: pages of a channel's log.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use shared_runtime::rejection::Rejection;
use shared_types::{Entry, Seq};
use utoipa::{IntoParams, ToSchema};

use super::view::EntrySchema;
use super::{store_failed, visible};
use crate::auth::Caller;
use crate::body::{path_segment, query, query_number};
use crate::state::State;
use crate::store::{Page, Window};

const DEFAULT_PAGE: i64 = 50;
pub const MAX_PAGE: i64 = 200;

/// At most one of the three; none: the newest entries.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct HistoryQuery {
    /// The newest entries before this `seq`.
    before_seq: Option<String>,
    /// The oldest entries after this `seq`.
    after_seq: Option<String>,
    /// The entries around this `seq`.
    around_seq: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<String>,
}

/// Ascending `seq`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryPage {
    #[schema(value_type = Vec<EntrySchema>)]
    entries: Vec<Entry>,
    /// Whether there are more in the direction of paging; with `aroundSeq`, on either side.
    has_more: bool,
    /// Up to here nothing is kept any more. Said when the entries do not begin right after the cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    removed_seq: Option<Seq>,
}

impl From<Page> for EntryPage {
    fn from(page: Page) -> Self {
        let removed_seq = (page.removed_seq > 0).then_some(page.removed_seq);
        Self { entries: page.entries, has_more: page.has_more, removed_seq }
    }
}

/// Read a channel's log.
#[utoipa::path(
    get, path = "/channels/{channelId}/messages", tag = "messages",
    params(("channelId" = uuid::Uuid, Path), HistoryQuery),
    responses((status = 200, description = "A page", body = EntryPage)),
    security(("bearer" = []))
)]
pub async fn history(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Rejection> {
    let channel = path_segment(&request, "channelId")?;
    let asked: HistoryQuery = query(&request)?;
    let limit = query_number("limit", asked.limit.as_deref(), 1..=MAX_PAGE)?.unwrap_or(DEFAULT_PAGE);
    let window = asked.window()?;
    visible(&state, channel, &caller).await?;
    let page = state.store.history(channel, window, limit).await.map_err(store_failed)?;
    Ok(HttpResponse::Ok().json(EntryPage::from(page)))
}

impl HistoryQuery {
    fn window(&self) -> Result<Window, Rejection> {
        let before = query_number("beforeSeq", self.before_seq.as_deref(), 1..=i64::MAX)?;
        let after = query_number("afterSeq", self.after_seq.as_deref(), 0..=i64::MAX)?;
        let around = query_number("aroundSeq", self.around_seq.as_deref(), 1..=i64::MAX)?;
        match (before, after, around) {
            (None, None, None) => Ok(Window::Latest),
            (Some(seq), None, None) => Ok(Window::Before(seq)),
            (None, Some(seq), None) => Ok(Window::After(seq)),
            (None, None, Some(seq)) => Ok(Window::Around(seq)),
            _ => Err(Rejection::invalid_field(
                "beforeSeq",
                "must not stand beside afterSeq or aroundSeq: give one of them",
            )),
        }
    }
}

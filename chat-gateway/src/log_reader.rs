//! Reads channels' logs for all sessions of this gateway: who asks for the same page at the same time shares it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared_types::api_server_api::EntriesResponse;
use shared_types::{ChannelId, Seq};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tracing::warn;

use crate::api_client::{ApiClient, ApiError};
use crate::metrics::Metrics;
use crate::session::frame::Frame;

/// Requests in flight: enough to keep an api-server busy, few enough not to crowd out what people send.
const MAX_REQUESTS: usize = 16;
/// Pages that are being read or wait to be read: with ten thousand sessions that resume at once, each at a place of
/// its own, a place for each. Beyond it whoever asks is told to come again.
const MAX_PAGES: usize = 16_384;
/// A page is kept this long for others who ask a little later: those of one storm come within a second or two.
const KEPT: Duration = Duration::from_millis(1_500);
/// Kept pages leave room for those that are read.
const MAX_KEPT_PAGES: usize = MAX_PAGES / 4;
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;
/// An api-server that was restarted is back within this. Longer behind, clients are better off elsewhere.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the log has after a cursor.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Up to here nothing is kept any more: no more is to be waited for. Mostly 0.
    pub(crate) removed_seq: Seq,
    /// Consecutive entries, each with its position, right after the cursor or after what has been removed.
    pub(crate) frames: Arc<[Arc<Frame>]>,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("too many pages are being read")]
    TooMany,
    /// The log has nothing there, or something else than it should.
    #[error("the log does not go on there")]
    Broken,
}

type Key = (ChannelId, Seq);
type Reading = watch::Receiver<Option<Result<Page, Unreadable>>>;

pub(crate) struct LogReader {
    api: Arc<ApiClient>,
    metrics: Arc<Metrics>,
    requests: Semaphore,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    readings: HashMap<Key, Reading>,
    kept: usize,
    kept_bytes: usize,
}

impl LogReader {
    pub(crate) fn new(api: Arc<ApiClient>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { api, metrics, requests: Semaphore::new(MAX_REQUESTS), pages: Mutex::default() })
    }

    /// The entries that follow `after_seq`: at least one, or that some have been removed, or an error. There must be one;
    /// as of when the page was read there may have been fewer than there are now.
    pub(crate) async fn read(
        self: Arc<Self>,
        channel_id: ChannelId,
        after_seq: Seq,
    ) -> Result<Page, Unreadable> {
        let mut reading = self.reading((channel_id, after_seq))?;
        // The reading task ends without a word only when the process does.
        let page = reading.wait_for(Option::is_some).await.map_err(|_| ApiError::Unavailable)?;
        page.clone().unwrap_or(Err(Unreadable::Broken))
    }

    fn reading(self: &Arc<Self>, key: Key) -> Result<Reading, Unreadable> {
        let mut pages = self.pages();
        if let Some(reading) = pages.readings.get(&key) {
            self.metrics.log_pages_shared.inc();
            return Ok(reading.clone());
        }
        if pages.readings.len() >= MAX_PAGES {
            return Err(Unreadable::TooMany);
        }
        let (done, reading) = watch::channel(None);
        pages.readings.insert(key, reading.clone());
        // A task of its own: whoever asked first may leave, and the others still want it.
        tokio::spawn(self.clone().run(key, done));
        Ok(reading)
    }

    async fn run(self: Arc<Self>, key: Key, done: watch::Sender<Option<Result<Page, Unreadable>>>) {
        let page = self.fetch(key).await;
        self.metrics.log_read(page.is_ok());
        let bytes = page.as_ref().map_or(0, |page| page.frames.iter().map(|frame| frame.wire().len()).sum());
        done.send_replace(Some(page));
        // A failure is nobody else's: whoever asks next tries anew.
        if bytes > 0 && self.keep(bytes) {
            sleep(KEPT).await;
            let mut pages = self.pages();
            pages.kept -= 1;
            pages.kept_bytes -= bytes;
        }
        let mut pages = self.pages();
        pages.readings.remove(&key);
        if pages.readings.is_empty() {
            pages.readings.shrink_to(0);
        }
    }

    async fn fetch(&self, (channel_id, after_seq): Key) -> Result<Page, Unreadable> {
        let _permit = self.requests.acquire().await.map_err(|_| ApiError::Unavailable)?;
        let answer = self.api.entries(channel_id, after_seq, PATIENCE).await?;
        let page = parse(answer, channel_id, after_seq);
        if page.is_none() {
            warn!(gatewayId = %self.api.gateway_id(), channelId = %channel_id, afterSeq = after_seq, "the log has not what must be there");
        }
        page.ok_or(Unreadable::Broken)
    }

    fn keep(&self, bytes: usize) -> bool {
        let mut pages = self.pages();
        let has_room = pages.kept < MAX_KEPT_PAGES && pages.kept_bytes + bytes <= MAX_KEPT_BYTES;
        if has_room {
            pages.kept += 1;
            pages.kept_bytes += bytes;
        }
        has_room
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Nothing panics half-way through a change.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page, if it is one: entries of this channel that follow one by one, with nothing kept between `after_seq` and the
/// first. That is removed from the beginning only, so a hole that begins later is none of retention's.
fn parse(answer: EntriesResponse, channel_id: ChannelId, after_seq: Seq) -> Option<Page> {
    let EntriesResponse { entries, removed_seq, .. } = answer;
    let frames: Vec<_> =
        entries.iter().map(|entry| Frame::from_api(entry.get()).ok().map(Arc::new)).collect::<Option<_>>()?;
    let seq_of =
        |frame: &Arc<Frame>| frame.position.filter(|at| at.channel_id == channel_id).map(|at| at.seq);
    let mut last = after_seq;
    for (index, frame) in frames.iter().enumerate() {
        let seq = seq_of(frame)?;
        // More may have been removed after the page was read.
        let is_next = seq == last + 1 || (index == 0 && seq > last && seq <= removed_seq + 1);
        if !is_next {
            return None;
        }
        last = seq;
    }
    (last > after_seq || removed_seq > after_seq).then(|| Page { removed_seq, frames: frames.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(after_seq: Seq, seqs: &[Seq], removed_seq: Seq) -> Option<(Seq, usize)> {
        let channel_id = ChannelId::generate();
        let entries: Vec<_> =
            seqs.iter().map(|seq| json!({"type": "message", "channelId": channel_id, "seq": seq})).collect();
        let answer = json!({"entries": entries, "hasMore": false, "removedSeq": removed_seq});
        let page = parse(serde_json::from_str(&answer.to_string()).unwrap(), channel_id, after_seq);
        page.map(|page| (page.removed_seq, page.frames.len()))
    }

    #[test]
    fn a_page_goes_on_after_the_cursor_or_after_what_has_been_removed() {
        assert_eq!(parsed(3, &[4, 5], 0), Some((0, 2)));
        assert_eq!(parsed(3, &[8, 9], 7), Some((7, 2)));
        // Removed between the reading of the page and the look at where the log begins.
        assert_eq!(parsed(3, &[8, 9], 12), Some((12, 2)));
        assert_eq!(parsed(3, &[], 10), Some((10, 0)));
    }

    #[test]
    fn a_page_with_a_hole_that_retention_has_not_made_is_none() {
        assert_eq!(parsed(3, &[], 0), None);
        assert_eq!(parsed(3, &[], 3), None);
        assert_eq!(parsed(3, &[8, 9], 0), None);
        assert_eq!(parsed(3, &[8, 9], 5), None);
        assert_eq!(parsed(3, &[4, 6], 9), None);
        assert_eq!(parsed(3, &[3, 4], 0), None);
    }
}

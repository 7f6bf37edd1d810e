//! Group commit: turns waiting sends into one statement per batch.

use std::collections::HashMap;
use std::collections::hash_map;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use shared_runtime::traces::{Span, SpanKind, Trace};
use shared_types::{ChannelId, ClientMessageId, Entry, EntryBody};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::delivery::{Delivery, Written};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::queue_wait::QueueWait;
use crate::store::{Appender, Committed, Draft, OutboxId, Store, StoreError, Verdict};

/// Most messages of one statement. Larger batches gained nothing when measured and make everyone wait longer.
pub const MAX_BATCH: usize = 256;

/// What became of a send.
#[derive(Debug)]
pub enum Appended {
    /// The entry's JSON.
    Stored(Bytes),
    /// The same message was stored before, as this entry.
    Deduplicated(Entry),
    /// The sender has used this `clientMessageId` for something else.
    Conflict,
    /// No channel, or the sender is no participant: the sender may not know which.
    NotFound,
}

/// Why a send has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("too many sends wait to be stored")]
    Full,
    #[error("delivery is behind")]
    DeliveryBehind,
    #[error("the message could not be stored")]
    Store,
    #[error("the server is stopping")]
    Stopping,
}

/// One queue per shard; a channel always goes to the same shard, so its rows never contend inside this process.
pub struct Writer {
    shards: Vec<Queue>,
    delivery: Delivery,
    metrics: Metrics,
    stopping: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

/// What waits for one shard.
struct Queue {
    sender: mpsc::Sender<Pending>,
    wait: Arc<QueueWait>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.sender.capacity() == self.sender.max_capacity()
    }

    /// Whether there is room, and what is taken now will not wait for too long.
    fn has_room(&self) -> bool {
        self.sender.capacity() > 0 && !self.wait.is_behind(self.is_empty())
    }

    fn put(&self, pending: Pending) -> Result<(), AppendError> {
        if self.wait.is_behind(self.is_empty()) {
            return Err(AppendError::Full);
        }
        self.wait.puts(1, self.is_empty());
        self.sender.try_send(pending).map_err(|refused| {
            self.wait.puts_not(1);
            match refused {
                TrySendError::Full(_) => AppendError::Full,
                TrySendError::Closed(_) => AppendError::Stopping,
            }
        })
    }
}

struct Pending {
    since: Instant,
    draft: Draft,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    /// Of a traced send: from its waiting to its verdict.
    span: Option<Span>,
}

impl Writer {
    /// Starts `shards` tasks that together let at most `max_waiting` sends wait.
    pub fn start(
        store: &dyn Store,
        outbox: &Outbox,
        delivery: Delivery,
        metrics: Metrics,
        shards: u8,
        max_waiting: u32,
    ) -> Self {
        let stopping = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let each = (max_waiting as usize).div_ceil(shards.into());
        let shards = (0..shards)
            .map(|_| {
                let (sender, queue) = mpsc::channel(each);
                let wait = Arc::new(QueueWait::new(Instant::now()));
                let shard = Shard {
                    appender: store.appender(),
                    outbox: outbox.clone(),
                    delivery: delivery.clone(),
                    metrics: metrics.clone(),
                    wait: wait.clone(),
                };
                tasks.spawn(shard.run(queue, stopping.clone()));
                Queue { sender, wait }
            })
            .collect();
        Self { shards, delivery, metrics, stopping, tasks: Mutex::new(tasks) }
    }

    /// Whether a message may be taken; which channel's matters only to [`Writer::append`].
    pub fn has_room(&self) -> bool {
        self.delivery.has_room() && self.shards.iter().any(Queue::has_room)
    }

    /// Stores one message. When this answers `Stored`, the entry is committed and its delivery has begun.
    /// Refuses at once when too much waits; nothing has been stored then.
    pub async fn append(&self, mut draft: Draft, trace: Option<&Trace>) -> Result<Appended, AppendError> {
        if !self.delivery.has_room() {
            return Err(AppendError::DeliveryBehind);
        }
        draft.known_membership = self.delivery.known_membership(draft.channel_id, &draft.sender_id);
        let (reply, verdict) = oneshot::channel();
        let shard = &self.shards[shard_of(draft.channel_id, self.shards.len())];
        let span = trace.and_then(|trace| begin_span(trace, &draft));
        shard.put(Pending { since: Instant::now(), draft, reply, span })?;
        self.metrics.waiting_sends.inc();
        let verdict = verdict.await;
        self.metrics.waiting_sends.dec();
        verdict.unwrap_or(Err(AppendError::Stopping))
    }

    /// Takes nothing new, stores what waits, and ends.
    pub async fn close(&self) {
        self.stopping.cancel();
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

fn shard_of(channel: ChannelId, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    channel.hash(&mut hasher);
    usize::try_from(hasher.finish() % shards.max(1) as u64).unwrap_or(0)
}

/// What became of a draft, and the row of the outbox that was written if it was stored.
type Outcome = (Verdict, OutboxId);

struct Shard {
    appender: Box<dyn Appender>,
    outbox: Outbox,
    delivery: Delivery,
    metrics: Metrics,
    wait: Arc<QueueWait>,
}

impl Shard {
    async fn run(mut self, mut queue: mpsc::Receiver<Pending>, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        // No timer: while one batch commits, the next one gathers. An idle server writes at once.
        loop {
            tokio::select! {
                biased;
                // What is in the queue when it closes is still stored: its senders were not refused.
                () = stopping.cancelled(), if !queue.is_closed() => queue.close(),
                taken = queue.recv_many(&mut batch, MAX_BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    let began = Instant::now();
                    let last_put = batch.last().map_or(began, |pending| pending.since);
                    self.wait.took(last_put, taken == MAX_BATCH && !queue.is_empty());
                    self.commit(std::mem::take(&mut batch)).await;
                    self.wait.did(taken, began.elapsed());
                    batch.reserve(MAX_BATCH);
                }
            }
        }
    }

    async fn commit(&mut self, batch: Vec<Pending>) {
        let started = Instant::now();
        if let Some(first) = batch.first() {
            self.metrics.writer_wait.observe(started.duration_since(first.since).as_secs_f64());
        }
        let (mut leaders, followers) = split_repeats(batch);
        let trace_id = begin_commit(&mut leaders, started);
        let drafts: Vec<&Draft> = leaders.iter().map(|pending| &pending.draft).collect();
        let outcomes = match self.append(&drafts).await {
            Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
            // One row has values that the database refuses; each on its own, it fails alone.
            Err(StoreError::Refused(_)) if drafts.len() > 1 => self.one_by_one(&drafts).await,
            Err(error) => {
                log_failure(&error, &drafts, trace_id.as_deref());
                drafts.iter().map(|_| None).collect()
            }
        };
        self.metrics.batch_size.observe(drafts.len() as f64);
        self.metrics.batch_duration.observe(started.elapsed().as_secs_f64());
        let written = answer(leaders, followers, outcomes);
        if !written.is_empty() {
            self.delivery.submit_written(written.into_iter()).await;
        }
    }

    /// One statement. Its row of the outbox is ours only if it is known to be there: who goes on after an answer that
    /// was lost is the sweeper.
    async fn append(&mut self, drafts: &[&Draft]) -> Result<Vec<Outcome>, StoreError> {
        let outbox = self.outbox.begin();
        let verdicts = self.appender.append(outbox, drafts).await;
        let is_stored = |verdict: &Verdict| matches!(verdict, Verdict::Stored { .. });
        if !verdicts.as_ref().is_ok_and(|verdicts| verdicts.iter().any(is_stored)) {
            self.outbox.abandon(outbox);
        }
        Ok(verdicts?.into_iter().map(|verdict| (verdict, outbox)).collect())
    }

    async fn one_by_one(&mut self, drafts: &[&Draft]) -> Vec<Option<Outcome>> {
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            outcomes.push(match self.append(&[*draft]).await {
                Ok(mut outcome) => outcome.pop(),
                Err(error) => {
                    log_failure(&error, &[*draft], None);
                    None
                }
            });
        }
        outcomes
    }
}

/// Once for the batch. Each of its requests has a line with its own id, as every failed request has. `trace_id`: of one of
/// them that is traced.
fn log_failure(error: &StoreError, drafts: &[&Draft], trace_id: Option<&str>) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    // Of many, the first: a place to begin looking.
    let first = drafts.first();
    error!(
        %error,
        cause,
        messages = drafts.len(),
        channelId = first.map(|draft| display(draft.channel_id)),
        messageId = first.map(|draft| display(draft.entry_id)),
        traceId = trace_id,
        "a batch was not stored"
    );
}

fn begin_span(trace: &Trace, draft: &Draft) -> Option<Span> {
    let mut span = trace.begin("store", SpanKind::Internal)?;
    span.set("channelId", draft.channel_id.to_string());
    span.set("messageId", draft.entry_id.to_string());
    Some(span)
}

/// What each traced message shares with its batch. Answers the trace of one of them.
fn begin_commit(batch: &mut [Pending], started: Instant) -> Option<String> {
    let size = batch.len();
    let mut trace_id = None;
    for span in batch.iter_mut().filter_map(|pending| pending.span.as_mut()) {
        span.set("batchSize", size as i64);
        span.set("waitMs", started.saturating_duration_since(span.began()).as_secs_f64() * 1e3);
        trace_id.get_or_insert_with(|| span.inside().id().to_string());
    }
    trace_id
}

/// `None`: not stored, or nobody knows.
fn end_span(span: Option<Span>, verdict: Option<&Verdict>) {
    let Some(mut span) = span else { return };
    let (outcome, seq) = match verdict {
        Some(Verdict::Stored { seq, .. }) => ("stored", Some(*seq)),
        Some(Verdict::Earlier(entry)) => ("stored_before", Some(entry.seq)),
        Some(Verdict::NoSuchChannel | Verdict::NotAParticipant) => ("refused", None),
        None => ("failed", None),
    };
    span.set("outcome", outcome);
    if let Some(seq) = seq {
        span.set("seq", seq);
    }
    if verdict.is_none() {
        span.fail("not stored");
    }
}

/// Repeats of a message within one batch follow the first one's verdict: the statement must not see them.
fn split_repeats(batch: Vec<Pending>) -> (Vec<Pending>, Vec<(usize, Pending)>) {
    let leader_of = leaders(&batch);
    let mut leaders: Vec<Pending> = Vec::with_capacity(batch.len());
    let mut followers = Vec::new();
    for (pending, leader) in batch.into_iter().zip(leader_of) {
        match leader {
            Some(leader) => followers.push((leader, pending)),
            None => leaders.push(pending),
        }
    }
    (leaders, followers)
}

/// Of each send that repeats another one of the batch, which of the others that is.
fn leaders(batch: &[Pending]) -> Vec<Option<usize>> {
    let mut seen: HashMap<(ChannelId, &str, &str), usize, foldhash::fast::RandomState> =
        HashMap::with_capacity_and_hasher(batch.len(), foldhash::fast::RandomState::default());
    let mut count = 0;
    batch
        .iter()
        .map(|Pending { draft, .. }| {
            let id = draft.client_message_id.as_ref().map(ClientMessageId::as_str);
            let leader =
                id.and_then(|id| match seen.entry((draft.channel_id, draft.sender_id.as_str(), id)) {
                    hash_map::Entry::Occupied(first) => Some(*first.get()),
                    hash_map::Entry::Vacant(place) => {
                        place.insert(count);
                        None
                    }
                });
            count += usize::from(leader.is_none());
            leader
        })
        .collect()
}

/// Answers every sender; returns what was committed, in `seq` order within each channel.
fn answer(
    leaders: Vec<Pending>,
    followers: Vec<(usize, Pending)>,
    outcomes: Vec<Option<Outcome>>,
) -> Vec<Written> {
    // A sender that has gone away does not read its answer; its message is stored all the same.
    for (leader, Pending { draft, reply, span, .. }) in followers {
        let verdict = match (outcomes.get(leader).cloned().flatten(), leaders.get(leader)) {
            (Some((Verdict::Stored { seq, created_at, .. }, _)), Some(first)) => {
                Some(Verdict::Earlier(first.draft.clone().into_entry(seq, created_at)))
            }
            (other, _) => other.map(|(verdict, _)| verdict),
        };
        end_span(span, verdict.as_ref());
        let _gone = reply.send(judged(&draft, verdict));
    }
    let mut written = Vec::with_capacity(leaders.len());
    for (Pending { draft, reply, span, .. }, outcome) in leaders.into_iter().zip(outcomes) {
        let trace = span.as_ref().map(|span| span.inside().clone());
        end_span(span, outcome.as_ref().map(|(verdict, _)| verdict));
        if let Some((Verdict::Stored { seq, created_at, membership_version }, outbox)) = outcome {
            let entry = draft.into_entry(seq, created_at);
            let stored = Written::new(Committed { entry, membership_version, outbox }, trace);
            let _gone = reply.send(stored.json.clone().map(Appended::Stored).ok_or(AppendError::Store));
            written.push(stored);
        } else {
            let _gone = reply.send(judged(&draft, outcome.map(|(verdict, _)| verdict)));
        }
    }
    written
}

/// The answer to a draft that was not stored now.
fn judged(draft: &Draft, verdict: Option<Verdict>) -> Result<Appended, AppendError> {
    match verdict {
        None | Some(Verdict::Stored { .. }) => Err(AppendError::Store),
        Some(Verdict::Earlier(entry)) if says_the_same(draft, &entry) => Ok(Appended::Deduplicated(entry)),
        Some(Verdict::Earlier(_)) => Ok(Appended::Conflict),
        Some(Verdict::NoSuchChannel | Verdict::NotAParticipant) => Ok(Appended::NotFound),
    }
}

/// Metadata is compared as JSON: a client may write the same object with its keys in another order.
fn says_the_same(draft: &Draft, entry: &Entry) -> bool {
    let EntryBody::Message { kind, content, metadata, .. } = &entry.body else { return false };
    let json = |raw: Option<&serde_json::value::RawValue>| {
        raw.and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok())
    };
    draft.kind == *kind
        && draft.content == *content
        && json(draft.metadata.as_deref()) == json(metadata.as_deref())
}

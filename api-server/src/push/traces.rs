//! Which trace a push belongs to. Between message and push lies the database, which knows nothing of traces: what this
//! process has written a job for it remembers for a while, and a push that another one makes is in no trace.

use std::sync::Arc;

use quick_cache::sync::Cache;
use shared_runtime::traces::{Span, SpanKind, Trace, Traces};
use shared_types::{ChannelId, Seq, UserId};

use super::{Push, PushOutcome};
use crate::delivery::outgoing::Outgoing;

/// Traced messages whose pushes wait; the oldest that nobody asks for go first. A few hundred bytes each.
const MAX_REMEMBERED: usize = 4_096;

/// Clones share it.
#[derive(Clone, Default)]
pub struct PushTraces(Option<Arc<Cache<(ChannelId, Seq), Trace>>>);

impl PushTraces {
    pub fn new(traces: &Traces) -> Self {
        Self(traces.is_on().then(|| Arc::new(Cache::new(MAX_REMEMBERED))))
    }

    /// The spans of jobs that are about to be written; they end when they are dropped. From now on their pushes are
    /// known.
    pub(super) fn begin_jobs<'a>(
        &self,
        wanted: impl Iterator<Item = &'a (Outgoing, Vec<UserId>)>,
    ) -> Vec<Span> {
        let Some(remembered) = &self.0 else { return Vec::new() };
        let spans = wanted.filter_map(|(outgoing, users)| {
            let mut span = outgoing.trace()?.begin("push job", SpanKind::Producer)?;
            let (channel_id, seq) = outgoing.place();
            span.set("channelId", channel_id.to_string());
            span.set("seq", seq);
            span.set("recipients", users.len() as i64);
            remembered.insert((channel_id, seq), span.inside().clone());
            Some(span)
        });
        spans.collect()
    }

    /// The span of a push that is about to be made, if the newest message that it tells of is traced.
    pub(super) fn begin_push(&self, push: &Push, attempts: i32) -> Option<Span> {
        let trace = self.0.as_ref()?.get(&(push.channel_id, push.seq))?;
        let mut span = trace.begin("push", SpanKind::Client)?;
        span.set("channelId", push.channel_id.to_string());
        span.set("messageId", push.message_id.to_string());
        span.set("seq", push.seq);
        span.set("messages", push.messages);
        span.set("attempt", i64::from(attempts));
        Some(span)
    }
}

pub(super) fn end_push(span: Option<Span>, outcome: &PushOutcome) {
    let Some(mut span) = span else { return };
    span.set("outcome", outcome.label());
    if let Some(reason) = outcome.reason() {
        span.set("reason", reason.code);
        span.fail(reason.code);
    }
}

//! From recipients who are to be told by push, to push jobs in the database.

use std::sync::Arc;
use std::time::Duration;

use shared_types::UserId;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::traces::PushTraces;
use crate::delivery::outgoing::Outgoing;
use crate::metrics::Metrics;
use crate::retry::until_done;
use crate::store::{PushWanted, Store};

/// Recipients' lists that may wait for the database; beyond it fan-out waits, and with it, by the backlog, the
/// senders.
const QUEUE: usize = 1_024;
/// Lists that share one statement.
const MAX_LISTS: usize = 256;

/// Where the fan-out leaves those who have no session. Clones share the queue.
#[derive(Clone)]
pub struct PushQueue {
    queue: mpsc::Sender<List>,
    metrics: Metrics,
}

/// Entries with those who are to be told of them. The entries stay in the outbox until the jobs are durable.
struct List {
    recipients: Vec<(Outgoing, Vec<UserId>)>,
    unless_delivered: bool,
}

/// The task that writes jobs.
struct JobWriter {
    store: Arc<dyn Store>,
    worker: Arc<Notify>,
    fold_window: Duration,
    metrics: Metrics,
    traces: PushTraces,
}

impl PushQueue {
    /// Starts the task that writes jobs, due when more may have come to fold into them, and then wakes `worker`.
    pub fn start(
        store: Arc<dyn Store>,
        worker: Arc<Notify>,
        fold_window: Duration,
        metrics: Metrics,
        traces: PushTraces,
        stopping: CancellationToken,
    ) -> Self {
        let (queue, lists) = mpsc::channel(QUEUE);
        let writer = JobWriter { store, worker, fold_window, metrics: metrics.clone(), traces };
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = writer.run(lists) => {}
            }
        });
        Self { queue, metrics }
    }

    /// Makes pushes of an entry, for those who may be pushed to: never the sender, and only about messages.
    pub(crate) async fn enqueue(&self, outgoing: &Outgoing, mut users: Vec<UserId>) {
        users.retain(|user| outgoing.may_push_to(user));
        if users.is_empty() {
            return;
        }
        self.metrics.count_deliveries("push", users.len());
        let recipients = vec![(outgoing.clone(), users)];
        // Closed only while stopping.
        let _stopped = self.queue.send(List { recipients, unless_delivered: false }).await;
    }

    /// The same for those who were written to and may not have it, if no device of theirs has said by now that it has.
    pub(crate) async fn enqueue_unacked(&self, recipients: Vec<(Outgoing, Vec<UserId>)>) {
        let _stopped = self.queue.send(List { recipients, unless_delivered: true }).await;
    }
}

impl JobWriter {
    async fn run(self, mut lists: mpsc::Receiver<List>) {
        let mut batch = Vec::with_capacity(MAX_LISTS);
        while lists.recv_many(&mut batch, MAX_LISTS).await > 0 {
            let spans = self.traces.begin_jobs(batch.iter().flat_map(|list| &list.recipients));
            self.write(wanted(&batch, false)).await;
            let unacked = self.write(wanted(&batch, true)).await;
            self.metrics.unacked_pushes.inc_by(unacked);
            drop(spans);
            // Dropped only now: the entries stay in the outbox until their jobs are durable.
            batch.clear();
        }
    }

    /// Answers how many devices have begun to wait.
    async fn write(&self, wanted: Vec<PushWanted>) -> u64 {
        if wanted.is_empty() {
            return 0;
        }
        let jobs = until_done("push jobs", || self.store.enqueue_pushes(&wanted, self.fold_window)).await;
        if jobs > 0 {
            self.worker.notify_one();
        }
        jobs
    }
}

fn wanted(lists: &[List], unless_delivered: bool) -> Vec<PushWanted> {
    let lists = lists.iter().filter(|list| list.unless_delivered == unless_delivered);
    let recipients = lists.flat_map(|list| &list.recipients);
    recipients
        .flat_map(|(outgoing, users)| {
            let (channel_id, seq) = outgoing.place();
            users.iter().map(move |user_id| PushWanted {
                user_id: user_id.clone(),
                channel_id,
                seq,
                unless_delivered,
            })
        })
        .collect()
}

//! From absent recipients to push jobs in the database.

use std::sync::Arc;

use shared_types::UserId;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::delivery::outgoing::Outgoing;
use crate::metrics::Metrics;
use crate::retry::until_done;
use crate::store::Store;

/// Recipients' lists that may wait for the database; beyond it fan-out waits, and with it, by the backlog, the
/// senders.
const QUEUE: usize = 1_024;
/// Lists that share one statement.
const MAX_LISTS: usize = 256;

/// Where the fan-out leaves those who have no session. Clones share the queue.
#[derive(Clone)]
pub struct PushQueue {
    queue: mpsc::Sender<(Outgoing, Vec<UserId>)>,
    metrics: Metrics,
}

impl PushQueue {
    /// Starts the task that writes jobs and then wakes `worker`.
    pub fn start(
        store: Arc<dyn Store>,
        worker: Arc<Notify>,
        metrics: Metrics,
        stopping: CancellationToken,
    ) -> Self {
        let (queue, lists) = mpsc::channel(QUEUE);
        tokio::spawn(write_jobs(store, lists, worker, stopping));
        Self { queue, metrics }
    }

    /// Makes pushes of an entry, for those who may be pushed to: never the sender, and only about messages.
    pub(crate) async fn enqueue(&self, outgoing: &Outgoing, mut users: Vec<UserId>) {
        users.retain(|user| outgoing.may_push_to(user));
        if users.is_empty() {
            return;
        }
        self.metrics.count_deliveries("push", users.len());
        // Closed only while stopping.
        let _stopped = self.queue.send((outgoing.clone(), users)).await;
    }
}

async fn write_jobs(
    store: Arc<dyn Store>,
    mut lists: mpsc::Receiver<(Outgoing, Vec<UserId>)>,
    worker: Arc<Notify>,
    stopping: CancellationToken,
) {
    let mut batch = Vec::with_capacity(MAX_LISTS);
    loop {
        let taken = tokio::select! {
            () = stopping.cancelled() => return,
            taken = lists.recv_many(&mut batch, MAX_LISTS) => taken,
        };
        if taken == 0 {
            return;
        }
        let pushes: Vec<_> = batch
            .iter()
            .flat_map(|(outgoing, users)| {
                let (channel, seq) = outgoing.place();
                users.iter().map(move |user| (user.clone(), channel, seq))
            })
            .collect();
        tokio::select! {
            () = stopping.cancelled() => return,
            jobs = until_done("push jobs", || store.enqueue_pushes(&pushes)) => {
                if jobs > 0 {
                    worker.notify_one();
                }
            }
        }
        // Dropped only now: the entries count as undelivered until their jobs are durable.
        batch.clear();
    }
}

//! Whoever was written to and does not say that it has arrived gets a push instead.

use std::time::Duration;

use shared_types::UserId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outgoing::Outgoing;
use super::waiting::Waiting;
use crate::metrics::Metrics;
use crate::push::queue::PushQueue;

/// Gateways' answers that may wait to be taken in. A lane that finds no room waits, and with it, by the backlog, the
/// senders.
pub(super) const QUEUE: usize = 1_024;
/// Answers that are taken in together.
const MAX_ANSWERS: usize = 256;
/// Recipients whose acks may be waited for; one takes about 50 bytes. Beyond it the oldest are judged early: their
/// acks may be on their way, and then they get a push that they did not need.
const MAX_WAITING: usize = 1_000_000;
/// Recipients of one question to the database, a few ms.
const MAX_JUDGED: usize = 5_000;

/// Recipients of one entry who have still to say that they have it.
pub(super) struct Unacked {
    pub(super) outgoing: Outgoing,
    pub(super) users: Vec<UserId>,
}

/// Gives each ack `limit` to be in the database, whichever api-server it came through.
pub(super) async fn run(
    mut answers: mpsc::Receiver<Unacked>,
    limit: Duration,
    pushes: PushQueue,
    metrics: Metrics,
    stopping: CancellationToken,
) {
    let mut waiting = Waiting::new(metrics.awaiting_acks);
    let mut batch = Vec::with_capacity(MAX_ANSWERS);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = waiting.due() => {}
            taken = answers.recv_many(&mut batch, MAX_ANSWERS) => {
                if taken == 0 {
                    return;
                }
                let due = Instant::now() + limit;
                for unacked in batch.drain(..) {
                    waiting.insert(due, unacked.users.len(), unacked);
                }
            }
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = judge(waiting.take_due(MAX_WAITING), &pushes) => {}
        }
    }
}

/// The database knows whose acks have come.
async fn judge(due: Vec<Unacked>, pushes: &PushQueue) {
    let mut together = Vec::new();
    let mut recipients = 0;
    for unacked in due {
        recipients += unacked.users.len();
        together.push((unacked.outgoing, unacked.users));
        if recipients >= MAX_JUDGED {
            pushes.enqueue_unacked(std::mem::take(&mut together)).await;
            recipients = 0;
        }
    }
    if !together.is_empty() {
        pushes.enqueue_unacked(together).await;
    }
}

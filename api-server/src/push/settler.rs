//! Ends push jobs: those that were pushed while the database was busy share one statement.

use std::sync::Arc;
use std::time::Duration;

use shared_types::Seq;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::attempt::written;
use crate::store::{PushJob, Store};

/// Jobs that may wait for the database; beyond it no more are pushed. After a crash they are pushed again.
const QUEUE: usize = 256;
/// Each statement is a transaction of its own, and nobody waits for it; as rows leave the outbox.
const GATHERING: Duration = Duration::from_millis(20);

/// Where pushes that were made are left. Clones share the queue.
#[derive(Clone)]
pub(super) struct Settler {
    queue: mpsc::Sender<(i64, Seq)>,
}

impl Settler {
    /// Starts the task that writes; it ends, with everything written, when the last clone is dropped. `wake` is the
    /// worker's: a job that is finished may have more to tell soon.
    pub(super) fn start(
        store: Arc<dyn Store>,
        fold_window: Duration,
        wake: Arc<Notify>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, mut finished) = mpsc::channel(QUEUE);
        let writing = tokio::spawn(async move {
            let mut batch = Vec::with_capacity(QUEUE);
            while finished.recv_many(&mut batch, QUEUE).await > 0 {
                let end = Instant::now() + GATHERING;
                while batch.len() < QUEUE {
                    let room = QUEUE - batch.len();
                    match timeout_at(end, finished.recv_many(&mut batch, room)).await {
                        Ok(1..) => {}
                        // The time is over, or nobody is left who could add something.
                        Ok(0) | Err(_) => break,
                    }
                }
                written(|| store.finish_pushes(&batch, fold_window)).await;
                wake.notify_one();
                batch.clear();
            }
        });
        (Self { queue }, writing)
    }

    /// The device has been told what the job had to tell when it was taken, or need not be.
    pub(super) async fn finish(&self, job: &PushJob) {
        // Closed never: the task ends after its senders.
        let _open = self.queue.send((job.id, job.seq)).await;
    }
}

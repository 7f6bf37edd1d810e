//! The rows of the outbox that this process has in hand, and their removal when their fan-out has ended.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::retry::until_done;
use crate::store::{OutboxId, Store};

/// Rows that one statement removes: 16 KB of ids.
const MAX_REMOVED: usize = 1_000;
/// Rows that end within this time of each other are removed together. Nobody waits for it; each removal is a transaction of
/// its own, with all that the database does at its end.
const GATHERING: Duration = Duration::from_millis(20);

/// What this process knows of its rows. Clones share it.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    rows: Mutex<Rows>,
    ended: Notify,
}

/// As many as there are batches on their way, which the backlog and the limits of what waits bound.
#[derive(Default)]
struct Rows {
    in_hand: HashSet<OutboxId>,
    /// Those of them whose fan-out has ended, until they have been removed.
    ended: Vec<OutboxId>,
    is_closed: bool,
}

/// Keeps a row while anything of its batch is on its way; the last clone to be dropped has it removed.
pub(crate) struct RowGuard {
    id: OutboxId,
    outbox: Outbox,
}

impl Outbox {
    /// A row that is about to be written: the sweeper leaves it to whoever writes it.
    pub fn begin(&self) -> OutboxId {
        let id = OutboxId::generate();
        self.rows().in_hand.insert(id);
        id
    }

    /// Nothing was written, or nobody knows: then the sweeper finds what there is.
    pub fn abandon(&self, id: OutboxId) {
        self.rows().in_hand.remove(&id);
    }

    /// Takes a row in hand until the guard is dropped. Called once for each row: all of its entries share the guard.
    pub(crate) fn guard(&self, id: OutboxId) -> Arc<RowGuard> {
        self.rows().in_hand.insert(id);
        Arc::new(RowGuard { id, outbox: self.clone() })
    }

    /// The rows on which this process works.
    pub fn in_hand(&self) -> Vec<OutboxId> {
        self.rows().in_hand.iter().copied().collect()
    }

    /// From now on tasks are cut off in the middle: a guard that is dropped does not mean that a fan-out has ended.
    pub fn close(&self) {
        self.rows().is_closed = true;
    }

    /// Removes rows as their fan-out ends, until `stopping`.
    pub async fn keep_removing(self, store: Arc<dyn Store>, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.0.ended.notified() => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(GATHERING) => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.remove_ended(store.as_ref()) => {}
            }
        }
    }

    /// Removes what has ended, at most for `limit`, and leaves the rest to whoever takes it.
    pub async fn leave(&self, store: &dyn Store, limit: Duration) {
        let left = async {
            self.remove_ended(store).await;
            store.leave_outbox().await
        };
        match tokio::time::timeout(limit, left).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "what is left in the outbox is free only when our lease ends"),
            Err(_) => warn!("what is left in the outbox is free only when our lease ends"),
        }
    }

    async fn remove_ended(&self, store: &dyn Store) {
        loop {
            // They stay where they are until they have been removed: this may be given up halfway.
            let ended: Vec<OutboxId> = self.rows().ended.iter().take(MAX_REMOVED).copied().collect();
            if ended.is_empty() {
                return;
            }
            until_done("outbox", || store.remove_from_outbox(&ended)).await;
            let mut rows = self.rows();
            // Others are only added, at the end.
            rows.ended.drain(..ended.len());
            for id in &ended {
                rows.in_hand.remove(id);
            }
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Each collection is whole after every statement, so a panic elsewhere has not broken it.
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RowGuard {
    fn drop(&mut self) {
        let mut rows = self.outbox.rows();
        // A task that panics has not ended its fan-out either: the sweeper takes the row up again.
        if rows.is_closed || std::thread::panicking() {
            rows.in_hand.remove(&self.id);
        } else {
            rows.ended.push(self.id);
            drop(rows);
            self.outbox.0.ended.notify_one();
        }
    }
}

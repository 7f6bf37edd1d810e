//! Workers that each begin their next thing when the one before is done: how many things a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::effort::Effort;
use crate::meters::rate::Rate;

/// What one task does again and again.
pub trait Worker: Send + 'static {
    /// One thing, or a batch of them: how many. An error makes the whole measurement worthless.
    fn turn(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// Runs all workers side by side, lets the warm-up pass, calls `begin`, measures, and ends them between two turns.
pub async fn rate<W: Worker>(effort: &Effort, workers: Vec<W>, begin: impl FnOnce()) -> anyhow::Result<Rate> {
    let done = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(work(worker, done.clone(), is_over.clone()));
    }
    let rate = Rate::of(effort, || done.load(Ordering::Relaxed), begin).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(rate)
}

async fn work(mut worker: impl Worker, done: Arc<AtomicU64>, is_over: Arc<AtomicBool>) -> anyhow::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        done.fetch_add(worker.turn().await?, Ordering::Relaxed);
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    struct Counting(u64);

    impl Worker for Counting {
        async fn turn(&mut self) -> anyhow::Result<u64> {
            tokio::task::yield_now().await;
            self.0 += 1;
            if self.0 == u64::from(u8::MAX) {
                bail!("that was the last");
            }
            Ok(2)
        }
    }

    #[tokio::test]
    async fn a_worker_that_fails_makes_the_measurement_worthless() {
        let workers = vec![Counting(1_000), Counting(0)];
        rate(&Effort::SMOKE, workers, || ()).await.err().unwrap();
    }

    #[tokio::test]
    async fn what_workers_do_is_counted() {
        let rate = rate(&Effort::SMOKE, vec![Counting(1_000)], || ()).await.unwrap();
        assert!(rate.count > 0 && rate.count.is_multiple_of(2), "{}", rate.count);
    }
}

//! Wakes the sessions of one thread from others: once for all that wait, not once for each.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// One thread's. Waking a task of another thread costs a system call, and an entry goes to a thousand sessions at
/// once; so whoever delivers leaves the wakers here, and one task, woken by the first, wakes the others on their own
/// thread, where that costs next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    /// At most one of each session of this thread.
    sleepers: Vec<Waker>,
    /// The task that wakes them, while it sleeps itself.
    listener: Option<Waker>,
}

impl Bell {
    /// The bell of this thread, whose runtime must be running.
    pub(crate) fn hang() -> Arc<Self> {
        let bell = Arc::<Self>::default();
        actix_web::rt::spawn(bell.clone().listen());
        bell
    }

    /// Has this task woken soon, by its own thread.
    pub(crate) fn ring(&self, sleeper: Waker) {
        let mut rung = self.lock();
        rung.sleepers.push(sleeper);
        let listener = rung.listener.take();
        drop(rung);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    async fn listen(self: Arc<Self>) {
        let mut sleepers = Vec::new();
        poll_fn(|cx| {
            loop {
                let mut rung = self.lock();
                if rung.sleepers.is_empty() {
                    rung.listener = Some(cx.waker().clone());
                    return Poll::<()>::Pending;
                }
                // The room that the others took is used again.
                std::mem::swap(&mut sleepers, &mut rung.sleepers);
                drop(rung);
                sleepers.drain(..).for_each(Waker::wake);
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        // Nothing in here panics half-way.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn who_is_rung_for_on_another_thread_is_woken() {
        let bell = Bell::hang();
        for _ in 0..100 {
            let mut has_slept = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut has_slept, true) {
                    return Poll::Ready(());
                }
                let (bell, sleeper) = (bell.clone(), cx.waker().clone());
                std::thread::spawn(move || bell.ring(sleeper));
                Poll::Pending
            })
            .await;
        }
    }
}

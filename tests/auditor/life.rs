//! How a device lives: it comes, goes, moves to another gateway, sleeps, and stays in the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::device::{Device, choices};
use crate::random::Random;
use crate::session::{News, OpenSession, Order, open};

/// Of 100 sessions so many begin with a resume; the others with `POST /sync`.
const RESUMES_PERCENT: u64 = 85;

/// Until it is aborted.
pub async fn live(device: Arc<Device>, leaves: bool) {
    let mut life = Life { random: choices(&device.run, device.index), device, leaves };
    let mut session: Option<OpenSession> = None;
    loop {
        session = match session {
            None => life.come().await,
            Some(session) => life.stay(session).await,
        };
    }
}

struct Life {
    device: Arc<Device>,
    random: Random,
    leaves: bool,
}

impl Life {
    async fn come(&mut self) -> Option<OpenSession> {
        let resumes = !self.is_wild() || self.random.is(RESUMES_PERCENT);
        match open(&self.device, &mut self.random, resumes).await {
            Ok(session) => Some(session),
            Err(why) => {
                self.device.note(format!("cannot connect: {why}"));
                sleep(self.random.millis(100, 600)).await;
                None
            }
        }
    }

    /// One thing that happens to an open session, or that its client does.
    async fn stay(&mut self, mut session: OpenSession) -> Option<OpenSession> {
        // Before and after the faults, moving is all there is to do.
        let pause = if self.is_wild() { (1_500, 8_000) } else { (700, 2_500) };
        let next = Instant::now() + self.random.millis(pause.0, pause.1);
        let news = tokio::select! {
            news = session.news.recv() => news.unwrap_or(News::Ended),
            () = sleep_until(next) => return self.act(session).await,
        };
        match news {
            News::Ended => {
                sleep(self.random.millis(0, 300)).await;
                None
            }
            News::Draining(pause) => {
                // The session may well end earlier; then its client comes back at once.
                let ended =
                    async { while session.news.recv().await.is_some_and(|news| news != News::Ended) {} };
                tokio::select! {
                    () = sleep(pause) => self.move_over(session).await,
                    () = ended => None,
                }
            }
        }
    }

    async fn act(&mut self, session: OpenSession) -> Option<OpenSession> {
        let now = self.device.run.now();
        let phases = self.device.run.phases;
        if now >= phases.faults_until || !self.leaves {
            // Who has not resumed is promised less; in the end everybody has.
            let moves = now < phases.moves_until || !session.has_resumed;
            return if moves { self.move_over(session).await } else { Some(session) };
        }
        match self.random.between(0, 99) {
            _ if now < phases.calm_until => self.move_over(session).await,
            0..40 => self.move_over(session).await,
            40..58 => self.leave(session, Order::Close).await,
            58..72 => self.leave(session, Order::Vanish).await,
            72..84 => {
                let _ = session.orders.send(Order::Background(true)).await;
                sleep(self.random.millis(500, 4_000)).await;
                let _ = session.orders.send(Order::Background(false)).await;
                Some(session)
            }
            84..92 => {
                let _ = session.orders.send(Order::Stall(self.random.millis(300, 2_500))).await;
                Some(session)
            }
            _ => {
                self.device.sync_all();
                Some(session)
            }
        }
    }

    /// Opens the new session before it closes the old one: somebody is there at every moment.
    async fn move_over(&mut self, old: OpenSession) -> Option<OpenSession> {
        let resumes = !self.is_wild() || self.random.is(RESUMES_PERCENT);
        match open(&self.device, &mut self.random, resumes).await {
            Ok(new) => {
                let _ = old.orders.send(Order::Close).await;
                Some(new)
            }
            Err(why) => {
                self.device.note(format!("cannot move: {why}"));
                Some(old)
            }
        }
    }

    async fn leave(&mut self, session: OpenSession, how: Order) -> Option<OpenSession> {
        let _ = session.orders.send(how).await;
        sleep(self.random.millis(200, 4_000)).await;
        None
    }

    /// Whether the client may do what promises less.
    fn is_wild(&self) -> bool {
        let now = self.device.run.now();
        self.leaves && (self.device.run.phases.calm_until..self.device.run.phases.faults_until).contains(&now)
    }
}

/// A short pause, so that not all come in the same millisecond.
pub async fn arrive(device: Arc<Device>, leaves: bool) {
    let pause = Duration::from_millis((device.index as u64 * 37) % 700);
    sleep(pause).await;
    live(device, leaves).await;
}

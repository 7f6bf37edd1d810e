//! What all parts of a run share: its clock, its phases and its history.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::history::{History, Millis};
use crate::random::Random;
use crate::rest::Rest;

pub type Shared = Arc<Run>;

pub struct Run {
    pub seed: u64,
    pub rest: Rest,
    pub phases: Phases,
    began: Instant,
    history: Mutex<History>,
}

/// When what begins and ends.
#[derive(Debug, Clone, Copy)]
pub struct Phases {
    /// Before this nothing breaks; gateways are only slow.
    pub calm_until: Millis,
    /// By now all faults are over. From here on nobody leaves any more, except for another gateway …
    pub faults_until: Millis,
    /// … and that until now.
    pub moves_until: Millis,
    pub sends_until: Millis,
}

impl Phases {
    /// For a run with faults.
    pub fn of_seconds(seconds: u64) -> Self {
        let whole = seconds * 1_000;
        let quiet = (whole * 2 / 5).clamp(8_000, 25_000);
        let faults_until = whole - quiet;
        Self {
            calm_until: (whole / 6).clamp(4_000, 10_000).min(faults_until),
            faults_until,
            moves_until: faults_until + quiet * 2 / 5,
            sends_until: faults_until + quiet / 2,
        }
    }

    /// For a run in which nobody ever leaves.
    pub fn without_moves() -> Self {
        Self { calm_until: 0, faults_until: 0, moves_until: 0, sends_until: Millis::MAX }
    }
}

impl Run {
    pub fn new(seed: u64, rest: Rest, phases: Phases) -> Shared {
        Arc::new(Self { seed, rest, phases, began: Instant::now(), history: Mutex::default() })
    }

    pub fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Choices of one part of the run.
    pub fn random(&self, part: &str) -> Random {
        Random::new(self.seed, part)
    }

    pub async fn sleep_until(&self, at: Millis) {
        tokio::time::sleep_until(self.began + Duration::from_millis(at)).await;
    }
}

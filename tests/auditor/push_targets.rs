//! The devices as FCM knows them: their targets, registrations, and the pushes that came.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::fake_fcm::FakeFcm;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::history::{Millis, Push};
use crate::random::Random;
use crate::run_state::{Run, Shared};

const LOOK_EVERY: Duration = Duration::from_millis(40);
const REGISTRATION_LIMIT: Duration = Duration::from_secs(120);

/// Which device each target ever was of.
#[derive(Default)]
pub struct PushTargets {
    device_of: Mutex<HashMap<String, usize>>,
}

impl PushTargets {
    /// Registers a new target for the device, and asks until it is certain that the server has it.
    pub async fn register(&self, run: &Run, random: &mut Random, device: usize, generation: usize) {
        let (user, name) = {
            let history = run.history();
            (history.user_of(device).to_owned(), history.devices[device].name.clone())
        };
        let target = target(&name, generation);
        self.device_of().insert(target.clone(), device);
        let body = json!({"platform": "android", "installationId": target});
        let path = format!("/devices/{name}");
        let deadline = Instant::now() + REGISTRATION_LIMIT;
        let outcome = run.rest.persist(random, deadline, (Method::PUT, &path, &user, Some(&body))).await;
        assert!(matches!(outcome, Ok((200..300, _))), "{name} cannot be registered: {outcome:?}");
    }

    /// All targets that were registered so far.
    pub fn all(&self) -> Vec<String> {
        self.device_of().keys().cloned().collect()
    }

    /// Writes down the pushes that FCM has taken since the last look.
    pub fn collect(&self, run: &Run, fcm: &FakeFcm) {
        for message in fcm.take_accepted() {
            let target = message["fid"].as_str().unwrap_or_default();
            let Some(device) = self.device_of().get(target).copied() else { continue };
            let (channel, seq) = (message["data"]["channelId"].as_str(), message["data"]["seq"].as_str());
            let (Some(channel), Some(seq)) = (channel, seq.and_then(|seq| seq.parse().ok())) else {
                continue;
            };
            let at: Millis = run.now();
            let mut history = run.history();
            let channel = history.channel(channel);
            history.pushes.push(Push { device, channel, seq, at });
        }
    }

    /// Until it is dropped.
    pub async fn keep_collecting(&self, run: &Shared, fcm: &FakeFcm) {
        loop {
            self.collect(run, fcm);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn device_of(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.device_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn target(device: &str, generation: usize) -> String {
    format!("{device}-installation-{generation}")
}

//! Who there is: users, their devices, and the channels that live for the whole run.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::device::Device;
use crate::history;
use crate::push_targets::PushTargets;
use crate::random::Random;
use crate::run_state::{Run, Shared};

/// Users with one or two devices that connect.
const CONNECTING: usize = 9;
/// Users whose devices only ever get pushes.
const PUSH_ONLY: usize = 3;
const GROUPS: usize = 6;
const DIRECTS: usize = 3;
/// Of the groups, those that some users are removed from and added to again.
pub const CHANGING_GROUPS: usize = 2;
const START_LIMIT: Duration = Duration::from_secs(30);

pub struct Population {
    pub devices: Vec<Arc<Device>>,
    pub phones: Vec<usize>,
    /// Groups first, and of those first the changing ones.
    pub channels: Vec<usize>,
    pub users: usize,
}

/// How many push-only devices [`settle`] makes.
pub fn phone_count() -> usize {
    PUSH_ONLY + 1
}

/// Makes everybody and everything, with nothing broken yet.
pub async fn settle(run: &Shared, targets: &PushTargets, has_phones: bool) -> Population {
    let users = CONNECTING + if has_phones { PUSH_ONLY } else { 0 };
    let random = &mut run.random("population");
    {
        let mut history = run.history();
        for user in 0..users {
            history.users.push(format!("user-{user}"));
            let is_push_only = user >= CONNECTING;
            // Every second one has two; of those who never connect, the first.
            let devices = if (!is_push_only && user % 2 == 0) || user == CONNECTING { 2 } else { 1 };
            for device in 0..devices {
                let name = format!("user-{user}-device-{device}");
                history.devices.push(history::Device { name, user, is_push_only, reregistered: None });
            }
        }
    }
    let all: Vec<(usize, bool)> =
        run.history().devices.iter().map(|device| device.is_push_only).enumerate().collect();
    let (mut devices, mut phones) = (Vec::new(), Vec::new());
    for (index, is_push_only) in all {
        targets.register(run, random, index, 0).await;
        if is_push_only {
            phones.push(index);
        } else {
            devices.push(Device::new(Arc::clone(run), index, index % 5 != 4));
        }
    }
    let mut channels = Vec::new();
    for group in 0..GROUPS {
        let mut members: Vec<usize> = (0..users).collect();
        random.shuffle(&mut members);
        members.truncate(if group < CHANGING_GROUPS { 7 } else { 5 });
        channels.extend(make_group(run, random, &members).await);
    }
    for direct in 0..DIRECTS {
        // The last one is with somebody who never connects.
        let pair =
            if direct + 1 == DIRECTS && has_phones { [0, users - 1] } else { [direct * 2, direct * 2 + 1] };
        channels.push(make_direct(run, random, pair).await);
    }
    assert_eq!(channels.len(), GROUPS + DIRECTS, "nothing is broken yet");
    Population { devices, phones, channels, users }
}

/// A group of these users, made by the first; `None` when nobody knows whether it was made.
pub async fn make_group(run: &Run, random: &mut Random, members: &[usize]) -> Option<usize> {
    let names: Vec<String> = members.iter().map(|user| run.history().users[*user].clone()).collect();
    let asked_for = run.now();
    let body = json!({"kind": "group", "memberIds": names[1..], "name": "Crew"});
    let api = random.index(run.rest.servers());
    // Not idempotent: asked once.
    let Ok((201, channel)) = run.rest.call(api, Method::POST, "/channels", &names[0], Some(&body)).await
    else {
        return None;
    };
    Some(run.history().add_channel(id(&channel)?, Some(asked_for), members.to_vec()))
}

async fn make_direct(run: &Run, random: &mut Random, pair: [usize; 2]) -> usize {
    let names = pair.map(|user| run.history().users[user].clone());
    let asked_for = run.now();
    let body = json!({"kind": "direct", "memberIds": [names[1]]});
    let call = (Method::POST, "/channels", names[0].as_str(), Some(&body));
    let outcome = run.rest.persist(random, Instant::now() + START_LIMIT, call).await;
    let Ok((200 | 201, channel)) = &outcome else { panic!("no channel: {outcome:?}") };
    let id = id(channel).unwrap_or_else(|| panic!("a channel without an id: {channel}"));
    run.history().add_channel(id, Some(asked_for), pair.to_vec())
}

fn id(channel: &Value) -> Option<&str> {
    channel["id"].as_str()
}

//! Removes users from groups and adds them again, until each time the outcome is certain.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::history::MembershipChange;
use crate::random::Random;
use crate::run_state::Shared;

/// Longer than any fault.
const PERSISTENCE: Duration = Duration::from_secs(60);
/// Of a changing group's members, the first ones stay: its senders.
const STAYING: usize = 3;

/// One change after the other in this group, until the time for sends is over. Everybody is in again in the end.
pub async fn keep_changing(run: Shared, channel: usize) {
    let mut random = run.random(&format!("members of {channel}"));
    let members = run.history().channels[channel].members[STAYING..].to_vec();
    while run.now() < run.phases.sends_until {
        sleep(random.millis(500, 2_500)).await;
        let user = *random.pick(&members);
        change(&run, &mut random, channel, user, false).await;
        sleep(random.millis(200, 2_500)).await;
        change(&run, &mut random, channel, user, true).await;
    }
}

async fn change(run: &Shared, random: &mut Random, channel: usize, user: usize, is_addition: bool) {
    let (id, owner, name) = {
        let history = run.history();
        let owner = history.channels[channel].members[0];
        (history.channels[channel].id.clone(), history.users[owner].clone(), history.users[user].clone())
    };
    let began = run.now();
    let index = {
        let mut history = run.history();
        history.memberships.push(MembershipChange {
            channel,
            user,
            is_addition,
            began,
            was_retried: false,
            done: None,
        });
        history.memberships.len() - 1
    };
    let path = format!("/channels/{id}/members");
    let body = is_addition.then(|| json!({"userIds": [name]}));
    let (method, path) =
        if is_addition { (Method::POST, path) } else { (Method::DELETE, format!("{path}/{name}")) };
    let deadline = Instant::now() + PERSISTENCE;
    while Instant::now() < deadline {
        let api = random.index(run.rest.servers());
        let outcome = run.rest.call(api, method.clone(), &path, &owner, body.as_ref()).await;
        // 404: a try whose answer was lost has removed them.
        if matches!(outcome, Ok((200..300 | 404, _))) {
            let now = run.now();
            run.history().memberships[index].done = Some(now);
            return;
        }
        run.history().memberships[index].was_retried = true;
        sleep(random.millis(100, 500)).await;
    }
}

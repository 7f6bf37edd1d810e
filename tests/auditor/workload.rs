//! Senders: every message with a content and a `clientMessageId` of its own, retried until its fate is certain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::history::{Answer, Attempt, Print, Send};
use crate::population::{CHANGING_GROUPS, Population, make_group};
use crate::random::Random;
use crate::rest::Outcome;
use crate::run_state::Shared;

const SENDERS: u64 = 16;
/// Of 100 sends so many go to a group that is made for them and never used again: what is lost there is not made good
/// by the next message.
const FRESH_PERCENT: u64 = 8;
/// Of 100 retries so many are not made: whether the send is stored stays unknown to its sender.
const GIVES_UP_PERCENT: u64 = 6;
/// Of 100 accepted sends so many are sent again.
const REPEATS_PERCENT: u64 = 4;
/// Of 100 sends so many go to both api-servers at the same time.
const TWINS_PERCENT: u64 = 3;
/// No send is tried for longer than that; faults are shorter.
const PERSISTENCE: Duration = Duration::from_secs(40);

pub struct Workload {
    pub run: Shared,
    pub population: Arc<Population>,
    /// Sends a second.
    pub rate: u32,
    /// Accepted sends after which it ends early.
    pub enough: Option<u32>,
    pub accepted: AtomicU32,
}

impl Workload {
    /// Sends until the time for sends is over, or enough were accepted, and all outcomes are certain.
    pub async fn run(self: Arc<Self>) {
        let senders: Vec<_> =
            (0..SENDERS).map(|sender| tokio::spawn(Arc::clone(&self).send_on(sender))).collect();
        for ended in join_all(senders).await {
            ended.expect("a sender does not panic");
        }
    }

    async fn send_on(self: Arc<Self>, sender: u64) {
        let random = &mut self.run.random(&format!("sender {sender}"));
        let pause = SENDERS * 1_000 / u64::from(self.rate);
        let mut next = Instant::now();
        for number in 0_u64.. {
            next =
                next.max(Instant::now() - Duration::from_secs(1)) + random.millis(pause / 2, pause * 3 / 2);
            sleep_until(next).await;
            let is_enough = self.enough.is_some_and(|enough| self.accepted.load(Ordering::Relaxed) >= enough);
            if is_enough || self.run.now() >= self.run.phases.sends_until {
                return;
            }
            self.send_one(random, &format!("{sender}-{number}")).await;
        }
    }

    async fn send_one(&self, random: &mut Random, id: &str) {
        let channel = if self.enough.is_none() && random.is(FRESH_PERCENT) {
            let Some(fresh) = self.fresh_group(random).await else { return };
            fresh
        } else {
            *random.pick(&self.population.channels)
        };
        let user = {
            let history = self.run.history();
            let members = &history.channels[channel].members;
            // In groups that change, only the first three certainly stay.
            let changes = self.population.channels[..CHANGING_GROUPS].contains(&channel);
            *random.pick(if changes { &members[..3] } else { members })
        };
        let content = format!("{id}: {:x}", random.next());
        let index = {
            let mut history = self.run.history();
            history.sends.push(Send {
                client_message_id: id.to_owned(),
                user,
                channel,
                content,
                attempts: Vec::new(),
            });
            history.sends.len() - 1
        };
        if random.is(TWINS_PERCENT) {
            tokio::join!(self.attempt(index, 0), self.attempt(index, 1));
        }
        let deadline = Instant::now() + PERSISTENCE;
        while !self.attempt(index, random.index(self.run.rest.servers())).await {
            if random.is(GIVES_UP_PERCENT) || Instant::now() > deadline {
                return;
            }
            sleep(random.millis(50, 700)).await;
        }
        if random.is(REPEATS_PERCENT) {
            self.attempt(index, random.index(self.run.rest.servers())).await;
        }
    }

    async fn fresh_group(&self, random: &mut Random) -> Option<usize> {
        let mut members: Vec<usize> = (0..self.population.users).collect();
        random.shuffle(&mut members);
        members.truncate(random.between(2, 4) as usize);
        make_group(&self.run, random, &members).await
    }

    /// One try; returns whether the fate of the send is certain now.
    async fn attempt(&self, index: usize, api: usize) -> bool {
        let (user, body) = {
            let history = self.run.history();
            let send = &history.sends[index];
            let channel = &history.channels[send.channel].id;
            let body = json!({
                "channelId": channel, "content": send.content, "clientMessageId": send.client_message_id,
            });
            (history.users[send.user].clone(), body)
        };
        let began = self.run.now();
        let outcome = self.run.rest.call(api, Method::POST, "/send/message", &user, Some(&body)).await;
        let answer = answer(outcome);
        let is_certain = match &answer {
            Answer::Stored { .. } => true,
            Answer::Refused { status, .. } => *status < 500 && *status != 429,
            Answer::Unknown(_) => false,
        };
        let ended = self.run.now();
        let mut history = self.run.history();
        let send = &mut history.sends[index];
        if matches!(answer, Answer::Stored { .. }) && !send.is_accepted() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
        send.attempts.push(Attempt { api, began, ended, answer });
        is_certain
    }
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Ok((status @ (200 | 201), entry)) => match entry["seq"].as_i64() {
            Some(seq) => Answer::Stored { status, seq, print: Print::of(&entry) },
            None => Answer::Unknown(format!("{status} without a seq")),
        },
        Ok((status, problem)) => {
            Answer::Refused { status, code: problem["code"].as_str().unwrap_or_default().to_owned() }
        }
        Err(why) => Answer::Unknown(why),
    }
}

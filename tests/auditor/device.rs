//! A device as a good client makes it: cursors, acks, and `POST /sync` for what did not come by session.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::history::{Print, Sighting};
use crate::random::Random;
use crate::run_state::Shared;

const SYNC_LIMIT: Duration = Duration::from_secs(30);
/// How long a hole may be somebody else's business before the client asks for what is missing.
const HOLE_LIMIT: Duration = Duration::from_secs(1);
const CHANNELS_PER_SYNC: usize = 200;

pub struct Device {
    pub run: Shared,
    pub index: usize,
    pub user: String,
    /// Clients need not ack; a few do not.
    pub acks: bool,
    known: Mutex<HashMap<usize, Known>>,
}

/// What the device has of a channel.
struct Known {
    id: String,
    /// It has everything up to here.
    cursor: i64,
    /// And these.
    beyond: BTreeSet<i64>,
    is_asked_for: bool,
}

impl Device {
    pub fn new(run: Shared, index: usize, acks: bool) -> Arc<Self> {
        let user = run.history().user_of(index).to_owned();
        Arc::new(Self { run, index, user, acks, known: Mutex::default() })
    }

    /// Channel, its id, and up to where the device has everything.
    pub fn cursors(&self) -> Vec<(usize, String, i64)> {
        self.known().iter().map(|(channel, known)| (*channel, known.id.clone(), known.cursor)).collect()
    }

    /// What the next ack of this channel says; `None` when there is nothing to say.
    pub fn acked_up_to(&self, channel: usize) -> Option<(String, i64)> {
        let known = self.known();
        let known = known.get(&channel)?;
        (known.cursor > 0).then(|| (known.id.clone(), known.cursor))
    }

    /// Takes an entry in, and returns its channel if it is to be acked.
    pub fn see(self: &Arc<Self>, entry: &Value, session: Option<usize>) -> Option<usize> {
        let (Some(id), Some(seq)) = (entry["channelId"].as_str(), entry["seq"].as_i64()) else { return None };
        let at = self.run.now();
        let channel = {
            let mut history = self.run.history();
            let channel = history.channel(id);
            history.see(Sighting { device: self.index, session, channel, seq, print: Print::of(entry), at });
            channel
        };
        let has_hole = {
            let mut all = self.known();
            let known = all.entry(channel).or_insert_with(|| Known::new(id));
            known.take(seq);
            let has_hole = !known.beyond.is_empty() && !known.is_asked_for;
            known.is_asked_for |= has_hole;
            has_hole
        };
        if has_hole {
            self.fill_hole(channel, id.to_owned());
        }
        self.acks.then_some(channel)
    }

    /// Reads everything after the cursors by REST, in the background, and channels that the server names besides.
    pub fn sync_all(self: &Arc<Self>) {
        let ids = self.cursors().into_iter().map(|(_, id, _)| id).collect();
        let this = Arc::clone(self);
        tokio::spawn(async move { this.read(ids, true).await });
    }

    /// Reads what is missing of these channels by REST, in the background.
    pub fn sync(self: &Arc<Self>, ids: Vec<String>) {
        if !ids.is_empty() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.read(ids, false).await });
        }
    }

    pub fn note(&self, text: String) {
        if std::env::var_os("AUDITOR_NOTES").is_some() {
            eprintln!("{}: {text}", self.user);
        }
    }

    fn fill_hole(self: &Arc<Self>, channel: usize, id: String) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(HOLE_LIMIT).await;
            let has_hole = this.known().get(&channel).is_some_and(|known| !known.beyond.is_empty());
            if has_hole {
                this.read(vec![id], false).await;
            }
            if let Some(known) = this.known().get_mut(&channel) {
                known.is_asked_for = false;
            }
        });
    }

    async fn read(self: &Arc<Self>, mut ids: Vec<String>, mut wants_new: bool) {
        let part = format!("sync of device {}", self.index);
        let random = &mut self.run.random(&part);
        let deadline = Instant::now() + SYNC_LIMIT;
        while !ids.is_empty() || wants_new {
            let rest = ids.split_off(ids.len().min(CHANNELS_PER_SYNC));
            let channels: Map<String, Value> =
                ids.iter().map(|id| (id.clone(), self.cursor(id).into())).collect();
            let body = json!({"channels": channels, "limit": 200});
            let call = (Method::POST, "/sync", self.user.as_str(), Some(&body));
            let Ok((200, answer)) = self.run.rest.persist(random, deadline, call).await else { return };
            ids = rest;
            if std::mem::take(&mut wants_new) {
                let named = channels.keys().collect::<BTreeSet<_>>();
                let new = answer["newChannels"].as_array().into_iter().flatten().filter_map(Value::as_str);
                ids.extend(new.filter(|id| !named.iter().any(|named| named == id)).map(str::to_owned));
            }
            ids.extend(self.take_pages(&answer["channels"]));
        }
    }

    /// Returns the channels of which there is more.
    fn take_pages(self: &Arc<Self>, pages: &Value) -> Vec<String> {
        let mut unfinished = Vec::new();
        for (id, page) in pages.as_object().into_iter().flatten() {
            let channel = self.run.history().channel(id);
            self.known().entry(channel).or_insert_with(|| Known::new(id));
            for entry in page["entries"].as_array().into_iter().flatten() {
                self.see(entry, None);
            }
            if page["hasMore"] == true {
                unfinished.push(id.clone());
            }
        }
        unfinished
    }

    fn cursor(&self, id: &str) -> i64 {
        self.known().values().find(|known| known.id == id).map_or(0, |known| known.cursor)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<usize, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), cursor: 0, beyond: BTreeSet::new(), is_asked_for: false }
    }

    fn take(&mut self, seq: i64) {
        if seq > self.cursor {
            self.beyond.insert(seq);
        }
        while self.beyond.remove(&(self.cursor + 1)) {
            self.cursor += 1;
        }
    }
}

/// A stream of choices for this device's life.
pub fn choices(run: &Shared, device: usize) -> Random {
    run.random(&format!("device {device}"))
}

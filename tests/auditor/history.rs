//! What was asked, answered and seen, by whom and when. Nothing here judges.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// Milliseconds since the run began.
pub type Millis = u64;

/// Far more than any run sees; beyond it the run is worth nothing and says so.
const MAX_SIGHTINGS: usize = 5_000_000;

/// Everything that the verdicts are made from. Users, devices, sessions, channels and sends are named by index.
#[derive(Default)]
pub struct History {
    pub users: Vec<String>,
    pub devices: Vec<Device>,
    pub channels: Vec<Channel>,
    pub sends: Vec<Send>,
    pub sessions: Vec<Session>,
    pub sightings: Vec<Sighting>,
    pub pushes: Vec<Push>,
    pub memberships: Vec<MembershipChange>,
    pub faults: Vec<ActiveFault>,
    pub is_overfull: bool,
    channel_of: HashMap<String, usize>,
}

pub struct Device {
    pub name: String,
    pub user: usize,
    /// It never connects.
    pub is_push_only: bool,
    /// Its target was refused by FCM until it registered a new one, at this time.
    pub reregistered: Option<Millis>,
}

pub struct Channel {
    pub id: String,
    /// Before this it did not exist. `None`: it was made by a call whose answer was lost, so nobody sends there.
    pub asked_for: Option<Millis>,
    /// Who was in from the start; the first one made it and stays.
    pub members: Vec<usize>,
}

pub struct Send {
    pub client_message_id: String,
    pub user: usize,
    pub channel: usize,
    pub content: String,
    pub attempts: Vec<Attempt>,
}

pub struct Attempt {
    pub api: usize,
    pub began: Millis,
    pub ended: Millis,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 201, or 200 with `deduplicated`.
    Stored {
        status: u16,
        seq: i64,
        print: Print,
    },
    Refused {
        status: u16,
        code: String,
    },
    /// No answer that could be read, and why.
    Unknown(String),
}

/// Two prints are equal when the entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Print(u64);

#[derive(Default)]
pub struct Session {
    pub device: usize,
    pub gateway: String,
    pub ready: Millis,
    /// With what it asked to resume.
    pub cursors: Option<HashMap<usize, i64>>,
    pub resumed: Option<Resumed>,
    /// When it ended for its client, and how.
    pub ended: Option<(Millis, String)>,
    /// From when on the client said that it was in the background, or no more.
    pub background: Vec<(Millis, bool)>,
}

pub struct Resumed {
    pub at: Millis,
    /// Channels of which the client was told to read everything by REST.
    pub resync: HashSet<usize>,
}

/// One entry that came to a device.
pub struct Sighting {
    pub device: usize,
    /// `None`: by `POST /sync`.
    pub session: Option<usize>,
    pub channel: usize,
    pub seq: i64,
    pub print: Print,
    pub at: Millis,
}

/// One push that FCM took.
pub struct Push {
    pub device: usize,
    pub channel: usize,
    pub seq: i64,
    pub at: Millis,
}

/// One addition or removal, retried until its outcome was certain.
pub struct MembershipChange {
    pub channel: usize,
    pub user: usize,
    pub is_addition: bool,
    pub began: Millis,
    /// A try was not answered with success: a frozen server may still carry it out at any later time.
    pub was_retried: bool,
    /// `None`: nobody knows whether it happened.
    pub done: Option<Millis>,
}

pub struct ActiveFault {
    pub what: String,
    pub from: Millis,
    pub until: Option<Millis>,
    /// For how long after its end it may still be felt in pushes; `None`: it never makes a needless push.
    pub lingers: Option<Millis>,
}

/// The logs as they are in the end, by channel and ascending `seq`.
#[derive(Default)]
pub struct Logs(pub BTreeMap<usize, Vec<LogEntry>>);

#[derive(Debug, Clone)]
pub struct LogEntry {
    pub seq: i64,
    pub print: Print,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    Message { sender: String, client_message_id: String, content: String },
    Joined(Vec<String>),
    Left(Vec<String>),
    Other,
}

impl History {
    /// The channel with this id; one that is unknown so far was made by a call whose answer was lost.
    pub fn channel(&mut self, id: &str) -> usize {
        if let Some(known) = self.channel_of.get(id) {
            return *known;
        }
        self.add_channel(id, None, Vec::new())
    }

    /// A channel that was asked for at this time and has these members.
    pub fn add_channel(&mut self, id: &str, asked_for: Option<Millis>, members: Vec<usize>) -> usize {
        let index = *self.channel_of.entry(id.to_owned()).or_insert(self.channels.len());
        let channel = Channel { id: id.to_owned(), asked_for, members };
        if index == self.channels.len() {
            self.channels.push(channel);
        } else if asked_for.is_some() {
            self.channels[index] = channel;
        }
        index
    }

    pub fn see(&mut self, sighting: Sighting) {
        if self.sightings.len() < MAX_SIGHTINGS {
            self.sightings.push(sighting);
        } else {
            self.is_overfull = true;
        }
    }

    pub fn user_of(&self, device: usize) -> &str {
        &self.users[self.devices[device].user]
    }

    pub fn accepted(&self) -> usize {
        self.sends.iter().filter(|send| send.is_accepted()).count()
    }
}

impl Send {
    pub fn is_accepted(&self) -> bool {
        self.attempts.iter().any(|attempt| matches!(attempt.answer, Answer::Stored { .. }))
    }
}

impl Print {
    /// Of everything that an entry's JSON says, without what only an answer says of itself.
    pub fn of(entry: &Value) -> Self {
        let mut hasher = DefaultHasher::new();
        for field in
            ["type", "id", "channelId", "senderId", "createdAt", "kind", "content", "clientMessageId", "name"]
        {
            entry[field].as_str().hash(&mut hasher);
        }
        entry["seq"].as_i64().hash(&mut hasher);
        entry["userIds"].to_string().hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl LogEntry {
    pub fn of(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let users = || {
            entry["userIds"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|id| Some(id.as_str()?.to_owned()))
                .collect()
        };
        let kind = match entry["type"].as_str()? {
            "message" => EntryKind::Message {
                sender: text("senderId"),
                client_message_id: text("clientMessageId"),
                content: text("content"),
            },
            "memberJoined" => EntryKind::Joined(users()),
            "memberLeft" => EntryKind::Left(users()),
            _ => EntryKind::Other,
        };
        Some(Self { seq: entry["seq"].as_i64()?, print: Print::of(entry), kind })
    }
}

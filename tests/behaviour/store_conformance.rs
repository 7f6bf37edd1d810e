//! One suite for both stores: whatever holds of Postgres holds of SQLite, to the letter.

mod acks;
mod append;
mod append_known;
mod append_races;
mod channels;
mod clocks;
mod devices;
mod history;
mod members;
mod migration;
mod on_disk;
mod on_postgres;
mod outbox;
mod partitions;
mod push_folding;
mod push_jobs;
mod retention;
mod roles;
mod throughput;

use std::path::Path;
use std::sync::Arc;

use api_server::store::{Change, Draft, OutboxId, Postgres as PostgresStore, Role, Sqlite, Store, Verdict};
use harness::postgres::Postgres;
use harness::wait::eventually;
use shared_types::{ChannelId, Entry, EntryBody, EntryId, Seq, Timestamp, UserId};
use tempfile::TempDir;

type AnyStore = Arc<dyn Store>;

/// Waits until what is stored next is stored at a later moment: moments are kept in milliseconds.
async fn a_later_moment() {
    let now = Timestamp::now();
    eventually("the clock moves on", async || Timestamp::now() > now).await;
}

/// The tests of a file for both implementations, under the implementation's name.
macro_rules! conformance {
    ($($sentence:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(crate::store_conformance::postgres().await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $sentence() {
                let (store, _folder) = crate::store_conformance::sqlite().await;
                super::$sentence(store).await;
            })+
        }
    };
    // Each sentence gets several handles to one database, as several processes have them.
    (three handles: $($sentence:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(crate::store_conformance::three_on_postgres().await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $sentence() {
                let (stores, _folder) = crate::store_conformance::three_on_sqlite().await;
                super::$sentence(stores).await;
            })+
        }
    };
}
use conformance;

async fn postgres() -> AnyStore {
    let url = Postgres::shared().await.fresh_database().await;
    Arc::new(PostgresStore::new(&url, 8).unwrap())
}

async fn three_on_postgres() -> [AnyStore; 3] {
    let url = Postgres::shared().await.fresh_database().await;
    std::array::from_fn(|_| Arc::new(PostgresStore::new(&url, 4).unwrap()) as AnyStore)
}

async fn sqlite() -> (AnyStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(open(&folder.path().join("naru.db")).await), folder)
}

async fn three_on_sqlite() -> ([AnyStore; 3], TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("naru.db");
    (([Arc::new(open(&path).await), Arc::new(open(&path).await), Arc::new(open(&path).await)]), folder)
}

async fn open(path: &Path) -> Sqlite {
    Sqlite::open(path).await.unwrap()
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

/// A group without a name; the first user is its owner.
async fn group(store: &AnyStore, names: &[&str]) -> ChannelId {
    let roles = std::iter::once(Role::Owner).chain(std::iter::repeat(Role::Member));
    let members: Vec<_> = users(names).into_iter().zip(roles).collect();
    store.create_group(None, &members).await.unwrap()
}

fn draft(channel_id: ChannelId, sender: &str, content: &str, id: Option<&str>) -> Draft {
    Draft {
        entry_id: EntryId::generate(),
        channel_id,
        sender_id: user(sender),
        kind: "text".into(),
        content: content.into(),
        metadata: None,
        client_message_id: id.map(|id| id.parse().unwrap()),
        known_membership: None,
    }
}

/// A message that is stored for certain.
async fn send(store: &AnyStore, channel: ChannelId, sender: &str, content: &str) -> Entry {
    let draft = draft(channel, sender, content, None);
    let verdicts = store.appender().append(OutboxId::generate(), &[&draft]).await.unwrap();
    match verdicts.into_iter().next() {
        Some(Verdict::Stored { seq, created_at, .. }) => draft.into_entry(seq, created_at),
        other => panic!("not stored: {other:?}"),
    }
}

/// What became of a row, in short: a stored one's seq, an earlier one's seq and content.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Stored { seq, .. } => format!("stored {seq}"),
        Verdict::Earlier(entry) => match &entry.body {
            EntryBody::Message { content, .. } => format!("earlier {}: {content}", entry.seq),
            other => panic!("no message: {other:?}"),
        },
        Verdict::NoSuchChannel => "no such channel".into(),
        Verdict::NotAParticipant => "not a participant".into(),
    }
}

/// What became of a change, in short.
fn changed(change: &Change) -> String {
    match change {
        Change::Committed(committed) => {
            let (entry, version) = (&committed.entry, committed.membership_version);
            format!("{} {} by {} v{version}", entry.seq, said(&entry.body), entry.sender_id)
        }
        Change::Unchanged => "unchanged".into(),
        Change::NotFound => "not found".into(),
        Change::Forbidden(_) => "forbidden".into(),
        Change::Refused(_) => "refused".into(),
    }
}

fn said(body: &EntryBody) -> String {
    match body {
        EntryBody::Message { content, .. } => content.clone(),
        EntryBody::MemberJoined { user_ids } => format!("joined {user_ids:?}"),
        EntryBody::MemberLeft { user_ids } => format!("left {user_ids:?}"),
        EntryBody::ChannelRenamed { name } => format!("renamed {name}"),
    }
}

fn seqs(entries: &[Entry]) -> Vec<Seq> {
    entries.iter().map(|entry| entry.seq).collect()
}

/// The whole log, as clients see it.
async fn log(store: &AnyStore, channel: ChannelId) -> Vec<Entry> {
    let page = store.history(channel, api_server::store::Window::After(0), 10_000).await.unwrap();
    assert!(!page.has_more);
    page.entries
}

fn json(entry: &Entry) -> String {
    serde_json::to_string(entry).unwrap()
}

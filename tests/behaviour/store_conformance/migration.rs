//! A database of the first migration is brought up to date with what is in it.

use std::path::Path;
use std::sync::Arc;

use api_server::store::{DevicePlatform, DeviceTarget, Postgres as PostgresStore, migrate};
use harness::postgres::Postgres;
use shared_types::api_server_api::Ack;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::push_jobs::{AT_ONCE, enqueue};
use super::{AnyStore, open, send, seqs, user};

/// The migrations of one database as they were before 0002.
async fn first_migration(database: &str) -> Migrator {
    let folder = tempfile::tempdir().unwrap();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(database);
    std::fs::copy(all.join("0001_initial.sql"), folder.path().join("0001_initial.sql")).unwrap();
    Migrator::new(folder.path()).await.unwrap()
}

const CHANNEL: &str = "01990000000070008000000000000001";

/// A channel with four messages of alice's, of which bob has read one; bob's phone waits to be told of the others,
/// and a push about the first has failed. `id` and `moment` say how the database writes these.
fn contents(id: &str, moment: &str) -> String {
    let entries: Vec<String> = (1..=4)
        .map(|seq| format!("({id}, {seq}, {id}, 'message', 'alice', {moment}, 'text', '{seq}')"))
        .collect();
    let jobs: Vec<String> = (1..=4)
        .map(|seq| {
            let failed = if seq == 1 { moment } else { "NULL" };
            format!("('bob', 'phone', {id}, {seq}, 3, {moment}, {moment}, {failed})")
        })
        .collect();
    format!(
        "INSERT INTO channels (id, kind, last_seq, created_at, updated_at) VALUES ({id}, 'group', 4, {moment}, {moment});
         INSERT INTO participants (channel_id, user_id, role, joined_at, joined_seq, read_seq)
         VALUES ({id}, 'alice', 'owner', {moment}, 0, 0), ({id}, 'bob', 'member', {moment}, 0, 1);
         INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content) VALUES {};
         INSERT INTO devices (user_id, device_id, platform, installation_id, created_at, updated_at)
         VALUES ('bob', 'phone', 'ios', 'i-1', {moment}, {moment});
         INSERT INTO push_jobs (user_id, device_id, channel_id, seq, attempts, due_at, created_at, failed_at) VALUES {};",
        entries.join(", "),
        jobs.join(", "),
    )
}

async fn expect_the_contents(store: AnyStore) {
    let channel = CHANNEL.parse().unwrap();
    let members = store.members(channel, None, 9).await.unwrap();
    let cursors: Vec<_> = members.iter().map(|member| (member.delivered_seq, member.read_seq)).collect();
    assert_eq!(cursors, [(0, 0), (1, 1)]);
    let jobs = store.lease_pushes(9, AT_ONCE).await.unwrap();
    let push = jobs[0].push.as_ref().unwrap();
    assert_eq!((jobs.len(), jobs[0].seq, push.messages, jobs[0].attempts), (1, 4, 3, 1));
    store.finish_pushes(&[(jobs[0].id, 4)], AT_ONCE).await.unwrap();
    assert_eq!(enqueue(&store, channel, 1..=4).await, 0);
    assert_eq!(send(&store, channel, "alice", "5").await.seq, 5);
    let ack = Ack { user_id: user("bob"), channel_id: channel, seq: 5, is_foreground: true };
    assert_eq!(store.acknowledge(&[ack]).await.unwrap().len(), 1);
    assert_eq!(seqs(&super::log(&store, channel).await), [1, 2, 3, 4, 5]);
    let target = DeviceTarget::Installation("i-2".into());
    let phone = "phone".parse().unwrap();
    store.put_device(&user("bob"), &phone, DevicePlatform::Ios, &target, 9).await.unwrap();
}

#[tokio::test]
async fn pushes_that_wait_and_cursors_outlive_the_second_migration_on_postgres() {
    let url = Postgres::shared().await.empty_database().await;
    let mut past = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    first_migration("postgres").await.run(&mut past).await.unwrap();
    past.execute(AssertSqlSafe(contents(&format!("'{CHANNEL}'"), "now()"))).await.unwrap();

    migrate(&url).await.unwrap();

    expect_the_contents(Arc::new(PostgresStore::new(&url, 2).unwrap())).await;
    // An api-server that has not been replaced yet goes on appending.
    let old = format!(
        "SELECT verdict FROM append_messages(ARRAY['{CHANNEL}'::uuid], ARRAY['alice'], ARRAY['{CHANNEL}'::uuid],
                                             ARRAY['text'], ARRAY['6'], ARRAY[NULL::text], ARRAY[NULL::text])"
    );
    let verdict: String = sqlx::query_scalar(AssertSqlSafe(old)).fetch_one(&mut past).await.unwrap();
    assert_eq!(verdict, "stored");
}

#[tokio::test]
async fn pushes_that_wait_and_cursors_outlive_the_second_migration_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("naru.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut past = options.connect().await.unwrap();
    first_migration("sqlite").await.run(&mut past).await.unwrap();
    past.execute(AssertSqlSafe(contents(&format!("x'{CHANNEL}'"), "1000"))).await.unwrap();
    past.close().await.unwrap();

    expect_the_contents(Arc::new(open(&path).await)).await;
}

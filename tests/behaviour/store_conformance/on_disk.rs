//! What concerns SQLite's file and no server: it is kept, and others may hold it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api_server::store::{DevicePlatform, DeviceTarget, OutboxId, PushWanted, Sqlite, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor, Row};
use tempfile::TempDir;

use super::{AnyStore, draft, group, json, log, open, send, told, user, users};

/// The folder's store, and a connection past it.
async fn on_disk() -> (AnyStore, SqliteConnection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store: AnyStore = Arc::new(open(&folder.path().join("naru.db")).await);
    let options = SqliteConnectOptions::new().filename(folder.path().join("naru.db"));
    (store, options.connect().await.unwrap(), folder)
}

#[tokio::test]
async fn everything_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("naru.db");
    let store: AnyStore = Arc::new(open(&path).await);
    let channel = group(&store, &["alice", "bob"]).await;
    let direct = store.open_direct(&user("alice"), &user("bob")).await.unwrap().0;
    let message = draft(channel, "alice", "hi", Some("c-1"));
    store.appender().append(OutboxId::generate(), &[&message]).await.unwrap();
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    store.mark_read(channel, &user("bob"), 1).await.unwrap();
    let target = DeviceTarget::Installation("i-1".into());
    let phone = "phone".parse().unwrap();
    store.put_device(&user("bob"), &phone, DevicePlatform::Ios, &target, 9).await.unwrap();
    let push = PushWanted { user_id: user("bob"), channel_id: channel, seq: 2, unless_delivered: false };
    store.enqueue_pushes(&[push], Duration::ZERO).await.unwrap();
    let before: Vec<String> = log(&store, channel).await.iter().map(json).collect();
    store.close().await;
    drop(store);
    // Nothing is left in the log of changes: the file alone is a whole copy.
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["naru.db"]);

    let store: AnyStore = Arc::new(open(&path).await);

    assert_eq!(log(&store, channel).await.iter().map(json).collect::<Vec<_>>(), before);
    assert_eq!(store.open_direct(&user("bob"), &user("alice")).await.unwrap(), (direct, false));
    let repeat = store.appender().append(OutboxId::generate(), &[&message]).await.unwrap();
    assert_eq!(told(&repeat[0]), "earlier 1: hi");
    assert_eq!(send(&store, channel, "bob", "on").await.seq, 3);
    let view = store.channel(channel, &user("bob"), false).await.unwrap().unwrap();
    assert_eq!((view.name.as_deref(), view.read_seq), (Some("crew"), 1));
    assert_eq!(store.devices(&user("bob")).await.unwrap().len(), 1);
    let jobs = store.lease_pushes(9, Duration::from_secs(60)).await.unwrap();
    assert!(jobs.len() == 1 && jobs[0].push.is_some());
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_dies_without_a_word() {
    let (store, _past, folder) = on_disk().await;
    let channel = group(&store, &["alice"]).await;
    for n in 0..50 {
        send(&store, channel, "alice", &n.to_string()).await;
    }
    // The files as a process would leave them that is killed now.
    let copy = tempfile::tempdir().unwrap();
    for file in ["naru.db", "naru.db-wal"] {
        std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    }
    let again: AnyStore = Arc::new(open(&copy.path().join("naru.db")).await);
    assert_eq!(log(&again, channel).await.len(), 50);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_entry_older_than_the_one_before() {
    let (store, mut past, _folder) = on_disk().await;
    let channel = group(&store, &["alice"]).await;
    let first = send(&store, channel, "alice", "1").await;
    let ahead = first.created_at.as_datetime().timestamp_millis() + 3_600_000;
    past.execute(sqlx::AssertSqlSafe(format!("UPDATE channels SET updated_at = {ahead}"))).await.unwrap();
    send(&store, channel, "alice", "2").await;
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    let log = log(&store, channel).await;
    let moments: Vec<i64> =
        log.iter().map(|entry| entry.created_at.as_datetime().timestamp_millis()).collect();
    assert_eq!(moments[1..], [ahead, ahead]);
    let other = group(&store, &["alice"]).await;
    assert!(send(&store, other, "alice", "now").await.created_at < log[1].created_at);
}

#[tokio::test]
async fn another_program_that_holds_the_file_makes_writers_wait_or_refuses_them_in_time() {
    let (store, mut past, _folder) = on_disk().await;
    let channel = group(&store, &["alice"]).await;
    past.execute("BEGIN IMMEDIATE").await.unwrap();
    let held =
        store.appender().append(OutboxId::generate(), &[&draft(channel, "alice", "1", Some("c-1"))]).await;
    assert!(matches!(held, Err(StoreError::Unavailable(_))), "{held:?}");
    // Readers do not notice.
    assert!(log(&store, channel).await.is_empty());
    let waiting = async { send(&store, channel, "alice", "1").await.seq };
    let letting_go = async {
        // Right either way; the pause only lets the writer meet the lock.
        tokio::time::sleep(Duration::from_millis(300)).await;
        past.execute("COMMIT").await.unwrap();
    };
    assert_eq!(tokio::join!(waiting, letting_go).0, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("naru.db");
    std::fs::write(&path, "a shopping list".repeat(1_000)).unwrap();
    assert!(Sqlite::open(&path).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), "a shopping list".repeat(1_000).as_bytes());
    assert!(Sqlite::open(Path::new("/nowhere/at/all/naru.db")).await.is_err());
}

#[tokio::test]
async fn no_statement_of_the_hot_path_reads_a_whole_table() {
    let (store, mut past, _folder) = on_disk().await;
    let channel = group(&store, &["alice", "bob"]).await;
    send(&store, channel, "alice", "1").await;
    store.sync(&user("bob"), &HashMap::from([(channel, 0)]), 9).await.unwrap();
    store.participants(&[channel]).await.unwrap();
    store.add_members(channel, &user("alice"), false, &users(&["carol"])).await.unwrap();
    // As written in store/sqlite/append.rs.
    let judge = "EXPLAIN QUERY PLAN SELECT e.id FROM json_each('[]') d
         LEFT JOIN channels c ON c.id = unhex(d.value ->> 0)
         LEFT JOIN participants p ON p.channel_id = c.id AND p.user_id = d.value ->> 1
         LEFT JOIN entries e ON e.channel_id = c.id AND e.sender_id = d.value ->> 1 AND e.client_message_id = d.value ->> 2
         ORDER BY d.key";
    let unread = "EXPLAIN QUERY PLAN SELECT count(*) FROM entries u
         WHERE u.channel_id = x'00' AND u.seq > 1 AND u.type = 'message' AND u.sender_id <> 'x'";
    for sql in [judge, unread] {
        let plan: Vec<String> =
            past.fetch_all(sql).await.unwrap().iter().map(|row| row.get("detail")).collect();
        assert!(plan.iter().all(|step| !step.starts_with("SCAN") || step.contains("VIRTUAL")), "{plan:#?}");
    }
}

//! A clock that is set back: what was written before lies in the future, and holds nobody up.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_server::store::{OutboxId, Postgres as PostgresStore};
use harness::postgres::Postgres;
use harness::storage::Tables;
use sqlx::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;

use super::push_jobs::{AT_ONCE, LONG, enqueue, messages};
use super::{AnyStore, draft, group, open};

const A_DAY: i64 = 86_400;

/// Two servers of each edition, and a way past them.
pub(super) async fn both_editions() -> ([([AnyStore; 2], Tables); 2], TempDir) {
    let url = Postgres::shared().await.fresh_database().await;
    let postgres = [(); 2].map(|()| Arc::new(PostgresStore::new(&url, 2).unwrap()) as AnyStore);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("naru.db");
    let sqlite: [AnyStore; 2] = [Arc::new(open(&path).await), Arc::new(open(&path).await)];
    let file = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
    let tables = [Tables::Postgres(PgPool::connect(&url).await.unwrap()), Tables::Sqlite(file)];
    let [on_postgres, on_sqlite] = tables;
    ([(postgres, on_postgres), (sqlite, on_sqlite)], folder)
}

/// A batch of one message; answers its row.
async fn batch(store: &AnyStore) -> OutboxId {
    let (row, channel) = (OutboxId::generate(), group(store, &["alice"]).await);
    store.appender().append(row, &[&draft(channel, "alice", "hi", None)]).await.unwrap();
    row
}

async fn adopt(store: &AnyStore, in_flight: &[OutboxId], forgotten_after: Duration) -> HashSet<OutboxId> {
    let adopted = store.adopt_outbox(in_flight, forgotten_after, 9).await.unwrap();
    adopted.into_iter().map(|one| one.outbox).collect()
}

#[tokio::test]
async fn a_dead_process_does_not_live_until_the_clock_has_caught_up() {
    let (editions, _folder) = both_editions().await;
    for ([dead, other], tables) in editions {
        dead.keep_outbox(LONG).await.unwrap();
        let row = batch(&dead).await;
        assert_eq!(other.keep_outbox(LONG).await.unwrap(), 2);
        assert!(adopt(&other, &[], LONG).await.is_empty());
        tables.change(&format!("UPDATE api_servers SET alive_until = {}", tables.moment_in(A_DAY))).await;
        assert_eq!(other.keep_outbox(LONG).await.unwrap(), 1);
        assert_eq!(adopt(&other, &[], LONG).await, HashSet::from([row]));
        // One that lives says so, whatever its row said.
        assert_eq!(dead.keep_outbox(LONG).await.unwrap(), 2);
        batch(&dead).await;
        assert!(adopt(&other, &[row], LONG).await.is_empty());
    }
}

#[tokio::test]
async fn own_rows_that_nobody_works_on_are_not_young_until_the_clock_has_caught_up() {
    let (editions, _folder) = both_editions().await;
    for ([store, other], tables) in editions {
        store.keep_outbox(LONG).await.unwrap();
        let row = batch(&store).await;
        tables.change(&format!("UPDATE outbox SET written_at = {}", tables.moment_in(A_DAY))).await;
        assert!(adopt(&store, &[row], LONG).await.is_empty(), "it is worked on");
        assert!(adopt(&other, &[], AT_ONCE).await.is_empty(), "its owner lives");
        assert_eq!(adopt(&store, &[], LONG).await, HashSet::from([row]));
    }
}

#[tokio::test]
async fn a_push_waits_for_as_long_as_a_pause_may_be_and_not_until_the_clock_has_caught_up() {
    let (editions, _folder) = both_editions().await;
    for ([store, _], tables) in editions {
        let channel = messages(&store, 1).await;
        enqueue(&store, channel, [1]).await;
        let due_in = async |seconds| {
            let moment = tables.moment_in(seconds);
            tables.change(&format!("UPDATE push_jobs SET due_at = {moment}")).await;
        };
        // An hour and a tenth is the longest that it is put off.
        due_in(4_000).await;
        assert!(store.lease_pushes(9, LONG).await.unwrap().is_empty());
        due_in(A_DAY).await;
        assert!(store.lease_pushes(0, LONG).await.unwrap().is_empty());
        assert_eq!(store.lease_pushes(9, LONG).await.unwrap().len(), 1);
        assert!(store.lease_pushes(9, LONG).await.unwrap().is_empty(), "the lease is of this clock");
    }
}

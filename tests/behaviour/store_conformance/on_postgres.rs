//! What concerns Postgres alone: its clock may be another's, and its updates shall be cheap.

use std::sync::Arc;

use api_server::store::Postgres as PostgresStore;
use harness::postgres::Postgres;
use sqlx::{Connection, Executor, PgConnection};

use super::{AnyStore, group, log, send, user};

/// A store, and a connection past it.
async fn on_postgres() -> (AnyStore, PgConnection) {
    let url = Postgres::shared().await.fresh_database().await;
    (Arc::new(PostgresStore::new(&url, 2).unwrap()), PgConnection::connect(&url).await.unwrap())
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_entry_older_than_the_one_before() {
    let (store, mut past) = on_postgres().await;
    let channel = group(&store, &["alice"]).await;
    let first = send(&store, channel, "alice", "1").await;
    past.execute("UPDATE channels SET updated_at = updated_at + interval '1 hour'").await.unwrap();
    let answered = send(&store, channel, "alice", "2").await;
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    let log = log(&store, channel).await;
    let moments: Vec<i64> =
        log.iter().map(|entry| entry.created_at.as_datetime().timestamp_millis()).collect();
    let ahead = first.created_at.as_datetime().timestamp_millis() + 3_600_000;
    assert_eq!((moments[1..].to_vec(), answered.created_at), (vec![ahead, ahead], log[1].created_at));
    let other = group(&store, &["alice"]).await;
    assert!(send(&store, other, "alice", "now").await.created_at < log[1].created_at);
}

#[tokio::test]
async fn no_index_covers_what_each_message_or_ack_changes() {
    let (_store, mut past) = on_postgres().await;
    let indexes: Vec<String> = sqlx::query_scalar(
        "SELECT indexdef FROM pg_indexes WHERE tablename IN ('channels', 'participants', 'api_servers')",
    )
    .fetch_all(&mut past)
    .await
    .unwrap();
    assert!(indexes.len() >= 4, "{indexes:#?}");
    for column in ["last_seq", "updated_at", "delivered_seq", "read_seq", "alive_until"] {
        assert!(!indexes.iter().any(|index| index.contains(column)), "{column}: {indexes:#?}");
    }
}

//! What the tests of a whole cluster have in common.

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use harness::storage::Tables;
use harness::wait::eventually;
use harness::websocket::WebSocketClient;
use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Waits until everything stored has gone wherever it goes, pushes included. For clusters whose api-servers are
/// these and have not been restarted: they count.
pub async fn settled(cluster: &Cluster, apis: usize) {
    let tables = cluster.tables().await;
    eventually("everything is delivered", async || {
        let stored = count(&tables, "SELECT CAST(coalesce(sum(last_seq), 0) AS BIGINT) FROM channels").await;
        let mut delivered = 0.0;
        for api in 0..apis {
            let url = cluster.api_internal_url(api);
            delivered += cluster.metric(&url, "naru_api_delivery_duration_seconds_count").await;
        }
        delivered == stored as f64 && is_at_rest(&tables).await
    })
    .await;
}

/// Waits until nothing is left in the outbox, and no push waits: whoever stored it and whoever delivered it.
pub async fn at_rest(tables: impl Into<Tables>) {
    let tables = tables.into();
    eventually("nothing is left to deliver", async || is_at_rest(&tables).await).await;
}

async fn is_at_rest(tables: &Tables) -> bool {
    // In this order: an entry stays in the outbox until its push jobs are written.
    count(tables, "SELECT count(*) FROM outbox").await == 0
        && count(tables, "SELECT count(*) FROM push_jobs WHERE due_at IS NOT NULL").await == 0
}

/// One number, of [`Cluster::tables`] or of a Postgres.
pub async fn count(tables: impl Into<Tables>, sql: &str) -> i64 {
    tables.into().count(sql).await
}

/// Holds a channel's row as a transaction does that writes to it; commit or drop it to let go. Others wait for 3 s.
pub async fn lock_channel(database: &PgPool, channel: &str) -> Transaction<'static, Postgres> {
    let mut transaction = database.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM channels WHERE id = $1 FOR NO KEY UPDATE")
        .bind(Uuid::parse_str(channel).unwrap())
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction
}

/// Waits until a statement of this database waits for a lock.
pub async fn until_blocked(database: &PgPool) {
    const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("a statement waits for the lock", async || count(database, BLOCKED).await > 0).await;
}

/// Waits until this many sends wait in this api-server.
pub async fn until_waiting(cluster: &Cluster, api: usize, sends: usize) {
    let url = cluster.api_internal_url(api);
    eventually(&format!("{sends} sends wait"), async || {
        cluster.metric(&url, "naru_api_waiting_sends").await == sends as f64
    })
    .await;
}

/// A message on its way; `await` it for the answer.
pub fn sending(api: &Api, user: &str, channel: &str, content: &str) -> JoinHandle<Answer> {
    posting(api, user, json!({"channelId": channel, "content": content}))
}

/// As [`sending`], with an id of the sender's.
pub fn sending_as(api: &Api, user: &str, channel: &str, content: &str, id: &str) -> JoinHandle<Answer> {
    posting(api, user, json!({"channelId": channel, "content": content, "clientMessageId": id}))
}

fn posting(api: &Api, user: &str, body: Value) -> JoinHandle<Answer> {
    let (api, user) = (api.clone(), user.to_owned());
    tokio::spawn(async move { api.post("/send/message", &user, body).await })
}

/// Checks that this is the problem that says "not now", and when to try again.
pub fn expect_overloaded(answer: Answer) {
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds >= 1);
    answer.expect_problem(503, "overloaded");
}

/// Tells the gateway that the app has left the screen; has been heard when this returns.
pub async fn go_to_background(session: &mut WebSocketClient) {
    session.send_json(&json!({"type": "background", "value": true})).await;
    session.send_json(&json!({"type": "ping"})).await;
    assert_eq!(session.next_json().await["type"], "pong");
}

pub fn seq(entry: &Value) -> i64 {
    entry["seq"].as_i64().unwrap_or_else(|| panic!("no entry: {entry}"))
}

//! SIGTERM to an api-server: what was begun is finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::tokens::token_for;
use harness::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::whole_cluster::{count, lock_channel, sending, seq, until_blocked};

#[tokio::test]
async fn what_was_answered_201_before_the_end_is_stored_and_delivered() {
    let builder = Cluster::builder().apis(1).gateway_proxies();
    let cluster = builder.api_flag("--shutdown-grace=15s").start().await;
    // So slow that much is still on its way when the last request has been answered.
    cluster.gateway_proxy(0).delay(Duration::from_millis(700));
    let server = Arc::new(cluster.spawn_api().await);
    let channel = server.api.create_direct("alice", "bob").await;
    let sessions = [cluster.connect(0, "bob").await, cluster.connect(1, "bob").await];

    let answers = AtomicUsize::new(0);
    let sends = (0..20).map(async |_| {
        let mut stored = Vec::new();
        loop {
            let body = json!({"channelId": channel, "content": "ahoy"});
            let request = server.api.request(Method::POST, "/send/message").bearer_auth(token_for("alice"));
            let answer = match request.json(&body).send().await {
                Ok(answer) if answer.status() == 201 => answer,
                Ok(answer) => panic!("{answer:?}"),
                // Nobody listens any more, or not on this connection.
                Err(_) => return stored,
            };
            stored.push(seq(&answer.json().await.expect("an answer that has begun is finished")));
            if answers.fetch_add(1, Ordering::Relaxed) == 200 {
                // From another thread, so that the load goes on meanwhile.
                let server = server.clone();
                tokio::task::spawn_blocking(move || server.process.sigterm());
            }
        }
    });
    let life = async {
        let stored: Vec<i64> = join_all(sends).await.concat();
        assert!(server.process.wait_exit().await.success());
        cluster.api(0).send("alice", &channel, "the end").await;
        stored
    };
    let reads = sessions.map(async |mut session| {
        let mut seen = Vec::new();
        loop {
            let entry = session.next_entry().await;
            seen.push(seq(&entry));
            if entry["content"] == "the end" {
                return seen;
            }
        }
    });
    let (mut stored, seen) = tokio::join!(life, join_all(reads));

    let last = count(&cluster.database().await, "SELECT count(*) FROM entries").await;
    stored.sort_unstable();
    assert_eq!(
        stored,
        (1..last).collect::<Vec<_>>(),
        "all that was answered 201, and all that was stored was answered"
    );
    for seen in seen {
        assert_eq!(seen, (1..=last).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_new_ones_are_not_taken() {
    let cluster = Cluster::builder().apis(0).gateways(0).start().await;
    let server = cluster.spawn_api().await;
    let channel = server.api.create_direct("alice", "bob").await;
    let database = cluster.database().await;
    let lock = lock_channel(&database, &channel).await;
    let in_flight = sending(&server.api, "alice", &channel, "ahoy");
    until_blocked(&database).await;

    server.process.sigterm();
    let probe = format!("http://127.0.0.1:{}/readyz", server.internal_port);
    eventually("the probe says that it drains", async || {
        let answer = Answer::of(cluster.client().get(&probe)).await;
        answer.status == 503 && answer.body["status"] == "draining"
    })
    .await;
    let address = server.api.base_url().trim_start_matches("http://").to_owned();
    eventually("nobody listens", async || TcpStream::connect(&address).await.is_err()).await;
    lock.commit().await.unwrap();

    let entry: Value = in_flight.await.unwrap().expect(201);
    assert_eq!(entry["seq"], 1);
    assert!(server.process.wait_exit().await.success());
    assert_eq!(count(&database, "SELECT count(*) FROM entries").await, 1);
}

#[tokio::test]
async fn a_server_that_cannot_deliver_what_is_left_says_so_and_ends_within_its_grace() {
    let builder = Cluster::builder().apis(0).gateways(1).gateway_proxies();
    let cluster = builder.api_flag("--shutdown-grace=2s").start().await;
    let server = cluster.spawn_api().await;
    let channel = server.api.create_direct("alice", "bob").await;
    let _bob = cluster.connect(0, "bob").await;
    cluster.gateway_proxy(0).black_hole();
    server.api.send("alice", &channel, "stuck").await;

    server.process.sigterm();

    server.process.wait_line("stopped before everything was delivered").await;
    assert!(server.process.wait_exit().await.success());
}

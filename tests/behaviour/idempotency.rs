//! A retry never makes a second message.

use futures_util::future::join_all;
use harness::cluster::Cluster;
use serde_json::{Value, json};

use crate::whole_cluster::{count, lock_channel, sending, sending_as, until_blocked, until_waiting};

#[tokio::test]
async fn the_same_message_sent_to_two_servers_at_the_same_moment_is_stored_once() {
    let cluster = Cluster::builder().gateways(0).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let (one, other) = (cluster.api(0), cluster.api(1));
    for round in 1..=50 {
        let id = format!("round-{round}");
        let (first, second) = tokio::join!(
            one.send_as("alice", &channel, "hello", &id),
            other.send_as("alice", &channel, "hello", &id)
        );
        let (stored, repeated) = if first.status == 201 { (first, second) } else { (second, first) };
        let (stored, mut repeated) = (stored.expect(201), repeated.expect(200));
        assert_eq!(repeated.as_object_mut().unwrap().remove("deduplicated"), Some(json!(true)));
        assert_eq!(stored, repeated);
        assert_eq!(stored["seq"], round);
    }
    assert_eq!(count(&cluster.tables().await, "SELECT count(*) FROM entries").await, 50);
}

#[tokio::test]
async fn another_content_kind_or_metadata_under_the_same_id_is_a_conflict() {
    let cluster = Cluster::builder().gateways(0).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let first = json!({
        "channelId": channel, "content": "hello", "clientMessageId": "c-1", "kind": "text", "metadata": {"a": 1},
    });
    cluster.api(0).post("/send/message", "alice", first.clone()).await.expect(201);

    for (field, other) in [
        ("content", json!("Hello")),
        ("kind", json!("image")),
        ("metadata", json!({"a": 2})),
        ("metadata", json!({})),
        ("metadata", Value::Null),
    ] {
        let mut second = first.clone();
        second[field] = other;
        cluster.api(1).post("/send/message", "alice", second).await.expect_problem(409, "conflict");
    }
    cluster.api(1).post("/send/message", "alice", first).await.expect(200);
    assert_eq!(count(&cluster.tables().await, "SELECT count(*) FROM entries").await, 1);
}

#[tokio::test]
async fn metadata_with_its_keys_in_another_order_is_the_same_and_the_first_is_kept() {
    let cluster = Cluster::builder().gateways(0).apis(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let with = |metadata: &str| {
        format!(
            r#"{{"channelId": "{channel}", "content": "x", "clientMessageId": "c-1", "metadata": {metadata}}}"#
        )
    };
    let send = async |body: String| {
        let request = cluster.api(0).request(reqwest::Method::POST, "/send/message").body(body);
        request.bearer_auth(harness::tokens::token_for("alice")).send().await.unwrap()
    };

    let first = send(with(r#"{"b": 1, "a": {"y": [1, 2], "x": null}}"#)).await;
    assert_eq!(first.status(), 201);
    let second = send(with(r#"{"a":{"x":null,"y":[1,2]},"b":1}"#)).await;

    assert_eq!(second.status(), 200);
    let text = second.text().await.unwrap();
    assert!(text.contains(r#"{"b": 1, "a": {"y": [1, 2], "x": null}}"#), "{text}");
}

#[tokio::test]
async fn the_same_id_of_another_sender_or_in_another_channel_is_another_message() {
    let cluster = Cluster::builder().gateways(0).apis(1).start().await;
    let api = cluster.api(0);
    let (one, other) = (api.create_direct("alice", "bob").await, api.create_direct("alice", "carol").await);
    api.send_as("alice", &one, "hello", "c-1").await.expect(201);
    api.send_as("bob", &one, "something else", "c-1").await.expect(201);
    api.send_as("alice", &other, "something else", "c-1").await.expect(201);
}

#[tokio::test]
async fn sends_without_an_id_are_never_taken_for_repeats() {
    let cluster = Cluster::builder().gateways(0).apis(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    join_all((0..20).map(async |_| cluster.api(0).send("alice", &channel, "hello").await)).await;
    assert_eq!(count(&cluster.tables().await, "SELECT count(*) FROM entries").await, 20);
}

#[tokio::test]
async fn of_many_repeats_within_one_batch_one_is_stored_and_the_others_get_the_same_entry() {
    let cluster = Cluster::builder().gateways(0).apis(1).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let database = cluster.database().await;
    let lock = lock_channel(&database, &channel).await;
    // While this one waits for the lock, the others gather for the next batch.
    let before = sending(&api, "alice", &channel, "before");
    until_blocked(&database).await;
    let mut repeats: Vec<_> = (0..30).map(|_| sending_as(&api, "alice", &channel, "hello", "c-1")).collect();
    until_waiting(&cluster, 0, 31).await;
    repeats.push(sending_as(&api, "alice", &channel, "something else", "c-1"));
    until_waiting(&cluster, 0, 32).await;

    lock.commit().await.unwrap();

    before.await.unwrap().expect(201);
    let answers: Vec<_> = join_all(repeats).await.into_iter().map(Result::unwrap).collect();
    let with = |status: u16| answers.iter().filter(move |answer| answer.status == status);
    assert_eq!((with(201).count(), with(200).count(), with(409).count()), (1, 29, 1), "{answers:#?}");
    let stored = with(201).next().unwrap();
    assert!(with(200).all(|repeat| repeat.body["id"] == stored.body["id"] && repeat.body["seq"] == 2));
    assert_eq!(count(&database, "SELECT count(*) FROM entries").await, 2);
}

#[tokio::test]
async fn a_repeat_is_known_after_the_server_has_been_restarted() {
    let cluster = Cluster::builder().gateways(0).apis(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let first = cluster.api(0).send_as("alice", &channel, "hello", "c-1").await.expect(201);
    cluster.stop_api(0).await;
    let restarted = cluster.spawn_api().await;

    let again = restarted.api.send_as("alice", &channel, "hello", "c-1").await.expect(200);
    assert_eq!(
        (&again["id"], &again["seq"], &again["deduplicated"]),
        (&first["id"], &json!(1), &json!(true))
    );
    restarted.api.send_as("alice", &channel, "bye", "c-1").await.expect_problem(409, "conflict");
}

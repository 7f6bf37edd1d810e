//! Pushes that fold: what a device is told when several messages wait for it, and what cancels them.

use harness::api_client::Api;
use harness::cluster::Cluster;
use harness::fake_fcm::Behaviour;
use harness::wait::eventually;
use serde_json::{Value, json};

use crate::whole_cluster::{count, go_to_background, settled};

/// An api-server where everyone is offline, and bob has a phone.
async fn bob_is_offline(fold_window: &str) -> (Cluster, Api) {
    let flag = format!("--push-fold-window={fold_window}");
    let cluster = Cluster::builder().apis(1).gateways(0).api_flag(flag).start().await;
    let api = cluster.api(0);
    api.register_device("bob", "phone", "phone-of-bob").await;
    (cluster, api)
}

/// Sends these at one time; answers the newest.
async fn burst(api: &Api, channel: &str, contents: &[&str]) -> Value {
    let sends = contents.iter().map(|content| api.send("alice", channel, content));
    let entries = futures_util::future::join_all(sends).await;
    entries.into_iter().max_by_key(|entry| entry["seq"].as_i64()).unwrap()
}

/// What the pushes to bob's phone show.
fn bodies(cluster: &Cluster) -> Vec<String> {
    let pushes = cluster.fcm.accepted_by("phone-of-bob");
    pushes.iter().map(|push| push["notification"]["body"].as_str().unwrap().to_owned()).collect()
}

/// Waits until this many jobs wait.
async fn until_waiting(cluster: &Cluster, jobs: i64) {
    let tables = cluster.tables().await;
    eventually(&format!("{jobs} pushes wait"), async || {
        count(&tables, "SELECT count(*) FROM push_jobs WHERE due_at IS NOT NULL").await == jobs
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_one_channel_is_one_push_that_says_how_many_and_names_the_newest() {
    let (cluster, api) = bob_is_offline("3s").await;
    let channel = api.create_group("alice", &["bob"], "Night crew").await;
    let newest = burst(&api, &channel, &["one", "two", "three"]).await;
    settled(&cluster, 1).await;

    let pushes = cluster.fcm.accepted_by("phone-of-bob");
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    assert_eq!(pushes[0]["notification"], json!({"title": "Night crew", "body": "3 new messages"}));
    assert_eq!(
        pushes[0]["data"],
        json!({
            "channelId": channel, "seq": "3", "messageId": newest["id"], "senderId": "alice",
            "messages": "3", "unread": "3",
        })
    );
    let told = "naru_api_pushed_messages_total";
    assert_eq!(cluster.metric(&cluster.api_internal_url(0), told).await, 3.0);
}

#[tokio::test]
async fn a_message_alone_is_pushed_with_its_text() {
    let (cluster, api) = bob_is_offline("1s").await;
    let channel = api.create_direct("alice", "bob").await;
    for content in ["one", "two"] {
        api.send("alice", &channel, content).await;
        settled(&cluster, 1).await;
    }
    assert_eq!(bodies(&cluster), ["one", "two"]);
    assert!(cluster.fcm.accepted().iter().all(|push| push["data"]["messages"] == "1"));
}

#[tokio::test]
async fn the_messages_of_different_channels_do_not_fold() {
    let (cluster, api) = bob_is_offline("3s").await;
    let night = api.create_group("alice", &["bob"], "Night crew").await;
    let day = api.create_group("alice", &["bob"], "Day crew").await;
    tokio::join!(burst(&api, &night, &["one", "two"]), burst(&api, &day, &["one", "two", "three"]));
    settled(&cluster, 1).await;

    let pushes = cluster.fcm.accepted_by("phone-of-bob");
    let mut shown: Vec<_> = pushes.iter().map(|push| push["notification"].clone()).collect();
    shown.sort_by_key(|notification| notification["title"].to_string());
    let expected = [
        json!({"title": "Day crew", "body": "3 new messages"}),
        json!({"title": "Night crew", "body": "2 new messages"}),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn messages_that_come_while_fcm_is_unavailable_fold_into_the_push_that_is_tried_again() {
    let (cluster, api) = bob_is_offline("0s").await;
    let channel = api.create_direct("alice", "bob").await;
    let trouble = Behaviour::Unavailable { retry_after: Some("3".to_owned()) };
    cluster.fcm.respond_once("phone-of-bob", trouble);
    api.send("alice", &channel, "one").await;
    cluster.fcm.wait_until(|seen| seen.attempts.len() == 1).await;
    burst(&api, &channel, &["two", "three"]).await;
    settled(&cluster, 1).await;

    assert_eq!(bodies(&cluster), ["3 new messages"]);
    assert_eq!(cluster.fcm.accepted()[0]["data"]["seq"], "3");
    assert_eq!(cluster.fcm.seen().attempts.len(), 2);
}

#[tokio::test]
async fn messages_that_come_while_a_push_is_on_its_way_are_told_by_the_next_one() {
    let (cluster, api) = bob_is_offline("0s").await;
    let channel = api.create_direct("alice", "bob").await;
    cluster.fcm.respond_once("phone-of-bob", Behaviour::Hold);
    api.send("alice", &channel, "one").await;
    cluster.fcm.wait_until(|seen| seen.in_flight == 1).await;
    burst(&api, &channel, &["two", "three"]).await;
    let tables = cluster.tables().await;
    let are_there = "SELECT count(*) FROM push_jobs WHERE seq = 3";
    eventually("the job knows of both", async || count(&tables, are_there).await == 1).await;
    cluster.fcm.release();
    settled(&cluster, 1).await;

    assert_eq!(bodies(&cluster), ["one", "2 new messages"]);
    assert_eq!(cluster.fcm.seen().attempts.len(), 2);
}

#[tokio::test]
async fn what_is_read_before_its_push_is_made_is_not_pushed() {
    let (cluster, api) = bob_is_offline("4s").await;
    let channel = api.create_direct("alice", "bob").await;
    burst(&api, &channel, &["one", "two"]).await;
    until_waiting(&cluster, 1).await;
    api.put(&format!("/channels/{channel}/read"), "bob", json!({"seq": 2})).await.expect(200);
    until_waiting(&cluster, 0).await;
    assert!(cluster.fcm.seen().attempts.is_empty());

    let newest = burst(&api, &channel, &["three", "four"]).await;
    until_waiting(&cluster, 1).await;
    api.put(&format!("/channels/{channel}/read"), "bob", json!({"seq": 3})).await.expect(200);
    settled(&cluster, 1).await;
    assert_eq!(bodies(&cluster), [newest["content"].as_str().unwrap()], "only what is unread is told");
}

#[tokio::test]
async fn what_a_session_in_the_foreground_acks_before_its_push_is_made_is_not_pushed() {
    let cluster = Cluster::builder().apis(1).gateways(1).api_flag("--push-fold-window=1h").start().await;
    let api = cluster.api(0);
    api.register_device("bob", "phone", "phone-of-bob").await;
    let channel = api.create_direct("alice", "bob").await;
    let mut session = cluster.connect(0, "bob").await;
    go_to_background(&mut session).await;
    api.send("alice", &channel, "ahoy").await;
    assert_eq!(session.next_json().await["content"], "ahoy");
    until_waiting(&cluster, 1).await;

    session.send_json(&json!({"type": "background", "value": false})).await;
    session.send_json(&json!({"type": "ack", "channelId": channel, "seq": 1})).await;
    until_waiting(&cluster, 0).await;
    assert!(cluster.fcm.seen().attempts.is_empty());
}

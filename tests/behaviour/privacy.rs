//! Nobody gets or learns anything of a channel while they are no participant of it.

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use harness::fake_fcm::Behaviour;
use harness::redis::Redis;
use harness::tcp_proxy::TcpProxy;
use harness::tokens::token_for;
use harness::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::whole_cluster::{count, seq, settled};

async fn call(api: &Api, method: &str, path: &str, user: &str, body: Option<Value>) -> Answer {
    let method: Method = method.parse().unwrap();
    let request = api.request(method, path).bearer_auth(token_for(user));
    Answer::of(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// Everything that can be tried with a channel.
fn everything(channel: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let path = format!("/channels/{channel}");
    vec![
        ("GET", path.clone(), None),
        ("PATCH", path.clone(), Some(json!({"name": "Mine now"}))),
        ("GET", format!("{path}/members"), None),
        ("GET", format!("{path}/members?limit=1&cursor=a"), None),
        ("POST", format!("{path}/members"), Some(json!({"userIds": ["mallory"]}))),
        ("PATCH", format!("{path}/members/alice"), Some(json!({"role": "member"}))),
        ("PATCH", format!("{path}/members/mallory"), Some(json!({"role": "owner"}))),
        ("DELETE", format!("{path}/members/alice"), None),
        ("DELETE", format!("{path}/members/mallory"), None),
        ("GET", format!("{path}/messages"), None),
        ("GET", format!("{path}/messages?beforeSeq=2"), None),
        ("GET", format!("{path}/messages?aroundSeq=1"), None),
        ("PUT", format!("{path}/read"), Some(json!({"seq": 1}))),
        ("PUT", format!("{path}/read"), Some(json!({"seq": 1_000}))),
        ("POST", "/send/message".into(), Some(json!({"channelId": channel, "content": "hello"}))),
        (
            "POST",
            "/send/message".into(),
            Some(json!({"channelId": channel, "content": "hello", "clientMessageId": "c-1"})),
        ),
    ]
}

/// What is the same in every answer of the kind.
fn without_request_id(mut answer: Answer) -> (u16, Value) {
    answer.body["requestId"] = Value::Null;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_channel_from_one_that_does_not_exist() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let unknown = everything(&Uuid::now_v7().to_string());
    let group = api.create_group("alice", &["bob"], "Secret").await;
    let direct = api.create_direct("alice", "bob").await;
    for channel in [&group, &direct] {
        api.send_as("alice", channel, "psst", "c-1").await.expect(201);
        for ((method, path, body), (_, unknown_path, unknown_body)) in
            everything(channel).into_iter().zip(&unknown)
        {
            let seen = without_request_id(call(&api, method, &path, "mallory", body).await);
            let nothing = call(&api, method, unknown_path, "mallory", unknown_body.clone()).await;
            assert_eq!(seen, without_request_id(nothing), "{method} {path}");
            assert_eq!((seen.0, &seen.1["code"]), (404, &json!("channel_not_found")), "{method} {path}");
        }
        let synced = api.post("/sync", "mallory", json!({"channels": {channel: 0}})).await.expect(200);
        assert_eq!(synced, json!({"channels": {}, "newChannels": []}));
    }
    assert_eq!(api.get("/channels", "mallory").await.expect(200)["channels"], json!([]));
    let log = api.get(&format!("/channels/{group}/messages"), "alice").await.expect(200);
    assert_eq!(log["entries"].as_array().unwrap().len(), 1, "and nothing that was tried left a trace");
}

/// Checks that bob, who has a session and a phone, is told nothing more of the channel in any way.
async fn expect_silence(cluster: &Cluster, channel: &str, end_membership_as: &str) {
    let api = cluster.api(0);
    let elsewhere = api.create_direct("alice", "bob").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    let before = api.send("alice", channel, "while bob is in").await;
    assert_eq!(bob.next_entry().await, before);

    api.delete(&format!("/channels/{channel}/members/bob"), end_membership_as).await.expect(204);
    api.send("alice", channel, "without bob").await;
    let outside = api.send("alice", &elsewhere, "hello, bob").await;

    assert_eq!(bob.next_entry().await, outside, "what comes next is of the other channel");
    bob.close().await;
    settled(cluster, 1).await;
    api.send("alice", channel, "without bob, who is offline").await;
    settled(cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
    for (method, path, body) in everything(channel) {
        call(&api, method, &path, "bob", body).await.expect_problem(404, "channel_not_found");
    }
    let synced = api.post("/sync", "bob", json!({"channels": {channel: 0}})).await.expect(200);
    assert_eq!(synced, json!({"channels": {}, "newChannels": [elsewhere]}));
    let listed = api.get("/channels", "bob").await.expect(200);
    assert_eq!(listed["channels"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_removed_member_gets_nothing_more() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let channel = cluster.api(0).create_group("alice", &["bob", "carol"], "Crew").await;
    expect_silence(&cluster, &channel, "alice").await;
}

#[tokio::test]
async fn a_member_who_has_left_gets_nothing_more() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let channel = cluster.api(0).create_group("alice", &["bob", "carol"], "Crew").await;
    expect_silence(&cluster, &channel, "bob").await;
}

#[tokio::test]
async fn who_joins_gets_what_comes_after_and_may_read_what_was_before() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["carol"], "Crew").await;
    let mut bob = cluster.connect(0, "bob").await;
    api.send("alice", &channel, "before bob").await;
    api.post(&format!("/channels/{channel}/members"), "alice", json!({"userIds": ["bob"]})).await.expect(200);
    // Through the server that has not seen bob join.
    cluster.api(1).send("alice", &channel, "welcome").await;

    let mut seen = [seq(&bob.next_entry().await), seq(&bob.next_entry().await)];
    seen.sort_unstable();
    assert_eq!(seen, [2, 3], "the joining and the welcome");
    let log = api.get(&format!("/channels/{channel}/messages"), "bob").await.expect(200);
    assert_eq!(log["entries"][0]["content"], "before bob");
    let view = api.get(&format!("/channels/{channel}"), "bob").await.expect(200);
    assert_eq!(view["unreadCount"], 1, "what was said before is history, not unread");
}

#[tokio::test]
async fn who_is_removed_through_one_server_gets_nothing_through_another_that_knew_them() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let channel = cluster.api(0).create_group("alice", &["bob"], "Crew").await;
    let elsewhere = cluster.api(0).create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    cluster.api(1).send("alice", &channel, "while bob is in").await;
    bob.next_entry().await;

    cluster.api(0).delete(&format!("/channels/{channel}/members/bob"), "alice").await.expect(204);
    cluster.api(1).send("alice", &channel, "without bob").await;
    let outside = cluster.api(1).send("alice", &elsewhere, "hello, bob").await;

    assert_eq!(bob.next_entry().await, outside);
}

#[tokio::test]
async fn who_is_removed_while_their_push_waits_is_not_pushed_to() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    let not_now = Behaviour::Unavailable { retry_after: Some("3600".into()) };
    cluster.fcm.respond_once("phone-of-bob", not_now);
    api.send("alice", &channel, "hello, bob").await;
    let tables = cluster.tables().await;
    let put_off = format!("SELECT count(*) FROM push_jobs WHERE due_at > {}", tables.moment_in(30 * 60));
    eventually("the push is put off", async || count(&tables, &put_off).await == 1).await;

    api.delete(&format!("/channels/{channel}/members/bob"), "alice").await.expect(204);
    // An hour goes by.
    tables.change(&format!("UPDATE push_jobs SET due_at = {}", tables.moment_in(0))).await;

    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 1);
    assert_eq!(cluster.fcm.accepted().len(), 0);
}

#[tokio::test]
async fn who_is_removed_while_an_entry_waits_for_redis_does_not_get_it() {
    let proxy = TcpProxy::start(Redis::shared().await.port()).await;
    let redis_url = format!("redis://127.0.0.1:{}", proxy.port());
    let cluster = Cluster::builder().apis(1).gateways(1).redis_url(redis_url).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    let elsewhere = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    api.send("alice", &channel, "while bob is in").await;
    bob.next_entry().await;

    proxy.cut().await;
    api.send("alice", &channel, "while bob is in, and Redis away").await;
    let url = cluster.api_internal_url(0);
    let failures = cluster.metric(&url, "naru_api_registry_failures_total").await;
    eventually("its recipients are looked for in vain", async || {
        cluster.metric(&url, "naru_api_registry_failures_total").await > failures + 2.0
    })
    .await;
    api.delete(&format!("/channels/{channel}/members/bob"), "alice").await.expect(204);
    let outside = api.send("alice", &elsewhere, "hello, bob").await;
    proxy.restore().await;

    assert_eq!(bob.next_entry().await, outside);
}

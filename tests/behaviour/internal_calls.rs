//! The calls that gateways make: acks, resumes and a channel's log, on the internal listener only.

use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::tokens::{INTERNAL_SECRET, service_token};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

/// A call to the first api-server's internal listener, without its secret.
fn request(cluster: &Cluster, method: Method, path: &str) -> RequestBuilder {
    cluster.client().request(method, format!("{}{path}", cluster.api_internal_url(0)))
}

pub async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    Answer::of(request(cluster, Method::POST, path).bearer_auth(INTERNAL_SECRET).json(body)).await
}

async fn get(cluster: &Cluster, path: &str) -> Answer {
    Answer::of(request(cluster, Method::GET, path).bearer_auth(INTERNAL_SECRET)).await
}

pub fn ack(user: &str, channel: &str, seq: i64) -> Value {
    json!({"userId": user, "channelId": channel, "seq": seq, "isForeground": true})
}

#[tokio::test]
async fn internal_calls_need_the_internal_secret_and_are_not_served_in_public() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let calls = [
        (Method::POST, "/internal/acks".to_owned()),
        (Method::POST, "/internal/resume".to_owned()),
        (Method::GET, format!("/internal/channels/{}/entries", Uuid::now_v7())),
    ];
    for (method, path) in calls {
        let without = Answer::of(request(&cluster, method.clone(), &path).json(&json!({}))).await;
        without.expect_problem(401, "unauthorized");
        for wrong in ["x".repeat(INTERNAL_SECRET.len()), service_token()] {
            let request = request(&cluster, method.clone(), &path).bearer_auth(wrong).json(&json!({}));
            Answer::of(request).await.expect_problem(401, "unauthorized");
        }
        let public = cluster.api(0).request(method, &path).bearer_auth(INTERNAL_SECRET);
        Answer::of(public).await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_internal_call_is_named_and_nothing_is_done() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let of = |count: usize, one: Value| Value::Array(vec![one; count]);
    let session = json!({"userId": "bob", "channels": []});
    let entries = |query: &str| format!("/internal/channels/{channel}/entries?{query}");
    for (answer, field) in [
        (
            post(&cluster, "/internal/acks", &json!({"acks": of(5_001, ack("bob", &channel, 1))})).await,
            "acks",
        ),
        (post(&cluster, "/internal/acks", &json!({"acks": [{"userId": "a b"}]})).await, "acks[0].userId"),
        (post(&cluster, "/internal/resume", &json!({"sessions": of(257, session)})).await, "sessions"),
        (post(&cluster, "/internal/resume", &json!({})).await, "sessions"),
        (get(&cluster, &entries("limit=201")).await, "limit"),
        (get(&cluster, &entries("afterSeq=-1")).await, "afterSeq"),
        (get(&cluster, &entries("beforeSeq=1")).await, "beforeSeq"),
        (get(&cluster, "/internal/channels/x/entries").await, "channelId"),
    ] {
        assert_eq!(answer.expect_problem(422, "invalid_request")["errors"][0]["field"], field);
    }
    get(&cluster, "/internal/acks").await.expect_problem(405, "method_not_allowed");
    get(&cluster, "/internal/nothing").await.expect_problem(404, "not_found");
    let too_large = json!({"acks": "x".repeat(17 * 1024 * 1024)});
    post(&cluster, "/internal/acks", &too_large).await.expect_problem(413, "payload_too_large");
}

#[tokio::test]
async fn an_ack_moves_the_delivered_cursor_forward_and_never_beyond_what_there_is() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    for n in 0..3 {
        api.send("alice", &channel, &format!("{n}")).await;
    }
    let delivered = async || {
        let page = api.get(&format!("/channels/{channel}/members"), "alice").await.expect(200);
        page["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["deliveredSeq"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(delivered().await, [0, 0]);
    for (acks, expected) in [
        (json!([ack("bob", &channel, 2)]), 2),
        (json!([ack("bob", &channel, 1)]), 2),
        (json!([ack("bob", &channel, 99), ack("mallory", &channel, 3)]), 3),
        (json!([]), 3),
    ] {
        let answer = post(&cluster, "/internal/acks", &json!({"acks": acks})).await;
        assert_eq!((answer.status, answer.body), (204, Value::Null));
        assert_eq!(delivered().await, [0, expected], "alice, bob");
    }
    let taken = cluster.metric(&cluster.api_internal_url(0), "naru_api_acks_total").await;
    assert_eq!(taken, 4.0);
}

#[tokio::test]
async fn a_resume_learns_how_far_each_channel_goes_and_which_are_new() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let known = api.create_group("alice", &["bob"], "known").await;
    let new = api.create_group("alice", &["bob"], "new").await;
    let foreign = api.create_group("alice", &["carol"], "foreign").await;
    for channel in [&known, &known, &foreign] {
        api.send("alice", channel, "ahoy").await;
    }
    let members = format!("/channels/{known}/members");
    api.post(&members, "alice", json!({"userIds": ["dora"]})).await.expect(200);
    let sessions = json!([
        {"userId": "bob", "channels": [known, foreign]},
        {"userId": "nobody", "channels": [known]},
        {"userId": "bob", "channels": []},
        {"userId": "dora", "channels": [known]},
    ]);
    let answer = post(&cluster, "/internal/resume", &json!({"sessions": sessions})).await.expect(200);
    assert_eq!(
        answer["sessions"],
        json!([
            {"channels": {&known: {"lastSeq": 3, "joinedSeq": 0}},
             "newChannels": [{"channelId": new, "lastSeq": 0, "joinedSeq": 0}]},
            {"channels": {}, "newChannels": []},
            // Latest activity first.
            {"channels": {}, "newChannels": [
                {"channelId": known, "lastSeq": 3, "joinedSeq": 0}, {"channelId": new, "lastSeq": 0, "joinedSeq": 0},
            ]},
            {"channels": {&known: {"lastSeq": 3, "joinedSeq": 3}}, "newChannels": []},
        ])
    );
}

#[tokio::test]
async fn a_gateway_reads_a_log_page_by_page_as_clients_get_it() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(api.send("alice", &channel, &format!("{n}")).await);
    }
    let read = async |channel: &str, query: &str| {
        get(&cluster, &format!("/internal/channels/{channel}/entries{query}")).await.expect(200)
    };
    assert_eq!(read(&channel, "").await, json!({"entries": sent, "hasMore": false}));
    assert_eq!(read(&channel, "?afterSeq=1&limit=2").await, json!({"entries": sent[1..3], "hasMore": true}));
    assert_eq!(read(&channel, "?afterSeq=5").await, json!({"entries": [], "hasMore": false}));
    let unknown = Uuid::now_v7().to_string();
    assert_eq!(read(&unknown, "").await, json!({"entries": [], "hasMore": false}));
}

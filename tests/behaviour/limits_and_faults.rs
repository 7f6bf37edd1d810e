//! Headers, rates and faults: who is told what when it is not the body that is wrong.

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use harness::storage::Tables;
use harness::tokens::{service_token, token_for};
use reqwest::header::HeaderValue;
use serde_json::json;

use crate::shared_cluster::{Verb, shared_cluster};

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_any_other_is_replaced() {
    let api = shared_cluster().await.api;
    let ask = async |path: &str, id: HeaderValue| {
        let request = api.request(Verb::GET, path).bearer_auth(token_for("alice")).header("x-request-id", id);
        let answer = Answer::of(request).await;
        answer.header("x-request-id").expect("every response has one").to_owned()
    };
    for path in ["/livez", "/channels", "/nothing"] {
        for sane in [
            "1",
            "trace-0af7651916cd43dd8448eb211c80319c",
            "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~",
            &"x".repeat(128),
        ] {
            assert_eq!(ask(path, sane.parse().unwrap()).await, sane);
        }
        for mad in [b"".as_slice(), b"a b", b"a\tb", "ä".as_bytes(), b"\xff", &[b'x'; 129]] {
            let id = ask(path, HeaderValue::from_bytes(mad).unwrap()).await;
            assert!(id.parse::<uuid::Uuid>().is_ok(), "{mad:?} became {id}");
        }
    }
    let answer = Answer::of(api.request(Verb::GET, "/nothing").header("x-request-id", "mine")).await;
    assert_eq!(answer.expect_problem(404, "not_found")["requestId"], "mine");
    let [one, other] = [api.get("/livez", "alice").await, api.get("/livez", "alice").await];
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}

#[tokio::test]
async fn an_authorization_header_that_is_not_one_bearer_token_is_unauthorized() {
    let api = shared_cluster().await.api;
    let token = token_for("alice");
    let ask = |headers: &[&[u8]]| {
        let mut request = api.request(Verb::GET, "/channels");
        for header in headers {
            request = request.header("authorization", HeaderValue::from_bytes(header).unwrap());
        }
        Answer::of(request)
    };
    let good = format!("Bearer {token}");
    ask(&[good.as_bytes()]).await.expect(200);
    ask(&[format!("bearer  {token} ").as_bytes()]).await.expect(200);
    for wrong in [
        &[][..],
        &[good.as_bytes(), good.as_bytes()],
        &[good.as_bytes(), b"Basic YTpi"],
        &[b"Bearer"],
        &[b"Bearer "],
        &[token.as_bytes()],
        &[format!("Basic {token}").as_bytes()],
        &[format!("Token {token}").as_bytes()],
        &[format!("Bearer {token}, Bearer {token}").as_bytes()],
        &["Bearer schlüssel".as_bytes()],
        &[b"Bearer \xff\xfe"],
        &[format!("Bearer {}", "x".repeat(20_000)).as_bytes()],
    ] {
        let answer = ask(wrong).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        answer.expect_problem(401, "unauthorized");
    }
    let query = api.request(Verb::GET, &format!("/channels?access_token={token}"));
    Answer::of(query).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn who_sends_beyond_the_burst_is_told_when_to_come_again_and_others_are_not_held_up() {
    // One send in 1,000 s: the bucket does not fill up again while the test runs.
    let cluster =
        Cluster::builder().apis(1).gateways(0).api_flag("--send-rate=0.001").api_flag("--send-burst=3");
    let cluster = cluster.start().await;
    let api = cluster.api(0);
    let id = api.create_group("alice", &["bob"], "g").await;
    let wrong = json!({"channelId": id, "content": ""});
    for content in ["1", "2", "3"] {
        api.send("alice", &id, content).await;
        // What is refused before anything else is no send.
        api.post("/send/message", "alice", wrong.clone()).await.expect_problem(422, "invalid_request");
    }
    for _ in 0..2 {
        let refused = api.try_send("alice", &id, "4").await;
        let retry_after: u64 = refused.header("retry-after").expect("429 says when").parse().unwrap();
        assert!((1..=1_000).contains(&retry_after), "{retry_after}");
        refused.expect_problem(429, "rate_limited");
    }
    api.send("bob", &id, "mine").await;
    api.get("/channels", "alice").await.expect(200);
    // The host's back end sends for many; its own rate is its own business.
    for index in 0..5 {
        let body = json!({"channelId": id, "content": index.to_string(), "senderId": "alice"});
        let request = api.request(Verb::POST, "/send/message").bearer_auth(service_token()).json(&body);
        Answer::of(request).await.expect(201);
    }
    let sends = |outcome| format!("naru_api_sends_total{{outcome=\"{outcome}\"}}");
    let internal = cluster.api_internal_url(0);
    for (outcome, count) in [("rate_limited", 2.0), ("stored", 9.0), ("refused", 3.0)] {
        assert_eq!(cluster.metric(&internal, &sends(outcome)).await, count, "{outcome}");
    }
}

/// A 5xx that says nothing of what is inside.
fn assert_reveals_nothing(answer: Answer) {
    assert!(answer.status >= 500, "{answer:#?}");
    let code = if answer.status == 500 { "internal" } else { "overloaded" };
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 503);
    let shown = format!("{:?} {:?}", answer.headers, answer.body).to_lowercase();
    for word in [
        "sql",
        "postgres",
        "relation",
        "column",
        "function",
        "entries",
        "append_messages",
        "panic",
        "/src/",
        "error:",
    ] {
        assert!(!shown.contains(word), "{word:?} is in {shown}");
    }
    let status = answer.status;
    answer.expect_problem(status, code);
}

async fn every_call_to_the_database(api: &Api, id: &str) -> Vec<Answer> {
    let path = format!("/channels/{id}");
    vec![
        api.try_send("alice", id, "x").await,
        api.get("/channels", "alice").await,
        api.get(&path, "alice").await,
        api.post("/channels", "alice", json!({"kind": "direct", "memberIds": ["bob"]})).await,
        api.patch(&path, "alice", json!({"name": "x"})).await,
        api.get(&format!("{path}/members"), "alice").await,
        api.post(&format!("{path}/members"), "alice", json!({"userIds": ["x"]})).await,
        api.delete(&format!("{path}/members/alice"), "alice").await,
        api.get(&format!("{path}/messages"), "alice").await,
        api.put(&format!("{path}/read"), "alice", json!({"seq": 0})).await,
        api.post("/sync", "alice", json!({"channels": {id: 0}})).await,
        api.put("/devices/d", "alice", json!({"platform": "web", "installationId": "x"})).await,
        api.get("/devices", "alice").await,
        api.delete("/devices/d", "alice").await,
    ]
}

#[tokio::test]
async fn a_fault_of_ours_reveals_nothing_of_the_inside() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let id = api.create_group("alice", &["bob"], "g").await;
    let tables = cluster.tables().await;
    if matches!(tables, Tables::Postgres(_)) {
        // Of the two that there are, the one that this version calls.
        let function = "append_messages(uuid[], text[], uuid[], text[], text[], text[], text[], uuid, uuid)";
        tables.change(&format!("ALTER FUNCTION {function} RENAME TO elsewhere")).await;
        assert_reveals_nothing(api.try_send("alice", &id, "x").await);
    }
    for table in ["channels", "participants", "entries", "devices", "push_jobs"] {
        tables.change(&format!("ALTER TABLE {table} RENAME TO {table}_away")).await;
    }
    for answer in every_call_to_the_database(&api, &id).await {
        assert_reveals_nothing(answer);
    }
}

#[tokio::test]
async fn rows_that_this_version_cannot_read_are_an_internal_error_that_says_nothing() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let id = api.create_group("alice", &["bob"], "g").await;
    api.send("alice", &id, "x").await;
    cluster.tables().await.change("UPDATE entries SET sender_id = 'not a user id'").await;
    for path in [format!("/channels/{id}/messages"), format!("/channels/{id}"), "/channels".into()] {
        let answer = api.get(&path, "alice").await;
        assert_eq!(answer.status, 500, "{path}");
        assert_reveals_nothing(answer);
    }
}

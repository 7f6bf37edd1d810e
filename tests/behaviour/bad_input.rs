//! Bad bodies: whatever is wrong with one, its answer is the problem document that says so.

use harness::api_client::{Answer, Api};
use harness::tokens::token_for;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shared_cluster::{Verb, shared_cluster, wrong_field};

/// Every call with a body: one that is right but for its ids, and the names of its required fields.
pub fn calls_with_a_body(alice: &str) -> [(Verb, String, Value, &'static [&'static str]); 8] {
    let id = Uuid::now_v7();
    [
        (
            Verb::POST,
            "/send/message".into(),
            json!({"channelId": id, "content": "x"}),
            &["channelId", "content"],
        ),
        (Verb::POST, "/channels".into(), json!({"kind": "group", "memberIds": []}), &["kind", "memberIds"]),
        (Verb::PATCH, format!("/channels/{id}"), json!({"name": "x"}), &["name"]),
        (Verb::POST, format!("/channels/{id}/members"), json!({"userIds": [alice]}), &["userIds"]),
        (Verb::PATCH, format!("/channels/{id}/members/{alice}"), json!({"role": "member"}), &["role"]),
        (Verb::PUT, format!("/channels/{id}/read"), json!({"seq": 0}), &["seq"]),
        (Verb::POST, "/sync".into(), json!({"channels": {}}), &["channels"]),
        (Verb::PUT, "/devices/d".into(), json!({"platform": "ios", "installationId": alice}), &["platform"]),
    ]
}

/// Every call without one.
pub fn calls_without_a_body() -> [(Verb, String); 8] {
    let id = Uuid::now_v7();
    [
        (Verb::GET, "/channels".into()),
        (Verb::GET, format!("/channels/{id}")),
        (Verb::GET, format!("/channels/{id}/members")),
        (Verb::DELETE, format!("/channels/{id}/members/alice")),
        (Verb::GET, format!("/channels/{id}/messages")),
        (Verb::GET, "/devices".into()),
        (Verb::DELETE, "/devices/d".into()),
        (Verb::POST, "/connect".into()),
    ]
}

pub async fn call(api: &Api, method: &Verb, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = api.request(method.clone(), path).bearer_auth(token_for("alice"));
    Answer::of(request.body(body.into())).await
}

/// The problem document, once it has been checked in all its parts.
pub fn problem(answer: Answer, status: u16, code: &str, context: &str) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{context}: {answer:#?}");
    let request_id = answer.header("x-request-id").unwrap_or_default().to_owned();
    assert!(!request_id.is_empty(), "{context}: {answer:#?}");
    assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{context}: {answer:#?}");
    let body = answer.body;
    assert_eq!(
        (&body["status"], &body["requestId"]),
        (&json!(status), &json!(request_id)),
        "{context}: {body}"
    );
    assert_eq!(body["type"], "about:blank");
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{context}: {body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{context}: {body}");
    assert_eq!(body.get("errors").is_some(), code == "invalid_request", "{context}: {body}");
    body
}

#[tokio::test]
async fn a_body_that_is_no_json_is_malformed_on_every_call() {
    let api = shared_cluster().await.api;
    for (method, path, right, _) in calls_with_a_body("alice") {
        let right = right.to_string();
        let bodies: [Vec<u8>; 11] = [
            "".into(),
            " \n".into(),
            "{".into(),
            "nul".into(),
            "{'single': 1}".into(),
            right[..right.len() - 1].into(),
            format!("{right}x").into(),
            format!("{right}{right}").into(),
            format!("\u{feff}{right}").into(),
            [br#"{"x": ""#.as_slice(), b"\xff\xfe", br#""}"#].concat(),
            format!("{{\"x\": {}", "[".repeat(100_000)).into(),
        ];
        for body in bodies {
            let context =
                format!("{method} {path} {:?}", String::from_utf8_lossy(&body[..body.len().min(80)]));
            let answer = call(&api, &method, &path, body).await;
            problem(answer, 400, "malformed_json", &context);
        }
    }
}

#[tokio::test]
async fn a_body_of_the_wrong_shape_is_invalid_on_every_call_and_the_field_is_named() {
    let api = shared_cluster().await.api;
    for (method, path, right, required) in calls_with_a_body("alice") {
        let invalid = async |body: Value| {
            let context = format!("{method} {path} {body}");
            let answer = call(&api, &method, &path, body.to_string()).await;
            wrong_field(&problem(answer, 422, "invalid_request", &context))
        };
        let values = || right.as_object().unwrap().values().cloned();
        for no_object in [json!(null), json!(true), json!(1), json!("x"), json!([]), values().collect()] {
            assert_eq!(invalid(no_object).await, "body");
        }
        let mut more = right.clone();
        more["colour"] = json!("blue");
        assert_eq!(invalid(more).await, "colour");
        for name in required {
            let mut less = right.clone();
            less.as_object_mut().unwrap().remove(*name);
            assert_eq!(invalid(less).await, *name);
            for wrong in [json!(null), json!(1.5), json!(true), json!([[]]), json!([{}]), json!({"x": {}})] {
                let mut other = right.clone();
                other[*name] = wrong;
                let field = invalid(other).await;
                assert_eq!(field.split(['.', '[']).next(), Some(*name), "{method} {path}: {field}");
            }
        }
        let twice =
            right.to_string().replacen('{', &format!("{{\"{}\": {}, ", required[0], right[required[0]]), 1);
        let answer = call(&api, &method, &path, twice.clone()).await;
        assert_eq!(wrong_field(&problem(answer, 422, "invalid_request", &twice)), required[0]);
    }
}

#[tokio::test]
async fn each_wrong_value_is_named() {
    let api = shared_cluster().await.api;
    let id = Uuid::now_v7();
    let message = |field: &str, value: Value| {
        let mut body = json!({"channelId": id, "content": "x"});
        body[field] = value;
        body
    };
    for (method, path, body, field) in [
        (Verb::POST, "/send/message", message("channelId", json!("0199")), "channelId"),
        (Verb::POST, "/send/message", message("clientMessageId", json!("")), "clientMessageId"),
        (Verb::POST, "/send/message", message("clientMessageId", json!("x".repeat(65))), "clientMessageId"),
        (Verb::POST, "/send/message", message("clientMessageId", json!("a\u{0}")), "clientMessageId"),
        (Verb::POST, "/send/message", message("kind", json!("")), "kind"),
        (Verb::POST, "/send/message", message("kind", json!("x".repeat(33))), "kind"),
        (Verb::POST, "/send/message", message("kind", json!("a b")), "kind"),
        (Verb::POST, "/send/message", message("senderId", json!("a b")), "senderId"),
        (Verb::POST, "/channels", json!({"kind": "room", "memberIds": []}), "kind"),
        (Verb::POST, "/channels", json!({"kind": "group", "memberIds": ["a b"]}), "memberIds[0]"),
        (Verb::POST, "/channels", json!({"kind": "group", "memberIds": ["a", 1]}), "memberIds[1]"),
        (Verb::POST, "/channels", json!({"kind": "group", "memberIds": [], "name": 1}), "name"),
        (Verb::POST, "/sync", json!({"channels": {"not-an-id": 0}}), "channels.not-an-id"),
        (Verb::POST, "/sync", json!({"channels": {id.to_string(): "0"}}), &format!("channels.{id}")),
        (Verb::POST, "/sync", json!({"channels": {}, "limit": "1"}), "limit"),
    ] {
        let context = format!("{method} {path} {body}");
        let answer = call(&api, &method, path, body.to_string()).await;
        assert_eq!(wrong_field(&problem(answer, 422, "invalid_request", &context)), field, "{context}");
    }
    // All of a message's mistakes at once.
    let body = json!({"channelId": id, "content": "", "kind": "", "metadata": []});
    let answer = call(&api, &Verb::POST, "/send/message", body.to_string()).await;
    let errors = problem(answer, 422, "invalid_request", "several")["errors"].clone();
    let fields: Vec<_> = errors.as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["content", "kind", "metadata"]);
}

#[tokio::test]
async fn a_body_over_256_kib_is_too_large_on_every_call() {
    let api = shared_cluster().await.api;
    for (method, path, right, _) in calls_with_a_body("alice") {
        let right = right.to_string();
        for over in [1, 4 * 1024 * 1024] {
            let body = format!("{right}{}", " ".repeat(256 * 1024 - right.len() + over));
            problem(call(&api, &method, &path, body).await, 413, "payload_too_large", &path);
        }
        let body = format!("{right}{}", " ".repeat(256 * 1024 - right.len()));
        let status = call(&api, &method, &path, body).await.status;
        assert!(status < 300 || status == 404, "{method} {path}: {status}");
    }
}

//! Bad paths, queries and methods, and calls without a token: each is answered by its problem document.

use harness::api_client::Answer;
use uuid::Uuid;

use crate::bad_input::{call, calls_with_a_body, calls_without_a_body, problem};
use crate::shared_cluster::{Verb, shared_cluster, user, wrong_field};

#[tokio::test]
async fn a_wrong_id_in_the_path_is_named() {
    let api = shared_cluster().await.api;
    let wrong =
        ["1", "0199aaaa-0000-7000-8000-00000000000", "%00", "%FF%FE", "..%2f", "%F0%9F%98%80", "a%20b"];
    let all = calls_with_a_body("alice").map(|(method, path, body, _)| (method, path, body.to_string()));
    let all =
        all.into_iter().chain(calls_without_a_body().map(|(method, path)| (method, path, String::new())));
    for (method, path, body) in all {
        let parts: Vec<&str> = path.split('/').collect();
        let wrong = wrong.map(str::to_owned).into_iter().chain(["x".repeat(2_000)]);
        for wrong in wrong {
            let mut wrong_path = parts.clone();
            let is_no_name = wrong.contains('%') || wrong.len() > 128;
            let field = match parts[..] {
                ["", "channels", _, "members", _] if is_no_name => {
                    wrong_path[4] = &wrong;
                    "userId"
                }
                ["", "channels", _, ..] => {
                    wrong_path[2] = &wrong;
                    "channelId"
                }
                ["", "devices", _] if is_no_name => {
                    wrong_path[2] = &wrong;
                    "deviceId"
                }
                _ => continue,
            };
            let context = format!("{method} {}", wrong_path.join("/"));
            let answer = call(&api, &method, &wrong_path.join("/"), body.clone()).await;
            assert_eq!(wrong_field(&problem(answer, 422, "invalid_request", &context)), field, "{context}");
        }
    }
}

#[tokio::test]
async fn a_wrong_or_unknown_query_parameter_is_named() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let id = api.create_group(&alice, &[], "g").await;
    let cursor = |text: &str| {
        use base64::Engine;
        format!("cursor={}", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text))
    };
    let all = calls_with_a_body("alice").map(|(method, path, body, _)| (method, path, body.to_string()));
    let all =
        all.into_iter().chain(calls_without_a_body().map(|(method, path)| (method, path, String::new())));
    for (method, path, body) in all {
        let answer = call(&api, &method, &format!("{path}?colour=blue"), body).await;
        assert_eq!(wrong_field(&problem(answer, 422, "invalid_request", &path)), "colour", "{method} {path}");
    }
    let (min, max) = (cursor(&format!("{}/{id}", i64::MIN)), cursor(&format!("{}/{id}", i64::MAX)));
    let (far, negative) =
        (cursor(&format!("8000000000000000000/{id}")), cursor(&format!("-7000000000000000000/{id}")));
    let limits = [
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=1e2",
        "limit=1.0",
        "limit=1&limit=2",
    ];
    let cursors = ["cursor=", "cursor=%00", "cursor=!", "cursor=%FF", "cursor=a%20b"];
    let of_channels = [&min, &max, &far, &negative, &cursor("1/x"), "limit=201", "cursor=x"];
    for (path, more) in [("/channels".to_owned(), &of_channels[..]), (format!("/channels/{id}/members"), &[])]
    {
        for query in cursors.iter().chain(&limits).chain(more) {
            let answer = api.get(&format!("{path}?{query}"), &alice).await;
            let field = wrong_field(&problem(answer, 422, "invalid_request", query));
            assert_eq!(Some(field.as_str()), query.split('=').next(), "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn another_method_is_refused_on_every_path_and_an_unknown_path_is_not_found() {
    let api = shared_cluster().await.api;
    let id = Uuid::now_v7();
    let with_body = calls_with_a_body("alice").map(|(_, path, ..)| path);
    let without = calls_without_a_body().map(|(_, path)| path);
    let operations = ["/livez", "/readyz", "/openapi.json", "/docs", "/docs/index.html"].map(str::to_owned);
    for path in with_body.into_iter().chain(without).chain(operations) {
        for method in ["TRACE", "PROPFIND", "X-INVENTED"] {
            let method = Verb::from_bytes(method.as_bytes()).unwrap();
            problem(
                call(&api, &method, &path, "").await,
                405,
                "method_not_allowed",
                &format!("{method} {path}"),
            );
        }
    }
    for (method, path) in [(Verb::GET, "/send/message"), (Verb::PUT, "/channels"), (Verb::DELETE, "/sync")] {
        problem(call(&api, &method, path, "").await, 405, "method_not_allowed", path);
    }
    for path in [
        "/",
        "/x",
        "/channels/",
        "//channels",
        "/CHANNELS",
        "/docs/nothing",
        &format!("/channels/{id}/x"),
        "/ws",
    ] {
        for method in [Verb::GET, Verb::POST, Verb::DELETE] {
            let is_docs = path.starts_with("/docs") && method != Verb::GET;
            let (status, code) = if is_docs { (405, "method_not_allowed") } else { (404, "not_found") };
            problem(call(&api, &method, path, "{}").await, status, code, &format!("{method} {path}"));
        }
    }
}

#[tokio::test]
async fn every_call_needs_a_token_and_says_so_first() {
    let api = shared_cluster().await.api;
    let all = calls_with_a_body("alice").map(|(method, path, ..)| (method, path));
    for (method, path) in all.into_iter().chain(calls_without_a_body()) {
        let answer = Answer::of(api.request(method.clone(), &path).body("{")).await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        problem(answer, 401, "unauthorized", &format!("{method} {path}"));
    }
}

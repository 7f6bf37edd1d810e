//! Operations: probes, metrics, request ids, and which browsers' pages may call.

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use reqwest::header::HeaderMap;
use serde_json::json;

use crate::shared_cluster::{Verb, client, shared_cluster};

#[tokio::test]
async fn probes_answer_on_both_listeners_and_metrics_on_the_internal_one_only() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let ask = async |base: &str, path: &str| Answer::of(cluster.client().get(format!("{base}{path}"))).await;
    let api = (cluster.api(0).base_url().to_owned(), cluster.api_internal_url(0));
    let gateway_url = cluster.gateway_url(0).replace("ws://", "http://").replace("/ws", "");
    for (public, internal) in [api, (gateway_url, cluster.gateway_internal_url(0))] {
        for base in [&public, &internal] {
            assert_eq!(ask(base, "/livez").await.expect(200)["status"], "alive");
            let ready = ask(base, "/readyz").await.expect(200);
            assert_eq!(ready["status"], "ready");
            assert_eq!(ready["dependencies"]["registry"], "up");
        }
        ask(&public, "/metrics").await.expect_problem(404, "not_found");
        let metrics = ask(&internal, "/metrics").await.expect(200);
        assert!(metrics.as_str().is_some_and(|text| text.contains("# TYPE naru_")), "{metrics}");
        for public_call in ["/channels", "/ws", "/docs", "/openapi.json"] {
            ask(&internal, public_call).await.expect_problem(404, "not_found");
        }
        ask(&public, "/drain").await.expect_problem(404, "not_found");
    }
    assert_eq!(cluster.api(0).get("/readyz", "alice").await.expect(200)["dependencies"]["database"], "up");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_never_by_what_the_caller_made_up() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let (api, internal) = (cluster.api(0), cluster.api_internal_url(0));
    let id = api.create_group("alice", &[], "g").await;
    for _ in 0..3 {
        api.get(&format!("/channels/{id}"), "alice").await.expect(200);
        api.get(&format!("/made-up/{id}"), "alice").await.expect_problem(404, "not_found");
        let invented = api.request(Verb::from_bytes(b"INVENTED").unwrap(), "/channels");
        Answer::of(invented).await.expect_problem(405, "method_not_allowed");
    }
    let sample = |method, route, status| {
        format!("naru_api_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}")
    };
    for sample in [
        sample("GET", "/channels/{channelId}", 200),
        sample("GET", "unknown", 404),
        sample("other", "/channels", 405),
    ] {
        assert_eq!(cluster.metric(&internal, &sample).await, 3.0, "{sample}");
    }
    let text = Answer::of(cluster.client().get(format!("{internal}/metrics"))).await.body;
    for secret in [id.as_str(), "alice", "made-up", "INVENTED"] {
        assert!(!text.as_str().unwrap().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    let api = shared_cluster().await.api;
    for (method, path) in [
        (Verb::GET, "/livez"),
        (Verb::GET, "/readyz"),
        (Verb::GET, "/openapi.json"),
        (Verb::GET, "/docs"),
        (Verb::GET, "/docs/"),
        (Verb::GET, "/docs/nothing"),
        (Verb::GET, "/nothing"),
        (Verb::POST, "/livez"),
        (Verb::HEAD, "/livez"),
        (Verb::OPTIONS, "/channels"),
        (Verb::GET, "/channels?colour=blue"),
        (Verb::POST, "/sync"),
        (Verb::GET, "/channels"),
    ] {
        let request = api.request(method.clone(), path).header("x-request-id", "mine");
        assert_eq!(Answer::of(request).await.header("x-request-id"), Some("mine"), "{method} {path}");
    }
}

/// A preflight for this method, from this origin.
async fn preflight(api: &Api, origin: &str, path: &str, method: &str) -> Answer {
    let request = api.request(Verb::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", method);
    Answer::of(request.header("access-control-request-headers", "authorization,content-type,x-request-id"))
        .await
}

fn allowed_origin(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap())
}

#[tokio::test]
async fn by_default_no_page_of_a_browser_may_call() {
    let api = shared_cluster().await.api;
    let request = api.request(Verb::GET, "/livez").header("origin", "https://chat.example.com");
    let answer = Answer::of(request).await;
    assert_eq!((answer.status, allowed_origin(&answer.headers)), (200, None));
    let answer = preflight(&api, "https://chat.example.com", "/channels", "POST").await;
    assert_eq!(allowed_origin(&answer.headers), None);
    assert!((400..500).contains(&answer.status), "{answer:#?}");
    assert!(answer.header("x-request-id").is_some());
    answer.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn an_allowed_origin_is_named_to_its_browser_and_another_is_not() {
    let flag = "--allowed-origins=https://chat.example.com, http://localhost:3000/,capacitor://localhost";
    let cluster = Cluster::builder().apis(1).gateways(0).api_flag(flag).start().await;
    let api = cluster.api(0);
    for origin in ["https://chat.example.com", "http://localhost:3000", "capacitor://localhost"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = preflight(&api, origin, "/send/message", method).await;
            assert_eq!((answer.status, allowed_origin(&answer.headers)), (200, Some(origin)), "{answer:#?}");
            assert!(answer.header("access-control-allow-methods").unwrap().contains(method));
            let headers = answer.header("access-control-allow-headers").unwrap().to_lowercase();
            assert!(
                ["authorization", "content-type", "x-request-id"].iter().all(|name| headers.contains(name))
            );
            assert!(answer.header("access-control-allow-credentials").is_none());
        }
        // Errors, too: a page must be able to read why it was refused, and when to come again.
        let answer = Answer::of(api.request(Verb::GET, "/channels").header("origin", origin)).await;
        assert_eq!(allowed_origin(&answer.headers), Some(origin));
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{exposed}");
        assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
        answer.expect_problem(401, "unauthorized");
    }
    for foreign in [
        "https://evil.example",
        "https://chat.example.com.evil.example",
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "http://localhost",
        "null",
    ] {
        let answer = preflight(&api, foreign, "/send/message", "POST").await;
        assert_eq!(allowed_origin(&answer.headers), None, "{foreign}");
        answer.expect_problem(403, "forbidden");
        let answer = Answer::of(api.request(Verb::GET, "/livez").header("origin", foreign)).await;
        assert_eq!(allowed_origin(&answer.headers), None, "{foreign}");
    }
    // Without an origin there is no browser, and nothing is said of origins.
    let answer = Answer::of(client().get(format!("{}/livez", api.base_url()))).await;
    assert_eq!((answer.status, allowed_origin(&answer.headers)), (200, None));
}

#[tokio::test]
async fn any_origin_may_be_allowed() {
    let cluster = Cluster::builder().apis(1).gateways(0).api_flag("--allowed-origins=*").start().await;
    let api = cluster.api(0);
    let answer = preflight(&api, "https://anywhere.example", "/channels", "GET").await;
    let allowed = allowed_origin(&answer.headers).map(str::to_owned);
    assert!(matches!(allowed.as_deref(), Some("*" | "https://anywhere.example")), "{answer:#?}");
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_server_without_its_redis_lives_and_is_not_ready_and_says_what_is_down() {
    let builder = Cluster::builder().apis(1).gateways(0).redis_url("redis://127.0.0.1:1").without_waiting();
    let cluster = builder.start().await;
    let api = cluster.api(0);
    api.get("/livez", "alice").await.expect(200);
    let answer = api.get("/readyz", "alice").await.expect(503);
    assert_eq!(answer, json!({"status": "notReady", "dependencies": {"database": "up", "registry": "down"}}));
}

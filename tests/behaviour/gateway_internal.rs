//! The gateway's internal listener, its place in the registry, and its going away.

use std::time::Duration;

use harness::raw_socket::RawSocket;
use harness::redis::Redis;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET, Token, token_for};
use harness::wait::{eventually, eventually_some, eventually_within};
use harness::websocket::{Dial, WebSocketClient};
use serde_json::{Value, json};
use shared_types::ChannelId;
use tokio_tungstenite::tungstenite::Message;

use crate::fake_api::entry_of;
use crate::one_gateway::{OneGateway, RegistryCorner, entry};

async fn problem_of(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(response.headers().contains_key("x-request-id"));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn internal_calls_need_the_internal_secret() {
    let gateway = OneGateway::start(&[]).await;
    let client = reqwest::Client::new();
    let near_miss = format!("{}x", &INTERNAL_SECRET[..INTERNAL_SECRET.len() - 1]);
    for path in ["/ws/send/message", "/drain"] {
        let request = || client.post(gateway.internal(path)).body("{\"deliveries\":[]}");
        for request in [
            request(),
            request().bearer_auth("wrong"),
            request().bearer_auth(&near_miss),
            request().bearer_auth(format!("{INTERNAL_SECRET}x")),
            request().bearer_auth(JWT_SECRET),
            request().bearer_auth(token_for("alice")),
            request().header("authorization", INTERNAL_SECRET),
            request().basic_auth("x", Some(INTERNAL_SECRET)),
            request().bearer_auth(INTERNAL_SECRET).bearer_auth("second"),
        ] {
            let answer = problem_of(request.send().await.unwrap()).await;
            assert_eq!(answer, (401, "unauthorized".to_owned()), "{path}");
        }
    }
    assert_eq!(gateway.status(&gateway.internal("/readyz")).await, 200, "and nothing is drained");
    assert!(gateway.deliver(&json!([])).await.is_empty());
}

#[tokio::test]
async fn internal_calls_are_not_served_to_clients_nor_clients_calls_inside() {
    let gateway = OneGateway::start(&[]).await;
    let client = reqwest::Client::new();
    for path in ["/ws/send/message", "/drain"] {
        let request = client.post(gateway.public(path)).bearer_auth(INTERNAL_SECRET);
        assert_eq!(problem_of(request.send().await.unwrap()).await, (404, "not_found".to_owned()));
    }
    assert_eq!(gateway.status(&gateway.public("/metrics")).await, 404);
    assert_eq!(gateway.status(&gateway.internal("/ws")).await, 404);
    let wrong_method = client.post(gateway.public("/ws")).send().await.unwrap();
    assert_eq!(problem_of(wrong_method).await, (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn a_malformed_delivery_answers_its_problem() {
    let gateway = OneGateway::start(&[]).await;
    for (body, status, code) in [
        ("", 400, "malformed_json"),
        ("{\"deliveries\":[", 400, "malformed_json"),
        ("[]", 422, "invalid_request"),
        ("{}", 422, "invalid_request"),
        ("{\"deliveries\":[{\"recipients\":[\"a\"]}]}", 422, "invalid_request"),
        ("{\"deliveries\":[{\"recipients\":[\"no user\"],\"entry\":{}}]}", 422, "invalid_request"),
        ("{\"deliveries\":[{\"recipients\":[\"a\"],\"entry\":7}]}", 422, "invalid_request"),
        ("{\"deliveries\":[{\"recipients\":[\"a\"],\"entry\":{\"seq\":7}}]}", 422, "invalid_request"),
        ("{\"deliveries\":[],\"more\":1}", 422, "invalid_request"),
    ] {
        let answer = problem_of(gateway.try_deliver(INTERNAL_SECRET, body).await).await;
        assert_eq!(answer, (status, code.to_owned()), "{body}");
    }
    let huge = format!("{{\"deliveries\":[]}}{}", " ".repeat(16 * 1024 * 1024));
    let answer = gateway.try_deliver(INTERNAL_SECRET, &huge).await;
    assert_eq!(problem_of(answer).await, (413, "payload_too_large".to_owned()));
}

#[tokio::test]
async fn one_request_delivers_to_many_in_order_and_names_the_absent_of_each_delivery() {
    let gateway = OneGateway::start(&["--mailbox-frames=4096"]).await;
    let (mut alice, mut bob) = (gateway.session("alice").await, gateway.session("bob").await);
    let channels = [ChannelId::generate(), ChannelId::generate()];
    let nth = |n: i64| entry_of(channels[(n % 2) as usize], 1 + n / 2);
    let deliveries: Vec<Value> = (0..1_000)
        .map(|n| {
            let recipients = if n % 2 == 0 { json!(["alice", "bob"]) } else { json!(["alice", "carol"]) };
            json!({"recipients": recipients, "entry": nth(n)})
        })
        .collect();
    let absent = gateway.deliver(&json!(deliveries)).await;
    assert_eq!(absent.len(), 500);
    assert!(absent.iter().all(|(delivery, users)| delivery % 2 == 1 && users == &["carol"]));
    for n in 0..1_000 {
        assert_eq!(alice.next_json().await, nth(n));
    }
    for n in (0..1_000).step_by(2) {
        assert_eq!(bob.next_json().await, nth(n));
    }
}

#[tokio::test]
async fn an_entry_is_passed_on_byte_for_byte() {
    let gateway = OneGateway::start(&[]).await;
    let mut client = gateway.session("alice").await;
    let odd = "{ \"type\":\"message\",  \"n\":1.0e2,\"u\":\"\\u00e4\",\"metadata\":{\"b\":1,\"a\":2} }";
    let body = format!("{{\"deliveries\":[{{\"recipients\":[\"alice\"],\"entry\":{odd}}}]}}");
    assert_eq!(gateway.try_deliver(INTERNAL_SECRET, &body).await.status(), 200);
    assert_eq!(client.next_message().await, Message::text(odd));
}

#[tokio::test]
async fn the_lease_says_where_the_gateway_is_and_how_much_it_holds() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    let url = format!("http://127.0.0.1:{}", gateway.internal_port);
    let expected =
        |sessions| json!({"url": url, "publicUrl": gateway.ws(), "sessions": sessions, "isDraining": false});
    assert_eq!(corner.lease_of(&gateway.id).await, Some(expected(0)));
    let _sessions = (gateway.session("alice").await, gateway.session("bob").await);
    eventually("the lease counts the sessions", async || {
        corner.lease_of(&gateway.id).await == Some(expected(2))
    })
    .await;
}

#[tokio::test]
async fn in_redis_a_lease_ends_by_itself_and_its_gateway_is_listed_until_it_stops() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    let (redis, keys, id) = (Redis::shared().await, corner.keys(), gateway.id.clone());
    let ttl: i64 = redis.ask("PTTL", &[&keys.lease(&id)]).await;
    assert!((1..=10_000).contains(&ttl), "{ttl}");
    let listed = async || redis.ask::<Vec<String>>("SMEMBERS", &[&keys.gateways()]).await;
    assert_eq!(listed().await, [id.as_str()]);
    gateway.stopped().await;
    assert_eq!(listed().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_users_entry_ends_with_the_last_session_and_not_before() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    let (first, second) = (gateway.session("alice").await, gateway.session("alice").await);
    first.close().await;
    gateway.until_sessions(1).await;
    // Whatever the first one's end has set going is done when a later claim is.
    gateway.session("bob").await;
    assert_eq!(corner.gateways_of("alice").await, std::slice::from_ref(&gateway.id));
    second.close().await;
    eventually("alice is released", async || corner.gateways_of("alice").await.is_empty()).await;
}

#[tokio::test]
async fn who_is_lost_is_expected_back_and_who_closes_is_not() {
    let corner = RegistryCorner::fresh().await;
    let options = ["--ping-interval=200ms", "--silence-limit=3s"];
    let gateway = OneGateway::start_in(&corner, &options).await;
    let (lost, closing) = (gateway.session("lost").await, gateway.session("closing").await);
    let (mut expiring, _silent) = (
        Dial::to(&gateway.ws()).bearer(&Token::of("expiring").expires_in(2).sign()).connect().await,
        RawSocket::connect(&gateway.ws(), &token_for("silent")).await,
    );
    drop(lost);
    closing.close().await;
    eventually("who was lost is expected", async || corner.is_expected_back("lost").await).await;
    let is_released = async |user: &str| corner.gateways_of(user).await.is_empty();
    eventually("who closed is released", async || is_released("closing").await).await;
    assert!(!corner.is_expected_back("closing").await);
    assert_eq!(expiring.expect_close().await, 4001);
    eventually("a new token will be had", async || corner.is_expected_back("expiring").await).await;
    eventually("a dead connection is released", async || is_released("silent").await).await;
    assert!(!corner.is_expected_back("silent").await);
    eventually("nobody is waited for for ever", async || !corner.is_expected_back("lost").await).await;
}

#[tokio::test]
async fn who_leaves_a_draining_gateway_is_expected_back() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &["--drain-window=100s", "--shutdown-grace=200s"]).await;
    let (mut obedient, _stubborn) = (gateway.session("obedient").await, gateway.session("stubborn").await);
    gateway.begin_shutdown();
    assert_eq!(obedient.next_json().await["type"], "draining");
    obedient.close().await;
    eventually("who obeys is expected", async || corner.is_expected_back("obedient").await).await;
}

#[tokio::test]
async fn a_reconnect_to_another_gateway_keeps_its_claim_when_the_old_session_ends() {
    let corner = RegistryCorner::fresh().await;
    let (old, new) = tokio::join!(OneGateway::start_in(&corner, &[]), OneGateway::start_in(&corner, &[]));
    let on_old = old.session("alice").await;
    let _on_new = new.session("alice").await;
    assert_eq!(corner.gateways_of("alice").await, [old.id.clone(), new.id.clone()]);
    drop(on_old);
    eventually("the old claim is gone", async || corner.gateways_of("alice").await == [new.id.clone()]).await;
    assert!(new.reaches("alice", 1).await);
}

#[tokio::test]
async fn however_connects_and_disconnects_race_whoever_is_connected_is_claimed_and_nobody_else() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &["--max-sessions-per-user=100"]).await;
    let users = ["a", "b", "c", "d"];
    let hammering = (0..16).map(|hand| {
        let gateway = &gateway;
        let corner = &corner;
        async move {
            let user = users[hand % users.len()];
            for round in 0..40 {
                let session = gateway.session(user).await;
                // `ready` has been read: at this moment the claim must stand, whoever else is leaving.
                assert_eq!(
                    corner.gateways_of(user).await,
                    std::slice::from_ref(&gateway.id),
                    "{user}, round {round}"
                );
                if (round + hand) % 3 == 0 { session.close().await } else { drop(session) }
            }
        }
    });
    futures_util::future::join_all(hammering).await;
    gateway.until_sessions(0).await;
    for user in users {
        let what = format!("{user} is released");
        eventually(&what, async || corner.gateways_of(user).await.is_empty()).await;
    }
}

#[tokio::test]
async fn a_redis_that_was_emptied_knows_every_session_again_without_a_reconnect() {
    let redis = Redis::start_private().await;
    let corner = RegistryCorner::of(&redis);
    let gateway = OneGateway::start_in(&corner, &[]).await;
    let mut sessions: Vec<WebSocketClient> = Vec::new();
    for number in 0..30 {
        sessions.push(gateway.session(&format!("user-{number}")).await);
    }
    let are_all_known = async || {
        for number in 0..30 {
            if corner.gateways_of(&format!("user-{number}")).await != std::slice::from_ref(&gateway.id) {
                return false;
            }
        }
        corner.lease_of(&gateway.id).await.is_some()
    };
    redis.flush().await;
    assert!(!are_all_known().await);
    let promised = Duration::from_secs(5);
    eventually_within(promised, "everyone is claimed after FLUSHALL", are_all_known).await;

    redis.stop();
    eventually("the gateway is not ready", async || {
        gateway.status(&gateway.internal("/readyz")).await == 503
    })
    .await;
    assert_eq!(gateway.status(&gateway.internal("/livez")).await, 200);
    // Entries that api-servers bring are delivered all the same.
    assert!(gateway.reaches("user-7", 1).await);
    assert_eq!(sessions[7].next_json().await, entry(1));
    // Whoever leaves meanwhile is not claimed when Redis is back.
    sessions.pop().unwrap().close().await;
    gateway.until_sessions(29).await;
    redis.start_empty().await;
    eventually_within(promised, "everyone who stayed is claimed after a restart", async || {
        for number in 0..29 {
            if corner.gateways_of(&format!("user-{number}")).await != std::slice::from_ref(&gateway.id) {
                return false;
            }
        }
        corner.gateways_of("user-29").await.is_empty()
            && gateway.status(&gateway.internal("/readyz")).await == 200
    })
    .await;
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_is_ready_when_it_comes() {
    let redis = Redis::start_private().await;
    let corner = RegistryCorner::of(&redis);
    redis.stop();
    let gateway = OneGateway::start_in(&corner, &[]).await;
    assert_eq!(gateway.status(&gateway.public("/readyz")).await, 503);
    redis.start_empty().await;
    eventually("the gateway is ready", async || gateway.status(&gateway.public("/readyz")).await == 200)
        .await;
    let _session = gateway.session("alice").await;
    assert_eq!(corner.gateways_of("alice").await, std::slice::from_ref(&gateway.id));
}

#[tokio::test]
async fn a_stopping_gateway_tells_its_sessions_and_serves_them_until_they_have_gone_elsewhere() {
    let corner = RegistryCorner::fresh().await;
    // A window that no test waits for: whoever has left does not have to be waited for.
    let gateway = OneGateway::start_in(&corner, &["--drain-window=100s", "--shutdown-grace=200s"]).await;
    let (mut alice, bob) = (gateway.session("alice").await, gateway.session("bob").await);
    gateway.begin_shutdown();
    let frame = alice.next_json().await;
    assert_eq!(frame["type"], "draining");
    assert!(frame["reconnectInMs"].as_u64().unwrap() <= 100_000, "{frame}");
    assert!(gateway.reaches("alice", 1).await);
    assert_eq!(alice.next_json().await, entry(1));

    assert_eq!(gateway.status(&gateway.internal("/readyz")).await, 503);
    eventually("no client is sent here", async || {
        corner.lease_of(&gateway.id).await.unwrap()["isDraining"] == true
    })
    .await;
    let late = Dial::to(&gateway.ws()).bearer(&token_for("late")).refused().await;
    assert_eq!(late.status, 503);

    alice.close().await;
    bob.close().await;
    gateway.stopped().await;
}

#[tokio::test]
async fn a_stopping_gateway_closes_who_stayed_and_leaves_the_registry() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &["--drain-window=10ms"]).await;
    let mut sessions = Vec::new();
    for number in 0..200 {
        sessions.push(gateway.session(&format!("user-{number}")).await);
    }
    assert!(gateway.reaches("user-3", 1).await);
    gateway.begin_shutdown();
    for (number, client) in sessions.iter_mut().enumerate() {
        let mut frames = vec![client.next_json().await];
        if number == 3 {
            frames.push(client.next_json().await);
            assert!(frames.contains(&entry(1)), "what waited is written before the close");
        }
        assert!(frames.iter().any(|frame| frame["type"] == "draining"), "{frames:?}");
        assert_eq!(client.expect_close().await, 1012);
    }
    let id = gateway.id.clone();
    gateway.stopped().await;
    assert_eq!(corner.lease_of(&id).await, None);
    for number in 0..200 {
        assert_eq!(corner.gateways_of(&format!("user-{number}")).await, []);
    }
}

#[tokio::test]
async fn a_redis_that_froze_knows_who_is_here_when_it_goes_on() {
    let redis = Redis::start_private().await;
    let corner = RegistryCorner::of(&redis);
    let gateway = OneGateway::start_in(&corner, &[]).await;
    let (alice, _bob, carol) =
        (gateway.session("alice").await, gateway.session("bob").await, gateway.session("carol").await);
    redis.pause();
    // Both releases are on their way when nobody answers any more; alice is back before they are carried out.
    drop((alice, carol));
    eventually("Redis is missed", async || {
        gateway.metric("naru_gateway_registry_failures_total").await >= 1.0
    })
    .await;
    redis.resume();
    let dial = Dial::to(&gateway.ws()).bearer(&token_for("alice"));
    let _alice =
        eventually_some("alice is let in again", async || dial.clone().try_connect().await.ok()).await;
    eventually("those who are here are claimed, and only those", async || {
        let claims = [corner.gateways_of("alice").await, corner.gateways_of("bob").await];
        claims.iter().all(|claim| *claim == std::slice::from_ref(&gateway.id))
            && corner.gateways_of("carol").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_drain_by_request_empties_the_gateway_and_leaves_it_running() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    let mut client = gateway.session("alice").await;
    let request = reqwest::Client::new().post(gateway.internal("/drain")).bearer_auth(INTERNAL_SECRET);
    assert_eq!(request.send().await.unwrap().status(), 202);
    assert_eq!(client.next_json().await["type"], "draining");
    assert_eq!(client.expect_close().await, 1012);
    eventually("the lease says so", async || {
        corner.lease_of(&gateway.id).await.is_some_and(|lease| lease["isDraining"] == true)
    })
    .await;
    eventually("alice is released", async || corner.gateways_of("alice").await.is_empty()).await;
    assert_eq!(gateway.status(&gateway.internal("/livez")).await, 200);
    assert_eq!(gateway.status(&gateway.public("/readyz")).await, 503);
    gateway.stopped().await;
}

#[tokio::test]
async fn a_stuck_reader_does_not_keep_a_stopping_gateway() {
    let gateway = OneGateway::start(&["--shutdown-grace=6s", "--mailbox-frames=1000"]).await;
    let mut stuck = Dial::to(&gateway.ws()).bearer(&token_for("stuck")).slow_reader().connect().await;
    assert_eq!(stuck.next_json().await["type"], "ready");
    let mut big = entry(0);
    big["content"] = json!("x".repeat(20_000));
    let numbered = |seq: i64| {
        big["seq"] = json!(seq);
        json!({"recipients": ["stuck"], "entry": big})
    };
    let many: Vec<Value> = (1..=500).map(numbered).collect();
    assert!(gateway.deliver(&json!(many)).await.is_empty());
    gateway.stopped().await;
}

#[tokio::test]
async fn metrics_tell_of_sessions_connects_closes_and_deliveries() {
    let gateway = OneGateway::start(&[]).await;
    let client = gateway.session("alice").await;
    Dial::to(&gateway.ws()).refused().await;
    gateway.deliver(&json!([{"recipients": ["alice", "bob"], "entry": entry(1)}])).await;
    for (name, value) in [
        ("naru_gateway_sessions", 1.0),
        ("naru_gateway_users", 1.0),
        ("naru_gateway_connects_total{outcome=\"ready\"}", 1.0),
        ("naru_gateway_connects_total{outcome=\"unauthorized\"}", 1.0),
        ("naru_gateway_frames_delivered_total", 1.0),
        ("naru_gateway_deliveries_absent_total", 1.0),
        ("naru_gateway_deliver_request_recipients_sum", 2.0),
        ("naru_gateway_deliver_request_duration_seconds_count", 1.0),
        ("naru_gateway_registry_failures_total", 0.0),
    ] {
        assert_eq!(gateway.metric(name).await, value, "{name}");
    }
    client.close().await;
    eventually("the close is counted", async || {
        gateway.metric("naru_gateway_closes_total{code=\"1005\",by=\"client\"}").await == 1.0
    })
    .await;
}

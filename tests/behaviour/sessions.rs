//! Sessions: who gets in, what they are told, and how they end.

use std::time::Duration;

use harness::jwks::JwksServer;
use harness::raw_socket::{RawFrame, RawSocket};
use harness::redis::Redis;
use harness::tokens::{PREVIOUS_JWT_SECRET, Token, token_for};
use harness::wait::eventually;
use harness::websocket::{Dial, Refusal, WebSocketClient};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::one_gateway::{OneGateway, RegistryCorner, entry};

fn code_of(refusal: &Refusal) -> (u16, String) {
    let problem: Value = serde_json::from_str(&refusal.body).unwrap_or_else(|_| panic!("{refusal:?}"));
    assert_eq!(problem["status"], refusal.status, "{refusal:?}");
    assert_ne!(problem["requestId"], "", "{refusal:?}");
    (refusal.status, problem["code"].as_str().unwrap().to_owned())
}

async fn refused(dial: Dial) -> (u16, String) {
    code_of(&dial.refused().await)
}

async fn pong(client: &mut WebSocketClient) {
    client.send_json(&json!({"type": "ping"})).await;
    assert_eq!(client.next_json().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn the_first_frame_is_ready_and_the_user_is_claimed_by_then() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &["--ping-interval=7s"]).await;
    let mut client = Dial::to(&gateway.ws()).bearer(&token_for("alice")).connect().await;
    let ready = client.next_json().await;
    assert_eq!(corner.gateways_of("alice").await, std::slice::from_ref(&gateway.id));
    assert_eq!(ready["type"], "ready");
    assert_eq!(ready["userId"], "alice");
    assert_eq!(ready["gatewayId"], gateway.id.as_str());
    assert_eq!(ready["pingIntervalMs"], 7_000);
    assert!(ready["sessionId"].as_str().is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()));
}

#[tokio::test]
async fn entries_that_come_while_a_session_is_being_made_come_after_ready() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    for round in 0..20 {
        let user = format!("user-{round}");
        let dial = Dial::to(&gateway.ws()).bearer(&token_for(&user));
        // Delivered without a pause, so that one of them meets the session in the middle of its making.
        let (mut client, seq) = tokio::join!(dial.connect(), async {
            let mut seq = 1;
            while !gateway.reaches(&user, seq).await {
                seq += 1;
            }
            seq
        });
        assert_eq!(client.next_json().await["type"], "ready");
        assert_eq!(client.next_json().await["seq"], seq);
    }
}

#[tokio::test]
async fn a_ticket_lets_its_user_in_once() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    corner.ticket("single-use", "alice", 3_600).await;
    let mut client = Dial::to(&gateway.ws()).ticket("single-use").connect().await;
    assert_eq!(client.next_json().await["userId"], "alice");
    let again = refused(Dial::to(&gateway.ws()).ticket("single-use")).await;
    assert_eq!(again, (401, "unauthorized".to_owned()));
}

#[tokio::test]
async fn a_ticket_that_was_not_made_for_this_moment_and_place_lets_nobody_in() {
    let (corner, elsewhere) = (RegistryCorner::fresh().await, RegistryCorner::fresh().await);
    let gateway = OneGateway::start_in(&corner, &[]).await;
    elsewhere.ticket("foreign", "alice", 3_600).await;
    corner.ticket("late", "alice", -1).await;
    for ticket in ["unknown", "foreign", "late", "", "a%00b", "a:b", &"x".repeat(129)] {
        let answer = refused(Dial::to(&gateway.ws()).ticket(ticket)).await;
        assert_eq!(answer, (401, "unauthorized".to_owned()), "{ticket}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_does_not_use_up_its_ticket() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &[]).await;
    corner.ticket("kept", "alice", 3_600).await;
    assert_eq!(gateway.status(&gateway.public("/ws?ticket=kept")).await, 422);
    Dial::to(&gateway.ws()).ticket("kept").connect().await;
}

#[tokio::test]
async fn a_bad_token_is_refused_before_the_upgrade() {
    let jwks = JwksServer::start().await;
    let gateway = OneGateway::start(&["--jwt-issuer=us", "--jwt-audience=chat"]).await;
    let good = || Token::of("alice").claim("iss", "us").claim("aud", "chat");
    let mut client = Dial::to(&gateway.ws()).bearer(&good().sign()).connect().await;
    assert_eq!(client.next_json().await["type"], "ready");
    for (what, token) in [
        ("alg none", good().unsigned()),
        ("another algorithm", good().algorithm(Algorithm::HS512).sign()),
        ("a key pair", jwks.sign(Algorithm::RS256, good())),
        ("a wrong secret", good().secret("another-secret-of-thirty-two-bytes").sign()),
        ("a previous secret that is not configured", good().secret(PREVIOUS_JWT_SECRET).sign()),
        ("a signature of other claims", good().tampered()),
        ("expired", good().expires_in(-1).sign()),
        ("no exp", good().without("exp").sign()),
        ("no sub", good().without("sub").sign()),
        ("a sub that is no user", good().claim("sub", "not a user").sign()),
        ("another issuer", good().claim("iss", "them").sign()),
        ("no issuer", good().without("iss").sign()),
        ("another audience", good().claim("aud", "mail").sign()),
        ("no token at all", "hello".to_owned()),
    ] {
        let answer = refused(Dial::to(&gateway.ws()).bearer(&token)).await;
        assert_eq!(answer, (401, "unauthorized".to_owned()), "{what}");
    }
    assert_eq!(refused(Dial::to(&gateway.ws())).await.0, 401);
    assert_eq!(refused(Dial::to(&gateway.ws()).header("authorization", "Basic YTpi")).await.0, 401);
}

#[tokio::test]
async fn a_token_in_the_url_and_unknown_parameters_are_refused_by_name() {
    let gateway = OneGateway::start(&[]).await;
    for query in ["token=x", "access_token=x", "ticket=a&ticket=b", "ticket=a&v=2", "v=2"] {
        let refusal =
            Dial::to(&format!("{}?{query}", gateway.ws())).bearer(&token_for("alice")).refused().await;
        assert_eq!(code_of(&refusal), (422, "invalid_request".to_owned()), "{query}");
    }
    let refusal = Dial::to(&gateway.ws()).ticket("a").bearer(&token_for("alice")).refused().await;
    assert_eq!(code_of(&refusal).0, 422);
}

#[tokio::test]
async fn a_browser_may_come_from_allowed_origins_only() {
    let gateway =
        OneGateway::start(&["--allowed-origins=https://chat.example.com,http://localhost:3000"]).await;
    let dial = || Dial::to(&gateway.ws()).bearer(&token_for("alice"));
    dial().header("origin", "https://chat.example.com").connect().await;
    dial().header("origin", "http://localhost:3000").connect().await;
    dial().connect().await;
    for origin in ["https://evil.example", "http://chat.example.com", "null"] {
        let answer = refused(dial().header("origin", origin)).await;
        assert_eq!(answer, (403, "forbidden".to_owned()), "{origin}");
    }
}

#[tokio::test]
async fn by_default_no_browser_may_come_from_anywhere() {
    let gateway = OneGateway::start(&[]).await;
    let dial = Dial::to(&gateway.ws()).bearer(&token_for("alice"));
    assert_eq!(refused(dial.header("origin", "https://chat.example.com")).await.0, 403);
}

#[tokio::test]
async fn a_bad_frame_is_answered_with_its_fault_and_the_third_in_a_row_closes() {
    let gateway = OneGateway::start(&[]).await;
    let mut client = gateway.session("alice").await;
    for (frame, code) in [
        (Message::text("no JSON"), "malformed_json"),
        (Message::text("{\"type\":\"dance\"}"), "invalid_request"),
    ] {
        client.send(frame).await;
        let error = client.next_json().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)));
        assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
    // A good one forgives the bad ones before it.
    pong(&mut client).await;
    client.send(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(client.next_json().await["code"], "invalid_request");
    client.send(Message::text("[]")).await;
    assert_eq!(client.next_json().await["code"], "invalid_request");
    client.send(Message::text("{}")).await;
    assert_eq!(client.expect_close().await, 4002);
    gateway.until_sessions(0).await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_a_newer_one_came() {
    let gateway = OneGateway::start(&[]).await;
    let short = || Dial::to(&gateway.ws()).bearer(&Token::of("alice").expires_in(3).sign());
    let (mut expiring, mut renewed) = (short().connect().await, short().connect().await);
    renewed.send_json(&json!({"type": "auth", "token": token_for("alice")})).await;
    pong_after_ready(&mut renewed).await;
    assert_eq!(expiring.expect_close().await, 4001);
    pong(&mut renewed).await;
}

async fn pong_after_ready(client: &mut WebSocketClient) {
    assert_eq!(client.next_json().await["type"], "ready");
    pong(client).await;
}

#[tokio::test]
async fn an_older_token_does_not_shorten_a_session() {
    let gateway = OneGateway::start(&[]).await;
    let mut client = gateway.session("alice").await;
    let mut short = Dial::to(&gateway.ws()).bearer(&Token::of("alice").expires_in(3).sign()).connect().await;
    client.send_json(&json!({"type": "auth", "token": Token::of("alice").expires_in(1).sign()})).await;
    assert_eq!(short.expect_close().await, 4001);
    pong(&mut client).await;
}

#[tokio::test]
async fn a_bad_token_or_another_users_ends_the_session() {
    let gateway = OneGateway::start(&[]).await;
    for token in [token_for("bob"), Token::of("alice").expires_in(-1).sign(), "nonsense".to_owned()] {
        let mut client = gateway.session("alice").await;
        client.send_json(&json!({"type": "auth", "token": token})).await;
        assert_eq!(client.expect_close().await, 4001);
    }
}

#[tokio::test]
async fn a_silent_session_is_dropped_and_one_that_answers_pings_is_kept() {
    let gateway = OneGateway::start(&["--ping-interval=200ms", "--silence-limit=3s"]).await;
    let mut silent = RawSocket::connect(&gateway.ws(), &token_for("silent")).await;
    let mut lively = gateway.session("lively").await;
    // Reading is what makes the library answer pings.
    let reading = tokio::spawn(async move {
        let frame = lively.next_message_within(Duration::from_secs(20)).await;
        assert_eq!(frame, Message::text(entry(1).to_string()));
    });
    assert_eq!(silent.read_frame().await.opcode, 1);
    assert_eq!(silent.read_frame().await.opcode, 9, "a ping comes by itself");
    silent.expect_end(Duration::from_secs(10)).await;
    eventually("the silent session is forgotten", async || !gateway.reaches("silent", 1).await).await;
    assert!(gateway.reaches("lively", 1).await);
    reading.await.unwrap();
}

#[tokio::test]
async fn every_session_of_a_user_gets_the_entry_and_one_too_many_is_closed() {
    let gateway = OneGateway::start(&["--max-sessions-per-user=3"]).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(gateway.session("alice").await);
    }
    let mut fourth = Dial::to(&gateway.ws()).bearer(&token_for("alice")).connect().await;
    assert_eq!(fourth.expect_close().await, 4009);
    let mut other = gateway.session("bob").await;
    assert!(gateway.reaches("alice", 1).await);
    for session in &mut sessions {
        assert_eq!(session.next_entry().await, entry(1));
    }
    other.expect_no_entry(Duration::from_millis(100)).await;
    sessions.pop().unwrap().close().await;
    gateway.until_sessions(3).await;
    gateway.session("alice").await;
}

#[tokio::test]
async fn a_full_gateway_refuses_the_upgrade_and_leaves_the_ticket_good() {
    let corner = RegistryCorner::fresh().await;
    let gateway = OneGateway::start_in(&corner, &["--max-sessions=1"]).await;
    let first = gateway.session("alice").await;
    let by_token = || Dial::to(&gateway.ws()).bearer(&token_for("bob"));
    corner.ticket("ticket-of-carol", "carol", 3_600).await;
    let by_ticket = || Dial::to(&gateway.ws()).ticket("ticket-of-carol");
    for dial in [by_token(), by_ticket()] {
        assert_eq!(refused(dial).await, (503, "overloaded".to_owned()));
    }
    first.close().await;
    gateway.until_sessions(0).await;
    by_ticket().connect().await.close().await;
    gateway.until_sessions(0).await;
    by_token().connect().await;
}

#[tokio::test]
async fn a_background_session_gets_entries_and_its_user_is_absent() {
    let gateway = OneGateway::start(&[]).await;
    let mut phone = gateway.session("alice").await;
    assert!(gateway.reaches("alice", 1).await);
    phone.send_json(&json!({"type": "background", "value": true})).await;
    assert_eq!(phone.next_json().await, entry(1));
    pong(&mut phone).await;
    assert!(!gateway.reaches("alice", 2).await);
    assert_eq!(phone.next_json().await, entry(2));

    // Another device in the foreground is enough.
    let laptop = gateway.session("alice").await;
    assert!(gateway.reaches("alice", 3).await);
    laptop.close().await;
    gateway.until_sessions(1).await;
    assert!(!gateway.reaches("alice", 4).await);

    phone.send_json(&json!({"type": "background", "value": false})).await;
    assert_eq!(phone.next_json().await, entry(3));
    assert_eq!(phone.next_json().await, entry(4));
    pong(&mut phone).await;
    assert!(gateway.reaches("alice", 5).await);
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up_is_closed_with_4008_and_nobody_waits_for_it() {
    let gateway = OneGateway::start(&["--mailbox-frames=16"]).await;
    let mut slow = Dial::to(&gateway.ws()).bearer(&token_for("slow")).slow_reader().connect().await;
    assert_eq!(slow.next_json().await["type"], "ready");
    let mut brisk = gateway.session("brisk").await;
    let padding = "x".repeat(20_000);
    let mut seq = 0;
    loop {
        seq += 1;
        let mut big = entry(seq);
        big["content"] = json!(padding);
        let absent = gateway.deliver(&json!([{"recipients": ["slow", "brisk"], "entry": big}])).await;
        assert_eq!(brisk.next_json().await["seq"], seq);
        if let Some(absent) = absent.get(&0) {
            assert_eq!(absent, &["slow"]);
            break;
        }
        assert!(seq < 5_000, "the mailbox of a reader that does not read must fill");
    }
    gateway.until_sessions(1).await;
    // What had been written before the mailbox was full still comes, in order, and then the reason.
    let mut expected = 1;
    let code = loop {
        match slow.next_message().await {
            Message::Text(text) => {
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["seq"], expected);
                expected += 1;
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4008);
    assert!(expected < seq);
    assert!(gateway.metric("naru_gateway_mailbox_overflows_total").await == 1.0);
}

// The kernel does it, and only Linux's can.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_whose_reader_is_stuck_ends_by_itself() {
    let options = ["--mailbox-frames=1", "--write-limit=500ms"];
    let gateway = OneGateway::start(&options).await;
    let mut stuck = Dial::to(&gateway.ws()).bearer(&token_for("stuck")).slow_reader().connect().await;
    assert_eq!(stuck.next_json().await["type"], "ready");
    let mut big = entry(0);
    big["content"] = json!("x".repeat(20_000));
    let mut is_taken = true;
    while is_taken {
        big["seq"] = json!(big["seq"].as_i64().unwrap() + 1);
        is_taken = gateway.deliver(&json!([{"recipients": ["stuck"], "entry": big}])).await.is_empty();
    }
    // Not one byte is read here, and still the server lets go of the connection.
    let local_port = gateway.public_port;
    eventually("no connection is left on the server's side", async || !is_connected(local_port)).await;
}

#[cfg(target_os = "linux")]
/// Whether the kernel knows an established connection whose own end is this port.
fn is_connected(local_port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{local_port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|own| own.ends_with(&local))
            && matches!(fields.nth(1), Some("01" | "04" | "08"))
    })
}

#[tokio::test]
async fn a_client_that_pings_and_never_reads_makes_nobody_gather_answers() {
    let gateway = OneGateway::start(&[]).await;
    let mut socket = RawSocket::connect(&gateway.ws(), &token_for("alice")).await;
    let ping = RawFrame { is_final: true, reserved: 0, opcode: 9, payload: vec![0; 125] }.masked();
    let pings = ping.repeat(8_000);
    // The server stops reading when its answers are not taken: then the kernel's buffers fill, and we cannot write.
    let flooding = async {
        while tokio::time::timeout(Duration::from_secs(2), socket.try_write(&pings)).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(60), flooding).await.expect("the server must stop reading");
}

#[tokio::test]
async fn a_session_that_nobody_could_find_is_not_made() {
    let redis = Redis::start_private().await;
    let corner = RegistryCorner::of(&redis);
    let gateway = OneGateway::start_in(&corner, &[]).await;
    gateway.session("alice").await;
    redis.stop();
    let dial = Dial::to(&gateway.ws());
    assert_eq!(refused(dial.clone().bearer(&token_for("bob"))).await, (503, "overloaded".to_owned()));
    assert_eq!(refused(dial.ticket("some")).await, (503, "overloaded".to_owned()));
    // Nothing of the attempt is left.
    assert!(!gateway.reaches("bob", 1).await);
}

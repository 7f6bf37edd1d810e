//! Where HTTP ends and a WebSocket begins: on the wire, byte by byte.

use std::time::Duration;

use harness::raw_socket::{RawFrame, RawSocket};
use harness::tokens::token_for;
use harness::websocket::Dial;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::one_gateway::{OneGateway, entry};

const LIMIT: Duration = Duration::from_secs(10);

fn json_of(frame: &RawFrame) -> Value {
    serde_json::from_slice(&frame.payload).unwrap()
}

/// A handshake with these lines besides; nothing in it is wrong but what they make so.
fn handshake(path: &str, lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    format!(
        "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

async fn ask(gateway: &OneGateway, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.public_port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Everything that the server sends until it ends the connection.
async fn until_the_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the server ends it").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_a_client_sends_right_behind_its_handshake_is_heard() {
    let gateway = OneGateway::start(&[]).await;
    let ping = RawFrame::text("{\"type\":\"ping\"}").masked();
    let (first, second) = ping.split_at(7);
    let behind = [&ping, &ping, first].concat();
    let mut socket = RawSocket::connect_and_send(&gateway.ws(), &token_for("alice"), &behind).await;
    assert_eq!(json_of(&socket.read_frame().await)["type"], "ready");
    assert_eq!(json_of(&socket.read_frame().await)["type"], "pong");
    assert_eq!(json_of(&socket.read_frame().await)["type"], "pong");
    socket.write(second).await;
    assert_eq!(json_of(&socket.read_frame().await)["type"], "pong");
}

#[tokio::test]
async fn a_request_before_the_handshake_is_answered_before_it() {
    let gateway = OneGateway::start(&[]).await;
    let token = format!("Authorization: Bearer {}", token_for("alice"));
    let requests = format!(
        "GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n{}",
        handshake("/ws", &["Upgrade: websocket", &token])
    );
    let mut stream = ask(&gateway, &requests).await;
    let mut answers = Vec::new();
    while !String::from_utf8_lossy(&answers).contains("\"ready\"") {
        let read = timeout(LIMIT, stream.read_buf(&mut answers)).await.expect("both are answered").unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answers));
    }
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(answers.contains("\r\n\r\n{\"status\":\"alive\"}HTTP/1.1 101 "), "{answers}");
}

#[tokio::test]
async fn a_refused_handshake_gets_its_problem_document_and_the_connection_ends() {
    let gateway = OneGateway::start(&[]).await;
    for (path, lines, status) in [
        ("/ws", vec!["Upgrade: websocket"], 401),
        ("/ws?token=x", vec!["Upgrade: websocket"], 422),
        ("/ws", vec!["Upgrade: websocket", "Origin: https://elsewhere.example"], 403),
        ("/nothing", vec!["Upgrade: websocket"], 404),
    ] {
        let lines = [lines, vec!["X-Request-Id: mine"]].concat();
        let answer = until_the_end(ask(&gateway, &handshake(path, &lines)).await).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        for header in ["content-type: application/problem+json", "x-request-id: mine", "connection: close"] {
            assert!(head.lines().any(|line| line == header), "{path}: no {header} in {head}");
        }
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status, "{path}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{path}: {head}");
    }
}

#[tokio::test]
async fn a_handshake_that_http_takes_for_something_else_is_refused_and_not_half_accepted() {
    let gateway = OneGateway::start(&["--ws-echo"]).await;
    let token = format!("Authorization: Bearer {}", token_for("alice"));
    for path in ["/ws", "/ws/echo"] {
        for wrong in
            [&["Upgrade: websocket, other"][..], &["Upgrade: websocket", "Transfer-Encoding: chunked"]]
        {
            let lines = [&[token.as_str()], wrong].concat();
            let mut stream = ask(&gateway, &handshake(path, &lines)).await;
            let mut answer = vec![0; 13];
            timeout(LIMIT, stream.read_exact(&mut answer)).await.expect("it is answered").unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 422 ", "{path} {wrong:?}");
        }
    }
    gateway.until_sessions(0).await;
}

#[tokio::test]
async fn who_reads_late_gets_everything_in_order() {
    const ENTRIES: i64 = 600;
    let gateway = OneGateway::start(&[]).await;
    let mut late = Dial::to(&gateway.ws()).bearer(&token_for("late")).slow_reader().connect().await;
    assert_eq!(late.next_json().await["type"], "ready");
    let numbered = |seq: i64| {
        let mut entry = entry(seq);
        // Of all lengths, so that the kernel takes frames in part.
        entry["content"] = json!("x".repeat((seq * 7_919 % 20_000) as usize));
        entry
    };
    for first in (1..=ENTRIES).step_by(100) {
        let some: Vec<Value> =
            (first..first + 100).map(|seq| json!({"recipients": ["late"], "entry": numbered(seq)})).collect();
        assert!(gateway.deliver(&json!(some)).await.is_empty());
    }
    for seq in 1..=ENTRIES {
        assert_eq!(late.next_json().await, numbered(seq));
    }
}

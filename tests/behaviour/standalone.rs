//! The embedded edition as a newcomer meets it: one program, one folder.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::api_client::{Answer, Api};
use harness::ports::free_port;
use harness::process::ServiceProcess;
use harness::websocket::{Dial, WebSocketClient};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Standalone {
    process: ServiceProcess,
    api: Api,
    ws_port: u16,
}

impl Standalone {
    async fn start(data: &Path) -> Self {
        let (port, ws_port) = (free_port(), free_port());
        let process = ServiceProcess::start("standalone", &as_words(&arguments(data, port, ws_port)), &[]);
        process.wait_line("Naru runs.").await;
        process.wait_ready(&format!("http://127.0.0.1:{port}/readyz")).await;
        Self { process, api: Api::at(format!("http://127.0.0.1:{port}"), Client::new()), ws_port }
    }

    async fn token_of(&self, name: &str) -> String {
        let asked = self.api.request(Method::POST, "/try/token").json(&json!({"name": name}));
        Answer::of(asked).await.expect(200)["token"].as_str().unwrap().to_owned()
    }

    async fn call(&self, method: Method, path: &str, token: &str, body: Value) -> Answer {
        Answer::of(self.api.request(method, path).bearer_auth(token).json(&body)).await
    }

    async fn connect(&self, token: &str) -> WebSocketClient {
        let connection = self.call(Method::POST, "/connect", token, Value::Null).await.expect(200);
        assert_eq!(connection["url"], format!("ws://127.0.0.1:{}/ws", self.ws_port));
        let dial =
            Dial::to(connection["url"].as_str().unwrap()).ticket(connection["ticket"].as_str().unwrap());
        let mut socket = dial.connect().await;
        assert_eq!(socket.next_json().await["type"], "ready");
        socket
    }

    async fn stop(self) {
        self.process.sigterm();
        assert!(self.process.wait_exit().await.success());
    }
}

fn arguments(data: &Path, port: u16, ws_port: u16) -> [String; 3] {
    [
        format!("--data={}", data.display()),
        format!("--listen=127.0.0.1:{port}"),
        format!("--ws-listen=127.0.0.1:{ws_port}"),
    ]
}

/// Runs the program to its end, which must be a failure; answers what it said.
fn failing(arguments: &[String]) -> String {
    let failed = ServiceProcess::run("standalone", &as_words(arguments), &[]);
    assert!(!failed.status.success(), "{failed:?}");
    String::from_utf8_lossy(&failed.stderr).into_owned()
}

fn as_words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn two_who_open_the_page_chat_with_each_other_and_a_restart_keeps_everything() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("naru-data");
    let naru = Standalone::start(&data).await;
    let (alice, bob) = (naru.token_of("alice").await, naru.token_of("bob").await);
    let mut at_bob = naru.connect(&bob).await;

    let channel = json!({"kind": "direct", "memberIds": ["bob"]});
    let channel = naru.call(Method::POST, "/channels", &alice, channel).await.expect(201);
    let message = json!({"channelId": channel["id"], "content": "hello", "clientMessageId": "c-1"});
    let stored = naru.call(Method::POST, "/send/message", &alice, message.clone()).await.expect(201);
    assert_eq!(at_bob.next_entry().await, stored);
    naru.stop().await;

    let naru = Standalone::start(&data).await;
    // The tokens are still good, and so is what was sent.
    let history = format!("/channels/{}/messages", channel["id"].as_str().unwrap());
    let page = naru.call(Method::GET, &history, &bob, Value::Null).await.expect(200);
    assert_eq!(page["entries"], json!([stored]));
    let again = naru.call(Method::POST, "/send/message", &alice, message).await.expect(200);
    assert_eq!(again["deduplicated"], true);
    naru.stop().await;
}

#[tokio::test]
async fn what_was_acked_a_moment_before_it_was_stopped_is_known_afterwards() {
    let folder = TempDir::new().unwrap();
    let naru = Standalone::start(folder.path()).await;
    let (alice, bob) = (naru.token_of("alice").await, naru.token_of("bob").await);
    let mut at_bob = naru.connect(&bob).await;
    let channel = json!({"kind": "direct", "memberIds": ["bob"]});
    let channel = naru.call(Method::POST, "/channels", &alice, channel).await.expect(201);
    let message = json!({"channelId": channel["id"], "content": "hello"});
    naru.call(Method::POST, "/send/message", &alice, message).await.expect(201);

    assert_eq!(at_bob.next_entry().await["seq"], 1);
    at_bob.send_json(&json!({"type": "ack", "channelId": channel["id"], "seq": 1})).await;
    at_bob.send_json(&json!({"type": "ping"})).await;
    at_bob.next_of_type("pong").await;
    naru.process.sigterm();
    assert!(naru.process.wait_exit().await.success());
    let output = naru.process.output();
    assert!(!output.iter().any(|line| line.contains(" WARN ")), "{output:#?}");

    let naru = Standalone::start(folder.path()).await;
    let members = format!("/channels/{}/members", channel["id"].as_str().unwrap());
    let page = naru.call(Method::GET, &members, &alice, Value::Null).await.expect(200);
    let is_bob = |member: &&Value| member["userId"] == "bob";
    assert_eq!(page["members"].as_array().unwrap().iter().find(is_bob).unwrap()["deliveredSeq"], 1);
    naru.stop().await;
}

#[tokio::test]
async fn the_page_is_in_the_program_and_loads_nothing_from_elsewhere() {
    let folder = TempDir::new().unwrap();
    let naru = Standalone::start(folder.path()).await;
    let index = Answer::of(naru.api.request(Method::GET, "/")).await;
    let policy = index.header("content-security-policy").unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    let html = index.expect(200).as_str().unwrap().to_owned();
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    let files: Vec<&str> =
        html.split('"').filter(|part| part.starts_with('/') && part.contains('.')).collect();
    assert!(files.len() >= 2, "{html}");
    for file in files {
        let answer = Answer::of(naru.api.request(Method::GET, file)).await;
        assert_eq!(answer.status, 200, "{file}");
    }
    Answer::of(naru.api.request(Method::GET, "/assets/none.js")).await.expect_problem(404, "not_found");
    naru.stop().await;
}

#[tokio::test]
async fn the_operators_charts_have_the_metrics_of_both_services() {
    let folder = TempDir::new().unwrap();
    let naru = Standalone::start(folder.path()).await;
    let metrics = Answer::of(naru.api.request(Method::GET, "/try/metrics")).await.expect(200);
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("naru_api_waiting_sends") && metrics.contains("naru_gateway_sessions"),
        "{metrics}"
    );
    naru.stop().await;
}

#[tokio::test]
async fn secrets_are_for_their_owner_only_and_a_folder_for_one_process() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("naru-data");
    let naru = Standalone::start(&data).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("token-secret"))), (0o700, 0o600));

    let words = failing(&arguments(&data, free_port(), free_port()));
    assert!(words.contains("another process uses the folder"), "{words}");
    naru.stop().await;
}

#[tokio::test]
async fn a_port_in_use_and_half_a_pair_of_servers_are_named() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let words = failing(&arguments(folder.path(), port, free_port()));
    assert!(words.contains("NARU_LISTEN") && words.contains(&port.to_string()), "{words}");

    let words = failing(&["--redis-url=redis://127.0.0.1:1".to_owned()]);
    assert!(words.contains("DATABASE_URL is required"), "{words}");
}

#[tokio::test]
async fn tokens_are_handed_out_only_while_it_is_for_trying() {
    let folder = TempDir::new().unwrap();
    let (port, ws_port) = (free_port(), free_port());
    let arguments = arguments(folder.path(), port, ws_port);
    let process = ServiceProcess::start("standalone", &as_words(&arguments), &[("NARU_NO_TRY", "1")]);
    process.wait_line("Naru runs.").await;
    let api = Api::at(format!("http://127.0.0.1:{port}"), Client::new());
    let asked = api.request(Method::POST, "/try/token").json(&json!({"name": "alice"}));
    Answer::of(asked).await.expect_problem(404, "not_found");
}

//! The proxy as it is shipped, before two api-servers and two gateways.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::api_client::{Answer, Api};
use harness::cluster::{Cluster, GatewayProcess};
use harness::nginx::{Nginx, shipped};
use harness::ports::free_port;
use harness::process::ServiceProcess;
use harness::tcp_proxy::TcpProxy;
use harness::tokens::token_for;
use harness::wait::eventually;
use harness::websocket::{Dial, WebSocketClient};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::shared_cluster::{Verb, client};
use crate::steady_clients::{Listener, keep_sending};
use crate::whole_cluster::{at_rest, seq};

/// What an api-server takes of a body, and the proxy too.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A cluster whose gateways are programs, and the proxy before all of it.
struct Site {
    nginx: Nginx,
    gateways: Vec<GatewayProcess>,
    cluster: Cluster,
}

impl Site {
    async fn start() -> Self {
        let port = free_port();
        let cluster = Cluster::builder().gateways(0).gateway_flag("--drain-window=1s");
        let cluster = cluster.gateway_flag("--shutdown-grace=10s").api_flag("--push-fold-window=0s");
        let cluster = cluster.gateway_flag(format!("--public-url=ws://127.0.0.1:{port}/ws")).start().await;
        let gateways = vec![cluster.spawn_gateway().await, cluster.spawn_gateway().await];
        let api_servers = [0, 1].map(|n| port_of(cluster.api(n).base_url()));
        let ports = [gateways[0].public_port, gateways[1].public_port];
        let nginx = Nginx::start(port, api_servers, ports).await;
        Self { nginx, gateways, cluster }
    }

    fn api(&self) -> Api {
        Api::at(self.nginx.url(), self.cluster.client().clone())
    }

    /// As a client connects: with a ticket, to where it is told. `None`: refused, come again.
    async fn try_connect(&self, user: &str) -> Option<WebSocketClient> {
        let gateway = self.api().post("/connect", user, json!({})).await.expect(200);
        assert_eq!(gateway["url"], self.nginx.websocket_url());
        let dial = Dial::to(gateway["url"].as_str().unwrap());
        let mut socket = dial.ticket(gateway["ticket"].as_str().unwrap()).try_connect().await.ok()?;
        assert_eq!(socket.next_json().await["type"], "ready");
        Some(socket)
    }

    async fn connect(&self, user: &str) -> WebSocketClient {
        self.try_connect(user).await.unwrap_or_else(|| panic!("{user} is refused"))
    }

    async fn sessions(&self, gateway: usize) -> f64 {
        let url = format!("http://127.0.0.1:{}", self.gateways[gateway].internal_port);
        self.cluster.metric(&url, "naru_gateway_sessions").await
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{url} has no port"))
}

/// JSON with so many blanks behind it.
fn padded(json: &str, bytes: usize) -> String {
    json.to_owned() + &" ".repeat(bytes - json.len())
}

#[tokio::test]
async fn whoever_connects_through_the_proxy_with_a_ticket_gets_what_is_sent_large_frames_too() {
    let site = Site::start().await;
    let channel = site.api().create_group("alice", &["bob"], "g").await;
    let mut bob = site.connect("bob").await;
    site.api().send("alice", &channel, "hello").await;
    assert_eq!(bob.next_entry().await["content"], "hello");

    let long = "나".repeat(4_096);
    site.api().send("alice", &channel, &long).await;
    assert_eq!(bob.next_entry().await["content"], long.as_str());
    // 64 KiB, as much as a client may send, and a byte more.
    let ping = json!({"type": "ping"}).to_string();
    bob.send(Message::text(padded(&ping, 64 * 1024))).await;
    bob.next_of_type("pong").await;
    bob.send(Message::text(padded(&ping, 64 * 1024 + 1))).await;
    assert_eq!(bob.expect_close().await, 1009);

    // Logged when the session has ended.
    let is_logged = |line: &Value| line["path"] == "/ws" && line["status"] == "101";
    eventually("the session is logged", async || site.nginx.access_log().iter().any(is_logged)).await;
    let logged = format!("{:?}{}", site.nginx.access_log(), site.nginx.errors());
    assert!(!logged.contains("ticket"), "{logged}");
}

#[tokio::test]
async fn both_gateways_and_both_api_servers_are_used_and_connections_to_api_servers_are_kept() {
    let site = Site::start().await;
    let mut sockets = Vec::new();
    for user in 0..6 {
        sockets.push(site.connect(&format!("user-{user}")).await);
    }
    assert_eq!((site.sessions(0).await, site.sessions(1).await), (3.0, 3.0), "the fewest connections");

    let mut doors = Vec::new();
    for server in [0, 1] {
        doors.push(TcpProxy::start(port_of(site.cluster.api(server).base_url())).await);
    }
    let nginx = Nginx::start(free_port(), [doors[0].port(), doors[1].port()], [1, 1]).await;
    let api = Api::at(nginx.url(), client());
    for _ in 0..40 {
        api.get("/channels", "alice").await.expect(200);
    }
    for door in &doors {
        assert!((1..10).contains(&door.connections()), "{}", door.connections());
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_the_proxy_in_the_words_of_the_server() {
    let site = Site::start().await;
    let post = async |api: &Api, bytes: usize| {
        let body = padded("{}", bytes);
        let request = api.request(Verb::POST, "/send/message").bearer_auth(token_for("alice")).body(body);
        Answer::of(request.header("x-request-id", "r-1")).await
    };
    post(&site.api(), MAX_BODY_BYTES).await.expect_problem(422, "invalid_request");
    let ours = post(&site.api(), MAX_BODY_BYTES + 1).await;
    assert_eq!(ours.header("x-request-id"), Some("r-1"));
    let ours = ours.expect_problem(413, "payload_too_large");
    let theirs =
        post(&site.cluster.api(0), MAX_BODY_BYTES + 1).await.expect_problem(413, "payload_too_large");
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn a_requests_id_is_the_same_in_the_answer_and_in_the_proxys_log_whoever_has_made_it() {
    let site = Site::start().await;
    let ask = async |id: Option<&str>| {
        let request = site.api().request(Verb::GET, "/livez");
        let answer = Answer::of(match id {
            Some(id) => request.header("x-request-id", id),
            None => request,
        });
        answer.await.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask(Some("mine-1")).await, "mine-1");
    let too_long = "x".repeat(129);
    let made = [ask(None).await, ask(Some("not sane")).await, ask(Some(&too_long)).await];
    for id in ["mine-1"].into_iter().chain(made.iter().map(String::as_str)) {
        // The line is written after the answer.
        eventually("the request is logged", async || {
            site.nginx.access_log().iter().any(|line| line["requestId"] == id)
        })
        .await;
    }
}

#[tokio::test]
async fn with_no_api_server_there_the_proxy_says_so_in_a_problem_document() {
    let nginx = Nginx::start(free_port(), [free_port(), free_port()], [free_port(), free_port()]).await;
    let api = Api::at(nginx.url(), client());
    let answer = api.post("/connect", "alice", json!({})).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    let id = answer.header("x-request-id").unwrap().to_owned();
    let problem = answer.expect_problem(503, "overloaded");
    assert_eq!((problem["requestId"].as_str(), problem["status"].as_i64()), (Some(id.as_str()), Some(503)));
    assert_eq!(Dial::to(&nginx.websocket_url()).refused().await.status, 503);
}

/// A server that takes requests and hangs up on them. Returns its port, and how many it has had.
fn hangs_up() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, had) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
    let count = had.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), [0; 4_096]);
            if stream.read(&mut head).is_ok_and(|length| length > 0) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    (port, had)
}

/// A server that answers everything with an empty object.
fn answers() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), [0; 4_096]);
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    port
}

#[tokio::test]
async fn a_post_that_a_server_may_have_got_goes_to_no_other_and_a_read_does() {
    let ((one, had_one), (other, had_other)) = (hangs_up(), hangs_up());
    let nginx = Nginx::start(free_port(), [one, other], [1, 1]).await;
    let api = Api::at(nginx.url(), client());
    api.try_send("alice", "c", "hello").await.expect_problem(503, "overloaded");
    let had = || had_one.load(Ordering::Relaxed) + had_other.load(Ordering::Relaxed);
    assert_eq!(had(), 1);

    let (gone, answering) = (free_port(), answers());
    let nginx = Nginx::start(free_port(), [gone, answering], [1, 1]).await;
    let api = Api::at(nginx.url(), client());
    for _ in 0..4 {
        assert_eq!(api.try_send("alice", "c", "hello").await.status, 200, "nobody got it, so it goes on");
    }
    let (hanging, had_hanging) = hangs_up();
    let nginx = Nginx::start(free_port(), [hanging, answering], [1, 1]).await;
    let api = Api::at(nginx.url(), client());
    for _ in 0..4 {
        assert_eq!(api.get("/channels", "alice").await.status, 200, "a read may be asked again");
    }
    assert!(had_hanging.load(Ordering::Relaxed) >= 1);
}

#[tokio::test]
async fn whoever_was_on_a_killed_gateway_comes_back_through_the_proxy_to_the_other_and_misses_nothing() {
    let site = Site::start().await;
    let channel = site.api().create_group("alice", &["bob"], "g").await;
    let mut bob = site.connect("bob").await;
    site.api().send("alice", &channel, "one").await;
    assert_eq!(seq(&bob.next_entry().await), 1);
    let dead = usize::from(site.sessions(1).await == 1.0);
    site.gateways[dead].process.kill9().await;
    bob.expect_break().await;
    site.api().send("alice", &channel, "two").await;

    let mut bob = site.connect("bob").await;
    bob.send_json(&json!({"type": "resume", "cursors": {&channel: 1}})).await;
    assert_eq!(bob.next_entry().await["content"], "two");
    assert_eq!(site.sessions(1 - dead).await, 1.0);
}

#[tokio::test]
async fn a_gateway_that_drains_behind_the_proxy_loses_nothing_and_pushes_to_nobody() {
    let mut site = Site::start().await;
    let users: Vec<String> = (0..6).map(|n| format!("user-{n}")).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let channel = site.api().create_group("alice", &members, "Crew").await;
    for user in &users {
        site.api().register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let (say_end, end) = watch::channel(None);
    let listeners: Vec<_> = users
        .iter()
        .map(|user| tokio::spawn(Listener::new(site.api(), user, &channel).run(end.clone())))
        .collect();
    eventually("everyone is here", async || site.sessions(0).await + site.sessions(1).await == 6.0).await;
    let on_the_first = site.sessions(0).await;
    assert!(on_the_first > 0.0);

    let (say_enough, enough) = watch::channel(false);
    let (apis, to) = (vec![site.api()], channel.clone());
    let sending = tokio::spawn(async move { keep_sending(apis, "alice", &to, enough).await });
    let drained = site.gateways.remove(0);
    drained.process.sigterm();
    assert!(drained.process.wait_exit().await.success());
    say_enough.send(true).unwrap();
    let sent = sending.await.unwrap();
    assert_eq!((sent.repeats, sent.messages), (0, sent.last_seq));
    at_rest(&site.cluster.database().await).await;
    assert_eq!(site.cluster.fcm.seen().attempts.len(), 0);
    say_end.send(Some(sent.last_seq)).unwrap();
    let mut moved = 0;
    for listener in listeners {
        let listener = listener.await.unwrap();
        assert_eq!(listener.cursor, sent.last_seq);
        moved += listener.sessions - 1;
    }
    assert_eq!(moved as f64, on_the_first);
}

#[tokio::test]
async fn sessions_stay_where_they_are_when_the_proxy_reads_its_configuration_anew() {
    let site = Site::start().await;
    let channel = site.api().create_group("alice", &["bob", "carol"], "g").await;
    let mut bob = site.connect("bob").await;
    site.nginx.reload();
    eventually("an old worker goes on for bob", async || site.nginx.keeps_old_connections()).await;
    let mut carol = site.connect("carol").await;
    site.api().send("alice", &channel, "hello").await;
    for socket in [&mut bob, &mut carol] {
        assert_eq!(socket.next_entry().await["content"], "hello");
    }
    assert_eq!(site.sessions(0).await + site.sessions(1).await, 2.0);
}

/// A duration of `--help`'s defaults: `[env: NAME=] [default: 25s]`.
fn default_of(program: &str, variable: &str) -> Duration {
    let output = ServiceProcess::run(program, &["--help"], &[]);
    let help = String::from_utf8(output.stdout).unwrap();
    let rest = help.split(&format!("[env: {variable}=]")).nth(1).unwrap_or_else(|| panic!("no {variable}"));
    seconds(rest.split("[default: ").nth(1).unwrap().split(']').next().unwrap())
}

fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix('s').unwrap_or_else(|| panic!("{text} is not in seconds"));
    Duration::from_secs(number.parse().unwrap())
}

/// The one value of a directive of the shipped configuration.
fn directive(name: &str) -> Duration {
    let text = shipped("nginx.conf");
    let lines = text.lines().map(str::trim).filter_map(|line| line.strip_prefix(name));
    let values: Vec<_> = lines.filter(|rest| rest.starts_with(' ')).collect();
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    seconds(values[0].trim().trim_end_matches(';'))
}

/// What nginx has by default, 60 s, would cut those off whose gateway pings more seldom.
#[test]
fn an_idle_session_is_the_gateways_to_end_and_not_the_proxys() {
    let interval = default_of("chat-gateway", "NARU_PING_INTERVAL");
    let silence = default_of("chat-gateway", "NARU_SILENCE_LIMIT");
    for time_out in ["proxy_read_timeout", "proxy_send_timeout"] {
        assert!(directive(time_out) > silence + interval, "{time_out}");
    }
}

//! Logs as machines read them: each line an object, with what it is about in fields.

use harness::cluster::Cluster;
use harness::fake_fcm::Behaviour;
use harness::postgres::Postgres;
use harness::process::ServiceProcess;
use harness::tcp_proxy::TcpProxy;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET};
use harness::wait::eventually;
use serde_json::Value;

use crate::redis_and_postgres::through;

const SAID: &str = "what nobody else may read";

/// Every line so far, each of which must be a whole object with names that fit and nothing secret.
fn lines(process: &ServiceProcess) -> Vec<Value> {
    let output = process.output();
    for secret in [SAID, JWT_SECRET, INTERNAL_SECRET, "phone-of-carol", "Bearer", "eyJ"] {
        assert!(!output.iter().any(|line| line.contains(secret)), "{secret}: {output:#?}");
    }
    let parsed = output.iter().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let fields = line.as_object().unwrap_or_else(|| panic!("no object: {line}"));
        for name in ["timestamp", "level", "target", "message"] {
            assert!(fields[name].as_str().is_some_and(|value| !value.is_empty()), "{name}: {line}");
        }
        assert!(fields.keys().all(|name| !name.contains(['_', '.'])), "{line}");
        line
    });
    parsed.collect()
}

/// The lines with this message.
fn saying(process: &ServiceProcess, message: &str) -> Vec<Value> {
    lines(process).into_iter().filter(|line| line["message"] == message).collect()
}

/// Waits for a line with this message, which is the only one.
async fn the_line(process: &ServiceProcess, message: &str) -> Value {
    eventually(message, async || !saying(process, message).is_empty()).await;
    let [line] = saying(process, message).try_into().unwrap_or_else(|many| panic!("{many:#?}"));
    line
}

#[tokio::test]
async fn failures_are_one_json_line_each_with_what_they_are_about() {
    let postgres = Postgres::shared().await;
    let database_url = postgres.fresh_database().await;
    let proxy = TcpProxy::start(postgres.port()).await;
    let builder = Cluster::builder().apis(0).gateways(0).flag("--log-format=json");
    let builder = builder.api_flag("--push-fold-window=0s");
    let cluster = builder.database_url(through(&proxy, &database_url, postgres.port())).start().await;
    let (server, gateway) = (cluster.spawn_api().await, cluster.spawn_gateway().await);
    let (api, log) = (&server.api, &server.process);
    let started = the_line(&gateway.process, "chat-gateway listens").await;
    let gateway_id = &started["gatewayId"];
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;

    // A push that is refused.
    api.register_device("carol", "phone", "phone-of-carol").await;
    cluster.fcm.respond_to("phone-of-carol", Behaviour::InvalidArgument);
    let sent = api.send("alice", &channel, SAID).await;
    let refused = the_line(log, "a push was refused and is not tried again").await;
    assert_eq!((&refused["channelId"], &refused["messageId"]), (&sent["channelId"], &sent["id"]));

    // A gateway that is gone.
    let _bob = gateway.connect("bob").await;
    gateway.process.kill9().await;
    api.send("alice", &channel, SAID).await;
    let gone = the_line(log, "a gateway does not take deliveries").await;
    assert_eq!(&gone["gatewayId"], gateway_id);

    // A database that is away.
    proxy.cut().await;
    let answers = [
        api.get("/channels", "alice").await.expect_problem(503, "overloaded"),
        api.try_send("alice", &channel, SAID).await.expect_problem(503, "overloaded"),
    ];
    for answer in answers {
        let of_it = || {
            let failed = saying(log, "a request failed").into_iter();
            failed.filter(|line| line["requestId"] == answer["requestId"]).collect::<Vec<_>>()
        };
        eventually("the request's id is in the log", async || !of_it().is_empty()).await;
        assert!(of_it().len() == 1 && of_it()[0]["level"] == "ERROR", "{:#?}", of_it());
    }
    let not_stored = the_line(log, "a batch was not stored").await;
    assert_eq!((&not_stored["channelId"], &not_stored["messages"]), (&sent["channelId"], &1.into()));
    assert!(not_stored["messageId"].is_string() && not_stored["error"].is_string(), "{not_stored}");
}

#[tokio::test]
async fn a_gateway_says_which_one_it_is_in_every_line_of_its_own() {
    let cluster = Cluster::builder().apis(0).gateways(0).flag("--log-format=json").start().await;
    let gateway = cluster.spawn_gateway().await;
    let _bob = gateway.connect("bob").await;
    gateway.process.sigterm();
    gateway.process.wait_exit().await;
    the_line(&gateway.process, "chat-gateway has stopped").await;
    let own = lines(&gateway.process);
    let own =
        own.iter().filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("chat_gateway")));
    let own: Vec<_> = own.collect();
    assert!(own.len() >= 5, "{own:#?}");
    assert!(
        own.iter().all(|line| line["gatewayId"] == own[0]["gatewayId"] && line["gatewayId"].is_string()),
        "{own:#?}"
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_in_a_line_of_its_log() {
    let port = harness::ports::free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (listen, jwt) = (format!("--listen=127.0.0.1:{port}"), format!("--jwt-secret={JWT_SECRET}"));
    let secret = format!("--internal-secret={INTERNAL_SECRET}");
    let arguments = [&*listen, &jwt, &secret, "--internal-listen=127.0.0.1:0", "--log-format=json"];
    let api = ServiceProcess::start("api-server", &arguments, &[]);
    assert_eq!(api.wait_exit().await.code(), Some(1));
    let line = the_line(&api, "api-server does not run").await;
    assert!(line["error"].as_str().is_some_and(|error| error.contains("NARU_LISTEN")), "{line}");
}

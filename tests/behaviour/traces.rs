//! Traces: what one message caused, from the request to the socket and to the push, as a collector sees it.

use std::collections::BTreeSet;
use std::time::Instant;

use harness::api_client::{Answer, Api};
use harness::cluster::{Cluster, ClusterBuilder};
use harness::collector::{Collector, SeenSpan};
use harness::jwks::JwksServer;
use harness::ports::free_port;
use harness::tokens::{INTERNAL_SECRET, Token, token_for};
use harness::wait::eventually;
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::one_gateway::entry;

const CALLERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";

/// Of a caller who has, or has not, decided that its trace is recorded.
fn traceparent(trace_id: &str, is_sampled: bool) -> String {
    format!("00-{trace_id}-{CALLERS_SPAN}-0{}", u8::from(is_sampled))
}

/// An api-server and a gateway, both with this collector.
fn traced_cluster(collector: &Collector) -> ClusterBuilder {
    Cluster::builder().apis(1).gateways(1).flag(format!("--otlp-endpoint={}", collector.endpoint()))
}

async fn send_traced(api: &Api, channel: &str, traceparent: &str) -> Value {
    let body = json!({"channelId": channel, "content": "the password is swordfish"});
    let request = api.request(Method::POST, "/send/message").bearer_auth(token_for("alice"));
    Answer::of(request.header("traceparent", traceparent).json(&body)).await.expect(201)
}

/// The one span of this name.
fn the<'a>(spans: &'a [SeenSpan], name: &str) -> &'a SeenSpan {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

/// The trace of the message, once it has all of these spans.
async fn trace_of(collector: &Collector, message: &Value, names: &[&str]) -> Vec<SeenSpan> {
    collector
        .until(&format!("the trace has {names:?}"), |spans| {
            let store =
                spans.iter().find(|span| span.name == "store" && span.get("messageId") == message["id"])?;
            let trace: Vec<_> =
                spans.iter().filter(|span| span.trace_id == store.trace_id).cloned().collect();
            names.iter().all(|name| trace.iter().any(|span| span.name == *name)).then_some(trace)
        })
        .await
}

fn traces(spans: &[SeenSpan]) -> BTreeSet<&str> {
    spans.iter().map(|span| span.trace_id.as_str()).collect()
}

#[tokio::test]
async fn a_message_to_who_is_connected_and_who_is_offline_is_one_trace_to_the_socket_and_to_the_push() {
    let collector = Collector::start().await;
    let cluster = traced_cluster(&collector).api_flag("--trace-sample=1").start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "crew").await;
    api.register_device("carol", "phone", "phone-of-carol").await;
    let mut bob = cluster.connect(0, "bob").await;

    let body = json!({"channelId": channel, "content": "the password is swordfish"});
    let sent = api.post("/send/message", "alice", body).await.expect(201);
    assert_eq!(bob.next_entry().await, sent);
    cluster.fcm.wait_for_pushes(1).await;

    let chain = ["POST /send/message", "store", "gateway call", "deliver", "socket write"];
    let all = [&chain[..], &["push job", "push"]].concat();
    let trace = trace_of(&collector, &sent, &all).await;
    assert_eq!(trace.len(), all.len(), "{trace:#?}");
    assert_eq!(the(&trace, "POST /send/message").parent_id, "", "it begins here");
    for (parent, child) in
        chain.iter().zip(&chain[1..]).chain([(&"store", &"push job"), (&"push job", &"push")])
    {
        let (parent, child) = (the(&trace, parent), the(&trace, child));
        assert_eq!(child.parent_id, parent.id, "{child:#?} is not of {parent:#?}");
        assert!(child.started_ns <= child.ended_ns && !child.has_failed, "{child:#?}");
    }

    assert_eq!(the(&trace, "POST /send/message").get("http.response.status_code"), "201");
    for (name, outcome) in
        [("store", "stored"), ("gateway call", "delivered"), ("socket write", "written"), ("push", "sent")]
    {
        assert_eq!(the(&trace, name).get("outcome"), outcome);
    }
    for span in trace.iter().filter(|span| span.name != "POST /send/message") {
        assert_eq!((span.get("channelId"), span.get("seq")), (channel.as_str(), "1"), "{span:#?}");
    }
    assert_eq!(the(&trace, "push").get("messageId"), sent["id"]);
    assert_eq!(the(&trace, "store").get("batchSize"), "1");
    let gateway = &the(&trace, "deliver").resource;
    assert_eq!(gateway["service.name"], "naru-chat-gateway");
    assert_eq!(gateway["service.instance.id"], the(&trace, "gateway call").get("gatewayId"));
    assert_eq!(the(&trace, "push").resource["service.name"], "naru-api-server");

    let told = format!("{:?}", collector.spans());
    for secret in ["swordfish", "alice", "bob", "carol", INTERNAL_SECRET, &token_for("alice")] {
        assert!(!told.contains(secret), "{secret} is nobody's business");
    }
}

#[tokio::test]
async fn a_callers_trace_goes_on_here_and_one_that_it_does_not_record_is_not_recorded() {
    let collector = Collector::start().await;
    let share = |share| traced_cluster(&collector).api_flag(format!("--trace-sample={share}")).start();
    let (never, always) = (share(0).await, share(1).await);
    let channel = never.api(0).create_direct("alice", "bob").await;
    never.api(0).send("alice", &channel, "nobody asked").await;

    let sent = send_traced(&never.api(0), &channel, &traceparent(CALLERS_TRACE, true)).await;

    let trace = trace_of(&collector, &sent, &["POST /send/message", "store", "push job"]).await;
    assert_eq!(traces(&collector.spans()), [CALLERS_TRACE].into(), "the share is 0");
    assert_eq!(the(&trace, "POST /send/message").parent_id, CALLERS_SPAN);

    let channel = always.api(0).create_direct("alice", "bob").await;
    let not_this = "11111111111111111111111111111111";
    send_traced(&always.api(0), &channel, &traceparent(not_this, false)).await;
    for broken in ["", "00-x", &traceparent(&"0".repeat(32), true)] {
        let sent = send_traced(&always.api(0), &channel, broken).await;
        trace_of(&collector, &sent, &["POST /send/message"]).await;
    }
    assert!(!traces(&collector.spans()).contains(not_this));
}

#[tokio::test]
async fn callers_can_ask_for_so_many_traces_a_second_and_no_more() {
    let collector = Collector::start().await;
    let rate = |rate: u32| {
        let flags = traced_cluster(&collector).api_flag("--trace-sample=0");
        flags.gateways(0).api_flag(format!("--trace-asked-rate={rate}")).start()
    };
    let (nobody, one) = (rate(0).await, rate(1).await);
    let ask = async |cluster: &Cluster, trace: u128| {
        let request = cluster.api(0).request(Method::GET, "/channels").bearer_auth(token_for("alice"));
        let traceparent = traceparent(&format!("{trace:032x}"), true);
        Answer::of(request.header("traceparent", traceparent)).await.expect(200);
    };
    ask(&nobody, 1).await;
    let began = Instant::now();
    for trace in 100..150 {
        ask(&one, trace).await;
    }
    let seconds = began.elapsed().as_secs() as usize;

    nobody.stop_api(0).await;
    one.stop_api(0).await;
    let spans = collector.spans();
    let asked = traces(&spans).len();
    assert!((1..=2 + seconds).contains(&asked), "{asked} traces in {seconds} s");
    assert!(!traces(&spans).contains(format!("{:032x}", 1).as_str()));
}

#[tokio::test]
async fn a_server_without_a_collector_begins_no_trace_and_a_gateway_without_one_delivers_all_the_same() {
    let collector = Collector::start().await;
    let endpoint = format!("--otlp-endpoint={}", collector.endpoint());
    let without = Cluster::builder().apis(1).gateways(1).gateway_flag(endpoint.clone()).start().await;
    let with = Cluster::builder().apis(1).gateways(1).api_flag(endpoint).api_flag("--trace-sample=0");
    let with = with.start().await;
    for cluster in [&without, &with] {
        let channel = cluster.api(0).create_direct("alice", "bob").await;
        let mut bob = cluster.connect(0, "bob").await;
        let sent = send_traced(&cluster.api(0), &channel, &traceparent(CALLERS_TRACE, true)).await;
        assert_eq!(bob.next_entry().await, sent);
    }
    with.stop_api(0).await;
    without.stop_gateway(0).await;

    let names: BTreeSet<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["POST /send/message", "gateway call", "store"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_gateway_follows_what_it_can_read_of_the_header_and_delivers_everything() {
    let collector = Collector::start().await;
    let cluster = traced_cluster(&collector).apis(0).start().await;
    let mut bob = cluster.connect(0, "bob").await;
    let body = json!({"deliveries": [
        {"recipients": ["bob"], "entry": entry(1)}, {"recipients": ["bob"], "entry": entry(2)},
    ]});
    let second = format!("1={}", traceparent(CALLERS_TRACE, true));
    for header in ["", "x", "=,=", "0=00-x", "18446744073709551616=00", "9=00-1-0-01", &format!("x,{second}")]
    {
        let url = format!("{}/ws/send/message", cluster.gateway_internal_url(0));
        let request = cluster.client().post(url).bearer_auth(INTERNAL_SECRET).json(&body);
        Answer::of(request.header("naru-traces", header)).await.expect(200);
    }

    assert_eq!(bob.next_entry().await, entry(1));
    assert_eq!(bob.next_entry().await, entry(2));
    let spans = collector.until("it is told", |spans| (!spans.is_empty()).then(|| spans.to_vec())).await;
    let deliver = the(&spans, "deliver");
    assert_eq!((deliver.parent_id.as_str(), deliver.get("seq")), (CALLERS_SPAN, "2"));
}

#[tokio::test]
async fn a_trace_of_many_recipients_has_only_so_many_spans() {
    let collector = Collector::start().await;
    let cluster = traced_cluster(&collector).api_flag("--trace-sample=0").start().await;
    let members: Vec<_> = (0..80).map(|n| format!("user-{n}")).collect();
    let names: Vec<_> = members.iter().map(String::as_str).collect();
    let channel = cluster.api(0).create_group("alice", &names, "crew").await;
    let mut sessions = Vec::new();
    for user in &members {
        sessions.push(cluster.connect(0, user).await);
    }
    let sent = send_traced(&cluster.api(0), &channel, &traceparent(CALLERS_TRACE, true)).await;
    for session in &mut sessions {
        assert_eq!(session.next_entry().await, sent);
    }
    cluster.stop_gateway(0).await;

    let writes = collector.spans().iter().filter(|span| span.name == "socket write").count();
    assert_eq!(writes, 63, "with the delivery's own 64 of this process");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_its_spans_and_nothing_else() {
    let nowhere = format!("--otlp-endpoint=http://127.0.0.1:{}", free_port());
    let builder = Cluster::builder().apis(1).gateways(1).flag(nowhere).api_flag("--trace-sample=1");
    let cluster = builder.start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    for _ in 0..20 {
        let sent = api.send("alice", &channel, "ahoy").await;
        assert_eq!(bob.next_entry().await, sent);
    }
    for (url, service) in [(cluster.api_internal_url(0), "api"), (cluster.gateway_internal_url(0), "gateway")]
    {
        let dropped = format!("naru_{service}_trace_spans_dropped_total");
        eventually("dropped spans are counted", async || cluster.metric(&url, &dropped).await > 0.0).await;
    }
    cluster.stop_gateway(0).await;
    cluster.stop_api(0).await;
}

#[tokio::test]
async fn a_server_that_stops_has_told_everything() {
    let collector = Collector::start().await;
    let cluster = traced_cluster(&collector).api_flag("--trace-sample=1").start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    for _ in 0..50 {
        let sent = cluster.api(0).send("alice", &channel, "ahoy").await;
        assert_eq!(bob.next_entry().await, sent);
    }
    cluster.stop_api(0).await;
    cluster.stop_gateway(0).await;

    for name in ["POST /send/message", "store", "gateway call", "deliver", "socket write"] {
        let told = collector.spans().iter().filter(|span| span.name == name).count();
        assert_eq!(told, 50, "{name}");
    }
}

#[tokio::test]
async fn the_log_line_of_a_request_that_fails_names_its_trace() {
    let collector = Collector::start().await;
    let keys = JwksServer::start().await;
    keys.set_broken(true);
    let cluster = Cluster::builder()
        .apis(0)
        .gateways(0)
        .without_flag("--jwt-secret")
        .api_flag(format!("--jwt-jwks-url={}", keys.url()))
        .api_flag(format!("--otlp-endpoint={}", collector.endpoint()))
        .start()
        .await;
    let server = cluster.spawn_api().await;
    let request = server
        .api
        .request(Method::GET, "/channels")
        .bearer_auth(keys.sign(Algorithm::RS256, Token::of("alice")));
    let request = request.header("traceparent", traceparent(CALLERS_TRACE, true));
    Answer::of(request).await.expect_problem(503, "overloaded");

    eventually("the failure is logged with its trace", async || {
        server
            .process
            .output()
            .iter()
            .any(|line| line.contains("request failed") && line.contains(CALLERS_TRACE))
    })
    .await;
}

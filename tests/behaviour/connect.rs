//! `POST /connect`: a gateway to go to, and a ticket that opens it once.

use futures_util::future::join_all;
use harness::api_client::Api;
use harness::cluster::Cluster;
use harness::wait::eventually;
use harness::websocket::Dial;
use serde_json::{Value, json};
use shared_types::GatewayId;

use crate::whole_cluster::expect_overloaded;

async fn place_of(api: &Api, user: &str) -> Value {
    api.post("/connect", user, json!({})).await.expect(200)
}

fn text<'a>(place: &'a Value, field: &str) -> &'a str {
    place[field].as_str().unwrap_or_else(|| panic!("{field} in {place}"))
}

async fn gateway_id(cluster: &Cluster, gateway: usize) -> String {
    let mut visitor = cluster.dial(gateway, "visitor").connect().await;
    let ready = visitor.next_json().await;
    visitor.close().await;
    text(&ready, "gatewayId").to_owned()
}

/// The gateway's lease, as api-servers read it.
async fn lease(cluster: &Cluster, gateway_id: &str) -> Value {
    let leases = cluster.registry().leases().await.unwrap();
    serde_json::to_value(&leases[&gateway_id.parse::<GatewayId>().unwrap()]).unwrap()
}

#[tokio::test]
async fn the_ticket_opens_a_live_gateway_once_and_for_its_owner() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let place = place_of(&cluster.api(0), "bob").await;
    let expires_at = chrono::DateTime::parse_from_rfc3339(text(&place, "expiresAt")).unwrap();
    assert!(expires_at > chrono::Utc::now());

    let mut bob = Dial::to(text(&place, "url")).ticket(text(&place, "ticket")).connect().await;
    let ready = bob.next_json().await;
    assert_eq!((&ready["userId"], &ready["gatewayId"]), (&json!("bob"), &place["gateway"]));
    let sent = cluster.api(1).send("alice", &channel, "ahoy").await;
    assert_eq!(bob.next_entry().await, sent);

    let again = Dial::to(text(&place, "url")).ticket(text(&place, "ticket")).refused().await;
    assert_eq!(again.status, 401);
}

#[tokio::test]
async fn of_many_who_come_with_one_ticket_at_the_same_moment_one_is_let_in() {
    let cluster = Cluster::builder().apis(1).start().await;
    let ticket = place_of(&cluster.api(0), "bob").await;
    // A ticket is good at every gateway of its deployment.
    let dials =
        (0..10).map(|n| Dial::to(&cluster.gateway_url(n % 2)).ticket(text(&ticket, "ticket")).try_connect());
    let let_in = join_all(dials).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(let_in, 1);
}

#[tokio::test]
async fn a_draining_gateway_is_handed_out_to_nobody() {
    let cluster = Cluster::builder().apis(1).start().await;
    let ids = [gateway_id(&cluster, 0).await, gateway_id(&cluster, 1).await];
    let answer = cluster.post_internal(0, "/drain", &json!({})).await;
    assert!((200..300).contains(&answer.status), "{answer:#?}");
    eventually("the lease says so", async || lease(&cluster, &ids[0]).await["isDraining"] == true).await;
    for _ in 0..10 {
        assert_eq!(place_of(&cluster.api(0), "bob").await["gateway"], ids[1].as_str());
    }
}

#[tokio::test]
async fn the_gateway_with_the_fewest_sessions_comes_first() {
    let cluster = Cluster::builder().apis(1).start().await;
    let ids = [gateway_id(&cluster, 0).await, gateway_id(&cluster, 1).await];
    let _sessions = join_all((0..4).map(|n| cluster.connect(0, ["a", "b", "c", "d"][n]))).await;
    eventually("the leases tell their loads", async || {
        let loads = [lease(&cluster, &ids[0]).await, lease(&cluster, &ids[1]).await];
        loads.map(|lease| lease["sessions"].as_u64()) == [Some(4), Some(0)]
    })
    .await;
    // Who is sent there counts, though they have not arrived yet.
    for _ in 0..4 {
        assert_eq!(place_of(&cluster.api(0), "bob").await["gateway"], ids[1].as_str());
    }
}

#[tokio::test]
async fn clients_who_come_at_once_are_spread_over_idle_gateways() {
    let cluster = Cluster::builder().apis(1).start().await;
    let api = cluster.api(0);
    let mut places = Vec::new();
    for _ in 0..10 {
        places.push(text(&place_of(&api, "bob").await, "gateway").to_owned());
    }
    let at_the_first = places.iter().filter(|gateway| **gateway == places[0]).count();
    assert_eq!(at_the_first, 5, "{places:?}");
}

#[tokio::test]
async fn without_a_gateway_the_answer_is_to_come_again() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    expect_overloaded(cluster.api(0).post("/connect", "bob", json!({})).await);
}

#[tokio::test]
async fn a_ticket_of_another_deployment_or_of_ones_own_making_opens_nothing() {
    let (here, elsewhere) = tokio::join!(
        Cluster::builder().apis(1).gateways(1).start(),
        Cluster::builder().apis(1).gateways(1).start()
    );
    let foreign = place_of(&elsewhere.api(0), "bob").await;
    for ticket in [text(&foreign, "ticket"), "made-up", "", "*", "a:b"] {
        let refusal = Dial::to(&here.gateway_url(0)).ticket(ticket).refused().await;
        assert_eq!(refusal.status, 401, "{ticket:?}: {refusal:?}");
    }
    let at_home = Dial::to(text(&foreign, "url")).ticket(text(&foreign, "ticket"));
    at_home.connect().await;
}

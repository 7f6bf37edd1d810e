//! What a gateway makes of `ack` frames.

use harness::tokens::INTERNAL_SECRET;
use harness::wait::eventually;
use harness::websocket::WebSocketClient;
use serde_json::{Value, json};
use shared_types::ChannelId;

use crate::fake_api::{FakeApi, entry_of};
use crate::one_gateway::OneGateway;

async fn start() -> (FakeApi, OneGateway) {
    let api = FakeApi::start().await;
    let gateway = OneGateway::start(&[&api.option()]).await;
    (api, gateway)
}

/// Acks, and has been heard when this returns.
async fn ack(client: &mut WebSocketClient, channel: ChannelId, seq: i64) {
    client.send_json(&json!({"type": "ack", "channelId": channel, "seq": seq})).await;
    client.send_json(&json!({"type": "ping"})).await;
    while client.next_json().await["type"] != "pong" {}
}

/// What has been reported: user, `seq`, and whether by a foreground session.
fn reported(api: &FakeApi) -> Vec<(String, i64, bool)> {
    let acks = api.acks().0.into_iter();
    acks.map(|ack| (ack.user_id.to_string(), ack.seq, ack.is_foreground)).collect()
}

#[tokio::test]
async fn acks_of_a_channel_are_reported_as_the_highest_foreground_and_background_apart() {
    let (api, gateway) = start().await;
    let channel = api.channel(50);
    let (mut phone, mut laptop) = (gateway.session("alice").await, gateway.session("alice").await);
    api.set_broken(true);
    phone.send_json(&json!({"type": "background", "value": true})).await;
    for seq in [3, 40, 7] {
        ack(&mut phone, channel, seq).await;
    }
    for seq in 1..=20 {
        ack(&mut laptop, channel, seq).await;
    }
    eventually("nobody takes them", async || gateway.metric("naru_gateway_api_failures_total").await >= 1.0)
        .await;
    // While they are kept, another comes.
    ack(&mut laptop, channel, 21).await;
    api.set_broken(false);
    eventually("they are reported", async || reported(&api).len() >= 2).await;
    let mut reported = reported(&api);
    reported.sort();
    assert_eq!(reported, [("alice".to_owned(), 21, true), ("alice".to_owned(), 40, false)]);
    assert_eq!(gateway.metric("naru_gateway_acks_total{outcome=\"flushed\"}").await, 2.0);
}

#[tokio::test]
async fn a_gateway_that_stops_reports_its_last_acks() {
    let (api, gateway) = start().await;
    let channel = api.channel(50);
    let mut alice = gateway.session("alice").await;
    // Just after the last report, so that the next would be a second away.
    ack(&mut alice, channel, 1).await;
    eventually("the first is reported", async || reported(&api).len() == 1).await;
    ack(&mut alice, channel, 2).await;
    gateway.stopped().await;
    assert_eq!(reported(&api).last(), Some(&("alice".to_owned(), 2, true)));
}

#[tokio::test]
async fn an_ack_is_awaited_from_users_all_of_whose_foreground_sessions_ack() {
    let (api, gateway) = start().await;
    let channel = api.channel(50);
    let (mut phone, laptop) = (gateway.session("alice").await, gateway.session("alice").await);
    let awaited = async |seq: i64| {
        let delivery = json!([{"recipients": ["alice", "bob"], "entry": entry_of(channel, seq)}]);
        let body = json!({"deliveries": delivery}).to_string();
        let answer: Value = gateway.try_deliver(INTERNAL_SECRET, &body).await.json().await.unwrap();
        assert_eq!(answer["absent"], json!([{"delivery": 0, "recipients": ["bob"]}]));
        answer["awaitingAck"].clone()
    };
    assert_eq!(awaited(1).await, Value::Null);
    ack(&mut phone, channel, 1).await;
    assert_eq!(awaited(2).await, Value::Null, "the laptop's client does not ack");
    laptop.close().await;
    gateway.until_sessions(1).await;
    assert_eq!(awaited(3).await, json!([{"delivery": 0, "recipients": ["alice"]}]));
    assert_eq!(awaited(4).await, json!([{"delivery": 0, "recipients": ["alice"]}]));
}

//! What FCM is given for a push.

use harness::fake_fcm::FakeFcm;
use serde_json::{Value, json};
use shared_types::UserId;

use super::*;

/// The one message that FCM accepts for this push.
async fn message_of(push: &Push) -> Value {
    let fake = FakeFcm::start();
    assert_eq!(sender(&fake).send(push).await, PushOutcome::Sent);
    fake.accepted().remove(0)
}

fn alice() -> UserId {
    "alice".parse().unwrap()
}

#[tokio::test]
async fn an_installation_is_addressed_by_fid_and_a_registration_by_token() {
    let message = message_of(&push_to("installation")).await;
    assert_eq!((&message["fid"], &message["token"]), (&json!("installation"), &Value::Null));
    let target = DeviceTarget::Registration("registration".to_owned());
    let message = message_of(&Push { target, ..push_to("") }).await;
    assert_eq!((&message["fid"], &message["token"]), (&Value::Null, &json!("registration")));
}

#[tokio::test]
async fn the_notification_shows_the_channel_and_the_content() {
    let text = PushText::showing(Some("Ferry crew"), &alice(), "We leave at nine");
    let message = message_of(&Push { text, ..push_to("phone") }).await;
    assert_eq!(message["notification"], json!({"title": "Ferry crew", "body": "We leave at nine"}));
}

#[tokio::test]
async fn the_notification_of_a_channel_without_a_name_shows_the_sender() {
    let message = message_of(&push_to("phone")).await;
    assert_eq!(message["notification"], json!({"title": "alice", "body": "hello"}));
}

#[tokio::test]
async fn hidden_content_does_not_leave_the_house() {
    let text = PushText::hiding(Some("Ferry crew"), &alice());
    let message = message_of(&Push { text, ..push_to("phone") }).await;
    assert_eq!(message["notification"], json!({"title": "Ferry crew", "body": "New message"}));
}

#[tokio::test]
async fn several_messages_are_one_notification_that_counts_them() {
    let text = PushText::counting(Some("Ferry crew"), &alice(), 2);
    let message = message_of(&Push { text, ..push_to("phone") }).await;
    assert_eq!(message["notification"], json!({"title": "Ferry crew", "body": "2 new messages"}));
}

#[tokio::test]
async fn the_data_are_strings_that_say_which_message_it_is() {
    let push = push_to("phone");
    assert_eq!(
        message_of(&push).await["data"],
        json!({
            "channelId": push.channel_id.to_string(),
            "seq": "7",
            "messageId": push.message_id.to_string(),
            "senderId": "alice",
            "messages": "2",
            "unread": "3",
        })
    );
}

#[tokio::test]
async fn a_channel_has_one_notification_on_every_platform() {
    let push = push_to("phone");
    let (message, channel) = (message_of(&push).await, push.channel_id.to_string());
    assert_eq!(message["android"]["notification"]["tag"], channel);
    assert_eq!(message["apns"]["headers"]["apns-collapse-id"], channel);
    assert_eq!(message["webpush"]["notification"]["tag"], channel);
    assert_eq!(message["webpush"]["headers"]["Topic"], channel.replace('-', ""));
}

#[tokio::test]
async fn a_push_is_urgent_and_ends_some_day_on_every_platform() {
    let (push, started_at) = (push_to("phone"), chrono::Utc::now().timestamp());
    let message = message_of(&push).await;
    let week = 7 * 86_400;
    assert_eq!(
        (&message["android"]["priority"], &message["android"]["ttl"]),
        (&json!("HIGH"), &json!("604800s"))
    );
    assert_eq!(message["apns"]["headers"]["apns-priority"], "10");
    let expiry: i64 = message["apns"]["headers"]["apns-expiration"].as_str().unwrap().parse().unwrap();
    assert!((started_at + week..=chrono::Utc::now().timestamp() + week).contains(&expiry), "{expiry}");
    let headers = &message["webpush"]["headers"];
    assert_eq!((&headers["TTL"], &headers["Urgency"]), (&json!("604800"), &json!("high")));
}

#[tokio::test]
async fn the_badge_is_the_users_unread_total() {
    assert_eq!(message_of(&push_to("phone")).await["apns"]["payload"]["aps"]["badge"], 3);
    let message = message_of(&Push { unread: -1, ..push_to("phone") }).await;
    assert_eq!(message["apns"]["payload"]["aps"]["badge"], 0, "never less than none");
}

#[tokio::test]
async fn the_longest_of_everything_stays_within_fcms_limit() {
    let user: UserId = "u".repeat(64).parse().unwrap();
    for content in ["👨‍👩‍👧‍👦".repeat(4_096), "\u{1}".repeat(4_096), "\"".repeat(4_096), "가".repeat(4_096)]
    {
        for target_length in [22, 200, 2_500] {
            let text = PushText::showing(Some(&content), &user, &content);
            let target = DeviceTarget::Registration("t".repeat(target_length));
            let push = Push {
                text,
                target,
                sender_id: user.clone(),
                messages: i64::MAX,
                unread: i64::MAX,
                seq: i64::MAX,
                ..push_to("")
            };
            // The fake refuses what is longer.
            message_of(&push).await;
        }
    }
}

#[tokio::test]
async fn a_target_that_leaves_no_room_is_rejected_without_a_request() {
    let fake = FakeFcm::start();
    let outcome = send_to(&sender(&fake), &"f".repeat(5_000)).await;
    assert_eq!(labels(&outcome), ("rejected", "payload_too_big"));
    assert_eq!(fake.token_requests(), 0);
}

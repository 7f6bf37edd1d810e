//! The JSON that FCM takes for one push, never above its size limit.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use shared_types::{ChannelId, EntryId, Seq, UserId};

use crate::push::Push;
use crate::store::DeviceTarget;

/// FCM's limit for a payload. It does not say what it counts; the whole request body is the safe reading.
pub(super) const MAX_PAYLOAD_BYTES: usize = 4_096;

/// The payload does not fit even without a body: the target or the names are too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooBig;

/// The request body for `push`, which FCM may keep for `ttl` while the device cannot be reached.
///
/// All three platforms' blocks are always there: FCM reads the one that the target's app needs, and the platform that
/// a device gave at registration decides nothing that it could get wrong.
pub(super) fn payload(push: &Push, ttl: Duration, now: SystemTime) -> Result<Vec<u8>, TooBig> {
    let whole = encode(push, push.text.body(), ttl, now);
    let Some(excess) = whole.len().checked_sub(MAX_PAYLOAD_BYTES).filter(|&excess| excess > 0) else {
        return Ok(whole);
    };
    let cut = encode(push, &push.text.body_shortened_by(excess), ttl, now);
    if cut.len() <= MAX_PAYLOAD_BYTES { Ok(cut) } else { Err(TooBig) }
}

/// As text: FCM takes no numbers in `data` and in headers.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct Request<'a> {
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    fid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    notification: Shown<'a>,
    data: Data<'a>,
    android: Android,
    apns: Apns,
    webpush: Webpush,
}

#[derive(Serialize)]
struct Shown<'a> {
    title: &'a str,
    body: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    channel_id: ChannelId,
    seq: Text<Seq>,
    message_id: EntryId,
    sender_id: &'a UserId,
    messages: Text<i64>,
    unread: Text<i64>,
}

/// The tag replaces the channel's notification on the screen. No collapse_key: FCM keeps only four different ones for a
/// device, so a fifth channel's push would throw away another's.
#[derive(Serialize)]
struct Android {
    priority: &'static str,
    ttl: Text<Seconds>,
    notification: Tag,
}

struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

#[derive(Serialize)]
struct Tag {
    tag: ChannelId,
    /// A browser replaces a notification of the same tag in silence, phones do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    renotify: Option<bool>,
}

#[derive(Serialize)]
struct Apns {
    headers: ApnsHeaders,
    payload: ApnsPayload,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ApnsHeaders {
    apns_collapse_id: ChannelId,
    apns_priority: &'static str,
    apns_expiration: Text<u64>,
}

#[derive(Serialize)]
struct ApnsPayload {
    aps: Aps,
}

#[derive(Serialize)]
struct Aps {
    badge: i64,
    sound: &'static str,
}

#[derive(Serialize)]
struct Webpush {
    headers: WebpushHeaders,
    notification: Tag,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WebpushHeaders {
    #[serde(rename = "TTL")]
    ttl: Text<u64>,
    urgency: &'static str,
    /// At most 32 characters: the channel's UUID without hyphens.
    topic: Text<uuid::fmt::Simple>,
}

fn encode(push: &Push, body: &str, ttl: Duration, now: SystemTime) -> Vec<u8> {
    let channel_id = push.channel_id;
    let ttl_seconds = ttl.as_secs();
    let expires_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(ttl).as_secs();
    let unread = push.unread.max(0);
    let (fid, token) = match &push.target {
        DeviceTarget::Installation(fid) => (Some(fid.as_str()), None),
        DeviceTarget::Registration(token) => (None, Some(token.as_str())),
    };
    let message = Message {
        fid,
        token,
        notification: Shown { title: push.text.title(), body },
        data: Data {
            channel_id,
            seq: Text(push.seq),
            message_id: push.message_id,
            sender_id: &push.sender_id,
            messages: Text(push.messages),
            unread: Text(unread),
        },
        android: Android {
            priority: "HIGH",
            ttl: Text(Seconds(ttl_seconds)),
            notification: Tag { tag: channel_id, renotify: None },
        },
        apns: Apns {
            headers: ApnsHeaders {
                apns_collapse_id: channel_id,
                apns_priority: "10",
                apns_expiration: Text(expires_at),
            },
            payload: ApnsPayload { aps: Aps { badge: unread, sound: "default" } },
        },
        webpush: Webpush {
            headers: WebpushHeaders {
                ttl: Text(ttl_seconds),
                urgency: "high",
                topic: Text(channel_id.0.simple()),
            },
            notification: Tag { tag: channel_id, renotify: Some(true) },
        },
    };
    // Strings and numbers under string keys: serialising cannot fail, and an empty body would be refused by FCM.
    serde_json::to_vec(&Request { message }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::push::PushText;
    use crate::store::DevicePlatform;

    fn push(target: DeviceTarget, content: &str) -> Push {
        let alice = "alice".parse().unwrap();
        Push {
            user_id: "bob".parse().unwrap(),
            device_id: "phone".parse().unwrap(),
            platform: DevicePlatform::Android,
            text: PushText::showing(Some(&"\u{1}".repeat(100)), &alice, content),
            target,
            channel_id: ChannelId::generate(),
            seq: i64::MAX,
            message_id: EntryId::generate(),
            sender_id: alice,
            messages: i64::MAX,
            unread: i64::MAX,
        }
    }

    fn body_of(payload: &[u8]) -> String {
        let json: Value = serde_json::from_slice(payload).unwrap();
        json["message"]["notification"]["body"].as_str().unwrap().to_owned()
    }

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    #[test]
    fn the_biggest_texts_fit_beside_a_target_of_ordinary_length() {
        let push = push(DeviceTarget::Registration("t".repeat(200)), &"\u{1}".repeat(200));
        let payload = payload(&push, WEEK, SystemTime::now()).unwrap();
        assert!(payload.len() <= MAX_PAYLOAD_BYTES);
        assert_eq!(body_of(&payload), push.text.body(), "nothing more was cut");
    }

    #[test]
    fn a_long_target_costs_some_of_the_body_and_not_the_push() {
        let push = push(DeviceTarget::Registration("t".repeat(2_700)), &"가".repeat(200));
        let payload = payload(&push, WEEK, SystemTime::now()).unwrap();
        assert!(payload.len() <= MAX_PAYLOAD_BYTES && payload.len() > MAX_PAYLOAD_BYTES - 16);
        let body = body_of(&payload);
        assert!(body.len() < push.text.body().len() && body.ends_with('…'), "{body}");
    }

    #[test]
    fn a_target_that_leaves_no_room_is_refused_here_and_not_by_fcm() {
        let push = push(DeviceTarget::Installation("f".repeat(4_096)), "hello");
        assert_eq!(payload(&push, WEEK, SystemTime::now()), Err(TooBig));
    }
}

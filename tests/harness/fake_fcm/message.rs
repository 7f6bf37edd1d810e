//! What FCM takes as a message: its fields, and nothing else.

use serde_json::Value;

/// FCM's limit, applied to the whole request body.
pub(super) const MAX_PAYLOAD_BYTES: usize = 4_096;

const TARGETS: &[&str] = &["fid", "token", "topic", "condition"];
const TTL_SECONDS: std::ops::RangeInclusive<u64> = 0..=28 * 86_400;

/// The field that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

/// The installation id or registration token.
pub(super) fn target(message: &Value) -> Option<&str> {
    message["fid"].as_str().or_else(|| message["token"].as_str())
}

/// Checks a request as FCM does, and returns its `message`.
pub(super) fn check(request: &Value) -> Result<&Value, Violation> {
    only(request, "", &["message", "validate_only"])?;
    let message = &request["message"];
    let fields = ["name", "data", "notification", "android", "webpush", "apns", "fcm_options"];
    only(message, "message", &[fields.as_slice(), TARGETS].concat())?;
    let targets = TARGETS.iter().filter(|name| !message[**name].is_null()).count();
    demand(targets == 1 && target(message).is_none_or(|target| !target.is_empty()), "message.target")?;
    for name in TARGETS {
        demand(message[*name].is_null() || message[*name].is_string(), &format!("message.{name}"))?;
    }
    strings(&message["data"], "message.data")?;
    only(&message["notification"], "message.notification", &["title", "body", "image"])?;
    strings(&message["notification"], "message.notification")?;
    android(&message["android"])?;
    apns(&message["apns"])?;
    webpush(&message["webpush"])?;
    Ok(message)
}

fn android(android: &Value) -> Result<(), Violation> {
    let fields =
        ["collapse_key", "priority", "ttl", "restricted_package_name", "data", "notification", "fcm_options"];
    only(android, "message.android", &fields)?;
    let priority = &android["priority"];
    demand(priority.is_null() || priority == "HIGH" || priority == "NORMAL", "message.android.priority")?;
    let ttl = &android["ttl"];
    let seconds = ttl.as_str().and_then(|ttl| ttl.strip_suffix('s')?.parse().ok());
    let is_duration = seconds.is_some_and(|seconds| TTL_SECONDS.contains(&seconds));
    demand(ttl.is_null() || is_duration, "message.android.ttl")?;
    let fields = ["title", "body", "icon", "color", "sound", "tag", "click_action", "channel_id", "image"];
    only(&android["notification"], "message.android.notification", &fields)?;
    strings(&android["notification"], "message.android.notification")
}

fn apns(apns: &Value) -> Result<(), Violation> {
    only(apns, "message.apns", &["headers", "payload", "fcm_options", "live_activity_token"])?;
    strings(&apns["headers"], "message.apns.headers")?;
    let collapse_id = apns["headers"]["apns-collapse-id"].as_str().unwrap_or_default();
    demand(collapse_id.len() <= 64, "message.apns.headers")?;
    let aps = &apns["payload"]["aps"];
    demand(apns.is_null() || aps.is_object(), "message.apns.payload.aps")?;
    let badge = &aps["badge"];
    demand(badge.is_null() || badge.as_u64().is_some(), "message.apns.payload.aps.badge")
}

fn webpush(webpush: &Value) -> Result<(), Violation> {
    only(webpush, "message.webpush", &["headers", "data", "notification", "fcm_options"])?;
    strings(&webpush["headers"], "message.webpush.headers")?;
    let topic = webpush["headers"]["Topic"].as_str().unwrap_or_default();
    let is_topic =
        topic.len() <= 32 && topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    demand(is_topic, "message.webpush.headers")
}

fn demand(is_right: bool, field: &str) -> Result<(), Violation> {
    if is_right { Ok(()) } else { Err(Violation(field.to_owned())) }
}

/// An object (or nothing at all) with these fields and no others.
fn only(value: &Value, at: &str, fields: &[&str]) -> Result<(), Violation> {
    let Some(object) = value.as_object() else { return demand(value.is_null() && !at.is_empty(), at) };
    match object.keys().find(|name| !fields.contains(&name.as_str())) {
        Some(unknown) => Err(Violation(format!("{at}.{unknown}").trim_start_matches('.').to_owned())),
        None => Ok(()),
    }
}

/// An object (or nothing at all) whose values are all strings.
fn strings(value: &Value, at: &str) -> Result<(), Violation> {
    let Some(object) = value.as_object() else { return demand(value.is_null(), at) };
    match object.iter().find(|(_, value)| !value.is_string()) {
        Some((name, _)) => Err(Violation(format!("{at}.{name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(message: Value) -> Option<String> {
        check(&json!({ "message": message })).err().map(|Violation(field)| field)
    }

    #[test]
    fn what_fcm_would_refuse_is_refused() {
        assert_eq!(fault(json!({"fid": "f", "data": {"seq": "1"}})), None);
        assert_eq!(fault(json!({"token": "t", "android": {"ttl": "60s", "priority": "HIGH"}})), None);
        #[rustfmt::skip]
        let table = [
            (json!({}), "message.target"),
            (json!({"fid": "f", "token": "t"}), "message.target"),
            (json!({"fid": ""}), "message.target"),
            (json!({"fid": "f", "data": {"seq": 1}}), "message.data.seq"),
            (json!({"fid": "f", "tag": "x"}), "message.tag"),
            (json!({"fid": "f", "notification": {"tag": "x"}}), "message.notification.tag"),
            (json!({"fid": "f", "android": {"ttl": "60"}}), "message.android.ttl"),
            (json!({"fid": "f", "android": {"priority": "high"}}), "message.android.priority"),
            (json!({"fid": "f", "apns": {"payload": {}}}), "message.apns.payload.aps"),
            (json!({"fid": "f", "apns": {"payload": {"aps": {"badge": "3"}}}}), "message.apns.payload.aps.badge"),
            (json!({"fid": "f", "webpush": {"headers": {"TTL": 60}}}), "message.webpush.headers.TTL"),
        ];
        for (message, field) in table {
            assert_eq!(fault(message).as_deref(), Some(field));
        }
        assert_eq!(check(&json!({"messages": []})), Err(Violation("messages".to_owned())));
        assert_eq!(check(&json!([])), Err(Violation(String::new())));
    }
}

//! FCM's answers and what they must mean.

use super::*;

fn answer(status: &str, fcm_code: Option<&str>) -> Vec<u8> {
    let details = fcm_code.map(|code| {
        serde_json::json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    });
    let error = serde_json::json!({"code": 0, "message": "the-secret-target", "status": status});
    let mut document = serde_json::json!({ "error": error });
    if let Some(detail) = details {
        document["error"]["details"] = serde_json::json!([detail]);
    }
    document.to_string().into_bytes()
}

type Read = (&'static str, &'static str, Option<u64>);

/// The outcome's label, the reason's code and the wait in seconds.
fn read(status: u16, wait: Option<u64>, body: &[u8]) -> Read {
    match verdict(status, wait.map(Duration::from_secs), body) {
        Verdict::AccessTokenRefused(reason) => ("token_refused", reason.code, None),
        Verdict::Done(outcome) => {
            let after = match &outcome {
                PushOutcome::RetryAfter { after, .. } => after.map(|after| after.as_secs()),
                _ => None,
            };
            (outcome.label(), outcome.reason().map_or("", |reason| reason.code), after)
        }
    }
}

#[test]
fn every_answer_has_its_outcome() {
    let html = b"<!DOCTYPE html><title>502</title>".as_slice();
    let own = |status, code| answer(status, Some(code));
    #[rustfmt::skip]
    let table: Vec<(u16, Option<u64>, Vec<u8>, Read)> = vec![
        (200, None, b"{\"name\":\"projects/p/messages/1\"}".to_vec(), ("sent", "", None)),
        (400, None, answer("INVALID_ARGUMENT", None), ("rejected", "payload_too_big", None)),
        (400, None, own("INVALID_ARGUMENT", "INVALID_ARGUMENT"), ("rejected", "invalid_argument", None)),
        (400, None, html.to_vec(), ("retry", "unreadable_answer", None)),
        (401, None, answer("UNAUTHENTICATED", None), ("token_refused", "access_token_refused", None)),
        (401, None, html.to_vec(), ("token_refused", "access_token_refused", None)),
        (401, None, own("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), ("our_fault", "third_party_auth_error", None)),
        (403, None, own("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), ("target_gone", "sender_id_mismatch", None)),
        (403, None, answer("PERMISSION_DENIED", None), ("our_fault", "permission_denied", None)),
        (404, None, own("NOT_FOUND", "UNREGISTERED"), ("target_gone", "unregistered", None)),
        (404, None, answer("NOT_FOUND", None), ("our_fault", "not_found", None)),
        (404, None, html.to_vec(), ("our_fault", "not_found", None)),
        (413, None, html.to_vec(), ("rejected", "payload_too_big", None)),
        (429, Some(7), own("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), ("retry", "quota_exceeded", Some(7))),
        (429, None, own("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), ("retry", "quota_exceeded", Some(60))),
        (500, None, own("INTERNAL", "INTERNAL"), ("retry", "server_error", None)),
        (502, None, html.to_vec(), ("retry", "server_error", None)),
        (503, Some(9), own("UNAVAILABLE", "UNAVAILABLE"), ("retry", "unavailable", Some(9))),
        (503, None, own("UNAVAILABLE", "UNAVAILABLE"), ("retry", "unavailable", None)),
        (302, None, html.to_vec(), ("our_fault", "unexpected_status", None)),
    ];
    for (status, wait, body, expected) in table {
        assert_eq!(read(status, wait, &body), expected, "{status} {}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn a_code_counts_only_in_fcms_own_detail() {
    let foreign = serde_json::json!({"error": {"status": "NOT_FOUND", "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "errorCode": "UNREGISTERED"}
    ]}});
    assert_eq!(read(404, None, foreign.to_string().as_bytes()), ("our_fault", "not_found", None));
}

#[test]
fn a_reason_names_fields_but_repeats_no_value() {
    let body = serde_json::json!({"error": {"status": "INVALID_ARGUMENT", "message": "the-secret-target", "details": [
        {"@type": "type.googleapis.com/google.rpc.BadRequest",
         "fieldViolations": [{"field": "message.token", "description": "the-secret-target"}]}
    ]}});
    let Verdict::Done(outcome) = verdict(400, None, body.to_string().as_bytes()) else { panic!("not a 401") };
    let reason = outcome.reason().unwrap().to_string();
    assert_eq!(reason, "invalid_argument: 400 INVALID_ARGUMENT message.token");
}

#[test]
fn retry_after_is_seconds_or_a_date_and_never_absurd() {
    let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
    let seconds = |header| retry_after(header, now).map(|wait| wait.as_secs());
    assert_eq!(seconds("120"), Some(120));
    assert_eq!(seconds("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
    assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
    assert_eq!(seconds("18446744073709551615"), Some(3_600));
    assert_eq!(seconds("soon"), None);
    assert_eq!(seconds("-1"), None);
}

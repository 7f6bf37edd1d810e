//! What comes of a push, for every answer that FCM gives.

use std::time::Duration;

use harness::fake_fcm::{Behaviour, FakeFcm};

use super::*;

/// One push to a target that behaves so.
async fn outcome_of(behaviour: Behaviour) -> (FakeFcm, PushOutcome) {
    let fake = FakeFcm::start();
    fake.respond_to("phone", behaviour);
    let outcome = send_to(&sender(&fake), "phone").await;
    (fake, outcome)
}

async fn labels_of(behaviour: Behaviour) -> (&'static str, &'static str) {
    let (fake, outcome) = outcome_of(behaviour).await;
    assert_eq!(fake.seen().attempts.len(), 1, "one push is one request");
    labels(&outcome)
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_push_that_fcm_takes_is_sent() {
    let (fake, outcome) = outcome_of(Behaviour::Sent).await;
    assert_eq!(outcome, PushOutcome::Sent);
    assert_eq!(fake.accepted_by("phone").len(), 1);
}

#[tokio::test]
async fn a_target_that_is_unregistered_is_gone() {
    assert_eq!(labels_of(Behaviour::Unregistered).await, ("target_gone", "unregistered"));
}

#[tokio::test]
async fn a_target_of_another_sender_is_gone() {
    assert_eq!(labels_of(Behaviour::SenderIdMismatch).await, ("target_gone", "sender_id_mismatch"));
}

#[tokio::test]
async fn an_invalid_argument_rejects_the_push_and_keeps_the_target() {
    assert_eq!(labels_of(Behaviour::InvalidArgument).await, ("rejected", "invalid_argument"));
}

#[tokio::test]
async fn a_400_without_details_is_a_payload_too_big_and_keeps_the_target() {
    assert_eq!(labels_of(Behaviour::PayloadTooBig).await, ("rejected", "payload_too_big"));
}

#[tokio::test]
async fn a_full_quota_is_waited_for_as_long_as_fcm_says() {
    let (_, outcome) = outcome_of(Behaviour::QuotaExceeded { retry_after: Some("17".to_owned()) }).await;
    assert_eq!(labels(&outcome), ("retry", "quota_exceeded"));
    assert_eq!(wait_asked_for(&outcome), seconds(17));
}

#[tokio::test]
async fn a_full_quota_without_retry_after_is_waited_for_a_minute() {
    let (_, outcome) = outcome_of(Behaviour::QuotaExceeded { retry_after: None }).await;
    assert_eq!(wait_asked_for(&outcome), seconds(60));
}

#[tokio::test]
async fn a_retry_after_may_be_a_date() {
    let past = Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned());
    let (_, outcome) = outcome_of(Behaviour::Unavailable { retry_after: past }).await;
    assert_eq!(wait_asked_for(&outcome), seconds(0));
}

#[tokio::test]
async fn an_unavailable_fcm_is_tried_again_at_its_time_or_at_ours() {
    let (_, outcome) = outcome_of(Behaviour::Unavailable { retry_after: Some("5".to_owned()) }).await;
    assert_eq!((labels(&outcome), wait_asked_for(&outcome)), (("retry", "unavailable"), seconds(5)));
    let (_, outcome) = outcome_of(Behaviour::Unavailable { retry_after: None }).await;
    assert_eq!((labels(&outcome), wait_asked_for(&outcome)), (("retry", "unavailable"), None));
}

#[tokio::test]
async fn an_internal_error_of_fcm_is_tried_again() {
    assert_eq!(labels_of(Behaviour::Internal).await, ("retry", "server_error"));
}

#[tokio::test]
async fn a_502_with_an_html_page_is_tried_again() {
    assert_eq!(labels_of(Behaviour::BadGatewayHtml).await, ("retry", "server_error"));
}

#[tokio::test]
async fn our_apns_or_web_push_key_failing_is_our_fault_and_renews_no_token() {
    let (fake, outcome) = outcome_of(Behaviour::ThirdPartyAuthError).await;
    assert_eq!(labels(&outcome), ("our_fault", "third_party_auth_error"));
    assert_eq!((fake.token_requests(), fake.seen().attempts.len()), (1, 1));
}

#[tokio::test]
async fn a_missing_permission_is_our_fault() {
    assert_eq!(labels_of(Behaviour::PermissionDenied).await, ("our_fault", "permission_denied"));
}

#[tokio::test]
async fn a_404_that_is_not_about_the_target_is_our_fault() {
    assert_eq!(labels_of(Behaviour::NotFound).await, ("our_fault", "not_found"));
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_tried_again() {
    let fake = FakeFcm::start();
    fake.respond_to("phone", Behaviour::Hold);
    let outcome = send_to(&impatient_sender(&fake), "phone").await;
    assert_eq!((labels(&outcome), wait_asked_for(&outcome)), (("retry", "timeout"), None));
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let (_, outcome) = outcome_of(Behaviour::Slow(Duration::from_millis(50))).await;
    assert_eq!(outcome, PushOutcome::Sent);
}

#[tokio::test]
async fn a_dropped_connection_is_tried_again_and_the_next_push_gets_a_new_one() {
    let fake = FakeFcm::start();
    fake.respond_to("unlucky", Behaviour::DropConnection);
    let sender = sender(&fake);
    let outcome = send_to(&sender, "unlucky").await;
    assert_eq!((labels(&outcome), wait_asked_for(&outcome)), (("retry", "connection_lost"), None));
    assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
    assert_eq!(fake.seen().attempts, ["unlucky", "phone"], "the sender itself repeats nothing");
}

#[tokio::test]
async fn an_fcm_that_is_not_there_is_tried_again() {
    let fake = FakeFcm::start();
    let gone = harness::ports::free_port();
    let options =
        FcmOptions { endpoint: format!("http://127.0.0.1:{gone}").parse().unwrap(), ..options(&fake) };
    let outcome = send_to(&FcmSender::new(&options).unwrap(), "phone").await;
    assert_eq!((labels(&outcome), wait_asked_for(&outcome)), (("retry", "connect_failed"), None));
}

#[tokio::test]
async fn one_bad_push_does_not_hold_up_the_others() {
    let fake = FakeFcm::start();
    fake.respond_to("phone-1", Behaviour::Unregistered);
    fake.respond_to("phone-2", Behaviour::Internal);
    let outcomes = send_many(&sender(&fake), 5).await;
    let kinds: Vec<_> = outcomes.iter().map(PushOutcome::label).collect();
    assert_eq!(kinds, ["sent", "target_gone", "retry", "sent", "sent"]);
}

#[tokio::test]
async fn pushes_share_one_http2_connection() {
    let fake = FakeFcm::start();
    let outcomes = send_many(&sender(&fake), 20).await;
    assert!(outcomes.iter().all(|outcome| *outcome == PushOutcome::Sent));
    let seen = fake.seen();
    assert_eq!((seen.http2_pushes, seen.http1_pushes), (20, 0));
    assert_eq!(seen.connections, 2, "one for the access token, one for all pushes");
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_allowed() {
    let fake = FakeFcm::start();
    (0..10).for_each(|n| fake.respond_to(&format!("phone-{n}"), Behaviour::Hold));
    let bounded = FcmSender::new(&FcmOptions { max_in_flight: 3, ..options(&fake) }).unwrap();
    let watch = async {
        fake.wait_until(|seen| seen.in_flight == 3).await;
        // Another sender's push goes all the way after those: had a fourth been let through, it would be there by then.
        assert_eq!(send_to(&sender(&fake), "probe").await, PushOutcome::Sent);
        let in_flight = fake.seen().in_flight;
        (0..10).for_each(|n| fake.respond_to(&format!("phone-{n}"), Behaviour::Sent));
        fake.release();
        in_flight
    };
    let (outcomes, in_flight) = tokio::join!(send_many(&bounded, 10), watch);
    assert_eq!(in_flight, 3);
    assert!(outcomes.iter().all(|outcome| *outcome == PushOutcome::Sent), "{outcomes:?}");
}

#[tokio::test]
async fn a_push_that_finds_no_place_in_flight_in_time_is_tried_again() {
    let fake = FakeFcm::start();
    fake.respond_to("phone-0", Behaviour::Hold);
    let options =
        FcmOptions { max_in_flight: 1, request_timeout: Duration::from_millis(300), ..options(&fake) };
    let outcomes = send_many(&FcmSender::new(&options).unwrap(), 2).await;
    assert_eq!(labels(&outcomes[0]), ("retry", "timeout"));
    assert_eq!(outcomes[1].label(), "retry");
}

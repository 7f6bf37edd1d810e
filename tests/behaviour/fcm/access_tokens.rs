//! Access tokens: how many are asked for, when, and what comes of it when there is none.

use std::fs;
use std::time::Duration;

use harness::fake_fcm::{Behaviour, FakeFcm, TokenBehaviour};
use harness::keys;
use serde_json::{Value, json};

use super::*;

/// The outcome of one push while the token endpoint behaves so.
async fn outcome_with(behaviour: TokenBehaviour) -> PushOutcome {
    let fake = FakeFcm::start();
    fake.respond_to_token_requests(behaviour);
    let outcome = send_to(&sender(&fake), "phone").await;
    assert!(fake.seen().attempts.is_empty(), "nothing is sent without a token");
    outcome
}

/// Changes one field of the fake's service-account file.
fn rewrite(fake: &FakeFcm, field: &str, value: Value) {
    let mut file: Value = serde_json::from_slice(&fs::read(fake.service_account_file()).unwrap()).unwrap();
    file[field] = value;
    fs::write(fake.service_account_file(), file.to_string()).unwrap();
}

#[tokio::test]
async fn however_many_wait_one_token_is_asked_for() {
    let fake = FakeFcm::start();
    fake.respond_to_token_requests(TokenBehaviour::Hold);
    let sender = sender(&fake);
    let release = async {
        fake.wait_until(|seen| seen.token_requests == 1).await;
        fake.release();
    };
    let sends = tokio::time::timeout(harness::wait::LIMIT, send_many(&sender, 50));
    let (outcomes, ()) = tokio::join!(sends, release);
    let outcomes = outcomes.expect("nobody asks for a second token, which would be held");
    assert!(outcomes.iter().all(|outcome| *outcome == PushOutcome::Sent));
    assert_eq!(fake.token_requests(), 1);
}

#[tokio::test]
async fn a_token_serves_for_many_pushes() {
    let fake = FakeFcm::start();
    let sender = sender(&fake);
    for _ in 0..10 {
        assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
    }
    assert_eq!(fake.token_requests(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let fake = FakeFcm::start();
    // Due after nine seconds; the fake refuses it after ten.
    fake.grant_tokens_for(Duration::from_secs(10));
    let sender = sender(&fake);
    harness::wait::eventually("a second token", async || {
        assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
        fake.token_requests() >= 2
    })
    .await;
    assert_eq!(fake.seen().refused_access_tokens, 0);
}

#[tokio::test]
async fn a_renewal_that_fails_stops_no_push_while_the_old_token_is_good() {
    let fake = FakeFcm::start();
    fake.grant_tokens_for(Duration::from_secs(10));
    let sender = sender(&fake);
    assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
    fake.respond_to_token_requests(TokenBehaviour::Unavailable);
    harness::wait::eventually("a renewal that fails", async || {
        assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
        fake.token_requests() >= 2
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_and_the_push_goes_through() {
    let fake = FakeFcm::start();
    let sender = sender(&fake);
    assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
    fake.revoke_access_tokens();
    assert_eq!(send_to(&sender, "phone").await, PushOutcome::Sent);
    assert_eq!((fake.token_requests(), fake.seen().refused_access_tokens), (2, 1));
}

#[tokio::test]
async fn a_revoked_token_costs_one_new_one_however_many_pushes_meet_it() {
    let fake = FakeFcm::start();
    let sender = sender(&fake);
    send_to(&sender, "phone").await;
    fake.revoke_access_tokens();
    let outcomes = send_many(&sender, 30).await;
    assert!(outcomes.iter().all(|outcome| *outcome == PushOutcome::Sent), "{outcomes:?}");
    assert_eq!(fake.token_requests(), 2);
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_is_our_fault() {
    let fake = FakeFcm::start();
    fake.respond_to("phone", Behaviour::Unauthorized);
    let sender = sender(&fake);
    assert_eq!(labels(&send_to(&sender, "phone").await), ("our_fault", "access_token_refused"));
    assert_eq!((fake.token_requests(), fake.seen().attempts.len()), (2, 2));
    harness::wait::eventually("pushes go on when tokens are taken again", async || {
        send_to(&sender, "tablet").await == PushOutcome::Sent
    })
    .await;
}

#[tokio::test]
async fn a_service_account_that_google_refuses_is_our_fault() {
    let outcome = outcome_with(TokenBehaviour::InvalidGrant).await;
    assert_eq!(labels(&outcome), ("our_fault", "service_account_refused"));
    assert_eq!(outcome.reason().unwrap().detail, "400 invalid_grant");
}

#[tokio::test]
async fn an_assertion_signed_with_another_key_is_refused() {
    let fake = FakeFcm::start();
    rewrite(&fake, "private_key", json!(keys::rsa_private_key_pem()));
    assert_eq!(labels(&send_to(&sender(&fake), "phone").await), ("our_fault", "service_account_refused"));
}

#[tokio::test]
async fn a_service_account_of_another_project_may_not_send_here() {
    let fake = FakeFcm::start();
    rewrite(&fake, "project_id", json!("another"));
    assert_eq!(labels(&send_to(&sender(&fake), "phone").await), ("our_fault", "permission_denied"));
}

#[tokio::test]
async fn a_token_endpoint_that_is_unwell_is_tried_again() {
    for behaviour in [TokenBehaviour::Unavailable, TokenBehaviour::DropConnection, TokenBehaviour::Garbage] {
        let outcome = outcome_with(behaviour).await;
        assert_eq!(labels(&outcome), ("retry", "token_endpoint_unavailable"), "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_token_endpoint_that_does_not_answer_in_time_is_tried_again() {
    let fake = FakeFcm::start();
    fake.respond_to_token_requests(TokenBehaviour::Hold);
    let outcome = send_to(&impatient_sender(&fake), "phone").await;
    assert_eq!(labels(&outcome), ("retry", "token_endpoint_unavailable"));
}

#[tokio::test]
async fn everyone_who_waited_for_a_token_shares_its_failure() {
    let fake = FakeFcm::start();
    fake.respond_to_token_requests(TokenBehaviour::Unavailable);
    let sender = sender(&fake);
    let outcomes = send_many(&sender, 50).await;
    assert!(outcomes.iter().all(|outcome| outcome.label() == "retry"));
    assert_eq!(fake.token_requests(), 1);
    fake.respond_to_token_requests(TokenBehaviour::Grant);
    harness::wait::eventually("the failure is forgotten", async || {
        send_to(&sender, "phone").await == PushOutcome::Sent
    })
    .await;
}

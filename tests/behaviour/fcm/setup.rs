//! What a sender is not built from, and how it says so.

use std::fs;
use std::path::Path;

use harness::fake_fcm::FakeFcm;
use serde_json::{Value, json};

use super::*;

fn refusal(options: &FcmOptions) -> String {
    FcmSender::new(options).unwrap_err().to_string()
}

fn file_of(fake: &FakeFcm) -> Value {
    serde_json::from_slice(&fs::read(fake.service_account_file()).unwrap()).unwrap()
}

fn refusal_of_file(fake: &FakeFcm, text: &str) -> String {
    fs::write(fake.service_account_file(), text).unwrap();
    let refusal = refusal(&options(fake));
    assert!(refusal.contains(&fake.service_account_file().display().to_string()), "{refusal}");
    refusal
}

#[tokio::test]
async fn an_endpoint_over_plain_http_is_refused_except_on_loopback() {
    let fake = FakeFcm::start();
    for endpoint in ["http://fcm.googleapis.com", "http://10.0.0.7:9099"] {
        let refusal = refusal(&FcmOptions { endpoint: endpoint.parse().unwrap(), ..options(&fake) });
        assert!(refusal.contains("FCM endpoint") && refusal.contains("plain http"), "{refusal}");
    }
}

#[tokio::test]
async fn a_token_uri_over_plain_http_is_refused_except_on_loopback() {
    let fake = FakeFcm::start();
    let mut file = file_of(&fake);
    file["token_uri"] = json!("http://oauth2.example/token");
    fs::write(fake.service_account_file(), file.to_string()).unwrap();
    let refusal = refusal(&options(&fake));
    assert!(refusal.contains("token_uri") && refusal.contains("plain http"), "{refusal}");
}

#[tokio::test]
async fn a_service_account_without_a_field_is_refused_by_the_fields_name() {
    let fake = FakeFcm::start();
    let file = file_of(&fake);
    for field in ["project_id", "private_key_id", "private_key", "client_email", "token_uri"] {
        let mut without = file.clone();
        without.as_object_mut().unwrap().remove(field);
        let refusal = refusal_of_file(&fake, &without.to_string());
        assert!(refusal.contains(&format!("`{field}` is missing")), "{refusal}");
    }
}

#[tokio::test]
async fn a_service_account_that_is_none_is_refused_without_repeating_it() {
    let fake = FakeFcm::start();
    let mut no_key = file_of(&fake);
    no_key["private_key"] = json!("s3cret");
    let mut broken_key = file_of(&fake);
    broken_key["private_key"] = json!("-----BEGIN PRIVATE KEY-----\ns3cret00\n-----END PRIVATE KEY-----\n");
    for text in ["\"s3cret\"", "s3cret", "", "[\"s3cret\"]", &no_key.to_string(), &broken_key.to_string()] {
        let refusal = refusal_of_file(&fake, text);
        assert!(!refusal.contains("s3cret"), "{refusal}");
    }
}

#[tokio::test]
async fn a_service_account_that_is_not_there_is_refused_by_its_path() {
    let fake = FakeFcm::start();
    let service_account_path = Path::new("/nowhere/at-all.json").to_owned();
    let refusal = refusal(&FcmOptions { service_account_path, ..options(&fake) });
    assert!(refusal.contains("/nowhere/at-all.json"), "{refusal}");
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let fake = FakeFcm::start();
    for broken in [
        FcmOptions { max_in_flight: 0, ..options(&fake) },
        FcmOptions { request_timeout: Duration::ZERO, ..options(&fake) },
        FcmOptions { ttl: Duration::from_secs(29 * 86_400), ..options(&fake) },
        FcmOptions { endpoint: "data:text/plain,x".parse().unwrap(), ..options(&fake) },
    ] {
        refusal(&broken);
    }
}

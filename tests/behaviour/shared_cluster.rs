//! One cluster for all tests that need nothing but REST: each brings users and channels of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use harness::tokens::service_token;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use reqwest::Method as Verb;

/// Two api-servers on one database, and no gateway.
pub struct SharedCluster {
    pub api: Api,
    pub other_api: Api,
    pub cluster: &'static Cluster,
}

pub async fn shared_cluster() -> SharedCluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(|| Cluster::builder().gateways(0).start()).await;
    // A client's connections end with the runtime of the test that made them, so they cannot be shared.
    let client = client();
    let api = |index| Api::at(cluster.api(index).base_url(), client.clone());
    SharedCluster { api: api(0), other_api: api(1), cluster }
}

/// An HTTP client of the test's own.
pub fn client() -> Client {
    let client = Client::builder().timeout(Duration::from_secs(30)).no_proxy();
    client.redirect(reqwest::redirect::Policy::none()).build().expect("a client without special wishes")
}

/// A user whom no other test knows.
pub fn user(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Several of them, whose ids sort as they are given.
pub fn users<const N: usize>(name: &str) -> [String; N] {
    let family = user(name);
    std::array::from_fn(|index| format!("{family}-{index:03}"))
}

/// A call of the host's back end.
pub async fn as_service(api: &Api, method: Method, path: &str, body: &Value) -> Answer {
    Answer::of(api.request(method, path).bearer_auth(service_token()).json(body)).await
}

/// Everyone in the channel with their role, sorted by user id.
pub async fn roles(api: &Api, viewer: &str, channel_id: &str) -> Vec<(String, String)> {
    let page = api.get(&format!("/channels/{channel_id}/members?limit=1000"), viewer).await.expect(200);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let members = page["members"].as_array().expect("a page has members");
    members.iter().map(|member| (text(&member["userId"]), text(&member["role"]))).collect()
}

/// All entries of a channel that fit on a page.
pub async fn log(api: &Api, viewer: &str, channel_id: &str) -> Vec<Value> {
    let path = format!("/channels/{channel_id}/messages?afterSeq=0&limit=200");
    entries(&api.get(&path, viewer).await.expect(200))
}

/// The entries of a page.
pub fn entries(page: &Value) -> Vec<Value> {
    page["entries"].as_array().unwrap_or_else(|| panic!("no page: {page}")).clone()
}

/// The `seq` of each entry of a page.
pub fn seqs(page: &Value) -> Vec<i64> {
    entries(page).iter().map(|entry| entry["seq"].as_i64().expect("an entry has a seq")).collect()
}

/// The one field that a 422 names.
pub fn wrong_field(problem: &Value) -> String {
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("names no field: {problem}"));
    assert_eq!(errors.len(), 1, "{problem}");
    assert_ne!(errors[0]["detail"], json!(""), "{problem}");
    errors[0]["field"].as_str().expect("a field's name").to_owned()
}

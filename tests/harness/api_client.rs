//! An api-server as its callers see it.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::tokens::token_for;

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `null` where there is none.
    pub body: Value,
}

impl Answer {
    /// The body of an answer with this status; panics with all of it when it is another.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:#?}");
        self.body
    }

    /// Checks that this is the problem document with this status and `code`; returns it.
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let is_problem =
            self.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
        assert!(is_problem && self.status == status && self.body["code"] == code, "not {code}: {self:#?}");
        self.body
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Waits for the answer to any request.
    pub async fn of(request: RequestBuilder) -> Self {
        let answer = request.send().await.unwrap_or_else(|e| panic!("no answer: {e:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap_or_else(|e| panic!("{status} with a broken body: {e:?}"));
        let body = if text.is_empty() {
            Value::Null
        } else {
            // Not everything is JSON: metrics, for instance.
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Self { status, headers, body }
    }
}

/// The public API of one api-server.
#[derive(Clone)]
pub struct Api {
    base_url: String,
    client: Client,
}

impl Api {
    pub fn at(base_url: impl Into<String>, client: Client) -> Self {
        Self { base_url: base_url.into(), client }
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Any request, without authorization, for what the other methods are too polite for.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base_url))
    }

    pub async fn get(&self, path: &str, user: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).bearer_auth(token_for(user))).await
    }

    pub async fn post(&self, path: &str, user: &str, body: Value) -> Answer {
        self.write(Method::POST, path, user, &body).await
    }

    pub async fn put(&self, path: &str, user: &str, body: Value) -> Answer {
        self.write(Method::PUT, path, user, &body).await
    }

    pub async fn patch(&self, path: &str, user: &str, body: Value) -> Answer {
        self.write(Method::PATCH, path, user, &body).await
    }

    pub async fn delete(&self, path: &str, user: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path).bearer_auth(token_for(user))).await
    }

    async fn write(&self, method: Method, path: &str, user: &str, body: &Value) -> Answer {
        Answer::of(self.request(method, path).bearer_auth(token_for(user)).json(body)).await
    }

    /// Sends a message and returns the entry that was stored.
    pub async fn send(&self, user: &str, channel_id: &str, content: &str) -> Value {
        self.try_send(user, channel_id, content).await.expect(201)
    }

    /// Sends a message, which may be refused.
    pub async fn try_send(&self, user: &str, channel_id: &str, content: &str) -> Answer {
        self.post("/send/message", user, json!({"channelId": channel_id, "content": content})).await
    }

    /// Sends a message with an id of the sender's.
    pub async fn send_as(
        &self,
        user: &str,
        channel_id: &str,
        content: &str,
        client_message_id: &str,
    ) -> Answer {
        let body = json!({"channelId": channel_id, "content": content, "clientMessageId": client_message_id});
        self.post("/send/message", user, body).await
    }

    /// Creates a group of its owner and these members; returns its id.
    pub async fn create_group(&self, owner: &str, members: &[&str], name: &str) -> String {
        let body = json!({"kind": "group", "memberIds": members, "name": name});
        id_of(&self.post("/channels", owner, body).await.expect(201))
    }

    /// The channel of these two; returns its id.
    pub async fn create_direct(&self, user: &str, other: &str) -> String {
        let answer = self.post("/channels", user, json!({"kind": "direct", "memberIds": [other]})).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:#?}");
        id_of(&answer.body)
    }

    /// Makes an installation id a push target of the user's.
    pub async fn register_device(&self, user: &str, device_id: &str, installation_id: &str) {
        let body = json!({"platform": "android", "installationId": installation_id});
        let answer = self.put(&format!("/devices/{device_id}"), user, body).await;
        assert!((200..300).contains(&answer.status), "{answer:#?}");
    }
}

fn id_of(channel: &Value) -> String {
    channel["id"].as_str().unwrap_or_else(|| panic!("a channel without an id: {channel}")).to_owned()
}

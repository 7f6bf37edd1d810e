//! What a message may hold, and that it comes back as it was sent.

use harness::api_client::Answer;
use harness::tokens::token_for;
use serde_json::json;

use crate::shared_cluster::{Verb, entries, shared_cluster, users, wrong_field};

#[tokio::test]
async fn metadata_is_kept_byte_for_byte() {
    let api = shared_cluster().await.api;
    let [alice, bob] = users("u");
    let id = api.create_direct(&alice, &bob).await;
    let text_of = async |path: &str| {
        let answer = api.request(Verb::GET, path).bearer_auth(token_for(&bob)).send().await.unwrap();
        answer.text().await.unwrap()
    };
    for metadata in [
        r#"{ "b" : 1.0,"a":[1e2 , -0,0.10],  "b":"twice" }"#,
        r#"{"nul":"\u0000","emoji":"\ud83d\ude00 😀","slash":"\/"}"#,
        "{\"newline\":\n\t12345678901234567890123456789}",
        "{}",
    ] {
        let body = format!(r#"{{"channelId":"{id}","content":"x","metadata":{metadata}}}"#);
        let request = api.request(Verb::POST, "/send/message").bearer_auth(token_for(&alice)).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let stored = format!("\"metadata\":{metadata}");
        let answered = answer.text().await.unwrap();
        assert!(answered.contains(&stored), "{answered}");
        assert!(text_of(&format!("/channels/{id}/messages?limit=1")).await.contains(&stored));
        assert!(text_of(&format!("/channels/{id}")).await.contains(&stored));
    }
    let of_length = |length: usize| {
        let filler = "x".repeat(length - r#"{"k":""}"#.len());
        json!({"channelId": id, "content": "x", "metadata": {"k": filler}})
    };
    api.post("/send/message", &alice, of_length(4_096)).await.expect(201);
    for wrong in [of_length(4_097)["metadata"].clone(), json!([1]), json!("x"), json!(7)] {
        let body = json!({"channelId": id, "content": "x", "metadata": wrong});
        let refused = api.post("/send/message", &alice, body).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "metadata");
    }
    let none = json!({"channelId": id, "content": "x", "metadata": null});
    assert!(api.post("/send/message", &alice, none).await.expect(201).get("metadata").is_none());
}

#[tokio::test]
async fn content_holds_every_character_but_u_0000_and_4096_of_them() {
    let api = shared_cluster().await.api;
    let [alice, bob] = users("u");
    let id = api.create_direct(&alice, &bob).await;
    for content in [
        " ",
        "\n\t\r",
        "\u{1}\u{7f}\u{feff}",
        "👩‍👩‍👧‍👦 🇰🇷 나루",
        "\u{202e}مرحبا שלום\u{202c}",
        "\"\\/\u{2028}'; DROP TABLE entries; --",
        "e\u{301}\u{327}",
        "\u{10ffff}\u{fffe}\u{ffff}",
        "<script>&amp;%00%s{0}",
        &"𝄞".repeat(4_096),
    ] {
        let entry = api.send(&alice, &id, content).await;
        assert_eq!(entry["content"], content);
        let page = api.get(&format!("/channels/{id}/messages?limit=1"), &bob).await.expect(200);
        assert_eq!(entries(&page), [entry]);
    }
    for content in [String::new(), "a\0b".into(), "𝄞".repeat(4_097), "x".repeat(4_097)] {
        let refused = api.try_send(&alice, &id, &content).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "content");
    }
    // Half of a surrogate pair is JSON and no character.
    let body = format!(r#"{{"channelId":"{id}","content":"\ud83d"}}"#);
    let request = api.request(Verb::POST, "/send/message").bearer_auth(token_for(&alice)).body(body);
    let refused = Answer::of(request).await.expect_problem(422, "invalid_request");
    assert_eq!(wrong_field(&refused), "content");
}

//! Reading: history, the read cursor, sync, and what a message may hold.

use harness::wait::eventually;
use serde_json::{Value, json};

use crate::shared_cluster::{entries, log, seqs, shared_cluster, user, users, wrong_field};

#[tokio::test]
async fn history_is_ascending_and_says_exactly_whether_there_is_more() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let id = api.create_group(&alice, &[], "g").await;
    for index in 1..=10 {
        api.send(&alice, &id, &index.to_string()).await;
    }
    let read = async |query: &str| {
        let page = api.get(&format!("/channels/{id}/messages{query}"), &alice).await.expect(200);
        assert_eq!(page.as_object().unwrap().len(), 2, "{page}");
        (seqs(&page), page["hasMore"].as_bool().unwrap())
    };
    let from_to = |from: i64, to: i64| (from..=to).collect::<Vec<_>>();
    for (query, expected) in [
        ("", (from_to(1, 10), false)),
        ("?limit=10", (from_to(1, 10), false)),
        ("?limit=9", (from_to(2, 10), true)),
        ("?limit=1", (vec![10], true)),
        ("?beforeSeq=11", (from_to(1, 10), false)),
        ("?beforeSeq=5&limit=4", (from_to(1, 4), false)),
        ("?beforeSeq=5&limit=3", (from_to(2, 4), true)),
        ("?beforeSeq=1", (vec![], false)),
        ("?beforeSeq=9223372036854775807&limit=2", (vec![9, 10], true)),
        ("?afterSeq=0&limit=200", (from_to(1, 10), false)),
        ("?afterSeq=5&limit=5", (from_to(6, 10), false)),
        ("?afterSeq=5&limit=4", (from_to(6, 9), true)),
        ("?afterSeq=10", (vec![], false)),
        ("?afterSeq=9223372036854775807", (vec![], false)),
        ("?aroundSeq=5&limit=4", (from_to(3, 6), true)),
        ("?aroundSeq=5&limit=5", (from_to(3, 7), true)),
        ("?aroundSeq=5&limit=1", (vec![5], true)),
        ("?aroundSeq=5", (from_to(1, 10), false)),
        ("?aroundSeq=1&limit=20", (from_to(1, 10), false)),
        ("?aroundSeq=10&limit=20", (from_to(1, 10), false)),
        ("?aroundSeq=10&limit=4", (from_to(8, 10), true)),
        ("?aroundSeq=9223372036854775807&limit=4", (vec![9, 10], true)),
    ] {
        assert_eq!(read(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_page_holds_50_entries_unless_asked_and_200_at_most() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let id = api.create_group(&alice, &[], "g").await;
    let all: Vec<i64> = (1..=201).collect();
    let sends = all.iter().map(|_| api.send(&alice, &id, "x"));
    futures_util::future::join_all(sends).await;
    let read = async |query: &str| api.get(&format!("/channels/{id}/messages{query}"), &alice).await;
    assert_eq!(seqs(&read("").await.expect(200)), all[151..]);
    assert_eq!(seqs(&read("?limit=200").await.expect(200)), all[1..]);
    for (query, field) in [
        ("?limit=201", "limit"),
        ("?limit=0", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=ten", "limit"),
        ("?limit=", "limit"),
        ("?limit=9223372036854775808", "limit"),
        ("?beforeSeq=0", "beforeSeq"),
        ("?afterSeq=-1", "afterSeq"),
        ("?aroundSeq=0", "aroundSeq"),
        ("?afterSeq=1&beforeSeq=3", "beforeSeq"),
        ("?afterSeq=1&aroundSeq=3", "beforeSeq"),
    ] {
        assert_eq!(wrong_field(&read(query).await.expect_problem(422, "invalid_request")), field, "{query}");
    }
}

#[tokio::test]
async fn an_empty_channel_reads_as_empty() {
    let api = shared_cluster().await.api;
    let [alice, bob] = users("u");
    let id = api.create_direct(&alice, &bob).await;
    for query in ["", "?afterSeq=0", "?beforeSeq=5", "?aroundSeq=3"] {
        let page = api.get(&format!("/channels/{id}/messages{query}"), &bob).await.expect(200);
        assert_eq!(page, json!({"entries": [], "hasMore": false}));
    }
    let read = api.put(&format!("/channels/{id}/read"), &bob, json!({"seq": 0})).await.expect(200);
    assert_eq!(read, json!({"readSeq": 0}));
    let synced = api.post("/sync", &bob, json!({"channels": {&id: 0}})).await.expect(200);
    assert_eq!(synced["channels"][&id], json!({"entries": [], "hasMore": false}));
}

#[tokio::test]
async fn a_read_cursor_never_moves_back_and_never_beyond_the_last_entry() {
    let shared = shared_cluster().await;
    let api = &shared.api;
    let [alice, bob] = users("u");
    let id = api.create_group(&alice, &[&bob], "g").await;
    let path = format!("/channels/{id}/read");
    for _ in 0..20 {
        api.send(&alice, &id, "x").await;
    }
    for (asked, stands) in [(0, 0), (3, 3), (2, 3), (0, 3), (5, 5), (5, 5)] {
        let read = api.put(&path, &bob, json!({"seq": asked})).await.expect(200);
        assert_eq!(read, json!({"readSeq": stands}));
    }
    for beyond in [21, i64::MAX, -1] {
        let refused =
            api.put(&path, &bob, json!({"seq": beyond})).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "seq");
    }
    api.put(&path, &user("stranger"), json!({"seq": 1})).await.expect_problem(404, "channel_not_found");
}

#[tokio::test]
async fn a_read_cursor_does_not_move_back_when_another_device_moves_it_while_the_call_waits() {
    let shared = shared_cluster().await;
    let api = &shared.api;
    let [alice, bob] = users("u");
    let id = api.create_group(&alice, &[&bob], "g").await;
    let path = format!("/channels/{id}/read");
    for _ in 0..20 {
        api.send(&alice, &id, "x").await;
    }
    let database = shared.cluster.database().await;
    let mut ahead = database.begin().await.unwrap();
    let moved = "UPDATE participants SET read_seq = 19 WHERE user_id = $1";
    sqlx::query(moved).bind(&bob).execute(&mut *ahead).await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let (behind, ()) = tokio::join!(api.put(&path, &bob, json!({"seq": 7})), async {
        eventually("the call waits for the row", async || {
            sqlx::query_scalar::<_, i64>(waits).fetch_one(&database).await.unwrap() > 0
        })
        .await;
        ahead.commit().await.unwrap();
    });
    assert!(behind.expect(200)["readSeq"].as_i64() >= Some(7));
    assert_eq!(api.get(&format!("/channels/{id}"), &bob).await.expect(200)["readSeq"], 19);
}

#[tokio::test]
async fn sync_brings_what_came_after_each_cursor_of_my_channels_and_names_the_new_ones() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let group = async || api.create_group(&alice, &[&bob], "g").await;
    let (one, two, new) = (group().await, group().await, group().await);
    let foreign = api.create_group(&carol, &[], "not bob's").await;
    for index in 1..=5 {
        for id in [&one, &two, &foreign] {
            let sender = if id == &foreign { &carol } else { &alice };
            api.send(sender, id, &index.to_string()).await;
        }
    }
    let unknown = uuid::Uuid::now_v7().to_string();
    let sync = async |body: Value| api.post("/sync", &bob, body).await;
    let cursors = json!({&one: 2, &two: 5, &foreign: 0, &unknown: 0});
    let synced = sync(json!({"channels": cursors})).await.expect(200);
    assert_eq!(synced["channels"].as_object().unwrap().len(), 2, "{synced}");
    assert_eq!(
        (seqs(&synced["channels"][&one]), &synced["channels"][&one]["hasMore"]),
        (vec![3, 4, 5], &json!(false))
    );
    assert_eq!(entries(&synced["channels"][&one]), log(&api, &bob, &one).await[2..]);
    assert_eq!(synced["channels"][&two], json!({"entries": [], "hasMore": false}));
    assert_eq!(synced["newChannels"], json!([new]));

    for (limit, expected, has_more) in
        [(1, vec![1], true), (4, vec![1, 2, 3, 4], true), (5, vec![1, 2, 3, 4, 5], false)]
    {
        let synced = sync(json!({"channels": {&one: 0}, "limit": limit})).await.expect(200);
        assert_eq!(
            (seqs(&synced["channels"][&one]), &synced["channels"][&one]["hasMore"]),
            (expected, &json!(has_more))
        );
        assert_eq!(synced["newChannels"].as_array().unwrap().len(), 2);
    }
    assert_eq!(sync(json!({"channels": {}})).await.expect(200)["channels"], json!({}));
    assert_eq!(
        sync(json!({"channels": {&one: i64::MAX}})).await.expect(200)["channels"][&one]["entries"],
        json!([])
    );
    for (body, field) in [
        (json!({"channels": {}, "limit": 0}), "limit".to_owned()),
        (json!({"channels": {}, "limit": 201}), "limit".to_owned()),
        (json!({"channels": {&one: -1}}), format!("channels.{one}")),
    ] {
        assert_eq!(wrong_field(&sync(body).await.expect_problem(422, "invalid_request")), field);
    }
}

#[tokio::test]
async fn many_channels_share_the_entries_of_one_answer_and_each_makes_progress() {
    let shared = shared_cluster().await;
    let alice = user("alice");
    // By SQL, as 1,000 channels by REST would take their time.
    let tables = shared.cluster.tables().await;
    let (now, new_id) = (tables.moment_in(0), tables.new_id());
    let numbers = |last: u32| {
        format!(
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n) AS number"
        )
    };
    for statement in [
        format!(
            "INSERT INTO channels (id, kind, name, last_seq, created_at, updated_at)
             SELECT {new_id}, 'group', '{alice}', 3, {now}, {now} FROM {}",
            numbers(1_000)
        ),
        format!(
            "INSERT INTO participants (channel_id, user_id, role, joined_at, joined_seq, read_seq)
             SELECT id, '{alice}', 'owner', {now}, 0, 0 FROM channels WHERE name = '{alice}'"
        ),
        format!(
            "INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content)
             SELECT channels.id, i, {new_id}, 'message', '{alice}', {now}, 'text', 'x'
             FROM channels, {} WHERE name = '{alice}'",
            numbers(3)
        ),
    ] {
        tables.change(&statement).await;
    }
    let known = shared.api.post("/sync", &alice, json!({"channels": {}})).await.expect(200);
    let channels: Vec<&str> =
        known["newChannels"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(channels.len(), 1_000);
    let mut cursors: serde_json::Map<String, Value> =
        channels.iter().map(|id| ((*id).to_owned(), json!(0))).collect();
    for (count, expected, has_more) in [(1_000, vec![1, 2], true), (1_000, vec![3], false)] {
        let synced = shared.api.post("/sync", &alice, json!({"channels": cursors})).await.expect(200);
        assert_eq!(synced["channels"].as_object().unwrap().len(), count);
        for (id, page) in synced["channels"].as_object().unwrap() {
            assert_eq!((seqs(page), &page["hasMore"]), (expected.clone(), &json!(has_more)));
            cursors[id] = json!(expected.last());
        }
    }
    cursors.insert(uuid::Uuid::now_v7().to_string(), json!(0));
    let refused = shared.api.post("/sync", &alice, json!({"channels": cursors})).await;
    assert_eq!(wrong_field(&refused.expect_problem(422, "invalid_request")), "channels");
}

//! Channels: created, listed by latest activity, renamed.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::shared_cluster::{Verb, as_service, log, roles, shared_cluster, user, users, wrong_field};

fn pairs(expected: &[(&String, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(user, role)| ((*user).clone(), (*role).to_owned())).collect()
}

fn ids(page: &Value) -> Vec<String> {
    let channels = page["channels"].as_array().expect("a page has channels");
    channels.iter().map(|channel| channel["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn who_creates_a_group_owns_it_and_everyone_is_in_it_once() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let body = json!({"kind": "group", "memberIds": [bob, alice, carol, bob, carol], "name": "lunch"});
    let channel = api.post("/channels", &alice, body).await.expect(201);
    let id = channel["id"].as_str().unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(channel["updatedAt"].as_str().unwrap().len(), "2023-11-14T22:13:20.123Z".len());
    let expected = json!({
        "id": id, "kind": "group", "name": "lunch", "lastSeq": 0, "readSeq": 0, "unreadCount": 0,
        "memberCount": 3, "updatedAt": channel["updatedAt"]
    });
    assert_eq!(channel, expected);
    let expected = pairs(&[(&alice, "owner"), (&bob, "member"), (&carol, "member")]);
    assert_eq!(roles(&api, &bob, id).await, expected);
    assert_eq!(api.get(&format!("/channels/{id}"), &bob).await.expect(200), channel);
    assert_eq!(log(&api, &alice, id).await, Vec::<Value>::new(), "creating writes no entry");
}

#[tokio::test]
async fn a_group_takes_1000_member_ids_beside_its_creator_and_no_more() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let members: Vec<String> = (0..1_001).map(|index| format!("{alice}-{index}")).collect();
    let body = json!({"kind": "group", "memberIds": members[..1_000]});
    let channel = api.post("/channels", &alice, body).await.expect(201);
    assert_eq!((channel["memberCount"].as_i64(), &channel["name"]), (Some(1_001), &Value::Null));
    let refused = api.post("/channels", &alice, json!({"kind": "group", "memberIds": members})).await;
    assert_eq!(wrong_field(&refused.expect_problem(422, "invalid_request")), "memberIds");
}

#[tokio::test]
async fn a_groups_name_is_1_to_128_characters_of_text() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let channel_id = api.create_group(&alice, &[], "before").await;
    for good in ["x", "점심 🍜 مرحبا", &"🚀".repeat(128)] {
        let body = json!({"kind": "group", "memberIds": [], "name": good});
        assert_eq!(api.post("/channels", &alice, body).await.expect(201)["name"], good);
        let renamed = api.patch(&format!("/channels/{channel_id}"), &alice, json!({"name": good})).await;
        assert_eq!(renamed.expect(200)["name"], good);
    }
    for bad in ["", "   ", "a\nb", "a\0b", &"🚀".repeat(129)] {
        let body = json!({"kind": "group", "memberIds": [], "name": bad});
        let refused = api.post("/channels", &alice, body).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "name");
        let refused = api.patch(&format!("/channels/{channel_id}"), &alice, json!({"name": bad})).await;
        assert_eq!(wrong_field(&refused.expect_problem(422, "invalid_request")), "name");
    }
}

#[tokio::test]
async fn a_direct_channel_exists_once_per_pair_whoever_asks() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let open = async |from: &String, to: &[&String]| {
        api.post("/channels", from, json!({"kind": "direct", "memberIds": to})).await
    };
    let first = open(&alice, &[&bob]).await.expect(201);
    assert_eq!((&first["kind"], &first["name"]), (&json!("direct"), &Value::Null));
    assert_eq!(first["memberCount"], 2);
    assert_eq!(open(&alice, &[&bob]).await.expect(200)["id"], first["id"]);
    assert_eq!(open(&bob, &[&alice]).await.expect(200)["id"], first["id"]);
    assert_eq!(open(&bob, &[&bob, &alice]).await.expect(200)["id"], first["id"], "the caller may be named");
    assert_ne!(open(&alice, &[&carol]).await.expect(201)["id"], first["id"]);
    for nobody_else in [vec![], vec![&alice], vec![&bob, &carol]] {
        let refused = open(&alice, &nobody_else).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "memberIds");
    }
    let named = json!({"kind": "direct", "memberIds": [bob], "name": "us"});
    let refused = api.post("/channels", &alice, named).await.expect_problem(422, "invalid_request");
    assert_eq!(wrong_field(&refused), "name");
}

#[tokio::test]
async fn two_who_open_a_direct_channel_at_the_same_moment_through_two_servers_get_the_same_one() {
    let shared = shared_cluster().await;
    let mut all = HashSet::new();
    for _ in 0..40 {
        let [alice, bob] = users("u");
        let (one, other) = tokio::join!(
            shared.api.post("/channels", &alice, json!({"kind": "direct", "memberIds": [bob]})),
            shared.other_api.post("/channels", &bob, json!({"kind": "direct", "memberIds": [alice]})),
        );
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "{one:#?} {other:#?}");
        assert_eq!((&one.body["id"], &one.body["memberCount"]), (&other.body["id"], &json!(2)));
        assert_eq!(other.body["memberCount"], 2);
        all.insert(one.body["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(all.len(), 40);
    let twice = "SELECT count(*) - count(DISTINCT direct_pair) FROM channels WHERE kind = 'direct'";
    assert_eq!(shared.cluster.tables().await.count(twice).await, 0);
}

#[tokio::test]
async fn my_channels_are_listed_by_latest_activity_and_others_are_not() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let first = api.create_group(&alice, &[&bob], "first").await;
    let second = api.create_group(&bob, &[&alice], "second").await;
    let third = api.create_direct(&alice, &carol).await;
    api.create_group(&bob, &[&carol], "not mine").await;
    let mine = async || ids(&api.get("/channels", &alice).await.expect(200));
    let is_newer = async |newer: &String, older: &String| {
        let at = async |id: &String| api.get(&format!("/channels/{id}"), &alice).await.expect(200);
        at(newer).await["updatedAt"].as_str() > at(older).await["updatedAt"].as_str()
    };
    assert_eq!(
        mine().await.into_iter().collect::<HashSet<_>>(),
        HashSet::from_iter([&first, &second, &third].map(String::clone))
    );
    // Activity is told apart by milliseconds; the next one comes when the clock has moved on.
    for active in [&first, &third, &second] {
        loop {
            api.send(&alice, active, "now").await;
            let before: Vec<_> = mine().await.into_iter().filter(|id| id != active).collect();
            if is_newer(active, &before[0]).await {
                break;
            }
        }
        assert_eq!(&mine().await[0], active);
    }
    assert_eq!(mine().await, [second, third, first]);
}

#[tokio::test]
async fn paging_through_many_channels_loses_none_and_shows_none_twice() {
    let shared = shared_cluster().await;
    let api = &shared.api;
    let alice = user("alice");
    let mut created = HashSet::new();
    for index in 0..45 {
        created.insert(api.create_group(&alice, &[], &format!("channel {index}")).await);
    }
    // All with the same moment: only the id tells them apart.
    let tables = shared.cluster.tables().await;
    let (moment, mine) = (tables.moment_in(0), "SELECT channel_id FROM participants WHERE user_id =");
    let same = format!("UPDATE channels SET updated_at = {moment} WHERE id IN ({mine} '{alice}')");
    tables.change(&same).await;
    for limit in [1, 7, 44, 45, 200] {
        let (mut seen, mut path) = (Vec::new(), format!("/channels?limit={limit}"));
        loop {
            let page = api.get(&path, &alice).await.expect(200);
            let found = ids(&page);
            assert!((1..=limit).contains(&found.len()), "{} of {limit}", found.len());
            seen.extend(found);
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            path = format!("/channels?limit={limit}&cursor={cursor}");
        }
        assert_eq!(seen.len(), 45, "limit {limit}");
        assert_eq!(seen.into_iter().collect::<HashSet<_>>(), created, "limit {limit}");
    }
}

#[tokio::test]
async fn unread_are_the_messages_of_others_after_the_read_cursor_and_nothing_else() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let id = api.create_group(&alice, &[&bob], "lunch").await;
    let seen_by = async |user: &String| {
        let listed = api.get("/channels", user).await.expect(200)["channels"][0].clone();
        assert_eq!(listed, api.get(&format!("/channels/{id}"), user).await.expect(200));
        listed
    };
    api.send(&alice, &id, "1").await;
    api.post(&format!("/channels/{id}/members"), &alice, json!({"userIds": [carol]})).await.expect(200);
    api.patch(&format!("/channels/{id}"), &alice, json!({"name": "dinner"})).await.expect(200);
    api.send(&bob, &id, "4").await;
    let last = api.send(&alice, &id, "5").await;
    for (user, read_seq, unread) in [(&alice, 0, 1), (&bob, 0, 2), (&carol, 2, 2)] {
        let seen = seen_by(user).await;
        assert_eq!((seen["readSeq"].as_i64(), seen["unreadCount"].as_i64()), (Some(read_seq), Some(unread)));
        assert_eq!((&seen["lastMessage"], &seen["lastSeq"]), (&last, &json!(5)));
        assert_eq!((&seen["memberCount"], &seen["name"]), (&json!(3), &json!("dinner")));
    }
    for (seq, unread) in [(1, 1), (3, 1), (4, 1), (5, 0)] {
        api.put(&format!("/channels/{id}/read"), &bob, json!({"seq": seq})).await.expect(200);
        assert_eq!(seen_by(&bob).await["unreadCount"], unread, "after {seq}");
    }
    // An entry that is no message is the newest now, and is neither the last message nor unread.
    api.delete(&format!("/channels/{id}/members/{carol}"), &carol).await.expect(204);
    let seen = seen_by(&bob).await;
    assert_eq!((&seen["lastMessage"], &seen["lastSeq"], &seen["unreadCount"]), (&last, &json!(6), &json!(0)));
    assert_eq!(seen["memberCount"], 2);
}

#[tokio::test]
async fn owners_and_admins_and_services_rename_a_group_and_nobody_renames_a_direct_channel() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol, mallory] = users("u");
    let id = api.create_group(&alice, &[&bob, &carol], "a").await;
    let path = format!("/channels/{id}");
    api.patch(&format!("{path}/members/{bob}"), &alice, json!({"role": "admin"})).await.expect(200);
    assert_eq!(api.patch(&path, &alice, json!({"name": "b"})).await.expect(200)["name"], "b");
    assert_eq!(api.patch(&path, &bob, json!({"name": "c"})).await.expect(200)["name"], "c");
    api.patch(&path, &carol, json!({"name": "d"})).await.expect_problem(403, "forbidden");
    api.patch(&path, &mallory, json!({"name": "d"})).await.expect_problem(404, "channel_not_found");
    let by_service = as_service(&api, Verb::PATCH, &path, &json!({"name": "e"})).await.expect(200);
    assert_eq!((&by_service["name"], &by_service["lastSeq"]), (&json!("e"), &json!(3)));
    let unchanged = api.patch(&path, &alice, json!({"name": "e"})).await.expect(200);
    assert_eq!(unchanged["lastSeq"], 3, "the name that it has already is no news");

    let direct = api.create_direct(&alice, &bob).await;
    let path = format!("/channels/{direct}");
    api.patch(&path, &alice, json!({"name": "us"})).await.expect_problem(409, "conflict");
    let refused = as_service(&api, Verb::PATCH, &path, &json!({"name": "us"})).await;
    refused.expect_problem(409, "conflict");
}

#[tokio::test]
async fn a_service_creates_channels_for_others_and_a_user_does_not() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let body = json!({"kind": "group", "memberIds": [bob], "senderId": alice});
    let created = as_service(&api, Verb::POST, "/channels", &body).await.expect(201);
    let id = created["id"].as_str().unwrap();
    assert_eq!(roles(&api, &alice, id).await, pairs(&[(&alice, "owner"), (&bob, "member")]));

    let body = json!({"kind": "group", "memberIds": [carol, bob]});
    let created = as_service(&api, Verb::POST, "/channels", &body).await.expect(201);
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        roles(&api, &bob, id).await,
        pairs(&[(&bob, "member"), (&carol, "owner")]),
        "the first one owns"
    );

    let body = json!({"kind": "direct", "memberIds": [alice, bob]});
    let created = as_service(&api, Verb::POST, "/channels", &body).await.expect(201);
    assert_eq!(api.create_direct(&bob, &alice).await, created["id"].as_str().unwrap());

    let nobody = as_service(&api, Verb::POST, "/channels", &json!({"kind": "group", "memberIds": []})).await;
    assert_eq!(wrong_field(&nobody.expect_problem(422, "invalid_request")), "memberIds");
    let body = json!({"kind": "group", "memberIds": [bob], "senderId": carol});
    api.post("/channels", &alice, body).await.expect_problem(403, "forbidden");
}

//! Members: who may do what to whom, and what the log says of it.

use harness::api_client::Api;
use serde_json::{Value, json};

use crate::shared_cluster::{Verb, as_service, log, roles, shared_cluster, user, users, wrong_field};

/// A group with an owner, two admins, and two members, in the order of their standing.
struct Group {
    api: Api,
    id: String,
    people: [String; 5],
}

impl Group {
    async fn new() -> Self {
        let api = shared_cluster().await.api;
        let people: [String; 5] = users("u");
        let [owner, admin, other_admin, member, other_member] = &people;
        let id = api.create_group(owner, &[], "g").await;
        let group = Self { api, id, people: people.clone() };
        // One after the other, so that one has been in for longer than the next.
        for user in [other_member, other_admin, admin, member] {
            group.add(owner, &[user]).await.expect(200);
        }
        for user in [other_admin, admin] {
            group.set_role(owner, user, "admin").await.expect(200);
        }
        group
    }

    async fn add(&self, caller: &str, users: &[&String]) -> harness::api_client::Answer {
        self.api.post(&self.path(""), caller, json!({"userIds": users})).await
    }

    async fn remove(&self, caller: &str, user: &str) -> harness::api_client::Answer {
        self.api.delete(&self.path(&format!("/{user}")), caller).await
    }

    async fn set_role(&self, caller: &str, user: &str, role: &str) -> harness::api_client::Answer {
        self.api.patch(&self.path(&format!("/{user}")), caller, json!({"role": role})).await
    }

    async fn role_of(&self, viewer: &str, user: &str) -> Option<String> {
        let roles = roles(&self.api, viewer, &self.id).await;
        roles.into_iter().find(|(id, _)| id == user).map(|(_, role)| role)
    }

    fn path(&self, rest: &str) -> String {
        format!("/channels/{}/members{rest}", self.id)
    }
}

#[tokio::test]
async fn owners_and_admins_add_members_and_members_do_not() {
    let group = Group::new().await;
    let [owner, admin, _, member, _] = &group.people;
    let [new, newer, newest] = users("n");
    assert_eq!(group.add(owner, &[&new]).await.expect(200), json!({"added": [new]}));
    // Who is in already is not added again, nor named twice.
    let added = group.add(admin, &[&newer, &new, owner, &newer]).await.expect(200);
    assert_eq!(added, json!({"added": [newer]}));
    let last_seq = log(&group.api, owner, &group.id).await.len();
    assert_eq!(group.add(admin, &[&new, owner]).await.expect(200), json!({"added": []}));
    assert_eq!(log(&group.api, owner, &group.id).await.len(), last_seq, "nobody came, so there is no entry");
    assert_eq!(group.role_of(owner, owner).await.as_deref(), Some("owner"), "adding changes no role");
    group.add(member, &[&newest]).await.expect_problem(403, "forbidden");
    group.add(&newest, &[&newest]).await.expect_problem(404, "channel_not_found");
    let many: Vec<String> = (0..1_001).map(|index| format!("{new}-{index}")).collect();
    for wrong in [&[][..], &many.iter().collect::<Vec<_>>()] {
        let refused = group.add(owner, wrong).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "userIds");
    }
    let added = group.add(owner, &many[..1_000].iter().collect::<Vec<_>>()).await.expect(200);
    assert_eq!(added["added"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn an_owner_removes_anyone_and_an_admin_members_and_a_member_nobody() {
    let group = Group::new().await;
    let [owner, admin, other_admin, member, other_member] = &group.people;
    group.remove(member, other_member).await.expect_problem(403, "forbidden");
    group.remove(admin, owner).await.expect_problem(403, "forbidden");
    group.remove(admin, other_admin).await.expect_problem(403, "forbidden");
    group.remove(&user("stranger"), member).await.expect_problem(404, "channel_not_found");
    group.remove(owner, &user("stranger")).await.expect_problem(404, "not_found");
    assert_eq!(group.remove(admin, other_member).await.expect(204), Value::Null);
    group.remove(admin, other_member).await.expect_problem(404, "not_found");
    group.remove(owner, other_admin).await.expect(204);
    group.remove(member, member).await.expect(204);
    let left = roles(&group.api, owner, &group.id).await;
    assert_eq!(left, [(owner.clone(), "owner".to_owned()), (admin.clone(), "admin".to_owned())]);
    group.api.get(&format!("/channels/{}", group.id), member).await.expect_problem(404, "channel_not_found");
}

#[tokio::test]
async fn only_owners_set_roles_and_the_last_owner_stays_one() {
    let group = Group::new().await;
    let [owner, admin, _, member, _] = &group.people;
    group.set_role(admin, member, "admin").await.expect_problem(403, "forbidden");
    group.set_role(member, member, "owner").await.expect_problem(403, "forbidden");
    group.set_role(owner, &user("stranger"), "admin").await.expect_problem(404, "not_found");
    group.set_role(owner, owner, "member").await.expect_problem(409, "conflict");
    assert_eq!(
        group.role_of(owner, owner).await.as_deref(),
        Some("owner"),
        "a refused change changes nothing"
    );
    let refused = group.set_role(owner, member, "king").await.expect_problem(422, "invalid_request");
    assert_eq!(wrong_field(&refused), "role");
    let seqs = log(&group.api, owner, &group.id).await.len();
    let promoted = group.set_role(owner, member, "owner").await.expect(200);
    assert_eq!((&promoted["userId"], &promoted["role"]), (&json!(member), &json!("owner")));
    assert!(promoted["joinedAt"].is_string() && promoted["readSeq"].is_i64(), "{promoted}");
    group.set_role(member, owner, "member").await.expect(200);
    assert_eq!(group.role_of(owner, owner).await.as_deref(), Some("member"));
    assert_eq!(log(&group.api, owner, &group.id).await.len(), seqs, "a role is no entry");
}

#[tokio::test]
async fn when_the_last_owner_leaves_the_longest_standing_admin_takes_over_then_the_longest_standing_member() {
    let group = Group::new().await;
    let [owner, admin, other_admin, member, other_member] = &group.people;
    group.remove(owner, owner).await.expect(204);
    assert_eq!(group.role_of(member, other_admin).await.as_deref(), Some("owner"));
    assert_eq!(group.role_of(member, admin).await.as_deref(), Some("admin"));
    group.set_role(other_admin, admin, "member").await.expect(200);
    // Not the last owner: nobody is promoted.
    group.set_role(other_admin, other_member, "owner").await.expect(200);
    group.remove(other_admin, other_admin).await.expect(204);
    assert_eq!(group.role_of(member, admin).await.as_deref(), Some("member"));
    // Of two members, the one who has been in for longer, which is not the first by name.
    let late = user("a-late-one");
    group.add(other_member, &[&late]).await.expect(200);
    group.remove(other_member, other_member).await.expect(204);
    assert_eq!(group.role_of(member, admin).await.as_deref(), Some("owner"));
    for (leaver, next) in [(admin, member), (member, &late)] {
        group.remove(leaver, leaver).await.expect(204);
        assert_eq!(group.role_of(next, next).await.as_deref(), Some("owner"));
    }
    // The last one turns off the light; a back end that lets someone in again lets in an owner.
    group.remove(&late, &late).await.expect(204);
    as_service(&group.api, Verb::POST, &group.path(""), &json!({"userIds": [member]})).await.expect(200);
    assert_eq!(group.role_of(member, member).await.as_deref(), Some("owner"));
}

#[tokio::test]
async fn two_owners_who_leave_at_the_same_moment_leave_an_owner_behind() {
    let shared = shared_cluster().await;
    for _ in 0..10 {
        let [one, other, member] = users("u");
        let id = shared.api.create_group(&one, &[&other, &member], "g").await;
        let path = |user: &String| format!("/channels/{id}/members/{user}");
        shared.api.patch(&path(&other), &one, json!({"role": "owner"})).await.expect(200);
        let (paths, callers) = ((path(&one), path(&other)), (&one, &other));
        let (first, second) = tokio::join!(
            shared.api.delete(&paths.0, callers.0),
            shared.other_api.delete(&paths.1, callers.1)
        );
        assert_eq!((first.status, second.status), (204, 204));
        assert_eq!(roles(&shared.api, &member, &id).await, [(member.clone(), "owner".to_owned())]);
    }
}

#[tokio::test]
async fn a_direct_channels_participants_and_their_roles_do_not_change() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol] = users("u");
    let id = api.create_direct(&alice, &bob).await;
    let members = format!("/channels/{id}/members");
    api.post(&members, &alice, json!({"userIds": [carol]})).await.expect_problem(409, "conflict");
    api.patch(&format!("{members}/{bob}"), &alice, json!({"role": "owner"}))
        .await
        .expect_problem(409, "conflict");
    for user in [&alice, &bob] {
        api.delete(&format!("{members}/{user}"), &alice).await.expect_problem(409, "conflict");
    }
    let refused = as_service(&api, Verb::POST, &members, &json!({"userIds": [carol]})).await;
    refused.expect_problem(409, "conflict");
    assert_eq!(roles(&api, &alice, &id).await.len(), 2);
    assert_eq!(log(&api, &bob, &id).await, Vec::<Value>::new());
}

#[tokio::test]
async fn members_are_paged_by_user_id_without_loss_or_double() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    // Capitals sort before small letters: the order is that of bytes, whatever the database's locale.
    let mut people: Vec<String> =
        (0..120).map(|index| format!("{}{alice}-{index}", ["Z", "a", "_"][index % 3])).collect();
    let id = api.create_group(&alice, &people.iter().map(String::as_str).collect::<Vec<_>>(), "g").await;
    people.push(alice.clone());
    people.sort();
    for (limit, pages) in
        [("?limit=1", 121), ("?limit=40", 4), ("?limit=121", 1), ("?limit=1000", 1), ("?", 2)]
    {
        let (mut seen, mut query, mut count) = (Vec::new(), limit.to_owned(), 0);
        loop {
            let page = api.get(&format!("/channels/{id}/members{query}"), &alice).await.expect(200);
            let members = page["members"].as_array().unwrap();
            seen.extend(members.iter().map(|member| member["userId"].as_str().unwrap().to_owned()));
            count += 1;
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            query = format!("{limit}&cursor={cursor}").replace("?&", "?");
        }
        assert_eq!((count, &seen), (pages, &people), "{limit}");
    }
}

#[tokio::test]
async fn comings_and_goings_and_renamings_are_entries_in_the_log() {
    let api = shared_cluster().await.api;
    let [alice, bob, carol, dave] = users("u");
    let id = api.create_group(&alice, &[], "a").await;
    let members = format!("/channels/{id}/members");
    api.send(&alice, &id, "1").await;
    api.post(&members, &alice, json!({"userIds": [carol, bob]})).await.expect(200);
    api.patch(&format!("/channels/{id}"), &alice, json!({"name": "b"})).await.expect(200);
    api.delete(&format!("{members}/{bob}"), &alice).await.expect(204);
    api.delete(&format!("{members}/{carol}"), &carol).await.expect(204);
    as_service(&api, Verb::POST, &members, &json!({"userIds": [dave]})).await.expect(200);
    as_service(&api, Verb::DELETE, &format!("{members}/{dave}"), &json!({})).await.expect(204);
    let log = log(&api, &alice, &id).await;
    let expected = [
        (&alice, json!({"type": "memberJoined", "userIds": [carol, bob]})),
        (&alice, json!({"type": "channelRenamed", "name": "b"})),
        (&alice, json!({"type": "memberLeft", "userIds": [bob]})),
        (&carol, json!({"type": "memberLeft", "userIds": [carol]})),
        (&"back-end".to_owned(), json!({"type": "memberJoined", "userIds": [dave]})),
        (&"back-end".to_owned(), json!({"type": "memberLeft", "userIds": [dave]})),
    ];
    assert_eq!(log.len(), expected.len() + 1);
    for ((entry, (sender, mut fields)), seq) in log[1..].iter().zip(expected).zip(2..) {
        for name in ["id", "createdAt"] {
            assert!(entry[name].is_string(), "{entry}");
            fields[name] = entry[name].clone();
        }
        fields["channelId"] = json!(id);
        fields["seq"] = json!(seq);
        fields["senderId"] = json!(sender);
        assert_eq!(entry, &fields);
    }
}

#[tokio::test]
async fn a_service_manages_any_group_and_every_character_of_a_user_id_fits_into_a_path() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let odd = format!("{}:|@._-", user("Odd"));
    let id = api.create_group(&alice, &[], "g").await;
    let members = format!("/channels/{id}/members");
    as_service(&api, Verb::POST, &members, &json!({"userIds": [odd]})).await.expect(200);
    let path = format!("{members}/{}", odd.replace('|', "%7C").replace('@', "%40"));
    let set = as_service(&api, Verb::PATCH, &path, &json!({"role": "owner"})).await.expect(200);
    assert_eq!((&set["userId"], &set["role"]), (&json!(odd), &json!("owner")));
    as_service(&api, Verb::DELETE, &format!("{members}/{alice}"), &json!({})).await.expect(204);
    assert_eq!(roles(&api, &odd, &id).await, [(odd.clone(), "owner".to_owned())]);
    let shown = as_service(&api, Verb::GET, &format!("/channels/{id}"), &json!({})).await.expect(200);
    assert_eq!(
        (&shown["memberCount"], &shown["readSeq"], &shown["unreadCount"]),
        (&json!(1), &json!(0), &json!(0))
    );
    api.delete(&path, &odd).await.expect(204);
}

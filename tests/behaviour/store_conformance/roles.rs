//! Who may add, remove and appoint whom, and who owns what its owner has left.

use api_server::store::{Change, Member, Role};
use shared_types::ChannelId;

use super::{AnyStore, a_later_moment, changed, conformance, group, log, user, users};

conformance!(
    who_may_add_members,
    who_may_remove_whom,
    who_may_give_roles,
    the_last_owner_stays_one_until_another_is_named,
    the_longest_standing_admin_follows_the_last_owner,
    the_longest_standing_member_follows_where_there_is_no_admin,
    a_group_that_everyone_left_gets_an_owner_when_a_service_adds_someone,
    the_last_one_may_leave,
);

/// alice and amy own it, bob and ben are admins, carol and chris are members.
async fn ranked(store: &AnyStore) -> ChannelId {
    let members = [
        ("alice", Role::Owner),
        ("amy", Role::Owner),
        ("bob", Role::Admin),
        ("ben", Role::Admin),
        ("carol", Role::Member),
        ("chris", Role::Member),
    ];
    store.create_group(None, &members.map(|(name, role)| (user(name), role))).await.unwrap()
}

async fn roles(store: &AnyStore, channel: ChannelId) -> Vec<(String, Role)> {
    let members = store.members(channel, None, 99).await.unwrap();
    members.into_iter().map(|member| (member.user_id.to_string(), member.role)).collect()
}

async fn remove(store: &AnyStore, channel: ChannelId, caller: &str, removed: &str) -> String {
    changed(&store.remove_member(channel, &user(caller), false, &user(removed)).await.unwrap())
}

fn appointed(outcome: Result<Member, Change>) -> String {
    match outcome {
        Ok(member) => format!("{} is {:?}", member.user_id, member.role),
        Err(change) => changed(&change),
    }
}

async fn who_may_add_members(store: AnyStore) {
    let direct = store.open_direct(&user("alice"), &user("bob")).await.unwrap().0;
    let nowhere = ChannelId::generate();
    let channel = ranked(&store).await;
    for (channel, caller, may_manage, expected) in [
        (channel, "carol", false, "forbidden"),
        (channel, "mallory", false, "not found"),
        (nowhere, "service", true, "not found"),
        (direct, "alice", false, "refused"),
        (direct, "service", true, "refused"),
        (channel, "alice", false, "1 joined [\"alice-1\"] by alice v2"),
        (channel, "bob", false, "2 joined [\"bob-2\"] by bob v3"),
        (channel, "service", true, "3 joined [\"service-3\"] by service v4"),
    ] {
        let new = format!("{caller}-{}", expected.split(' ').next().unwrap());
        let change = store.add_members(channel, &user(caller), may_manage, &users(&[&new])).await.unwrap();
        assert_eq!(changed(&change), expected, "{caller}");
    }
}

async fn who_may_remove_whom(store: AnyStore) {
    for (caller, removed, may_manage, expected) in [
        ("alice", "amy", false, "done"),
        ("alice", "bob", false, "done"),
        ("alice", "carol", false, "done"),
        ("bob", "alice", false, "forbidden"),
        ("bob", "ben", false, "forbidden"),
        ("bob", "carol", false, "done"),
        ("bob", "bob", false, "done"),
        ("carol", "alice", false, "forbidden"),
        ("carol", "bob", false, "forbidden"),
        ("carol", "chris", false, "forbidden"),
        ("carol", "carol", false, "done"),
        ("carol", "nobody", false, "unchanged"),
        ("mallory", "carol", false, "not found"),
        ("mallory", "mallory", false, "not found"),
        ("service", "alice", true, "done"),
        ("service", "service", true, "unchanged"),
        ("carol", "bob", true, "done"),
    ] {
        let channel = ranked(&store).await;
        let before = roles(&store, channel).await;
        let change = store.remove_member(channel, &user(caller), may_manage, &user(removed)).await.unwrap();
        let done = format!("1 left [\"{removed}\"] by {caller} v2");
        let expected = if expected == "done" { &done } else { expected };
        assert_eq!(changed(&change), expected, "{caller} removes {removed}");
        let rest: Vec<_> =
            before.into_iter().filter(|(name, _)| *expected != done || name != removed).collect();
        assert_eq!(roles(&store, channel).await, rest, "{caller} removes {removed}");
    }
    let direct = store.open_direct(&user("alice"), &user("bob")).await.unwrap().0;
    assert_eq!(remove(&store, direct, "alice", "alice").await, "refused");
    assert_eq!(remove(&store, direct, "alice", "nobody").await, "refused");
    assert_eq!(remove(&store, ChannelId::generate(), "alice", "alice").await, "not found");
}

async fn who_may_give_roles(store: AnyStore) {
    let channel = ranked(&store).await;
    let direct = store.open_direct(&user("alice"), &user("bob")).await.unwrap().0;
    for (channel, caller, may_manage, member, role, expected) in [
        (channel, "bob", false, "carol", Role::Admin, "forbidden"),
        (channel, "carol", false, "carol", Role::Owner, "forbidden"),
        (channel, "mallory", false, "carol", Role::Admin, "not found"),
        (channel, "alice", false, "nobody", Role::Admin, "unchanged"),
        (direct, "alice", false, "bob", Role::Owner, "refused"),
        (ChannelId::generate(), "alice", true, "bob", Role::Owner, "not found"),
        (channel, "alice", false, "carol", Role::Owner, "carol is Owner"),
        (channel, "alice", false, "carol", Role::Owner, "carol is Owner"),
        (channel, "carol", false, "amy", Role::Member, "amy is Member"),
        (channel, "service", true, "chris", Role::Admin, "chris is Admin"),
    ] {
        let outcome = store.set_role(channel, &user(caller), may_manage, &user(member), role).await.unwrap();
        assert_eq!(appointed(outcome), expected, "{caller} makes {member} {role:?}");
    }
    assert!(log(&store, channel).await.is_empty());
    assert_eq!(store.participants(&[channel]).await.unwrap()[0].1.version, 1);
}

async fn the_last_owner_stays_one_until_another_is_named(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    let (alice, bob) = (user("alice"), user("bob"));
    for may_manage in [false, true] {
        let outcome = store.set_role(channel, &alice, may_manage, &alice, Role::Admin).await.unwrap();
        assert_eq!(appointed(outcome), "refused");
    }
    assert_eq!(roles(&store, channel).await, [("alice".into(), Role::Owner), ("bob".into(), Role::Member)]);
    store.set_role(channel, &alice, false, &bob, Role::Owner).await.unwrap().unwrap();
    store.set_role(channel, &alice, false, &alice, Role::Member).await.unwrap().unwrap();
    assert_eq!(roles(&store, channel).await, [("alice".into(), Role::Member), ("bob".into(), Role::Owner)]);
}

async fn the_longest_standing_admin_follows_the_last_owner(store: AnyStore) {
    let channel = group(&store, &["zoe", "member"]).await;
    // Named so that neither the order of ids nor that of rows gives the answer.
    for name in ["later-b", "later-a"] {
        a_later_moment().await;
        store.add_members(channel, &user("zoe"), false, &users(&[name])).await.unwrap();
        store.set_role(channel, &user("zoe"), false, &user(name), Role::Admin).await.unwrap().unwrap();
    }
    remove(&store, channel, "zoe", "zoe").await;
    let expected = [("later-a", Role::Admin), ("later-b", Role::Owner), ("member", Role::Member)];
    assert_eq!(roles(&store, channel).await, expected.map(|(name, role)| (name.to_owned(), role)));
}

async fn the_longest_standing_member_follows_where_there_is_no_admin(store: AnyStore) {
    let channel = group(&store, &["zoe", "yan", "xi"]).await;
    a_later_moment().await;
    store.add_members(channel, &user("zoe"), false, &users(&["anna"])).await.unwrap();
    // Of those who came at the same moment, the first by id.
    remove(&store, channel, "zoe", "zoe").await;
    assert!(roles(&store, channel).await.contains(&("xi".into(), Role::Owner)));
    remove(&store, channel, "xi", "xi").await;
    assert_eq!(roles(&store, channel).await, [("anna".into(), Role::Member), ("yan".into(), Role::Owner)]);
}

async fn a_group_that_everyone_left_gets_an_owner_when_a_service_adds_someone(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    remove(&store, channel, "alice", "alice").await;
    let change = store.add_members(channel, &user("service"), true, &users(&["dora", "carl"])).await.unwrap();
    assert_eq!(changed(&change), "2 joined [\"dora\", \"carl\"] by service v3");
    assert_eq!(roles(&store, channel).await, [("carl".into(), Role::Owner), ("dora".into(), Role::Member)]);
}

async fn the_last_one_may_leave(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    assert_eq!(remove(&store, channel, "alice", "alice").await, "1 left [\"alice\"] by alice v2");
    assert!(roles(&store, channel).await.is_empty());
    assert_eq!(remove(&store, channel, "alice", "alice").await, "not found");
    let seen = store.channel(channel, &user("service"), true).await.unwrap().unwrap();
    assert_eq!((seen.member_count, seen.last_seq), (0, 1));
}

//! Group commit: rows of one batch stand and fall alone, and what waits is bounded.

use api_server::store::{
    ChannelStore, Draft, OutboxId, Postgres as Store, Role, Store as _, StoreError, Verdict,
};
use futures_util::future::join_all;
use harness::cluster::Cluster;
use harness::postgres::Postgres;
use harness::wait::eventually;
use shared_types::{ChannelId, EntryBody, EntryId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::whole_cluster::{
    count, expect_overloaded, lock_channel, sending, sending_as, seq, until_blocked, until_waiting,
};

fn draft(channel_id: ChannelId, sender: &str, content: &str, id: Option<&str>) -> Draft {
    Draft {
        entry_id: EntryId::generate(),
        channel_id,
        sender_id: sender.parse().unwrap(),
        kind: "text".into(),
        content: content.into(),
        metadata: None,
        client_message_id: id.map(|id| id.parse().unwrap()),
        known_membership: None,
    }
}

/// A store of its own, and a group of these users in it.
async fn store_with_group(users: &[&str]) -> (Store, ChannelId, PgPool) {
    let url = Postgres::shared().await.fresh_database().await;
    let store = Store::new(&url, 4).unwrap();
    let members: Vec<_> = users.iter().map(|user| (user.parse().unwrap(), Role::Member)).collect();
    let channel = store.create_group(None, &members).await.unwrap();
    (store, channel, PgPool::connect(&url).await.unwrap())
}

/// What became of a row, in short: a stored one's seq, an earlier one's seq and content.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Stored { seq, .. } => format!("stored {seq}"),
        Verdict::Earlier(entry) => match &entry.body {
            EntryBody::Message { content, .. } => format!("earlier {}: {content}", entry.seq),
            other => panic!("no message: {other:?}"),
        },
        Verdict::NoSuchChannel => "no such channel".into(),
        Verdict::NotAParticipant => "not a participant".into(),
    }
}

#[tokio::test]
async fn a_batch_of_known_senders_is_not_judged_row_by_row_until_one_repeats_a_message() {
    let (store, group, database) = store_with_group(&["alice", "bob"]).await;
    let mut connection = store.appender();
    let known =
        |sender, content, id| Draft { known_membership: Some(1), ..draft(group, sender, content, Some(id)) };
    let judge = "append_messages(uuid[], text[], uuid[], text[], text[], text[], text[], uuid, uuid)";
    let rename = |from: &str, to: &str| format!("ALTER FUNCTION {from} RENAME TO {to}");
    sqlx::query(sqlx::AssertSqlSafe(rename(judge, "elsewhere"))).execute(&database).await.unwrap();
    let batch = [known("alice", "one", "c-1"), known("bob", "two", "c-1")];
    let stored = connection.append(OutboxId::generate(), &batch.each_ref()).await.unwrap();
    assert_eq!(stored.iter().map(told).collect::<Vec<_>>(), ["stored 1", "stored 2"]);
    assert_eq!(count(&database, "SELECT count(*) FROM outbox").await, 1);

    let again = [known("alice", "three", "c-3"), known("alice", "one", "c-1")];
    connection.append(OutboxId::generate(), &again.each_ref()).await.expect_err("nobody judges");
    let judge = judge.replace("append_messages", "elsewhere");
    sqlx::query(sqlx::AssertSqlSafe(rename(&judge, "append_messages"))).execute(&database).await.unwrap();
    let verdicts = connection.append(OutboxId::generate(), &again.each_ref()).await.unwrap();
    assert_eq!(verdicts.iter().map(told).collect::<Vec<_>>(), ["stored 3", "earlier 1: one"]);
}

#[tokio::test]
async fn a_batch_with_bad_rows_stores_the_others_without_a_gap() {
    let (store, group, database) = store_with_group(&["alice", "bob"]).await;
    let quiet_group = store.create_group(None, &[("bob".parse().unwrap(), Role::Owner)]).await.unwrap();
    let mut connection = store.appender();
    let first = draft(group, "alice", "first", Some("c-1"));
    connection.append(OutboxId::generate(), &[&first]).await.unwrap();

    let batch = [
        draft(group, "alice", "second", None),
        draft(group, "mallory", "let me in", None),
        draft(ChannelId::generate(), "alice", "to nobody", None),
        draft(group, "alice", "again, or not", Some("c-1")),
        draft(quiet_group, "alice", "not mine", None),
        draft(group, "bob", "third", Some("c-1")),
        draft(quiet_group, "bob", "elsewhere", None),
        draft(group, "alice", "fourth", Some("c-2")),
    ];
    let verdicts = connection.append(OutboxId::generate(), &batch.each_ref()).await.unwrap();

    assert_eq!(
        verdicts.iter().map(told).collect::<Vec<_>>(),
        [
            "stored 2",
            "not a participant",
            "no such channel",
            "earlier 1: first",
            "not a participant",
            "stored 3",
            "stored 1",
            "stored 4",
        ]
    );
    assert_eq!(count(&database, "SELECT count(*) FROM entries").await, 5);
    assert_eq!(count(&database, "SELECT sum(last_seq)::bigint FROM channels").await, 5);
}

#[tokio::test]
async fn a_batch_with_values_that_the_database_refuses_stores_nothing_and_the_connection_lives_on() {
    let (store, group, database) = store_with_group(&["alice"]).await;
    let mut connection = store.appender();
    let (good, bad) = (draft(group, "alice", "good", None), draft(group, "alice", "no\0no", None));

    let refused = connection.append(OutboxId::generate(), &[&good, &bad]).await;

    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(count(&database, "SELECT count(*) FROM entries").await, 0);
    let verdicts = connection.append(OutboxId::generate(), &[&good]).await.unwrap();
    assert_eq!(told(&verdicts[0]), "stored 1");
}

#[tokio::test]
async fn sends_that_share_a_batch_with_bad_ones_are_stored() {
    let cluster = Cluster::builder().apis(1).gateways(0).api_flag("--writers=1").start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let database = cluster.database().await;
    // Stands for whatever the database might refuse and we have not thought of.
    let refuse = "ALTER TABLE entries ADD CHECK (content <> 'poison')";
    sqlx::query(refuse).execute(&database).await.unwrap();
    let lock = lock_channel(&database, &channel).await;
    let before = sending(&api, "alice", &channel, "before");
    until_blocked(&database).await;
    let unknown = Uuid::now_v7().to_string();
    let batch = [
        sending(&api, "alice", &channel, "one"),
        sending(&api, "mallory", &channel, "let me in"),
        sending(&api, "alice", &unknown, "to nobody"),
        sending(&api, "bob", &channel, "poison"),
        sending(&api, "bob", &channel, "two"),
    ];
    until_waiting(&cluster, 0, 6).await;

    lock.commit().await.unwrap();

    before.await.unwrap().expect(201);
    let [one, mallory, nobody, poison, two] =
        join_all(batch).await.into_iter().map(Result::unwrap).collect::<Vec<_>>().try_into().unwrap();
    mallory.expect_problem(404, "channel_not_found");
    nobody.expect_problem(404, "channel_not_found");
    assert!(poison.status >= 500, "{poison:?}");
    let mut stored = [seq(&one.expect(201)), seq(&two.expect(201))];
    stored.sort_unstable();
    assert_eq!(stored, [2, 3]);
}

#[tokio::test]
async fn a_sender_who_is_removed_while_their_send_waits_for_the_channel_is_refused() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob"], "Crew").await;
    let database = cluster.database().await;
    let mut removal = lock_channel(&database, &channel).await;
    let late = sending(&api, "bob", &channel, "too late");
    until_blocked(&database).await;
    sqlx::query("DELETE FROM participants WHERE user_id = 'bob'").execute(&mut *removal).await.unwrap();
    removal.commit().await.unwrap();

    late.await.unwrap().expect_problem(404, "channel_not_found");
    assert_eq!(seq(&api.send("alice", &channel, "the first").await), 1);
}

#[tokio::test]
async fn a_send_beyond_those_that_may_wait_is_refused_at_once_and_those_are_stored() {
    let flags = ["--writers=1", "--max-waiting-sends=2"];
    let builder = Cluster::builder().apis(1).gateways(0);
    let cluster = flags.into_iter().fold(builder, |builder, flag| builder.api_flag(flag)).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let database = cluster.database().await;
    let lock = lock_channel(&database, &channel).await;
    let being_stored = sending(&api, "alice", &channel, "one");
    until_blocked(&database).await;
    let waiting = [sending(&api, "alice", &channel, "two"), sending(&api, "bob", &channel, "three")];
    until_waiting(&cluster, 0, 3).await;

    // Nothing lets the others go on before this is answered.
    expect_overloaded(api.try_send("alice", &channel, "four").await);

    lock.commit().await.unwrap();
    being_stored.await.unwrap().expect(201);
    for send in waiting {
        send.await.unwrap().expect(201);
    }
    assert_eq!(seq(&api.send("alice", &channel, "four, again").await), 4);
}

#[tokio::test]
async fn a_channel_that_stays_locked_refuses_its_sends_and_stores_them_when_they_come_again() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let lock = lock_channel(&cluster.database().await, &channel).await;
    expect_overloaded(api.send_as("alice", &channel, "hello", "c-1").await);
    lock.commit().await.unwrap();
    let stored = api.send_as("alice", &channel, "hello", "c-1").await.expect(201);
    assert_eq!(seq(&stored), 1);
}

#[tokio::test]
async fn a_message_whose_sender_hangs_up_while_it_waits_is_stored() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let database = cluster.database().await;
    let lock = lock_channel(&database, &channel).await;
    let impatient = sending_as(&api, "alice", &channel, "hello", "c-1");
    until_blocked(&database).await;
    impatient.abort();
    lock.commit().await.unwrap();
    eventually("the message is stored", async || count(&database, "SELECT count(*) FROM entries").await == 1)
        .await;
    until_waiting(&cluster, 0, 0).await;
}

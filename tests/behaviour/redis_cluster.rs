//! A Redis Cluster under the services: slots move, masters die, and messages arrive.

use harness::cluster::Cluster;
use harness::redis_cluster::RedisCluster;
use harness::wait::eventually;
use shared_types::UserId;
use shared_types::registry_keys::RegistryKeys;

use crate::whole_cluster::settled;

fn entry_of(cluster: &Cluster, user: &str) -> String {
    RegistryKeys::new(cluster.redis_prefix()).user(&user.parse::<UserId>().unwrap())
}

#[tokio::test]
async fn messages_to_sessions_on_two_gateways_arrive_while_a_slot_moves() {
    let redis = RedisCluster::start().await;
    let cluster = Cluster::builder().apis(1).redis_url(redis.url()).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    for user in ["bob", "carol"] {
        api.register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);
    let entry = entry_of(&cluster, "bob");
    let to = (redis.owner_of(&entry).await + 1) % 3;

    let mut sent = vec![api.send("alice", &channel, "before it moves").await];
    redis.begin_to_move(&entry, to).await;
    sent.push(api.send("alice", &channel, "while it moves").await);
    // On the other gateway: a claim of an entry that is on its way.
    let mut tablet = cluster.connect(1, "bob").await;
    sent.push(api.send("alice", &channel, "to both").await);
    assert_eq!(tablet.next_entry().await, sent[2]);
    redis.end_to_move(&entry, to).await;
    sent.push(api.send("alice", &channel, "after it has moved").await);

    for entry in &sent {
        assert_eq!(bob.next_entry().await, *entry);
        assert_eq!(carol.next_entry().await, *entry);
    }
    assert_eq!(tablet.next_entry().await, sent[3]);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn a_message_sent_while_a_master_is_dead_arrives_when_its_replica_has_taken_over() {
    let mut redis = RedisCluster::start().await;
    let cluster = Cluster::builder().apis(1).redis_url(redis.url()).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    let owner = redis.owner_of(&entry_of(&cluster, "bob")).await;
    redis.add_replica(owner).await;
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);

    redis.node(owner).stop();
    let sent = api.send("alice", &channel, "who holds your place?").await;

    assert_eq!(bob.next_entry().await, sent);
    assert_eq!(carol.next_entry().await, sent);
}

#[tokio::test]
async fn who_was_held_by_a_master_that_came_back_empty_is_found_again_without_a_reconnect() {
    let redis = RedisCluster::start().await;
    let cluster = Cluster::builder().apis(1).gateways(1).redis_url(redis.url()).start().await;
    let api = cluster.api(0);
    let leases = cluster.registry().leases().await.unwrap();
    let lease = RegistryKeys::new(cluster.redis_prefix()).lease(leases.keys().next().unwrap());
    let keeper_of_lease = redis.owner_of(&lease).await;
    // Somebody whose entry is lost without the lease: the gateway finds that alone by itself.
    let mut names = (0..).map(|n| format!("bob-{n}"));
    let (bob, owner) = loop {
        let name = names.next().unwrap();
        let owner = redis.owner_of(&entry_of(&cluster, &name)).await;
        if owner != keeper_of_lease {
            break (name, owner);
        }
    };
    let channel = api.create_direct("alice", &bob).await;
    let mut session = cluster.connect(0, &bob).await;

    redis.node(owner).stop();
    redis.node(owner).start_empty().await;
    let registry = cluster.registry();
    let user: [UserId; 1] = [bob.parse().unwrap()];
    eventually("the user is claimed again", async || {
        registry.whereabouts(&user).await.is_ok_and(|found| !found[0].gateways.is_empty())
    })
    .await;
    assert_eq!(registry.leases().await.unwrap().len(), 1, "the lease was there all the time");

    let sent = api.send("alice", &channel, "there you are").await;
    assert_eq!(session.next_entry().await, sent);
}

//! One suite for all session registries: Redis, a Redis Cluster, and this process's memory.

use std::sync::Arc;

use harness::redis::Redis;
use harness::redis_cluster::RedisCluster;
use harness::registry::TestRegistry;
use harness::wait::eventually;
use shared_runtime::registry::{InProcessRegistry, Intent, SessionRegistry, Whereabouts};
use shared_types::registry_keys::{Lease, TicketGrant};
use shared_types::{GatewayId, UserId};

type Registry = Arc<dyn SessionRegistry>;

async fn redis() -> Registry {
    TestRegistry::in_redis(Redis::shared().await).open()
}

async fn redis_cluster() -> Registry {
    let cluster = RedisCluster::shared().await;
    TestRegistry::at(cluster.url(), cluster.node(0).fresh_prefix()).open()
}

async fn in_process() -> Registry {
    Arc::new(InProcessRegistry::default())
}

/// Every sentence for each of them, under its name.
macro_rules! conformance {
    ($($sentence:ident),+ $(,)?) => {
        mod redis_registry {
            $(#[tokio::test] async fn $sentence() { super::$sentence(super::redis().await).await; })+
        }
        mod redis_cluster_registry {
            $(#[tokio::test] async fn $sentence() { super::$sentence(super::redis_cluster().await).await; })+
        }
        mod in_process_registry {
            $(#[tokio::test] async fn $sentence() { super::$sentence(super::in_process().await).await; })+
        }
    };
}

conformance!(
    a_user_is_found_on_every_gateway_that_claims_them_in_the_order_asked,
    a_release_takes_out_one_gateway_and_no_other,
    who_was_lost_from_the_last_gateway_is_expected_back_for_a_while,
    who_is_on_another_gateway_or_closed_is_not_expected_back,
    a_claim_made_twice_counts_once,
    a_lease_is_listed_until_its_gateway_resigns,
    a_renewal_says_whether_the_lease_was_still_there,
    a_ticket_lets_in_once,
    a_thousand_users_are_settled_and_found_at_once,
    the_registry_answers,
);

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// The client has closed its last session, and is not expected back.
const CLOSED: Intent = Intent::Release { expected_back: false };
/// The last session was lost.
const LOST: Intent = Intent::Release { expected_back: true };

async fn gateways_of(registry: &Registry, users: &[UserId]) -> Vec<Vec<GatewayId>> {
    let whereabouts = registry.whereabouts(users).await.unwrap();
    whereabouts.into_iter().map(|whereabouts| whereabouts.gateways.to_vec()).collect()
}

async fn alice(registry: &Registry) -> Whereabouts {
    registry.whereabouts(&[user("alice")]).await.unwrap().remove(0)
}

fn lease(sessions: u64) -> Lease {
    Lease { url: "http://g".into(), public_url: "ws://g/ws".into(), sessions, is_draining: false }
}

async fn a_user_is_found_on_every_gateway_that_claims_them_in_the_order_asked(registry: Registry) {
    let (one, two) = (GatewayId::generate(), GatewayId::generate());
    registry.settle(&one, &[(user("alice"), Intent::Claim), (user("bob"), Intent::Claim)]).await.unwrap();
    registry.settle(&two, &[(user("alice"), Intent::Claim)]).await.unwrap();
    let found = gateways_of(&registry, &[user("nobody"), user("bob"), user("alice")]).await;
    assert_eq!(found, [vec![], vec![one.clone()], vec![one, two]]);
}

async fn a_release_takes_out_one_gateway_and_no_other(registry: Registry) {
    let (old, new) = (GatewayId::generate(), GatewayId::generate());
    for gateway in [&old, &new] {
        registry.settle(gateway, &[(user("alice"), Intent::Claim)]).await.unwrap();
    }
    registry.settle(&old, &[(user("alice"), CLOSED)]).await.unwrap();
    registry.settle(&old, &[(user("alice"), CLOSED)]).await.unwrap();
    assert_eq!(gateways_of(&registry, &[user("alice")]).await, [vec![new.clone()]]);
    registry.settle(&new, &[(user("alice"), CLOSED)]).await.unwrap();
    assert_eq!(gateways_of(&registry, &[user("alice")]).await, [vec![]]);
}

async fn who_was_lost_from_the_last_gateway_is_expected_back_for_a_while(registry: Registry) {
    let (old, new) = (GatewayId::generate(), GatewayId::generate());
    registry.settle(&old, &[(user("alice"), Intent::Claim), (user("bob"), Intent::Claim)]).await.unwrap();
    // Twice, as when the first answer was lost.
    for _ in 0..2 {
        registry.settle(&old, &[(user("alice"), LOST), (user("bob"), LOST)]).await.unwrap();
    }
    let expected = Whereabouts { gateways: [].into(), is_expected_back: true };
    assert_eq!(
        registry.whereabouts(&[user("alice"), user("bob")]).await.unwrap(),
        [expected.clone(), expected]
    );

    registry.settle(&new, &[(user("alice"), Intent::Claim)]).await.unwrap();
    assert_eq!(alice(&registry).await, Whereabouts { gateways: [new].into(), is_expected_back: false });
    eventually("bob is not waited for any longer", async || {
        registry.whereabouts(&[user("bob")]).await.unwrap() == [Whereabouts::default()]
    })
    .await;
}

async fn who_is_on_another_gateway_or_closed_is_not_expected_back(registry: Registry) {
    let (one, two) = (GatewayId::generate(), GatewayId::generate());
    for gateway in [&one, &two] {
        registry.settle(gateway, &[(user("alice"), Intent::Claim)]).await.unwrap();
    }
    registry.settle(&one, &[(user("alice"), LOST)]).await.unwrap();
    assert_eq!(
        alice(&registry).await,
        Whereabouts { gateways: [two.clone()].into(), is_expected_back: false }
    );
    registry.settle(&two, &[(user("alice"), CLOSED)]).await.unwrap();
    assert_eq!(alice(&registry).await, Whereabouts::default());
    // Nobody who was never there is expected back.
    registry.settle(&one, &[(user("alice"), LOST)]).await.unwrap();
    assert_eq!(alice(&registry).await, Whereabouts::default());
}

async fn a_claim_made_twice_counts_once(registry: Registry) {
    let gateway = GatewayId::generate();
    for _ in 0..2 {
        registry.settle(&gateway, &[(user("alice"), Intent::Claim)]).await.unwrap();
    }
    assert_eq!(gateways_of(&registry, &[user("alice")]).await, [vec![gateway]]);
}

async fn a_lease_is_listed_until_its_gateway_resigns(registry: Registry) {
    let (one, two) = (GatewayId::generate(), GatewayId::generate());
    registry.renew(&one, &lease(1)).await.unwrap();
    registry.renew(&two, &lease(2)).await.unwrap();
    registry.renew(&two, &lease(3)).await.unwrap();
    let leases = registry.leases().await.unwrap();
    assert_eq!((leases.len(), &leases[&one], &leases[&two]), (2, &lease(1), &lease(3)));
    registry.resign(&one).await.unwrap();
    assert_eq!(registry.leases().await.unwrap().into_keys().collect::<Vec<_>>(), [two]);
}

async fn a_renewal_says_whether_the_lease_was_still_there(registry: Registry) {
    let gateway = GatewayId::generate();
    assert!(!registry.renew(&gateway, &lease(0)).await.unwrap());
    assert!(registry.renew(&gateway, &lease(0)).await.unwrap());
    registry.resign(&gateway).await.unwrap();
    assert!(!registry.renew(&gateway, &lease(0)).await.unwrap());
}

async fn a_ticket_lets_in_once(registry: Registry) {
    let grant = TicketGrant { user_id: user("alice"), expires_at: 7 };
    registry.issue_ticket("t-1", &grant).await.unwrap();
    assert_eq!(registry.redeem_ticket("t-2").await.unwrap(), None);
    assert_eq!(registry.redeem_ticket("t-1").await.unwrap(), Some(grant));
    assert_eq!(registry.redeem_ticket("t-1").await.unwrap(), None);
}

async fn a_thousand_users_are_settled_and_found_at_once(registry: Registry) {
    let gateway = GatewayId::generate();
    let users: Vec<UserId> = (0..1_000).map(|n| user(&format!("u{n}"))).collect();
    let claims: Vec<_> = users.iter().map(|user| (user.clone(), Intent::Claim)).collect();
    registry.settle(&gateway, &claims).await.unwrap();
    let found = gateways_of(&registry, &users).await;
    assert_eq!(found.len(), 1_000);
    assert!(found.iter().all(|gateways| *gateways == [gateway.clone()]));
}

async fn the_registry_answers(registry: Registry) {
    registry.ping().await.unwrap();
}

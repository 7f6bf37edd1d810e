//! The harness itself: what the other tests rely on without looking.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::jwks::JwksServer;
use harness::postgres::Postgres;
use harness::raw_socket::{RawFrame, RawSocket};
use harness::redis::Redis;
use harness::tcp_proxy::TcpProxy;
use harness::tokens::{JWT_SECRET, Token, token_for};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const A_MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_postgres_that_was_stopped_comes_back_with_its_data() {
    let postgres = Postgres::start_private().await;
    let url = postgres.empty_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE kept AS SELECT 42 AS answer").execute(&mut connection).await.unwrap();

    postgres.stop();
    assert!(PgConnection::connect(&url).await.is_err());
    postgres.start().await;

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let answer: i32 = sqlx::query_scalar("SELECT answer FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, 42);
}

#[tokio::test]
async fn every_test_gets_a_database_with_our_tables_and_without_the_others_rows() {
    let postgres = Postgres::shared().await;
    let (first, second) = tokio::join!(postgres.fresh_database(), postgres.fresh_database());
    assert_ne!(first, second);
    let mut connection = PgConnection::connect(&second).await.unwrap();
    let channels: i64 =
        sqlx::query_scalar("SELECT count(*) FROM channels").fetch_one(&mut connection).await.unwrap();
    assert_eq!(channels, 0);
}

#[tokio::test]
async fn a_message_crosses_a_whole_cluster() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let mut bob = cluster.connect(1, "bob").await;
    cluster.api(1).register_device("alice", "phone", "installation-of-alice").await;

    let sent = cluster.api(1).send("alice", &channel, "hello").await;
    assert_eq!(bob.next_entry().await, sent);
    bob.close().await;

    cluster.api(0).send("bob", &channel, "hello yourself").await;
    let pushes = cluster.fcm.wait_for_pushes(1).await;
    assert_eq!(pushes[0]["notification"]["body"], "hello yourself");
}

#[tokio::test]
async fn a_killed_program_is_gone_and_a_terminated_one_ends_well() {
    let cluster = Cluster::builder().gateways(0).apis(1).start().await;
    let gateway = cluster.spawn_gateway().await;
    let mut session = gateway.connect("alice").await;
    gateway.process.kill9().await;
    assert_eq!(gateway.process.wait_exit().await.signal(), Some(9));
    session.expect_break().await;

    let api = cluster.spawn_api().await;
    api.api.create_direct("alice", "bob").await;
    api.process.sigterm();
    assert!(api.process.wait_exit().await.success());
}

#[tokio::test]
async fn a_raw_socket_speaks_and_hears_frames() {
    let cluster = Cluster::builder().gateways(1).apis(0).start().await;
    let mut socket = RawSocket::connect(&cluster.gateway_url(0), &token_for("alice")).await;
    assert_eq!(socket.read_frame().await.opcode, 1);
    socket.write(&RawFrame::text("{\"type\":\"ping\"}").masked()).await;
    assert_eq!(socket.read_frame().await, RawFrame::text("{\"type\":\"pong\"}"));
    socket.write(&RawFrame::text("a client must mask").unmasked()).await;
    assert_eq!(socket.expect_close().await, 1002);
    socket.expect_end(A_MOMENT).await;
}

#[tokio::test]
async fn a_redis_that_was_stopped_comes_back_empty_on_the_same_port() {
    let redis = Redis::start_private().await;
    redis.ask::<()>("SET", &["key", "value"]).await;
    let sets = redis.commands_processed("set").await;

    redis.stop();
    redis.start_empty().await;

    assert_eq!(sets, 1);
    assert_eq!(redis.ask::<Option<String>>("GET", &["key"]).await, None);
}

#[tokio::test]
async fn a_cut_proxy_refuses_and_a_restored_one_passes_again() {
    let (proxy, mut client) = echo_through_a_proxy().await;
    assert_eq!(echo(&mut client).await, Some(b'x'));

    proxy.cut().await;
    assert_eq!(echo(&mut client).await, None);
    assert!(TcpStream::connect(("127.0.0.1", proxy.port())).await.is_err());

    proxy.restore().await;
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(echo(&mut client).await, Some(b'x'));
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a_black_hole_passes_nothing_until_it_is_restored() {
    let (proxy, mut client) = echo_through_a_proxy().await;
    proxy.black_hole();
    client.write_u8(b'y').await.unwrap();
    assert!(timeout(A_MOMENT, client.read_u8()).await.is_err());

    proxy.restore().await;
    assert_eq!(client.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn a_slow_proxy_takes_its_time_in_both_directions() {
    let (proxy, mut client) = echo_through_a_proxy().await;
    proxy.delay(A_MOMENT);
    let start = Instant::now();
    assert_eq!(echo(&mut client).await, Some(b'x'));
    assert!(start.elapsed() >= 2 * A_MOMENT);
}

#[tokio::test]
async fn a_key_set_verifies_what_its_server_signs_until_the_key_is_rotated() {
    let jwks = JwksServer::start().await;
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let token = jwks.sign(algorithm, Token::of("alice"));
        assert!(is_verified_by(&jwks, algorithm, &token).await, "{algorithm:?}");
        jwks.rotate(algorithm);
        assert!(!is_verified_by(&jwks, algorithm, &token).await, "{algorithm:?}");
    }
    assert_eq!(jwks.requests(), 6);
}

#[tokio::test]
async fn of_all_tokens_only_the_good_one_is_good() {
    let key = DecodingKey::from_secret(JWT_SECRET.as_bytes());
    let is_good = |token: String| decode::<Value>(token, &key, &Validation::new(Algorithm::HS256)).is_ok();
    assert!(is_good(Token::of("alice").sign()));
    assert!(!is_good(Token::of("alice").expires_in(-3_600).sign()));
    assert!(!is_good(Token::of("alice").without("exp").sign()));
    assert!(!is_good(Token::of("alice").secret("another-secret-of-thirty-two-bytes").sign()));
    assert!(!is_good(Token::of("alice").algorithm(Algorithm::HS512).sign()));
    assert!(!is_good(Token::of("alice").unsigned()));
    assert!(!is_good(Token::of("alice").tampered()));
}

async fn is_verified_by(jwks: &JwksServer, algorithm: Algorithm, token: &str) -> bool {
    let keys: JwkSet = reqwest::get(jwks.url()).await.unwrap().json().await.unwrap();
    let key_id = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let Some(key) = keys.find(&key_id) else { return false };
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &Validation::new(algorithm)).is_ok()
}

async fn echo_through_a_proxy() -> (TcpProxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap().port()).await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    (proxy, client)
}

async fn echo(client: &mut TcpStream) -> Option<u8> {
    client.write_u8(b'x').await.ok()?;
    client.read_u8().await.ok()
}

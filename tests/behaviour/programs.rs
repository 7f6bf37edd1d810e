//! The services as programs: secrets in files, migrations, tokens, and their end.

use std::io::Write;

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use harness::ports::free_port;
use harness::postgres::Postgres;
use harness::process::ServiceProcess;
use harness::redis::Redis;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET, token_for};
use sqlx::{Connection, PgConnection};
use tempfile::NamedTempFile;

use crate::options::{assert_fails, required, run, text};
use crate::shared_cluster::{Verb, client};

/// The environment of a service on real servers, with every secret in a file. Keep the files.
async fn secrets_in_files(database_url: &str) -> (Vec<(&'static str, String)>, Vec<NamedTempFile>) {
    let redis = Redis::shared().await;
    let secrets = [
        ("DATABASE_URL_FILE", database_url.to_owned()),
        ("REDIS_URL_FILE", redis.url()),
        ("NARU_JWT_SECRET_FILE", JWT_SECRET.to_owned()),
        ("NARU_INTERNAL_SECRET_FILE", INTERNAL_SECRET.to_owned()),
    ];
    let mut environment = vec![("NARU_REDIS_PREFIX", redis.fresh_prefix())];
    let mut files = Vec::new();
    for (name, secret) in secrets {
        let mut file = NamedTempFile::new().unwrap();
        writeln!(file, "{secret}").unwrap();
        environment.push((name, file.path().to_str().unwrap().to_owned()));
        files.push(file);
    }
    (environment, files)
}

async fn start(program: &str, environment: &[(&str, String)], arguments: &[&str]) -> (ServiceProcess, u16) {
    let (public, internal) = (free_port(), free_port());
    let addresses =
        [format!("--listen=127.0.0.1:{public}"), format!("--internal-listen=127.0.0.1:{internal}")];
    let arguments: Vec<_> = addresses.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = ServiceProcess::start(program, &arguments, &environment);
    process.wait_ready(&format!("http://127.0.0.1:{internal}/readyz")).await;
    (process, public)
}

#[tokio::test]
async fn with_its_secrets_in_files_a_service_starts_and_stops_with_0_on_sigterm() {
    let database_url = Postgres::shared().await.empty_database().await;
    let (environment, _files) = secrets_in_files(&database_url).await;
    let (api_server, port) = start("api-server", &environment, &[]).await;
    let api = Api::at(format!("http://127.0.0.1:{port}"), client());
    // The database was empty: a plain start migrates.
    let id = api.create_group("alice", &["bob"], "g").await;
    api.send("alice", &id, "hello").await;
    let of_gateway = [
        "--advertise-url=http://127.0.0.1:1",
        "--public-url=ws://127.0.0.1:1/ws",
        "--api-url=http://127.0.0.1:1",
    ];
    let without_database: Vec<_> =
        environment.iter().filter(|(name, _)| !name.starts_with("DATA")).cloned().collect();
    let (gateway, _) = start("chat-gateway", &without_database, &of_gateway).await;
    for process in [&api_server, &gateway] {
        process.sigterm();
        assert_eq!(process.wait_exit().await.code(), Some(0));
        let output = process.output().join("\n");
        assert!(!output.contains(JWT_SECRET) && !output.contains(INTERNAL_SECRET), "{output}");
    }
}

#[tokio::test]
async fn migrate_may_run_twice_and_from_two_processes_at_once() {
    let postgres = Postgres::shared().await;
    let database_url = postgres.empty_database().await;
    let migrate = |url: &String| {
        let url = [("DATABASE_URL", url.clone())];
        tokio::task::spawn_blocking(move || run("api-server", &["migrate"], &url))
    };
    let (one, other) = tokio::join!(migrate(&database_url), migrate(&database_url));
    for output in [one.unwrap(), other.unwrap(), migrate(&database_url).await.unwrap()] {
        assert!(output.status.success(), "{output:?}");
    }
    let mut database = PgConnection::connect(&database_url).await.unwrap();
    let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert!(applied >= 1);
    assert_fails("api-server", &["migrate"], &required("api-server"), &["the database does not answer"])
        .await;
}

#[tokio::test]
async fn a_server_starts_on_a_database_that_a_later_release_has_migrated() {
    let database_url = Postgres::shared().await.fresh_database().await;
    let mut database = PgConnection::connect(&database_url).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'of a later release', true, '', 1)";
    sqlx::query(later).execute(&mut database).await.unwrap();
    let (environment, _files) = secrets_in_files(&database_url).await;
    let (_process, port) = start("api-server", &environment, &[]).await;
    let api = Api::at(format!("http://127.0.0.1:{port}"), client());
    let id = api.create_group("alice", &["bob"], "g").await;
    api.send("alice", &id, "hello").await;
}

#[tokio::test]
async fn with_no_migrate_a_start_leaves_the_database_as_it_is() {
    let database_url = Postgres::shared().await.empty_database().await;
    let (mut environment, _files) = secrets_in_files(&database_url).await;
    environment.push(("NARU_NO_MIGRATE", "1".to_owned()));
    let (_process, _) = start("api-server", &environment, &[]).await;
    let mut database = PgConnection::connect(&database_url).await.unwrap();
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn an_option_that_is_yes_or_no_takes_1_and_0_from_the_environment() {
    let database_url = Postgres::shared().await.fresh_database().await;
    let (environment, _files) = secrets_in_files(&database_url).await;
    for (value, page, token) in [("1", 200, 200), ("0", 404, 404)] {
        let yes_or_no = ["NARU_WEB", "NARU_TRY"].map(|name| (name, value.to_owned()));
        let environment: Vec<_> = environment.iter().cloned().chain(yes_or_no).collect();
        let (_process, port) = start("api-server", &environment, &[]).await;
        let api = Api::at(format!("http://127.0.0.1:{port}"), client());
        assert_eq!(Answer::of(api.request(Verb::GET, "/")).await.status, page, "NARU_WEB={value}");
        let asked = api.request(Verb::POST, "/try/token").json(&serde_json::json!({"name": "alice"}));
        assert_eq!(Answer::of(asked).await.status, token, "NARU_TRY={value}");
    }
}

#[tokio::test]
async fn the_token_that_the_program_prints_is_accepted() {
    let audience = ["--jwt-issuer=https://issuer.example", "--jwt-audience=naru"];
    let cluster =
        Cluster::builder().apis(1).gateways(0).api_flag(audience[0]).api_flag(audience[1]).start().await;
    let api = cluster.api(0);
    let print = |arguments: &[&str]| {
        let secret = [("NARU_JWT_SECRET", JWT_SECRET.to_owned())];
        text(&run("api-server", &[&["token"], arguments, &audience].concat(), &secret))
    };
    let ask =
        async |token: &str| Answer::of(api.request(Verb::GET, "/channels").bearer_auth(token)).await.status;
    assert_eq!(ask(&print(&["--sub=alice", "--ttl=1h"])).await, 200);
    assert_eq!(ask(&print(&["--sub", "alice"])).await, 200, "an hour is the default");
    assert_eq!(ask(&print(&["--sub=alice", "--ttl=0s"])).await, 401);
    assert_eq!(ask(&token_for("alice")).await, 401, "issuer and audience are the program's doing");
    let body = serde_json::json!({"kind": "group", "memberIds": ["bob"], "senderId": "alice"});
    let create =
        |token: String| Answer::of(api.request(Verb::POST, "/channels").bearer_auth(token).json(&body));
    create(print(&["--sub=backend", "--service"])).await.expect(201);
    create(print(&["--sub=mallory"])).await.expect_problem(403, "forbidden");
    for (arguments, name) in [
        (&["token"][..], "--sub"),
        (&["token", "--sub=a b"], "--sub"),
        (&["token", "--sub=a", "--ttl=x"], "--ttl"),
    ] {
        assert_fails("api-server", arguments, &[], &[name]).await;
    }
    assert_fails("api-server", &["token", "--sub=a"], &[], &["NARU_JWT_SECRET"]).await;
}

//! `healthcheck`: what a container asks that holds no other program.

use harness::cluster::Cluster;
use harness::ports::free_port;
use harness::process::ServiceProcess;
use harness::redis::Redis;
use harness::tcp_proxy::TcpProxy;

use crate::redis_and_postgres::through;

const PROGRAMS: [&str; 2] = ["api-server", "chat-gateway"];

/// Whether it says that the service is well, and in which words. No other option is given. Meanwhile the proxy goes on.
async fn check(program: &'static str, port: u16, more: &'static [&str]) -> (bool, String) {
    tokio::task::spawn_blocking(move || run(program, port, more)).await.unwrap()
}

fn run(program: &str, port: u16, more: &[&str]) -> (bool, String) {
    // As containers are told it.
    let environment = [("NARU_INTERNAL_LISTEN", &*format!("0.0.0.0:{port}"))];
    let output = ServiceProcess::run(program, &[&["healthcheck"], more].concat(), &environment);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);
    (output.status.success(), said)
}

#[tokio::test]
async fn a_check_says_whether_the_service_is_ready_or_only_lives() {
    let redis = Redis::shared().await;
    let proxy = TcpProxy::start(redis.port()).await;
    let builder = Cluster::builder().apis(0).gateways(0);
    let cluster = builder.redis_url(through(&proxy, &redis.url(), redis.port())).start().await;
    let (api, gateway) = (cluster.spawn_api().await, cluster.spawn_gateway().await);
    let ports = [api.internal_port, gateway.internal_port];
    for (program, port) in PROGRAMS.into_iter().zip(ports) {
        for more in [&[] as &[&str], &["--live"]] {
            let (is_well, said) = check(program, port, more).await;
            assert!(is_well, "{program}: {said}");
        }
    }
    proxy.cut().await;
    for (program, port) in PROGRAMS.into_iter().zip(ports) {
        let (is_well, said) = check(program, port, &[]).await;
        assert!(
            !is_well && said.contains("503") && said.contains(r#""registry":"down""#),
            "{program}: {said}"
        );
        assert!(check(program, port, &["--live"]).await.0, "{program} lives");
    }
}

#[test]
fn a_service_that_does_not_run_is_not_well() {
    for program in PROGRAMS {
        let (is_well, said) = run(program, free_port(), &["--live"]);
        assert!(!is_well && said.contains("no answer"), "{program}: {said}");
    }
}

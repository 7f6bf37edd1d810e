//! Options: what `--help` lists, and what ends a start and by which words.

use std::net::TcpListener;
use std::process::Output;

use harness::process::ServiceProcess;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET};
use harness::wait::eventually;
use tempfile::NamedTempFile;

/// What each service needs, as its environment. Nobody listens at these addresses.
pub fn required(program: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("NARU_LISTEN", "127.0.0.1:0".to_owned()),
        ("NARU_INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
        ("REDIS_URL", "redis://127.0.0.1:1".to_owned()),
        ("NARU_JWT_SECRET", JWT_SECRET.to_owned()),
        ("NARU_INTERNAL_SECRET", INTERNAL_SECRET.to_owned()),
    ];
    if program == "api-server" {
        all.push(("DATABASE_URL", "postgres://naru:hunter2@127.0.0.1:1/naru".to_owned()));
    } else {
        all.push(("NARU_ADVERTISE_URL", "http://127.0.0.1:1".to_owned()));
        all.push(("NARU_PUBLIC_URL", "ws://127.0.0.1:1/ws".to_owned()));
        all.push(("NARU_API_URL", "http://127.0.0.1:1".to_owned()));
    }
    all
}

pub fn run(program: &str, arguments: &[&str], environment: &[(&str, String)]) -> Output {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ServiceProcess::run(program, arguments, &environment)
}

/// Starts a program that must end with an error which says one of these words, and no secret.
pub async fn assert_fails(program: &str, arguments: &[&str], environment: &[(&str, String)], words: &[&str]) {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = ServiceProcess::start(program, arguments, &environment);
    let status = process.wait_exit().await;
    assert!(matches!(status.code(), Some(1 | 2)), "{program} {arguments:?}: {status}");
    eventually(&format!("{program} {arguments:?} says {words:?}"), async || {
        let said = process.output().join("\n");
        for secret in [JWT_SECRET, INTERNAL_SECRET, "hunter2"] {
            assert!(!said.contains(secret), "{said}");
        }
        words.iter().any(|word| said.contains(word))
    })
    .await;
}

/// What it printed, as one line: where help is wrapped depends on the width of the terminal.
pub fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_lists_every_option_of_the_contract_with_its_default_and_no_secret() {
    let secrets = [
        "NARU_JWT_SECRET",
        "NARU_JWT_PREVIOUS_SECRET",
        "NARU_INTERNAL_SECRET",
        "NARU_INTERNAL_PREVIOUS_SECRET",
        "REDIS_URL",
        "DATABASE_URL",
    ];
    let both = [
        ("--redis-url", "REDIS_URL", ""),
        ("--jwt-secret", "NARU_JWT_SECRET", ""),
        ("--jwt-secret-file", "NARU_JWT_SECRET_FILE", ""),
        ("--jwt-previous-secret", "NARU_JWT_PREVIOUS_SECRET", ""),
        ("--jwt-jwks-url", "NARU_JWT_JWKS_URL", ""),
        ("--jwt-issuer", "NARU_JWT_ISSUER", ""),
        ("--jwt-audience", "NARU_JWT_AUDIENCE", ""),
        ("--internal-secret", "NARU_INTERNAL_SECRET", ""),
        ("--internal-secret-file", "NARU_INTERNAL_SECRET_FILE", ""),
        ("--internal-previous-secret", "NARU_INTERNAL_PREVIOUS_SECRET", ""),
        ("--internal-previous-secret-file", "NARU_INTERNAL_PREVIOUS_SECRET_FILE", ""),
        ("--allowed-origins", "NARU_ALLOWED_ORIGINS", ""),
        ("--shutdown-grace", "NARU_SHUTDOWN_GRACE", "30s"),
    ];
    let of_api = [
        ("--listen", "NARU_LISTEN", "0.0.0.0:8080"),
        ("--internal-listen", "NARU_INTERNAL_LISTEN", "0.0.0.0:8090"),
        ("--database-url", "DATABASE_URL", ""),
        ("--fcm-service-account", "NARU_FCM_SERVICE_ACCOUNT", ""),
        ("--send-rate", "NARU_SEND_RATE", "20"),
        ("--send-burst", "NARU_SEND_BURST", "100"),
        ("--fcm-endpoint", "NARU_FCM_ENDPOINT", "https://fcm.googleapis.com"),
        ("--no-migrate", "NARU_NO_MIGRATE", ""),
        ("--retention", "NARU_RETENTION", ""),
        ("--database-prepared-statements", "NARU_DATABASE_PREPARED_STATEMENTS", "true"),
    ];
    let of_gateway = [
        ("--listen", "NARU_LISTEN", "0.0.0.0:8081"),
        ("--internal-listen", "NARU_INTERNAL_LISTEN", "0.0.0.0:8082"),
        ("--advertise-url", "NARU_ADVERTISE_URL", ""),
        ("--public-url", "NARU_PUBLIC_URL", ""),
        ("--api-url", "NARU_API_URL", ""),
        ("--ws-echo", "NARU_WS_ECHO", "false"),
        ("--ping-interval", "NARU_PING_INTERVAL", "25s"),
        ("--silence-limit", "NARU_SILENCE_LIMIT", "60s"),
    ];
    let given = secrets.map(|name| (name, "a-secret-value-of-the-environment".to_owned()));
    for (program, options) in [("api-server", &of_api[..]), ("chat-gateway", &of_gateway[..])] {
        let help = text(&run(program, &["--help"], &given));
        assert!(!help.contains("a-secret-value"), "{help}");
        let (_usage, help) = help.split_once("Options:").unwrap();
        for (flag, variable, default) in both.iter().chain(options) {
            let start = help.find(&format!("{flag} <")).or_else(|| help.find(&format!("{flag}[=")));
            let start = start
                .or_else(|| help.find(&format!("{flag} ")))
                .unwrap_or_else(|| panic!("{program} {flag}"));
            let rest = &help[start + 2..];
            let entry = &rest[..rest.find(" --").unwrap_or(rest.len())];
            assert!(entry.contains(&format!("[env: {variable}")), "{program} {flag}: {entry}");
            assert!(
                default.is_empty() || entry.contains(&format!("[default: {default}]")),
                "{flag}: {entry}"
            );
        }
        assert!(text(&run(program, &["--version"], &[])).starts_with(program));
    }
}

#[tokio::test]
async fn a_missing_option_is_named() {
    for program in ["api-server", "chat-gateway"] {
        for (name, _) in required(program).into_iter().skip(2) {
            let others: Vec<_> = required(program).into_iter().filter(|(other, _)| *other != name).collect();
            let flag = format!("--{}", name.trim_start_matches("NARU_").to_lowercase().replace('_', "-"));
            assert_fails(program, &[], &others, &[name, &flag]).await;
            // As a compose file leaves it when its own variable is not set.
            let empty = others.into_iter().chain([(name, String::new())]).collect::<Vec<_>>();
            assert_fails(program, &[], &empty, &[name, &flag]).await;
        }
    }
}

#[tokio::test]
async fn what_is_unknown_or_wrong_or_contradicts_itself_is_named() {
    let file = NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let both: &[(&[&str], &str)] = &[
        (&["--colour=blue"], "--colour"),
        (&["surplus"], "surplus"),
        (&["--listen=nowhere"], "--listen"),
        (&["--listen=127.0.0.1:9000", "--internal-listen=127.0.0.1:9000"], "NARU_INTERNAL_LISTEN"),
        (&["--jwt-jwks-url=http://127.0.0.1:1/keys"], "NARU_JWT_JWKS_URL"),
        (&["--jwt-secret-file", file], "NARU_JWT_SECRET_FILE"),
        (&["--internal-secret-file", file], "NARU_INTERNAL_SECRET_FILE"),
        (&["--redis-url-file", file], "REDIS_URL_FILE"),
        (&["--jwt-secret=short"], "NARU_JWT_SECRET"),
        (&["--jwt-previous-secret=short"], "NARU_JWT_PREVIOUS_SECRET"),
        (&["--internal-secret=1234567890123456789012345678901"], "NARU_INTERNAL_SECRET"),
        (&["--internal-previous-secret=short"], "NARU_INTERNAL_PREVIOUS_SECRET"),
        (&["--jwt-secret=", "--jwt-secret-file=/nowhere"], "NARU_JWT_SECRET_FILE"),
        (&["--jwt-secret=", "--jwt-secret-file", file], "NARU_JWT_SECRET_FILE"),
        (&["--jwt-secret=", "--jwt-jwks-url=ftp://127.0.0.1"], "NARU_JWT_JWKS_URL"),
        (&["--redis-url=hunter2@nowhere"], "REDIS_URL"),
        (&["--redis-url=redis://a,redis://b/1"], "REDIS_URL"),
        (&["--redis-url=redis://a,rediss://b"], "REDIS_URL"),
        (&["--log=a=b=c"], "NARU_LOG"),
        (&["--shutdown-grace=soon"], "--shutdown-grace"),
        (&["--allowed-origins=chat.example.com"], "NARU_ALLOWED_ORIGINS"),
        (&["--allowed-origins=https://a.example,https://b.example/path"], "NARU_ALLOWED_ORIGINS"),
    ];
    let of_api: &[(&[&str], &str)] = &[
        (&["--database-url-file", file], "DATABASE_URL_FILE"),
        (&["--database-url=hunter2"], "DATABASE_URL"),
        (&["--fcm-endpoint=http://fcm.example.com"], "NARU_FCM_ENDPOINT"),
        (&["--fcm-service-account=/nowhere"], "NARU_FCM_SERVICE_ACCOUNT"),
        (&["--send-rate=-1"], "NARU_SEND_RATE"),
        (&["--send-rate=NaN"], "NARU_SEND_RATE"),
        (&["--send-burst=0"], "--send-burst"),
        (&["--push-fold-window=2h"], "NARU_PUSH_FOLD_WINDOW"),
        (&["--push-fault-pause=0s"], "NARU_PUSH_FAULT_PAUSE"),
        (&["--listen=127.0.0.1:9000", "--internal-listen=127.0.0.2:9000"], "NARU_INTERNAL_LISTEN"),
        (&["--retention=23h"], "NARU_RETENTION"),
        (&["--retention=200y"], "NARU_RETENTION"),
        (&["--database-prepared-statements=perhaps"], "--database-prepared-statements"),
        (&["--sub=alice"], "--sub"),
        (&["--redis-url=redis://127.0.0.1:1", "migrate"], "--redis-url"),
    ];
    let of_gateway: &[(&[&str], &str)] = &[
        (&["--advertise-url=ws://127.0.0.1"], "--advertise-url"),
        (&["--public-url=http://127.0.0.1"], "--public-url"),
        (&["--ws-echo=perhaps"], "--ws-echo"),
        (&["--silence-limit=1s"], "NARU_SILENCE_LIMIT"),
    ];
    for (program, own) in [("api-server", of_api), ("chat-gateway", of_gateway)] {
        for (arguments, name) in both.iter().chain(own) {
            assert_fails(program, arguments, &required(program), &[name]).await;
        }
    }
}

#[tokio::test]
async fn a_port_that_is_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for program in ["api-server", "chat-gateway"] {
        for flag in ["--listen", "--internal-listen"] {
            assert_fails(program, &[&format!("{flag}={address}")], &required(program), &[&address]).await;
        }
    }
}

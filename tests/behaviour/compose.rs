//! `deploy/compose.yaml` against what it starts: no Docker is needed to see whether its names are right.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use harness::nginx::shipped;
use harness::process::ServiceProcess;
use serde_json::{Map, Value};

use crate::documents::{help, read, root};

fn compose() -> Value {
    serde_saphyr::from_str(&read("deploy/compose.yaml")).unwrap_or_else(|e| panic!("{e}"))
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().unwrap()
}

/// The program of this workspace that a service runs, if it runs one.
fn program(service: &Value) -> Option<&str> {
    match service["entrypoint"][0].as_str() {
        Some(path) => path.rsplit('/').next(),
        None => service["image"].as_str()?.strip_prefix("naru/"),
    }
}

fn environment(service: &Value) -> BTreeMap<&str, &str> {
    let variables = service["environment"].as_object().into_iter().flatten();
    variables.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|value| value.as_str().unwrap())
}

/// The default of an option whose value is an address, `0.0.0.0:8090` for instance: its port.
fn port(program: &str, variable: &str) -> String {
    let help = help(program);
    let rest = help.split(&format!("[env: {variable}=]")).nth(1).unwrap_or_else(|| panic!("no {variable}"));
    let address = rest.split("[default: ").nth(1).unwrap().split(']').next().unwrap();
    address.rsplit(':').next().unwrap().to_owned()
}

/// Every name of the network with every port that is served there: `api-server-1:8080`.
fn served(compose: &Value) -> Vec<String> {
    let mut served = Vec::new();
    for (name, service) in services(compose) {
        // Whoever shares another's network has that one's names.
        let owner = service["network_mode"].as_str().and_then(|mode| mode.strip_prefix("service:"));
        let owner = owner.unwrap_or(name);
        let aliases = &services(compose)[owner]["networks"]["default"]["aliases"];
        let Some(program @ ("api-server" | "chat-gateway")) = program(service) else { continue };
        // A subcommand serves nothing.
        if !service["command"].is_null() {
            continue;
        }
        for variable in ["NARU_LISTEN", "NARU_INTERNAL_LISTEN"] {
            let port = port(program, variable);
            served.extend([owner].into_iter().chain(strings(aliases)).map(|name| format!("{name}:{port}")));
        }
    }
    served
}

#[test]
fn every_variable_that_it_sets_for_a_program_of_ours_is_an_option_of_it() {
    let compose = compose();
    let mut seen = 0;
    for (name, service) in services(&compose) {
        let Some(program) = program(service) else { continue };
        // Of the subcommand, where there is one.
        let command: Vec<_> = [program].into_iter().chain(strings(&service["command"])).collect();
        let help = help(&command.join(" "));
        for variable in environment(service).keys() {
            let is_option =
                help.contains(&format!("[env: {variable}=")) || help.contains(&format!("{variable}]"));
            assert!(is_option, "{name}: {program} has no option {variable}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} variables were found");
}

#[test]
fn every_file_that_it_mounts_or_builds_from_is_there() {
    let compose = compose();
    let deploy = root().join("deploy");
    let mut seen = 0;
    for (name, service) in services(&compose) {
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            let is_there = if source.starts_with('.') {
                deploy.join(source).exists()
            } else {
                compose["volumes"].as_object().unwrap().contains_key(source)
            };
            assert!(is_there, "{name}: {source} is not there");
            seen += 1;
        }
        if let Some(build) = service["build"].as_object() {
            let context = deploy.join(build["context"].as_str().unwrap());
            let dockerfile = fs::read_to_string(context.join(build["dockerfile"].as_str().unwrap())).unwrap();
            let target = format!(" AS {}\n", build["target"].as_str().unwrap());
            assert!(dockerfile.contains(&target), "{name}: no{target}");
        }
    }
    assert!(seen > 10, "only {seen} volumes were found");
}

#[test]
fn the_script_makes_every_secret_that_it_names_and_leaves_those_that_are_there() {
    let compose = compose();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets");
    fs::copy(root().join("deploy/compose/secrets"), &script).unwrap();
    let make = || {
        let output = Command::new(&script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let secrets = || -> BTreeMap<&str, String> {
        let named = compose["secrets"].as_object().unwrap();
        let text = |file: &str| {
            fs::read_to_string(folder.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
        };
        named
            .iter()
            .map(|(name, secret)| (name.as_str(), secret["file"].as_str().unwrap()))
            .map(|(name, file)| (name, text(file.strip_prefix("./compose/").unwrap())))
            .collect()
    };
    make();
    let made = secrets();
    make();
    assert_eq!(secrets(), made);

    for (name, service) in services(&compose) {
        for secret in strings(&service["secrets"]) {
            assert!(made.contains_key(secret), "{name}: {secret}");
        }
        let path = |value: &str| value.strip_prefix("/run/secrets/").map(str::to_owned);
        for secret in environment(service).values().filter_map(|value| path(value)) {
            assert!(strings(&service["secrets"]).any(|own| own == secret), "{name} is not given {secret}");
        }
    }
    // As in the container that README.md runs it in: with all of its environment.
    let own = folder.path().join(".secrets");
    let environment: Vec<_> = environment(&compose["services"]["api-server-1"])
        .into_iter()
        .map(|(name, value)| (name, value.replace("/run/secrets", own.to_str().unwrap())))
        .collect();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = ServiceProcess::run("api-server", &["token", "--sub", "alice"], &environment);
    assert!(output.status.success() && output.stdout.starts_with(b"ey"), "{output:?}");
}

#[test]
fn the_proxy_and_prometheus_and_gateways_look_for_services_where_they_are() {
    let compose = compose();
    let served = served(&compose);
    let assert_served = |what: &str, address: &str| {
        assert!(served.iter().any(|one| one == address), "{what}: nobody is at {address}: {served:?}");
    };
    let upstreams = shipped("upstreams.conf");
    let servers: Vec<_> = upstreams
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(servers.len(), 4);
    for server in servers {
        assert_served("the proxy", server);
    }
    let prometheus: Value = serde_saphyr::from_str(&read("deploy/prometheus/prometheus.yml")).unwrap();
    let jobs = prometheus["scrape_configs"].as_array().unwrap().iter();
    let targets: Vec<_> = jobs.flat_map(|job| strings(&job["static_configs"][0]["targets"])).collect();
    assert!(targets.len() >= 4);
    for target in targets {
        assert_served("Prometheus", target);
    }
    for (name, service) in services(&compose) {
        if program(service) == Some("chat-gateway") {
            let environment = environment(service);
            let at = |variable: &str| environment[variable].strip_prefix("http://").unwrap();
            assert_served(name, at("NARU_API_URL"));
            assert_served(name, at("NARU_ADVERTISE_URL"));
            assert!(at("NARU_ADVERTISE_URL").starts_with(&format!("{name}:")), "{name} advertises another");
        }
    }
    // What is published is what the proxy listens on, and what clients are told.
    let proxy = &compose["services"]["proxy"];
    let published = strings(&proxy["ports"]).next().unwrap();
    let listens =
        shipped("nginx.conf").contains(&format!("listen {} ", published.rsplit(':').next().unwrap()));
    assert!(listens, "{published}");
    let public_url = environment(&compose["services"]["chat-gateway-1"])["NARU_PUBLIC_URL"];
    let port = published.strip_prefix("127.0.0.1:").unwrap().rsplit_once(':').unwrap().0;
    assert_eq!(public_url, format!("ws://localhost:{port}/ws"));
}

#[test]
fn every_port_is_published_on_loopback_only_and_every_program_of_ours_can_write_nothing_of_its_own() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for published in strings(&service["ports"]) {
            assert!(published.starts_with("127.0.0.1:"), "{name}: {published}");
        }
        if program(service).is_some() {
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        }
    }
}

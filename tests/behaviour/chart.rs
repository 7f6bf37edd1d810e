//! What the Helm chart sets and offers is what the services take: names and defaults, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use clap::{Command, CommandFactory};
use serde_json::Value;

use crate::documents::{read, root};

/// The chart's part of a service, its container, and the service's command line.
type Service = (&'static str, &'static str, fn() -> Command);

const SERVICES: [Service; 2] = [
    ("apiServer", "api-server", api_server::config::Cli::command),
    ("gateway", "chat-gateway", chat_gateway::config::Config::command),
];

/// Options that the chart offers no way to set.
const LEFT_OUT: [(&str, &str); 8] = [
    ("DATABASE_URL", "a secret: as a file"),
    ("REDIS_URL", "a secret: as a file"),
    ("NARU_JWT_SECRET", "a secret: as a file"),
    ("NARU_JWT_PREVIOUS_SECRET", "a secret: as a file"),
    ("NARU_INTERNAL_SECRET", "a secret: as a file"),
    ("NARU_INTERNAL_PREVIOUS_SECRET", "a secret: as a file"),
    ("NARU_TRY", "hands out tokens for any name to anybody"),
    ("NARU_WS_ECHO", "for conformance suites"),
];

/// What the chart sets otherwise than the services would by themselves.
const DIFFERENT: [(&str, &str, &str); 1] =
    [("NARU_LOG_FORMAT", "json", "what collects a cluster's logs reads JSON")];

/// Variables of a program's options, each with its default, if it has one.
fn options(command: &Command) -> BTreeMap<String, Option<String>> {
    let named = command.get_arguments().filter_map(|argument| Some((argument.get_env()?, argument)));
    named
        .map(|(variable, argument)| {
            let default = argument.get_default_values().first();
            let text = |value: &std::ffi::OsStr| value.to_str().expect("options are UTF-8").to_owned();
            (text(variable), default.map(|default| text(default)))
        })
        .collect()
}

/// Every object of a file of plain manifests, which are the chart rendered.
fn manifests(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn values() -> Value {
    serde_saphyr::from_str(&read("deploy/chart/values.yaml")).expect("values.yaml is YAML")
}

/// The container of this name, and the variables that it is given.
fn container(file: &str, name: &str) -> (Value, BTreeMap<String, Value>) {
    let containers = manifests(file).into_iter().flat_map(|object| {
        object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default()
    });
    let container = containers.into_iter().find(|container| container["name"] == name).expect("it is there");
    let variables = container["env"].as_array().expect("it has variables").iter();
    let variables = variables.map(|v| (v["name"].as_str().unwrap().to_owned(), v["value"].clone())).collect();
    (container, variables)
}

/// Every variable that a template of the chart names, whatever the condition.
fn named_by_templates() -> BTreeSet<String> {
    let folder = fs::read_dir(root().join("deploy/chart/templates")).expect("the chart has templates");
    let templates = folder.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    templates
        .flat_map(|text| {
            let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_').map(str::to_owned);
            words.collect::<Vec<_>>()
        })
        .filter(|word| word.starts_with("NARU_") || word.contains("_URL"))
        .collect()
}

/// What the schema of the values lets be set by name.
fn offered(part: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&read("deploy/chart/values.schema.json")).unwrap();
    let names = &schema["properties"][part]["properties"]["options"]["propertyNames"]["enum"];
    names
        .as_array()
        .expect("options are listed")
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_variable_that_the_chart_sets_is_an_option_of_that_program() {
    for (_, name, command) in SERVICES {
        let (_, variables) = container(&format!("deploy/kustomize/base/{name}.yaml"), name);
        let known = options(&command());
        // What NARU_ADVERTISE_URL is made of.
        for variable in variables.keys().filter(|variable| *variable != "POD_IP") {
            assert!(known.contains_key(variable), "{name} has no {variable}");
        }
    }
    let (container, variables) = container("deploy/kustomize/migrate/migrate.yaml", "migrate");
    assert_eq!(container["args"], serde_json::json!(["migrate"]));
    let api_server = api_server::config::Cli::command();
    let known = options(api_server.find_subcommand("migrate").expect("api-server migrates"));
    for variable in variables.keys() {
        assert!(known.contains_key(variable), "api-server migrate has no {variable}");
    }
    let of_both: BTreeSet<_> =
        SERVICES.iter().flat_map(|(_, _, command)| options(&command()).into_keys()).collect();
    let unknown: Vec<_> = named_by_templates().difference(&of_both).cloned().collect();
    assert!(unknown.is_empty(), "nobody has {unknown:?}");
}

#[test]
fn the_chart_knows_every_option_of_the_services_or_leaves_it_out_on_purpose() {
    let by_itself = named_by_templates();
    let left_out: BTreeSet<_> = LEFT_OUT.iter().map(|(variable, _)| (*variable).to_owned()).collect();
    let mut left_out_of = BTreeSet::new();
    for (part, name, command) in SERVICES {
        let options: BTreeSet<_> = options(&command()).into_keys().collect();
        let offered = offered(part);
        let more: Vec<_> = offered.difference(&options).collect();
        assert!(more.is_empty(), "{part}.options of the chart's schema: {name} has no {more:?}");
        let twice: Vec<_> = offered.intersection(&by_itself).collect();
        assert!(twice.is_empty(), "{part}.options of the chart's schema: there are values for {twice:?}");
        let known: BTreeSet<_> = offered.union(&by_itself).chain(&left_out).cloned().collect();
        let unknown: Vec<_> = options.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "{name}: add {unknown:?} to {part}.options in deploy/chart/values.schema.json"
        );
        left_out_of.extend(options.intersection(&left_out).cloned());
    }
    assert_eq!(left_out_of, left_out, "what is left out is still an option");
    assert!(by_itself.is_disjoint(&left_out), "what is left out is not set");
}

#[test]
fn what_the_chart_sets_by_itself_is_what_the_services_would_do_without_it() {
    let mut different = BTreeSet::new();
    for (_, name, command) in SERVICES {
        let known = options(&command());
        let (container, variables) = container(&format!("deploy/kustomize/base/{name}.yaml"), name);
        let mut compared = 0;
        for (variable, value) in &variables {
            let Some(default) = known.get(variable).cloned().flatten() else { continue };
            match DIFFERENT.iter().find(|(name, _, _)| name == variable) {
                Some((name, other, _)) => {
                    assert!(value == other && default != *other, "{name}: {value} instead of {default}");
                    different.insert(*name);
                }
                None => assert_eq!(*value, default, "{name} {variable}"),
            }
            compared += 1;
        }
        assert!(compared >= 4, "{name}: only {compared} variables have defaults");
        for port in container["ports"].as_array().unwrap() {
            let variable = if port["name"] == "public" { "NARU_LISTEN" } else { "NARU_INTERNAL_LISTEN" };
            let default = known[variable].as_ref().unwrap();
            assert_eq!(format!("0.0.0.0:{}", port["containerPort"]), *default, "{name} {variable}");
        }
    }
    assert_eq!(different.len(), DIFFERENT.len(), "what is said to be different is");
}

#[test]
fn autoscalers_add_pods_long_before_services_refuse() {
    let values = values();
    let limit = |command: fn() -> Command, variable: &str| -> u64 {
        options(&command())[variable].as_ref().unwrap().parse().unwrap()
    };
    let sessions = values["gateway"]["autoscaling"]["sessions"].as_u64().unwrap();
    assert!(sessions * 2 <= limit(SERVICES[1].2, "NARU_MAX_SESSIONS"), "{sessions}");
    let production: Value = serde_saphyr::from_str(&read("deploy/chart/examples/production.yaml")).unwrap();
    let waiting = production["apiServer"]["autoscaling"]["waitingSends"].as_u64().unwrap();
    assert!(waiting * 2 <= limit(SERVICES[0].2, "NARU_MAX_WAITING_SENDS"), "{waiting}");
}

#[test]
fn the_chart_is_of_this_version() {
    let chart: Value = serde_saphyr::from_str(&read("deploy/chart/Chart.yaml")).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

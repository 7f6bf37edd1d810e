//! The documents are kept true: what they list is what the programs have.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use harness::api_client::Answer;
use harness::process::ServiceProcess;
use serde_json::Value;
use shared_types::{ProblemCode, close_code};

use crate::shared_cluster::{Verb, shared_cluster};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every document for people, with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md"), root().join("deploy/chart/README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("there are docs");
    paths.extend(
        docs.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md")),
    );
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The part of the protocol below this heading, whatever its level, up to the next one of that level.
fn section(heading: &str) -> String {
    let text = read("docs/protocol.md");
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let level = heading.split(' ').next().unwrap().to_owned() + " ";
    let rest = &text[start + heading.len()..];
    rest.lines().take_while(|line| !line.starts_with(&level)).collect::<Vec<_>>().join("\n")
}

/// What stands between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Of a program, or of a subcommand: `api-server migrate`.
pub fn help(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let output = ServiceProcess::run(program, &words.chain(["--help"]).collect::<Vec<_>>(), &[]);
    // As one line: where it is wrapped depends on the width of the terminal.
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_protocol_lists_every_problem_code_with_its_status() {
    use ProblemCode::*;
    let all = [
        MalformedJson,
        Unauthorized,
        Forbidden,
        NotFound,
        ChannelNotFound,
        MethodNotAllowed,
        Conflict,
        PayloadTooLarge,
        InvalidRequest,
        RateLimited,
        Internal,
        Overloaded,
    ];
    // A code more makes this line fail to compile; add it above.
    let _every_one = |code: ProblemCode| match code {
        MalformedJson | Unauthorized | Forbidden | NotFound | ChannelNotFound | MethodNotAllowed
        | Conflict | PayloadTooLarge | InvalidRequest | RateLimited | Internal | Overloaded => (),
    };
    let real: BTreeSet<_> = all
        .map(|code| {
            (serde_json::to_value(code).unwrap().as_str().unwrap().to_owned(), code.status().to_string())
        })
        .into();
    let section = section("## Errors");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<_> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            (cells[0].trim().trim_end_matches('`').to_owned(), cells[1].trim().to_owned())
        })
        .collect();
    assert_eq!(listed, real);
}

#[test]
fn the_protocol_lists_every_close_code() {
    let source = read("shared-types/src/close_code.rs");
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once("u16 = "));
    let real: BTreeSet<u16> =
        constants.map(|(_, code)| code.trim_end_matches(';').parse().unwrap()).collect();
    assert!(real.contains(&close_code::TOO_SLOW), "{real:?}");
    let section = section("## chat-gateway: `GET /ws`");
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    assert_eq!(cells.collect::<BTreeSet<u16>>(), real);
}

/// `METHOD /path` of the calls that the protocol describes for the api-server's public listener.
fn calls_of_the_protocol() -> BTreeSet<String> {
    let section = section("## api-server");
    let methods = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "];
    let calls = quoted(&section).filter(|text| methods.iter().any(|method| text.starts_with(method)));
    // Without query and body.
    let bare =
        |call: &str| call.split('?').next().unwrap().split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    calls.map(bare).collect()
}

fn calls_of_openapi(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("the document has paths");
    let calls = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    calls.collect()
}

#[tokio::test]
async fn the_openapi_document_has_the_calls_of_the_protocol_and_each_of_them_is_served() {
    let api = shared_cluster().await.api;
    let document = Answer::of(api.request(Verb::GET, "/openapi.json")).await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    let mut of_openapi = calls_of_openapi(&document);
    for call in &of_openapi {
        let (method, path) = call.split_once(' ').unwrap();
        let path = path.replace("{channelId}", &uuid::Uuid::now_v7().to_string()).replace("{userId}", "u");
        let method = Verb::from_bytes(method.as_bytes()).unwrap();
        let status = Answer::of(api.request(method, &path.replace("{deviceId}", "d"))).await.status;
        let expected = if path.ends_with('z') { 200 } else { 401 };
        assert_eq!(status, expected, "{call}");
    }
    // Those two do not describe themselves.
    of_openapi.extend(["GET /openapi.json".to_owned(), "GET /docs".to_owned()]);
    assert_eq!(calls_of_the_protocol(), of_openapi);
}

#[tokio::test]
async fn the_web_client_is_made_from_the_openapi_document_that_is_served() {
    let api = shared_cluster().await.api;
    let served = Answer::of(api.request(Verb::GET, "/openapi.json")).await.expect(200);
    let committed: Value = serde_json::from_str(&read("web/openapi.json")).unwrap();
    let parts = |document: &Value| -> BTreeSet<String> {
        let groups = [&document["paths"], &document["components"]["schemas"]];
        let named = groups.into_iter().flat_map(|group| group.as_object().unwrap());
        named.map(|(name, part)| format!("{name}: {part}")).collect()
    };
    let differing: Vec<_> = parts(&served).symmetric_difference(&parts(&committed)).cloned().collect();
    assert!(
        served == committed,
        "web/openapi.json is not what this server serves. Refresh it: `cargo run` here, and beside it \
         `node web/client/scripts/openapi.js http://127.0.0.1:8080 --write && web/check --write`. {differing:#?}"
    );
}

#[tokio::test]
async fn the_openapi_document_names_every_route_and_only_problem_documents_for_errors() {
    let api = shared_cluster().await.api;
    let document = Answer::of(api.request(Verb::GET, "/openapi.json")).await.expect(200);
    let source = read("api-server/src/routes.rs");
    let public = source.split("pub fn internal").next().unwrap();
    let mut routes = BTreeSet::new();
    for resource in public.split("resource(\"").skip(1) {
        let (path, rest) = resource.split_once('"').unwrap();
        let calls = ["get", "post", "put", "patch", "delete"].into_iter();
        let served = calls.filter(|method| rest.contains(&format!("web::{method}().to(")));
        routes.extend(served.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    assert!(routes.len() > 15, "the file is not written as this test expects: {routes:?}");
    assert_eq!(calls_of_openapi(&document), routes);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let Some(content) = response["content"].as_object() else { continue };
                let is_problem = status.starts_with(['4', '5']) || status == "default";
                let expected = if is_problem { "application/problem+json" } else { "application/json" };
                assert_eq!(content.keys().collect::<Vec<_>>(), [expected], "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_of_the_api_loads_nothing_from_elsewhere() {
    let api = shared_cluster().await.api;
    let moved = Answer::of(api.request(Verb::GET, "/docs")).await;
    assert_eq!((moved.status, moved.header("location")), (307, Some("/docs/")));
    let page = Answer::of(api.request(Verb::GET, "/docs/")).await.expect(200);
    let page = page.as_str().expect("a page");
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for link in page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(!link.contains("//"), "{link} is elsewhere");
            let file = link.trim_start_matches("./");
            let answer = Answer::of(api.request(Verb::GET, &format!("/docs/{file}"))).await;
            assert_eq!(answer.status, 200, "{link}");
            if file.ends_with("initializer.js") {
                let text = answer.body.to_string();
                assert!(text.contains("/openapi.json") && !text.contains("http"), "{text}");
            }
            if file.ends_with(".css") {
                let text = answer.body.to_string();
                assert!(!text.contains("@import") && !text.contains("url(http"), "{file}");
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{page}");
}

#[test]
fn every_variable_that_a_document_names_is_an_option() {
    let options = help("api-server") + &help("chat-gateway");
    let mut seen = 0;
    for (path, text) in documents() {
        let is_variable = |word: &&str| word.starts_with("NARU_") || word.ends_with("_URL") && word.len() > 4;
        for word in quoted(&text).flat_map(|code| code.split(|c: char| !c.is_ascii_uppercase() && c != '_')) {
            if is_variable(&word) {
                let found =
                    options.contains(&format!("[env: {word}=")) || options.contains(&format!("{word}]"));
                assert!(found, "{}: {word} is no option", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "only {seen} variables were found");
}

#[test]
fn every_link_and_every_file_that_a_document_names_is_there() {
    let mut seen = 0;
    for (path, text) in documents() {
        let folder = path.parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if !link.starts_with("http") && !link.starts_with('#') {
                let file = link.split('#').next().unwrap();
                assert!(folder.join(file).exists(), "{}: {link}", path.display());
                seen += 1;
            }
        }
        // A file is named from the root of the workspace, or, in a list of one crate's files, from that crate.
        let places = ["", "deploy", "api-server/src", "api-server/src/delivery", "chat-gateway/src"];
        let places = places.map(|place| root().join(place));
        let endings = [".rs", ".sql", ".md", ".toml", "/run", "/up", "/down"];
        for word in quoted(&text).flat_map(str::split_whitespace) {
            if endings.iter().any(|ending| word.ends_with(ending)) {
                let is_there =
                    places.iter().any(|place| place.join(word).exists()) || folder.join(word).exists();
                assert!(is_there, "{}: {word} is not there", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "only {seen} links and files were found");
}

#[test]
fn every_metric_that_a_document_names_is_on_the_page_on_metrics() {
    // What samples end in that belong to a metric of another name.
    let parts = ["_bucket", "_sum", "_count"];
    let page = read("docs/metrics.md");
    let names: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for (path, text) in documents() {
        for word in
            quoted(&text).flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        {
            let is_listed = |name: &str| names.contains(name);
            if word.starts_with("naru_") && !is_listed(word) {
                let is_part = parts.iter().any(|part| word.strip_suffix(part).is_some_and(is_listed));
                assert!(is_part, "{}: {word}", path.display());
            }
        }
    }
}

#[test]
fn every_test_that_the_page_on_reliability_names_is_there() {
    let text = read("docs/reliability.md");
    let is_name = |part: &str| part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let named = quoted(&text)
        .filter_map(|text| text.split_once("::"))
        .filter(|(file, test)| is_name(file) && is_name(test));
    let mut count = 0;
    for (file, test) in named {
        let source = read(&format!("tests/behaviour/{file}.rs"));
        assert!(source.contains(&format!("fn {test}(")), "{file}::{test}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}

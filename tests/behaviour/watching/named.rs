//! Which metrics, labels and values of labels a text names: rules, dashboards, a chart.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::served::Served;

/// What has no prefix of ours is Prometheus' own, such as `up`.
const PREFIXES: [&str; 3] = ["naru_api_", "naru_gateway_", "naru_build_"];
/// What Prometheus adds to every sample.
const OF_TARGETS: [&str; 4] = ["instance", "job", "namespace", "pod"];

/// A metric where it is named, with the labels that are asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub place: PathBuf,
    pub metric: String,
    /// With the value, where it is one and no pattern.
    pub labels: Vec<(String, Option<String>)>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {:?}", self.place.display(), self.metric, self.labels)
    }
}

impl Named {
    /// Whether the services serve it, with these labels.
    pub fn is_in(&self, served: &Served) -> bool {
        let Some(family) = served.family_of(&self.metric) else { return false };
        self.labels.iter().all(|(label, value)| {
            let is_bound = label == "le" && self.metric.ends_with("_bucket");
            is_bound || OF_TARGETS.contains(&label.as_str()) || family.has(label, value.as_deref())
        })
    }
}

/// Everything that files below this folder name. The series in the rules' tests are made up, but for names and labels.
pub fn in_files_below(folder: &Path) -> Vec<Named> {
    let mut named = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let ending = entry.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if entry.is_dir() {
            named.extend(in_files_below(&entry));
        } else if ending == "json" {
            let document = serde_json::from_str(&std::fs::read_to_string(&entry).unwrap()).unwrap();
            each_string(&document, &mut |text| named.extend(in_line(&entry, text)));
        } else if ["yml", "yaml"].contains(&ending) {
            let text = std::fs::read_to_string(&entry).unwrap();
            let mut found: Vec<_> = text.lines().flat_map(|line| in_line(&entry, line)).collect();
            if entry.ends_with("rules_test.yml") {
                found.iter_mut().flat_map(|named| &mut named.labels).for_each(|(_, value)| *value = None);
            }
            named.extend(found);
        }
    }
    named
}

fn each_string(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(values) => values.iter().for_each(|value| each_string(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| each_string(value, found)),
        _ => (),
    }
}

/// What one line names, or one query: `by (…)` is asked of the metric that follows it.
fn in_line(place: &Path, line: &str) -> Vec<Named> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut named = Vec::new();
    let (mut rest, mut grouped) = (line, Vec::new());
    while let Some(start) = rest.find(is_of_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = &rest[end..];
        if word == "by" && rest.starts_with(" (") {
            let labels = rest[2..].split(')').next().unwrap().split(',');
            grouped = labels.map(|label| (label.trim().to_owned(), None)).collect();
        } else if PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
            let mut labels = std::mem::take(&mut grouped);
            if rest.starts_with('{') && !rest.starts_with("{{") {
                labels.extend(matchers(rest[1..].split('}').next().unwrap()));
            }
            named.push(Named { place: place.to_owned(), metric: word.to_owned(), labels });
        }
    }
    named
}

fn matchers(text: &str) -> impl Iterator<Item = (String, Option<String>)> {
    text.split(',').filter(|matcher| !matcher.trim().is_empty()).map(|matcher| {
        let (label, value) = matcher.trim().split_once(['=', '!']).expect("a matcher compares");
        // Neither `=~` nor `!=`: what is to be there.
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (label.to_owned(), value.map(str::to_owned))
    })
}

#[test]
fn metrics_labels_and_values_are_found_in_queries_and_recorded_ones_are_not() {
    let line = r#"x: 'sum by (le, route) (rate(naru_api_a_bucket{route="/a", status=~"5.."}[1m])) / a:naru_api_b:c'"#;
    let found = in_line(Path::new("f"), line);
    let label = |label: &str, value: Option<&str>| (label.to_owned(), value.map(str::to_owned));
    let labels = [label("le", None), label("route", None), label("route", Some("/a")), label("status", None)];
    assert_eq!(
        found,
        [Named { place: "f".into(), metric: "naru_api_a_bucket".into(), labels: labels.into() }]
    );
}

//! The findings for machines: every run of every figure, and on what it was measured.

use serde::Serialize;
use serde_json::{Value, json};

use super::findings::{Finding, Trouble};
use super::machine::Circumstances;
use crate::outcome::Figure;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    median: f64,
    low: f64,
    high: f64,
    /// `null` without a target.
    is_met: Option<bool>,
}

pub fn document(circumstances: &Circumstances, findings: &[Finding]) -> anyhow::Result<String> {
    let scenarios: Vec<Value> = findings.iter().map(scenario).collect();
    let document = json!({"circumstances": circumstances, "scenarios": scenarios});
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn scenario(finding: &Finding) -> Value {
    let mut value = json!({"scenario": finding.scenario, "seconds": finding.took.as_secs_f64()});
    match &finding.result {
        Ok(outcome) => {
            value["measures"] = json!(outcome.measures);
            value["figures"] = json!(outcome.figures.iter().map(judged).collect::<Vec<_>>());
            value["plots"] = json!(outcome.plots);
            value["notes"] = json!(outcome.notes);
        }
        Err(Trouble::Failed(why)) => value["failed"] = json!(why),
        Err(Trouble::LeftOut(why)) => value["leftOut"] = json!(why),
    }
    value
}

fn judged(figure: &Figure) -> Judged<'_> {
    let (low, high) = figure.spread();
    Judged { figure, median: figure.median(), low, high, is_met: figure.is_met() }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_run_is_there_and_what_follows_from_them() {
        let text = document(&sample::circumstances(), &sample::findings()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["circumstances"]["command"], "bench all --local");
        let figure = &document["scenarios"][0]["figures"][2];
        assert_eq!(figure["name"], "of the batched insert");
        assert_eq!(figure["runs"], json!([0.31, 0.36, 0.33, 0.35, 0.32]));
        assert_eq!(figure["target"], json!({"atLeast": 0.4}));
        assert_eq!((&figure["median"], &figure["isMet"]), (&json!(0.33), &json!(false)));
        assert_eq!(document["scenarios"][1]["failed"], "the disk <full>");
        assert_eq!(document["scenarios"][2]["leftOut"], "no Node");
    }
}

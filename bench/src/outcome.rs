//! What a scenario has found: figures with their targets, and what there is to draw.

use serde::Serialize;

/// One scenario's findings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// As on the command line.
    pub scenario: &'static str,
    /// What was measured, in a sentence.
    pub measures: &'static str,
    pub figures: Vec<Figure>,
    pub plots: Vec<Plot>,
    /// What a reader has to know to believe the figures, or why a target is missed.
    pub notes: Vec<String>,
}

/// One quantity, measured once in each run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    /// In the order of the runs; never empty.
    pub runs: Vec<f64>,
    pub target: Option<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    PerSecond,
    /// A share or a multiple of the floor.
    Ratio,
    Milliseconds,
    /// Of CPU time, for one thing.
    Microseconds,
    Bytes,
    Count,
}

/// What the median is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Outcome {
    pub fn new(scenario: &'static str, measures: &'static str) -> Self {
        Self { scenario, measures, figures: Vec::new(), plots: Vec::new(), notes: Vec::new() }
    }
}

impl Figure {
    /// One without a target; `runs` must not be empty.
    pub fn new(name: impl Into<String>, unit: Unit, runs: Vec<f64>) -> Self {
        Self { name: name.into(), unit, runs, target: None }
    }

    /// `ours / floor` of each run: both were measured next to each other, so a noisy machine troubles both.
    pub fn ratio(name: impl Into<String>, ours: &[f64], floor: &[f64]) -> Self {
        let runs = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
        Self::new(name, Unit::Ratio, runs)
    }

    pub fn at_least(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtLeast(bound));
        self
    }

    pub fn at_most(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtMost(bound));
        self
    }

    /// The middle one of the runs, the mean of the two middle ones where their number is even.
    pub fn median(&self) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The smallest and the largest of the runs.
    pub fn spread(&self) -> (f64, f64) {
        self.runs
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), run| (low.min(*run), high.max(*run)))
    }

    /// Whether the median meets the target; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        let median = self.median();
        self.target.map(|target| match target {
            Target::AtLeast(bound) => median >= bound,
            Target::AtMost(bound) => median <= bound,
        })
    }
}

/// Something to draw.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plot {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub kind: PlotKind,
    pub series: Vec<Series>,
}

impl Plot {
    /// Lines over the seconds of a measurement.
    pub fn over_time(title: impl Into<String>, y_label: impl Into<String>, series: Vec<Series>) -> Self {
        let (title, y_label) = (title.into(), y_label.into());
        Self { title, x_label: "seconds".into(), y_label, kind: PlotKind::Lines, series }
    }

    /// Distributions of latencies in milliseconds.
    pub fn percentiles(title: impl Into<String>, series: Vec<Series>) -> Self {
        let (x_label, y_label) = ("percentile".into(), "milliseconds".into());
        Self { title: title.into(), x_label, y_label, kind: PlotKind::Percentiles, series }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PlotKind {
    Lines,
    /// x is a percentile below 100, drawn so that each further nine has the same width (`-log10(1 - x / 100)`); y is
    /// logarithmic.
    Percentiles,
    Bars,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_held_against_the_median_of_the_runs() {
        let figure = |runs: &[f64]| Figure::new("x", Unit::Ratio, runs.to_vec());
        assert_eq!(figure(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(figure(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(figure(&[3.0, 1.0, 2.0]).spread(), (1.0, 3.0));
        assert_eq!(figure(&[0.9, 2.0, 0.1]).at_least(0.9).is_met(), Some(true));
        assert_eq!(figure(&[1.1]).at_most(1.0).is_met(), Some(false));
        assert_eq!(figure(&[1.1]).is_met(), None);
    }

    #[test]
    fn a_ratio_compares_what_was_measured_in_the_same_run() {
        assert_eq!(Figure::ratio("x", &[10.0, 30.0], &[5.0, 10.0]).runs, [2.0, 3.0]);
    }
}

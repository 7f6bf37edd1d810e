//! Made-up findings, for the tests of how findings are told.

use std::time::Duration;

use super::findings::{Finding, Trouble};
use super::machine::{Circumstances, Machine};
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};

pub fn circumstances() -> Circumstances {
    Circumstances {
        version: "0.1.0",
        command: "bench all --local".into(),
        started_at: "2026-11-21T07:00:00Z".into(),
        is_release_build: true,
        runs: 5,
        warm_up_seconds: 1.0,
        measured_seconds: 3.0,
        is_small: false,
        is_smoke: false,
        machine: Machine {
            cores: Some(2),
            processor: Some("A Processor at 2 GHz".into()),
            memory_bytes: Some(8 << 30),
            kernel: Some("6.1.0".into()),
            postgres: Some("17.2".into()),
            redis: Some("8.0.2".into()),
        },
    }
}

/// One that has found something, one that failed, one that was left out.
pub fn findings() -> Vec<Finding> {
    let finding =
        |scenario: &str, result| Finding { scenario: scenario.into(), took: Duration::from_secs(42), result };
    vec![
        finding("send", Ok(send())),
        finding("store", Err(Trouble::Failed("the disk <full>".into()))),
        finding("peer", Err(Trouble::LeftOut("no Node".into()))),
    ]
}

fn send() -> Outcome {
    let mut outcome =
        Outcome::new("send", "POST to 201 by 256 clients, channels of two, everybody connected");
    outcome.figures = vec![
        Figure::new(
            "messages a second",
            Unit::PerSecond,
            vec![12_310.0, 13_250.0, 12_900.0, 13_870.0, 12_600.0],
        ),
        Figure::new(
            "batched insert",
            Unit::PerSecond,
            vec![39_700.0, 36_800.0, 39_000.0, 39_600.0, 39_400.0],
        ),
        Figure::new("of the batched insert", Unit::Ratio, vec![0.31, 0.36, 0.33, 0.35, 0.32]).at_least(0.4),
        Figure::new("of the HTTP echo", Unit::Ratio, vec![0.19, 0.21, 0.2, 0.22, 0.2]).at_least(0.18),
        Figure::new("from due to 201, p99", Unit::Milliseconds, vec![9.1, 8.4, 12.8, 8.8, 9.4]).at_most(10.0),
        Figure::new("CPU of one message", Unit::Microseconds, vec![61.0, 58.4, 59.9, 57.2, 60.0]),
        Figure::new(
            "resident memory of a session",
            Unit::Bytes,
            vec![9_800.0, 9_810.0, 9_790.0, 9_805.0, 9_801.0],
        ),
    ];
    outcome.notes = vec!["Notes say what a `reader` has to know, or why a target is missed.".into()];
    let over_time = |name: &str, rate: f64| Series {
        name: name.into(),
        points: (1..=30).map(|tick| (f64::from(tick) / 10.0, rate + 900.0 * f64::from(tick).sin())).collect(),
    };
    let latencies = |name: &str, least: f64| Series {
        name: name.into(),
        points: [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99]
            .map(|percentile| (percentile, least * (1.0 - percentile / 100.0f64).powf(-0.4)))
            .to_vec(),
    };
    let batches = |name: &str, most: f64| Series {
        name: name.into(),
        points: [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
            .map(|size: f64| (size, most / (1.0 + (size.log2() - 5.0).powi(2))))
            .to_vec(),
    };
    let plot = |title: &str, x: &str, y: &str, kind, series| Plot {
        title: title.into(),
        x_label: x.into(),
        y_label: y.into(),
        kind,
        series,
    };
    outcome.plots = vec![
        plot(
            "Throughput over time",
            "seconds",
            "messages a second",
            PlotKind::Lines,
            vec![over_time("naru", 12_900.0), over_time("batched insert", 39_000.0)],
        ),
        plot(
            "Latency at half the highest rate",
            "percentile",
            "milliseconds",
            PlotKind::Percentiles,
            vec![
                latencies("POST to 201", 0.9),
                latencies("POST to frame", 1.4),
                latencies("the tutorial's way", 8.0),
            ],
        ),
        plot(
            "Batch sizes",
            "messages in a batch",
            "batches",
            PlotKind::Bars,
            vec![batches("64 clients", 900.0), batches("256 clients", 700.0)],
        ),
    ];
    outcome
}

//! `send`: POST to 201, in channels of two, with everybody connected.

use std::time::Duration;

use crate::effort::Effort;
use crate::load::audience::Audience;
use crate::load::senders::{Pace, Senders};
use crate::meters::cpu::Cpu;
use crate::meters::rate::Rate;
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Unit};
use crate::progress::Progress;
use crate::site::Place;
use crate::site::cluster::{Cluster, ClusterSpec};
use crate::site::population::Population;

const CLIENTS: usize = 256;
const MEMBERS: usize = 2;

pub async fn run(effort: &Effort, _place: &Place) -> anyhow::Result<Outcome> {
    let progress = Progress::of("send", effort.runs);
    let mut outcome = Outcome::new(
        "send",
        "messages answered with 201 a second, 256 clients, channels of two, all connected",
    );
    let (mut ours, mut cost) = (Vec::new(), Vec::new());
    for run in 0..effort.runs {
        let cluster = Cluster::start(&ClusterSpec::default()).await?;
        let site = cluster.site();
        let population = Population::seed(&site, &cluster.database, CLIENTS, MEMBERS).await?;
        let audience = Audience::connect(&site, &population.users).await?;
        let senders = Senders::start(&site, &population, CLIENTS, Pace::Closed).await?;
        let mut before = Cpu::default();
        let mut cpu = Ok(());
        let begin = || cpu = Cpu::of(&cluster).map(|now| before = now);
        let rate = Rate::of(effort, || senders.counts().stored, begin).await;
        cpu?;
        let used = Cpu::of(&cluster)?.since(&before);
        senders.stop().await?;
        audience.until_quiet(Duration::from_millis(200), Duration::from_secs(10)).await;
        ours.push(rate.per_second);
        cost.push(used.of_what_is_measured().as_secs_f64() * 1e6 / rate.count as f64);
        tracing::info!(?used, rate.count, "cpu");
        eprintln!(
            "{used:?} {} {:.0}/s frames {} p50 {}",
            rate.count,
            rate.per_second,
            audience.frames(),
            audience.latencies().total()?.milliseconds(50.0)
        );
        if run == 0 {
            outcome.plots.push(Plot {
                title: "Sends".into(),
                x_label: "seconds".into(),
                y_label: "a second".into(),
                kind: PlotKind::Lines,
                series: vec![rate.series("naru")],
            });
        }
        progress.step("");
    }
    outcome.figures.push(Figure::new("messages stored", Unit::PerSecond, ours));
    outcome.figures.push(Figure::new("cpu", Unit::Microseconds, cost));
    Ok(outcome)
}

//! `send`: POST to 201, in channels of two, with everybody connected.

use crate::effort::Effort;
use crate::floors::batched_insert;
use crate::floors::http_echo::HttpEcho;
use crate::floors::log::FloorLog;
use crate::load::audience::Audience;
use crate::load::senders::Pace;
use crate::load::trial::{Arena, Trial, each, refusals};
use crate::meters::rate::Rate;
use crate::outcome::{Figure, Outcome, Plot, Unit};
use crate::progress::Progress;
use crate::site::Place;
use crate::site::cluster::Cluster;
use crate::site::ground::Ground;
use crate::site::population::Population;

const CLIENTS: usize = 256;
const MEMBERS: usize = 2;
/// As many messages as one statement of the product's writer has at most.
const BATCH: usize = 256;
const OF_BATCHED: f64 = 0.40;
const OF_ECHO: f64 = 0.18;

pub async fn run(effort: &Effort, place: &Place) -> anyhow::Result<Outcome> {
    let progress = Progress::of("send", effort.runs);
    let mut outcome = Outcome::new(
        "send",
        "messages answered with 201 a second: 256 clients, each in a channel of two, everybody connected",
    );
    let ground = Ground::at(place).await?;
    let population = ground.populate(CLIENTS, MEMBERS).await?;
    let audience = Audience::connect(&ground.site, &population.users).await?;
    let naru = Arena {
        site: &ground.site,
        population: &population,
        audience: Some(&audience),
        database: ground.database(),
        cluster: ground.cluster.as_ref(),
    };
    let floors = match &ground.cluster {
        Some(cluster) => Some(Floors::beside(cluster, &population).await?),
        None => None,
    };
    naru.break_in(effort, CLIENTS).await?;
    let (mut ours, mut batched, mut echoed) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=effort.runs {
        progress.step(format!("run {run}"));
        if let Some(floors) = &floors {
            batched.push(batched_insert::rate(effort, &floors.log, CLIENTS, BATCH, || ()).await?);
            echoed.push(floors.echo(effort).await?);
        }
        naru.begin_anew().await?;
        ours.push(naru.trial(effort, CLIENTS, Pace::Closed).await?);
    }
    tell(&mut outcome, &ours, &batched, &echoed);
    Ok(outcome)
}

struct Floors<'a> {
    log: FloorLog,
    http: HttpEcho,
    population: &'a Population,
}

impl<'a> Floors<'a> {
    async fn beside(cluster: &Cluster, population: &'a Population) -> anyhow::Result<Self> {
        let log = FloorLog::beside(cluster, CLIENTS).await?;
        Ok(Self { log, http: HttpEcho::start(&cluster.site()).await?, population })
    }

    /// The very requests of the very clients, answered at once.
    async fn echo(&self, effort: &Effort) -> anyhow::Result<Rate> {
        let (site, population) = (&self.http.site, self.population);
        let arena = Arena { site, population, audience: None, database: None, cluster: None };
        Ok(arena.trial(effort, CLIENTS, Pace::Closed).await?.stored)
    }
}

fn tell(outcome: &mut Outcome, ours: &[Trial], batched: &[Rate], echoed: &[Rate]) {
    let a_second = |rates: &[Rate]| rates.iter().map(|rate| rate.per_second).collect::<Vec<_>>();
    let sends = each(ours, |trial| trial.stored.per_second);
    outcome.figures.push(Figure::new("POST to 201", Unit::PerSecond, sends.clone()));
    outcome.notes.push(
        "Closed loop: each client sends its next message when the one before is answered, so latencies are those of a \
         full house."
            .into(),
    );
    if !echoed.is_empty() {
        let (batched, echoed) = (a_second(batched), a_second(echoed));
        outcome.figures.extend([
            Figure::ratio("of batches of 256 by one connection", &sends, &batched).at_least(OF_BATCHED),
            Figure::ratio("of a bare HTTP echo", &sends, &echoed).at_least(OF_ECHO),
            Figure::new("batches of 256 by one connection", Unit::PerSecond, batched),
            Figure::new("bare HTTP echo", Unit::PerSecond, echoed),
        ]);
        outcome.notes.push(
            "The echo is a process of its own with as many threads as the api-server. It gets the same bytes, token \
             included, over 256 connections of the same clients, and answers 400 bytes."
                .into(),
        );
    }
    let latency =
        |name: &str, of: &dyn Fn(&Trial) -> f64| Figure::new(name, Unit::Milliseconds, each(ours, of));
    outcome.figures.extend([
        latency("POST to 201, p50", &|trial| trial.answered.milliseconds(50.0)),
        latency("POST to 201, p99", &|trial| trial.answered.milliseconds(99.0)),
        latency("POST to frame, p50", &|trial| trial.frame_within(50.0)),
    ]);
    let costs: Vec<f64> = ours.iter().filter_map(Trial::microseconds_each).collect();
    if !costs.is_empty() {
        outcome.figures.push(Figure::new("CPU of a message", Unit::Microseconds, costs));
    }
    if let Some(trial) = ours.first() {
        let series = [
            Some(trial.stored.series("POST to 201")),
            batched.first().map(|rate| rate.series("batches")),
            echoed.first().map(|rate| rate.series("HTTP echo")),
        ];
        let series = series.into_iter().flatten().collect();
        outcome.plots.push(Plot::over_time("Messages of the first run", "a second", series));
        let series = vec![trial.answered.series("POST to 201"), trial.delivered.series("POST to frame")];
        outcome.plots.push(Plot::percentiles("Latencies of the first run, at the highest rate", series));
    }
    outcome.notes.extend(refusals(ours));
}

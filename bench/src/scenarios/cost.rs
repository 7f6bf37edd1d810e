//! `cost`: CPU time of services, Postgres and Redis for one message.

use std::time::Duration;

use crate::effort::Effort;
use crate::load::audience::Audience;
use crate::load::senders::Pace;
use crate::load::trial::{Arena, Trial};
use crate::meters::cpu::{Cpu, microseconds_each};
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;
use crate::site::cluster::{Cluster, ClusterSpec};
use crate::site::population::Population;

/// Both kinds of channels are among the same users, each with a session and a connection that sends.
const USERS: usize = 1_000;
const USERS_WHEN_SMALL: usize = 300;
/// Members of a channel, and what one message may cost, in microseconds.
const KINDS: [(usize, f64); 2] = [(2, 50.0), (10, 80.0)];
/// For the highest rate.
const CLIENTS: usize = 256;
/// Of the highest rate: as busy as one lets a machine be, with room for a peak; in a closed loop at the limit batches
/// would be larger, and a message cheaper.
const LOAD: f64 = 2.0 / 3.0;

/// A part of the cluster, and what it used.
type Part = (&'static str, fn(&Cpu) -> Duration);
const PARTS: [Part; 4] = [
    ("api-server", |cpu| cpu.apis),
    ("chat-gateway", |cpu| cpu.gateways),
    ("Postgres", |cpu| cpu.postgres),
    ("Redis", |cpu| cpu.redis),
];

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let progress = Progress::of("cost", effort.runs);
    let mut outcome = Outcome::new(
        "cost",
        "CPU time of services, Postgres and Redis for one message, at two thirds of the highest rate",
    );
    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    let (site, users) = (cluster.site(), effort.size(USERS, USERS_WHEN_SMALL));
    let mut populations = Vec::new();
    for (members, _) in KINDS {
        populations.push(Population::seed(&site, &cluster.database, users / members, members).await?);
    }
    let audience = Audience::connect(&site, &populations[0].users).await?;
    let arenas: Vec<Arena<'_>> = populations
        .iter()
        .map(|population| Arena {
            site: &site,
            population,
            audience: Some(&audience),
            database: Some(&cluster.database),
            cluster: Some(&cluster),
        })
        .collect();
    let mut paces = Vec::new();
    for arena in &arenas {
        arena.break_in(effort, CLIENTS).await?;
        paces.push(arena.trial(effort, CLIENTS, Pace::Closed).await?.share(LOAD));
    }
    let mut trials: Vec<Vec<Trial>> = KINDS.iter().map(|_| Vec::new()).collect();
    for run in 1..=effort.runs {
        progress.step(format!("run {run}"));
        for ((arena, pace), trials) in arenas.iter().zip(&paces).zip(&mut trials) {
            arena.begin_anew().await?;
            trials.push(arena.trial(effort, users, *pace).await?);
        }
    }
    for ((members, limit), trials) in KINDS.into_iter().zip(&trials) {
        tell(&mut outcome, members, limit, trials);
    }
    outcome.plots.push(parts_of_kinds(&trials));
    outcome.notes.push(format!(
        "Open loop of {users} users with a session and a sending connection each. The rate is two thirds of what 256 \
         clients got in a closed loop just before, and the same in all runs. The time is that of the api-server, the \
         gateway, Redis and all processes of Postgres, user and kernel, idle work included; the load's is not in it."
    ));
    Ok(outcome)
}

fn tell(outcome: &mut Outcome, members: usize, limit: f64, trials: &[Trial]) {
    let sums = trials.iter().filter_map(Trial::microseconds_each).collect();
    let name = |of: &str| format!("{members} members: {of}");
    outcome.figures.push(Figure::new(name("all together"), Unit::Microseconds, sums).at_most(limit));
    for part in PARTS {
        outcome.figures.push(Figure::new(name(part.0), Unit::Microseconds, of_part(part, trials)));
    }
    let rates = trials.iter().map(|trial| trial.stored.per_second).collect();
    outcome.figures.push(Figure::new(name("messages"), Unit::PerSecond, rates));
    let late = trials.iter().filter(|trial| !trial.kept_up()).count();
    if late > 0 {
        outcome
            .notes
            .push(format!("{members} members: the rate was not kept up in {late} of {} runs.", trials.len()));
    }
}

fn of_part((_, used): Part, trials: &[Trial]) -> Vec<f64> {
    let each = |trial: &Trial| Some(microseconds_each(used(&trial.cpu?), trial.stored.count));
    trials.iter().filter_map(each).collect()
}

fn parts_of_kinds(kinds: &[Vec<Trial>]) -> Plot {
    let median = |part, trials: &[Trial]| Figure::new("", Unit::Microseconds, of_part(part, trials)).median();
    let series = PARTS.map(|part| {
        let points =
            KINDS.iter().zip(kinds).map(|((members, _), trials)| (*members as f64, median(part, trials)));
        Series { name: part.0.to_owned(), points: points.collect() }
    });
    Plot {
        title: "CPU time of a message".into(),
        x_label: "members of the channel".into(),
        y_label: "microseconds".into(),
        kind: PlotKind::Bars,
        series: series.into(),
    }
}

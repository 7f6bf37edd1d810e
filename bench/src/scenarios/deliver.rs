//! `deliver`: channels of ten, all connected: stored and delivered a second, and how long it takes.

mod findings;
mod hall;

use std::path::PathBuf;

use self::findings::Findings;
use self::hall::Hall;
use crate::effort::Effort;
use crate::floors::tutorial::Tutorial;
use crate::load::senders::Pace;
use crate::load::trial::Trial;
use crate::meters::disk::fdatasync;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::site::Place;
use crate::site::cluster::Cluster;
use crate::site::ground::Ground;

/// For the highest rate.
const CLIENTS: usize = 256;
/// Of the table in which a prototype was measured.
const FEW_CLIENTS: usize = 64;
/// So seldom that no message meets another.
const UNLOADED: Pace = Pace::Open { per_second: 50.0 };
const UNLOADED_CLIENTS: usize = 16;
/// Enough for a median that stays.
const FDATASYNCS: usize = 101;

pub async fn run(effort: &Effort, place: &Place) -> anyhow::Result<Outcome> {
    let progress = Progress::of("deliver", effort.runs);
    let ground = Ground::at(place).await?;
    let naru = Hall::of_naru(&ground, effort).await?;
    let tutorial = match &ground.cluster {
        Some(cluster) => Some(Tutorial::start(cluster).await?),
        None => None,
    };
    let by_tutorial = match &tutorial {
        Some(tutorial) => Some(Hall::of_tutorial(tutorial, effort).await?),
        None => None,
    };
    let disk = match &ground.cluster {
        Some(cluster) => Some(data_directory(cluster).await?),
        None => None,
    };

    for hall in [Some(&naru), by_tutorial.as_ref()].into_iter().flatten() {
        hall.break_in(effort, FEW_CLIENTS).await?;
    }
    let mut findings = Findings::default();
    for run in 1..=effort.runs {
        progress.step(format!("run {run}"));
        let highest = naru.of_ten(effort, CLIENTS, Pace::Closed).await?;
        if let Some(tutorial) = &by_tutorial {
            let highest = tutorial.of_ten(effort, CLIENTS, Pace::Closed).await?;
            if run == 1 {
                findings.tutorial_half = Some(tutorial.at_half_of(&highest, effort).await?);
            }
            findings.tutorial_highest.push(highest);
        }
        findings.half.push(naru.at_half_of(&highest, effort).await?);
        findings.highest.push(highest);
        if let Some(disk) = &disk {
            findings.fdatasync.push(fdatasync(disk, FDATASYNCS).await?);
        }
        findings.unloaded.push(naru.of_ten(effort, UNLOADED_CLIENTS, UNLOADED).await?);
        findings.few.push(few_clients(&naru, by_tutorial.as_ref(), effort).await?);
    }
    Ok(findings.into_outcome())
}

/// What 64 clients do: for information, so at half the length.
struct Few {
    of_two: Trial,
    of_ten: Trial,
    by_tutorial: Option<(Trial, Trial)>,
}

async fn few_clients(naru: &Hall<'_>, tutorial: Option<&Hall<'_>>, effort: &Effort) -> anyhow::Result<Few> {
    let short = Effort { warm_up: effort.warm_up / 2, measured: effort.measured / 2, ..*effort };
    let of_two = naru.of_two(&short, FEW_CLIENTS, Pace::Closed).await?;
    let of_ten = naru.of_ten(&short, FEW_CLIENTS, Pace::Closed).await?;
    let by_tutorial = match tutorial {
        Some(tutorial) => Some((
            tutorial.of_two(&short, FEW_CLIENTS, Pace::Closed).await?,
            tutorial.of_ten(&short, FEW_CLIENTS, Pace::Closed).await?,
        )),
        None => None,
    };
    Ok(Few { of_two, of_ten, by_tutorial })
}

async fn data_directory(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let path: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&cluster.database).await?;
    Ok(path.into())
}

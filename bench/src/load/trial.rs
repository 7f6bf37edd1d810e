//! A trial: clients send for a while, and everything that they have caused is accounted for.

use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::PgPool;

use super::audience::Audience;
use super::latencies::{Latencies, Percentiles};
use super::senders::{Counts, Pace, Senders};
use crate::effort::Effort;
use crate::meters::cpu::{Cpu, microseconds_each};
use crate::meters::rate::Rate;
use crate::site::Site;
use crate::site::cluster::Cluster;
use crate::site::population::Population;
use crate::site::tables::{count_entries, settle, shorten_log};

/// A server that delivers nothing for so long has nothing left to deliver.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long after the last frame that is owed, one too many would have come.
const QUIET: Duration = Duration::from_millis(50);
/// Of an open loop's rate: random arrivals alone make a few hundredths of difference.
const KEPT_UP: f64 = 0.95;

/// What a trial is made on.
#[derive(Clone, Copy)]
pub struct Arena<'a> {
    pub site: &'a Site,
    pub population: &'a Population,
    /// One session of each member of each channel; `None`: nobody listens, and nothing is delivered.
    pub audience: Option<&'a Audience>,
    /// Where what was stored is counted again; `None` where that cannot be seen.
    pub database: Option<&'a PgPool>,
    /// Whose CPU time is told.
    pub cluster: Option<&'a Cluster>,
}

/// What came of it. Rates and CPU time are those of what counts; percentiles are of every message that became due then.
pub struct Trial {
    /// Messages that were answered with 201.
    pub stored: Rate,
    /// Frames that came to all sessions together.
    pub frames: Rate,
    pub cpu: Option<Cpu>,
    /// From when a message was due until its 201.
    pub answered: Percentiles,
    /// From when it was due until a session had its frame.
    pub delivered: Percentiles,
    /// Refused as too much, warm-up included.
    pub refused: u64,
    pace: Pace,
}

impl Trial {
    /// Whether the rate of an open loop was reached.
    pub fn kept_up(&self) -> bool {
        match self.pace {
            Pace::Closed => true,
            Pace::Open { per_second } => self.stored.per_second > KEPT_UP * per_second,
        }
    }

    /// An open loop at this share of what was stored a second.
    pub fn share(&self, share: f64) -> Pace {
        // At least one a second: a closed loop of a fraction of a second may have seen nothing.
        Pace::Open { per_second: (self.stored.per_second * share).max(1.0) }
    }

    /// Milliseconds within which this percentage of frames came, from when their messages were due.
    pub fn frame_within(&self, percentile: f64) -> f64 {
        self.delivered.milliseconds(percentile)
    }

    /// Microseconds of CPU time of services, Postgres and Redis for each message; `None` where it cannot be seen.
    pub fn microseconds_each(&self) -> Option<f64> {
        Some(microseconds_each(self.cpu?.of_what_is_measured(), self.stored.count))
    }
}

/// One value of each trial.
pub fn each(trials: &[Trial], look: impl Fn(&Trial) -> f64) -> Vec<f64> {
    trials.iter().map(look).collect()
}

/// What a reader has to know of sends that were refused, if any were.
pub fn refusals<'a>(trials: impl IntoIterator<Item = &'a Trial>) -> Option<String> {
    let refused: u64 = trials.into_iter().map(|trial| trial.refused).sum();
    (refused > 0).then(|| {
        format!(
            "{refused} sends were refused, with 503 as too much or with 429 where a user may send only so often \
             (NARU_SEND_RATE)."
        )
    })
}

impl Arena<'_> {
    /// A short trial of which nothing is told: every cache has seen the load, and every table has rows by which the
    /// planner plans. Once, before the first trial.
    pub async fn break_in(&self, effort: &Effort, clients: usize) -> anyhow::Result<()> {
        let short = Effort { warm_up: Duration::ZERO, measured: effort.warm_up, ..*effort };
        self.trial(&short, clients, Pace::Closed).await?;
        match self.database {
            Some(database) => Ok(settle(database).await?),
            None => Ok(()),
        }
    }

    /// So that a trial begins like the one before, and like its floors.
    pub async fn begin_anew(&self) -> anyhow::Result<()> {
        match self.database {
            Some(database) => Ok(shorten_log(database).await?),
            None => Ok(()),
        }
    }

    /// Lets `clients` send. Fails when a send fails, a session ends, or anything is not stored and delivered once.
    pub async fn trial(&self, effort: &Effort, clients: usize, pace: Pace) -> anyhow::Result<Trial> {
        let nobody = Latencies::new()?;
        let delivered = self.audience.map_or(&nobody, Audience::latencies);
        let frames = || self.audience.map_or(0, Audience::frames);
        let (rows_before, frames_before) = (self.rows().await?, frames());

        let senders = Senders::start(self.site, self.population, clients, pace).await?;
        tokio::time::sleep(effort.warm_up).await;
        senders.sent().stored_latencies.clear();
        delivered.clear();
        let before = self.cpu()?;
        let (stored, frames) = tokio::join!(
            Rate::during(effort.measured, || senders.counts().stored),
            Rate::during(effort.measured, frames)
        );
        let cpu = self.cpu()?.zip(before).map(|(after, before)| after.since(&before));

        let sent = senders.sent().clone();
        let counts = senders.stop().await.context("a sender's connection has ended")?;
        if counts.failed > 0 {
            bail!("{} sends failed, the last with {}", counts.failed, sent.failed_with());
        }
        self.account(&counts, rows_before, frames_before).await?;
        Ok(Trial {
            stored,
            frames,
            cpu,
            answered: sent.stored_latencies.total()?,
            delivered: delivered.total()?,
            refused: counts.refused,
            pace,
        })
    }

    /// Everything that was answered with 201 is a row, and a frame of each member: no more, no less.
    async fn account(&self, counts: &Counts, rows_before: u64, frames_before: u64) -> anyhow::Result<()> {
        let rows = self.rows().await?.saturating_sub(rows_before);
        if self.database.is_some() && rows != counts.stored {
            bail!("{} messages were answered with 201, and {rows} are stored", counts.stored);
        }
        let Some(audience) = self.audience else { return Ok(()) };
        let members = self.population.channels.first().map_or(0, |channel| channel.members.len());
        let owed = counts.stored * members as u64;
        audience.until_frames(frames_before + owed, PATIENCE).await;
        audience.until_quiet(QUIET, PATIENCE).await;
        let came = audience.frames() - frames_before;
        if came != owed {
            bail!("{} messages to {members} members each made {came} frames", counts.stored);
        }
        match audience.ended() {
            0 => Ok(()),
            ended => bail!("{ended} of {} sessions have ended", audience.sessions()),
        }
    }

    async fn rows(&self) -> anyhow::Result<u64> {
        match self.database {
            Some(database) => count_entries(database).await,
            None => Ok(0),
        }
    }

    fn cpu(&self) -> anyhow::Result<Option<Cpu>> {
        self.cluster.map(Cpu::of).transpose()
    }
}

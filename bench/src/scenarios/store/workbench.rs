//! Where the writer and its floors are measured in turn: one server, a database for each side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::naru::Naru;
use super::senders::senders;
use crate::effort::Effort;
use crate::floors::log::{FloorLog, Place, begin_anew, places};
use crate::floors::{batched_insert, one_row};
use crate::load::closed_loop;
use crate::meters::cpu::{Cpu, microseconds_each};
use crate::meters::rate::Rate;
use crate::outcome::{Figure, Series, Unit};
use crate::site::cluster::{Cluster, ClusterSpec};
use crate::site::population::Population;

pub(super) const CHANNELS: usize = 1_000;
/// The sender alone. What is appended is the same with any number of members; with others, of whom none is connected,
/// each message would also be looked up for pushes, which the scenarios `send` and `push` measure.
const MEMBERS: usize = 1;

pub(super) struct Workbench<'a> {
    effort: &'a Effort,
    cluster: Cluster,
    places: Vec<Place>,
    floor: FloorLog,
}

/// One measurement.
pub(super) struct Measured {
    pub(super) rate: Rate,
    cpu: CpuOfMessage,
    /// Messages of a batch on average.
    mean_batch: f64,
    /// See [`super::batch_sizes::BatchSizes::series`].
    batches: Series,
    /// Sends that the writer has refused, warm-up included.
    refused: u64,
}

/// Microseconds for each message.
#[derive(Clone, Copy)]
struct CpuOfMessage {
    /// Senders and writer, or the floor's client.
    ours: f64,
    postgres: f64,
}

/// The same measurement in every run.
#[derive(Default)]
pub(super) struct Measurements {
    pub(super) per_second: Vec<f64>,
    cpu: Vec<CpuOfMessage>,
    mean_batch: Vec<f64>,
    refused: u64,
    /// Of the first run.
    over_time: Option<Series>,
    batches: Option<Series>,
}

impl<'a> Workbench<'a> {
    pub(super) async fn set_up(effort: &'a Effort) -> anyhow::Result<Self> {
        let cluster = Cluster::start(&ClusterSpec { apis: 0, gateways: 0, ..ClusterSpec::default() }).await?;
        let population = Population::seed(&cluster.site(), &cluster.database, CHANNELS, MEMBERS).await?;
        let floor = FloorLog::beside(&cluster, CHANNELS).await?;
        Ok(Self { effort, places: places(&population), floor, cluster })
    }

    /// One row per transaction over so many channels.
    pub(super) async fn one_row(&self, channels: usize) -> anyhow::Result<Measured> {
        let mut begun = Ok(Cpu::default());
        let begin = || begun = Cpu::of(&self.cluster);
        let rate = one_row::rate(self.effort, &self.floor, channels, begin).await?;
        self.measured(rate, &begun?)
    }

    /// Ready batches of this size by one connection.
    pub(super) async fn batched(&self, batch: usize) -> anyhow::Result<Measured> {
        let mut begun = Ok(Cpu::default());
        let begin = || begun = Cpu::of(&self.cluster);
        let rate = batched_insert::rate(self.effort, &self.floor, CHANNELS, batch, begin).await?;
        self.measured(rate, &begun?)
    }

    /// The product's writer with so many senders over so many channels.
    pub(super) async fn naru(&self, channels: usize, at_once: usize) -> anyhow::Result<Measured> {
        begin_anew(&self.cluster.database).await?;
        let naru = Arc::new(Naru::start(&self.cluster.database_url)?);
        let refused = Arc::new(AtomicU64::new(0));
        let workers = senders(&naru, &self.places[..channels], at_once, &refused)?;
        let mut begun = Ok(Cpu::default());
        let rate = closed_loop::rate(self.effort, workers, || begun = Cpu::of(&self.cluster)).await?;
        let measured = self.measured(rate, &begun?)?;
        let batches = naru.batch_sizes()?;
        // The senders had the other references, and have ended.
        if let Some(naru) = Arc::into_inner(naru) {
            naru.stop().await?;
        }
        Ok(Measured {
            mean_batch: batches.mean(),
            batches: batches.series(format!("{at_once} senders")),
            refused: refused.load(Ordering::Relaxed),
            ..measured
        })
    }

    fn measured(&self, rate: Rate, begun: &Cpu) -> anyhow::Result<Measured> {
        let used = Cpu::of(&self.cluster)?.since(begun);
        let each = |time| microseconds_each(time, rate.count);
        let cpu = CpuOfMessage { ours: each(used.load), postgres: each(used.postgres) };
        let batches = Series { name: String::new(), points: Vec::new() };
        Ok(Measured { rate, cpu, mean_batch: 1.0, batches, refused: 0 })
    }
}

impl Measurements {
    /// Takes those of one more run; `name` is that of its curve.
    pub(super) fn add(&mut self, name: impl Into<String>, measured: Measured) {
        self.per_second.push(measured.rate.per_second);
        self.cpu.push(measured.cpu);
        self.mean_batch.push(measured.mean_batch);
        self.refused += measured.refused;
        if self.over_time.is_none() {
            self.over_time = Some(measured.rate.series(name));
            self.batches = Some(measured.batches);
        }
    }

    /// What was stored in a second, and the CPU time of one message.
    pub(super) fn figures(&self, of: &str) -> [Figure; 3] {
        let cpu = |name, of_whom: fn(&CpuOfMessage) -> f64| {
            let runs = self.cpu.iter().map(of_whom).collect();
            Figure::new(format!("{of}: CPU of {name} for a message"), Unit::Microseconds, runs)
        };
        [
            Figure::new(format!("{of}: messages stored"), Unit::PerSecond, self.per_second.clone()),
            cpu("this process", |cpu| cpu.ours),
            cpu("Postgres", |cpu| cpu.postgres),
        ]
    }

    pub(super) fn mean_batch(&self, of: &str) -> Figure {
        Figure::new(format!("{of}: messages in a batch"), Unit::Count, self.mean_batch.clone())
    }

    pub(super) fn over_time(&self) -> Option<Series> {
        self.over_time.clone()
    }

    pub(super) fn batches(&self) -> Option<Series> {
        self.batches.clone()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

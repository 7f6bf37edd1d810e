//! `overload`: a minute at twice the capacity.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, sleep_until};

use crate::effort::Effort;
use crate::load::audience::Audience;
use crate::load::latencies::Percentiles;
use crate::load::lateness::Lateness;
use crate::load::senders::{Counts, Pace, Senders};
use crate::meters::memory::resident_bytes;
use crate::meters::rate::Rate;
use crate::meters::sockets::unread;
use crate::meters::threads::{Busiest, Threads};
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;
use crate::site::Site;
use crate::site::cluster::{Cluster, ClusterSpec, SETTLING_LIMIT, Service};
use crate::site::population::Population;
use crate::site::precedence::Precedence;

/// So that a session gets a tenth of the messages, also at a small size: a mailbox then holds more than half a second's.
const CHANNELS: usize = 10;
const MEMBERS: usize = 100;
/// As many as fill its batches: fewer wait for commits more than for the cluster.
const CAPACITY_CLIENTS: usize = 256;
/// So many that one is free when a message is due, as long as an answer takes less than some 0.2 s.
const CLIENTS: (usize, usize) = (4_096, 256);
/// Times the capacity.
const OVERLOAD: f64 = 2.0;
/// A full minute is so many times what other scenarios measure.
const MEASURED_TIMES: (u32, u32) = (20, 5);
/// Of each client, before memory is looked at: a connection takes its buffers page by page, as they are gone through.
const BREAKING_IN: usize = 16;
/// And no longer than this, however slow the services are.
const LONGEST_BREAKING_IN: Duration = Duration::from_secs(60);
/// As often as during the overload, or a little more.
const MEMORY_PERIOD: Duration = Duration::from_millis(500);
const QUIET: Duration = Duration::from_millis(500);
/// Of what was offered: below it the load was not what this scenario is about, and the notes say so.
const LEAST_OFFERED: f64 = 0.9 * OVERLOAD;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let progress = Progress::of("overload", 2);
    let mut outcome =
        Outcome::new("overload", "a minute at twice the capacity, channels of a hundred, all connected");
    let bench = Bench::start(effort).await?;
    progress.step("capacity");
    let capacity = bench.capacity(effort).await?;
    let memory_before = bench.memory_before(effort, capacity / 2.0).await?;
    progress.step(format!("{:.0} messages a second", capacity * OVERLOAD));
    let (samples, busiest) = bench.overload(effort, capacity * OVERLOAD).await?;

    // Each stretch of the minute is a run: how much they differ shows whether it goes on as it began.
    let stretches: Vec<Stretch> = samples
        .chunks(samples.len().div_ceil(effort.runs))
        .map(Stretch::of)
        .collect::<anyhow::Result<_>>()?;
    let whole = Stretch::of(&samples)?;
    let each = |name: &str, unit, of: fn(&Stretch) -> f64| {
        Figure::new(name, unit, stretches.iter().map(of).collect())
    };
    let relative = |name: &str, of: fn(&Stretch) -> f64| {
        let (runs, capacities): (Vec<f64>, Vec<f64>) =
            stretches.iter().map(|stretch| (of(stretch), capacity)).unzip();
        Figure::ratio(name, &runs, &capacities)
    };
    let peak = samples.iter().map(|sample| sample.memory_bytes).fold(0.0, f64::max);
    outcome.figures.extend([
        Figure::new("p99 from due to frame, whole minute", Unit::Milliseconds, vec![whole.frame_p99])
            .at_most(250.0),
        each("p99 from due to frame, each stretch", Unit::Milliseconds, |stretch| stretch.frame_p99)
            .at_most(250.0),
        each("p50 from due to frame", Unit::Milliseconds, |stretch| stretch.frame_p50),
        each("load tool: p50 from due to sent", Unit::Milliseconds, |stretch| stretch.to_be_sent[0]),
        each("load tool: p99 from due to sent", Unit::Milliseconds, |stretch| stretch.to_be_sent[1]),
        each("load tool: p50 from arrival to read", Unit::Milliseconds, |stretch| stretch.to_be_read[0]),
        each("load tool: p99 from arrival to read", Unit::Milliseconds, |stretch| stretch.to_be_read[1]),
        each("connections with a request that the api-server has not read", Unit::Count, |s| {
            s.requests_unread
        }),
        each("connections with an answer that the load tool has not read", Unit::Count, |s| s.answers_unread),
        Figure::new(
            "largest resident memory of the services, of the largest at half the capacity",
            Unit::Ratio,
            vec![peak / memory_before],
        )
        .at_most(1.2),
        each("refused, of all sends", Unit::Ratio, Stretch::refused_share),
        relative("offered, of the capacity", |stretch| stretch.stored + stretch.refused),
        relative("accepted, of the capacity", |stretch| stretch.stored),
        Figure::new("capacity: messages delivered", Unit::PerSecond, vec![capacity]),
        Figure::new(
            "services' largest resident memory at half the capacity",
            Unit::Bytes,
            vec![memory_before],
        ),
    ]);
    let refusing = stretches.iter().filter(|stretch| stretch.refused > 0.0);
    let (refusal_p50, refusal_p99): (Vec<f64>, Vec<f64>) =
        refusing.map(|stretch| (stretch.refusal_p50, stretch.refusal_p99)).unzip();
    if !refusal_p99.is_empty() {
        let refusals = Figure::new("p99 from due to refusal", Unit::Milliseconds, refusal_p99);
        outcome.figures.push(refusals.at_most(50.0));
        outcome.figures.push(Figure::new("p50 from due to refusal", Unit::Milliseconds, refusal_p50));
    }
    outcome.plots = plots(&samples);
    outcome.notes = notes(effort, &whole, capacity, &busiest);
    Ok(outcome)
}

struct Bench {
    _precedence: Precedence,
    cluster: Cluster,
    site: Site,
    population: Population,
    audience: Audience,
    clients: usize,
}

impl Bench {
    async fn start(effort: &Effort) -> anyhow::Result<Self> {
        let cluster = Cluster::start(&ClusterSpec::default()).await?;
        // Where the load tool waited for a core, half of its clients had an answer that it had not read.
        let precedence = Precedence::over(&cluster)?;
        let site = cluster.site();
        let population = Population::seed(&site, &cluster.database, CHANNELS, MEMBERS).await?;
        let audience = Audience::connect(&site, &population.users).await?;
        Ok(Self {
            _precedence: precedence,
            cluster,
            site,
            population,
            audience,
            clients: effort.size(CLIENTS.0, CLIENTS.1),
        })
    }

    /// Messages that reach all members, a second, when clients send as fast as they may. Afterwards all is delivered.
    async fn capacity(&self, effort: &Effort) -> anyhow::Result<f64> {
        let senders = Senders::start(&self.site, &self.population, CAPACITY_CLIENTS, Pace::Closed).await?;
        let rate = Rate::of(effort, || self.audience.frames(), || ()).await;
        let sent = senders.stop().await?;
        self.everything_came(0, sent).await?;
        Ok(rate.per_second / MEMBERS as f64)
    }

    /// With the very clients that will be too many: what the services keep for each connection is not overload's. The
    /// largest, as of the overload: both swing.
    async fn memory_before(&self, effort: &Effort, per_second: f64) -> anyhow::Result<f64> {
        let frames_before = self.audience.frames();
        let pace = Pace::Open { per_second };
        let senders = Senders::start(&self.site, &self.population, self.clients, pace).await?;
        let seconds = (self.clients * BREAKING_IN) as f64 / per_second;
        let ends =
            Instant::now() + effort.measured.max(Duration::from_secs_f64(seconds)).min(LONGEST_BREAKING_IN);
        let mut memory = self.memory()?;
        while Instant::now() < ends {
            sleep(MEMORY_PERIOD).await;
            memory = memory.max(self.memory()?);
        }
        let sent = senders.stop().await?;
        self.everything_came(frames_before, sent).await?;
        Ok(memory)
    }

    /// Samples of the whole time, and who was busy. An error: something that was accepted has not come.
    async fn overload(
        &self,
        effort: &Effort,
        per_second: f64,
    ) -> anyhow::Result<(Vec<Sample>, Vec<Busiest>)> {
        let times = if effort.is_small { MEASURED_TIMES.1 } else { MEASURED_TIMES.0 };
        let count = effort.size(60, 10);
        let period = effort.measured * times / u32::try_from(count)?;
        let frames_before = self.audience.frames();
        self.audience.latencies().clear();
        let lateness = Lateness::watch().await?;
        let senders =
            Senders::start(&self.site, &self.population, self.clients, Pace::Open { per_second }).await?;
        let (started, threads) = (Instant::now(), Threads::of(&self.cluster)?);
        let mut samples = Vec::with_capacity(count);
        let (mut counts, mut frames, mut last) = (Counts::default(), frames_before, started);
        for _ in 0..count {
            sleep_until(last + period).await;
            let (now, counts_now, frames_now) = (Instant::now(), senders.counts(), self.audience.frames());
            let seconds = (now - last).as_secs_f64();
            let unread = unread(self.cluster.apis[0].public_port).await?;
            samples.push(Sample {
                at: (now - started).as_secs_f64(),
                seconds,
                stored: counts_now.stored - counts.stored,
                refused: counts_now.refused - counts.refused,
                frames: frames_now - frames,
                frame_latencies: self.audience.latencies().take()?,
                refusal_latencies: senders.sent().refused_latencies.take()?,
                waits_to_be_sent: senders.sent().waits.take()?,
                waits_to_be_read: lateness.latencies().take()?,
                requests_unread: unread.by_server as f64,
                answers_unread: unread.by_clients as f64,
                memory_bytes: self.memory()?,
            });
            (counts, frames, last) = (counts_now, frames_now, now);
        }
        let busiest = Threads::of(&self.cluster)?.busiest_since(&threads, started.elapsed());
        let sent = senders.stop().await?;
        self.everything_came(frames_before, sent).await?;
        Ok((samples, busiest))
    }

    async fn everything_came(&self, frames_before: u64, sent: Counts) -> anyhow::Result<()> {
        self.audience.until_quiet(QUIET, SETTLING_LIMIT).await;
        if sent.failed > 0 || self.audience.ended() > 0 {
            bail!("{} sends failed and {} sessions ended", sent.failed, self.audience.ended());
        }
        let (came, due) = (self.audience.frames() - frames_before, sent.stored * MEMBERS as u64);
        if came != due {
            bail!("{} messages were accepted, which makes {due} frames, and {came} came", sent.stored);
        }
        Ok(())
    }

    /// Resident bytes of the services together.
    fn memory(&self) -> anyhow::Result<f64> {
        let services = self.cluster.apis.iter().chain(&self.cluster.gateways).map(Service::pid);
        let bytes: u64 = services.map(resident_bytes).sum::<anyhow::Result<u64>>()?;
        Ok(bytes as f64)
    }
}

/// One second, as a rule.
struct Sample {
    /// Seconds from the beginning to its end.
    at: f64,
    seconds: f64,
    stored: u64,
    refused: u64,
    frames: u64,
    frame_latencies: Percentiles,
    refusal_latencies: Percentiles,
    waits_to_be_sent: Percentiles,
    waits_to_be_read: Percentiles,
    /// Connections at this moment.
    requests_unread: f64,
    answers_unread: f64,
    memory_bytes: f64,
}

/// Some samples together; counts are a second's, latencies in ms.
struct Stretch {
    stored: f64,
    refused: f64,
    frame_p50: f64,
    frame_p99: f64,
    refusal_p50: f64,
    refusal_p99: f64,
    to_be_sent: [f64; 2],
    to_be_read: [f64; 2],
    requests_unread: f64,
    answers_unread: f64,
}

impl Stretch {
    fn of(samples: &[Sample]) -> anyhow::Result<Self> {
        let seconds: f64 = samples.iter().map(|sample| sample.seconds).sum();
        let together = |of: fn(&Sample) -> &Percentiles| -> anyhow::Result<Percentiles> {
            let mut all = Percentiles::none()?;
            samples.iter().try_for_each(|sample| all.add(of(sample)))?;
            Ok(all)
        };
        let frames = together(|sample| &sample.frame_latencies).context("latencies of frames")?;
        let refusals = together(|sample| &sample.refusal_latencies).context("latencies of refusals")?;
        let to_be_sent = together(|sample| &sample.waits_to_be_sent).context("waits to be sent")?;
        let to_be_read = together(|sample| &sample.waits_to_be_read).context("waits to be read")?;
        let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len() as f64;
        let median_and_p99 = |all: &Percentiles| [50.0, 99.0].map(|percent| all.milliseconds(percent));
        Ok(Self {
            stored: samples.iter().map(|sample| sample.stored).sum::<u64>() as f64 / seconds,
            refused: samples.iter().map(|sample| sample.refused).sum::<u64>() as f64 / seconds,
            frame_p50: frames.milliseconds(50.0),
            frame_p99: frames.milliseconds(99.0),
            refusal_p50: refusals.milliseconds(50.0),
            to_be_sent: median_and_p99(&to_be_sent),
            to_be_read: median_and_p99(&to_be_read),
            refusal_p99: refusals.milliseconds(99.0),
            requests_unread: mean(|sample| sample.requests_unread),
            answers_unread: mean(|sample| sample.answers_unread),
        })
    }

    fn refused_share(&self) -> f64 {
        self.refused / (self.stored + self.refused).max(f64::MIN_POSITIVE)
    }
}

fn plots(samples: &[Sample]) -> Vec<Plot> {
    let series = |name: &str, of: &dyn Fn(&Sample) -> f64| Series {
        name: name.into(),
        points: samples.iter().map(|sample| (sample.at, of(sample))).collect(),
    };
    let plot = |title: &str, y_label: &str, series| Plot {
        title: title.into(),
        x_label: "seconds".into(),
        y_label: y_label.into(),
        kind: PlotKind::Lines,
        series,
    };
    vec![
        plot(
            "Messages at twice the capacity",
            "a second",
            vec![
                series("delivered to all members", &|s| s.frames as f64 / MEMBERS as f64 / s.seconds),
                series("refused", &|s| s.refused as f64 / s.seconds),
            ],
        ),
        plot(
            "Latency at twice the capacity, p99 of each second",
            "ms",
            vec![
                series("from due to frame", &|s| s.frame_latencies.milliseconds(99.0)),
                series("from due to refusal", &|s| s.refusal_latencies.milliseconds(99.0)),
            ],
        ),
        plot("Resident memory of the services", "MB", vec![series("both", &|s| s.memory_bytes / 1e6)]),
    ]
}

fn notes(effort: &Effort, whole: &Stretch, capacity: f64, busiest: &[Busiest]) -> Vec<String> {
    let mut notes = vec![
        format!(
            "The capacity is what {CAPACITY_CLIENTS} clients get delivered that send as fast as they may. Then {} clients \
             offer {OVERLOAD} times that in an open loop. A message's time counts from when it was due, so also while \
             all clients wait for answers. The load tool has the same cores as what it measures, and goes first there \
             (services, Postgres and Redis have nice 10, and it is SCHED_BATCH), as if it had its own: how late it sends and reads is in \
             these times, and told beside them.",
            effort.size(CLIENTS.0, CLIENTS.1)
        ),
        format!(
            "Of this time the busiest thread of each process had a core and waited for one: {}.",
            busiest.iter().map(told).collect::<Vec<_>>().join("; ")
        ),
        "Everything that was accepted came, and nothing twice: frames = messages accepted × members.".into(),
        "The bound for refusals is our own: the issue says \"at once\".".into(),
    ];
    if whole.refused_share() == 0.0 {
        notes.push("Nothing was refused.".into());
    }
    let offered = (whole.stored + whole.refused) / capacity;
    if offered < LEAST_OFFERED {
        notes.push(format!(
            "The load tool got only {offered:.2} times the capacity out: there was less overload than this is about."
        ));
    }
    notes
}

fn told(Busiest { process, ran, waited }: &Busiest) -> String {
    format!("{process} {:.0} % and {:.0} %", ran * 100.0, waited * 100.0)
}

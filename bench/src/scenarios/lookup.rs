//! `lookup`: a round trip to the registry for 10, 100 and 1,000 recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use api_server::config::Config;
use harness::redis::Redis;
use shared_runtime::registry::{Intent, RedisRegistry, SessionRegistry};
use shared_types::registry_keys::RegistryKeys;
use shared_types::{GatewayId, UserId};

use crate::effort::Effort;
use crate::floors::mget::Mget;
use crate::load::closed_loop::{self, Worker};
use crate::load::latencies::Latencies;
use crate::meters::cpu;
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;

const RECIPIENTS: [usize; 3] = [10, 100, 1_000];
/// Alone, a question takes its round trip; many together show what a question costs.
const ASKERS: [usize; 2] = [1, 64];
/// Of the rate of `MGET`.
const OF_MGET: f64 = 0.8;
/// Before commands are counted: more than the registry has connections, of which some may have to be made anew.
const UNCOUNTED: u64 = 16;
/// Questions whose commands are counted, for each number of recipients.
const COUNTED: u64 = 100;
/// There are six cells, and a question takes so little that a second of them is plenty.
const SHARE_OF_EFFORT: u32 = 3;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let effort = &Effort {
        warm_up: effort.warm_up / SHARE_OF_EFFORT,
        measured: effort.measured / SHARE_OF_EFFORT,
        ..*effort
    };
    let redis = Redis::start_private().await;
    let bench = Bench::set_up(&redis).await?;
    let mut cells = Vec::new();
    for recipients in RECIPIENTS {
        cells.extend(ASKERS.map(|askers| Cell::new(recipients, askers)));
    }
    let mut commands = Vec::new();
    let progress = Progress::of("lookup", effort.runs);
    for _ in 0..effort.runs {
        for cell in &mut cells {
            cell.measure(effort, &bench).await?;
        }
        commands.push(bench.commands_of_a_question().await?);
        progress.step("");
    }
    let measures = "questions to the registry where so many connected recipients are, a second";
    let mut outcome = Outcome::new("lookup", measures);
    for cell in &cells {
        outcome.figures.extend(cell.figures());
    }
    let commands = Figure::new("commands that Redis executes for a question", Unit::Count, commands);
    outcome.figures.push(commands.at_most(1.0));
    let unanswered: u64 = cells.iter().map(|cell| cell.ours.unanswered).sum();
    if unanswered > 0 {
        outcome.notes.push(format!("{unanswered} questions were not answered within the registry's limit."));
    }
    outcome.plots = ASKERS.map(|askers| percentiles(askers, &cells)).into();
    outcome.notes.push(
        "MGET has its keys ready and leaves the answers the bytes that came; the registry makes the keys from user ids \
         and reads the gateways' ids from the answers. One question at a time shows the round trip, 64 at a time what \
         a question costs."
            .into(),
    );
    Ok(outcome)
}

/// A registry in which everybody has a session, and the way around it.
struct Bench {
    registry: Arc<RedisRegistry>,
    mget: Mget,
    users: Arc<[UserId]>,
    keys: Arc<[String]>,
}

impl Bench {
    async fn set_up(redis: &Redis) -> anyhow::Result<Self> {
        // The services' own client, from their own options.
        let config = Config::try_parse_from([format!("--redis-url={}", redis.url())])?;
        let registry = RedisRegistry::new(config.redis.client()?, config.redis.prefix());
        let most = RECIPIENTS.into_iter().max().unwrap_or_default();
        let users: Vec<UserId> =
            (0..most).map(|index| format!("bench-{index:07}").parse()).collect::<Result<_, _>>()?;
        let claims: Vec<_> = users.iter().map(|user| (user.clone(), Intent::Claim)).collect();
        registry.settle(&GatewayId::generate(), &claims).await?;
        let keys = RegistryKeys::new(config.redis.prefix());
        Ok(Self {
            registry: Arc::new(registry),
            mget: Mget::connect(&redis.url()).await?,
            keys: users.iter().map(|user| keys.user(user)).collect(),
            users: users.into(),
        })
    }

    /// The most of all numbers of recipients.
    async fn commands_of_a_question(&self) -> anyhow::Result<f64> {
        let mut server = self.mget.clone();
        for _ in 0..UNCOUNTED {
            self.registry.whereabouts(&self.users[..1]).await?;
        }
        let mut most: f64 = 0.0;
        for recipients in RECIPIENTS {
            let before = server.commands().await?;
            for _ in 0..COUNTED {
                self.registry.whereabouts(&self.users[..recipients]).await?;
            }
            let executed = server.commands().await? - before;
            most = most.max(executed as f64 / COUNTED as f64);
        }
        Ok(most)
    }
}

/// So many askers that ask for so many recipients.
struct Cell {
    recipients: usize,
    askers: usize,
    ours: Side,
    floor: Side,
}

#[derive(Default)]
struct Side {
    /// Of each run.
    per_second: Vec<f64>,
    p50_milliseconds: Vec<f64>,
    /// Microseconds of this process for a question.
    cpu: Vec<f64>,
    /// Of the first run.
    percentiles: Option<Series>,
    /// In all runs.
    unanswered: u64,
}

impl Cell {
    fn new(recipients: usize, askers: usize) -> Self {
        Self { recipients, askers, ours: Side::default(), floor: Side::default() }
    }

    async fn measure(&mut self, effort: &Effort, bench: &Bench) -> anyhow::Result<()> {
        let (recipients, askers) = (self.recipients, self.askers);
        let keys: Arc<[String]> = bench.keys[..recipients].into();
        let floor = |_| Bare { mget: bench.mget.clone(), keys: keys.clone() };
        let name = format!("MGET, {recipients} keys");
        self.floor.measure(effort, &name, (0..askers).map(floor)).await?;
        let users: Arc<[UserId]> = bench.users[..recipients].into();
        let ours = |_| Product { registry: bench.registry.clone(), users: users.clone() };
        let name = format!("naru, {recipients} recipients");
        self.ours.measure(effort, &name, (0..askers).map(ours)).await
    }

    fn figures(&self) -> Vec<Figure> {
        let of = format!("{} recipients, {} at a time", self.recipients, self.askers);
        let ratio = Figure::ratio(format!("{of}: of MGET"), &self.ours.per_second, &self.floor.per_second);
        let mut figures = vec![ratio.at_least(OF_MGET)];
        for (name, side) in [("questions", &self.ours), ("MGET", &self.floor)] {
            figures.push(Figure::new(format!("{of}: {name}"), Unit::PerSecond, side.per_second.clone()));
            figures.push(if self.askers == 1 {
                let p50 = side.p50_milliseconds.clone();
                Figure::new(format!("{of}: {name}, p50"), Unit::Milliseconds, p50)
            } else {
                let name = format!("{of}: {name}, CPU of this process for one");
                Figure::new(name, Unit::Microseconds, side.cpu.clone())
            });
        }
        figures
    }
}

impl Side {
    async fn measure<A: Ask>(
        &mut self,
        effort: &Effort,
        name: &str,
        askers: impl Iterator<Item = A>,
    ) -> anyhow::Result<()> {
        let latencies = Arc::new(Latencies::new()?);
        let unanswered = Arc::new(AtomicU64::new(0));
        let asker =
            |(index, ask)| Asker { ask, index, latencies: latencies.clone(), unanswered: unanswered.clone() };
        let workers = askers.enumerate().map(asker).collect();
        let mut begun = Ok(Duration::ZERO);
        let begin = || {
            latencies.clear();
            begun = cpu::of_process(std::process::id());
        };
        let rate = closed_loop::rate(effort, workers, begin).await?;
        let used = cpu::of_process(std::process::id())?.saturating_sub(begun?);
        let percentiles = latencies.total()?;
        self.per_second.push(rate.per_second);
        self.p50_milliseconds.push(percentiles.milliseconds(50.0));
        self.cpu.push(cpu::microseconds_each(used, rate.count));
        self.percentiles.get_or_insert_with(|| percentiles.series(name));
        self.unanswered += unanswered.load(Ordering::Relaxed);
        Ok(())
    }
}

/// One question; whether it was answered in time.
trait Ask: Send + 'static {
    fn ask(&mut self) -> impl Future<Output = anyhow::Result<bool>> + Send;
}

struct Product {
    registry: Arc<RedisRegistry>,
    users: Arc<[UserId]>,
}

impl Ask for Product {
    async fn ask(&mut self) -> anyhow::Result<bool> {
        // After a second it gives up, which an unoptimised build on a busy machine may need.
        let Ok(places) = self.registry.whereabouts(&self.users).await else { return Ok(false) };
        // Everybody is connected: an answer that knows less would be cheaper.
        if places.len() != self.users.len() || places.iter().any(|place| place.gateways.len() != 1) {
            bail!("the registry has forgotten somebody");
        }
        Ok(true)
    }
}

struct Bare {
    mget: Mget,
    keys: Arc<[String]>,
}

impl Ask for Bare {
    async fn ask(&mut self) -> anyhow::Result<bool> {
        self.mget.ask(&self.keys).await?;
        Ok(true)
    }
}

struct Asker<A> {
    ask: A,
    index: usize,
    latencies: Arc<Latencies>,
    unanswered: Arc<AtomicU64>,
}

impl<A: Ask> Worker for Asker<A> {
    async fn turn(&mut self) -> anyhow::Result<u64> {
        let asked = Instant::now();
        if !self.ask.ask().await? {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return Ok(0);
        }
        self.latencies.note(self.index, asked.elapsed());
        Ok(1)
    }
}

fn percentiles(askers: usize, cells: &[Cell]) -> Plot {
    let cells = cells.iter().filter(|cell| cell.askers == askers);
    let series = cells.flat_map(|cell| [&cell.ours, &cell.floor]).filter_map(|side| side.percentiles.clone());
    Plot {
        title: format!("Time of a question, {askers} at a time, first run"),
        x_label: "percentile".into(),
        y_label: "ms".into(),
        kind: PlotKind::Percentiles,
        series: series.collect(),
    }
}

//! `storm`: everybody connects at once, and everybody resumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::effort::Effort;
use crate::load::message;
use crate::load::websocket::ListeningSocket;
use crate::meters::{cpu, exposed};
use crate::outcome::{Figure, Outcome, Unit};
use crate::progress::Progress;
use crate::site::Site;
use crate::site::cluster::{Cluster, ClusterSpec, SETTLING_LIMIT};
use crate::site::population::{Population, User, users};

/// Each connects as soon as its session before is `ready`.
const CONNECTORS: usize = 256;
const CONNECTS: usize = 8_000;
const RESUMES: usize = 4_000;
const MEMBERS: usize = 10;
/// What everybody has missed of the one channel.
const MISSED: usize = 20;
/// Longer than any storm takes that is worth a figure.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let connects = effort.size(CONNECTS, 300);
    let channels = effort.size(RESUMES, 200) / MEMBERS;
    let progress = Progress::of("storm", effort.runs * 2);
    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    // Each connect that counts is another user's: their tokens are verified, not remembered.
    let mut next_user = channels * MEMBERS;
    let mut strangers = |count: usize| {
        next_user += count;
        users(&cluster.site(), next_user - count..next_user)
    };
    // Threads, connections and pages of memory that the first ones need.
    connect(&cluster, strangers(CONNECTORS)?).await?;

    let (mut connected, mut connected_by_clock) = (Vec::new(), Vec::new());
    let (mut resumed, mut resumed_by_clock, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        let storm = connect(&cluster, strangers(connects)?).await?;
        connected.push(connects as f64 / storm.gateway_cpu.as_secs_f64());
        connected_by_clock.push(connects as f64 / storm.elapsed.as_secs_f64());
        progress.step("resumes");
        let population = seed(&cluster, channels).await?;
        let before = log_reads(&cluster).await?;
        let storm = resume(&cluster, &population).await?;
        let cpu = storm.gateway_cpu + storm.api_cpu;
        resumed.push((channels * MEMBERS) as f64 / cpu.as_secs_f64());
        resumed_by_clock.push((channels * MEMBERS) as f64 / storm.elapsed.as_secs_f64());
        reads.push((log_reads(&cluster).await? - before) / channels as f64);
        progress.step("connects");
    }

    let mut outcome =
        Outcome::new("storm", "sessions that begin in a CPU second when everybody connects at once");
    outcome.figures = vec![
        Figure::new("connects in a CPU second of the gateway", Unit::PerSecond, connected).at_least(8_000.0),
        Figure::new("connects a second by the clock", Unit::PerSecond, connected_by_clock),
        Figure::new("resumes in a CPU second of gateway and api-server", Unit::PerSecond, resumed)
            .at_least(2_000.0),
        Figure::new("resumes a second by the clock", Unit::PerSecond, resumed_by_clock),
        Figure::new("reads of the log / distinct (channel, cursor)", Unit::Ratio, reads).at_most(1.0),
    ];
    outcome.notes.push(format!(
        "{connects} users connect over {CONNECTORS} connectors in a closed loop and stay; a connect is TCP, the upgrade \
         with a token that the gateway has not seen, the claim in Redis, and `ready`. What the gateway used until the last \
         one was ready counts."
    ));
    outcome.notes.push(format!(
        "Resumes: {} users, {channels} channels of {MEMBERS}, each connects as above, sends `resume` with cursor 0, reads \
         {MISSED} missed entries and `resumed`. Reads are those that the gateway counts (log_reads): one request to the \
         api-server each, which is one query of `entries`. What there is to read is asked in one request for up to 256 \
         sessions, and is not among them.",
        channels * MEMBERS
    ));
    Ok(outcome)
}

/// What a storm took.
struct Storm {
    elapsed: Duration,
    gateway_cpu: Duration,
    api_cpu: Duration,
}

async fn connect(cluster: &Cluster, users: Vec<User>) -> anyhow::Result<Storm> {
    let ask = users.iter().map(|_| None).collect();
    storm(cluster, users, ask).await
}

async fn resume(cluster: &Cluster, population: &Population) -> anyhow::Result<Storm> {
    let mut resumes = Vec::new();
    for channel in &population.channels {
        let resume = json!({"type": "resume", "cursors": {channel.id.to_string(): 0}}).to_string();
        resumes.extend(channel.members.clone().map(|_| Some(resume.clone())));
    }
    storm(cluster, population.users.clone(), resumes).await
}

/// Everybody connects, and resumes if there is a frame for that. When it is over, all sessions end.
async fn storm(cluster: &Cluster, users: Vec<User>, resumes: Vec<Option<String>>) -> anyhow::Result<Storm> {
    let site = Arc::new(cluster.site());
    let all: Arc<Vec<(User, Option<String>)>> = Arc::new(users.into_iter().zip(resumes).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let (gateway, api) = (&cluster.gateways[0], &cluster.apis[0]);
    let before = (cpu::of_process(gateway.pid())?, cpu::of_process(api.pid())?);
    let began = Instant::now();
    let mut connectors = JoinSet::new();
    for _ in 0..CONNECTORS.min(all.len()) {
        connectors.spawn(connect_in_turn(site.clone(), all.clone(), next.clone()));
    }
    let mut held = Vec::with_capacity(all.len());
    let ended = tokio::time::timeout(PATIENCE, async {
        while let Some(sockets) = connectors.join_next().await {
            held.extend(sockets??);
        }
        anyhow::Ok(())
    });
    ended.await.context("a storm that does not end")??;
    let elapsed = began.elapsed();
    let storm = Storm {
        elapsed,
        gateway_cpu: cpu::of_process(gateway.pid())?.saturating_sub(before.0),
        api_cpu: cpu::of_process(api.pid())?.saturating_sub(before.1),
    };
    drop(held);
    until_empty(cluster).await?;
    Ok(storm)
}

async fn connect_in_turn(
    site: Arc<Site>,
    all: Arc<Vec<(User, Option<String>)>>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<ListeningSocket>> {
    let mut held = Vec::new();
    while let Some((user, resume)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut socket = ListeningSocket::open(site.gateway(0), &user.token).await?;
        if let Some(resume) = resume {
            socket.send(resume).await?;
            until_resumed(&mut socket).await?;
        }
        held.push(socket);
    }
    Ok(held)
}

async fn until_resumed(socket: &mut ListeningSocket) -> anyhow::Result<()> {
    let (mut entries, mut end) = (0, None);
    while end.is_none() {
        let look = |frame: &[u8]| {
            if message::due(frame).is_some() {
                entries += 1;
            } else {
                end = Some(String::from_utf8_lossy(frame).into_owned());
            }
        };
        socket.next(look).await?;
    }
    match end {
        Some(resumed) if resumed.starts_with(r#"{"type":"resumed""#) && entries == MISSED => Ok(()),
        other => bail!("{entries} entries and then {}", other.unwrap_or_default()),
    }
}

/// Channels anew, with entries that nobody has got.
async fn seed(cluster: &Cluster, channels: usize) -> anyhow::Result<Population> {
    let database = &cluster.database;
    // Who is in the channels of the run before would be told of those too.
    sqlx::query("TRUNCATE channels, participants, entries").execute(database).await?;
    let population = Population::seed(&cluster.site(), database, channels, MEMBERS).await?;
    seed_entries(database).await?;
    Ok(population)
}

async fn seed_entries(database: &PgPool) -> anyhow::Result<()> {
    let missed = i64::try_from(MISSED)?;
    sqlx::query(
        "INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, client_message_id)
         SELECT id, seq, gen_random_uuid(), 'message', 'bench-0000000', now(), 'text', $2, 'm-' || seq
         FROM channels, generate_series(1, $1) AS seqs (seq)",
    )
    .bind(missed)
    .bind(message::content())
    .execute(database)
    .await?;
    sqlx::query("UPDATE channels SET last_seq = $1").bind(missed).execute(database).await?;
    sqlx::query("VACUUM (ANALYZE) channels, entries").execute(database).await?;
    Ok(())
}

async fn log_reads(cluster: &Cluster) -> anyhow::Result<f64> {
    exposed::sample(&cluster.gateways[0], r#"naru_gateway_log_reads_total{outcome="read"}"#).await
}

async fn until_empty(cluster: &Cluster) -> anyhow::Result<()> {
    let limit = Instant::now() + SETTLING_LIMIT;
    while exposed::sample(&cluster.gateways[0], "naru_gateway_sessions").await? > 0.0 {
        if Instant::now() > limit {
            bail!("sessions live on whose sockets have ended");
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

//! `slow`: what 999 others notice of a socket that does not read.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::effort::Effort;
use crate::load::audience::Audience;
use crate::load::deliveries::Deliveries;
use crate::load::latencies::Percentiles;
use crate::load::message;
use crate::load::websocket::ListeningSocket;
use crate::meters::{cpu, exposed};
use crate::outcome::{Figure, Outcome, Plot, Unit};
use crate::progress::Progress;
use crate::site::Site;
use crate::site::cluster::{Cluster, ClusterSpec, SETTLING_LIMIT};
use crate::site::population::{User, users};

const SESSIONS: usize = 1_000;
/// The others are spread over so many channels; the one that may be stuck is in each, so that every delivery meets it.
const CHANNELS: usize = 9;
/// Between two entries, of one channel after the other.
const PACE: Duration = Duration::from_millis(8);
/// Longer, and the stuck session's mailbox would overflow.
const LONGEST: Duration = Duration::from_secs(4);
/// The stuck one's; the kernel makes of it what it makes.
const RECEIVE_BUFFER_BYTES: u32 = 4 * 1024;
/// As long as an entry gets (content and metadata at their limits).
const FILL_CONTENT_BYTES: usize = 28 * 1024;
/// In one request, about 2 MB.
const FILLED_TOGETHER: usize = 64;
/// In that time the gateway has written what the kernel takes.
const FILLING: Duration = Duration::from_millis(500);
/// Frames that are to wait in the mailbox itself, behind full buffers.
const WAITING: usize = 100;
/// What a mailbox takes, by default.
const MAILBOX_FRAMES: usize = 1_024;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let sessions = effort.size(SESSIONS, 100);
    let measured = effort.measured.min(LONGEST);
    let effort = Effort { measured, ..*effort };
    // A tail needs more of them than a mean, and there is time.
    let runs = effort.runs * effort.size(2, 1);
    let progress = Progress::of("slow", runs * 2);
    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    let users = users(&cluster.site(), 0..sessions)?;
    let scene = Scene::set(&cluster, &users).await?;

    let (mut with, mut without) = (Side::default(), Side::default());
    let mut first = Vec::new();
    for run in 0..runs {
        // Which one comes first changes, so that neither has the warmer machine.
        for is_stuck in if run % 2 == 0 { [false, true] } else { [true, false] } {
            let (latencies, cpu) = scene.measure(&effort, is_stuck).await?;
            let (side, name) = if is_stuck { (&mut with, "one stuck") } else { (&mut without, "all read") };
            side.p99.push(latencies.milliseconds(99.0));
            side.cpu.push(cpu);
            if run == 0 {
                first.push(latencies.series(name));
            }
            progress.step(name);
        }
    }

    let mut outcome = Outcome::new("slow", "POST to frame of 999 sockets while the thousandth does not read");
    outcome.plots.push(Plot::percentiles("POST to frame", first));
    outcome.figures = vec![
        Figure::ratio("p99 with a stuck socket / without", &with.p99, &without.p99).at_most(1.2),
        Figure::new("p99 with a stuck socket", Unit::Milliseconds, with.p99),
        Figure::new("p99 while all read", Unit::Milliseconds, without.p99),
        Figure::ratio("gateway's CPU of a frame with a stuck socket / without", &with.cpu, &without.cpu),
    ];
    outcome.notes.push(format!(
        "{sessions} sessions of one gateway in {CHANNELS} channels, one of the sessions in each of them; an entry every {} \
         ms (open loop), posted to the gateway itself. A latency counts from when the entry was due until one of the \
         others has read its frame. The stuck socket is the one in every channel; it has a receive \
         buffer of {RECEIVE_BUFFER_BYTES} bytes and has been sent {} entries of {FILL_CONTENT_BYTES} bytes before: more \
         than the kernel's send buffer takes ({} bytes), so that at least {WAITING} frames wait in the gateway and every \
         entry adds one. It stays below the limit of {MAILBOX_FRAMES} frames and is stuck from the first entry to the \
         last, which is checked. Without it the same user reads like everybody, so the work is the same.",
        PACE.as_millis(),
        scene.fill_frames,
        scene.send_buffer_bytes,
    ));
    Ok(outcome)
}

/// Of each run.
#[derive(Default)]
struct Side {
    p99: Vec<f64>,
    cpu: Vec<f64>,
}

struct Scene<'a> {
    cluster: &'a Cluster,
    site: Site,
    others: &'a [User],
    /// The one that may be stuck.
    last: &'a [User],
    audience: Audience,
    all: &'a [User],
    send_buffer_bytes: usize,
    fill_frames: usize,
}

impl<'a> Scene<'a> {
    async fn set(cluster: &'a Cluster, all: &'a [User]) -> anyhow::Result<Self> {
        let site = cluster.site();
        let (others, last) = all.split_at(all.len() - 1);
        let audience = Audience::connect(&site, others).await?;
        let send_buffer_bytes = largest_send_buffer()?;
        let fill_frames = WAITING + send_buffer_bytes.div_ceil(FILL_CONTENT_BYTES);
        Ok(Self { cluster, site, others, last, audience, all, send_buffer_bytes, fill_frames })
    }

    /// What the others' frames took, and the gateway's CPU time in microseconds for each of them.
    async fn measure(&self, effort: &Effort, is_stuck: bool) -> anyhow::Result<(Percentiles, f64)> {
        let entries = (effort.warm_up + effort.measured).as_millis() / PACE.as_millis();
        if self.fill_frames + usize::try_from(entries)? >= MAILBOX_FRAMES {
            bail!("the kernel keeps so much for a socket that none can be stuck here");
        }
        let (stuck, reader);
        if is_stuck {
            stuck = Some(self.stuck().await?);
            reader = None;
        } else {
            stuck = None;
            reader = Some(Audience::connect(&self.site, self.last).await?);
        }
        // The one of the phase before may not have been noticed to be gone.
        self.until_all_are_there().await?;
        // Channels of its own: to sessions that come and go each is new, whose first entry they take as it comes.
        let groups = self.others.chunks(self.others.len().div_ceil(CHANNELS));
        let groups = groups.map(|some| some.iter().chain(self.last).collect()).collect();
        let mut deliveries = Deliveries::of(&self.cluster.gateways[0], groups).await?;
        let before = self.audience.frames();
        let warm_up = post_for(effort.warm_up, &mut deliveries).await?;
        self.until_heard(before + warm_up).await?;
        self.audience.latencies().clear();
        let gateway = self.cluster.gateways[0].pid();
        let cpu_before = cpu::of_threads(gateway)?;
        let frames = post_for(effort.measured, &mut deliveries).await?;
        self.until_heard(before + warm_up + frames).await?;
        let cpu = cpu::of_threads(gateway)?.saturating_sub(cpu_before);
        if self.sessions().await? != self.all.len() {
            bail!("the stuck session was closed: it was not stuck to the end");
        }
        let latencies = self.audience.latencies().total()?;
        drop((stuck, reader));
        Ok((latencies, cpu::microseconds_each(cpu, frames)))
    }

    /// A session with full buffers and a mailbox that has begun to fill. Nobody reads from it.
    async fn stuck(&self) -> anyhow::Result<ListeningSocket> {
        let token = &self.last[0].token;
        let mut socket =
            ListeningSocket::open_narrow(self.site.gateway(0), token, RECEIVE_BUFFER_BYTES).await?;
        // Until a first frame of its client a session holds entries back for a while.
        socket.send(r#"{"type":"ping"}"#).await?;
        let mut deliveries = Deliveries::open(&self.cluster.gateways[0], self.last, 1).await?;
        let content = "x".repeat(FILL_CONTENT_BYTES);
        let mut left = self.fill_frames;
        while left > 0 {
            let some = left.min(FILLED_TOGETHER);
            deliveries.post_content(0..1, some, 0, &content).await?;
            left -= some;
        }
        sleep(FILLING).await;
        Ok(socket)
    }

    /// Waits until the others together have got so many frames.
    async fn until_heard(&self, frames: u64) -> anyhow::Result<()> {
        let limit = Instant::now() + SETTLING_LIMIT;
        while self.audience.frames() < frames {
            if self.audience.ended() > 0 || Instant::now() > limit {
                bail!("{} frames have come of {frames}", self.audience.frames());
            }
            sleep(PACE).await;
        }
        Ok(())
    }

    async fn until_all_are_there(&self) -> anyhow::Result<()> {
        let limit = Instant::now() + SETTLING_LIMIT;
        while self.sessions().await? != self.all.len() {
            if Instant::now() > limit {
                bail!("a session lives on whose socket has ended");
            }
            sleep(PACE).await;
        }
        Ok(())
    }

    async fn sessions(&self) -> anyhow::Result<usize> {
        Ok(exposed::sample(&self.cluster.gateways[0], "naru_gateway_sessions").await? as usize)
    }
}

/// An entry at each tick, whatever the ones before took; how many frames the others get of them.
async fn post_for(time: Duration, deliveries: &mut Deliveries) -> anyhow::Result<u64> {
    let mut tick = interval(PACE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let ends = Instant::now() + time;
    let (mut channel, mut frames) = (0, 0);
    loop {
        let due = tick.tick().await;
        if due >= ends {
            return Ok(frames);
        }
        let to_all = deliveries.post(channel..channel + 1, 1, message::at(due.into_std())).await?;
        frames += to_all - 1;
        channel = (channel + 1) % deliveries.channels();
    }
}

/// The most that the kernel keeps for a socket that is written to and not read from (tcp(7)).
fn largest_send_buffer() -> anyhow::Result<usize> {
    let sizes = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").context("tcp_wmem cannot be read")?;
    let largest = sizes.split_whitespace().nth(2).and_then(|size| size.parse().ok());
    largest.context("tcp_wmem has another shape")
}

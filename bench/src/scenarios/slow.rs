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
use crate::meters::exposed;
use crate::outcome::{Figure, Outcome, Plot, Unit};
use crate::progress::Progress;
use crate::site::Site;
use crate::site::cluster::{Cluster, ClusterSpec, SETTLING_LIMIT};
use crate::site::population::{User, users};

const SESSIONS: usize = 1_000;
/// Between two entries of the one channel of all.
const PACE: Duration = Duration::from_millis(25);
/// Longer, and the stuck session's mailbox would overflow, or its 30 s without a byte would end.
const LONGEST: Duration = Duration::from_secs(10);
/// The stuck one's; the kernel makes of it what it makes.
const RECEIVE_BUFFER_BYTES: u32 = 4 * 1024;
/// As long as an entry gets (content and metadata at their limits).
const FILL_CONTENT_BYTES: usize = 28 * 1024;
/// In one request, about 2 MB.
const FILLED_TOGETHER: usize = 64;
/// Frames that are to wait in the mailbox itself, behind full buffers.
const WAITING: usize = 100;
/// What a mailbox takes, by default.
const MAILBOX_FRAMES: usize = 1_024;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let sessions = effort.size(SESSIONS, 100);
    let measured = effort.measured.min(LONGEST);
    let effort = Effort { measured, ..*effort };
    let progress = Progress::of("slow", effort.runs * 2);
    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    let users = users(&cluster.site(), 0..sessions)?;
    let scene = Scene::set(&cluster, &users).await?;

    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut first = Vec::new();
    for run in 0..effort.runs {
        // Which one comes first changes, so that neither has the warmer machine.
        for is_stuck in if run % 2 == 0 { [false, true] } else { [true, false] } {
            let latencies = scene.measure(&effort, is_stuck).await?;
            let (list, name) = if is_stuck { (&mut with, "one stuck") } else { (&mut without, "all read") };
            list.push(latencies.milliseconds(99.0));
            if run == 0 {
                first.push(latencies.series(name));
            }
            progress.step(name);
        }
    }

    let mut outcome = Outcome::new("slow", "POST to frame of 999 sockets while the thousandth does not read");
    outcome.plots.push(Plot::percentiles("POST to frame", first));
    outcome.figures = vec![
        Figure::ratio("p99 with a stuck socket / without", &with, &without).at_most(1.2),
        Figure::new("p99 with a stuck socket", Unit::Milliseconds, with),
        Figure::new("p99 while all read", Unit::Milliseconds, without),
    ];
    outcome.notes.push(format!(
        "One channel of {sessions} in one gateway, an entry every {} ms (open loop), posted to the gateway itself; its \
         latency counts from when it was due until each of the others has read its frame. The stuck socket has a receive \
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

    /// What the others' frames took.
    async fn measure(&self, effort: &Effort, is_stuck: bool) -> anyhow::Result<Percentiles> {
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
        let mut deliveries = Deliveries::open(&self.cluster.gateways[0], self.all, self.all.len()).await?;
        let before = self.audience.frames();
        let warm_up = post_for(effort.warm_up, &mut deliveries).await?;
        self.until_heard(before, warm_up).await?;
        self.audience.latencies().clear();
        let entries = post_for(effort.measured, &mut deliveries).await?;
        self.until_heard(before, warm_up + entries).await?;
        if self.sessions().await? != self.all.len() {
            bail!("the stuck session was closed: it was not stuck to the end");
        }
        let latencies = self.audience.latencies().total();
        drop((stuck, reader));
        latencies
    }

    /// A session with full buffers and a mailbox that has begun to fill. Nobody reads from it.
    async fn stuck(&self) -> anyhow::Result<ListeningSocket> {
        let token = &self.last[0].token;
        let socket = ListeningSocket::open_narrow(self.site.gateway(0), token, RECEIVE_BUFFER_BYTES).await?;
        let mut deliveries = Deliveries::open(&self.cluster.gateways[0], self.last, 1).await?;
        let content = "x".repeat(FILL_CONTENT_BYTES);
        let mut left = self.fill_frames;
        while left > 0 {
            let some = left.min(FILLED_TOGETHER);
            deliveries.post_content(0..1, some, 0, &content).await?;
            left -= some;
        }
        Ok(socket)
    }

    /// Waits until each of the others has got so many entries since there were `before` frames.
    async fn until_heard(&self, before: u64, entries: u64) -> anyhow::Result<()> {
        let frames = before + entries * self.others.len() as u64;
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

/// An entry at each tick, whatever the ones before took; how many.
async fn post_for(time: Duration, deliveries: &mut Deliveries) -> anyhow::Result<u64> {
    let mut tick = interval(PACE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let ends = Instant::now() + time;
    let mut entries = 0;
    loop {
        let due = tick.tick().await;
        if due >= ends {
            return Ok(entries);
        }
        deliveries.post(0..1, 1, message::at(due.into_std())).await?;
        entries += 1;
    }
}

/// The most that the kernel keeps for a socket that is written to and not read from (tcp(7)).
fn largest_send_buffer() -> anyhow::Result<usize> {
    let sizes = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").context("tcp_wmem cannot be read")?;
    let largest = sizes.split_whitespace().nth(2).and_then(|size| size.parse().ok());
    largest.context("tcp_wmem has another shape")
}

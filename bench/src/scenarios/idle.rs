//! `idle`: resident memory of a session that has nothing to say.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::effort::Effort;
use crate::floors::process::FloorProcess;
use crate::floors::{raw_writer, ws_broadcast};
use crate::load::crowd::Crowd;
use crate::load::deliveries::Deliveries;
use crate::load::message;
use crate::meters::memory::resident_bytes;
use crate::outcome::{Figure, Outcome, Unit};
use crate::progress::Progress;
use crate::site::cluster::{Cluster, ClusterSpec};
use crate::site::population::users;

/// One process has 20,000 file descriptors as a rule; so has this one, with a socket for each session.
const SESSIONS: usize = 19_500;
const MEMBERS: usize = 100;
const CHANNELS_TOGETHER: usize = 10;
/// A process's memory has settled when it differs by less than a thousandth between two looks.
const LOOKS_APART: Duration = Duration::from_millis(500);
/// Before the first ping, 25 s after the connect.
const SETTLING_LIMIT: Duration = Duration::from_secs(6);
const KIB: f64 = 1024.0;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let sessions = effort.size(SESSIONS, 500);
    let progress = Progress::of("idle", effort.runs * 3);
    let (mut fresh, mut ours, mut raw, mut actix) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        // A process of its own each time: what one has once taken it may keep.
        let (at_first, after_a_message) = gateway(sessions).await?;
        fresh.push(at_first);
        ours.push(after_a_message);
        progress.step("the raw writer");
        raw.push(raw_sockets(sessions).await?);
        progress.step("bare actix-ws");
        actix.push(actix_sockets(sessions).await?);
        progress.step("the gateway");
    }
    let mut outcome = Outcome::new("idle", "resident bytes of a gateway's process for each idle session");
    outcome.figures = vec![
        Figure::new("session after a message", Unit::Bytes, ours.clone()).at_most(18.0 * KIB),
        Figure::new("session after a message, second target", Unit::Bytes, ours.clone()).at_most(10.0 * KIB),
        Figure::new("session that has got nothing but `ready`", Unit::Bytes, fresh),
        Figure::ratio("session after a message / raw socket", &ours, &raw),
        Figure::ratio("session after a message / bare actix-ws", &ours, &actix),
        Figure::new("raw socket after a frame", Unit::Bytes, raw),
        Figure::new("bare actix-ws after a frame", Unit::Bytes, actix),
    ];
    outcome.notes.push(format!(
        "{sessions} sessions of as many users in one process that is new in each run. Resident memory of the process \
         (VmRSS) with them, less that before they came, divided by their number; looked at when it has settled. A session \
         that has got a message is what counts: what its first write takes is in it. Pings come later than that, and what \
         the kernel keeps for a socket is in none of the figures. The floors' sockets have got two frames of the same \
         size; the raw one has no buffer to read into. 1 KB is 1,024 bytes."
    ));
    Ok(outcome)
}

/// Bytes of a fresh session, and of one that has got a message.
async fn gateway(sessions: usize) -> anyhow::Result<(f64, f64)> {
    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    let (site, gateway) = (cluster.site(), &cluster.gateways[0]);
    let users = users(&site, 0..sessions)?;
    let before = settled(gateway.pid()).await?;
    let crowd = Crowd::connect(&site, &users).await?;
    let fresh = settled(gateway.pid()).await? - before;
    let mut deliveries = Deliveries::open(gateway, &users, MEMBERS).await?;
    let channels = deliveries.channels();
    for first in (0..channels).step_by(CHANNELS_TOGETHER) {
        let some = first..(first + CHANNELS_TOGETHER).min(channels);
        deliveries.post(some, 1, message::now()).await?;
    }
    crowd.until_each(1).await?;
    let after_a_message = settled(gateway.pid()).await? - before;
    crowd.close().await;
    Ok((fresh / sessions as f64, after_a_message / sessions as f64))
}

async fn raw_sockets(sessions: usize) -> anyhow::Result<f64> {
    let floor = FloorProcess::start(raw_writer::NAME, &[Deliveries::frame_bytes().to_string()]).await?;
    let before = settled(floor.pid()).await?;
    let crowd = Crowd::open(sessions, |index| raw_writer::listen(&floor, index)).await?;
    raw_writer::Orders::open(&floor).await?.give(0, sessions).await?;
    of_each(sessions, &floor, crowd, before).await
}

async fn actix_sockets(sessions: usize) -> anyhow::Result<f64> {
    let floor = FloorProcess::start(ws_broadcast::NAME, &[Deliveries::frame_bytes().to_string()]).await?;
    let before = settled(floor.pid()).await?;
    let crowd = Crowd::open(sessions, |index| ws_broadcast::listen(&floor, index)).await?;
    let mut orders = ws_broadcast::Orders::open(&floor).await?;
    orders.give(0, sessions).await?;
    of_each(sessions, &floor, crowd, before).await
}

async fn of_each(sessions: usize, floor: &FloorProcess, crowd: Crowd, before: f64) -> anyhow::Result<f64> {
    crowd.until_each(1).await?;
    let bytes = settled(floor.pid()).await? - before;
    crowd.close().await;
    Ok(bytes / sessions as f64)
}

/// Resident bytes of a process when they have stopped to change.
async fn settled(pid: u32) -> anyhow::Result<f64> {
    let ends = Instant::now() + SETTLING_LIMIT;
    let mut last = resident_bytes(pid)? as f64;
    loop {
        sleep(LOOKS_APART).await;
        let now = resident_bytes(pid)? as f64;
        if (now - last).abs() < now / 1_000.0 || Instant::now() > ends {
            return Ok(now);
        }
        last = now;
    }
}

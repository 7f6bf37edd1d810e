//! `peer`: the same fan-out by Socket.IO with its Redis adapter.

use harness::redis::Redis;

use super::fanout::burst::{self, Burst};
use super::fanout::paced::{FRAMES_TOGETHER, PACE, Writer};
use crate::effort::Effort;
use crate::load::crowd::Crowd;
use crate::load::deliveries::Deliveries;
use crate::load::socket_io::{Emitter, Installed, SocketIo};
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;
use crate::site::cluster::{Cluster, ClusterSpec};
use crate::site::population::users;

/// Multiples of [`FRAMES_TOGETHER`] and of [`burst::MEMBERS`].
const PACED_SESSIONS: usize = 1_000;
const BURST_SESSIONS: usize = 400;
/// Of a channel and a room: a hundred frames for what one message costs to take in.
const MEMBERS: usize = 100;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let progress = Progress::of("peer", effort.runs * 4);
    let mut outcome = Outcome::new(
        "peer",
        "CPU of a frame and frames of a CPU second: our gateway beside a Socket.IO server with the Redis adapter",
    );
    let installed = match Installed::prepare().await {
        Ok(installed) => installed,
        Err(reason) => {
            outcome.notes.push(format!("Left out: it needs Node 20 or later and npm. {reason:#}."));
            return Ok(outcome);
        }
    };
    let (paced_sessions, burst_sessions) =
        (effort.size(PACED_SESSIONS, FRAMES_TOGETHER), effort.size(BURST_SESSIONS, burst::MEMBERS));

    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    let (site, gateway) = (cluster.site(), &cluster.gateways[0]);
    let everybody = users(&site, 0..paced_sessions + burst_sessions)?;
    let (paced_users, burst_users) = everybody.split_at(paced_sessions);
    let crowd = Crowd::connect(&site, paced_users).await?;
    let mut ours = Writer::gateway(gateway, paced_users, MEMBERS, &crowd).await?;
    let mut our_burst = Burst::prepare(&site, gateway, burst_users).await?;

    // Nobody else's messages pass through it.
    let redis = Redis::start_private().await;
    let peer = SocketIo::gateway(&installed, &redis.url()).await?;
    let publisher = SocketIo::publisher(&installed, &redis.url()).await?;
    let peer_crowd = Crowd::open(paced_sessions, |index| peer.listen(index / MEMBERS)).await?;
    let emitter = Emitter::open(&publisher).await?;
    let mut theirs = Writer::socket_io(&peer, emitter, paced_sessions, MEMBERS, &peer_crowd);
    // Their rooms come after those of the others.
    let first = paced_sessions / MEMBERS;
    let rooms = first..first + burst_sessions / burst::MEMBERS;
    let burst_crowd =
        Crowd::open(burst_sessions, |index| peer.listen(first + index / burst::MEMBERS)).await?;
    let mut their_burst = Burst::socket_io(&peer, Emitter::open(&publisher).await?, rooms, burst_crowd);

    for _ in 0..effort.runs {
        ours.measure(effort).await?;
        progress.step("paced");
        theirs.measure(effort).await?;
        progress.step("paced, Socket.IO");
        our_burst.measure(effort).await?;
        progress.step("burst");
        their_burst.measure(effort).await?;
        progress.step("burst, Socket.IO");
    }

    let paced = [("Socket.IO", theirs.microseconds), ("gateway", ours.microseconds)];
    let bursts = [("gateway", our_burst.per_core), ("Socket.IO", their_burst.per_core)];
    outcome.figures.extend([
        Figure::ratio("paced: CPU of a frame, Socket.IO / gateway", &paced[0].1, &paced[1].1).at_least(1.5),
        Figure::ratio("burst: frames in a CPU second, gateway / Socket.IO", &bursts[0].1, &bursts[1].1)
            .at_least(8.0),
    ]);
    outcome.plots = vec![
        bars("CPU of a frame, one frame a wake-up", "µs", &paced),
        bars("Frames in a CPU second, bursts", "frames", &bursts),
    ];
    for (who, runs) in paced {
        outcome.figures.push(Figure::new(format!("paced: CPU of a frame, {who}"), Unit::Microseconds, runs));
    }
    for (who, runs) in bursts {
        let name = format!("burst: frames in a CPU second, {who}");
        outcome.figures.push(Figure::new(name, Unit::PerSecond, runs));
    }
    outcome.notes = notes(&installed, paced_sessions, burst_sessions);
    Ok(outcome)
}

fn bars(title: &str, y_label: &str, of_each: &[(&str, Vec<f64>)]) -> Plot {
    let series = |(who, runs): &(&str, Vec<f64>)| Series {
        name: (*who).into(),
        points: runs.iter().enumerate().map(|(run, value)| ((run + 1) as f64, *value)).collect(),
    };
    Plot {
        title: title.into(),
        x_label: "run".into(),
        y_label: y_label.into(),
        kind: PlotKind::Bars,
        series: of_each.iter().map(series).collect(),
    }
}

fn notes(installed: &Installed, paced_sessions: usize, burst_sessions: usize) -> Vec<String> {
    let setting = format!(
        "Socket.IO 4.8 on Node {}: one server emits to rooms, another has the sockets, and the Redis adapter joins them. \
         WebSocket is the only transport, with the `ws` engine, without compression (the default); no heartbeat falls into \
         a measurement. Measured is the process with the sockets alone, as with our gateway, and all its threads count. \
         Both get the same entries: ours by POST in the place of an api-server, theirs through Redis; theirs \
         are the event `message` with the entry as its argument, and so some bytes longer. Beyond that ours answers who is absent, and keeps \
         each channel's order by `seq`.",
        installed.node,
    );
    let load = format!(
        "Paced: {paced_sessions} sessions in channels of {MEMBERS}; an entry for {FRAMES_TOGETHER} of them every {} ms, but \
         never before all have read the one before. Burst: {burst_sessions} sessions in channels of {}, {} entries of each \
         channel at once, and more when all but the last {} frames of every session have been read. A frame of ours is {} \
         bytes of text.",
        PACE.as_millis(),
        burst::MEMBERS,
        burst::ENTRIES_TOGETHER,
        burst::AHEAD,
        Deliveries::frame_bytes(),
    );
    vec![setting, load]
}

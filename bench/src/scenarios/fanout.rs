//! `fanout`: CPU time of a gateway for one frame, and frames a second in a burst.

pub(super) mod burst;
pub(super) mod paced;

use self::burst::Burst;
use self::paced::{FRAMES_TOGETHER, PACE, Writer};
use crate::effort::Effort;
use crate::floors::process::FloorProcess;
use crate::floors::{raw_writer, ws_broadcast};
use crate::load::crowd::Crowd;
use crate::load::deliveries::Deliveries;
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;
use crate::site::cluster::{Cluster, ClusterSpec};
use crate::site::population::users;

/// Multiples of [`FRAMES_TOGETHER`].
const PACED_SESSIONS: usize = 1_000;
const BURST_SESSIONS: usize = 400;
/// Of the channels, paced: one order is an entry for each of ten, or for one.
const MEMBERS: [usize; 2] = [10, 100];

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let sessions = effort.size(PACED_SESSIONS, FRAMES_TOGETHER);
    let progress = Progress::of("fanout", effort.runs * 7);
    let cluster = Cluster::start(&ClusterSpec::default()).await?;
    let (site, gateway) = (cluster.site(), &cluster.gateways[0]);
    let everybody = users(&site, 0..sessions + effort.size(BURST_SESSIONS, burst::MEMBERS))?;
    let (paced_users, burst_users) = everybody.split_at(sessions);

    let frame_bytes = [Deliveries::frame_bytes().to_string()];
    let raw = FloorProcess::start(raw_writer::NAME, &frame_bytes).await?;
    let single = FloorProcess::start(raw_writer::NAME_ON_ONE_THREAD, &frame_bytes).await?;
    let actix = FloorProcess::start(ws_broadcast::NAME, &frame_bytes).await?;
    let crowd = Crowd::connect(&site, paced_users).await?;
    let raw_crowd = Crowd::open(sessions, |index| raw_writer::listen(&raw, index)).await?;
    let single_crowd = Crowd::open(sessions, |index| raw_writer::listen(&single, index)).await?;
    let actix_crowd = Crowd::open(sessions, |index| ws_broadcast::listen(&actix, index)).await?;

    // A gateway and its floor, twice: each ratio is of neighbours in time.
    let mut pairs = Vec::new();
    for members in MEMBERS {
        let ours = Writer::gateway(gateway, paced_users, members, &crowd).await?;
        pairs.push((members, ours, Writer::raw(&raw, sessions, &raw_crowd).await?));
    }
    let mut single = Writer::raw(&single, sessions, &single_crowd).await?;
    let mut actix = Writer::actix(&actix, sessions, &actix_crowd).await?;
    let mut burst = Burst::prepare(&site, gateway, burst_users).await?;
    for _ in 0..effort.runs {
        for (members, ours, floor) in &mut pairs {
            ours.measure(effort).await?;
            progress.step(format!("channels of {members}"));
            floor.measure(effort).await?;
            progress.step("raw writer");
        }
        single.measure(effort).await?;
        progress.step("raw writer on one thread");
        actix.measure(effort).await?;
        progress.step("bare actix-ws");
        burst.measure(effort).await?;
        progress.step("burst");
    }
    Ok(tell(&pairs, single, actix, burst, everybody.len() - sessions))
}

fn tell(
    pairs: &[(usize, Writer<'_>, Writer<'_>)],
    single: Writer<'_>,
    actix: Writer<'_>,
    burst: Burst,
    burst_sessions: usize,
) -> Outcome {
    let mut outcome =
        Outcome::new("fanout", "CPU time of a gateway for one frame, and frames of a burst for one core");
    let mut bars = Vec::new();
    for (members, ours, floor) in pairs {
        let (ours, floor) = (&ours.microseconds, &floor.microseconds);
        let ratio = format!("paced, channels of {members}: CPU of a frame / raw writer");
        outcome.figures.push(Figure::ratio(ratio, ours, floor).at_most(1.5));
        for (who, runs) in [("gateway", ours), ("raw writer", floor)] {
            let name = format!("paced, channels of {members}: CPU of a frame, {who}");
            outcome.figures.push(Figure::new(name, Unit::Microseconds, runs.clone()));
            bars.push(of_runs(format!("{who} ({members})"), runs));
        }
    }
    bars.push(of_runs("bare actix-ws".into(), &actix.microseconds));
    outcome.plots.push(Plot {
        title: "CPU of a frame, one frame a wake-up".into(),
        x_label: "run".into(),
        y_label: "µs".into(),
        kind: PlotKind::Bars,
        series: bars,
    });
    let (on_one_thread, of_actix) = (single.microseconds, actix.microseconds);
    outcome.figures.extend([
        Figure::new("paced: CPU of a frame, raw writer on one thread", Unit::Microseconds, on_one_thread),
        Figure::new("paced: CPU of a frame, bare actix-ws", Unit::Microseconds, of_actix),
        Figure::new("burst: frames in a CPU second of the gateway", Unit::PerSecond, burst.per_core)
            .at_least(2_000_000.0),
        Figure::new("burst: frames a second by the clock", Unit::PerSecond, burst.per_second),
    ]);
    outcome.notes = notes(burst_sessions);
    outcome
}

fn of_runs(name: String, runs: &[f64]) -> Series {
    Series { name, points: runs.iter().enumerate().map(|(run, value)| ((run + 1) as f64, *value)).collect() }
}

fn notes(burst_sessions: usize) -> Vec<String> {
    let paced = format!(
        "Paced: every {} ms one request with {FRAMES_TOGETHER} frames to as many sessions (an entry for each of ten \
         channels of 10, or for one of 100), but never before all frames of the request before have been read: each \
         frame wakes its session and is written alone. Receiving and parsing the requests is in the gateway's CPU time; \
         the floors get {FRAMES_TOGETHER} frames ordered in a few bytes. The raw writer is a process with a task for \
         each socket, on as many threads as there are cores, and one `write` of a ready-made frame of {} bytes of text, \
         as long as the gateway's. On one thread it is cheaper, because no wake-up crosses threads; that is told, but a \
         gateway has to use all cores.",
        PACE.as_millis(),
        Deliveries::frame_bytes(),
    );
    let burst = format!(
        "Burst: {burst_sessions} other sessions in channels of {}, {} entries of each channel in one request; the next \
         one is posted when all but the last {} frames of every session have been read. All of the gateway's CPU time \
         counts: requests, parsing, mailboxes, writes. The load shares the machine, so what the clock says is less.",
        burst::MEMBERS,
        burst::ENTRIES_TOGETHER,
        burst::AHEAD,
    );
    vec![paced, burst]
}

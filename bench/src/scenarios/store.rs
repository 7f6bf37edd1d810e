//! `store` and `hot`: the writer alone, over many channels and into one.

mod batch_sizes;
mod naru;
mod senders;
mod workbench;

use std::time::Duration;

use self::workbench::{CHANNELS, Measurements, Workbench};
use crate::effort::Effort;
use crate::floors::one_row::CONNECTIONS;
use crate::meters::disk;
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;

/// How many send at a time, and how many times one row per transaction they are to reach.
const LOADS: [Load; 2] = [Load { senders: 64, of_one_row: 4.0 }, Load { senders: 256, of_one_row: 5.0 }];
/// Of the batched floor.
const OF_BATCHED: f64 = 0.9;
/// One channel, of many.
const OF_MANY: f64 = 1.0;
const DISK_WRITES: usize = 100;

/// How many channels the messages go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    Many,
    One,
}

struct Load {
    senders: usize,
    of_one_row: f64,
}

pub async fn run(effort: &Effort, channels: Channels) -> anyhow::Result<Outcome> {
    let workbench = Workbench::set_up(effort).await?;
    let mut outcome = match channels {
        Channels::Many => store(effort, &workbench).await?,
        Channels::One => hot(effort, &workbench).await?,
    };
    outcome.notes.push(
        "The writer runs in this process, with the api-server's default options, and with the outbox and the delivery \
         behind it, which has nobody to deliver to. Each measurement begins with a few old messages in each channel, \
         analysed, after a checkpoint."
            .into(),
    );
    Ok(outcome)
}

async fn store(effort: &Effort, workbench: &Workbench<'_>) -> anyhow::Result<Outcome> {
    let measures = "messages that the writer alone stores in 1,000 channels, 120 bytes each";
    let mut outcome = Outcome::new("store", measures);
    let progress = Progress::of("store", effort.runs);
    let (mut naru, mut batched) = <[[Measurements; LOADS.len()]; 2]>::default().into();
    let (mut one_row, mut fdatasync) = (Measurements::default(), Vec::new());
    for _ in 0..effort.runs {
        one_row.add("one row per transaction", workbench.one_row(CHANNELS).await?);
        for (index, Load { senders, .. }) in LOADS.iter().enumerate() {
            batched[index].add(format!("batches of {senders}"), workbench.batched(*senders).await?);
            naru[index].add(format!("naru, {senders} senders"), workbench.naru(CHANNELS, *senders).await?);
        }
        let median = disk::fdatasync(&std::env::temp_dir(), DISK_WRITES).await?;
        fdatasync.push(Duration::as_secs_f64(&median) * 1e3);
        progress.step("");
    }
    for ((load, naru), batched) in LOADS.iter().zip(&naru).zip(&batched) {
        let Load { senders, of_one_row } = load;
        let ours = format!("{senders} senders");
        let of_batched =
            Figure::ratio(format!("{ours}: of the batched floor"), &naru.per_second, &batched.per_second);
        outcome.figures.push(of_batched.at_least(OF_BATCHED));
        let of_single = Figure::ratio(
            format!("{ours}: of one row per transaction"),
            &naru.per_second,
            &one_row.per_second,
        );
        outcome.figures.push(of_single.at_least(*of_one_row));
        outcome.figures.extend(naru.figures(&ours));
        outcome.figures.push(naru.mean_batch(&ours));
        outcome.figures.extend(batched.figures(&format!("batched floor, {senders} a batch")));
    }
    outcome.figures.extend(one_row.figures(&format!("one row per transaction, {CONNECTIONS} connections")));
    outcome.figures.push(Figure::new("one fdatasync of this disk", Unit::Milliseconds, fdatasync));
    let curves = naru.iter().chain(&batched).chain([&one_row]);
    outcome.plots.push(over_time(curves.filter_map(Measurements::over_time).collect()));
    outcome.plots.push(batch_sizes(&naru));
    outcome.notes.extend(refusals(&naru));
    outcome.notes.push(
        "The batched floor keeps one connection busy with ready batches of as many messages as there are senders. It \
         checks no sender, looks for no repeats, leaves nothing in an outbox, and answers nobody."
            .into(),
    );
    Ok(outcome)
}

async fn hot(effort: &Effort, workbench: &Workbench<'_>) -> anyhow::Result<Outcome> {
    let mut outcome =
        Outcome::new("hot", "messages that the writer alone stores in one channel, 120 bytes each");
    let progress = Progress::of("hot", effort.runs);
    let (mut one, mut many) = <[[Measurements; LOADS.len()]; 2]>::default().into();
    let mut one_row = Measurements::default();
    for _ in 0..effort.runs {
        one_row.add("one row per transaction, one channel", workbench.one_row(1).await?);
        for (index, Load { senders, .. }) in LOADS.iter().enumerate() {
            let name = format!("1,000 channels, {senders} senders");
            many[index].add(name, workbench.naru(CHANNELS, *senders).await?);
            one[index].add(format!("one channel, {senders} senders"), workbench.naru(1, *senders).await?);
        }
        progress.step("");
    }
    for ((Load { senders, .. }, one), many) in LOADS.iter().zip(&one).zip(&many) {
        let ours = format!("one channel, {senders} senders");
        let of_many = Figure::ratio(format!("{ours}: of 1,000 channels"), &one.per_second, &many.per_second);
        outcome.figures.push(of_many.at_least(OF_MANY));
        let name = format!("{ours}: of one row per transaction in it");
        outcome.figures.push(Figure::ratio(name, &one.per_second, &one_row.per_second));
        outcome.figures.extend(one.figures(&ours));
        outcome.figures.push(one.mean_batch(&ours));
        outcome.figures.extend(many.figures(&format!("1,000 channels, {senders} senders")));
    }
    let floor = format!("one row per transaction in one channel, {CONNECTIONS} connections");
    outcome.figures.extend(one_row.figures(&floor));
    let curves = one.iter().chain(&many).chain([&one_row]);
    outcome.plots.push(over_time(curves.filter_map(Measurements::over_time).collect()));
    outcome.plots.push(batch_sizes(&one));
    outcome.notes.extend(refusals(one.iter().chain(&many)));
    Ok(outcome)
}

fn over_time(series: Vec<Series>) -> Plot {
    Plot {
        title: "Messages stored, first run".into(),
        x_label: "seconds".into(),
        y_label: "messages a second".into(),
        kind: PlotKind::Lines,
        series,
    }
}

fn batch_sizes(measurements: &[Measurements]) -> Plot {
    Plot {
        title: "The writer's batches, first run".into(),
        x_label: "messages in a batch, at most".into(),
        y_label: "% of the batches".into(),
        kind: PlotKind::Bars,
        series: measurements.iter().filter_map(Measurements::batches).collect(),
    }
}

/// Refused sends come again and are not counted; with many of them the senders do not keep the writer busy.
fn refusals<'a>(measurements: impl IntoIterator<Item = &'a Measurements>) -> Option<String> {
    let refused: u64 = measurements.into_iter().map(Measurements::refused).sum();
    (refused > 0).then(|| format!("The writer refused {refused} sends because too much waited behind it."))
}

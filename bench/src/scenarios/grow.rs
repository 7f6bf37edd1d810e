//! `grow`: what a message costs with more channels and with more gateways.

mod variant;

use futures_util::future::try_join_all;

use self::variant::{Kind, Variant};
use crate::effort::Effort;
use crate::load::senders::Pace;
use crate::outcome::{Figure, Outcome, Plot, PlotKind, Series, Unit};
use crate::progress::Progress;
use crate::site::cluster::{Cluster, ClusterSpec};

/// The first is what the others are held against.
const CHANNELS: [usize; 3] = [100, 10_000, 1_000_000];
const CHANNELS_WHEN_SMALL: [usize; 3] = [100, 1_000, 10_000];
const GATEWAYS: [usize; 3] = [1, 2, 4];
/// How much dearer a message may become.
const GROWTH: f64 = 1.15;
/// Of the first variant's highest rate: one that is dearer has to keep up, too.
const LOAD: f64 = 0.5;

/// Microseconds of CPU time of a message in each run; one list for each variant, in their order.
type Costs = Vec<Vec<f64>>;

pub async fn run(effort: &Effort) -> anyhow::Result<Outcome> {
    let progress = Progress::of("grow", effort.runs + 1);
    let mut outcome = Outcome::new(
        "grow",
        "CPU time of a message with more channels and with more gateways, at the same rate",
    );
    progress.step("seeding");
    let channels = if effort.is_small { CHANNELS_WHEN_SMALL } else { CHANNELS };
    let clusters = clusters().await?;
    let variants = variants(&clusters, channels).await?;

    // Ten trials in each run: half the length is enough for a count.
    let effort = &Effort { measured: effort.measured / 2, ..*effort };
    for variant in &variants {
        variant.break_in(effort).await?;
    }
    let mut paces: Vec<Pace> = Vec::new();
    for kind in Kind::ALL {
        paces.push(variants[0].trial(kind, effort, Pace::Closed).await?.share(LOAD));
    }
    let mut costs: Vec<Costs> = Kind::ALL.map(|_| vec![Vec::new(); variants.len()]).into();
    let mut late = 0;
    for run in 1..=effort.runs {
        progress.step(format!("run {run}"));
        for (index, variant) in variants.iter().enumerate() {
            for ((kind, pace), costs) in Kind::ALL.into_iter().zip(&paces).zip(&mut costs) {
                let trial = variant.trial(kind, effort, *pace).await?;
                costs[index].extend(trial.microseconds_each());
                late += usize::from(!trial.kept_up());
            }
        }
    }
    for (kind, costs) in Kind::ALL.into_iter().zip(&costs) {
        tell(&mut outcome, kind, &variants, costs);
    }
    outcome.plots = plots(&variants, &costs);
    outcome.notes = notes(&paces, late);
    Ok(outcome)
}

/// One for each number of channels; the first has all gateways, of which an idle one costs next to nothing.
async fn clusters() -> anyhow::Result<Vec<Cluster>> {
    let start = |gateways| async move {
        let spec = ClusterSpec { gateways, ..ClusterSpec::default() };
        Cluster::start(&spec).await
    };
    try_join_all([GATEWAYS[GATEWAYS.len() - 1], 1, 1].map(start)).await
}

/// The first of all, then those with more channels, then those with more gateways.
async fn variants(clusters: &[Cluster], channels: [usize; 3]) -> anyhow::Result<Vec<Variant<'_>>> {
    let mut variants = Vec::new();
    for (cluster, channels) in clusters.iter().zip(channels) {
        variants.push(Variant::seed(cluster, channels, GATEWAYS[0], 0).await?);
    }
    for (number, gateways) in GATEWAYS.into_iter().enumerate().skip(1) {
        variants.push(Variant::seed(&clusters[0], channels[0], gateways, number).await?);
    }
    Ok(variants)
}

fn tell(outcome: &mut Outcome, kind: Kind, variants: &[Variant<'_>], costs: &Costs) {
    let members = kind.members();
    for (variant, of_variant) in variants.iter().zip(costs) {
        let name = match variant.gateways {
            1 => format!("{members} members, {} channels", variant.channels),
            gateways => format!("{members} members, {gateways} gateways"),
        };
        outcome.figures.push(Figure::new(name.clone(), Unit::Microseconds, of_variant.clone()));
        let is_first = variant.gateways == GATEWAYS[0] && variant.channels == variants[0].channels;
        if !is_first {
            let ratio = Figure::ratio(
                format!("{name}: of {} and one gateway", variants[0].channels),
                of_variant,
                &costs[0],
            );
            outcome.figures.push(ratio.at_most(GROWTH));
        }
    }
}

fn plots(variants: &[Variant<'_>], costs: &[Costs]) -> Vec<Plot> {
    let median = |runs: &[f64]| Figure::new("", Unit::Microseconds, runs.to_vec()).median();
    let plot = |x_label: &str, takes: &dyn Fn(&Variant<'_>) -> Option<usize>| Plot {
        title: format!("CPU time of a message by {x_label}"),
        x_label: x_label.to_owned(),
        y_label: "microseconds".into(),
        kind: PlotKind::Bars,
        series: Kind::ALL
            .into_iter()
            .zip(costs)
            .map(|(kind, costs)| {
                let point =
                    |(variant, runs): (&Variant<'_>, &Vec<f64>)| Some((takes(variant)? as f64, median(runs)));
                Series {
                    name: format!("{} members", kind.members()),
                    points: variants.iter().zip(costs).filter_map(point).collect(),
                }
            })
            .collect(),
    };
    let fewest = variants[0].channels;
    vec![
        plot("channels", &|variant| (variant.gateways == GATEWAYS[0]).then_some(variant.channels)),
        plot("gateways", &|variant| (variant.channels == fewest).then_some(variant.gateways)),
    ]
}

fn notes(paces: &[Pace], late: usize) -> Vec<String> {
    let rates: Vec<String> = paces
        .iter()
        .filter_map(|pace| match pace {
            Pace::Open { per_second } => Some(format!("{per_second:.0}")),
            Pace::Closed => None,
        })
        .collect();
    let mut notes = vec![
        format!(
            "Open loop at half of what the smallest size stored in a closed loop: {} messages a second, the same for \
             every size.",
            rates.join(" and ")
        ),
        "The same 200 and 500 users talk at every size and are all connected; with more channels each is in more of them, \
         and sends to all of them at random. So with many channels hardly any message finds what an earlier one has left \
         in a cache. For ten channels of two there is one of ten, and never fewer than a hundred."
            .to_owned(),
    ];
    if late > 0 {
        notes.push(format!("The rate was not kept up in {late} trials of all sizes and runs."));
    }
    notes
}

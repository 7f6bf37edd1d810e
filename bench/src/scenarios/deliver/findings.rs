//! What `deliver` has found, in figures and plots.

use std::time::Duration;

use super::Few;
use crate::load::trial::{Trial, each, refusals};
use crate::outcome::{Figure, Outcome, Plot, Unit};

const OF_TUTORIAL: f64 = 8.0;
const P99_MILLISECONDS: f64 = 10.0;
const OF_FDATASYNC: f64 = 3.0;

/// A value each run.
#[derive(Default)]
pub struct Findings {
    pub highest: Vec<Trial>,
    pub half: Vec<Trial>,
    pub unloaded: Vec<Trial>,
    pub few: Vec<Few>,
    /// Empty on a deployment, as the next.
    pub tutorial_highest: Vec<Trial>,
    pub fdatasync: Vec<Duration>,
    /// Of the first run.
    pub tutorial_half: Option<Trial>,
}

impl Findings {
    pub fn into_outcome(self) -> Outcome {
        let mut outcome = Outcome::new(
            "deliver",
            "messages stored and delivered a second in channels of ten, all members connected, and how long it takes",
        );
        outcome.figures = self.rates();
        outcome.figures.extend(self.latencies());
        outcome.figures.extend(self.of_few());
        outcome.plots = self.plots();
        outcome.notes = self.notes();
        outcome
    }

    fn rates(&self) -> Vec<Figure> {
        let ours = each(&self.highest, messages);
        let rate = |name: &str, runs| Figure::new(format!("256 clients: {name}"), Unit::PerSecond, runs);
        let mut figures = vec![rate("stored and delivered", ours.clone())];
        if self.is_local() {
            let tutorial = each(&self.tutorial_highest, messages);
            let ratio = Figure::ratio("256 clients: of the tutorial's way", &ours, &tutorial);
            figures.extend([ratio.at_least(OF_TUTORIAL), rate("the tutorial's way", tutorial)]);
        }
        figures.push(rate("frames", each(&self.highest, |trial| trial.frames.per_second)));
        figures
    }

    fn latencies(&self) -> Vec<Figure> {
        let within = |trials: &[Trial], percentile| each(trials, |trial| trial.frame_within(percentile));
        let figure =
            |name: &str, runs| Figure::new(format!("{name}: POST to frame"), Unit::Milliseconds, runs);
        let p99 = figure("half the highest rate, p99", within(&self.half, 99.0));
        let p50 = figure("half the highest rate, p50", within(&self.half, 50.0));
        let unloaded = within(&self.unloaded, 50.0);
        let mut figures = vec![p50, figure("unloaded, p50", unloaded.clone())];
        if !self.is_local() {
            figures.push(p99);
            return figures;
        }
        let disk: Vec<f64> = self.fdatasync.iter().map(|taken| taken.as_secs_f64() * 1e3).collect();
        let ratio = Figure::ratio("unloaded, p50: of one fdatasync", &unloaded, &disk);
        figures.insert(0, p99.at_most(P99_MILLISECONDS));
        figures.push(ratio.at_most(OF_FDATASYNC));
        figures.push(Figure::new("one fdatasync of 8 KiB", Unit::Milliseconds, disk));
        figures
    }

    /// A deployment has no floors, and its machine is not the one that targets are for.
    fn is_local(&self) -> bool {
        !self.tutorial_highest.is_empty()
    }

    /// The table in which a prototype was measured.
    fn of_few(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        let mut tell = |what: &str, trials: Vec<&Trial>| {
            let mut figure = |of: &str, unit, look: fn(&Trial) -> f64| {
                let runs: Vec<f64> = trials.iter().map(|trial| look(trial)).collect();
                if !runs.is_empty() {
                    figures.push(Figure::new(format!("64 clients, {what}: {of}"), unit, runs));
                }
            };
            figure("sends", Unit::PerSecond, |trial| trial.stored.per_second);
            figure("frames", Unit::PerSecond, |trial| trial.frames.per_second);
            figure("POST to frame, p50", Unit::Milliseconds, |trial| trial.frame_within(50.0));
        };
        let tutorial = || self.few.iter().filter_map(|few| few.by_tutorial.as_ref());
        tell("2 members", self.few.iter().map(|few| &few.of_two).collect());
        tell("2 members, the tutorial's way", tutorial().map(|(of_two, _)| of_two).collect());
        tell("10 members", self.few.iter().map(|few| &few.of_ten).collect());
        tell("10 members, the tutorial's way", tutorial().map(|(_, of_ten)| of_ten).collect());
        figures
    }

    fn plots(&self) -> Vec<Plot> {
        let tutorial = self.tutorial_highest.first().map(|trial| trial.frames.series("the tutorial's way"));
        let naru = self.highest.first().map(|trial| trial.frames.series("Naru"));
        let rates = naru.into_iter().chain(tutorial).collect();
        let naru = self.half.first().map(|trial| trial.delivered.series("Naru, at half its highest rate"));
        let tutorial = self.tutorial_half.as_ref();
        let tutorial = tutorial.map(|trial| trial.delivered.series("the tutorial's way, at half of its own"));
        let unloaded =
            self.unloaded.first().map(|trial| trial.delivered.series("Naru, 50 messages a second"));
        let latencies = naru.into_iter().chain(tutorial).chain(unloaded).collect();
        vec![
            Plot::over_time("Frames of the first run, 256 clients", "a second", rates),
            Plot::percentiles("POST to frame, first run", latencies),
        ]
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "256 and 64 clients send in a closed loop: what is delivered is a tenth of the frames that come. In each trial \
             every member had a frame of every 201, once."
                .to_owned(),
            "Latencies are of an open loop at random moments, each message by whichever client is free, from when a message \
             was due until a session had its frame; what our own timer is late, 2 ms at most, does not count."
                .to_owned(),
        ];
        let unloaded: u64 = self.unloaded.iter().map(|trial| trial.delivered.count()).sum();
        notes.push(format!(
            "Unloaded is 50 messages a second; its latencies are of {unloaded} frames in all."
        ));
        if self.is_local() {
            notes.push(
                "The tutorial's way is two processes with as many threads, on the same Postgres and Redis and with the \
                 same tables and indexes: a transaction of UPDATE … RETURNING and INSERT, the participants, then for each \
                 of them a GET and a POST. It checks neither tokens nor membership, and loses what it does not deliver at \
                 once."
                    .to_owned(),
            );
        }
        let late = self.half.iter().filter(|trial| !trial.kept_up()).count();
        if late > 0 {
            notes.push(format!(
                "Half the highest rate was not kept up in {late} of {} runs: there latencies are those of a queue.",
                self.half.len()
            ));
        }
        notes.extend(refusals(self.highest.iter().chain(&self.half)));
        notes
    }
}

fn messages(trial: &Trial) -> f64 {
    trial.frames.per_second / 10.0
}

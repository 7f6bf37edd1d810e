//! The auditor: breaks a running Naru in every way that the plan knows, and checks that no promise is broken.

mod check;
mod device;
mod faults;
mod history;
mod life;
mod logs;
mod membership;
mod options;
mod plan;
mod population;
mod push_targets;
mod random;
mod report;
mod rest;
mod run_state;
mod service;
mod session;
mod site;
mod story;
mod workload;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use clap::Parser;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::check::{Pushes, Violation};
use crate::history::Logs;
use crate::options::{Mode, Options};
use crate::population::{CHANGING_GROUPS, Population, phone_count, settle};
use crate::push_targets::PushTargets;
use crate::rest::Rest;
use crate::run_state::{Phases, Run, Shared};
use crate::site::Site;
use crate::workload::Workload;

/// How often it is asked whether all is settled, and how long things that come twice may take to do so.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const AFTERMATH: Duration = Duration::from_secs(1);

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options = Options::parse();
    let phases = match options.mode {
        None => Phases::of_seconds(options.seconds),
        Some(Mode::Churn { .. }) => Phases::without_moves(),
    };
    let plan =
        if options.mode.is_none() { plan::plan(options.seed, &phases, phone_count()) } else { Vec::new() };
    report::print_plan(options.seed, &plan);
    if options.plan {
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let site = Site::start(&options.surroundings).await;
    println!("started    after {:.1} s", began.elapsed().as_secs_f64());
    let audit = Audit { options, phases, plan, site };
    // Everything ends here, before the verdict is turned into an exit code.
    if audit.run().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Settled {
    logs: Logs,
    after: Duration,
    /// What was waited for last.
    last: Option<Violation>,
}

struct Audit {
    options: Options,
    phases: Phases,
    plan: Vec<plan::Planned>,
    site: Site,
}

impl Audit {
    /// Whether all promises were kept.
    async fn run(self) -> bool {
        let run = Run::new(self.options.seed, Rest::new(self.site.api_urls.clone()), self.phases);
        let targets = PushTargets::default();
        tokio::select! {
            verdict = self.hold(&run, &targets) => verdict,
            () = targets.keep_collecting(&run, &self.site.fcm) => unreachable!("it never ends"),
            () = sleep(self.limit()) => {
                println!("BROKEN     seed {}: the run itself did not end in time", self.options.seed);
                false
            }
        }
    }

    /// Several times what a run takes on a busy machine: beyond it something hangs that should not.
    fn limit(&self) -> Duration {
        let seconds = match self.options.mode {
            None => self.options.seconds,
            Some(Mode::Churn { sends, send_rate, .. }) => u64::from(sends / send_rate) * 4,
        };
        Duration::from_secs(seconds + self.options.surroundings.settle_limit + 240)
    }

    async fn hold(&self, run: &Shared, targets: &PushTargets) -> bool {
        let seed = self.options.seed;
        let population = Arc::new(settle(run, targets, self.options.mode.is_none()).await);
        let mut lives = JoinSet::new();
        for service in self.site.services() {
            lives.spawn(Arc::clone(service).keep_running(run.random(&service.name)));
        }
        for device in &population.devices {
            lives.spawn(life::arrive(Arc::clone(device), self.options.mode.is_none()));
        }
        self.bring_about(run, targets, &population).await;
        let settled = self.settled(run, targets).await;
        let logs = settled.logs;
        targets.collect(run, &self.site.fcm);

        let pushes = if self.options.mode.is_none() { Pushes::WhereNeeded } else { Pushes::None };
        let history = run.history();
        let violations = check::violations(&history, &logs, pushes);
        report::print_summary(&history, &logs, settled.after, settled.last.as_ref());
        if history.is_overfull {
            println!("BROKEN     seed {seed}: more was seen than can be checked");
        } else if violations.is_empty() {
            println!("KEPT       seed {seed}: every promise");
        } else {
            report::print_violations(seed, &history, &logs, &violations);
        }
        violations.is_empty() && !history.is_overfull
    }

    /// The workload with its faults; returns when both are over and all outcomes are certain.
    async fn bring_about(&self, run: &Shared, targets: &PushTargets, population: &Arc<Population>) {
        let workload = |rate, enough| {
            let (run, population) = (Arc::clone(run), Arc::clone(population));
            Arc::new(Workload { run, population, rate, enough, accepted: AtomicU32::new(0) }).run()
        };
        match self.options.mode {
            None => {
                let changing = population.channels[..CHANGING_GROUPS].iter();
                let changes: JoinSet<()> =
                    changing.map(|channel| membership::keep_changing(Arc::clone(run), *channel)).collect();
                let faults = faults::carry_out(run, &self.site, targets, &population.phones, &self.plan);
                tokio::join!(workload(self.options.rate, None), changes.join_all(), faults);
            }
            Some(Mode::Churn { sends, kill_every, send_rate }) => {
                // Whoever is on the way when the first message is sent is not connected throughout.
                sleep(Duration::from_secs(3)).await;
                tokio::select! {
                    () = workload(send_rate, Some(sends)) => {}
                    () = faults::churn(run, &self.site, kill_every) => {}
                }
            }
        }
    }

    /// Waits until everybody has everything, or for as long as the options say.
    async fn settled(&self, run: &Shared, targets: &PushTargets) -> Settled {
        self.site.wait_ready().await;
        let began = Instant::now();
        let limit = Duration::from_secs(self.options.surroundings.settle_limit);
        run.sleep_until(run.phases.moves_until).await;
        let mut logs = logs::read(run).await;
        let mut last = None;
        loop {
            targets.collect(run, &self.site.fcm);
            let unsettled = check::unsettled(&run.history(), &logs).into_iter().next();
            if unsettled.is_none() || began.elapsed() > limit {
                let after = began.elapsed();
                sleep(AFTERMATH).await;
                // What was sent last may have been stored after the first look.
                logs = logs::read(run).await;
                return Settled { logs, after, last };
            }
            last = unsettled;
            sleep(LOOK_EVERY).await;
        }
    }
}

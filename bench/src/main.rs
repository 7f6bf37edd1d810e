//! `bench`: measures a Naru, each figure beside a floor of the same run.

mod effort;
mod floors;
mod load;
mod meters;
mod options;
mod outcome;
mod progress;
mod report;
mod scenarios;
mod site;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report::complain(&error.into());
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(scenarios::run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

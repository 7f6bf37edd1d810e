//! `bench`: measures a Naru, each figure beside a floor of the same run.

#![expect(unreachable_pub, reason = "a program exports nothing: `pub` says what its other files may use")]

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

use crate::options::Options;

fn main() -> ExitCode {
    // Floors are children of ours: no user starts them, and they have nothing of our options.
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let [first, name, rest @ ..] = arguments.as_slice()
        && first == floors::process::ARGUMENT
    {
        return in_runtime(floors::serve(name, rest));
    }
    match Options::from_command_line() {
        Ok(options) => in_runtime(scenarios::run(&options)),
        Err(error) => error.exit(),
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(work));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

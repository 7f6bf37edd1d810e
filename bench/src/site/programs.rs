//! The release builds of the services.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// Builds what is measured, if we were started by cargo: `cargo run -p bench` builds this tool only.
pub fn build() -> anyhow::Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "api-server", "--package", "chat-gateway", "--bins"]);
    // The very profile that we were built in: its directory is ours.
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().context("cargo does not start")?;
    if !status.success() {
        bail!("the services do not build");
    }
    Ok(())
}

/// Checks that a service's program lies beside ours.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("we do not know where we are")?;
    let program = own.with_file_name(name);
    if !program.is_file() {
        bail!("{} is missing: `cargo build --release --workspace --bins` builds it", program.display());
    }
    Ok(program)
}

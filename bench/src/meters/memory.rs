//! Resident memory of other processes (`/proc`, Linux).

use std::fs;

use anyhow::Context;

/// Bytes of a process that are in memory now.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("process {pid} cannot be looked at"))?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(kilobytes.context("/proc/PID/status has no VmRSS")?.trim().parse::<u64>()? * 1024)
}

//! What the disk itself takes to keep something.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// As much as Postgres writes for a small commit.
const BYTES: [u8; 8 * 1024] = [7; 8 * 1024];

/// The median time of one `fdatasync` after a write of 8 KiB in place, in this directory.
pub async fn fdatasync(directory: &Path, times: usize) -> anyhow::Result<Duration> {
    let path = directory.join("naru-bench-fdatasync");
    let measured = tokio::task::spawn_blocking(move || {
        let measured = measure(&path, times);
        let _left = std::fs::remove_file(&path);
        measured
    });
    measured.await?
}

fn measure(path: &Path, times: usize) -> anyhow::Result<Duration> {
    let mut file = File::create(path)?;
    file.write_all(&BYTES)?;
    file.sync_all()?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&BYTES)?;
        let started = Instant::now();
        file.sync_data()?;
        taken.push(started.elapsed());
    }
    taken.sort_unstable();
    Ok(taken[taken.len() / 2])
}

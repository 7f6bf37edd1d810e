//! Where PostgreSQL's server programs are installed.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory of `initdb` and `postgres`: Debian keeps it out of PATH, and so does Homebrew's `postgresql@N`.
pub fn find_programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for (parent, inside) in [
        ("/usr/lib/postgresql", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "bin"),
    ] {
        candidates.extend(newest_first(Path::new(parent)).into_iter().map(|version| version.join(inside)));
    }
    let found =
        candidates.into_iter().find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file());
    found.expect("PostgreSQL's server programs (initdb, postgres): run deploy/local/install-servers")
}

/// `15`, `17`, `postgresql@16`: whatever ends in a number, the highest first.
fn newest_first(parent: &Path) -> Vec<PathBuf> {
    let version = |path: &PathBuf| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("postgresql@").unwrap_or(name).parse().ok()
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut versions: Vec<_> = entries.filter(|path| version(path).is_some()).collect();
    versions.sort_by_key(|path| Reverse(version(path)));
    versions
}

//! The folder that holds everything: one process at a time, secrets for the owner only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A data folder that this process has to itself.
pub struct DataFolder {
    path: PathBuf,
    /// The lock ends with the process, however it ends.
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    #[error("NARU_DATA: cannot use the folder {}: {cause}", path.display())]
    Unusable { path: PathBuf, cause: io::Error },
    #[error("NARU_DATA: another process uses the folder {}", path.display())]
    InUse { path: PathBuf },
}

impl DataFolder {
    /// Creates the folder if there is none, and takes it.
    pub fn take(path: &Path) -> Result<Self, DataFolderError> {
        let unusable = |cause| DataFolderError::Unusable { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = private_file().create(true).truncate(false).open(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(DataFolderError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }

    /// Where the embedded storage lies.
    pub fn database(&self) -> PathBuf {
        self.path.join("naru.db")
    }

    /// The file with the secret that signs tokens; made at the first start, readable by its owner only.
    pub fn token_secret(&self) -> Result<PathBuf, DataFolderError> {
        let file = self.path.join("token-secret");
        let unusable = |cause| DataFolderError::Unusable { path: file.clone(), cause };
        match private_file().create_new(true).open(&file) {
            Ok(mut new) => {
                let secret = random_hex().map_err(unusable)?;
                new.write_all(secret.as_bytes()).and_then(|()| new.sync_all()).map_err(unusable)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(error)),
        }
        Ok(file)
    }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// 256 bits from the system's generator, in hexadecimal.
pub fn random_hex() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

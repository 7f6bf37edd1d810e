//! Secrets: a string that does not print, given as an option or read from a file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Largest secret file: keys are far smaller, and a wrong path should not be read whole.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

/// A secret. Prints as `***`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Ok(Self(raw.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why an option could not be used. Names the option, never its value.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    #[error("{name} is required: set it by {flag}, {name} or {name}_FILE")]
    Missing { name: &'static str, flag: &'static str },
    #[error("{name} and {name}_FILE contradict each other: give one of them")]
    Both { name: &'static str },
    #[error("{name}_FILE: cannot read {}: {cause}", path.display())]
    Unreadable { name: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("{name} {rule}")]
    Invalid { name: &'static str, rule: String },
}

/// Makes one secret of an option and its `…_FILE` twin. Empty counts as absent, as in a compose file.
pub fn secret_from(
    name: &'static str,
    given: Option<&Secret>,
    file: Option<&Path>,
) -> Result<Option<Secret>, OptionError> {
    let given = given.filter(|secret| !secret.0.is_empty());
    let file = file.filter(|path| !path.as_os_str().is_empty());
    match (given, file) {
        (Some(_), Some(_)) => Err(OptionError::Both { name }),
        (Some(secret), None) => Ok(Some(secret.clone())),
        (None, Some(path)) => read_secret(path).map(Some).map_err(|cause| OptionError::Unreadable {
            name,
            path: path.to_owned(),
            cause,
        }),
        (None, None) => Ok(None),
    }
}

fn read_secret(path: &Path) -> std::io::Result<Secret> {
    if std::fs::metadata(path)?.len() > MAX_SECRET_FILE_BYTES {
        return Err(std::io::Error::other("it is larger than 64 KiB"));
    }
    let text = std::fs::read_to_string(path)?;
    // An editor's final newline is no part of a secret.
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(std::io::Error::other("it is empty")) } else { Ok(Secret(secret.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "***");
    }

    #[test]
    fn a_secret_and_its_file_contradict_each_other() {
        let secret = Secret("x".into());
        let error = secret_from("NARU_X", Some(&secret), Some(Path::new("/tmp/x"))).unwrap_err();
        assert_eq!(error.to_string(), "NARU_X and NARU_X_FILE contradict each other: give one of them");
    }

    #[test]
    fn an_empty_option_counts_as_absent() {
        let empty = Secret(String::new());
        assert!(secret_from("NARU_X", Some(&empty), Some(Path::new(""))).unwrap().is_none());
    }
}

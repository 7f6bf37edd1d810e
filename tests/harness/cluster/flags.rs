//! A service's command line in the making.

/// `--name=value` flags, each name once.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags(Vec<String>);

impl Flags {
    /// Adds a flag in place of one with the same name.
    pub(super) fn set(&mut self, flag: impl Into<String>) {
        let flag = flag.into();
        self.remove(name_of(&flag));
        self.0.push(flag);
    }

    pub(super) fn set_all(&mut self, flags: &Self) {
        for flag in &flags.0 {
            self.set(flag);
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|flag| name_of(flag) == name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|flag| name_of(flag) != name);
    }

    pub(super) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn name_of(flag: &str) -> &str {
    flag.split_once('=').map_or(flag, |(name, _)| name)
}

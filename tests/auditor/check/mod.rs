//! The verdicts: which promises the history breaks. Pure, so that hand-written histories can prove it.

mod foreign;
mod membership;
mod needless;
mod order;
mod reach;
mod stored;
#[cfg(test)]
mod tests;

use crate::history::{History, Logs, Millis};

/// A broken promise, with what its story is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// A few words by which violations of a kind are counted.
    pub kind: &'static str,
    pub text: String,
    pub channel: Option<usize>,
    pub seq: Option<i64>,
    pub send: Option<usize>,
    pub device: Option<usize>,
    /// Around when it happened, where that is known.
    pub at: Option<Millis>,
}

/// How pushes are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushes {
    /// Users come and go: a push is needless if its user was certainly connected all the time.
    WhereNeeded,
    /// Every user is connected throughout, apart from the reconnects that kills force.
    None,
}

/// What is not as it must be in the end, but may still become right.
pub fn unsettled(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = reach::lost(history, logs);
    found.extend(reach::untold(history, logs));
    found.extend(reach::missing_in_open_sessions(history, logs));
    found
}

/// All broken promises of a run that has settled, or was given enough time to.
pub fn violations(history: &History, logs: &Logs, pushes: Pushes) -> Vec<Violation> {
    let mut found = stored::not_as_answered(history, logs);
    found.extend(stored::not_once(history, logs));
    found.extend(stored::with_gaps(history, logs));
    found.extend(order::in_sessions(history, logs));
    found.extend(order::not_in_log(history, logs));
    found.extend(foreign::seen_by_strangers(history, logs));
    found.extend(needless::pushes(history, logs, pushes));
    found.extend(unsettled(history, logs));
    found
}

impl Violation {
    fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), channel: None, seq: None, send: None, device: None, at: None }
    }

    fn of_entry(mut self, channel: usize, seq: i64) -> Self {
        self.channel = Some(channel);
        self.seq = Some(seq);
        self
    }

    fn of_send(mut self, send: usize) -> Self {
        self.send = Some(send);
        self
    }

    fn on(mut self, device: usize) -> Self {
        self.device = Some(device);
        self
    }

    fn at(mut self, at: Millis) -> Self {
        self.at = Some(at);
        self
    }
}

/// The first few of many.
fn some(seqs: &[i64]) -> String {
    let shown: Vec<String> = seqs.iter().take(8).map(i64::to_string).collect();
    let more = if seqs.len() > shown.len() {
        format!(" and {} more", seqs.len() - shown.len())
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

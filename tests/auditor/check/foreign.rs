//! Nobody gets an entry at a time when they are no participant.

use std::collections::HashMap;

use super::Violation;
use super::membership::{Absence, absences};
use crate::history::{History, Logs, Millis};

/// Entries that were stored while their reader was certainly out, and read before they can have been in again. What
/// was stored while they were in and read a moment after they were out may have been on its way: that is no violation.
pub fn seen_by_strangers(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut known: HashMap<(usize, usize), Vec<(Absence, Millis)>> = HashMap::new();
    let by_session = history.sightings.iter().map(|s| (s.device, s.channel, s.seq, s.at, "saw"));
    let by_push = history.pushes.iter().map(|p| (p.device, p.channel, p.seq, p.at, "was told by push of"));
    let mut found = Vec::new();
    for (device, channel, seq, at, how) in by_session.chain(by_push) {
        let user = history.devices[device].user;
        let absences =
            known.entry((channel, user)).or_insert_with(|| certain_absences(history, logs, channel, user));
        let is_foreign =
            |(absence, until): &(Absence, Millis)| absence.after < seq && seq < absence.before && at < *until;
        if absences.iter().any(is_foreign) {
            let text = format!(
                "{} {how} seq {seq}, stored while its user was no participant",
                history.devices[device].name
            );
            found.push(
                Violation::new("an entry reached a stranger", text).of_entry(channel, seq).on(device).at(at),
            );
        }
    }
    found
}

/// Each with the time before which it cannot have ended.
fn certain_absences(history: &History, logs: &Logs, channel: usize, user: usize) -> Vec<(Absence, Millis)> {
    let Some(log) = logs.0.get(&channel) else { return Vec::new() };
    let changes: Vec<_> = history
        .memberships
        .iter()
        .filter(|change| change.channel == channel && change.user == user)
        .collect();
    // With an unknown outcome nobody can say which joining in the log is whose.
    if changes.iter().any(|change| change.done.is_none()) {
        return Vec::new();
    }
    let absences = absences(&history.channels[channel], log, user, &history.users[user]);
    let mut additions = changes.iter().filter(|change| change.is_addition);
    let mut latest = Millis::MAX;
    let until = |absence| {
        let addition = additions.next();
        let until = addition.map_or(Millis::MAX, |addition| addition.began).min(latest);
        if addition.is_some_and(|addition| addition.was_retried) {
            latest = until;
        }
        (absence, until)
    };
    absences.into_iter().map(until).collect()
}

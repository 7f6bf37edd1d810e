//! What each session saw: each channel in `seq` order, nothing twice, and after a resume nothing left out.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::stays_from;
use super::{Violation, some};
use crate::history::{History, Logs, Session, Sighting};

/// Of every session, what it saw of each channel, in the order in which it came.
pub(super) fn by_session(history: &History) -> BTreeMap<(usize, usize), Vec<&Sighting>> {
    let mut seen: BTreeMap<(usize, usize), Vec<&Sighting>> = BTreeMap::new();
    for sighting in &history.sightings {
        if let Some(session) = sighting.session {
            seen.entry((session, sighting.channel)).or_default().push(sighting);
        }
    }
    seen
}

pub fn in_sessions(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = Vec::new();
    for ((index, channel), sightings) in by_session(history) {
        let session = &history.sessions[index];
        let mut seen = BTreeSet::new();
        let mut highest = 0;
        for sighting in &sightings {
            let kind = if !seen.insert(sighting.seq) {
                "a session saw an entry twice"
            } else if sighting.seq < highest {
                "a session saw entries out of order"
            } else {
                highest = sighting.seq;
                continue;
            };
            let text = format!("session {index}: seq {} after seq {highest}", sighting.seq);
            let violation = Violation::new(kind, text).of_entry(channel, sighting.seq).on(session.device);
            found.push(violation.at(sighting.at));
        }
        let Some(first) = seen.first().copied() else { continue };
        let baseline = baseline(history, session, channel).unwrap_or(first);
        if session.resumed.is_none() {
            continue;
        }
        let missing = missing(history, logs, session, channel, baseline, highest, |seq| seen.contains(&seq));
        if let Some(&seq) = missing.first() {
            let text = format!("session {index} saw seq {highest} and never {}", some(&missing));
            let last = sightings.last().map_or(0, |sighting| sighting.at);
            let violation = Violation::new("a resumed session left entries out", text).of_entry(channel, seq);
            found.push(violation.on(session.device).at(last));
        }
    }
    found
}

/// After which `seq` a resumed session must have everything of the channel, where that is certain before it has seen
/// anything.
pub(super) fn baseline(history: &History, session: &Session, channel: usize) -> Option<i64> {
    let resumed = session.resumed.as_ref()?;
    let cursor = session.cursors.as_ref().and_then(|cursors| cursors.get(&channel).copied());
    if let Some(cursor) = cursor {
        return (!resumed.resync.contains(&channel)).then_some(cursor);
    }
    let channel = &history.channels[channel];
    let user = history.devices[session.device].user;
    let is_younger = channel.asked_for.is_some_and(|asked_for| asked_for > resumed.at);
    (is_younger && channel.members.contains(&user)).then_some(0)
}

/// Which of the entries after `baseline` and up to `highest` the session has not seen, although its user stays a
/// participant from before them to the end.
pub(super) fn missing(
    history: &History,
    logs: &Logs,
    session: &Session,
    channel: usize,
    baseline: i64,
    highest: i64,
    has_seen: impl Fn(i64) -> bool,
) -> Vec<i64> {
    let Some(log) = logs.0.get(&channel) else { return Vec::new() };
    let user = history.devices[session.device].user;
    let Some(stays_from) = stays_from(&history.channels[channel], log, user, &history.users[user]) else {
        return Vec::new();
    };
    let due =
        log.iter().map(|entry| entry.seq).filter(|seq| *seq > baseline.max(stays_from) && *seq <= highest);
    due.filter(|seq| !has_seen(*seq)).collect()
}

/// What somebody saw and the log does not have, or has otherwise.
pub fn not_in_log(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = Vec::new();
    for sighting in &history.sightings {
        let Some(log) = logs.0.get(&sighting.channel) else { continue };
        // Logs have no gaps, or there is a violation that says so.
        let stored = usize::try_from(sighting.seq - 1).ok().and_then(|index| log.get(index));
        if stored.is_none_or(|entry| entry.print != sighting.print) {
            let text = format!("seq {} as it was seen is not in the log", sighting.seq);
            let violation = Violation::new("an entry that is not in the log", text);
            found
                .push(violation.of_entry(sighting.channel, sighting.seq).on(sighting.device).at(sighting.at));
        }
    }
    found
}

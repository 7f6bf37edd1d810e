//! Pushes to people who were looking at the screen.

use std::collections::HashMap;

use super::{Pushes, Violation};
use crate::history::{EntryKind, History, Logs, Millis, Session};

/// A session that has just said that it is in the foreground again counts a little later only.
const GRACE: Millis = 1_000;

pub fn pushes(history: &History, logs: &Logs, rule: Pushes) -> Vec<Violation> {
    let began: HashMap<&str, Millis> = history
        .sends
        .iter()
        .filter_map(|send| Some((send.client_message_id.as_str(), send.attempts.first()?.began)))
        .collect();
    let mut found = Vec::new();
    for push in &history.pushes {
        let device = &history.devices[push.device];
        let log = logs.0.get(&push.channel).map(Vec::as_slice).unwrap_or_default();
        let Some(entry) = log.iter().find(|entry| entry.seq == push.seq) else { continue };
        let EntryKind::Message { client_message_id, .. } = &entry.kind else { continue };
        let Some(&began) = began.get(client_message_id.as_str()) else { continue };
        let is_needless = match rule {
            Pushes::None => !device.is_push_only,
            Pushes::WhereNeeded => was_reachable(history, device.user, push.channel, began, push.at),
        };
        if is_needless {
            let text = format!("{} was pushed to while its user was connected", device.name);
            let violation = Violation::new("a needless push", text).of_entry(push.channel, push.seq);
            found.push(violation.on(push.device).at(push.at));
        }
    }
    found
}

/// Whether the user certainly had a foreground session at every moment from `from` to `to`, with nothing wrong around
/// them: no fault that may be felt, no session lost, and at most one left for another.
fn was_reachable(history: &History, user: usize, channel: usize, from: Millis, to: Millis) -> bool {
    let is_felt = |fault: &crate::history::ActiveFault| {
        fault.lingers.is_some_and(|lingers| {
            fault.from <= to && fault.until.is_none_or(|until| until + lingers >= from)
        })
    };
    let changes = history.memberships.iter().any(|change| change.channel == channel);
    if changes || history.faults.iter().any(is_felt) {
        return false;
    }
    let theirs = || history.sessions.iter().filter(|session| history.devices[session.device].user == user);
    let ended: Vec<&Session> = theirs()
        .filter(|session| {
            session.ended.as_ref().is_some_and(|(at, _)| (from.saturating_sub(GRACE)..=to).contains(at))
        })
        .collect();
    if ended.len() > 1
        || ended.iter().any(|session| session.ended.as_ref().is_some_and(|(_, how)| how != "own"))
    {
        return false;
    }
    let mut covered_to = from;
    let mut intervals: Vec<(Millis, Millis)> = theirs().flat_map(foreground).collect();
    intervals.sort_unstable();
    for (start, end) in intervals {
        if start <= covered_to {
            covered_to = covered_to.max(end);
        }
    }
    covered_to > to
}

/// When the session was certainly in the foreground.
fn foreground(session: &Session) -> Vec<(Millis, Millis)> {
    let end = session.ended.as_ref().map_or(Millis::MAX, |(at, _)| *at);
    let mut intervals = Vec::new();
    let mut since = Some(session.ready);
    for (at, is_background) in &session.background {
        match (is_background, since) {
            (true, Some(start)) => {
                intervals.push((start, *at));
                since = None;
            }
            (false, None) => since = Some(at + GRACE),
            _ => {}
        }
    }
    if let Some(start) = since.filter(|start| *start < end) {
        intervals.push((start, end));
    }
    intervals
}

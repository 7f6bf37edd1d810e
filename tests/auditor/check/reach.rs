//! Everybody's devices have everything in the end.

use std::collections::{HashMap, HashSet};

use super::membership::stays_from;
use super::order::{baseline, by_session, missing};
use super::{Violation, some};
use crate::history::{EntryKind, History, LogEntry, Logs};

/// Messages that a device which connects has neither by session nor by sync.
pub fn lost(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut has: HashMap<(usize, usize), HashSet<i64>> = HashMap::new();
    for sighting in &history.sightings {
        has.entry((sighting.device, sighting.channel)).or_default().insert(sighting.seq);
    }
    let mut found = Vec::new();
    each_due(history, logs, |device, channel, due| {
        if history.devices[device].is_push_only {
            return;
        }
        let has = has.get(&(device, channel));
        let missing: Vec<i64> = due
            .iter()
            .map(|entry| entry.seq)
            .filter(|seq| has.is_none_or(|has| !has.contains(seq)))
            .collect();
        if let Some(&seq) = missing.first() {
            let text = format!("{} never got seq {}", history.devices[device].name, some(&missing));
            found.push(Violation::new("a device lost entries", text).of_entry(channel, seq).on(device));
        }
    });
    found
}

/// Messages of others of which a device that never connects was not told. Pushes fold: the last one counts.
pub fn untold(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut told: HashMap<(usize, usize), i64> = HashMap::new();
    for push in &history.pushes {
        let told = told.entry((push.device, push.channel)).or_default();
        *told = push.seq.max(*told);
    }
    // Matters for devices without a target for a while: only what was certainly sent afterwards is due.
    let began: HashMap<&str, u64> = history
        .sends
        .iter()
        .filter_map(|send| Some((send.client_message_id.as_str(), send.attempts.first()?.began)))
        .collect();
    let mut found = Vec::new();
    each_due(history, logs, |device, channel, due| {
        let (name, reregistered) = (history.user_of(device), history.devices[device].reregistered);
        if !history.devices[device].is_push_only {
            return;
        }
        let last = due.iter().rev().find(|entry| match &entry.kind {
            EntryKind::Message { sender, client_message_id, .. } => {
                let began = began.get(client_message_id.as_str()).copied().unwrap_or_default();
                sender != name && reregistered.is_none_or(|reregistered| began > reregistered)
            }
            _ => false,
        });
        let told = told.get(&(device, channel)).copied().unwrap_or_default();
        if let Some(last) = last.filter(|last| last.seq > told) {
            let text =
                format!("{} was told up to seq {told}, not {}", history.devices[device].name, last.seq);
            found.push(
                Violation::new("a device was not told by push", text).of_entry(channel, last.seq).on(device),
            );
        }
    });
    found
}

/// Messages that a session which lives still has not brought.
pub fn missing_in_open_sessions(history: &History, logs: &Logs) -> Vec<Violation> {
    let seen = by_session(history);
    let mut found = Vec::new();
    for (index, session) in history.sessions.iter().enumerate() {
        if session.ended.is_some() || session.resumed.is_none() {
            continue;
        }
        for (channel, log) in &logs.0 {
            let Some(baseline) = baseline(history, session, *channel) else { continue };
            let seen: HashSet<i64> =
                seen.get(&(index, *channel)).into_iter().flatten().map(|sighting| sighting.seq).collect();
            let missing =
                missing(history, logs, session, *channel, baseline, i64::MAX, |seq| seen.contains(&seq));
            let messages: Vec<i64> = missing.into_iter().filter(|seq| is_message(log, *seq)).collect();
            if let Some(&seq) = messages.first() {
                let text = format!("session {index} is open and never brought seq {}", some(&messages));
                let violation = Violation::new("an open session did not bring entries", text);
                found.push(violation.of_entry(*channel, seq).on(session.device));
            }
        }
    }
    found
}

fn is_message(log: &[LogEntry], seq: i64) -> bool {
    log.iter().any(|entry| entry.seq == seq && matches!(entry.kind, EntryKind::Message { .. }))
}

/// For each device and channel: the messages since the user's last joining, if they have stayed since.
fn each_due(history: &History, logs: &Logs, mut look: impl FnMut(usize, usize, &[&LogEntry])) {
    for (channel, log) in &logs.0 {
        let mut stays: HashMap<usize, Option<i64>> = HashMap::new();
        for (device, known) in history.devices.iter().enumerate() {
            let stays = stays.entry(known.user).or_insert_with(|| {
                stays_from(&history.channels[*channel], log, known.user, &history.users[known.user])
            });
            let Some(stays) = *stays else { continue };
            let due: Vec<&LogEntry> = log
                .iter()
                .filter(|entry| entry.seq > stays && matches!(entry.kind, EntryKind::Message { .. }))
                .collect();
            look(device, *channel, &due);
        }
    }
}

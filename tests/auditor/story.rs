//! The smallest story of a violation: one message, who sent it, where it lies, who saw it, and what was broken then.

use std::fmt::Write;

use crate::check::Violation;
use crate::history::{Answer, EntryKind, History, Logs, Millis};

/// Faults this close to a message may have to do with it.
const AROUND: Millis = 8_000;
const MAX_LINES: usize = 40;

pub fn tell(history: &History, logs: &Logs, violation: &Violation) -> String {
    let mut story = format!("{}: {}\n", violation.kind, violation.text);
    let send = violation.send.or_else(|| find_send(history, logs, violation));
    let mut around = violation.at;
    if let Some(channel) = violation.channel {
        let _ = writeln!(story, "  channel {} ({})", channel, history.channels[channel].id);
    }
    if let Some(send) = send.map(|index| &history.sends[index]) {
        around = send.attempts.first().map(|attempt| attempt.began).or(around);
        let _ = writeln!(story, "  {} by {}", send.client_message_id, history.users[send.user]);
        for attempt in &send.attempts {
            let answer = match &attempt.answer {
                Answer::Stored { status, seq, .. } => format!("{status}, seq {seq}"),
                Answer::Refused { status, code } => format!("{status} {code}"),
                Answer::Unknown(why) => format!("nothing: {why}"),
            };
            let (began, ended) = (seconds(attempt.began), seconds(attempt.ended));
            let _ = writeln!(story, "  {began} sent to api-{}; {ended} {answer}", attempt.api);
        }
    }
    if let (Some(channel), Some(seq)) = (violation.channel, violation.seq) {
        let stored = logs.0.get(&channel).into_iter().flatten().find(|entry| entry.seq == seq);
        let last = logs.0.get(&channel).and_then(|log| log.last()).map_or(0, |entry| entry.seq);
        let kind = stored.map_or_else(|| "nothing".to_owned(), |entry| format!("{:?}", entry.kind));
        let _ = writeln!(story, "  in the log at {seq} of {last}: {kind}");
        seen(history, channel, seq, violation.device, &mut story);
        changes(history, channel, violation.device, &mut story);
    }
    if let Some(device) = violation.device {
        sessions(history, device, around, &mut story);
    }
    if let Some(around) = around {
        for fault in &history.faults {
            let until = fault.until.unwrap_or(Millis::MAX);
            if fault.from <= around + AROUND && until.saturating_add(AROUND) >= around {
                let _ = writeln!(story, "  {} to {} {}", seconds(fault.from), seconds(until), fault.what);
            }
        }
    }
    story
}

fn find_send(history: &History, logs: &Logs, violation: &Violation) -> Option<usize> {
    let (channel, seq) = (violation.channel?, violation.seq?);
    let entry = logs.0.get(&channel)?.iter().find(|entry| entry.seq == seq)?;
    let EntryKind::Message { client_message_id, .. } = &entry.kind else { return None };
    history.sends.iter().position(|send| send.client_message_id == *client_message_id)
}

/// What came of this entry and its neighbours to the device, or of the entry to all.
fn seen(history: &History, channel: usize, seq: i64, device: Option<usize>, story: &mut String) {
    let near = |at: i64| if device.is_some() { (seq - 2..=seq + 2).contains(&at) } else { at == seq };
    let of = |index: usize| device.is_none_or(|device| device == index);
    let mut lines: Vec<(Millis, String)> = Vec::new();
    for sighting in history.sightings.iter().filter(|s| s.channel == channel && near(s.seq) && of(s.device)) {
        let how = sighting.session.map_or_else(|| "sync".to_owned(), |session| format!("session {session}"));
        let name = &history.devices[sighting.device].name;
        lines.push((sighting.at, format!("{name} saw {} by {how}", sighting.seq)));
    }
    for push in
        history.pushes.iter().filter(|push| push.channel == channel && near(push.seq) && of(push.device))
    {
        lines.push((
            push.at,
            format!("{} was told up to {} by push", history.devices[push.device].name, push.seq),
        ));
    }
    lines.sort();
    for (at, line) in lines.iter().take(MAX_LINES) {
        let _ = writeln!(story, "  {} {line}", seconds(*at));
    }
    if lines.is_empty() {
        let _ = writeln!(story, "  nobody concerned saw it");
    }
}

fn changes(history: &History, channel: usize, device: Option<usize>, story: &mut String) {
    let Some(user) = device.map(|device| history.devices[device].user) else { return };
    for change in history.memberships.iter().filter(|change| change.channel == channel && change.user == user)
    {
        let what = if change.is_addition { "added" } else { "removed" };
        let done = change.done.map_or_else(|| "unknown".to_owned(), seconds);
        let _ = writeln!(story, "  {} asked to be {what}, done {done}", seconds(change.began));
    }
}

fn sessions(history: &History, device: usize, around: Option<Millis>, story: &mut String) {
    for (index, session) in history.sessions.iter().enumerate() {
        let (end, how) = session.ended.clone().unwrap_or((Millis::MAX, "open".into()));
        let is_near = around
            .is_none_or(|around| session.ready <= around + AROUND && end.saturating_add(AROUND) >= around);
        if history.devices[session.device].user != history.devices[device].user || !is_near {
            continue;
        }
        let resumed = session
            .resumed
            .as_ref()
            .map_or_else(|| "not resumed".to_owned(), |r| format!("resumed {}", seconds(r.at)));
        let name = &history.devices[session.device].name;
        let (ready, end) = (seconds(session.ready), seconds(end));
        let _ = writeln!(
            story,
            "  {ready} {name}: session {index} on {}, {resumed}, ended {end} ({how})",
            session.gateway
        );
        for (at, value) in &session.background {
            let _ = writeln!(story, "  {} session {index}: background {value}", seconds(*at));
        }
    }
}

fn seconds(at: Millis) -> String {
    if at == Millis::MAX { "        –".into() } else { format!("{:>8.3}s", at as f64 / 1_000.0) }
}

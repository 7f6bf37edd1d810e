//! What was answered is what is stored: once, under one `seq`, without gaps.

use std::collections::HashMap;

use super::Violation;
use crate::history::{Answer, EntryKind, History, Logs};

/// Entries that were answered with 201 or 200 and are not in the log as they were answered.
pub fn not_as_answered(history: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, send) in history.sends.iter().enumerate() {
        let mut first = None;
        for attempt in &send.attempts {
            let (seq, print) = match &attempt.answer {
                Answer::Stored { seq, print, .. } => (*seq, *print),
                Answer::Refused { status: 409, .. } => {
                    let text = "a retry with the same content was answered with 409";
                    found.push(Violation::new("a retry was refused", text).of_send(index));
                    continue;
                }
                _ => continue,
            };
            let log = logs.0.get(&send.channel).map(Vec::as_slice).unwrap_or_default();
            let stored = log.iter().find(|entry| entry.seq == seq);
            if stored.is_none_or(|entry| entry.print != print) {
                let what = if stored.is_none() { "is not in the log" } else { "is another one in the log" };
                let violation = Violation::new(
                    "an accepted entry is not stored",
                    format!("the entry answered as seq {seq} {what}"),
                );
                found.push(violation.of_entry(send.channel, seq).of_send(index));
            }
            if *first.get_or_insert(seq) != seq {
                let text = format!("answered as seq {} and as seq {seq}", first.unwrap_or_default());
                found.push(Violation::new("a retry made another entry", text).of_send(index));
            }
        }
    }
    found
}

/// A send that is in the log twice, whatever was answered, or that nobody made.
pub fn not_once(history: &History, logs: &Logs) -> Vec<Violation> {
    let sends: HashMap<(usize, &str, &str), usize> = history
        .sends
        .iter()
        .enumerate()
        .map(|(index, send)| {
            ((send.channel, history.users[send.user].as_str(), send.client_message_id.as_str()), index)
        })
        .collect();
    let mut found = Vec::new();
    let mut stored: HashMap<usize, i64> = HashMap::new();
    for (channel, log) in &logs.0 {
        for entry in log {
            let EntryKind::Message { sender, client_message_id, content } = &entry.kind else { continue };
            let Some(&send) = sends.get(&(*channel, sender.as_str(), client_message_id.as_str())) else {
                let text = format!("nobody has sent {client_message_id:?} as {sender}");
                found.push(Violation::new("an entry from nowhere", text).of_entry(*channel, entry.seq));
                continue;
            };
            if history.sends[send].content != *content {
                let violation =
                    Violation::new("an entry with other content", "the log does not say what was sent");
                found.push(violation.of_entry(*channel, entry.seq).of_send(send));
            }
            if let Some(first) = stored.insert(send, entry.seq) {
                let text = format!("seq {first} and seq {} are the same send", entry.seq);
                found.push(
                    Violation::new("a send is stored twice", text)
                        .of_entry(*channel, entry.seq)
                        .of_send(send),
                );
            }
        }
    }
    found
}

/// Logs whose `seq` does not go 1, 2, 3 …
pub fn with_gaps(_: &History, logs: &Logs) -> Vec<Violation> {
    let mut found = Vec::new();
    for (channel, log) in &logs.0 {
        if let Some((expected, entry)) = (1..).zip(log).find(|(expected, entry)| entry.seq != *expected) {
            let text = format!("seq {} stands where {expected} should", entry.seq);
            found.push(Violation::new("a log with a gap", text).of_entry(*channel, entry.seq));
        }
    }
    found
}

//! Who was a participant at which `seq`, as the log itself tells.

use crate::history::{Channel, EntryKind, LogEntry};

/// After `after` and before `before` the user was no participant; an open end is the largest number.
#[derive(Debug, PartialEq, Eq)]
pub struct Absence {
    pub after: i64,
    pub before: i64,
}

/// From this `seq` (exclusively) to the end of the log the user was a participant; `None`: not in the end.
pub fn stays_from(channel: &Channel, log: &[LogEntry], user: usize, name: &str) -> Option<i64> {
    let absences = absences(channel, log, user, name);
    match absences.last() {
        None => Some(0),
        Some(last) if last.before == i64::MAX => None,
        Some(last) => Some(last.before),
    }
}

/// In order.
pub fn absences(channel: &Channel, log: &[LogEntry], user: usize, name: &str) -> Vec<Absence> {
    let mut found = Vec::new();
    let mut left_at = (!channel.members.contains(&user)).then_some(0);
    for entry in log {
        match &entry.kind {
            EntryKind::Joined(users) if users.iter().any(|joined| joined == name) => {
                if let Some(after) = left_at.take() {
                    found.push(Absence { after, before: entry.seq });
                }
            }
            EntryKind::Left(users) if users.iter().any(|left| left == name) => {
                left_at = left_at.or(Some(entry.seq));
            }
            _ => {}
        }
    }
    if let Some(after) = left_at {
        found.push(Absence { after, before: i64::MAX });
    }
    found
}

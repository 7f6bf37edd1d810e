//! What a run prints.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::Violation;
use crate::history::{Answer, History, Logs};
use crate::plan::Planned;
use crate::story::tell;

/// Of each kind of violation this many are told.
const STORIES: usize = 2;

pub fn print_plan(seed: u64, plan: &[Planned]) {
    println!("seed {seed}, {} faults:", plan.len());
    for planned in plan {
        println!("{planned}");
    }
}

/// Settling takes less than this, or it is worth a look what was waited for.
const SOON: Duration = Duration::from_secs(5);

/// `last` is what was waited for last until all was settled.
pub fn print_summary(history: &History, logs: &Logs, settled_after: Duration, last: Option<&Violation>) {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in history.sends.iter().flat_map(|send| &send.attempts) {
        let key = match &attempt.answer {
            Answer::Stored { status, .. } => status.to_string(),
            Answer::Refused { status, code } => format!("{status} {code}"),
            Answer::Unknown(_) => "no answer".into(),
        };
        *answers.entry(key).or_default() += 1;
    }
    let by_session = history.sightings.iter().filter(|sighting| sighting.session.is_some()).count();
    let resumed = history.sessions.iter().filter(|session| session.resumed.is_some()).count();
    let stored: usize = logs.0.values().map(Vec::len).sum();
    println!(
        "sends      {} made, {} accepted; {stored} entries in {} logs",
        history.sends.len(),
        history.accepted(),
        logs.0.len()
    );
    println!("answers    {}", list(&answers));
    println!("entries    {by_session} by session, {} by sync", history.sightings.len() - by_session);
    println!("sessions   {}, of which {resumed} resumed", history.sessions.len());
    println!("pushes     {}", history.pushes.len());
    println!("members    {} changes", history.memberships.len());
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    for fault in &history.faults {
        let kind = fault.what.split(" (").next().unwrap_or_default();
        *faults.entry(kind.to_owned()).or_default() += 1;
    }
    println!("faults     {}", list(&faults));
    println!("settled    {:.1} s after the last send", settled_after.as_secs_f64());
    if let Some(last) = last.filter(|_| settled_after > SOON) {
        println!("waited for {}", tell(history, logs, last));
    }
}

/// The plan again is not printed: it stands above.
pub fn print_violations(seed: u64, history: &History, logs: &Logs, violations: &[Violation]) {
    let mut by_kind: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        by_kind.entry(violation.kind).or_default().push(violation);
    }
    for (kind, violations) in &by_kind {
        println!("\n{kind}: {} times", violations.len());
        for violation in violations.iter().take(STORIES) {
            println!("{}", tell(history, logs, violation));
        }
    }
    let counted: Vec<String> = by_kind.iter().map(|(kind, all)| format!("{} × {kind}", all.len())).collect();
    println!("BROKEN     seed {seed}: {}", counted.join(", "));
}

fn list(counts: &BTreeMap<String, usize>) -> String {
    let listed: Vec<String> = counts.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    if listed.is_empty() { "none".into() } else { listed.join(", ") }
}

//! Histories written by hand: what must be found, and what must not.

use serde_json::{Value, json};

use super::*;
use crate::history::{
    Answer, Attempt, Channel, Device, LogEntry, MembershipChange, Print, Push, Resumed, Send, Session,
    Sighting,
};

/// Alice sends; bob has a device that connects, in session 0, and carol one that only gets pushes.
const BOBS: usize = 0;
const CAROLS: usize = 1;

fn message(seq: i64) -> Value {
    json!({
        "type": "message", "id": format!("entry-{seq}"), "channelId": "channel", "seq": seq, "senderId": "alice",
        "content": format!("content {seq}"), "clientMessageId": format!("c-{seq}"),
    })
}

fn change(seq: i64, kind: &str, user: &str) -> Value {
    json!({"type": kind, "id": format!("entry-{seq}"), "channelId": "channel", "seq": seq, "userIds": [user]})
}

/// A run in which alice's messages 1, 2 and 3 came to everybody as they should.
struct Story {
    history: History,
    log: Vec<Value>,
}

impl Story {
    fn good() -> Self {
        let users = ["alice", "bob", "carol"].map(str::to_owned).to_vec();
        let device = |name: &str, user, is_push_only| Device {
            name: name.to_owned(),
            user,
            is_push_only,
            reregistered: None,
        };
        let devices = vec![device("bobs", 1, false), device("carols", 2, true)];
        let channels = vec![Channel { id: "channel".into(), asked_for: Some(0), members: vec![0, 1, 2] }];
        let mut story = Self { history: History::default(), log: Vec::new() };
        (story.history.users, story.history.devices, story.history.channels) = (users, devices, channels);
        story.history.sessions.push(Session {
            device: BOBS,
            ready: 100,
            cursors: Some([(0, 0)].into()),
            resumed: Some(Resumed { at: 200, resync: [].into() }),
            ..Session::default()
        });
        for seq in 1..=3 {
            story.send(seq);
            story.see(seq);
        }
        story.push(3, 4_000);
        story
    }

    /// Sent and stored at 1,000 × `seq`.
    fn send(&mut self, seq: i64) {
        let entry = message(seq);
        let answer = Answer::Stored { status: 201, seq, print: Print::of(&entry) };
        let began = 1_000 * seq as Millis;
        self.history.sends.push(Send {
            client_message_id: format!("c-{seq}"),
            user: 0,
            channel: 0,
            content: format!("content {seq}"),
            attempts: vec![Attempt { api: 0, began, ended: began + 10, answer }],
        });
        self.log.push(entry);
    }

    /// Bob's session brings it half a second later.
    fn see(&mut self, seq: i64) {
        let entry =
            self.log.iter().find(|entry| entry["seq"] == seq).cloned().unwrap_or_else(|| message(seq));
        let at = 1_000 * seq as Millis + 500;
        self.history.see(Sighting {
            device: BOBS,
            session: Some(0),
            channel: 0,
            seq,
            print: Print::of(&entry),
            at,
        });
    }

    fn push(&mut self, seq: i64, at: Millis) {
        self.history.pushes.push(Push { device: CAROLS, channel: 0, seq, at });
    }

    fn removal_and_addition(&mut self, removed: Millis, added: Millis) {
        for (is_addition, began) in [(false, removed), (true, added)] {
            let done = Some(began + 10);
            self.history.memberships.push(MembershipChange {
                channel: 0,
                user: 1,
                is_addition,
                began,
                was_retried: false,
                done,
            });
        }
    }

    fn kinds(&self) -> Vec<&'static str> {
        let log = self.log.iter().filter_map(LogEntry::of).collect();
        let logs = Logs([(0, log)].into());
        violations(&self.history, &logs, Pushes::WhereNeeded)
            .into_iter()
            .map(|violation| violation.kind)
            .collect()
    }
}

const NONE: [&str; 0] = [];

#[test]
fn a_run_in_which_all_is_well_has_no_violation() {
    assert_eq!(Story::good().kinds(), NONE);
}

#[test]
fn an_entry_that_no_path_brought_is_lost() {
    let mut story = Story::good();
    story.history.sightings.pop();
    assert_eq!(story.kinds(), ["a device lost entries", "an open session did not bring entries"]);
    story.history.sightings.push(Sighting {
        device: BOBS,
        session: None,
        channel: 0,
        seq: 3,
        print: Print::of(&message(3)),
        at: 9,
    });
    assert_eq!(
        story.kinds(),
        ["an open session did not bring entries"],
        "sync has it, the session should have"
    );
    story.history.sessions[0].ended = Some((3_100, "broken".into()));
    assert_eq!(story.kinds(), NONE, "a session that has ended could not bring it");
}

#[test]
fn an_entry_that_comes_twice_or_out_of_order_is_found() {
    let mut story = Story::good();
    story.see(2);
    assert_eq!(story.kinds(), ["a session saw an entry twice"]);
    let mut story = Story::good();
    story.history.sightings.swap(1, 2);
    assert_eq!(story.kinds(), ["a session saw entries out of order"]);
}

#[test]
fn a_gap_in_a_resumed_session_is_found_even_if_sync_fills_it() {
    let mut story = Story::good();
    story.history.sessions[0].ended = Some((9_000, "broken".into()));
    story.history.sightings[1].session = None;
    assert_eq!(story.kinds(), ["a resumed session left entries out"]);
    story.history.sessions[0].resumed = None;
    assert_eq!(story.kinds(), NONE, "who did not resume is not promised that");
    story.history.sessions[0].resumed = Some(Resumed { at: 200, resync: [0].into() });
    story.history.sightings[1].session = Some(0);
    story.history.sightings[0].session = None;
    assert_eq!(story.kinds(), NONE, "before what came first, REST was to be used");
}

#[test]
fn a_push_only_device_must_be_told_of_the_last_message_of_others() {
    let mut story = Story::good();
    story.history.pushes.clear();
    story.push(2, 4_000);
    assert_eq!(story.kinds(), ["a device was not told by push"]);
    story.history.devices[CAROLS].reregistered = Some(2_500);
    assert_eq!(story.kinds(), ["a device was not told by push"], "sent after the new target was there");
    story.history.devices[CAROLS].reregistered = Some(3_500);
    assert_eq!(story.kinds(), NONE, "what was sent to a target that was gone is nobody's fault");
    let mut story = Story::good();
    story.log[2]["senderId"] = "carol".into();
    story.history.sends[2].user = 2;
    story.history.sends[2].attempts.clear();
    story.history.sightings[2].print = Print::of(&story.log[2]);
    story.history.pushes.clear();
    story.push(2, 4_000);
    assert_eq!(story.kinds(), NONE, "nobody is told of what they said themselves");
}

#[test]
fn an_accepted_entry_must_be_stored_once_as_it_was_answered() {
    let mut story = Story::good();
    story.log.pop();
    assert_eq!(story.kinds(), ["an accepted entry is not stored", "an entry that is not in the log"]);

    let mut story = Story::good();
    let mut second = message(4);
    second["clientMessageId"] = "c-3".into();
    second["content"] = "content 3".into();
    story.log.push(second);
    story.see(4);
    story.push(4, 5_000);
    assert_eq!(story.kinds(), ["a send is stored twice"]);

    let mut story = Story::good();
    story.history.sends[2].content = "something else".into();
    assert_eq!(story.kinds(), ["an entry with other content"]);

    let mut story = Story::good();
    story.history.sends.pop();
    assert_eq!(story.kinds(), ["an entry from nowhere"]);
}

#[test]
fn a_send_without_an_answer_may_be_stored_or_not() {
    let unknown = Attempt { api: 0, began: 1, ended: 2, answer: Answer::Unknown("cut".into()) };
    let mut story = Story::good();
    story.history.sends[2].attempts = vec![unknown];
    assert_eq!(story.kinds(), NONE);
    story.log.pop();
    story.history.sightings.pop();
    assert_eq!(story.kinds(), NONE);
}

#[test]
fn a_log_with_a_gap_is_found() {
    let mut story = Story::good();
    story.history.sends.remove(1);
    story.history.sightings.clear();
    story.history.sessions.clear();
    story.history.devices[BOBS].is_push_only = true;
    story.history.devices[BOBS].reregistered = Some(Millis::MAX);
    story.log.remove(1);
    assert_eq!(story.kinds(), ["a log with a gap"]);
}

/// Bob is out for 3, and in again with 5.
fn absence() -> Story {
    let mut story = Story::good();
    story.log.truncate(1);
    story.history.sends.truncate(1);
    story.history.sightings.truncate(1);
    story.log.push(change(2, "memberLeft", "bob"));
    story.send(3);
    story.log.push(change(4, "memberJoined", "bob"));
    story.send(5);
    story.see(4);
    story.see(5);
    story.push(5, 6_000);
    story.removal_and_addition(2_000, 4_000);
    story
}

#[test]
fn who_was_out_and_in_again_misses_nothing_by_it() {
    assert_eq!(absence().kinds(), NONE);
    let mut story = absence();
    story.history.sightings.pop();
    story.history.sessions[0].ended = Some((9_000, "broken".into()));
    assert_eq!(story.kinds(), ["a device lost entries"]);
}

#[test]
fn an_entry_that_a_stranger_saw_is_found() {
    let mut story = absence();
    let print = Print::of(&message(3));
    story
        .history
        .sightings
        .insert(1, Sighting { device: BOBS, session: Some(0), channel: 0, seq: 3, print, at: 3_500 });
    assert_eq!(story.kinds(), ["an entry reached a stranger"]);
    story.history.sightings[1].at = 4_100;
    assert_eq!(story.kinds(), NONE, "participants may read what was before them");
    story.history.sightings[1].at = 3_500;
    story.history.memberships[0].done = None;
    assert_eq!(story.kinds(), NONE, "nobody knows when they were in");

    let mut story = absence();
    story.history.pushes.insert(0, Push { device: BOBS, channel: 0, seq: 3, at: 3_400 });
    assert_eq!(story.kinds(), ["an entry reached a stranger"]);

    let mut story = Story::good();
    story.history.channels[0].members = vec![0, 2];
    story.history.sightings.truncate(1);
    assert_eq!(story.kinds(), ["an entry reached a stranger"], "who was never in");
}

#[test]
fn an_addition_that_a_frozen_server_may_repeat_ends_any_later_absence() {
    let mut story = absence();
    story.history.memberships[1].was_retried = true;
    for (seq, kind) in [(6, "memberLeft"), (8, "memberJoined")] {
        if seq == 8 {
            story.send(7);
            story.see(7);
        }
        story.log.push(change(seq, kind, "bob"));
    }
    story.removal_and_addition(6_000, 8_000);
    story.push(7, 9_000);
    assert_eq!(story.kinds(), NONE);
    story.history.memberships[1].was_retried = false;
    assert_eq!(story.kinds(), ["an entry reached a stranger"]);
}

#[test]
fn a_push_to_somebody_who_was_there_all_the_time_is_needless() {
    let pushed = |at| {
        let mut story = Story::good();
        story.history.pushes.push(Push { device: BOBS, channel: 0, seq: 3, at });
        story
    };
    assert_eq!(pushed(3_200).kinds(), ["a needless push"]);

    let mut story = pushed(3_200);
    story.history.sessions[0].background = vec![(2_000, true)];
    assert_eq!(story.kinds(), NONE, "in the background");

    let mut story = pushed(3_200);
    let fault = |from, until, lingers| crate::history::ActiveFault {
        what: "x".into(),
        from,
        until: Some(until),
        lingers,
    };
    story.history.faults.push(fault(1_000, 1_500, Some(2_000)));
    assert_eq!(story.kinds(), NONE, "a fault may be felt still");
    story.history.faults[0] = fault(1_000, 1_500, Some(1_000));
    assert_eq!(story.kinds(), ["a needless push"]);

    let mut story = pushed(3_200);
    story.history.sessions[0].ended = Some((3_100, "own".into()));
    assert_eq!(story.kinds(), NONE, "gone");
    story.history.sessions.push(Session { device: BOBS, ready: 3_050, ..Session::default() });
    assert_eq!(story.kinds(), ["a needless push"], "gone to another session that was there before");
    story.history.sessions[0].ended = Some((3_100, "broken".into()));
    assert_eq!(story.kinds(), NONE, "nobody knows when the server lost it");
}

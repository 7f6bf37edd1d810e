//! What comes out for what goes in.

use super::*;

fn channel(name: u128) -> ChannelId {
    format!("{name:032x}").parse().unwrap()
}

fn entry(seq: Seq) -> Arc<Frame> {
    entry_of(channel(1), seq)
}

fn entry_of(channel_id: ChannelId, seq: Seq) -> Arc<Frame> {
    Arc::new(Frame::from_api(&format!(r#"{{"channelId":"{channel_id}","seq":{seq}}}"#)).unwrap())
}

fn page(seqs: std::ops::RangeInclusive<Seq>) -> Vec<Arc<Frame>> {
    seqs.map(entry).collect()
}

/// An order with a clock, and everything that it has let out.
struct Bench {
    order: Order,
    now: Instant,
    out: Vec<Seq>,
}

impl Bench {
    fn new() -> Self {
        Self { order: Order::new(8), now: Instant::now(), out: Vec::new() }
    }

    fn offer(&mut self, seq: Seq) -> &'static str {
        let word = match self.order.offer(entry(seq), || self.now) {
            Offered::Write(frame) => {
                self.out.push(seq_of(&frame));
                "written"
            }
            Offered::Duplicate => "duplicate",
            Offered::Held => "held",
            Offered::TooManyHeld => "too many",
        };
        self.drain();
        word
    }

    fn drain(&mut self) {
        while let Some(frame) = self.order.pop_ready() {
            self.out.push(seq_of(&frame));
        }
    }

    fn wait(&mut self) -> Option<Missing> {
        self.now += GAP_WAIT;
        let missing = self.order.take_due(self.now, true);
        self.drain();
        missing
    }

    /// The gap, after its wait.
    fn wait_for_gap(&mut self) -> Option<Gap> {
        match self.wait() {
            Some(Missing::Entries(gap)) => Some(gap),
            None => None,
            Some(Missing::Beginning(_)) => panic!("the channel is known"),
        }
    }

    /// Says with which entry the user joined; whether the rest may be filled in.
    fn begin(&mut self, joined: Option<Seq>) -> bool {
        let may_fill = self.order.begin(channel(1), joined, self.now);
        self.drain();
        may_fill
    }

    fn fill(&mut self, gap: Gap, seqs: std::ops::RangeInclusive<Seq>) {
        self.fill_after_removal(gap, 0, seqs);
    }

    /// Of the log nothing is kept up to `removed_seq`.
    fn fill_after_removal(&mut self, gap: Gap, removed_seq: Seq, seqs: std::ops::RangeInclusive<Seq>) {
        self.order.fill(gap, removed_seq, &page(seqs), self.now);
        self.drain();
    }
}

fn gap(after: Seq) -> Option<Missing> {
    Some(Missing::Entries(Gap { channel_id: channel(1), after }))
}

fn beginning() -> Option<Missing> {
    Some(Missing::Beginning(channel(1)))
}

#[test]
fn what_comes_in_order_goes_out_at_once_and_once() {
    let mut bench = Bench::new();
    for seq in 1..=3 {
        assert_eq!(bench.offer(seq), "written");
        assert_eq!(bench.offer(seq), "duplicate");
    }
    assert_eq!(bench.offer(1), "duplicate");
    assert_eq!(bench.out, [1, 2, 3]);
    assert_eq!(bench.order.next_due(true), None);
}

#[test]
fn a_frame_without_a_position_passes_whatever_waits() {
    let mut bench = Bench::new();
    bench.offer(5);
    let typing = Arc::new(Frame::from_api(r#"{"type":"typing"}"#).unwrap());
    assert_eq!(bench.order.offer(typing.clone(), || bench.now), Offered::Write(typing));
}

#[test]
fn the_first_entry_of_a_channel_waits_for_one_before_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.offer(8), "held");
    assert_eq!(bench.offer(7), "held");
    assert_eq!(bench.offer(8), "duplicate");
    assert!(bench.out.is_empty());
    assert_eq!(bench.wait(), None);
    assert_eq!(bench.out, [7, 8]);
    assert_eq!(bench.offer(6), "duplicate");
    assert_eq!(bench.offer(9), "written");
}

#[test]
fn a_gap_that_closes_by_itself_is_not_read() {
    let mut bench = Bench::new();
    bench.offer(1);
    assert_eq!(bench.offer(3), "held");
    assert_eq!(bench.offer(4), "held");
    assert_eq!(bench.offer(2), "written");
    assert_eq!(bench.out, [1, 2, 3, 4]);
    assert_eq!(bench.wait(), None);
    assert!(!bench.order.is_holding());
}

#[test]
fn a_gap_that_stays_is_filled_up_to_what_was_held_and_no_further() {
    let mut bench = Bench::new();
    bench.offer(1);
    bench.offer(5);
    assert_eq!(bench.order.take_due(bench.now, true), None, "not before its time");
    assert_eq!(bench.wait(), gap(1));
    assert_eq!(bench.wait(), None, "not asked for twice");
    bench.offer(2);
    bench.fill(Gap { channel_id: channel(1), after: 1 }, 2..=9);
    assert_eq!(bench.out, [1, 2, 3, 4, 5]);
    assert_eq!(bench.offer(6), "written");
}

#[test]
fn what_is_not_kept_any_more_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.offer(1);
    bench.offer(9);
    let first = bench.wait_for_gap().unwrap();
    bench.fill_after_removal(first, 6, 7..=7);
    assert_eq!(bench.order.take_due(bench.now, true), gap(7));
    bench.fill(Gap { channel_id: channel(1), after: 7 }, 8..=8);
    assert_eq!(bench.out, [1, 7, 8, 9]);
    bench.offer(20);
    let second = bench.wait_for_gap().unwrap();
    // Even if what waits is not kept any more, it is written.
    bench.fill_after_removal(second, 30, 31..=32);
    assert_eq!(bench.out, [1, 7, 8, 9, 20]);
    assert!(!bench.order.is_holding());
}

#[test]
fn a_page_that_does_not_reach_is_followed_by_the_next_at_once() {
    let mut bench = Bench::new();
    bench.offer(1);
    bench.offer(6);
    let first = bench.wait_for_gap().unwrap();
    bench.fill(first, 2..=3);
    assert_eq!(bench.order.take_due(bench.now, true), gap(3));
    bench.fill(Gap { channel_id: channel(1), after: 3 }, 4..=5);
    assert_eq!(bench.out, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn while_one_gap_is_filled_another_waits_but_a_first_entry_does_not() {
    let mut bench = Bench::new();
    bench.offer(1);
    bench.offer(3);
    bench.order.offer(entry_of(channel(2), 1), || bench.now);
    bench.order.offer(entry_of(channel(2), 3), || bench.now);
    bench.order.offer(entry_of(channel(3), 7), || bench.now);
    bench.now += GAP_WAIT;
    let first = bench.order.take_due(bench.now, true).unwrap();
    assert_eq!(bench.order.pop_ready(), Some(entry_of(channel(3), 7)));
    assert_eq!(bench.order.take_due(bench.now, false), None);
    assert_eq!(bench.order.next_due(false), None);
    assert_ne!(bench.order.take_due(bench.now, true).unwrap(), first);
}

#[test]
fn more_held_entries_than_may_be_end_the_session() {
    let mut bench = Bench::new();
    bench.offer(1);
    for seq in 3..=10 {
        assert_eq!(bench.offer(seq), "held");
    }
    assert_eq!(bench.offer(11), "too many");
    assert_eq!(bench.offer(10), "duplicate");
    assert_eq!(bench.offer(2), "written");
    assert_eq!(bench.offer(11), "written");
}

#[test]
fn what_a_resume_has_written_is_not_written_again_and_what_was_held_follows() {
    let mut bench = Bench::new();
    bench.offer(7);
    bench.offer(9);
    bench.order.cover(channel(1), 2, 7, bench.now);
    assert_eq!(bench.offer(7), "duplicate");
    assert_eq!(bench.offer(8), "written");
    assert_eq!(bench.out, [8, 9]);
    assert_eq!(bench.order.written(channel(1)), Some(Written { first: 3, last: 9 }));
}

#[test]
fn what_the_client_has_of_a_channel_grows_at_both_ends_and_never_shrinks() {
    let now = Instant::now();
    let mut order = Order::new(8);
    let covered = |order: &mut Order, cursor, last| {
        order.cover(channel(1), cursor, last, now);
        order.written(channel(1)).map(|written| (written.first, written.last))
    };
    assert_eq!(covered(&mut order, 10, 10), Some((11, 10)));
    assert_eq!(covered(&mut order, 10, 12), Some((11, 12)));
    assert_eq!(covered(&mut order, 4, 10), Some((5, 12)));
    assert_eq!(covered(&mut order, 8, 14), Some((5, 14)));
    assert_eq!(order.offer(entry(15), || now), Offered::Write(entry(15)));
}

#[test]
fn when_all_channels_are_known_another_one_begins_where_its_user_joined() {
    let mut bench = Bench::new();
    bench.order.set_complete();
    assert_eq!(bench.offer(8), "held");
    assert_eq!(bench.wait(), beginning());
    assert_eq!(bench.wait(), None, "not asked for twice");
    bench.offer(7);
    assert!(bench.begin(Some(4)));
    assert!(bench.out.is_empty(), "what lies between comes first");
    assert_eq!(bench.order.take_due(bench.now, true), gap(3));
    bench.fill(Gap { channel_id: channel(1), after: 3 }, 4..=6);
    assert_eq!(bench.out, [4, 5, 6, 7, 8]);
    assert_eq!(bench.offer(3), "duplicate");
}

#[test]
fn a_first_entry_that_nobody_has_to_be_asked_about_goes_out_at_once_or_when_that_is_known() {
    for (joined, expected) in [(Some(0), vec![]), (Some(2), vec![]), (Some(3), vec![3]), (Some(9), vec![3])] {
        let mut bench = Bench::new();
        bench.order.set_complete();
        bench.offer(3);
        assert_eq!(bench.wait(), beginning());
        assert!(bench.begin(joined));
        assert_eq!(bench.out, expected, "{joined:?}");
    }
    let mut bench = Bench::new();
    bench.order.set_complete();
    assert_eq!(bench.offer(1), "written", "nothing is before the first");
    let mut bench = Bench::new();
    bench.order.set_complete();
    bench.offer(3);
    assert_eq!(bench.wait(), beginning());
    assert!(bench.begin(None), "whoever has left misses nothing");
    assert_eq!(bench.out, [3]);
}

#[test]
fn more_before_a_first_entry_than_may_be_filled_in_is_refused() {
    for (joined, is_near) in [(1, false), (2, true)] {
        let mut bench = Bench::new();
        bench.order.set_complete();
        bench.offer(1_002);
        assert_eq!(bench.wait(), beginning());
        assert_eq!(bench.begin(Some(joined)), is_near);
    }
}

#[test]
fn an_answer_that_a_resume_has_overtaken_changes_nothing() {
    let mut bench = Bench::new();
    bench.order.set_complete();
    bench.offer(8);
    assert_eq!(bench.wait(), beginning());
    bench.order.cover(channel(1), 5, 6, bench.now);
    assert!(bench.begin(Some(2)));
    assert_eq!(bench.order.take_due(bench.now, true), gap(6));
    bench.order.cover(channel(1), 5, 8, bench.now);
    assert!(bench.begin(Some(2)));
    assert!(!bench.order.is_holding());
}

#[test]
fn whatever_order_entries_arrive_in_they_leave_in_theirs() {
    // A small generator of its own: the same on every run.
    let mut random = 7_u64;
    let mut below = |most: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % most
    };
    for _ in 0..500 {
        let mut bench = Bench { order: Order::new(100), ..Bench::new() };
        let mut waiting: Vec<Seq> = (1..=30).chain([4, 9, 9, 20]).collect();
        let mut reading = None;
        bench.offer(1);
        while !waiting.is_empty() {
            let next = waiting.remove(below(waiting.len().min(4)));
            // Some never arrive: the log has them.
            if below(8) > 0 || next == 30 {
                bench.offer(next);
            }
            match below(3) {
                0 => reading = bench.wait_for_gap().or(reading),
                1 => {
                    if let Some(gap) = reading.take() {
                        bench.fill(gap, gap.after + 1..=(gap.after + 3).min(30));
                    }
                }
                _ => {}
            }
        }
        while bench.order.is_holding() {
            if let Some(gap) = reading.take().or_else(|| bench.wait_for_gap()) {
                bench.fill(gap, gap.after + 1..=(gap.after + 3).min(30));
            }
        }
        assert_eq!(bench.out, (1..=30).collect::<Vec<_>>());
    }
}

//! What goes out, write by write.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use super::*;

/// A connection that takes so many bytes, write by write.
#[derive(Default)]
struct Narrow {
    room: VecDeque<usize>,
    writes: Vec<Vec<u8>>,
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(room) = self.room.pop_front() else { return Poll::Pending };
        let taken = room.min(bytes.len());
        self.writes.push(bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Bench {
    writer: Writer,
    stream: Narrow,
    steps: VecDeque<Step>,
}

impl Bench {
    fn new(frames: &[&[u8]]) -> Self {
        let steps = frames.iter().map(|frame| Step::Write(Outgoing::Own(Bytes::copy_from_slice(frame))));
        Self { writer: Writer::new(Bytes::new()), stream: Narrow::default(), steps: steps.collect() }
    }

    /// Runs while the connection takes this much in one write each.
    fn poll(&mut self, room: &[usize]) -> Poll<Ending> {
        self.stream.room = room.iter().copied().collect();
        let cx = &mut Context::from_waker(Waker::noop());
        self.writer.poll_write(cx, &mut self.stream, |_, has_room| match self.steps.front() {
            Some(Step::Write(_)) if !has_room => Poll::Pending,
            _ => self.steps.pop_front().map_or(Poll::Pending, Poll::Ready),
        })
    }

    fn writes(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.writes)
    }
}

#[test]
fn frames_that_wait_together_go_out_in_one_write() {
    let mut bench = Bench::new(&[b"one", b"two", b"three"]);
    assert_eq!(bench.poll(&[1_000]), Poll::Pending);
    assert_eq!(bench.writes(), [b"onetwothree"]);
}

#[test]
fn a_write_is_bounded_and_what_is_left_goes_into_the_next() {
    let big = vec![b'x'; BATCH_BYTES - 1];
    let mut bench = Bench::new(&[b"a", b"b", &big, b"c", b"d"]);
    assert_eq!(bench.poll(&[usize::MAX, usize::MAX]), Poll::Pending);
    let lengths: Vec<usize> = bench.writes().iter().map(Vec::len).collect();
    assert_eq!(lengths, [BATCH_BYTES + 1, 2]);
}

#[test]
fn a_write_that_was_taken_in_part_goes_on_where_it_stopped_before_anything_else_is_asked_for() {
    for frames in [&[&b"one two three"[..], b"four"][..], &[b"one two", b" three", b"four"]] {
        let mut bench = Bench::new(frames);
        let last = bench.steps.pop_back().unwrap();
        assert_eq!(bench.poll(&[3]), Poll::Pending);
        bench.steps.push_back(last);
        assert_eq!(bench.poll(&[4]), Poll::Pending);
        assert_eq!(bench.steps.len(), 1, "the last frame has to wait");
        assert_eq!(bench.poll(&[100, 100]), Poll::Pending);
        assert_eq!(bench.writes(), [&b"one"[..], b" two", b" three", b"four"]);
    }
}

#[test]
fn an_end_is_told_at_once_when_there_is_no_room_and_after_the_frames_when_there_is() {
    let mut bench = Bench::new(&[b"one", b"two"]);
    bench.steps.push_back(Step::Close(1012));
    assert_eq!(bench.poll(&[1_000]), Poll::Ready(Ending::Ours(1012)));
    assert_eq!(bench.writes(), [b"onetwo"]);

    let mut bench = Bench::new(&[b"one"]);
    assert_eq!(bench.poll(&[]), Poll::Pending);
    bench.steps.push_back(Step::Close(4008));
    assert_eq!(bench.poll(&[]), Poll::Ready(Ending::Ours(4008)));
    assert_eq!(bench.writer.into_unsent()[..], *b"one");
}

#[test]
fn a_connection_that_takes_nothing_is_gone() {
    assert_eq!(Bench::new(&[b"one"]).poll(&[0]), Poll::Ready(Ending::Gone));
}

//! The message that everybody sends: it says when it was due to be sent.

use std::sync::OnceLock;
use std::time::Instant;

/// Bytes of a message's content, a long sentence.
pub const CONTENT_BYTES: usize = 120;
const STAMP_DIGITS: usize = 16;
/// Before the digits; nothing else in a frame looks so.
const MARK: &[u8] = b"\"due:";

/// Nanoseconds since this process began to measure, which every task reads alike.
pub fn now() -> u64 {
    at(Instant::now())
}

/// The same of a moment.
pub fn at(moment: Instant) -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    u64::try_from(moment.saturating_duration_since(*EPOCH.get_or_init(Instant::now)).as_nanos())
        .unwrap_or(u64::MAX)
}

/// A message's content; its stamp is written later, by [`stamp`].
pub fn content() -> String {
    format!("{:x<CONTENT_BYTES$}", format!("due:{:0STAMP_DIGITS$x} ", 0))
}

/// Where in a JSON text (or a whole request) the stamp's digits begin.
pub fn stamp_position(json: &[u8]) -> Option<usize> {
    Some(memchr::memmem::find(json, MARK)? + MARK.len())
}

/// Writes when the message was due at `position`.
pub fn stamp(request: &mut [u8], position: usize, due: u64) {
    for (index, digit) in request[position..position + STAMP_DIGITS].iter_mut().enumerate() {
        let nibble = (due >> (4 * (STAMP_DIGITS - 1 - index))) & 0xf;
        *digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)];
    }
}

/// When the message in this frame was due; `None`: it is no message of ours.
pub fn due(frame: &[u8]) -> Option<u64> {
    let position = stamp_position(frame)?;
    let digits = std::str::from_utf8(frame.get(position..position + STAMP_DIGITS)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let mut frame = format!("{{\"content\":\"{}\"}}", content()).into_bytes();
        assert_eq!(content().len(), CONTENT_BYTES);
        let position = stamp_position(&frame).unwrap();
        stamp(&mut frame, position, 0x0123_4567_89ab_cdef);
        assert_eq!(due(&frame), Some(0x0123_4567_89ab_cdef));
        assert_eq!(due(b"{\"type\":\"ready\"}"), None);
    }
}

//! RFC 6455 framing from the client's side of the wire: bytes in, whole messages out.
//!
//! actix's own codec gathers a frame whole before it compares its length with the limit, so a client that announces
//! a huge one makes the server buffer without bound; and it does not tell bad UTF-8 from a bad close code. Here a
//! frame is refused by its header, payload is unmasked as it comes, and text is checked as it comes.

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use shared_types::close_code;

/// The longest header: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER_BYTES: usize = 14;
/// RFC 6455, 5.5.
const MAX_CONTROL_BYTES: usize = 125;

/// What a client sent, fragments put together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(ByteString),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    /// With the code that the client gave.
    Close(Option<u16>),
}

/// Why a connection has to be failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Protocol,
    NotUtf8,
    TooBig,
}

impl Fault {
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::Protocol => close_code::PROTOCOL,
            Self::NotUtf8 => close_code::NOT_UTF8,
            Self::TooBig => close_code::TOO_BIG,
        }
    }
}

/// Decodes the frames of one connection. An idle one owns no buffer.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_message_bytes: usize,
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
    frame: Option<Frame>,
    /// The data message that is being put together, if one is.
    message: Option<Message>,
    /// Payload of the control frame that is being read; it may come between a message's fragments.
    control: BytesMut,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    /// Where in the mask the next byte is.
    mask_offset: usize,
    remaining: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Data,
    Close,
    Ping,
    Pong,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    payload: BytesMut,
    /// How much of a text is known to be UTF-8.
    checked: usize,
}

impl Decoder {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            header: [0; MAX_HEADER_BYTES],
            header_bytes: 0,
            frame: None,
            message: None,
            control: BytesMut::new(),
        }
    }

    /// The next message, if `input` completes one. Takes what it uses; `None` means that all of it was used.
    pub(crate) fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Fault> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            self.read_payload(&mut frame, input)?;
            if frame.remaining > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(incoming) = self.finish(frame)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Fault> {
        loop {
            let needed = self.header_size()?;
            if self.header_bytes == needed {
                break;
            }
            let taken = (needed - self.header_bytes).min(input.len());
            if taken == 0 {
                return Ok(None);
            }
            input.copy_to_slice(&mut self.header[self.header_bytes..self.header_bytes + taken]);
            self.header_bytes += taken;
        }
        self.begin_frame().map(Some)
    }

    /// How long this header is, as far as its beginning tells. What the beginning shows to be wrong is refused here.
    fn header_size(&self) -> Result<usize, Fault> {
        if self.header_bytes < 2 {
            return Ok(2);
        }
        let (first, second) = (self.header[0], self.header[1]);
        let has_reserved_bits = first & 0x70 != 0;
        let is_masked = second & 0x80 != 0;
        let is_whole_control = first & 0x80 != 0 && usize::from(second & 0x7f) <= MAX_CONTROL_BYTES;
        let is_legal = match first & 0x0f {
            0 => self.message.is_some(),
            1 | 2 => self.message.is_none(),
            8..=10 => is_whole_control,
            _ => false,
        };
        if has_reserved_bits || !is_masked || !is_legal {
            return Err(Fault::Protocol);
        }
        Ok(match second & 0x7f {
            126 => 8,
            127 => 14,
            _ => 6,
        })
    }

    fn begin_frame(&mut self) -> Result<Frame, Fault> {
        let header = std::mem::replace(&mut self.header, [0; MAX_HEADER_BYTES]);
        self.header_bytes = 0;
        let [first, second, rest @ ..] = header;
        let (length, mask) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), [rest[2], rest[3], rest[4], rest[5]]),
            127 => {
                let [a, b, c, d, e, f, g, h, mask @ ..] = rest;
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), mask)
            }
            short => (u64::from(short), [rest[0], rest[1], rest[2], rest[3]]),
        };
        if length > i64::MAX as u64 {
            return Err(Fault::Protocol);
        }
        let opcode = match first & 0x0f {
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => Opcode::Data,
        };
        let gathered = self.message.as_ref().map_or(0, |message| message.payload.len());
        // Before a byte of it is read: what is announced is never waited for.
        let remaining = usize::try_from(length).map_err(|_| Fault::TooBig)?;
        if opcode == Opcode::Data && remaining > self.max_message_bytes.saturating_sub(gathered) {
            return Err(Fault::TooBig);
        }
        if opcode == Opcode::Data && self.message.is_none() {
            let is_text = first & 0x0f == 1;
            self.message = Some(Message { is_text, payload: BytesMut::new(), checked: 0 });
        }
        Ok(Frame { opcode, is_final: first & 0x80 != 0, mask, mask_offset: 0, remaining })
    }

    fn read_payload(&mut self, frame: &mut Frame, input: &mut &[u8]) -> Result<(), Fault> {
        let (chunk, rest) = input.split_at(frame.remaining.min(input.len()));
        *input = rest;
        let target = match (&mut self.message, frame.opcode) {
            (Some(message), Opcode::Data) => &mut message.payload,
            _ => &mut self.control,
        };
        let start = target.len();
        target.extend_from_slice(chunk);
        let mut mask = frame.mask;
        mask.rotate_left(frame.mask_offset);
        unmask(&mut target[start..], mask);
        frame.mask_offset = (frame.mask_offset + chunk.len()) % 4;
        frame.remaining -= chunk.len();
        match &mut self.message {
            Some(message) if frame.opcode == Opcode::Data => message.check_text(),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Incoming>, Fault> {
        match frame.opcode {
            Opcode::Data if !frame.is_final => Ok(None),
            Opcode::Data => self.message.take().map(Message::finish).transpose(),
            Opcode::Ping => Ok(Some(Incoming::Ping(std::mem::take(&mut self.control).freeze()))),
            Opcode::Pong => {
                self.control = BytesMut::new();
                Ok(Some(Incoming::Pong))
            }
            Opcode::Close => {
                close_code_of(&std::mem::take(&mut self.control)).map(|code| Some(Incoming::Close(code)))
            }
        }
    }
}

impl Message {
    /// Refuses a text as soon as what has come of it cannot be UTF-8.
    fn check_text(&mut self) -> Result<(), Fault> {
        if !self.is_text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            // The last character may still be on its way.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Fault::NotUtf8),
        }
        Ok(())
    }

    fn finish(self) -> Result<Incoming, Fault> {
        let payload = self.payload.freeze();
        if self.is_text {
            ByteString::try_from(payload).map(Incoming::Text).map_err(|_| Fault::NotUtf8)
        } else {
            Ok(Incoming::Binary(payload))
        }
    }
}

/// The code in a close frame's payload, if it has one and may be sent (RFC 6455, 7.4, and the registry since).
fn close_code_of(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::Protocol) };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::Protocol);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Fault::NotUtf8),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // In words of the mask's length, which the compiler turns into vector instructions.
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, key) in word.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = announced(first, payload.len() as u64);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    fn announced(first: u8, length: u64) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | length as u8),
            126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes
    }

    /// Everything that comes out, whichever way the bytes are cut.
    fn decode(limit: usize, bytes: &[u8]) -> Result<Vec<Incoming>, Fault> {
        let mut verdicts = [1, 3, 7, usize::MAX].map(|step| {
            let mut decoder = Decoder::new(limit);
            let mut out = Vec::new();
            for mut chunk in bytes.chunks(step.min(bytes.len().max(1))) {
                while let Some(incoming) = decoder.decode(&mut chunk)? {
                    out.push(incoming);
                }
                assert!(chunk.is_empty());
            }
            Ok(out)
        });
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{verdicts:?}");
        std::mem::replace(&mut verdicts[0], Ok(Vec::new()))
    }

    #[test]
    fn fragments_become_one_message_and_control_frames_between_them_come_first() {
        let bytes = [
            frame(0x01, "h\u{e4}".as_bytes()),
            frame(0x89, b"are you there"),
            frame(0x00, b""),
            frame(0x80, "llo \u{1F6F6}".as_bytes()),
            frame(0x82, &[0xff, 0x00]),
        ]
        .concat();
        let expected = vec![
            Incoming::Ping(Bytes::from_static(b"are you there")),
            Incoming::Text("h\u{e4}llo \u{1F6F6}".into()),
            Incoming::Binary(Bytes::from_static(&[0xff, 0x00])),
        ];
        assert_eq!(decode(1024, &bytes), Ok(expected));
    }

    #[test]
    fn a_character_may_be_cut_by_a_fragment() {
        let text = "\u{1F6F6}".as_bytes();
        let bytes = [frame(0x01, &text[..1]), frame(0x00, &text[1..3]), frame(0x80, &text[3..])].concat();
        assert_eq!(decode(64, &bytes), Ok(vec![Incoming::Text("\u{1F6F6}".into())]));
    }

    #[test]
    fn bad_utf8_is_refused_before_the_message_has_ended() {
        let beginning = frame(0x01, &[0xce, 0xba, 0xf4, 0x90]);
        assert_eq!(decode(64, &beginning), Err(Fault::NotUtf8));
        let mut half = announced(0x81, 100);
        half.extend([0xff ^ MASK[0]]);
        assert_eq!(decode(128, &half), Err(Fault::NotUtf8));
        // A character that never ends.
        assert_eq!(decode(64, &frame(0x81, &[0xe2, 0x82])), Err(Fault::NotUtf8));
        // Surrogates and overlong forms are no UTF-8 either.
        assert_eq!(decode(64, &frame(0x81, &[0xed, 0xa0, 0x80])), Err(Fault::NotUtf8));
        assert_eq!(decode(64, &frame(0x81, &[0xc0, 0xaf])), Err(Fault::NotUtf8));
    }

    #[test]
    fn broken_frames_are_protocol_errors() {
        let unmasked = vec![0x81, 0x02, b'h', b'i'];
        for (what, bytes) in [
            ("RSV1", frame(0xc1, b"x")),
            ("RSV2", frame(0xa1, b"x")),
            ("RSV3", frame(0x91, b"x")),
            ("data opcode 3", frame(0x83, b"")),
            ("data opcode 7", frame(0x87, b"x")),
            ("control opcode 11", frame(0x8b, b"")),
            ("control opcode 15", frame(0x8f, b"x")),
            ("unmasked", unmasked),
            ("continuation of nothing", frame(0x80, b"x")),
            ("a new message inside another", [frame(0x01, b"a"), frame(0x81, b"b")].concat()),
            ("a fragmented ping", frame(0x09, b"x")),
            ("a ping of 126 bytes", frame(0x89, &[0; 126])),
            ("a close of 126 bytes", frame(0x88, &[0; 126])),
            ("a close of one byte", frame(0x88, b"x")),
            ("length over 63 bits", announced(0x82, 1 << 63)),
        ] {
            assert_eq!(decode(1024, &bytes), Err(Fault::Protocol), "{what}");
        }
    }

    #[test]
    fn close_codes_are_those_that_may_be_sent() {
        assert_eq!(decode(64, &frame(0x88, b"")), Ok(vec![Incoming::Close(None)]));
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999_u16] {
            let payload = [&code.to_be_bytes()[..], b"bye"].concat();
            assert_eq!(decode(64, &frame(0x88, &payload)), Ok(vec![Incoming::Close(Some(code))]));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
            assert_eq!(decode(64, &frame(0x88, &code.to_be_bytes())), Err(Fault::Protocol), "{code}");
        }
        let bad_reason = [&1000_u16.to_be_bytes()[..], &[0xce, 0xff]].concat();
        assert_eq!(decode(64, &frame(0x88, &bad_reason)), Err(Fault::NotUtf8));
    }

    #[test]
    fn the_limit_holds_to_the_byte_for_one_frame_and_for_fragments() {
        let exact = vec![b'x'; 200];
        assert!(decode(200, &frame(0x81, &exact)).is_ok());
        assert!(decode(200, &[frame(0x01, &exact[..150]), frame(0x80, &exact[150..])].concat()).is_ok());
        assert_eq!(decode(199, &frame(0x81, &exact)), Err(Fault::TooBig));
        let over = [frame(0x01, &exact[..150]), frame(0x80, &exact[..51])].concat();
        assert_eq!(decode(200, &over), Err(Fault::TooBig));
    }

    #[test]
    fn a_huge_frame_is_refused_by_its_header() {
        assert_eq!(decode(65_536, &announced(0x82, i64::MAX as u64)), Err(Fault::TooBig));
        assert_eq!(decode(65_536, &announced(0x82, 65_537)), Err(Fault::TooBig));
    }
}

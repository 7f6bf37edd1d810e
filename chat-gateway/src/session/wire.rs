//! RFC 6455 framing from the server's side of the wire: whole messages, each one final and unmasked frame.

use bytes::Bytes;

/// 2 bytes, and 8 of length.
const MAX_HEADER_BYTES: usize = 10;
const FINAL: u8 = 0x80;

/// What kind of frame it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// A frame as it goes out.
pub(crate) fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut wire = Vec::with_capacity(header_bytes(payload.len()) + payload.len());
    wire.push(FINAL | opcode as u8);
    match payload.len() {
        length @ 0..=125 => wire.push(length as u8),
        length @ 126..=0xffff => {
            wire.push(126);
            wire.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            wire.push(127);
            wire.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    wire.extend_from_slice(payload);
    wire.into()
}

/// A close frame. Without a code it says nothing.
pub(crate) fn encode_close(code: Option<u16>) -> Bytes {
    code.map_or_else(|| encode(Opcode::Close, &[]), |code| encode(Opcode::Close, &code.to_be_bytes()))
}

/// The payload of a frame that [`encode`] made.
pub(crate) fn payload(wire: &[u8]) -> &[u8] {
    let header = match wire.get(1) {
        Some(126) => 4,
        Some(127) => MAX_HEADER_BYTES,
        _ => 2,
    };
    wire.get(header..).unwrap_or_default()
}

fn header_bytes(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => MAX_HEADER_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_as_few_bytes_as_it_can() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = vec![b'x'; length];
            let wire = encode(Opcode::Text, &text);
            assert_eq!(wire, [header, &text].concat(), "{length} bytes");
            assert_eq!(payload(&wire), text, "{length} bytes");
        }
    }

    #[test]
    fn a_frame_says_what_it_is() {
        assert_eq!(encode(Opcode::Binary, &[0xff])[..], [0x82, 1, 0xff]);
        assert_eq!(encode(Opcode::Ping, &[])[..], [0x89, 0]);
        assert_eq!(encode(Opcode::Pong, b"x")[..], [0x8a, 1, b'x']);
        assert_eq!(encode_close(None)[..], [0x88, 0]);
        assert_eq!(encode_close(Some(1012))[..], [0x88, 2, 3, 244]);
    }
}

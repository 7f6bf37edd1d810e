//! RFC 6455 at the gateway: what is put together, what is refused, and with which code.

use std::time::Duration;

use harness::raw_socket::{RawFrame, RawSocket};
use harness::tokens::token_for;
use harness::websocket::Dial;
use serde_json::{Value, json};

use crate::one_gateway::OneGateway;

const KIB: usize = 1024;
const AT_ONCE: Duration = Duration::from_secs(5);

fn frame(is_final: bool, opcode: u8, payload: impl Into<Vec<u8>>) -> RawFrame {
    RawFrame { is_final, reserved: 0, opcode, payload: payload.into() }
}

/// `{"type":"ping"}`, grown to this many bytes by spaces.
fn ping_of(bytes: usize) -> Vec<u8> {
    let mut text = b"{\"type\":\"ping\"}".to_vec();
    text.resize(bytes, b' ');
    text
}

/// The header of a masked frame that announces this many bytes.
fn announce(opcode: u8, bytes: u64) -> Vec<u8> {
    [&[0x80 | opcode, 0xff][..], &bytes.to_be_bytes(), &[1, 2, 3, 4]].concat()
}

async fn raw_session(gateway: &OneGateway) -> RawSocket {
    let mut socket = RawSocket::connect(&gateway.ws(), &token_for("alice")).await;
    assert_eq!(json_of(&socket.read_frame().await)["type"], "ready");
    socket
}

async fn echo_socket(gateway: &OneGateway) -> RawSocket {
    RawSocket::connect(&format!("{}/echo", gateway.ws()), &token_for("anyone")).await
}

fn json_of(frame: &RawFrame) -> Value {
    assert_eq!(frame.opcode, 1, "{frame:?}");
    serde_json::from_slice(&frame.payload).unwrap()
}

#[tokio::test]
async fn a_frame_that_comes_in_fragments_and_byte_by_byte_is_put_together() {
    let gateway = OneGateway::start(&[]).await;
    let mut socket = raw_session(&gateway).await;
    let bytes = [
        frame(false, 1, "{\"type\":").masked(),
        frame(true, 9, "between").masked(),
        frame(false, 0, "").masked(),
        frame(true, 0, "\"ping\"}").masked(),
    ]
    .concat();
    for byte in bytes {
        socket.write(&[byte]).await;
    }
    assert_eq!(socket.read_frame().await, frame(true, 10, "between"));
    assert_eq!(json_of(&socket.read_frame().await), json!({"type": "pong"}));
}

#[tokio::test]
async fn a_message_of_64_kib_is_taken_and_one_byte_more_closes_with_1009() {
    let gateway = OneGateway::start(&[]).await;
    for is_fragmented in [false, true] {
        let message = |payload: Vec<u8>| match is_fragmented {
            false => frame(true, 1, payload).masked(),
            true => {
                let (first, last) = payload.split_at(40 * KIB);
                [frame(false, 1, first).masked(), frame(true, 0, last).masked()].concat()
            }
        };
        let mut socket = raw_session(&gateway).await;
        socket.write(&message(ping_of(64 * KIB))).await;
        assert_eq!(json_of(&socket.read_frame().await)["type"], "pong");
        let _ = socket.try_write(&message(ping_of(64 * KIB + 1))).await;
        assert_eq!(socket.expect_close().await, 1009);
    }
}

#[tokio::test]
async fn a_huge_frame_is_refused_by_its_header_before_any_of_it_is_taken() {
    let gateway = OneGateway::start(&["--ws-echo"]).await;
    let mut socket = raw_session(&gateway).await;
    // Nothing of the payload is ever sent: only the header can be the reason.
    socket.write(&announce(2, 1 << 40)).await;
    assert_eq!(socket.expect_close().await, 1009);
    socket.expect_end(AT_ONCE).await;

    let mut socket = echo_socket(&gateway).await;
    socket.write(&announce(2, 16 * 1024 * 1024 + 1)).await;
    assert_eq!(socket.expect_close().await, 1009);
}

#[tokio::test]
async fn broken_frames_close_with_the_code_that_names_the_fault_and_the_connection_ends_at_once() {
    let gateway = OneGateway::start(&["--max-sessions-per-user=100"]).await;
    let reserved = |bits| RawFrame { reserved: bits, ..RawFrame::text("{}") }.masked();
    let close = |payload: &[u8]| frame(true, 8, payload).masked();
    let bad_reason = [&1000_u16.to_be_bytes()[..], &[0xce, 0xba, 0xff]].concat();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("RSV1", reserved(4), 1002),
        ("RSV2", reserved(2), 1002),
        ("RSV3", reserved(1), 1002),
        ("reserved data opcode", frame(true, 3, "x").masked(), 1002),
        ("reserved control opcode", frame(true, 11, "").masked(), 1002),
        ("unmasked", RawFrame::text("{}").unmasked(), 1002),
        ("continuation of nothing", frame(true, 0, "x").masked(), 1002),
        ("nested message", [frame(false, 1, "a").masked(), frame(true, 1, "b").masked()].concat(), 1002),
        ("fragmented ping", frame(false, 9, "x").masked(), 1002),
        ("ping of 126 bytes", frame(true, 9, vec![0; 126]).masked(), 1002),
        ("length over 63 bits", announce(2, 1 << 63), 1002),
        ("close of one byte", close(b"x"), 1002),
        ("close 999", close(&999_u16.to_be_bytes()), 1002),
        ("close 1005", close(&1005_u16.to_be_bytes()), 1002),
        ("close 1006", close(&1006_u16.to_be_bytes()), 1002),
        ("close 1015", close(&1015_u16.to_be_bytes()), 1002),
        ("close 2999", close(&2999_u16.to_be_bytes()), 1002),
        ("close 5000", close(&5000_u16.to_be_bytes()), 1002),
        ("close reason", close(&bad_reason), 1007),
        ("text", RawFrame::text([0xce, 0xba, 0xed, 0xa0, 0x80]).masked(), 1007),
        ("text cut short", RawFrame::text([0xe2, 0x82]).masked(), 1007),
        ("first fragment", frame(false, 1, [0xff]).masked(), 1007),
    ];
    for (what, bytes, code) in cases {
        let mut socket = raw_session(&gateway).await;
        socket.write(&bytes).await;
        assert_eq!(socket.expect_close().await, code, "{what}");
        socket.expect_end(AT_ONCE).await;
    }
}

#[tokio::test]
async fn what_came_before_a_broken_frame_is_still_answered() {
    let gateway = OneGateway::start(&[]).await;
    let mut socket = raw_session(&gateway).await;
    let broken = RawFrame { reserved: 2, ..RawFrame::text("x") };
    socket.write(&[RawFrame::text(ping_of(20)).masked(), broken.masked()].concat()).await;
    assert_eq!(json_of(&socket.read_frame().await)["type"], "pong");
    assert_eq!(socket.expect_close().await, 1002);
}

#[tokio::test]
async fn a_clients_close_is_answered_with_its_code_and_ends_the_connection_at_once() {
    let gateway = OneGateway::start(&[]).await;
    for code in [1000, 1001, 1011, 3000, 4999] {
        let mut socket = raw_session(&gateway).await;
        // What comes after the close counts for nothing.
        let bytes = [RawFrame::close(code).masked(), RawFrame::text("no JSON").masked()].concat();
        socket.write(&bytes).await;
        assert_eq!(socket.read_frame().await, RawFrame::close(code));
        socket.expect_end(AT_ONCE).await;
    }
    let mut socket = raw_session(&gateway).await;
    socket.write(&frame(true, 8, "").masked()).await;
    assert_eq!(socket.read_frame().await, frame(true, 8, ""));
    gateway.until_sessions(0).await;
}

#[tokio::test]
async fn pings_are_answered_with_their_payload_and_pongs_with_nothing() {
    let gateway = OneGateway::start(&[]).await;
    let mut socket = raw_session(&gateway).await;
    socket.write(&frame(true, 10, "unasked").masked()).await;
    for payload in [vec![], vec![0xff; 125]] {
        socket.write(&frame(true, 9, payload.clone()).masked()).await;
        assert_eq!(socket.read_frame().await, frame(true, 10, payload));
    }
}

#[tokio::test]
async fn echo_sends_every_message_back_whole_with_its_type() {
    let gateway = OneGateway::start(&["--ws-echo=true"]).await;
    let mut socket = echo_socket(&gateway).await;
    let big = vec![0xa5; 16 * 1024 * KIB];
    for message in
        [RawFrame::text("h\u{e4}llo"), RawFrame::text(""), frame(true, 2, [0, 255]), frame(true, 2, big)]
    {
        socket.write(&message.masked()).await;
        assert!(socket.read_frame().await == message, "{} bytes", message.payload.len());
    }
    let fragments = [
        frame(false, 2, [1]).masked(),
        frame(true, 9, "p").masked(),
        frame(false, 0, [2]).masked(),
        frame(true, 0, [3]).masked(),
    ];
    socket.write(&fragments.concat()).await;
    assert_eq!(socket.read_frame().await, frame(true, 10, "p"));
    assert_eq!(socket.read_frame().await, frame(true, 2, [1, 2, 3]));
    socket.write(&frame(false, 1, [0xf0, 0x9f]).masked()).await;
    socket.write(&frame(true, 0, [0x9b, 0xb6]).masked()).await;
    assert_eq!(socket.read_frame().await, RawFrame::text("\u{1F6F6}"));
}

#[tokio::test]
async fn echo_is_not_served_unless_it_is_switched_on() {
    let gateway = OneGateway::start(&[]).await;
    let refusal = Dial::to(&format!("{}/echo", gateway.ws())).refused().await;
    assert_eq!(refusal.status, 404);
}

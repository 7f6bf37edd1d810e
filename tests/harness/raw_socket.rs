//! A WebSocket connection without a library: any bytes out, frames in as they are.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::websocket::open;

const LIMIT: Duration = Duration::from_secs(10);

// The example of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame as it is on the wire, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    pub is_final: bool,
    /// The three reserved bits, 0 in a frame that is right.
    pub reserved: u8,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl RawFrame {
    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self { is_final: true, reserved: 0, opcode: 1, payload: payload.into() }
    }

    pub fn close(code: u16) -> Self {
        Self { is_final: true, reserved: 0, opcode: 8, payload: code.to_be_bytes().into() }
    }

    /// The bytes that a client sends; a client must mask.
    pub fn masked(&self) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = self.head(0x80);
        bytes.extend(MASK);
        bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// The bytes that only a server may send.
    pub fn unmasked(&self) -> Vec<u8> {
        let mut bytes = self.head(0);
        bytes.extend(&self.payload);
        bytes
    }

    fn head(&self, mask_bit: u8) -> Vec<u8> {
        let mut head = vec![u8::from(self.is_final) << 7 | self.reserved << 4 | self.opcode];
        match self.payload.len() {
            length @ 0..=125 => head.push(mask_bit | length as u8),
            length @ 126..=65_535 => {
                head.push(mask_bit | 126);
                head.extend((length as u16).to_be_bytes());
            }
            length => {
                head.push(mask_bit | 127);
                head.extend((length as u64).to_be_bytes());
            }
        }
        head
    }
}

/// An upgraded connection.
pub struct RawSocket {
    stream: BufReader<TcpStream>,
}

impl RawSocket {
    /// Upgrades with a bearer token; panics when refused.
    pub async fn connect(url: &str, token: &str) -> Self {
        Self::connect_and_send(url, token, &[]).await
    }

    /// As [`RawSocket::connect`], and sends these bytes in the same packet, before it is let in.
    pub async fn connect_and_send(url: &str, token: &str, behind: &[u8]) -> Self {
        let uri: Uri = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
        let mut socket = Self { stream: BufReader::new(open(&uri, None).await) };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = uri.authority().map_or("", |host| host.as_str());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        socket.write(&[request.as_bytes(), behind].concat()).await;
        let head = socket.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "refused: {head}");
        assert!(head.contains(ACCEPT), "the server did not prove that it speaks WebSocket: {head}");
        socket
    }

    /// Writes any bytes.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).await.expect("the server is there");
    }

    /// As [`RawSocket::write`], for bytes upon which the server may hang up at once.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(LIMIT, self.stream.write_all(bytes)).await.expect("the server reads")
    }

    /// The next frame; panics when there is none.
    pub async fn read_frame(&mut self) -> RawFrame {
        let frame = timeout(LIMIT, self.read_frame_unlimited()).await;
        frame.unwrap_or_else(|_| panic!("no frame within {LIMIT:?}")).expect("the connection is open")
    }

    /// The code with which the server closes; frames before that are skipped.
    pub async fn expect_close(&mut self) -> u16 {
        loop {
            let frame = self.read_frame().await;
            if frame.opcode == 8 {
                let code = frame.payload.first_chunk().unwrap_or_else(|| panic!("closed without a code"));
                return u16::from_be_bytes(*code);
            }
        }
    }

    /// Checks that the server ends the TCP connection within `limit`; what it still sends is skipped.
    pub async fn expect_end(&mut self, limit: Duration) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let ended = timeout(limit, self.stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the TCP connection is still open after {limit:?}");
    }

    async fn read_frame_unlimited(&mut self) -> std::io::Result<RawFrame> {
        let head = self.stream.read_u8().await?;
        let length = self.stream.read_u8().await?;
        assert!(length < 0x80, "a server must not mask");
        let length = match length {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        assert!(length <= 64 << 20, "a frame of {length} bytes");
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(RawFrame { is_final: head & 0x80 != 0, reserved: head >> 4 & 7, opcode: head & 15, payload })
    }

    async fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(LIMIT, self.stream.read_u8()).await.expect("the server answers in time");
            match byte {
                Ok(byte) => head.push(byte),
                Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&head)),
            }
        }
        String::from_utf8_lossy(&head).into_owned()
    }
}

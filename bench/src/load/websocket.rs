//! A WebSocket client that only listens: it answers pings, and looks at frames without parsing them.

use anyhow::{Context, bail};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::address::Address;
use super::stream::Stream;

/// Read at once: some hundred frames.
const READ_BYTES: usize = 64 * 1024;
/// Longer heads are no Naru's.
const MAX_HEAD_BYTES: usize = 8 * 1024;
const MAX_HEADERS: usize = 32;

/// After its `ready` frame.
pub struct ListeningSocket {
    stream: Stream,
    buffer: BytesMut,
}

/// A frame as it came: only its opcode and its payload matter.
struct Frame {
    opcode: u8,
    payload: std::ops::Range<usize>,
}

impl ListeningSocket {
    /// Connects with this token and waits for the first frame, which is `ready`.
    pub async fn open(url: &str, token: &str) -> anyhow::Result<Self> {
        let address = Address::of(url)?;
        let stream = address.connect().await?;
        Self::upgrade(stream, &address, token).await
    }

    /// The same, of a client that the kernel keeps no more than `receive_buffer_bytes` for: it is soon stuck.
    pub async fn open_narrow(url: &str, token: &str, receive_buffer_bytes: u32) -> anyhow::Result<Self> {
        let address = Address::of(url)?;
        let to = tokio::net::lookup_host(&address.authority).await?.next();
        let to = to.with_context(|| format!("{} has no address", address.authority))?;
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Before the connect: the window that is offered depends on it.
        socket.set_recv_buffer_size(receive_buffer_bytes)?;
        Self::upgrade(Stream::Plain(socket.connect(to).await?), &address, token).await
    }

    /// Over a connection whose server writes frames without being asked for an upgrade: after its first one.
    pub async fn over(stream: TcpStream) -> anyhow::Result<Self> {
        // It ends by a reset: ten thousand sockets that connect and go must not use up the ports by waiting (TIME_WAIT).
        stream.set_zero_linger()?;
        let mut socket = Self { stream: Stream::Plain(stream), buffer: BytesMut::new() };
        socket.next(|_| ()).await.context("no first frame")?;
        Ok(socket)
    }

    async fn upgrade(mut stream: Stream, address: &Address, token: &str) -> anyhow::Result<Self> {
        // As in `over`.
        stream.set_zero_linger()?;
        // The key is any 16 bytes; nobody but a cache that misunderstands would mind that it is always the same.
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bmFydS1iZW5jaG1hcmshIQ==\r\nAuthorization: Bearer {token}\r\n\r\n",
            address.path, address.authority
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut socket = Self { stream, buffer: BytesMut::new() };
        socket.take_head().await?;
        socket.next(|_| ()).await.context("no `ready`")?;
        Ok(socket)
    }

    async fn take_head(&mut self) -> anyhow::Result<()> {
        loop {
            self.read().await?;
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(head) = response.parse(&self.buffer)? {
                if response.code != Some(101) {
                    bail!("refused: {}", String::from_utf8_lossy(&self.buffer));
                }
                self.buffer.advance(head);
                return Ok(());
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                bail!("not an answer to an upgrade");
            }
        }
    }

    /// Waits for text frames and shows each that has come to `look`: how many these were. An error is the end.
    pub async fn next(&mut self, mut look: impl FnMut(&[u8])) -> anyhow::Result<usize> {
        let mut count = 0;
        loop {
            while let Some(frame) = first_frame(&self.buffer) {
                let payload = &self.buffer[frame.payload.clone()];
                match frame.opcode {
                    1 => {
                        look(payload);
                        count += 1;
                    }
                    8 => {
                        bail!("closed with {:?}", payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
                    }
                    9 => {
                        self.stream.write_all(&pong(payload)).await?;
                        self.stream.flush().await?;
                    }
                    _ => {}
                }
                self.buffer.advance(frame.payload.end);
            }
            if count > 0 {
                if self.buffer.is_empty() {
                    // Thousands of these sockets lie idle in one process: none keeps memory.
                    self.buffer = BytesMut::new();
                }
                return Ok(count);
            }
            self.read().await?;
        }
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.stream.write_all(&masked(1, text.as_bytes())).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        // Room is taken when there is something to read, not by everyone who waits.
        self.stream.readable().await?;
        self.buffer.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection has ended");
        }
        Ok(())
    }
}

fn first_frame(bytes: &[u8]) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length): (usize, usize) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let payload = start..start.checked_add(length)?;
    (bytes.len() >= payload.end).then_some(Frame { opcode: first & 0x0f, payload })
}

fn pong(payload: &[u8]) -> Vec<u8> {
    masked(10, payload)
}

/// A client's frame; the mask is all zeros, which is as good as any between us and our own server.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

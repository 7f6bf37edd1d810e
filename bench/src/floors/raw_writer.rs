//! A plain TCP server that writes ready-made frames, one `write` each.
//!
//! It does what a gateway does at the least: one task a socket, woken when there is something for it, and one `write`.
//! It parses nothing, keeps no queue, order or limit, and does not look whether anybody is still there. On one thread
//! it is the cheapest there is, a task's wake-up being a push to a list; on all cores, as a gateway has to use them, a
//! wake-up costs about a microsecond more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::process::FloorProcess;
use crate::load::websocket::ListeningSocket;

/// What [`super::serve`] calls it.
pub const NAME: &str = "raw-writer";
/// The same on one thread.
pub const NAME_ON_ONE_THREAD: &str = "raw-writer-on-one-thread";
/// A connection begins with the socket's number; with this one it is the one that orders come over: two numbers each,
/// the first socket and how many. All numbers are big-endian.
const ORDERS: u32 = u32::MAX;
/// More than there are file descriptors for.
const MAX_SOCKETS: u32 = 100_000;
/// A text frame whose length is in the next two bytes (RFC 6455, 5.2).
const HEADER: [u8; 2] = [0x81, 126];

/// Serves until it is killed. `frame_bytes` is the length of the text in each frame.
pub async fn serve(address: &str, frame_bytes: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let mut frame = HEADER.to_vec();
    frame.extend(frame_bytes.to_be_bytes());
    frame.resize(frame.len() + usize::from(frame_bytes), b'x');
    let frame = Bytes::from(frame);
    let sockets = Arc::new(Sockets::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // An error is the end of that connection: it is the load's business to notice.
        tokio::spawn(serve_one(stream, frame.clone(), sockets.clone()));
    }
}

/// The same on one thread.
pub async fn serve_on_one_thread(address: String, frame_bytes: u16) -> anyhow::Result<()> {
    let serving = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(&address, frame_bytes))
    });
    serving.await?
}

#[derive(Default)]
struct Sockets(Mutex<Vec<Option<Arc<Socket>>>>);

#[derive(Default)]
struct Socket {
    ordered: AtomicU32,
    wake: Notify,
}

async fn serve_one(mut stream: TcpStream, frame: Bytes, sockets: Arc<Sockets>) -> anyhow::Result<()> {
    match stream.read_u32().await? {
        ORDERS => obey(stream, &sockets).await,
        index if index < MAX_SOCKETS => {
            let socket = sockets.enter(index as usize);
            // Tells that orders reach this socket from now on.
            stream.write_all(&frame).await?;
            loop {
                socket.wake.notified().await;
                for _ in 0..socket.ordered.swap(0, Ordering::Relaxed) {
                    stream.write_all(&frame).await?;
                }
            }
        }
        index => bail!("no socket has the number {index}"),
    }
}

async fn obey(mut stream: TcpStream, sockets: &Sockets) -> anyhow::Result<()> {
    loop {
        let mut order = [0; 8];
        stream.read_exact(&mut order).await?;
        let order = u64::from_be_bytes(order);
        let (first, count) = ((order >> 32) as usize, (order & u64::from(u32::MAX)) as usize);
        let all = sockets.0.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in all.iter().skip(first).take(count).flatten() {
            socket.ordered.fetch_add(1, Ordering::Relaxed);
            socket.wake.notify_one();
        }
    }
}

impl Sockets {
    fn enter(&self, index: usize) -> Arc<Socket> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() <= index {
            all.resize_with(index + 1, Option::default);
        }
        all[index].insert(Arc::default()).clone()
    }
}

/// The end that orders are given over.
pub struct Orders(TcpStream);

impl Orders {
    pub async fn open(floor: &FloorProcess) -> anyhow::Result<Self> {
        connect(floor, ORDERS).await.map(Self)
    }

    /// A frame to each of `count` sockets from `first` on.
    pub async fn give(&mut self, first: usize, count: usize) -> anyhow::Result<()> {
        let order = (first as u64) << 32 | count as u64;
        self.0.write_all(&order.to_be_bytes()).await.context("the floor has ended")
    }
}

/// The socket with this number.
pub async fn listen(floor: &FloorProcess, index: usize) -> anyhow::Result<ListeningSocket> {
    ListeningSocket::over(connect(floor, u32::try_from(index)?).await?).await
}

async fn connect(floor: &FloorProcess, number: u32) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(floor.address()).await?;
    stream.set_nodelay(true)?;
    stream.write_u32(number).await?;
    Ok(stream)
}

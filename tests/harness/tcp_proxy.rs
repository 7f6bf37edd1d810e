//! A TCP proxy that can be cut, silenced and slowed down under a running connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::ports::free_port;

/// What happens to bytes on their way.
#[derive(Clone, Copy)]
enum Mode {
    Pass {
        delay: Duration,
    },
    /// Nothing passes; no more than one chunk per direction is held.
    BlackHole,
}

/// `127.0.0.1:free` → the target. Ends when dropped.
pub struct TcpProxy {
    port: u16,
    target: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
    link: Mutex<Option<Link>>,
    end: CancellationToken,
}

/// The listener and its connections, all in one task; absent while the proxy is cut.
struct Link {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts to forward to `127.0.0.1:target_port`.
    pub async fn start(target_port: u16) -> Self {
        let proxy = Self {
            port: free_port(),
            target: SocketAddr::from(([127, 0, 0, 1], target_port)),
            mode: watch::Sender::new(Mode::Pass { delay: Duration::ZERO }),
            connections: Arc::default(),
            link: Mutex::new(None),
            end: CancellationToken::new(),
        };
        proxy.restore().await;
        proxy
    }

    /// The port to connect to instead of the target's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections have been made to the proxy so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends all connections and refuses new ones, until [`TcpProxy::restore`].
    pub async fn cut(&self) {
        if let Some(link) = self.link.lock().await.take() {
            link.stop.cancel();
            link.task.await.expect("the proxy's task does not panic");
        }
    }

    /// Connections live and are accepted, and nothing passes: what a broken network looks like.
    pub fn black_hole(&self) {
        self.mode.send_replace(Mode::BlackHole);
    }

    /// From now on every chunk of up to 64 KiB takes this much longer.
    pub fn delay(&self, delay: Duration) {
        self.mode.send_replace(Mode::Pass { delay });
    }

    /// Back to normal: accepts, and passes everything at once, what a black hole held included.
    pub async fn restore(&self) {
        self.mode.send_replace(Mode::Pass { delay: Duration::ZERO });
        let mut link = self.link.lock().await;
        if link.is_none() {
            let listener = TcpListener::bind(("127.0.0.1", self.port)).await.expect("the port is still ours");
            let stop = self.end.child_token();
            let route = Route {
                target: self.target,
                mode: self.mode.subscribe(),
                connections: Arc::clone(&self.connections),
            };
            let task = tokio::spawn(route.accept(listener, stop.clone()));
            *link = Some(Link { stop, task });
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

struct Route {
    target: SocketAddr,
    mode: watch::Receiver<Mode>,
    connections: Arc<AtomicUsize>,
}

impl Route {
    async fn accept(self, listener: TcpListener, stop: CancellationToken) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = open.join_next() => {}
                accepted = listener.accept() => {
                    if let Ok((client, _)) = accepted {
                        self.connections.fetch_add(1, Ordering::Relaxed);
                        open.spawn(forward(client, self.target, self.mode.clone()));
                    }
                }
            }
        }
        open.shutdown().await;
    }
}

async fn forward(client: TcpStream, target: SocketAddr, mode: watch::Receiver<Mode>) {
    // A target that refuses looks like one that hangs up: a proxy cannot refuse after it has accepted.
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::join!(pump(client_read, server_write, mode.clone()), pump(server_read, client_write, mode));
}

/// One direction, until its sender ends it. Holds one chunk at most, so that pressure reaches the sender.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let mut length = from.read(&mut chunk).await.unwrap_or(0);
        let Ok(passing) = mode.wait_for(|mode| matches!(mode, Mode::Pass { .. })).await.map(|mode| *mode)
        else {
            return;
        };
        if let Mode::Pass { delay } = passing
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
            // What has come meanwhile goes along: how much that is read at once must not decide how long it takes.
            while let Ok(more @ 1..) = from.try_read(&mut chunk[length..]) {
                length += more;
            }
        }
        // Dropping `to` passes the end on.
        if length == 0 || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

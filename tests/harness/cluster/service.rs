//! One service within this process, run by the code that production runs.

use std::io;
use std::net::TcpListener;
use std::sync::Mutex;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ports::free_port;
use crate::runtime::background;

/// Stops when dropped, as on SIGTERM; [`Service::stop`] waits for the end.
pub(super) struct Service {
    pub(super) public_port: u16,
    pub(super) internal_port: u16,
    running: Mutex<Option<(JoinHandle<io::Result<()>>, DropGuard)>>,
}

/// Two free ports, held.
pub(super) struct Ports {
    pub(super) public: TcpListener,
    pub(super) internal: TcpListener,
    pub(super) numbers: (u16, u16),
}

impl Ports {
    pub(super) fn take() -> Self {
        let (public_port, internal_port) = (free_port(), free_port());
        Self {
            public: listen(public_port),
            internal: listen(internal_port),
            numbers: (public_port, internal_port),
        }
    }
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).unwrap_or_else(|e| panic!("port {port}: {e}"))
}

impl Service {
    /// `run` runs a service on these ports until `shutdown`.
    pub(super) fn start(
        (public_port, internal_port): (u16, u16),
        shutdown: CancellationToken,
        run: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> Self {
        let running = Mutex::new(Some((background().spawn(run), shutdown.drop_guard())));
        Self { public_port, internal_port, running }
    }

    /// As on SIGTERM; waits until the service has stopped. A second call does nothing.
    pub(super) async fn stop(&self) {
        let running = self.running.lock().expect("nobody panics while stopping").take();
        if let Some((task, shutdown)) = running {
            drop(shutdown);
            task.await.expect("the service does not panic").expect("the service stops in good order");
        }
    }
}

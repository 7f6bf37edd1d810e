//! What a Service of Kubernetes does: a new connection goes to one of the ready pods, and stays there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::ports::free_port;

/// `127.0.0.1:free` → one endpoint after the other. Ends when dropped, its connections too.
pub struct KubeService {
    port: u16,
    endpoints: Arc<Mutex<Vec<u16>>>,
    _task: AbortOnDropHandle<()>,
}

impl KubeService {
    /// Without endpoints it hangs up on everybody.
    pub async fn start() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let endpoints = Arc::<Mutex<Vec<u16>>>::default();
        let task = tokio::spawn(accept(listener, Arc::clone(&endpoints)));
        Self { port, endpoints, _task: AbortOnDropHandle::new(task) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A pod has become ready.
    pub fn add(&self, pod_port: u16) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).push(pod_port);
    }

    /// A pod is going away. Connections that it has stay open.
    pub fn remove(&self, pod_port: u16) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).retain(|port| *port != pod_port);
    }
}

async fn accept(listener: TcpListener, endpoints: Arc<Mutex<Vec<u16>>>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let mut endpoints = endpoints.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(port) = endpoints.first().copied() {
                    endpoints.rotate_left(1);
                    open.spawn(forward(client, port));
                }
            }
        }
    }
}

async fn forward(mut client: TcpStream, port: u16) {
    if let Ok(mut pod) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await {
        let _ = (client.set_nodelay(true), pod.set_nodelay(true));
        // Either side may break off.
        let _ = copy_bidirectional(&mut client, &mut pod).await;
    }
}

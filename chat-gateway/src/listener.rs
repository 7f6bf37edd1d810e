//! TCP as a gateway needs it: a deep accept queue, and an end for connections whose reader is stuck.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::debug;

/// A reconnect storm arrives within a second; std's queue of 128 would drop most of it (the kernel caps this at
/// `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Binds a listener. The error names the address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted gateway must not wait for the old connections' last packets.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

/// Has the kernel end a connection that has taken nothing for `limit` while bytes wait for it.
///
/// A client that stays connected and never reads would keep its connection's memory for ever. Only the kernel knows
/// whether a slow one is still taking something.
pub(crate) fn limit_stalled_writes(connection: &TcpStream, limit: Duration) {
    // Elsewhere than on Linux a stuck connection lasts until its own end gives up.
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(connection).set_tcp_user_timeout(Some(limit)) {
        debug!(%error, "cannot limit stalled writes of a connection");
    }
    #[cfg(not(target_os = "linux"))]
    let _unused = (SockRef::from(connection), limit);
}

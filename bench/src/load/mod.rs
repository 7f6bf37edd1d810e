//! The load: senders over HTTP, sessions over WebSocket, and what is noted of them.
//!
//! Clients share the machine with what they measure, so they are lean: requests are made once and patched, answers and
//! frames are looked at, not parsed.

pub mod address;
pub mod arrivals;
pub mod audience;
pub mod closed_loop;
pub mod crowd;
pub mod deliveries;
pub mod http;
pub mod latencies;
pub mod lateness;
pub mod message;
pub mod push_target;
pub mod random;
pub mod senders;
pub mod socket_io;
pub mod stream;
pub mod trial;
pub mod websocket;

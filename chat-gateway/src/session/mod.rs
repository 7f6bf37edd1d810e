//! One WebSocket session: its frames, its mailbox, its life; and the hub that finds them.

pub(crate) mod bell;
mod channel_hash;
pub(crate) mod client_frame;
pub(crate) mod decoder;
mod fill;
pub(crate) mod frame;
pub(crate) mod hub;
pub(crate) mod mailbox;
pub mod micro;
mod order;
mod outbound;
mod resume;
pub(crate) mod run;
mod sample;
pub(crate) mod socket;
pub(crate) mod wire;
mod writer;

//! One WebSocket session: its frames, its mailbox, its life; and the hub that finds them.

pub(crate) mod client_frame;
pub(crate) mod decoder;
pub(crate) mod hub;
pub(crate) mod mailbox;
pub(crate) mod run;
pub(crate) mod socket;

//! Holds WebSocket sessions and writes entries to them.

mod acks;
mod api_client;
mod auth;
pub mod config;
mod drain;
mod handlers;
mod jitter;
pub mod listener;
mod log_reader;
mod metrics;
mod registry;
mod resumes;
mod routes;
mod session;
pub mod startup;
mod state;
mod upgrade;

#[doc(hidden)]
pub use session::micro;

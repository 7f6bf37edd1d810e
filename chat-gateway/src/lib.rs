//! Holds WebSocket sessions and writes entries to them.

mod auth;
pub mod config;
mod drain;
mod handlers;
mod jitter;
pub mod listener;
mod metrics;
mod registry;
mod routes;
mod session;
pub mod startup;
mod state;

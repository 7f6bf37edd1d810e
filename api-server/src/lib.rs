//! Takes messages over REST, stores them, and sees to their delivery.

pub mod auth;
pub mod body;
pub mod config;
pub mod delivery;
pub mod handlers;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod outbox;
pub mod page;
pub mod push;
mod queue_wait;
mod retention;
mod retry;
mod route_series;
pub mod routes;
pub mod startup;
pub mod state;
pub mod store;
mod sweeper;
mod worker_lag;
pub mod writer;

//! What both services do the same way: tokens, Redis, secrets, logs, metrics, traces, problems, operations endpoints, shutdown.

pub mod bearer;
mod failure_lines;
pub mod healthcheck;
pub mod internal_secret;
pub mod logging;
pub mod metrics;
pub mod ops;
pub mod origins;
pub mod redis;
pub mod registry;
pub mod rejection;
pub mod request_id;
pub mod secret;
pub mod shutdown;
pub mod tokens;
pub mod traces;

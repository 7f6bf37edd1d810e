//! The harness: real servers as child processes, clients that can misbehave, and a fake FCM.

pub mod api_client;
pub mod child;
pub mod cluster;
pub mod collector;
pub mod edition;
pub mod fake_fcm;
pub mod jwks;
pub mod keys;
pub mod kube_service;
pub mod nginx;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod postgres_programs;
pub mod process;
pub mod prometheus;
pub mod raw_socket;
pub mod redis;
pub mod redis_cluster;
pub mod registry;
pub mod runtime;
pub mod storage;
pub mod tcp_proxy;
pub mod tokens;
pub mod wait;
mod watchdog;
pub mod websocket;

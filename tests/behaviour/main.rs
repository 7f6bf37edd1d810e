//! One file per behaviour.

mod batches;
mod channels;
mod delivery;
mod devices;
mod fcm;
mod gateway_internal;
mod idempotency;
mod members;
mod one_gateway;
mod ordering;
mod privacy;
mod reading;
mod registry_conformance;
mod sessions;
mod shared_cluster;
mod store_conformance;
mod standalone;
mod the_harness;
mod websocket_framing;
mod whole_cluster;

//! What the parts alone can do: each is measured again beside every figure that is held against it.

pub mod bare_posts;
pub mod batched_insert;
pub mod http_echo;
pub mod mget;
pub mod one_row;
pub mod raw_writer;
pub mod tutorial;
pub mod ws_broadcast;

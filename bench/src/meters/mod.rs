//! What is measured beside the clients' own notes: rates, CPU time, memory, the disk.

pub mod cpu;
pub mod disk;
pub mod exposed;
pub mod memory;
pub mod rate;
pub mod sockets;
pub mod threads;

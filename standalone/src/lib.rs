//! Both services in one process on embedded storage: the same `startup::build` as the services, over real HTTP and
//! WebSocket; nothing but the two implementations of storage and registry differs.

pub mod config;
pub mod data_folder;
pub mod startup;

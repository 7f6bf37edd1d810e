//! `MGET` on one connection.

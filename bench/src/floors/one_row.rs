//! One row per transaction, `seq` and all, by 32 connections.

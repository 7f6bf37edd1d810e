//! One connection that stores batches by `UNNEST`, `seq` and all, and nothing else.

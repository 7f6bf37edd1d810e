//! A plain TCP server that writes ready-made frames, one `write` each.

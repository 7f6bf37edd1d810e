//! What the parts alone can do: each is measured again beside every figure that is held against it.

//! The tutorial's way: one transaction a message, and one registry read and one POST for each recipient, in turn.

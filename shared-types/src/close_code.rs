//! WebSocket close codes, each with what the client should do next.

/// Restart or drain: reconnect after `reconnectInMs`.
pub const RESTART: u16 = 1012;
/// Broken framing (RFC 6455): a bug in the client.
pub const PROTOCOL: u16 = 1002;
/// Text that is not UTF-8 (RFC 6455).
pub const NOT_UTF8: u16 = 1007;
/// A message over the limit (RFC 6455).
pub const TOO_BIG: u16 = 1009;
/// Token bad or expired: get a new one first.
pub const UNAUTHORIZED: u16 = 4001;
/// Three bad frames in a row: a bug in the client.
pub const BAD_FRAMES: u16 = 4002;
/// Too slow: reconnect and resume.
pub const TOO_SLOW: u16 = 4008;
/// Too many sessions of this user.
pub const TOO_MANY_SESSIONS: u16 = 4009;

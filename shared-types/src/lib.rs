//! What crosses a wire or lies in Redis: identifiers, entries, frames, the gateway's API, problems and claims. No I/O.

pub mod api_server_api;
pub mod claims;
pub mod close_code;
pub mod entry;
pub mod frames;
pub mod gateway_api;
pub mod ids;
pub mod problem;
pub mod registry_keys;
pub mod timestamp;

pub use claims::Claims;
pub use entry::{Entry, EntryBody};
pub use ids::{
    ChannelId, ClientMessageId, DeviceId, EntryId, GatewayId, InvalidId, Seq, SessionId, UserId, UserIdRef,
};
pub use problem::{FieldError, Problem, ProblemCode};
pub use timestamp::Timestamp;

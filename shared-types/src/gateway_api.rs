//! `POST /ws/send/message`, what an api-server asks of a gateway.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{UserId, UserIdRef};

/// Path of the call on the gateway's internal listener.
pub const DELIVER_PATH: &str = "/ws/send/message";

/// Most bytes of one request's body. An entry is at most about 30 KiB (content of 4,096 characters in its
/// longest JSON form, metadata of 4 KiB), so the largest batch that a lane makes stays well below.
pub const MAX_DELIVER_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Header of the call that says which of its deliveries belong to traces: `index=traceparent`, separated by commas, at
/// most [`MAX_TRACED_DELIVERIES`]. Not in the body, which has no field that a gateway of another version may not know.
pub const TRACES_HEADER: &str = "naru-traces";

/// So many take 2 KB of the header. What goes beyond it is delivered all the same.
pub const MAX_TRACED_DELIVERIES: usize = 32;

/// Whatever waits for this gateway: any number of channels and users, oldest first.
///
/// All that is in it lies in the body that it was read from: a request may name thousands of recipients.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeliverRequest<'a> {
    #[serde(borrow)]
    pub deliveries: Vec<Delivery<'a>>,
}

/// One entry and those of its recipients who are thought to be here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delivery<'a> {
    #[serde(borrow)]
    pub recipients: Vec<UserIdRef<'a>>,
    /// The entry as the api-server serialised it; passed on byte for byte.
    #[serde(borrow)]
    pub entry: &'a RawValue,
}

/// Who has no foreground session here, and who has one that has still to say that it got the entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliverResponse {
    pub absent: Vec<Recipients>,
    /// Those present whose foreground sessions all belong to clients that ack: written is not yet delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting_ack: Vec<Recipients>,
}

/// Some recipients of the delivery with this index in the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipients {
    pub delivery: usize,
    pub recipients: Vec<UserId>,
}

//! WebSocket frames that are not entries.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{ChannelId, GatewayId, Seq, SessionId, UserId};

/// Server → client. Entries are frames too; they are passed on as the bytes that the api-server wrote.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ServerFrame {
    /// The first frame of every session.
    Ready {
        session_id: SessionId,
        user_id: UserId,
        gateway_id: GatewayId,
        ping_interval_ms: u64,
    },
    /// Ends a resume: every entry after the client's cursors has been written, and live ones follow.
    Resumed {
        /// Up to where the client has everything now.
        channels: HashMap<ChannelId, Seq>,
        /// Too far behind: to be read by REST. Live entries of them follow all the same.
        resync_required: Vec<ChannelId>,
        /// The user's channels without a cursor, at most 1,000.
        new_channels: Vec<ChannelId>,
    },
    /// Go elsewhere, at this jittered time.
    Draining {
        reconnect_in_ms: u64,
    },
    /// Ephemeral: a device of this member has said that it has everything up to here.
    Delivered {
        channel_id: ChannelId,
        user_id: UserId,
        delivered_seq: Seq,
    },
    /// Ephemeral: this member has read up to here.
    Read {
        channel_id: ChannelId,
        user_id: UserId,
        read_seq: Seq,
    },
    Pong,
    /// Answers a bad frame. `code` is one of protocol.md's words.
    Error {
        code: &'static str,
        detail: String,
    },
}

/// Client → server.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum ClientFrame {
    /// Everything after these cursors, please.
    Resume {
        cursors: HashMap<ChannelId, Seq>,
    },
    /// Cumulative: everything up to `seq` is on the device.
    #[serde(rename_all = "camelCase")]
    Ack {
        channel_id: ChannelId,
        seq: Seq,
    },
    /// A newer token for the same user, before the old one expires.
    Auth {
        token: String,
    },
    /// A background session counts as offline for push.
    Background {
        value: bool,
    },
    Ping,
}

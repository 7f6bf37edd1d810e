//! Pushes: what goes to a device whose user has no session, how it is sent, and what came of it.

mod alarm;
mod attempt;
mod back_off;
mod budgets;
mod faults;
pub mod fcm;
pub mod log;
pub mod queue;
mod settler;
mod text;
pub mod traces;
pub mod worker;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use shared_types::{ChannelId, DeviceId, EntryId, Seq, UserId};

pub use budgets::PushQuotas;
pub use text::PushText;

use crate::store::{DevicePlatform, DeviceTarget};

/// Sends one push. Never an error: every end of it is something that the caller has to act on.
pub trait PushSender: Send + Sync {
    fn send<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, PushOutcome>;
}

/// One notification for one device.
#[derive(Clone)]
pub struct Push {
    pub user_id: UserId,
    pub device_id: DeviceId,
    pub platform: DevicePlatform,
    pub target: DeviceTarget,
    pub text: PushText,
    pub channel_id: ChannelId,
    /// The newest message's, like its id and its sender.
    pub seq: Seq,
    pub message_id: EntryId,
    pub sender_id: UserId,
    /// How many messages of the channel this push tells of, at least 1.
    pub messages: i64,
    /// The recipient's unread messages in all channels: the number on the app's icon.
    pub unread: i64,
}

// Says which push it is. Not the target: whoever has it can reach the device; and not what the message says.
impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id)
            .field("channel_id", &self.channel_id)
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The push service took it.
    Sent,
    /// The target will never work again: disable it if it is unchanged since.
    TargetGone(Reason),
    /// Not now. `after` is what the push service asked for; without it the caller's own back-off counts.
    RetryAfter { after: Option<Duration>, reason: Reason },
    /// This push will never be taken; the target is kept.
    Rejected(Reason),
    /// Our credentials or options are wrong: alarm, stop, and delete nothing.
    OurFault(Reason),
    /// The same for the one platform of this push, whose own key the push service keeps for us.
    PlatformFault(Reason),
}

impl PushOutcome {
    /// The kind of outcome, as a metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::TargetGone(_) => "target_gone",
            Self::RetryAfter { .. } => "retry",
            Self::Rejected(_) => "rejected",
            Self::OurFault(_) | Self::PlatformFault(_) => "our_fault",
        }
    }

    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Sent => None,
            Self::TargetGone(reason)
            | Self::RetryAfter { reason, .. }
            | Self::Rejected(reason)
            | Self::OurFault(reason)
            | Self::PlatformFault(reason) => Some(reason),
        }
    }
}

/// Why. Holds no key, token, target or content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// One of a fixed set of words: fit for a metric's label.
    pub code: &'static str,
    /// For the log; may be empty.
    pub detail: String,
}

impl Reason {
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

//! A push sender without a push service: says in the log that a push was due.

use futures_util::future::{BoxFuture, ready};

use super::{Push, PushOutcome, PushSender};

/// Used where no service account is configured. Logs who and which entry, never content or target.
#[derive(Debug, Default, Clone, Copy)]
pub struct LogSender;

impl PushSender for LogSender {
    fn send<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, PushOutcome> {
        tracing::info!(
            userId = %push.user_id,
            deviceId = %push.device_id,
            platform = ?push.platform,
            channelId = %push.channel_id,
            messageId = %push.message_id,
            seq = push.seq,
            messages = push.messages,
            "push logged instead of sent: no push service is configured"
        );
        Box::pin(ready(PushOutcome::Sent))
    }
}

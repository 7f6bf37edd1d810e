//! What a session asks an api-server for while entries wait: those before them, or where its part of a channel begins.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use shared_types::api_server_api::ResumeSession;
use shared_types::{ChannelId, UserId};
use tokio::time::Instant;

use super::order::{Gap, Missing, Order};
use super::resume::Reading;
use crate::metrics::GapOutcome;
use crate::resumes::Answer;
use crate::state::Gateway;

/// What is missing will not come.
#[derive(Debug)]
pub(crate) struct GivenUp;

pub(crate) enum Fill {
    Entries { gap: Gap, reading: Reading },
    Beginning { channel_id: ChannelId, answer: Answer },
}

impl Fill {
    pub(crate) fn start(missing: Missing, gateway: &Gateway, user_id: &UserId) -> Result<Self, GivenUp> {
        match missing {
            Missing::Entries(gap) => {
                let reading = Box::pin(gateway.log_reader.clone().read(gap.channel_id, gap.after));
                Ok(Self::Entries { gap, reading })
            }
            Missing::Beginning(channel_id) => {
                let session = ResumeSession { user_id: user_id.clone(), channels: vec![channel_id] };
                let answer = gateway.resumes.ask(session).ok_or(GivenUp)?;
                Ok(Self::Beginning { channel_id, answer })
            }
        }
    }

    /// Gives the order what was missing.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        order: &mut Order,
        gateway: &Gateway,
    ) -> Poll<Result<(), GivenUp>> {
        match self {
            Self::Entries { gap, reading } => {
                let Ok(page) = ready!(reading.as_mut().poll(cx)) else { return Poll::Ready(Err(GivenUp)) };
                order.fill(*gap, page.removed_seq, &page.frames, Instant::now());
                gateway.metrics.gap(GapOutcome::Filled);
            }
            Self::Beginning { channel_id, answer } => {
                let Ok(there_is) = ready!(Pin::new(answer).poll(cx)) else {
                    return Poll::Ready(Err(GivenUp));
                };
                let joined = there_is.channels.get(channel_id).map(|channel| channel.joined_seq);
                if !order.begin(*channel_id, joined, Instant::now()) {
                    return Poll::Ready(Err(GivenUp));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

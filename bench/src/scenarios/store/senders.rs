//! Senders that hand their messages to the writer itself, each when the one before is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use api_server::store::Draft;
use api_server::writer::{AppendError, Appended};
use shared_types::{ChannelId, EntryId, UserId};

use super::naru::Naru;
use crate::floors::log::{Place, client_message_id};
use crate::load::closed_loop::Worker;
use crate::load::message;

/// A refused sender comes again after this: without a pause it would do nothing but ask.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct Sender {
    naru: Arc<Naru>,
    places: Arc<[(ChannelId, UserId)]>,
    /// Of how many senders it is which.
    index: usize,
    senders: usize,
    content: String,
    messages: u64,
    refused: Arc<AtomicU64>,
}

/// So many of them, in turn over the places: no two in one channel at a time while there are enough. What the writer
/// refuses is counted in `refused`.
pub(super) fn senders(
    naru: &Arc<Naru>,
    places: &[Place],
    senders: usize,
    refused: &Arc<AtomicU64>,
) -> anyhow::Result<Vec<Sender>> {
    let place = |place: &Place| Ok((ChannelId(place.channel_id), place.sender_id.parse()?));
    let places: Arc<[(ChannelId, UserId)]> = places.iter().map(place).collect::<anyhow::Result<_>>()?;
    let sender = |index| Sender {
        naru: naru.clone(),
        places: places.clone(),
        index,
        senders,
        content: message::content(),
        messages: 0,
        refused: refused.clone(),
    };
    Ok((0..senders).map(sender).collect())
}

impl Worker for Sender {
    async fn turn(&mut self) -> anyhow::Result<u64> {
        let position = (self.index + self.messages as usize * self.senders) % self.places.len();
        let (channel_id, sender_id) = self.places[position].clone();
        let draft = Draft {
            entry_id: EntryId::generate(),
            channel_id,
            sender_id,
            kind: "text".to_owned(),
            content: self.content.clone(),
            metadata: None,
            client_message_id: Some(client_message_id(self.index, self.messages).parse()?),
            // The writer's to find out.
            known_membership: None,
        };
        self.messages += 1;
        match self.naru.writer.append(draft, None).await {
            Ok(Appended::Stored(_)) => Ok(1),
            Ok(other) => bail!("a new message of a member was not stored: {other:?}"),
            Err(AppendError::Full | AppendError::DeliveryBehind) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }
}

//! The batch statement for senders who are known to take part.

use shared_types::{ClientMessageId, Timestamp};
use sqlx::Row;
use uuid::Uuid;

use super::statements::Kept;
use crate::store::rows::corrupt;
use crate::store::{Draft, OutboxId, StoreError, Verdict};

/// What became of a batch.
pub(super) enum Outcome {
    /// All of it is stored; a verdict for each draft, in their order.
    Stored(Vec<Verdict>),
    /// Nothing is. Who takes part has to be looked at.
    MembershipChanged,
    /// Nothing is. A message of the batch was stored before.
    Repeated,
}

/// One channel of a batch.
struct Channel {
    id: Uuid,
    membership_version: i64,
    /// Messages of the batch.
    count: i32,
}

/// Where a draft goes: its channel's place in the batch's list, and its own among the batch's messages there, from 1.
#[derive(Clone, Copy)]
struct Place {
    draft: usize,
    channel: i32,
    position: i32,
}

/// The drafts by channel. `None`: of some sender it is not known whether they take part.
pub(super) struct Plan {
    channels: Vec<Channel>,
    places: Vec<Place>,
}

impl Plan {
    pub(super) fn of(drafts: &[&Draft]) -> Option<Self> {
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        // Stable: a channel's messages stay in their order. Postgres orders ids as we do, byte by byte.
        order.sort_by_key(|index| drafts[*index].channel_id);
        let mut channels: Vec<Channel> = Vec::with_capacity(drafts.len());
        let mut places = Vec::with_capacity(drafts.len());
        for index in order {
            let draft = drafts[index];
            let membership_version = draft.known_membership?;
            match channels.last_mut() {
                Some(channel) if channel.id == draft.channel_id.0 => {
                    if channel.membership_version != membership_version {
                        return None;
                    }
                    channel.count += 1;
                }
                _ => channels.push(Channel { id: draft.channel_id.0, membership_version, count: 1 }),
            }
            let position = channels.last().map_or(1, |channel| channel.count);
            places.push(Place { draft: index, channel: i32::try_from(channels.len()).ok()?, position });
        }
        Some(Self { channels, places })
    }
}

pub(super) async fn append_known(
    connection: &mut Kept,
    outbox: OutboxId,
    owner: Uuid,
    drafts: &[&Draft],
    plan: &Plan,
) -> Result<Outcome, StoreError> {
    let Plan { channels, places } = plan;
    let in_order = || places.iter().map(|place| drafts[place.draft]);
    let row = sqlx::query(
        "SELECT outcome, last_seqs, moments
         FROM append_known_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(channels.iter().map(|channel| channel.id).collect::<Vec<_>>())
    .bind(channels.iter().map(|channel| channel.membership_version).collect::<Vec<_>>())
    .bind(channels.iter().map(|channel| channel.count).collect::<Vec<_>>())
    .bind(places.iter().map(|place| place.channel).collect::<Vec<_>>())
    .bind(places.iter().map(|place| place.position).collect::<Vec<_>>())
    .bind(in_order().map(|draft| draft.sender_id.as_str()).collect::<Vec<_>>())
    .bind(in_order().map(|draft| draft.entry_id.0).collect::<Vec<_>>())
    .bind(in_order().map(|draft| draft.kind.as_str()).collect::<Vec<_>>())
    .bind(in_order().map(|draft| draft.content.as_str()).collect::<Vec<_>>())
    .bind(in_order().map(|draft| draft.metadata.as_deref().map(|json| json.get())).collect::<Vec<_>>())
    .bind(
        in_order()
            .map(|draft| draft.client_message_id.as_ref().map(ClientMessageId::as_str))
            .collect::<Vec<_>>(),
    )
    .bind(outbox.0)
    .bind(owner)
    .fetch_one(connection)
    .await?;
    match row.try_get::<&str, _>(0)? {
        "stored" => verdicts(plan, &row.try_get::<Vec<i64>, _>(1)?, &row.try_get::<Vec<_>, _>(2)?),
        "membership_changed" => Ok(Outcome::MembershipChanged),
        _ => Ok(Outcome::Repeated),
    }
}

fn verdicts(
    plan: &Plan,
    last_seqs: &[i64],
    moments: &[chrono::DateTime<chrono::Utc>],
) -> Result<Outcome, StoreError> {
    let mut verdicts = vec![Verdict::NoSuchChannel; plan.places.len()];
    for Place { draft, channel, position } in &plan.places {
        let index = usize::try_from(channel - 1).unwrap_or(usize::MAX);
        let (Some(last_seq), Some(moment), Some(channel)) =
            (last_seqs.get(index), moments.get(index), plan.channels.get(index))
        else {
            return Err(corrupt("a stored batch with fewer places than channels"));
        };
        verdicts[*draft] = Verdict::Stored {
            seq: last_seq + i64::from(*position),
            created_at: Timestamp::from(*moment),
            membership_version: channel.membership_version,
        };
    }
    Ok(Outcome::Stored(verdicts))
}

//! The batch statement of the group commit.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use shared_types::{Entry, EntryBody, EntryId};
use sqlx::FromRow;
use tokio::time::timeout;
use uuid::Uuid;

use super::Postgres;
use super::append_known::{Outcome, Plan, append_known};
use super::statements::Kept;
use crate::store::columns::Moment;
use crate::store::rows::{corrupt, raw_json};
use crate::store::{Appender, Draft, OutboxId, StoreError, Verdict};

/// Beyond the statement's own limit: reached only when the server does not even report that.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// How long batches are judged row by row after one that held a repeat. So those who send repeats, however many, cost one
/// batch a second a second try.
const JUDGED_FOR: Duration = Duration::from_secs(1);

/// A connection that one writer keeps for itself, so that no batch waits for one or is preceded by a check.
pub(super) struct AppendConnection {
    store: Postgres,
    connection: Option<Kept>,
    last_repeat: Option<Instant>,
}

#[derive(FromRow)]
struct VerdictRow {
    ord: i64,
    verdict: String,
    entry_id: Uuid,
    entry_seq: Option<i64>,
    entry_created_at: Moment,
    entry_kind: Option<String>,
    entry_content: Option<String>,
    entry_metadata: Option<String>,
    membership: Option<i64>,
}

impl AppendConnection {
    pub(super) fn new(store: Postgres) -> Self {
        Self { store, connection: None, last_repeat: None }
    }
}

#[async_trait]
impl Appender for AppendConnection {
    async fn append(&mut self, outbox: OutboxId, drafts: &[&Draft]) -> Result<Vec<Verdict>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.pool.keep_one().await?,
        };
        match timeout(ANSWER_LIMIT, self.run(&mut connection, outbox, drafts)).await {
            Ok(Ok(verdicts)) => {
                self.connection = Some(connection);
                Ok(verdicts)
            }
            Ok(Err(error)) => {
                // A connection that has only refused values is as good as before.
                if matches!(error, StoreError::Refused(_)) {
                    self.connection = Some(connection);
                }
                Err(error)
            }
            Err(_) => {
                // The server may still be working on it: this connection must not serve anyone else.
                connection.close_on_drop();
                Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))
            }
        }
    }
}

impl AppendConnection {
    /// Without judging each row, if nothing is expected to be judged; otherwise, and when that fails, with.
    async fn run(
        &mut self,
        connection: &mut Kept,
        outbox: OutboxId,
        drafts: &[&Draft],
    ) -> Result<Vec<Verdict>, StoreError> {
        let owner = self.store.owner;
        let expects_repeats = self.last_repeat.is_some_and(|at| at.elapsed() < JUDGED_FOR);
        if let Some(plan) = Plan::of(drafts).filter(|_| !expects_repeats) {
            match append_known(connection, outbox, owner, drafts, &plan).await? {
                Outcome::Stored(verdicts) => return Ok(verdicts),
                Outcome::MembershipChanged => {}
                Outcome::Repeated => self.last_repeat = Some(Instant::now()),
            }
        }
        verdicts(drafts, judge_and_append(connection, outbox, owner, drafts).await?)
    }
}

async fn judge_and_append(
    connection: &mut Kept,
    outbox: OutboxId,
    owner: Uuid,
    drafts: &[&Draft],
) -> Result<Vec<VerdictRow>, StoreError> {
    let column = |value: fn(&Draft) -> &str| drafts.iter().map(|draft| value(draft)).collect::<Vec<&str>>();
    let optional =
        |value: fn(&Draft) -> Option<&str>| drafts.iter().map(|draft| value(draft)).collect::<Vec<_>>();
    let uuids = |value: fn(&Draft) -> Uuid| drafts.iter().map(|draft| value(draft)).collect::<Vec<Uuid>>();
    Ok(sqlx::query_as("SELECT * FROM append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(uuids(|draft| draft.channel_id.0))
        .bind(column(|draft| draft.sender_id.as_str()))
        .bind(uuids(|draft| draft.entry_id.0))
        .bind(column(|draft| &draft.kind))
        .bind(column(|draft| &draft.content))
        .bind(optional(|draft| draft.metadata.as_deref().map(serde_json::value::RawValue::get)))
        .bind(optional(|draft| draft.client_message_id.as_ref().map(shared_types::ClientMessageId::as_str)))
        .bind(outbox.0)
        .bind(owner)
        .fetch_all(connection)
        .await?)
}

fn verdicts(drafts: &[&Draft], mut rows: Vec<VerdictRow>) -> Result<Vec<Verdict>, StoreError> {
    rows.sort_unstable_by_key(|row| row.ord);
    if rows.len() != drafts.len() {
        return Err(corrupt("a batch with fewer verdicts than drafts"));
    }
    drafts.iter().zip(rows).map(|(draft, row)| verdict(draft, row)).collect()
}

fn verdict(draft: &Draft, row: VerdictRow) -> Result<Verdict, StoreError> {
    let place = |seq: Option<i64>| seq.ok_or_else(|| corrupt("a stored entry without seq"));
    match row.verdict.as_str() {
        "no_such_channel" => Ok(Verdict::NoSuchChannel),
        "not_a_participant" => Ok(Verdict::NotAParticipant),
        "stored" => Ok(Verdict::Stored {
            seq: place(row.entry_seq)?,
            created_at: row.entry_created_at.0,
            membership_version: row.membership.ok_or_else(|| corrupt("a channel without version"))?,
        }),
        _ => Ok(Verdict::Earlier(Entry {
            id: EntryId(row.entry_id),
            channel_id: draft.channel_id,
            seq: place(row.entry_seq)?,
            sender_id: draft.sender_id.clone(),
            created_at: row.entry_created_at.0,
            body: EntryBody::Message {
                kind: row.entry_kind.unwrap_or_default(),
                content: row.entry_content.unwrap_or_default(),
                metadata: row.entry_metadata.map(raw_json).transpose()?,
                client_message_id: draft.client_message_id.clone(),
            },
        })),
    }
}

//! The batch statement of the group commit.

use std::time::Duration;

use async_trait::async_trait;
use shared_types::{Entry, EntryBody, EntryId};
use sqlx::pool::PoolConnection;
use sqlx::{FromRow, Postgres as PgDriver};
use tokio::time::timeout;
use uuid::Uuid;

use super::Postgres;
use crate::store::columns::Moment;
use crate::store::rows::{corrupt, raw_json};
use crate::store::{Appender, Draft, OutboxId, StoreError, Verdict};

/// Beyond the statement's own limit: reached only when the server does not even report that.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// A connection that one writer keeps for itself, so that no batch waits for one or is preceded by a check.
pub(super) struct AppendConnection {
    store: Postgres,
    connection: Option<PoolConnection<PgDriver>>,
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
        Self { store, connection: None }
    }
}

#[async_trait]
impl Appender for AppendConnection {
    async fn append(&mut self, outbox: OutboxId, drafts: &[&Draft]) -> Result<Vec<Verdict>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.pool.acquire().await?,
        };
        match timeout(ANSWER_LIMIT, run(&mut connection, outbox, self.store.owner, drafts)).await {
            Ok(Ok(rows)) => {
                self.connection = Some(connection);
                verdicts(drafts, rows)
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

async fn run(
    connection: &mut PoolConnection<PgDriver>,
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
        .fetch_all(&mut **connection)
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
    let (kind, content, metadata) = match row.verdict.as_str() {
        "no_such_channel" => return Ok(Verdict::NoSuchChannel),
        "not_a_participant" => return Ok(Verdict::NotAParticipant),
        "stored" => (draft.kind.clone(), draft.content.clone(), draft.metadata.clone()),
        _ => (
            row.entry_kind.unwrap_or_default(),
            row.entry_content.unwrap_or_default(),
            row.entry_metadata.map(raw_json).transpose()?,
        ),
    };
    let entry = Entry {
        id: EntryId(row.entry_id),
        channel_id: draft.channel_id,
        seq: row.entry_seq.ok_or_else(|| corrupt("a stored entry without seq"))?,
        sender_id: draft.sender_id.clone(),
        created_at: row.entry_created_at.0,
        body: EntryBody::Message {
            kind,
            content,
            metadata,
            client_message_id: draft.client_message_id.clone(),
        },
    };
    Ok(if row.verdict == "stored" {
        let membership_version = row.membership.ok_or_else(|| corrupt("a channel without version"))?;
        Verdict::Stored { entry, membership_version }
    } else {
        Verdict::Earlier(entry)
    })
}

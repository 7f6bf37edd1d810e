//! One batch of the group commit: one transaction, a handful of statements however many messages it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;
use shared_types::{ChannelId, ClientMessageId, Seq};
use sqlx::{AssertSqlSafe, FromRow, Row, SqliteConnection};
use tokio::time::timeout;

use super::Sqlite;
use super::ids::hex;
use super::outbox::intend;
use crate::store::columns::Moment;
use crate::store::rows::{EntryRow, corrupt, entry_columns};
use crate::store::{Appender, Draft, OutboxId, StoreError, Verdict};

/// A disk that takes longer is stuck; nobody waits for it without end.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);
/// A batch is inserted by statements of these many rows: few statements for any batch, and always the same three,
/// which stay prepared.
const INSERTS: [usize; 3] = [64, 8, 1];

const EARLIER_COLUMNS: &str = entry_columns!("e");

pub(super) struct FileAppender {
    store: Sqlite,
    judge: Arc<str>,
    inserts: [(usize, Arc<str>); INSERTS.len()],
}

/// Where a channel's log ends, while the batch makes it longer.
struct Head {
    /// The batch's first entry.
    first_seq: Seq,
    last_seq: Seq,
    moment: Moment,
}

/// A draft that is stored, and where.
struct Placed<'a> {
    draft: &'a Draft,
    seq: Seq,
    moment: Moment,
}

impl FileAppender {
    pub(super) fn new(store: Sqlite) -> Self {
        let judge = format!(
            "SELECT c.last_seq, c.membership_version, c.updated_at AS channel_updated_at,
                    p.user_id IS NOT NULL AS participates, e.seq IS NOT NULL AS is_earlier, {EARLIER_COLUMNS}
             FROM json_each($1) d
             LEFT JOIN channels c ON c.id = unhex(d.value ->> 0)
             LEFT JOIN participants p ON p.channel_id = c.id AND p.user_id = d.value ->> 1
             LEFT JOIN entries e
                    ON e.channel_id = c.id AND e.sender_id = d.value ->> 1 AND e.client_message_id = d.value ->> 2
             ORDER BY d.key"
        );
        Self { store, judge: judge.into(), inserts: INSERTS.map(|rows| (rows, insert_of(rows).into())) }
    }

    async fn run(&self, outbox: OutboxId, drafts: &[&Draft]) -> Result<Vec<Verdict>, StoreError> {
        let mut transaction = self.store.begin_write().await?;
        let mut heads = HashMap::new();
        let verdicts = self.judge(&mut transaction, drafts, &mut heads).await?;
        let stored: Vec<Placed<'_>> = drafts
            .iter()
            .zip(&verdicts)
            .filter_map(|(draft, verdict)| match verdict {
                Verdict::Stored { seq, created_at, .. } => {
                    Some(Placed { draft, seq: *seq, moment: Moment(*created_at) })
                }
                _ => None,
            })
            .collect();
        if stored.is_empty() {
            transaction.rollback().await?;
            return Ok(verdicts);
        }
        self.insert(&mut transaction, &stored).await?;
        advance(&mut transaction, &heads).await?;
        let places = heads.iter().map(|(channel, head)| (*channel, head.first_seq, head.last_seq));
        intend(&mut transaction, outbox, self.store.owner, places).await?;
        transaction.commit().await?;
        Ok(verdicts)
    }

    /// Says of each draft what becomes of it, and gives those that are stored their place. The write lock is held
    /// already, so nobody joins, leaves or stores between this and the inserts.
    async fn judge(
        &self,
        connection: &mut SqliteConnection,
        drafts: &[&Draft],
        heads: &mut HashMap<ChannelId, Head>,
    ) -> Result<Vec<Verdict>, StoreError> {
        let keys: Vec<(String, &str, Option<&str>)> = drafts
            .iter()
            .map(|draft| {
                let client_message_id = draft.client_message_id.as_ref().map(ClientMessageId::as_str);
                (hex(draft.channel_id.0), draft.sender_id.as_str(), client_message_id)
            })
            .collect();
        let keys = serde_json::to_string(&keys).map_err(|error| corrupt(&format!("a draft: {error}")))?;
        let rows = sqlx::query(AssertSqlSafe(self.judge.clone())).bind(keys).fetch_all(connection).await?;
        if rows.len() != drafts.len() {
            return Err(corrupt("a batch with another number of verdicts than drafts"));
        }
        let now = Moment::now();
        drafts
            .iter()
            .zip(rows)
            .map(|(draft, row)| {
                let Some(last_seq) = row.try_get::<Option<Seq>, _>("last_seq")? else {
                    return Ok(Verdict::NoSuchChannel);
                };
                if !row.try_get::<bool, _>("participates")? {
                    return Ok(Verdict::NotAParticipant);
                }
                if row.try_get::<bool, _>("is_earlier")? {
                    return Ok(Verdict::Earlier(EntryRow::from_row(&row)?.try_into()?));
                }
                // A clock that is set back must not make an entry older than the one before it.
                let moment = now.max(row.try_get("channel_updated_at")?);
                let head = heads.entry(draft.channel_id).or_insert(Head {
                    first_seq: last_seq + 1,
                    last_seq,
                    moment,
                });
                head.last_seq += 1;
                Ok(Verdict::Stored {
                    seq: head.last_seq,
                    created_at: head.moment.0,
                    membership_version: row.try_get("membership_version")?,
                })
            })
            .collect()
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        mut placed: &[Placed<'_>],
    ) -> Result<(), StoreError> {
        for (size, sql) in &self.inserts {
            while let Some((rows, rest)) = placed.split_at_checked(*size) {
                if rows.is_empty() {
                    break;
                }
                let mut insert = sqlx::query(AssertSqlSafe(sql.clone()));
                for Placed { draft, seq, moment } in rows {
                    insert = insert
                        .bind(draft.channel_id.0)
                        .bind(*seq)
                        .bind(draft.entry_id.0)
                        .bind(draft.sender_id.as_str())
                        .bind(*moment)
                        .bind(draft.kind.as_str())
                        .bind(draft.content.as_str())
                        .bind(draft.metadata.as_deref().map(RawValue::get))
                        .bind(draft.client_message_id.as_ref().map(ClientMessageId::as_str));
                }
                insert.execute(&mut *connection).await?;
                placed = rest;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Appender for FileAppender {
    async fn append(&mut self, outbox: OutboxId, drafts: &[&Draft]) -> Result<Vec<Verdict>, StoreError> {
        // An unfinished transaction is rolled back, on the connection's own thread, when its future is dropped.
        match timeout(ANSWER_LIMIT, self.run(outbox, drafts)).await {
            Ok(verdicts) => verdicts,
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
        }
    }
}

fn insert_of(rows: usize) -> String {
    let row = "(?, ?, ?, 'message', ?, ?, ?, ?, ?, ?)";
    format!(
        "INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, metadata,
                              client_message_id)
         VALUES {}",
        vec![row; rows].join(", ")
    )
}

async fn advance(
    connection: &mut SqliteConnection,
    heads: &HashMap<ChannelId, Head>,
) -> Result<(), StoreError> {
    let heads: Vec<(String, Seq, i64)> =
        heads.iter().map(|(id, head)| (hex(id.0), head.last_seq, head.moment.as_millis())).collect();
    let heads = serde_json::to_string(&heads).map_err(|error| corrupt(&format!("a head: {error}")))?;
    sqlx::query(
        "UPDATE channels SET last_seq = h.value ->> 1, updated_at = h.value ->> 2
         FROM json_each($1) h WHERE channels.id = unhex(h.value ->> 0)",
    )
    .bind(heads)
    .execute(connection)
    .await?;
    Ok(())
}

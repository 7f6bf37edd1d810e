//! What the floors that store have in common: a database with the product's own tables, and what goes into it.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Executor};
use uuid::Uuid;

use crate::load::message;
use crate::site::cluster::Cluster;
use crate::site::population::Population;

/// For the floor with the most, see `one_row`; and one for us.
const CONNECTIONS: u32 = 33;

/// A database beside the product's in the same server, with the same tables and indices. It has channels of its own, so
/// that neither side's rows are in the other's way.
pub struct FloorLog {
    pub database: PgPool,
    pub places: Arc<[Place]>,
}

/// A channel, and the member who sends there.
#[derive(Debug, Clone)]
pub struct Place {
    pub channel_id: Uuid,
    pub sender_id: String,
}

impl FloorLog {
    /// With so many channels.
    pub async fn beside(cluster: &Cluster, channels: usize) -> anyhow::Result<Self> {
        let url = cluster.postgres.fresh_database().await;
        // A floor does nothing that it need not do.
        let options = PgConnectOptions::from_str(&url)?.disable_statement_logging();
        let database = PgPoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
        let database = database.context("Postgres does not answer")?;
        let population = Population::seed(&cluster.site(), &database, channels, 1).await?;
        Ok(Self { database, places: places(&population).into() })
    }
}

/// Each channel with its first member.
pub fn places(population: &Population) -> Vec<Place> {
    let place = |channel: &crate::site::population::Channel| Place {
        channel_id: channel.id,
        sender_id: population.users[channel.members.start].id.clone(),
    };
    population.channels.iter().map(place).collect()
}

/// Messages that a channel has before a measurement. A table that has just been emptied is one of which the server knows
/// nothing: it may look for a message by an index that is the best one for a handful of rows, and keep to it.
const OLD_MESSAGES: i32 = 5;

/// Fills a log anew with a few old messages in each channel and has the server count them and write out what it has in
/// memory, so that every measurement begins alike: with tables of the same size, known to the planner, and no checkpoint
/// due.
pub async fn begin_anew(database: &PgPool) -> anyhow::Result<()> {
    database.execute("TRUNCATE entries, outbox, push_jobs").await?;
    sqlx::query(
        "WITH advanced AS (
             UPDATE channels SET last_seq = last_seq + $1 RETURNING id, last_seq
         )
         INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, client_message_id)
         SELECT a.id, a.last_seq - n, gen_random_uuid(), 'message', first.user_id, now(), 'text', $2, 'old-' || n
         FROM advanced a
         JOIN (SELECT channel_id, min(user_id) AS user_id FROM participants GROUP BY channel_id) first
             ON first.channel_id = a.id
         CROSS JOIN generate_series(0, $1 - 1) n",
    )
    .bind(OLD_MESSAGES)
    .bind(message::content())
    .execute(database)
    .await?;
    database.execute("ANALYZE entries").await?;
    database.execute("CHECKPOINT").await?;
    Ok(())
}

/// As long as the one of the clients over HTTP, and never the same within one log.
pub fn client_message_id(sender: usize, message: u64) -> String {
    format!("m-{sender:012x}-{message:018x}")
}

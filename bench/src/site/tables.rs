//! A Naru's tables between two measurements, while its servers run and have nothing to do.

use sqlx::{Executor, PgPool};

use crate::load::message;

/// Messages of each channel that are left, as far as it has any.
const LEFT: i32 = 5;

/// Empties the log but for the last few messages of each channel, tells the planner, and writes out what is in memory:
/// every measurement begins with tables of the same size, and no checkpoint is due. No channel's `last_seq` is touched:
/// servers and sessions know it.
pub async fn shorten_log(database: &PgPool) -> sqlx::Result<()> {
    database.execute("TRUNCATE entries").await?;
    sqlx::query(
        "INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, client_message_id)
         SELECT c.id, c.last_seq - n, gen_random_uuid(), 'message', p.user_id, now(), 'text', $2, 'old-' || n
         FROM channels c
         CROSS JOIN LATERAL (SELECT user_id FROM participants WHERE channel_id = c.id LIMIT 1) p
         CROSS JOIN generate_series(0, $1 - 1) n
         WHERE c.last_seq > n",
    )
    .bind(LEFT)
    .bind(message::content())
    .execute(database)
    .await?;
    settle(database).await
}

/// Tells the planner what there is: about a table that was empty a moment ago it knows nothing, and may keep to an index
/// that is the best one for a handful of rows. Then writes out what is in memory.
pub async fn settle(database: &PgPool) -> sqlx::Result<()> {
    database.execute("ANALYZE entries").await?;
    database.execute("CHECKPOINT").await?;
    Ok(())
}

/// How many entries there are.
pub async fn count_entries(database: &PgPool) -> anyhow::Result<u64> {
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM entries").fetch_one(database).await?;
    Ok(u64::try_from(rows)?)
}

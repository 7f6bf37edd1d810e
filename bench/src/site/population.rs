//! Made-up users and their channels.

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::Site;

/// Rows of one statement while seeding.
const SEEDED_TOGETHER: usize = 10_000;

/// Users, and channels of some of them. A channel's members are neighbours: channel `c` of `m` members has the users
/// `c * m` to `c * m + m - 1`, so nobody is in two.
pub struct Population {
    pub users: Vec<User>,
    pub channels: Vec<Channel>,
}

#[derive(Debug, Clone)]
pub struct User {
    pub id: String,
    pub token: String,
}

#[derive(Debug, Clone)]
pub struct Channel {
    pub id: Uuid,
    /// Positions in [`Population::users`].
    pub members: std::ops::Range<usize>,
}

impl Population {
    /// `channels` groups of `members` each, written straight into the database of a private cluster.
    pub async fn seed(
        site: &Site,
        database: &PgPool,
        channels: usize,
        members: usize,
    ) -> anyhow::Result<Self> {
        let users = users(site, channels * members)?;
        let ids: Vec<Uuid> = (0..channels).map(|_| Uuid::now_v7()).collect();
        for (lot, ids) in ids.chunks(SEEDED_TOGETHER).enumerate() {
            seed_channels(database, ids, lot * SEEDED_TOGETHER * members, members).await?;
        }
        sqlx::query("ANALYZE channels, participants").execute(database).await?;
        Ok(Self { users, channels: in_order(&ids, members) })
    }

    /// The same through the API of a deployment, as the host's back end makes channels.
    pub async fn create(site: &Site, channels: usize, members: usize) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Created {
            id: Uuid,
        }
        let users = users(site, channels * members)?;
        let service = site.tokens.of_service()?;
        let client = reqwest::Client::new();
        let mut ids = Vec::with_capacity(channels);
        for channel in 0..channels {
            let member_ids: Vec<&str> =
                users[channel * members..][..members].iter().map(|user| user.id.as_str()).collect();
            let answer = client
                .post(format!("{}/channels", site.api(channel)))
                .bearer_auth(&service)
                .json(&json!({"kind": "group", "memberIds": member_ids, "name": "bench"}))
                .send()
                .await
                .context("the deployment does not answer")?;
            let status = answer.status();
            if !status.is_success() {
                bail!("POST /channels answered {status}: {}", answer.text().await.unwrap_or_default());
            }
            ids.push(answer.json::<Created>().await?.id);
        }
        Ok(Self { users, channels: in_order(&ids, members) })
    }
}

fn users(site: &Site, count: usize) -> anyhow::Result<Vec<User>> {
    let named = site.tokens.users();
    if let Some(named) = &named
        && named.len() < count
    {
        bail!("this scenario needs the tokens of {count} users, and there are {}", named.len());
    }
    (0..count)
        .map(|index| {
            let id = named.as_ref().map_or_else(|| user_id(index), |named| named[index].clone());
            Ok(User { token: site.tokens.of(&id)?, id })
        })
        .collect()
}

fn user_id(index: usize) -> String {
    format!("bench-{index:07}")
}

fn in_order(ids: &[Uuid], members: usize) -> Vec<Channel> {
    let channel =
        |(index, id): (usize, &Uuid)| Channel { id: *id, members: index * members..(index + 1) * members };
    ids.iter().enumerate().map(channel).collect()
}

async fn seed_channels(
    database: &PgPool,
    ids: &[Uuid],
    first_user: usize,
    members: usize,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO channels (id, kind, name, created_at, updated_at)
         SELECT id, 'group', 'bench', now(), now() FROM unnest($1::uuid[]) AS ids (id)",
    )
    .bind(ids)
    .execute(database)
    .await?;
    sqlx::query(
        "INSERT INTO participants (channel_id, user_id, role, joined_at, joined_seq, read_seq)
         SELECT id, 'bench-' || lpad(($2 + (n - 1) * $3 + m)::text, 7, '0'),
                CASE m WHEN 0 THEN 'owner' ELSE 'member' END, now(), 0, 0
         FROM unnest($1::uuid[]) WITH ORDINALITY AS ids (id, n), generate_series(0, $3 - 1) AS members (m)",
    )
    .bind(ids)
    .bind(i64::try_from(first_user)?)
    .bind(i64::try_from(members)?)
    .execute(database)
    .await?;
    Ok(())
}

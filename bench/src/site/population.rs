//! Made-up users and their channels.

use std::ops::Range;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::Site;

/// Rows of one statement while seeding.
const SEEDED_TOGETHER: usize = 10_000;

/// Users, and channels of some of them. A channel's members are neighbours: channel `c` of `m` members has the users
/// `c * m` to `c * m + m - 1`, so nobody is in two; where there are fewer users than that, their numbers begin again.
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
    pub members: Range<usize>,
}

impl Population {
    /// `channels` groups of `members` each, written straight into the database of a private cluster.
    pub async fn seed(
        site: &Site,
        database: &PgPool,
        channels: usize,
        members: usize,
    ) -> anyhow::Result<Self> {
        Self::seed_among(site, database, channels, members, 0..channels * members).await
    }

    /// As many channels among the users with these numbers only, of whom there are a multiple of `members`: some ten
    /// thousand channels a second.
    pub async fn seed_among(
        site: &Site,
        database: &PgPool,
        channels: usize,
        members: usize,
        among: Range<usize>,
    ) -> anyhow::Result<Self> {
        if among.is_empty() || !among.len().is_multiple_of(members) {
            bail!("{} users do not make whole channels of {members}", among.len());
        }
        let users = users(site, among.clone())?;
        let ids: Vec<Uuid> = (0..channels).map(|_| Uuid::now_v7()).collect();
        for (lot, ids) in ids.chunks(SEEDED_TOGETHER).enumerate() {
            seed_channels(database, ids, lot * SEEDED_TOGETHER, members, &among).await?;
        }
        // What autovacuum would do, and write, while we measure.
        sqlx::query("VACUUM (ANALYZE) channels, participants").execute(database).await?;
        Ok(Self { channels: in_order(&ids, members, users.len()), users })
    }

    /// How many channels have different users; after them the same members come again.
    pub fn homes(&self) -> usize {
        let first = self.channels.first().map(|channel| channel.members.start);
        let again = self.channels.iter().skip(1).position(|channel| Some(channel.members.start) == first);
        again.map_or(self.channels.len(), |skipped| skipped + 1)
    }

    /// The same through the API of a deployment, as the host's back end makes channels.
    pub async fn create(site: &Site, channels: usize, members: usize) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Created {
            id: Uuid,
        }
        let users = users(site, 0..channels * members)?;
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
        Ok(Self { channels: in_order(&ids, members, users.len()), users })
    }
}

/// The users with these numbers, with a token each. Whether they are in a channel is another matter.
pub fn users(site: &Site, numbers: Range<usize>) -> anyhow::Result<Vec<User>> {
    let named = site.tokens.users();
    if let Some(named) = &named
        && named.len() < numbers.end
    {
        bail!("this scenario needs the tokens of {} users, and there are {}", numbers.end, named.len());
    }
    numbers
        .map(|index| {
            let id = named.as_ref().map_or_else(|| user_id(index), |named| named[index].clone());
            Ok(User { token: site.tokens.of(&id)?, id })
        })
        .collect()
}

pub fn user_id(index: usize) -> String {
    format!("bench-{index:07}")
}

fn in_order(ids: &[Uuid], members: usize, users: usize) -> Vec<Channel> {
    let channel = |(index, id): (usize, &Uuid)| {
        let first = (index * members) % users;
        Channel { id: *id, members: first..first + members }
    };
    ids.iter().enumerate().map(channel).collect()
}

/// `first` is the number of the first of these channels among all.
async fn seed_channels(
    database: &PgPool,
    ids: &[Uuid],
    first: usize,
    members: usize,
    among: &Range<usize>,
) -> anyhow::Result<()> {
    let mut transaction = database.begin().await?;
    // Without foreign keys' checks, which take most of the time: a private cluster's user may do that.
    sqlx::query("SET LOCAL session_replication_role = replica").execute(&mut *transaction).await?;
    sqlx::query(
        "INSERT INTO channels (id, kind, name, created_at, updated_at)
         SELECT id, 'group', 'bench', now(), now() FROM unnest($1::uuid[]) AS ids (id)",
    )
    .bind(ids)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO participants (channel_id, user_id, role, joined_at, joined_seq, read_seq)
         SELECT id, 'bench-' || lpad(($4 + (($2 + n - 1) * $3 + m) % $5)::text, 7, '0'),
                CASE m WHEN 0 THEN 'owner' ELSE 'member' END, now(), 0, 0
         FROM unnest($1::uuid[]) WITH ORDINALITY AS ids (id, n), generate_series(0, $3 - 1) AS members (m)",
    )
    .bind(ids)
    .bind(i64::try_from(first)?)
    .bind(i64::try_from(members)?)
    .bind(i64::try_from(among.start)?)
    .bind(i64::try_from(among.len())?)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_begin_again_where_there_are_fewer_users_than_places() {
        let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
        let channels = in_order(&ids, 2, 4);
        let firsts: Vec<usize> = channels.iter().map(|channel| channel.members.start).collect();
        assert_eq!(firsts, [0, 2, 0, 2, 0]);
        assert_eq!(Population { users: Vec::new(), channels }.homes(), 2);
        assert_eq!(Population { users: Vec::new(), channels: in_order(&ids, 2, 10) }.homes(), 5);
    }
}

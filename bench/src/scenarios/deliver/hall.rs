//! A hall full of listeners: a thousand sessions of a Naru or of the tutorial's, who talk in tens and in twos.

use anyhow::Context;
use sqlx::PgPool;

use crate::effort::Effort;
use crate::floors::tutorial::Tutorial;
use crate::load::audience::Audience;
use crate::load::senders::Pace;
use crate::load::trial::{Arena, Trial};
use crate::site::Site;
use crate::site::cluster::Cluster;
use crate::site::ground::Ground;
use crate::site::population::Population;

/// As many sessions as a hundred channels of ten have.
const CHANNELS: usize = 100;
const CHANNELS_WHEN_SMALL: usize = 30;
/// A channel for each of the few clients.
const CHANNELS_OF_TWO: usize = 64;

pub struct Hall<'a> {
    name: &'static str,
    site: &'a Site,
    of_ten: Population,
    /// Among the same users.
    of_two: Population,
    audience: Audience,
    database: Option<&'a PgPool>,
    cluster: Option<&'a Cluster>,
}

impl<'a> Hall<'a> {
    pub async fn of_naru(ground: &'a Ground, effort: &Effort) -> anyhow::Result<Self> {
        let of_ten = ground.populate(channels(effort), 10).await?;
        let of_two = ground.populate(CHANNELS_OF_TWO, 2).await?;
        let audience = Audience::connect(&ground.site, &of_ten.users).await?;
        let (database, cluster) = (ground.database(), ground.cluster.as_ref());
        Ok(Self { name: "Naru", site: &ground.site, of_ten, of_two, audience, database, cluster })
    }

    pub async fn of_tutorial(tutorial: &'a Tutorial, effort: &Effort) -> anyhow::Result<Self> {
        let (site, database) = (&tutorial.site, &tutorial.database);
        let of_ten = Population::seed(site, database, channels(effort), 10).await?;
        let of_two = Population::seed(site, database, CHANNELS_OF_TWO, 2).await?;
        let audience = Audience::connect(site, &of_ten.users).await?;
        let (name, database) = ("the tutorial's way", Some(database));
        Ok(Self { name, site, of_ten, of_two, audience, database, cluster: None })
    }

    pub async fn of_ten(&self, effort: &Effort, clients: usize, pace: Pace) -> anyhow::Result<Trial> {
        self.trial(&self.of_ten, effort, clients, pace).await
    }

    pub async fn of_two(&self, effort: &Effort, clients: usize, pace: Pace) -> anyhow::Result<Trial> {
        self.trial(&self.of_two, effort, clients, pace).await
    }

    /// Open loop: every user of the hall sends, each over a connection of its own.
    pub async fn at_half_of(&self, highest: &Trial, effort: &Effort) -> anyhow::Result<Trial> {
        self.of_ten(effort, self.of_ten.users.len(), highest.share(0.5)).await
    }

    pub async fn break_in(&self, effort: &Effort, clients: usize) -> anyhow::Result<()> {
        self.arena(&self.of_ten).break_in(effort, clients).await?;
        self.arena(&self.of_two).break_in(effort, clients).await
    }

    async fn trial(
        &self,
        population: &Population,
        effort: &Effort,
        clients: usize,
        pace: Pace,
    ) -> anyhow::Result<Trial> {
        let arena = self.arena(population);
        arena.begin_anew().await?;
        arena.trial(effort, clients, pace).await.context(self.name)
    }

    fn arena<'b>(&'b self, population: &'b Population) -> Arena<'b> {
        Arena {
            site: self.site,
            population,
            audience: Some(&self.audience),
            database: self.database,
            cluster: self.cluster,
        }
    }
}

fn channels(effort: &Effort) -> usize {
    effort.size(CHANNELS, CHANNELS_WHEN_SMALL)
}

//! One size of a Naru: so many channels, and so many gateways that its sessions are on.

use crate::effort::Effort;
use crate::load::audience::Audience;
use crate::load::senders::Pace;
use crate::load::trial::{Arena, Trial};
use crate::site::Site;
use crate::site::cluster::Cluster;
use crate::site::population::Population;

/// Who talks and listens, whatever the size is: what grows is only what they talk in.
const USERS: usize = 500;
/// With so many channels of two there is one of ten.
const TWOS_FOR_A_TEN: usize = 10;
/// As many channels of ten at least, which is also how many of two the smallest size has.
const FEWEST_CHANNELS: usize = 100;

/// The load of `send`, and that of `deliver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OfTwo,
    OfTen,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::OfTwo, Self::OfTen];

    pub fn members(self) -> usize {
        match self {
            Self::OfTwo => 2,
            Self::OfTen => 10,
        }
    }

    fn users(self) -> usize {
        match self {
            // A hundred channels have no more.
            Self::OfTwo => 2 * FEWEST_CHANNELS,
            Self::OfTen => USERS,
        }
    }
}

pub struct Variant<'a> {
    pub channels: usize,
    pub gateways: usize,
    cluster: &'a Cluster,
    site: Site,
    of_two: Population,
    of_ten: Population,
    audience: Audience,
}

impl<'a> Variant<'a> {
    /// Of the cluster's gateways only the first so many are used. Variants of one cluster have their own `number`, and by
    /// it their own users.
    pub async fn seed(
        cluster: &'a Cluster,
        channels: usize,
        gateways: usize,
        number: usize,
    ) -> anyhow::Result<Self> {
        let mut site = cluster.site();
        site.gateways.truncate(gateways);
        let first = number * USERS;
        let seed = async |kind: Kind, channels| {
            let among = first..first + kind.users();
            Population::seed_among(&site, &cluster.database, channels, kind.members(), among).await
        };
        let of_two = seed(Kind::OfTwo, channels).await?;
        let of_ten = seed(Kind::OfTen, (channels / TWOS_FOR_A_TEN).max(FEWEST_CHANNELS)).await?;
        let audience = Audience::connect(&site, &of_ten.users).await?;
        Ok(Self { channels, gateways, cluster, site, of_two, of_ten, audience })
    }

    pub async fn break_in(&self, effort: &Effort) -> anyhow::Result<()> {
        for kind in Kind::ALL {
            self.arena(kind).break_in(effort, kind.users()).await?;
        }
        Ok(())
    }

    /// Every user sends, to all of their channels of this kind. The log stays from trial to trial: with many channels
    /// each has only few messages.
    pub async fn trial(&self, kind: Kind, effort: &Effort, pace: Pace) -> anyhow::Result<Trial> {
        self.arena(kind).trial(effort, kind.users(), pace).await
    }

    fn arena(&self, kind: Kind) -> Arena<'_> {
        let population = match kind {
            Kind::OfTwo => &self.of_two,
            Kind::OfTen => &self.of_ten,
        };
        Arena {
            site: &self.site,
            population,
            audience: Some(&self.audience),
            database: Some(&self.cluster.database),
            cluster: Some(self.cluster),
        }
    }
}

//! What a scenario that runs anywhere stands on: its own cluster, or the deployment.

use sqlx::PgPool;

use super::cluster::{Cluster, ClusterSpec};
use super::population::Population;
use super::{Place, Site};

pub struct Ground {
    pub site: Site,
    /// `None` on a deployment, into which nobody can see.
    pub cluster: Option<Cluster>,
}

impl Ground {
    /// Starts a cluster if there is none to go to.
    pub async fn at(place: &Place) -> anyhow::Result<Self> {
        match place {
            Place::Local => {
                let cluster = Cluster::start(&ClusterSpec::default()).await?;
                Ok(Self { site: cluster.site(), cluster: Some(cluster) })
            }
            Place::Deployment(site) => Ok(Self { site: site.clone(), cluster: None }),
        }
    }

    /// `channels` of `members` each. Populations of one ground share their users, from the first on.
    pub async fn populate(&self, channels: usize, members: usize) -> anyhow::Result<Population> {
        match self.database() {
            Some(database) => Population::seed(&self.site, database, channels, members).await,
            None => Population::create(&self.site, channels, members).await,
        }
    }

    pub fn database(&self) -> Option<&PgPool> {
        self.cluster.as_ref().map(|cluster| &cluster.database)
    }
}

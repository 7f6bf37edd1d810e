//! Participants of channels, cached under the version of the membership: always right, never invalidated.

use std::collections::HashMap;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use shared_types::{ChannelId, UserId};

use crate::store::{Participants, Store, StoreError};

/// Members of all cached channels together; one takes about 50 bytes.
const MAX_CACHED_MEMBERS: u64 = 1_000_000;
/// A guess for the cache's tables: channels are small.
const EXPECTED_CHANNELS: usize = 50_000;

pub(super) struct ParticipantCache {
    store: Arc<dyn Store>,
    cache: Cache<ChannelId, Arc<Participants>, ByMembers>,
}

#[derive(Clone)]
struct ByMembers;

impl Weighter<ChannelId, Arc<Participants>> for ByMembers {
    fn weight(&self, _: &ChannelId, participants: &Arc<Participants>) -> u64 {
        participants.members.len().max(1) as u64
    }
}

impl ParticipantCache {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, cache: Cache::with_weighter(EXPECTED_CHANNELS, MAX_CACHED_MEMBERS, ByMembers) }
    }

    /// A version of the channel's membership under which the user is known to take part.
    pub(super) fn known_membership(&self, channel: ChannelId, user: &UserId) -> Option<i64> {
        let known = self.cache.get(&channel)?;
        known.contains(user).then_some(known.version)
    }

    /// The participants of each channel, of the version given or a later one; all that are not cached in one
    /// statement. A later version is right as well: who has left must not get the entry any more.
    pub(super) async fn get(
        &self,
        wanted: &[(ChannelId, i64)],
    ) -> Result<Vec<Option<Arc<Participants>>>, StoreError> {
        let cached = wanted
            .iter()
            .map(|(channel, version)| self.cache.get(channel).filter(|cached| cached.version >= *version))
            .collect();
        self.complete(cached, wanted).await
    }

    /// As [`ParticipantCache::get`], as the database has them now.
    pub(super) async fn get_anew(
        &self,
        wanted: &[(ChannelId, i64)],
    ) -> Result<Vec<Option<Arc<Participants>>>, StoreError> {
        self.complete(vec![None; wanted.len()], wanted).await
    }

    async fn complete(
        &self,
        mut found: Vec<Option<Arc<Participants>>>,
        wanted: &[(ChannelId, i64)],
    ) -> Result<Vec<Option<Arc<Participants>>>, StoreError> {
        let mut missing: Vec<ChannelId> = wanted
            .iter()
            .zip(&found)
            .filter(|(_, cached)| cached.is_none())
            .map(|((channel, _), _)| *channel)
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable();
        missing.dedup();
        let mut read = HashMap::with_capacity(missing.len());
        for (channel, participants) in self.store.participants(&missing).await? {
            let participants = Arc::new(participants);
            self.cache.insert(channel, participants.clone());
            read.insert(channel, participants);
        }
        for (slot, (channel, _)) in found.iter_mut().zip(wanted) {
            if slot.is_none() {
                *slot = read.get(channel).cloned();
            }
        }
        Ok(found)
    }
}

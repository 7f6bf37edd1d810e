//! A hash for channels in maps that every delivery looks into.

use std::hash::{BuildHasherDefault, Hasher};

/// Channels are made by api-servers, most of their bits at random: nobody can choose ids that collide.
pub(crate) type ChannelHash = BuildHasherDefault<ChannelHasher>;

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ChannelHasher(u64);

impl Hasher for ChannelHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // An odd number without a pattern (2^64 / the golden ratio); folded, every bit depends on every other.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product ^ (product >> 64)) as u64;
    }

    fn write_usize(&mut self, _length: usize) {
        // The same for every channel.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use shared_types::ChannelId;

    use super::*;

    #[test]
    fn channels_that_differ_little_have_buckets_of_their_own() {
        let hash = ChannelHash::default();
        for shift in [0, 64, 100] {
            let ids = (0..1_000_u128).map(|n| format!("{:032x}", n << shift).parse::<ChannelId>().unwrap());
            let buckets: HashSet<u64> = ids.map(|id| hash.hash_one(id) % 65_536).collect();
            assert!(buckets.len() > 950, "{} buckets", buckets.len());
        }
    }
}

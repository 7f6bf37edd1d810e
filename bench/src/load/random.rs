//! Random numbers that are the same in every run.

/// splitmix64, by Steele, Lea and Flood (2014): a few instructions, and good enough for a load.
pub struct Random(u64);

/// The constant of splitmix64, which also keeps the seeds of neighbours apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The same `seed` gives the same numbers.
    pub fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(GOLDEN))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, at most 1.
    pub fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    /// Below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The remainder's bias is of no account for bounds that fit a machine's memory.
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }
}

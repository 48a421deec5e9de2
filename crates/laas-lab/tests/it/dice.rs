//! Random numbers that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Random numbers, the same ones for the same seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Self {
        println!("LAAS_SEED={seed}");
        Self(seed)
    }

    /// Prints the seed, which a failed test shows.
    pub fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self::of(std::env::var("LAAS_SEED").map_or(now.as_nanos() as u64, |seed| seed.parse().unwrap()))
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// One of these; there has to be one.
    pub fn pick<T>(&mut self, items: impl IntoIterator<Item = T>) -> T {
        let mut items: Vec<T> = items.into_iter().collect();
        let at = self.below(items.len() as u64);
        items.swap_remove(at as usize)
    }
}

//! Philox4x32-10, a random number generator without a state: Salmon, Moraes, Dror and Shaw,
//! "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
//!
//! In: a key and a counter. Out: 128 random bits that depend on nothing else, so that elements of an
//! array can be drawn in any order.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The random words of a counter.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut words, mut key) = (counter, key);
    for _ in 0..ROUNDS {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(words[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(words[2]);
        words = [
            (second >> 32) as u32 ^ words[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ words[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    words
}

/// A sequence of 64 random bits for each position; `seed` and `stream` choose the sequence.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// Chosen by the user.
    pub seed: u64,
    /// Different for different uses of a seed.
    pub stream: u32,
}

impl Sequence {
    /// Calls `each` with the bits at these positions, in order.
    pub fn bits(self, positions: std::ops::Range<u64>, mut each: impl FnMut(u64)) {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let mut at = positions.start;
        while at < positions.end {
            // A block of 128 bits serves two positions.
            let block = at / 2;
            let counter = [block as u32, (block >> 32) as u32, self.stream, 0];
            let words = philox4x32(counter, key);
            let pair = [0, 2].map(|low| u64::from(words[low]) | u64::from(words[low + 1]) << 32);
            if at.is_multiple_of(2) {
                each(pair[0]);
                at += 1;
            }
            if at < positions.end {
                each(pair[1]);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answers_of_random123_come_out() {
        // Random123's tests/kat_vectors
        let zeros = philox4x32([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox4x32([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let pi = philox4x32(counter, [0xa409_3822, 0x299f_31d0]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn bits_depend_on_the_position_alone() {
        let sequence = Sequence { seed: 1 << 40 | 7, stream: 1 };
        let drawn = |positions| {
            let mut bits = vec![];
            sequence.bits(positions, |found| bits.push(found));
            bits
        };
        let all = drawn(0..41);
        for (start, end) in [(0, 41), (0, 1), (1, 2), (1, 8), (2, 7), (33, 41), (5, 5)] {
            assert_eq!(drawn(start..end), all[start as usize..end as usize]);
        }
        let far = drawn((1 << 33)..(1 << 33) + 2);
        assert!(!all.contains(&far[0]) && !all.contains(&far[1]));
    }
}

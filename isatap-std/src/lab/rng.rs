//! Random numbers that a seed repeats.

/// A small fast generator (xoshiro256++) whose whole course follows from its
/// seed, on every machine. Not for secrets.
///
/// Each node and each sender's share of the cloud's faults gets a
/// [`fork`](Rng::fork) by name, so that adding a node does not change what
/// happens to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = [0; 4];
        let mut mixer = seed;
        for word in &mut state {
            *word = split_mix(&mut mixer);
        }
        Rng { state }
    }

    /// The generator of `seed` for the one who is called `name`.
    #[must_use]
    pub fn fork(seed: u64, name: &str) -> Self {
        // FNV-1a: short, and stable across versions of the standard library.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut mixer = seed;
        Rng::new(split_mix(&mut mixer) ^ hash)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias is below 2^-32
    /// for the bounds of a lab.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_follows_from_the_seed_and_the_name() {
        // xoshiro256++ from the state (1, 2, 3, 4), by its reference code.
        let mut known = Rng { state: [1, 2, 3, 4] };
        assert_eq!([known.next_u64(), known.next_u64(), known.next_u64()], [41943041, 58720359, 3588806011781223]);
        assert_eq!(Rng::fork(7, "A").next_u64(), Rng::fork(7, "A").next_u64());
        assert_ne!(Rng::fork(7, "A").next_u64(), Rng::fork(7, "B").next_u64());
        assert_ne!(Rng::fork(7, "A").next_u64(), Rng::fork(8, "A").next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[usize::try_from(rng.below(10)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(rng.below(0), 0);
        let mut bytes = [0; 11];
        rng.fill(&mut bytes);
        assert_ne!(bytes[8..], [0; 3]);
    }
}

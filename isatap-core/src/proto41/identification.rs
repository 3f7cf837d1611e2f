//! IPv4 identifications that do not come again too soon, as far as there are
//! enough of them. [RFC 6864 §4.3]

use core::fmt;
use core::hash::Hasher;
use core::net::{Ipv4Addr, Ipv6Addr};

use siphasher::sip::{SipHasher13, SipHasher24};

use crate::capacity::{Array, Row, Storage};
use crate::prefix::halves;
use crate::time::Instant;

/// Counters of identifications, shared by the pairs of addresses that fall
/// into the same bucket.
///
/// Only packets that routers may fragment need one; others take any value.
/// Up to some 546 packets a second a bucket gives no value twice to a pair
/// within [`LIFETIME_SECS`]; the number of buckets says how many pairs can run
/// at that rate side by side. Beyond it the oldest values come again, and are
/// [counted](Self::repeated): fragments of two packets may then be taken for
/// one, which their checksums find out. A bucket takes 36 bytes.
///
/// What a pair gets is its bucket's counter shifted by a keyed hash of the
/// pair: without the seed, one pair's identifications tell nothing about
/// another's. [RFC 7739 §5]
#[derive(Clone)]
pub struct Identifications<S> {
    seed: [u64; 2],
    buckets: S,
    repeated: u32,
    /// Whether it was told that there are any.
    is_told: bool,
}

/// The longest that a datagram is thought to live, in seconds.
/// [RFC 6864 §4.2, RFC 791 §3.2]
pub const LIFETIME_SECS: u32 = 120;

impl<S: Array<Bucket>> Identifications<S> {
    /// Counters whose values cannot be guessed without `seed`, which should
    /// be random and secret; with a seed of zeros each bucket counts from
    /// zero, for tests.
    #[must_use]
    pub const fn new(seed: [u64; 2]) -> Self {
        Identifications { seed, buckets: S::EMPTY, repeated: 0, is_told: false }
    }
}

impl<S: Storage<Bucket>> Identifications<S> {
    /// [`Identifications::new`] in memory of the caller's, every bucket of
    /// which must be [`Row::EMPTY`].
    pub fn with_storage(seed: [u64; 2], storage: S) -> Self {
        Identifications { seed, buckets: storage, repeated: 0, is_told: false }
    }

    /// Replaces the seed: for machines that are constants and get their
    /// randomness later. Values given before may come again at once.
    pub fn reseed(&mut self, seed: [u64; 2]) {
        self.seed = seed;
    }

    /// The identification of the next packet from `source` to `destination`.
    /// Without any bucket, each counts as one that comes too soon.
    pub fn next(&mut self, now: Instant, source: Ipv4Addr, destination: Ipv4Addr) -> u16 {
        let [_, _, low @ ..] = self.repeated.to_be_bytes();
        if self.buckets.as_ref().is_empty() {
            // One counter for all, which begins where nobody knows.
            let [seed, _] = self.seed;
            let [.., a, b] = seed.to_be_bytes();
            self.repeated = self.repeated.wrapping_add(1);
            return u16::from_be_bytes(low).wrapping_add(u16::from_be_bytes([a, b]));
        }
        let pair = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
        let [a, b, c, d, e, f, _, _] = siphash(self.seed, pair).to_be_bytes();
        // Without a secret nothing is hidden: runs then compare byte by byte.
        let shift = if self.seed == [0; 2] { 0 } else { u16::from_be_bytes([a, b]) };
        let buckets = self.buckets.as_mut();
        let place = usize::try_from(u32::from_be_bytes([c, d, e, f])).unwrap_or(0).checked_rem(buckets.len());
        let (value, is_repeated) = match place.and_then(|place| buckets.get_mut(place)) {
            Some(bucket) => bucket.next(now),
            None => (u16::from_be_bytes(low), true),
        };
        // TUN-7 [RFC 6864 §5.2]: more of them than there are values in a lifetime should not be sent.
        // Who has to send them loses fewer when a fragment is mistaken than when the tunnel stops.
        self.repeated = self.repeated.wrapping_add(is_repeated.into());
        value.wrapping_add(shift)
    }

    /// How many were given that the same pair may have had less than a
    /// lifetime before. `TUN-7`
    #[must_use]
    pub const fn repeated(&self) -> u32 {
        self.repeated
    }

    /// Whether it is to be told, once, that values were repeated: of who has no
    /// buckets nothing else is known.
    pub(crate) fn has_news(&self) -> bool {
        self.repeated > 0 && !self.is_told && !self.buckets.as_ref().is_empty()
    }

    /// It was told.
    pub(crate) fn set_told(&mut self) {
        self.is_told = true;
    }
}

impl<S: Storage<Bucket>> fmt::Debug for Identifications<S> {
    /// Without the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifications({} buckets)", self.buckets.as_ref().len())
    }
}

/// A counter whose range is cut into blocks: one that is begun again within a
/// lifetime of its last use repeats values. It is always the one whose last use
/// is the longest ago.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    next: u16,
    /// Whether the block was begun too soon.
    repeats: bool,
    /// The tick after the last use of each block; zero: never used.
    used: [u32; BLOCKS],
}

impl Row for Bucket {
    const EMPTY: Self = Bucket { next: 0, repeats: false, used: [0; BLOCKS] };
}

/// The more there are, the less of the range waits for a block's last value.
const BLOCKS: usize = 8;
/// Bits of a microsecond count below a tick's: 1.05 s.
const TICK_BITS: u32 = 20;
/// [`LIFETIME_SECS`] in ticks, rounded up.
const LIFETIME_TICKS: u32 = 115;
/// Bits of the counter that count inside a block.
const BLOCK_BITS: u32 = 13;

impl Bucket {
    /// The next value, and whether it may come too soon.
    fn next(&mut self, now: Instant) -> (u16, bool) {
        let next = self.next;
        self.next = next.wrapping_add(1);
        // Not seconds, which small chips would have to divide for.
        let tick = u32::try_from(now.micros() >> TICK_BITS).unwrap_or(u32::MAX).saturating_add(1);
        if let Some(used) = self.used.get_mut(usize::from(next >> BLOCK_BITS)) {
            if next.trailing_zeros() >= BLOCK_BITS {
                self.repeats = *used != 0 && tick < used.saturating_add(LIFETIME_TICKS).saturating_add(1);
            }
            *used = tick.max(*used);
        }
        (next, self.repeats)
    }
}

/// SipHash-2-4 of one 64-bit word.
#[inline]
pub(crate) fn siphash([k0, k1]: [u64; 2], word: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(k0, k1);
    hasher.write_u64(word);
    hasher.finish()
}

/// SipHash-1-3 of an address: enough to hide places in a table.
#[inline]
pub(crate) fn hash_address([k0, k1]: [u64; 2], address: &Ipv6Addr) -> u64 {
    let (high, low) = halves(address);
    let mut hasher = SipHasher13::new_with_keys(k0, k1);
    hasher.write_u64(high);
    hasher.write_u64(low);
    hasher.finish()
}

/// Hides the places of addresses in a table: two folded products with four
/// secret words, which cost a tenth of what SipHash does.
///
/// It is asked for each packet, and all that its values can show is who shares a
/// place with whom. What must not be guessed from what is seen, such as the secret
/// sources of `TER-102`, is [`hash_address`]'s, and its key cannot be found out
/// here: these words are values of that hash.
#[derive(Clone, Copy)]
pub(crate) struct PlaceKey([u64; 4]);

impl PlaceKey {
    /// Until one was drawn: digits of pi.
    pub(crate) const PUBLIC: PlaceKey =
        PlaceKey([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);

    pub(crate) fn derive(key: [u64; 2]) -> Self {
        // No peer's address and no secret source's.
        let word = |number: u128| hash_address(key, &Ipv6Addr::from_bits(number));
        PlaceKey([word(1), word(2), word(3), word(4)])
    }

    /// The place of an address among so many.
    #[inline]
    pub(crate) fn place(&self, address: &Ipv6Addr, len: usize) -> usize {
        let ([a, b, c, d], (high, low)) = (self.0, halves(address));
        let hash = folded(folded(high ^ a, low ^ b) ^ c, d);
        // The upper half of a product instead of a remainder: no division.
        let (_, place) = hash.carrying_mul(u64::try_from(len).unwrap_or(0), 0);
        usize::try_from(place).unwrap_or(0)
    }
}

/// The halves of the product, one over the other.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    low ^ high
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    type One = Identifications<[Bucket; 1]>;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn tun_7_every_value_once_and_then_the_oldest_counted() {
        let mut source = One::new([1, 2]);
        let mut seen = [false; 65536];
        let start = Instant::from_micros(5_999_999);
        for _ in 0..65536 {
            let value = source.next(start, A, B);
            assert!(!std::mem::replace(&mut seen[usize::from(value)], true));
        }
        assert_eq!(source.repeated(), 0);
        for secs in [5, 6, 125] {
            let mut again = source.clone();
            let value = again.next(Instant::from_secs(secs), A, B);
            assert_eq!(value, source.clone().next(start, A, B), "the oldest");
            assert_eq!(again.repeated(), 1, "{secs}");
        }
        // The time is counted in steps of a second.
        source.next(Instant::from_secs(128), A, B);
        assert_eq!(source.repeated(), 0, "a lifetime later it is a new one");
    }

    #[test]
    fn tun_7_two_hundred_thousand_packets_at_once_all_get_one() {
        let mut source = One::new([1, 2]);
        for _ in 0..200_000 {
            source.next(Instant::from_secs(5), A, B);
        }
        assert_eq!(source.repeated(), 200_000 - 65_536);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever the rhythm, no pair gets a value again within the lifetime
        /// without its being counted. The model keeps the time of every value.
        #[test]
        fn tun_7_no_value_twice_within_the_lifetime_uncounted(
            seed: [u64; 2], bursts in prop::collection::vec((1_u32..20_000, 0_u64..60_000_000), 1..60),
        ) {
            let mut source = One::new(seed);
            let mut last = std::vec![std::vec![None; 65536]; 3];
            let mut now = 0;
            for (count, wait) in bursts {
                for packet in 0..count {
                    let destination = Ipv4Addr::from(u32::from(B) + packet % 3);
                    let counted = source.repeated();
                    let value = source.next(Instant::from_micros(now), A, destination);
                    let before = last[packet as usize % 3][usize::from(value)].replace(now);
                    if let (Some(before), true) = (before, counted == source.repeated()) {
                        prop_assert!(now - before >= 120_000_000, "{} again after {} us", value, now - before);
                    }
                    now += 7;
                }
                now += wait;
            }
        }
    }

    #[test]
    fn tun_7_a_rate_below_seven_eighths_repeats_none() {
        let mut source = One::new([3, 4]);
        // 57344 values in 122 seconds: what a block waits for at most.
        let step = 122_000_000 / 57_344 + 1;
        for packet in 0..300_000 {
            source.next(Instant::from_micros(packet * step), A, B);
        }
        assert_eq!(source.repeated(), 0);
    }

    #[test]
    fn sec_14_pairs_and_seeds_do_not_tell_about_each_other() {
        let mut source = One::new([5, 6]);
        let mut other = One::new([5, 7]);
        let value = source.next(Instant::ZERO, A, B);
        assert_ne!(source.next(Instant::ZERO, B, A), value.wrapping_add(1));
        assert_ne!(other.next(Instant::ZERO, A, B), value);
    }

    #[test]
    fn a_clock_that_goes_back_is_no_new_lifetime() {
        let mut source = One::new([0, 0]);
        for _ in 0..65536 {
            source.next(Instant::from_secs(1000), A, B);
        }
        source.next(Instant::ZERO, A, B);
        assert_eq!(source.repeated(), 1);
    }

    #[test]
    fn tun_7_without_a_bucket_each_counts_as_repeated() {
        let mut none = Identifications::<[Bucket; 0]>::new([0, 0]);
        let values = [(); 3].map(|()| none.next(Instant::ZERO, A, B));
        assert_eq!((values, none.repeated()), ([0, 1, 2], 3));
        static CONSTANT: One = One::new([0, 0]);
        assert_eq!(CONSTANT.clone().next(Instant::ZERO, A, B), 0);
    }

    #[test]
    fn the_hash_is_siphash() {
        // From the reference implementation's table: key 00..0f, the eight
        // bytes 00..07.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(siphash(key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }
}

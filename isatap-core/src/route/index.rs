//! Which rows a lookup has to look at.
//!
//! For short tables the price of a lookup is the branches that the processor
//! cannot foresee: which rows miss, and where the scan ends. So a few bits of
//! the destination choose a bucket, and each bucket has one bit a row: set if
//! a destination of that bucket may lie in the row's prefix. What is left to
//! look at is a row or two. Where the bits tell nothing apart, the rows are
//! scanned one after the other, as without an index.
//!
//! The words lie in the slots of the table, one in each, so that the index
//! grows with its storage: word `w` of bucket `b`, for the rows from `64 w`
//! on, in the slot `w * buckets + b`.

use core::net::Ipv6Addr;

use crate::packet::LinkId;
use crate::prefix::{Ipv6Prefix, halves};
use crate::route::slot::Slot;

/// Rows that a word has bits for.
const WORD: usize = 64;
/// Buckets at most: 6 bits of the destination.
const BUCKETS: usize = 64;

/// Where the bits that choose the bucket lie, in the upper half.
#[derive(Clone, Copy)]
pub(super) struct Index {
    shift: u8,
    /// Ones for as many bits: the number of buckets, a power of two, less one.
    mask: u8,
}

impl Index {
    /// The index of a table without rows.
    pub(super) const EMPTY: Index = Index { shift: 0, mask: 0 };

    /// Writes the index that has lookups scan the first `live` rows: a word
    /// for each 64 of them.
    pub(super) fn scan(slots: &mut [Slot], live: usize) -> Index {
        let mut left = live;
        for slot in slots.iter_mut().take(live.div_ceil(WORD)) {
            let rows = u32::try_from(left.min(WORD)).unwrap_or(0);
            slot.candidates = u64::MAX.checked_shr(u64::BITS.saturating_sub(rows)).unwrap_or(0);
            left = left.saturating_sub(WORD);
        }
        Index::EMPTY
    }

    /// Whether it tells no rows apart.
    pub(super) const fn is_scan(self) -> bool {
        self.mask == 0
    }

    /// Writes the index of the first `live` rows into all of `slots`, with
    /// the bits that tell the rows apart best.
    pub(super) fn build(slots: &mut [Slot], live: usize) -> Index {
        let words = live.div_ceil(WORD);
        let room = slots.len().checked_div(words).unwrap_or(1).clamp(1, BUCKETS);
        let mut index = Index::EMPTY;
        while index.buckets() <= room >> 1 {
            index.mask = index.mask << 1 | 1;
        }
        let mut least = u32::MAX;
        let shifts = u8::try_from(index.mask.leading_zeros()).unwrap_or(0).saturating_add(56);
        for shift in (0..shifts).rev().step_by(2) {
            let tried = Index { shift, ..index };
            let cost = tried.cost(slots, live);
            if cost < least {
                least = cost;
                index.shift = shift;
            }
        }
        for slot in slots.iter_mut() {
            slot.candidates = 0;
        }
        for row in 0..live {
            let Some(prefix) = slots.get(row).map(|slot| slot.route.prefix) else { break };
            let (start, bit) = index.place_of(row);
            for bucket in index.buckets_of(&prefix) {
                if let Some(slot) = slots.get_mut(start.saturating_add(bucket)) {
                    slot.candidates |= bit;
                }
            }
        }
        index
    }

    /// The first of the first `live` rows that matches.
    #[inline]
    pub(super) fn first_match<'a>(
        self,
        slots: &'a [Slot],
        live: usize,
        destination: &Ipv6Addr,
        link: Option<LinkId>,
    ) -> Option<(usize, &'a Slot)> {
        let halves = halves(destination);
        let mut place = self.bucket_of(halves.0);
        let mut first = 0_usize;
        while first < live {
            let mut candidates = slots.get(place)?.candidates;
            while candidates != 0 {
                let row = first.wrapping_add(usize::try_from(candidates.trailing_zeros()).ok()?);
                let slot = slots.get(row)?;
                if slot.is_match(halves, link) {
                    return Some((row, slot));
                }
                candidates &= candidates.wrapping_sub(1);
            }
            first = first.wrapping_add(WORD);
            place = place.wrapping_add(self.buckets());
        }
        None
    }

    /// The slot of the first bucket's word for a row, and the row's bit.
    fn place_of(self, row: usize) -> (usize, u64) {
        let bit = u32::try_from(row & WORD.saturating_sub(1)).unwrap_or(0);
        (row.div_euclid(WORD).saturating_mul(self.buckets()), 1_u64.wrapping_shl(bit))
    }

    #[inline]
    fn bucket_of(self, high: u64) -> usize {
        usize::try_from(high.wrapping_shr(self.shift.into()) & u64::from(self.mask)).unwrap_or(0)
    }

    #[inline]
    fn buckets(self) -> usize {
        usize::from(self.mask).wrapping_add(1)
    }

    /// The buckets of the destinations in a prefix: its own bits, then all
    /// zeros to all ones.
    fn buckets_of(self, prefix: &Ipv6Prefix) -> core::ops::RangeInclusive<usize> {
        self.bucket_of(prefix.high())..=self.bucket_of(prefix.high() | !prefix.high_mask())
    }

    /// How badly the rows are spread: the sum of the squares of the buckets'
    /// rows.
    fn cost(self, slots: &[Slot], live: usize) -> u32 {
        let mut rows = [0_u32; BUCKETS];
        for slot in slots.iter().take(live) {
            for count in rows.get_mut(self.buckets_of(&slot.route.prefix)).unwrap_or(&mut []) {
                *count = count.saturating_add(1);
            }
        }
        rows.iter().fold(0, |sum, &count| sum.saturating_add(count.saturating_mul(count)))
    }
}

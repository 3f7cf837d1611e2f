//! Lookups with the processor's vectors: one or two comparisons a node, 32 lookups under way at a time.

use super::BoxedFib;
use isatap_core::route::Node;
use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_prefetch, _mm256_castsi256_pd, _mm256_cmpgt_epi64, _mm256_loadu_si256,
    _mm256_movemask_pd, _mm256_set1_epi64x, _mm256_xor_si256, _mm512_cmple_epu64_mask, _mm512_cmplt_epu64_mask,
    _mm512_loadu_epi64, _mm512_set1_epi64,
};
use std::net::Ipv6Addr;

const LANES: usize = 32;
/// Range starts of a leaf, the first apart: its bits in a comparison.
const LATER_STARTS: u8 = 0b1_1110;
/// The shift of a start that has a tree of its own.
const SECOND_LEVEL: u64 = 63;

/// Vectors of eight words, or of four, that this processor has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vectors(Width);

#[derive(Clone, Copy, Debug)]
enum Width {
    Avx512,
    Avx2,
}

/// What the processor has, the widest first.
pub(super) fn found() -> impl Iterator<Item = Vectors> {
    let counts = is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("bmi2");
    let avx512 = (counts && is_x86_feature_detected!("avx512f")).then_some(Width::Avx512);
    let avx2 = (counts && is_x86_feature_detected!("avx2")).then_some(Width::Avx2);
    avx512.into_iter().chain(avx2).map(Vectors)
}

impl Vectors {
    /// See [`super::lookup_batch`].
    pub(super) fn lookup_batch(self, fib: &BoxedFib, destinations: &[Ipv6Addr], values: &mut [Option<u16>]) {
        let count = destinations.len().min(values.len());
        let (groups, rest) = destinations[..count].as_chunks::<LANES>();
        let (places, last) = values[..count].as_chunks_mut::<LANES>();
        // SAFETY: `found` has seen that the processor has these instructions.
        unsafe {
            match self.0 {
                Width::Avx512 => avx512(fib, groups, places),
                Width::Avx2 => avx2(fib, groups, places),
            }
        }
        fib.lookup_batch(rest, last);
    }
}

#[target_feature(enable = "avx512f,popcnt,bmi2")]
fn avx512(fib: &BoxedFib, groups: &[[Ipv6Addr; LANES]], values: &mut [[Option<u16>; LANES]]) {
    // SAFETY: 64 bytes that the reference is to.
    let load = |node: &Node| unsafe { _mm512_loadu_epi64(node.words().as_ptr().cast()) };
    let smaller = |node: &Node, key: u64| {
        _mm512_cmplt_epu64_mask(load(node), _mm512_set1_epi64(key.cast_signed())).count_ones() as usize
    };
    let passed = |leaf: &Node, key: u64| {
        let starts = _mm512_cmple_epu64_mask(load(leaf), _mm512_set1_epi64(key.cast_signed()));
        (starts & LATER_STARTS).count_ones() as usize
    };
    look_up(fib, groups, values, smaller, passed);
}

#[target_feature(enable = "avx2,popcnt,bmi2")]
fn avx2(fib: &BoxedFib, groups: &[[Ipv6Addr; LANES]], values: &mut [[Option<u16>; LANES]]) {
    // Comparisons are of signed numbers: with the sign changed they have the order of unsigned ones.
    let shifted = |words: __m256i| _mm256_xor_si256(words, _mm256_set1_epi64x(i64::MIN));
    let all = |key: u64| _mm256_set1_epi64x(key.cast_signed() ^ i64::MIN);
    let bits = |mask: __m256i| _mm256_movemask_pd(_mm256_castsi256_pd(mask)).count_ones() as usize;
    let smaller = |node: &Node, key: u64| {
        let halves = node.words().as_chunks::<4>().0;
        let [low, high] = [0, 1].map(|half| {
            // SAFETY: 32 bytes that the reference is to.
            let words = unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) };
            bits(_mm256_cmpgt_epi64(all(key), shifted(words)))
        });
        low + high
    };
    let passed = |leaf: &Node, key: u64| {
        let later: &[u64; 4] = &leaf.words()[1..].first_chunk().copied().unwrap_or_default();
        // SAFETY: 32 bytes that the reference is to.
        let words = unsafe { _mm256_loadu_si256(later.as_ptr().cast()) };
        4 - bits(_mm256_cmpgt_epi64(shifted(words), all(key)))
    };
    look_up(fib, groups, values, smaller, passed);
}

/// Looks groups up, all lookups of one level by level. `smaller`: how many words of a node are smaller than a key;
/// `passed`: how many range starts of a leaf are not greater, the first apart.
// Into its callers, which have the instructions that the two are made of.
#[inline(always)]
fn look_up(
    fib: &BoxedFib,
    groups: &[[Ipv6Addr; LANES]],
    values: &mut [[Option<u16>; LANES]],
    smaller: impl Fn(&Node, u64) -> usize,
    passed: impl Fn(&Node, u64) -> usize,
) {
    let (nodes, levels) = fib.levels();
    let Some((&leaves, inner)) = levels.split_last() else { return };
    for (group, values) in groups.iter().zip(values) {
        let keys = group.each_ref().map(|destination| (destination.to_bits() >> 64) as u64);
        let mut places = [0_usize; LANES];
        for (level, &start) in inner.iter().enumerate() {
            let below = levels.get(level + 1).copied().unwrap_or(leaves);
            // What lies above is in the nearest cache anyway.
            let is_far = level + 2 >= inner.len();
            for (place, &key) in places.iter_mut().zip(&keys) {
                let Some(node) = nodes.get(start + *place) else { return };
                // Nine children: eight separators, and the place of the first child is computed.
                *place = *place * 9 + smaller(node, key);
                if is_far {
                    prefetch(nodes.as_ptr().wrapping_add(below + *place));
                }
            }
        }
        for (at, value) in values.iter_mut().enumerate() {
            let Some(leaf) = nodes.get(leaves + places[at]) else { return };
            let start = passed(leaf, keys[at]);
            let words = leaf.words();
            let shift = words[7] >> (32 + 6 * start) & 63;
            let pair = words[5 + start / 2] >> (32 * (start % 2));
            let is_behind = (keys[at] ^ words[start & 7]) >> shift != 0;
            let found = (if is_behind { pair >> 16 } else { pair }) as u16;
            *value = if shift == SECOND_LEVEL { fib.lookup(&group[at]) } else { (found != u16::MAX).then_some(found) };
        }
    }
}

#[inline(always)]
fn prefetch(node: *const Node) {
    // SAFETY: nothing is read; an address that is nobody's is a hint in vain.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(node.cast()) };
}

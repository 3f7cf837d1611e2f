//! Lookups with AVX-512: one comparison a node, 32 lookups under way at a time.

use super::BoxedFib;
use isatap_core::route::Node;
use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_cmple_epu64_mask, _mm512_cmplt_epu64_mask, _mm512_loadu_epi64,
    _mm512_set1_epi64,
};
use std::net::Ipv6Addr;

const LANES: usize = 32;
/// Range starts of a leaf, the first apart: its bits in a comparison.
const LATER_STARTS: u8 = 0b1_1110;
/// The shift of a start that has a tree of its own.
const SECOND_LEVEL: u64 = 63;

pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("bmi2")
}

/// See [`super::lookup_batch`]. To be called where [`is_there`] only.
pub(super) fn lookup_batch(fib: &BoxedFib, destinations: &[Ipv6Addr], values: &mut [Option<u16>]) {
    let count = destinations.len().min(values.len());
    let (groups, rest) = destinations[..count].as_chunks::<LANES>();
    let (places, last) = values[..count].as_chunks_mut::<LANES>();
    // SAFETY: the processor has these instructions: see `is_there`.
    unsafe { look_up(fib, groups, places) };
    fib.lookup_batch(rest, last);
}

#[target_feature(enable = "avx512f,popcnt,bmi2")]
fn look_up(fib: &BoxedFib, groups: &[[Ipv6Addr; LANES]], values: &mut [[Option<u16>; LANES]]) {
    let (nodes, levels) = fib.levels();
    let Some((&leaves, inner)) = levels.split_last() else { return };
    for (group, values) in groups.iter().zip(values) {
        let keys = group.each_ref().map(|destination| (destination.to_bits() >> 64) as u64);
        let vectors = keys.map(|key| _mm512_set1_epi64(key.cast_signed()));
        let mut places = [0_usize; LANES];
        for (level, &start) in inner.iter().enumerate() {
            let below = levels.get(level + 1).copied().unwrap_or(leaves);
            // What lies above is in the nearest cache anyway.
            let is_far = level + 2 >= inner.len();
            for (place, key) in places.iter_mut().zip(&vectors) {
                let Some(node) = nodes.get(start + *place) else { return };
                // Nine children: eight separators, and the place of the first child is computed.
                *place = *place * 9 + _mm512_cmplt_epu64_mask(load(node), *key).count_ones() as usize;
                if is_far {
                    prefetch(nodes.as_ptr().wrapping_add(below + *place));
                }
            }
        }
        for (at, value) in values.iter_mut().enumerate() {
            let Some(leaf) = nodes.get(leaves + places[at]) else { return };
            let start = (_mm512_cmple_epu64_mask(load(leaf), vectors[at]) & LATER_STARTS).count_ones() as usize;
            let words = leaf.words();
            let shift = words[7] >> (32 + 6 * start) & 63;
            let pair = words[5 + start / 2] >> (32 * (start % 2));
            let is_behind = (keys[at] ^ words[start & 7]) >> shift != 0;
            let found = (if is_behind { pair >> 16 } else { pair }) as u16;
            *value = if shift == SECOND_LEVEL { fib.lookup(&group[at]) } else { (found != u16::MAX).then_some(found) };
        }
    }
}

#[target_feature(enable = "avx512f")]
fn load(node: &Node) -> __m512i {
    // SAFETY: 64 bytes that the reference is to.
    unsafe { _mm512_loadu_epi64(node.words().as_ptr().cast()) }
}

// Safe in newer compilers than the oldest that we support.
#[allow(unused_unsafe)]
#[target_feature(enable = "avx512f")]
fn prefetch(node: *const Node) {
    // SAFETY: nothing is read; an address that is nobody's is a hint in vain.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(node.cast()) };
}

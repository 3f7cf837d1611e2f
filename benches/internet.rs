//! A table that looks like the Internet's, drawn from a seed: no data of others.
//!
//! Registries' blocks are cut into sites of a /32 and shorter. A site announces
//! its whole block, or disjoint pieces of it, mostly side by side; one prefix in
//! five lies within another. Lengths are /19 to /48 with the peaks of the real
//! table at /32, /36, /40, /44 and /48.

use std::net::Ipv6Addr;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::FibRoute;

use crate::routes::SplitMix;

/// Next hops that the routes lead to, drawn for each route by itself.
pub const NEXT_HOPS: u64 = 256;

/// The registries' /12 blocks and, for the first one, /16: how many of 100 sites each has.
const REGISTRIES: [(u128, u64); 6] = [(0x2001, 8), (0x2400, 26), (0x2600, 24), (0x2800, 8), (0x2a00, 30), (0x2c00, 4)];
/// Lengths of whole blocks, and of pieces: how many of 100 each.
const BLOCKS: [(u8, u64); 9] = [(32, 62), (29, 20), (31, 4), (30, 4), (28, 4), (27, 2), (26, 2), (24, 1), (19, 1)];
const PIECES: [(u8, u64); 12] =
    [(48, 56), (44, 11), (40, 10), (36, 6), (46, 4), (47, 4), (45, 2), (42, 2), (38, 2), (34, 1), (35, 1), (33, 1)];

/// `count` routes, all different, in no order. The same each time.
pub fn routes(count: usize) -> Vec<FibRoute> {
    let mut random = SplitMix(count as u64);
    let mut next_site = REGISTRIES.map(|(block, _)| block << 16);
    let mut bits: Vec<(u128, u8)> = Vec::with_capacity(count);
    let alone = count - count / 5;
    while bits.len() < alone {
        let registry = draw(&mut random, REGISTRIES.iter().map(|registry| registry.1));
        let (length, _) = BLOCKS[draw(&mut random, BLOCKS.iter().map(|block| block.1))];
        // Sites in /32s, each at a multiple of its size; one in four is behind a gap.
        let size = 1_u128 << (32 - length);
        let gap = if random.below(4) == 0 { size } else { 0 };
        let site = next_site[registry].next_multiple_of(size) + gap;
        next_site[registry] = site + size;
        // The first in any case: others have to lie in something.
        if random.below(4) != 0 || bits.is_empty() {
            bits.push((site << 96, length));
            continue;
        }
        let (length, _) = PIECES[draw(&mut random, PIECES.iter().map(|piece| piece.1))];
        let mut piece = 0_u128;
        for _ in 0..=random.below(1 << (length - 32).min(5)) {
            // One in three leaves a gap behind it.
            piece += if random.below(3) == 0 { 1 + u128::from(random.below(3)) } else { 1 };
            if bits.len() < alone && piece < 1 << (length - 32) {
                bits.push(((site << 96) + (piece << (128 - length)), length));
            }
        }
    }
    // One in five is a piece of another.
    let mut seen: std::collections::HashSet<(u128, u8)> = bits.iter().copied().collect();
    while bits.len() < count {
        let (around, shorter) = bits[random.below(alone as u64) as usize];
        let (length, _) = PIECES[draw(&mut random, PIECES.iter().map(|piece| piece.1))];
        if length > shorter {
            let subnet = u128::from(random.next()) & ((1 << (length - shorter).min(10)) - 1);
            let piece = (around + (subnet << (128 - length)), length);
            if seen.insert(piece) {
                bits.push(piece);
            }
        }
    }
    for at in (1..bits.len()).rev() {
        bits.swap(at, random.below(at as u64 + 1) as usize);
    }
    let route = |(bits, length)| FibRoute {
        prefix: Ipv6Prefix::new(Ipv6Addr::from_bits(bits), length).expect("at most /48"),
        value: random.below(NEXT_HOPS) as u16,
    };
    bits.into_iter().map(route).collect()
}

/// `count` addresses, each a host drawn in a prefix drawn at random.
pub fn destinations(routes: &[FibRoute], count: usize) -> Vec<Ipv6Addr> {
    let mut random = SplitMix(1);
    let destination = |_| {
        let prefix = routes[random.below(routes.len() as u64) as usize].prefix;
        let host = u128::from(random.next()) << 64 | u128::from(random.next());
        let mask = u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        Ipv6Addr::from_bits(prefix.address().to_bits() | host & mask)
    };
    (0..count).map(destination).collect()
}

/// A place, as often as its weight says.
fn draw(random: &mut SplitMix, weights: impl Iterator<Item = u64> + Clone) -> usize {
    let mut left = random.below(weights.clone().sum());
    let found = weights.into_iter().position(|weight| match left.checked_sub(weight) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    found.unwrap_or(0)
}

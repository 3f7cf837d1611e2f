//! One row of the table, and the scan over rows.

use core::cmp::Reverse;
use core::net::Ipv6Addr;

use crate::capacity::Row;
use crate::packet::LinkId;
use crate::prefix::{Ipv6Prefix, halves};
use crate::route::{Change, Origin, Preference, Route, RouteKey};

/// Links that can have an interface metric other than zero.
pub(super) const METRICS: usize = 8;
/// Rows that are compared before the first branch: see [`first_match`].
const BLOCK: usize = 8;

/// Memory for one route; its inside is the table's.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The mask of the upper half, since that is compared for every row.
    pub(super) high_mask: u64,
    pub(super) route: Route,
    /// Counts up with every row that is added: who came first.
    pub(super) rank: u64,
    pub(super) told: Option<Told>,
    pub(super) is_live: bool,
    pub(super) is_unreachable: bool,
}

/// What the operating system knows of a route, besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) metric: u32,
    pub(super) preference: Preference,
}

/// What makes a route better than another, reachability apart: less is better.
pub(super) type Goodness = (Reverse<u8>, Reverse<Preference>, u32, u64);

const _: () = assert!(size_of::<Slot>() <= 96);

impl Row for Slot {
    const EMPTY: Self = Slot {
        high_mask: 0,
        route: Route::on_link(Ipv6Prefix::DEFAULT, LinkId(0), Origin::Manual),
        rank: 0,
        told: None,
        is_live: false,
        is_unreachable: false,
    };
}

impl Slot {
    pub(super) fn has_key(&self, key: &RouteKey) -> bool {
        self.route.key() == *key
    }

    pub(super) fn is_via(&self, link: LinkId, next_hop: &Ipv6Addr) -> bool {
        self.route.link == link && self.route.next_hop.as_ref() == Some(next_hop)
    }

    pub(super) fn goodness(&self, metrics: &[u32; METRICS]) -> Goodness {
        let route = &self.route;
        (Reverse(route.prefix.length()), Reverse(route.preference), self.metric(metrics), self.rank)
    }

    fn metric(&self, metrics: &[u32; METRICS]) -> u32 {
        self.route.metric.saturating_add(metrics.get(self.route.link.index()).copied().unwrap_or(0))
    }

    pub(super) fn wanted(&self, metrics: &[u32; METRICS]) -> Told {
        Told { metric: self.metric(metrics), preference: self.route.preference }
    }

    pub(super) fn difference(&self, metrics: &[u32; METRICS]) -> Option<Change> {
        match self.told {
            Some(_) if !self.is_live => Some(Change::Removed),
            Some(told) if told != self.wanted(metrics) => Some(Change::Changed),
            None if self.is_live && self.route.origin.is_told() => Some(Change::Added),
            _ => None,
        }
    }
}

/// The first row that matches.
///
/// For short tables the price of a lookup is the branch that the processor
/// cannot foresee: at which row the scan ends. So the upper halves of a block
/// of rows are compared without a branch, and what is left is one branch a
/// block. The lower half and the link are asked of hits alone.
#[inline]
pub(super) fn first_match(rows: &[Slot], destination: &Ipv6Addr, link: Option<LinkId>) -> Option<usize> {
    let (high, low) = halves(destination);
    let is_match = |slot: &Slot| slot.route.prefix.contains_low(low) && link.is_none_or(|link| slot.route.link == link);
    let mut start = 0_usize;
    let (blocks, rest) = rows.as_chunks::<BLOCK>();
    for block in blocks {
        if let Some(at) = first_hit(block, high_hits(block, high), is_match) {
            return Some(start.saturating_add(at));
        }
        start = start.saturating_add(BLOCK);
    }
    first_hit(rest, high_hits(rest, high), is_match).map(|at| start.saturating_add(at))
}

/// One bit a row, the first row's lowest: whether the upper half matches.
#[inline]
fn high_hits(rows: &[Slot], high: u64) -> u32 {
    let mut hits = 0;
    let mut bit = 1_u32;
    for slot in rows {
        let hit = (slot.route.prefix.high() ^ high) & slot.high_mask == 0;
        hits |= if hit { bit } else { 0 };
        bit = bit.wrapping_shl(1);
    }
    hits
}

#[inline]
fn first_hit(rows: &[Slot], mut hits: u32, is_match: impl Fn(&Slot) -> bool) -> Option<usize> {
    while hits != 0 {
        let at = usize::try_from(hits.trailing_zeros()).ok()?;
        if is_match(rows.get(at)?) {
            return Some(at);
        }
        hits &= hits.wrapping_sub(1);
    }
    None
}

/// Swaps the rows at `at` and behind it if they are in the wrong order.
/// Returns whether it did.
pub(super) fn swap_if_disordered(rows: &mut [Slot], at: usize, metrics: &[u32; METRICS]) -> bool {
    let Some([first, second]) = rows.get_mut(at..).and_then(|rows| rows.first_chunk_mut::<2>()) else { return false };
    let key = |slot: &Slot| (!slot.is_live, slot.is_unreachable && slot.is_live, slot.goodness(metrics));
    let disordered = key(second) < key(first);
    if disordered {
        core::mem::swap(first, second);
    }
    disordered
}

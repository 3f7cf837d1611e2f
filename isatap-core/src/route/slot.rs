//! One row of the table.

use core::cmp::Reverse;
use core::net::Ipv6Addr;

use crate::capacity::Row;
use crate::packet::LinkId;
use crate::prefix::Ipv6Prefix;
use crate::route::{Change, Origin, Preference, Route, RouteKey};

/// Links that can have an interface metric other than zero.
pub(super) const METRICS: usize = 8;

/// Memory for one route; its inside is the table's.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub(super) route: Route,
    /// Belongs to the place, not to the row that lies there: a word of the
    /// [`Index`](super::index::Index).
    pub(super) candidates: u64,
    /// Counts up with every row that is added: who came first.
    pub(super) rank: u64,
    /// What was told, if anything was.
    told_metric: u32,
    told_preference: Preference,
    is_told: bool,
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

const _: () = assert!(size_of::<Slot>() <= 88);

impl Row for Slot {
    const EMPTY: Self = Slot {
        candidates: 0,
        route: Route::on_link(Ipv6Prefix::DEFAULT, LinkId(0), Origin::Manual),
        rank: 0,
        told_metric: 0,
        told_preference: Preference::Medium,
        is_told: false,
        is_live: false,
        is_unreachable: false,
    };
}

impl Slot {
    /// Whether the route has this [`RouteKey`]. Most have another prefix.
    #[inline]
    pub(super) fn has_key(&self, key: &RouteKey) -> bool {
        self.route.prefix == key.prefix && self.route.key() == *key
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

    pub(super) fn told(&self) -> Option<Told> {
        self.is_told.then_some(Told { metric: self.told_metric, preference: self.told_preference })
    }

    pub(super) fn set_told(&mut self, told: Told) {
        (self.told_metric, self.told_preference, self.is_told) = (told.metric, told.preference, true);
    }

    #[inline]
    pub(super) fn is_match(&self, (high, low): (u64, u64), link: Option<LinkId>) -> bool {
        // S6R-20: what ends here ends here by whatever device it came.
        let by_link = |link| self.route.link == link || self.route.link == LinkId::NULL;
        self.route.prefix.contains_halves(high, low) && link.is_none_or(by_link)
    }

    pub(super) fn difference(&self, metrics: &[u32; METRICS]) -> Option<Change> {
        match self.told() {
            Some(_) if !self.is_live => Some(Change::Removed),
            Some(told) if told != self.wanted(metrics) => Some(Change::Changed),
            None if self.is_live && self.route.origin.is_told() => Some(Change::Added),
            _ => None,
        }
    }
}

/// Swaps the rows at `at` and behind it, with their words of the index, if they
/// are in the wrong order: the index is written again afterwards. Returns
/// whether it did.
pub(super) fn swap_if_disordered(rows: &mut [Slot], at: usize, metrics: &[u32; METRICS]) -> bool {
    let Some([first, second]) = rows.get_mut(at..).and_then(|rows| rows.first_chunk_mut::<2>()) else { return false };
    let key = |slot: &Slot| (!slot.is_live, slot.is_unreachable && slot.is_live, slot.goodness(metrics));
    let disordered = key(second) < key(first);
    if disordered {
        core::mem::swap(first, second);
    }
    disordered
}

/// Swaps the rows at `at` and behind it. Their words of the index belong to the
/// places and stay.
pub(super) fn swap_rows(rows: &mut [Slot], at: usize) {
    if let Some([first, second]) = rows.get_mut(at..).and_then(|rows| rows.first_chunk_mut::<2>()) {
        core::mem::swap(first, second);
        core::mem::swap(&mut first.candidates, &mut second.candidates);
    }
}

//! What a host has learned from Router Advertisements. [RFC 4861 §6.3.4,
//! RFC 4862 §5.5.3, RFC 8106 §5.3]
//!
//! `Prefixes` says what is on-link and which addresses to make;
//! `TimedSet` holds DNS servers and search domains; [`LinkParameters`] the
//! values of which a link has one. Default routers and routes are rows of
//! the machine that asks the routers.
//!
//! Each row remembers which routers said so, as bits numbered by the
//! caller's slots for routers (0 to 31), so that what only a vanished router
//! said goes with it (ISA-23). An advertisement never invalidates what
//! another router said by not saying it. `NDP-31`
//!
//! Tables are bounded, and routers share them equally. While there is room
//! nobody is bounded. When there is none, a router with at least two rows
//! less than others takes one that only such others advertise: beside `m`
//! greedy routers one that advertises at most `1 / (m + 1)` of the rows gets
//! all of them and keeps them, whatever the others do. What the owner gave
//! himself never goes.

mod dns;
mod parameters;
mod prefixes;

pub(crate) use dns::TimedSet;
pub use dns::{DnsServer, SearchDomain, TimedRow};
pub use parameters::LinkParameters;
pub(crate) use prefixes::{Change, Prefixes, TWO_HOURS};

use crate::time::{Expiry, Instant};

/// An expiry that has passed: the row does not hold this any more.
const OVER: Expiry = Expiry::at(Instant::ZERO);

/// The routers that said something: a bit for each slot of the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources(u32);

impl Sources {
    /// Nobody.
    pub const NONE: Sources = Sources(0);

    /// The router in `slot`; nobody if the slot is above 31.
    #[must_use]
    pub fn of(slot: u8) -> Self {
        Sources(1_u32.checked_shl(u32::from(slot)).unwrap_or(0))
    }

    /// Whether the router in `slot` is among them.
    #[must_use]
    pub fn contains(self, slot: u8) -> bool {
        self.0 & Sources::of(slot).0 != 0
    }

    /// The bits, slot 0 the lowest.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Adds the router in `slot`.
    fn add(&mut self, slot: u8) {
        self.0 |= Sources::of(slot).0;
    }

    /// Nobody said it: the owner did.
    const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The slots, lowest first.
    pub(crate) fn slots(self) -> impl Iterator<Item = u8> {
        (0..32).filter(move |slot| self.contains(*slot))
    }

    /// Takes the router in `slot` out; `true` if it was the last one.
    fn take(&mut self, slot: u8) -> bool {
        let had = self.contains(slot);
        self.0 &= !Sources::of(slot).0;
        had && self.0 == 0
    }
}

/// Counts rows by router.
#[derive(Default)]
struct Turns([usize; 32]);

impl Turns {
    /// Counts a row; how many of a router came before it, of that of its
    /// routers with the fewest.
    fn next(&mut self, sources: Sources) -> usize {
        let turn = sources.slots().map(|slot| self.of(slot)).min().unwrap_or(0);
        for (slot, count) in (0..).zip(&mut self.0) {
            *count = count.saturating_add(usize::from(sources.contains(slot)));
        }
        turn
    }

    /// Rows of the router in `slot`.
    fn of(&self, slot: u8) -> usize {
        self.0.get(usize::from(slot)).copied().unwrap_or(0)
    }
}

/// The row of a full table that goes for one of the router in slot `asker`:
/// each of its routers has at least two rows more than that. `None`: there is
/// no such row.
///
/// A row counts for all routers that advertise it, and weighs what the one
/// with the fewest rows has: a router gains nothing by what others advertise
/// as well, and loses nothing by others who advertise the same.
fn row_to_take(rows: impl Iterator<Item = Sources> + Clone, asker: u8) -> Option<usize> {
    let mut counts = Turns::default();
    for sources in rows.clone() {
        counts.next(sources);
    }
    let least = counts.of(asker).saturating_add(1);
    let weight = |sources: Sources| sources.slots().map(|slot| counts.of(slot)).min().unwrap_or(0);
    let given = |sources: &Sources| !sources.is_none();
    let taken = rows.enumerate().filter(|(_, sources)| given(sources) && weight(*sources) > least);
    taken.max_by_key(|(at, sources)| (weight(*sources), *at)).map(|(at, _)| at)
}

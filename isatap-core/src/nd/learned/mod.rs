//! What a host has learned from Router Advertisements. [RFC 4861 §6.3.4,
//! RFC 4862 §5.5.3, RFC 8106 §5.3]
//!
//! [`Prefixes`] says what is on-link and which addresses to make;
//! [`TimedSet`] holds DNS servers and search domains; [`LinkParameters`] the
//! values of which a link has one. Default routers and routes are rows of
//! the machine that asks the routers.
//!
//! Each row remembers which routers said so, as bits numbered by the
//! caller's slots for routers (0 to 31), so that what only a vanished router
//! said goes with it (ISA-23). An advertisement never invalidates what
//! another router said by not saying it. `NDP-31`

mod dns;
mod parameters;
mod prefixes;

pub use dns::{DnsServer, SearchDomain, TimedItem, TimedRow, TimedSet};
pub use parameters::LinkParameters;
pub use prefixes::{AddressState, Change, LearnedPrefix, Prefixes, TWO_HOURS, two_hour_rule};

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

    /// Takes the router in `slot` out; `true` if it was the last one.
    fn take(&mut self, slot: u8) -> bool {
        let had = self.contains(slot);
        self.0 &= !Sources::of(slot).0;
        had && self.0 == 0
    }
}

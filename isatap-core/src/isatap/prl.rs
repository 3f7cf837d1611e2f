//! The potential router list: who may advertise, and when each was asked.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::{Array, Capacity, Row, Rows};
use crate::error::{Table, TableFull};
use crate::isatap::addr;
use crate::nd::solicit::Solicitation;
use crate::proto41::Marks;
use crate::time::{Duration, Expiry, Instant, Lifetime};

/// The potential router list of one interface. `ISA-20 [RFC 5214 §8.1]`
///
/// A row keeps its place while it is in use, so that its number can name the
/// router in what was learned from it. A row that has left the list remembers
/// when its router was last asked: a name that flaps must not become a flood
/// (`ISA-37`). Such rows are the first to be used again.
#[derive(Clone)]
pub struct Prl<C: Capacity> {
    rows: Rows<C::PotentialRouters, PotentialRouter>,
}

/// Where an entry of the list came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryOrigin {
    /// Configured by address; stays until it is configured away.
    Static,
    /// The answer to a name; follows the name. `ISA-23`
    Resolved,
}

/// One potential router.
#[derive(Clone, Copy, Debug)]
pub struct PotentialRouter {
    address: Ipv4Addr,
    pub(crate) origin: EntryOrigin,
    listed: bool,
    /// `ISA-45`: do not use it as a default router, nor take link parameters from it.
    pub(crate) no_default: bool,
    pub(crate) solicitation: Solicitation,
    /// A solicitation waits to be written.
    pub(crate) solicitation_wanted: bool,
    /// A round waits for the names to be resolved again. `ISA-22`
    pub(crate) round_pending: bool,
    /// It has answered, and what it said has not all expired.
    pub(crate) answered: bool,
    /// No probe of it as an avoided router before this. `NDP-37`
    pub(crate) avoided_until: Instant,
    /// When to ask again. `ISA-35`
    pub(crate) timer: Timer,
    /// Advertisements since one gave a way on.
    pub(crate) useless: u8,
    /// When it advertised last, if ever.
    pub(crate) heard: Expiry,
    /// It has advertised since it was asked last.
    pub(crate) heard_since_asked: bool,
    /// The longest lifetime of its last advertisement.
    pub(crate) alive_until: Expiry,
    /// On a node without a route table: until when it is a default router.
    default_until: Expiry,
    default_router: DefaultRouter,
    /// Its link-local address as it wrote it: the other u bit. `ISA-26`
    pub(crate) other_form: bool,
    pub(crate) told: bool,
    pub(crate) warn_lifetime: bool,
}

/// What a node without a route table knows of a default router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DefaultRouter {
    /// It is none.
    No,
    Reachable,
    /// It does not answer: others go before it.
    Unreachable,
}

/// TIMER(i) of RFC 5214 §8.3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Timer {
    Off,
    /// The last advertisement asked for this interval; the jitter is drawn at
    /// the next `handle_timeout`.
    Draw(Duration),
    At(Instant),
}

impl PotentialRouter {
    /// The router's IPv4 address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where the entry came from.
    #[must_use]
    pub fn origin(&self) -> EntryOrigin {
        self.origin
    }

    /// The link-local address that it speaks from. `ISA-26`
    pub(crate) fn speaks_from(&self) -> Ipv6Addr {
        if self.other_form { addr::other_link_local(self.address) } else { addr::link_local(self.address) }
    }

    /// Whether it is a default router of a node without a route table, as of
    /// the last [`expire_default`](Self::expire_default).
    pub(crate) fn is_default_router(&self) -> bool {
        self.default_router != DefaultRouter::No
    }

    /// Whether it is a default router, and how long. `NDP-36`
    pub(crate) fn set_default(&mut self, now: Instant, lifetime: Lifetime) {
        self.default_router = if lifetime.is_zero() { DefaultRouter::No } else { DefaultRouter::Reachable };
        self.default_until = Expiry::after(now, lifetime);
    }

    /// Whether it is one, and answers.
    pub(crate) fn is_reachable_default(&self) -> bool {
        self.default_router == DefaultRouter::Reachable
    }

    /// Notes whether it answers. `NDP-37`
    pub(crate) fn set_unreachable(&mut self, is_unreachable: bool) {
        if self.is_default_router() {
            self.default_router = if is_unreachable { DefaultRouter::Unreachable } else { DefaultRouter::Reachable };
        }
    }

    /// Lets time pass up to `now`.
    pub(crate) fn expire_default(&mut self, now: Instant) {
        if self.default_until.is_due(now) {
            self.default_router = DefaultRouter::No;
        }
    }

    /// Whether it is on the list; a row that has left it remembers.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// Whether it may be a default router, and set link parameters. `ISA-45`
    #[must_use]
    pub fn may_be_default(&self) -> bool {
        !self.no_default
    }

    /// Whether it has answered, and what it said has not all expired.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.answered && !self.alive_until.is_due(now)
    }

    /// When its last advertisement came.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard.instant()
    }

    /// Solicitations sent in this round; zero when no round is under way.
    #[must_use]
    pub fn attempts(&self) -> u16 {
        self.solicitation.attempts()
    }

    /// When the router will be asked next, if that is known yet.
    #[must_use]
    pub fn next_solicitation(&self) -> Option<Instant> {
        let timer = match self.timer {
            Timer::At(instant) => Expiry::at(instant),
            _ => Expiry::NEVER,
        };
        timer.min(self.solicitation.deadline()).instant()
    }

    /// Whether its timer runs and ends, before any jitter, not after `instant`.
    pub(crate) fn is_timed_before(&self, instant: Instant) -> bool {
        match self.timer {
            Timer::Off => false,
            Timer::Draw(interval) => {
                self.heard.instant().is_some_and(|heard| heard.saturating_add(interval) <= instant)
            }
            Timer::At(at) => at <= instant,
        }
    }

    /// Takes it off the list; remembers when it was asked last. `ISA-37`
    pub(crate) fn retire(&mut self) {
        self.listed = false;
        self.answered = false;
        self.solicitation.answered();
        self.solicitation_wanted = false;
        self.round_pending = false;
        self.timer = Timer::Off;
        self.warn_lifetime = false;
        self.default_router = DefaultRouter::No;
    }

    /// When there is something to do here, or to send.
    pub(crate) fn deadline(&self) -> Expiry {
        if self.solicitation_wanted {
            return Expiry::at(Instant::ZERO);
        }
        let timer = match self.timer {
            Timer::Off => Expiry::NEVER,
            Timer::Draw(_) => self.heard,
            Timer::At(instant) => Expiry::at(instant),
        };
        let alive = if self.answered { self.alive_until } else { Expiry::NEVER };
        let default = if self.is_default_router() { self.default_until } else { Expiry::NEVER };
        timer.min(self.solicitation.deadline()).min(alive).min(default)
    }

    /// Whether this is the entry for `address`.
    #[inline(always)]
    fn lists(&self, address: Ipv4Addr) -> bool {
        self.address == address && self.listed
    }

    fn is_free(&self) -> bool {
        self.address.is_unspecified()
    }
}

impl Row for PotentialRouter {
    const EMPTY: Self = PotentialRouter {
        address: Ipv4Addr::UNSPECIFIED,
        origin: EntryOrigin::Static,
        listed: false,
        no_default: false,
        solicitation: Solicitation::IDLE,
        solicitation_wanted: false,
        round_pending: false,
        answered: false,
        avoided_until: Instant::ZERO,
        timer: Timer::Off,
        useless: 0,
        heard: Expiry::NEVER,
        heard_since_asked: false,
        alive_until: Expiry::NEVER,
        default_until: Expiry::NEVER,
        default_router: DefaultRouter::No,
        other_form: false,
        told: false,
        warn_lifetime: false,
    };
}

impl<C: Capacity> Prl<C> {
    /// No entries.
    pub(crate) const EMPTY: Self = Prl { rows: Array::EMPTY };

    /// The addresses in the list, and some that have left it.
    pub(crate) fn marks(&self) -> Marks {
        self.rows().fold(Marks::NONE, |marks, row| marks.with_address(row.address))
    }

    /// Whether `address` is in the list.
    #[must_use]
    pub fn lists(&self, address: Ipv4Addr) -> bool {
        // Rows are used from the front and never given back: the first free
        // one ends them.
        self.rows.as_ref().iter().take_while(|row| !row.is_free()).any(|row| row.lists(address))
    }

    /// Whether `address` is listed in the first row, as that of the only
    /// router is.
    #[inline(always)]
    pub(crate) fn is_first(&self, address: Ipv4Addr) -> bool {
        self.rows.as_ref().first().is_some_and(|row| row.lists(address))
    }

    /// The entries of the list.
    pub fn iter(&self) -> impl Iterator<Item = &PotentialRouter> {
        self.rows.as_ref().iter().filter(|row| row.listed)
    }

    /// Rows that there are.
    pub(crate) fn capacity(&self) -> usize {
        self.rows.as_ref().len()
    }

    /// The number of the row that lists `address`.
    pub(crate) fn slot(&self, address: Ipv4Addr) -> Option<usize> {
        self.rows.as_ref().iter().position(|row| row.lists(address))
    }

    /// All rows that are or were in use, with their numbers.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = (usize, &mut PotentialRouter)> {
        self.rows.as_mut().iter_mut().enumerate().filter(|(_, row)| !row.is_free())
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &PotentialRouter> {
        self.rows.as_ref().iter().filter(|row| !row.is_free())
    }

    /// The router in a row that is or was in use.
    pub(crate) fn address(&self, slot: usize) -> Option<Ipv4Addr> {
        self.rows.as_ref().get(slot).filter(|row| !row.is_free()).map(|row| row.address)
    }

    pub(crate) fn row(&self, slot: usize) -> Option<&PotentialRouter> {
        self.rows.as_ref().get(slot)
    }

    pub(crate) fn row_mut(&mut self, slot: usize) -> Option<&mut PotentialRouter> {
        self.rows.as_mut().get_mut(slot)
    }

    /// Lists `address`; the number of its row and whether it is new. For
    /// [`IsatapLink::list_router`](crate::isatap::IsatapLink) alone, which marks it.
    pub(super) fn add(&mut self, address: Ipv4Addr, origin: EntryOrigin) -> Result<(usize, bool), TableFull> {
        if let Some(slot) = self.slot(address) {
            // ISA-20: what is configured by address outlives the name.
            if let Some(row) = self.rows.as_mut().get_mut(slot).filter(|_| origin == EntryOrigin::Static) {
                row.origin = origin;
            }
            return Ok((slot, false));
        }
        // Names may have any number of addresses: they leave rows for what is
        // configured by address.
        let resolved = self.iter().filter(|row| row.origin == EntryOrigin::Resolved).count();
        let most = self.capacity().saturating_sub(self.capacity().div_euclid(4));
        if origin == EntryOrigin::Resolved && resolved >= most {
            return Err(TableFull::new(Table::PotentialRouters));
        }
        let rows = self.rows.as_mut();
        // The row that it had before, else a fresh one, else one that has
        // left the list and whose end was told.
        let slot = rows
            .iter()
            .position(|row| row.address == address)
            .or_else(|| rows.iter().position(PotentialRouter::is_free))
            .or_else(|| rows.iter().position(|row| !row.listed && !row.told))
            .ok_or(TableFull::new(Table::PotentialRouters))?;
        if let Some(row) = rows.get_mut(slot) {
            let before = if row.address == address { *row } else { PotentialRouter::EMPTY };
            *row = PotentialRouter {
                address,
                origin,
                listed: true,
                solicitation: before.solicitation,
                told: before.told,
                ..PotentialRouter::EMPTY
            };
        }
        Ok((slot, true))
    }
}

//! Prefixes: what is on-link, and which addresses to make.
//!
//! The two uses of a prefix have lifetimes of their own: a prefix may stay
//! on-link no longer while addresses of it are valid, and the other way
//! round. [RFC 5942 §4]

use core::fmt;
use core::net::Ipv6Addr;

use super::{OVER, Sources, Turns, row_to_take};
use crate::capacity::{Bounded, Count};
use crate::error::{Table, TableFull};
use crate::nd::option::{PrefixFlags, PrefixInformation};
use crate::prefix::{Ipv6Prefix, halves};
use crate::time::{Duration, Expiry, Instant, Lifetime};
use crate::wire::field::bytes_at;

/// What an unauthenticated advertisement can shorten a valid lifetime to, at
/// worst. [RFC 4862 §5.5.3 e]
pub(crate) const TWO_HOURS: Duration = Duration::from_secs(7200);

/// The upper half of addresses in `fe80::/64`, as it is sent.
const LINK_LOCAL: [u8; 8] = Ipv6Prefix::LINK_LOCAL.high().to_be_bytes();

/// The prefixes that routers have advertised.
///
/// Bounded: a new prefix that finds no row is [`TableFull`], and the next
/// advertisement tries again. It may take the row of a router that has more
/// of them: see the [module](super).
///
/// What is on-link is told level-triggered: each row has what is wanted and
/// what the caller was told, and [`poll_on_link`](Self::poll_on_link) gives
/// one difference at a time until there is none. Addresses, which are made of
/// a prefix and a locator, are rows of whoever knows the locators.
#[derive(Clone)]
pub(crate) struct Prefixes<K: Count> {
    rows: K::Vec<LearnedPrefix>,
    /// The upper half of addresses in the first on-link /64, as it is sent;
    /// that of link-local ones when there is none, since those are on-link
    /// anyway.
    first_on_link: [u8; 8],
}

/// One prefix: a row of [`Prefixes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LearnedPrefix {
    prefix: Ipv6Prefix,
    on_link: Expiry,
    valid: Expiry,
    preferred: Expiry,
    on_link_sources: Sources,
    autonomous_sources: Sources,
    /// The prefix that the caller believes to be on-link by this row: this
    /// one, none, or the one that had the row before.
    told: Option<Ipv6Prefix>,
}

/// Whether something came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is there now.
    Added,
    /// It is gone.
    Removed,
}

impl<K: Count> Prefixes<K> {
    /// No prefixes.
    pub(crate) const EMPTY: Self = Prefixes { rows: Bounded::EMPTY, first_on_link: LINK_LOCAL };

    /// Takes in a prefix option of a valid advertisement by the router in
    /// slot `router`.
    ///
    /// Link-local and multicast prefixes are ignored.
    ///
    /// # Errors
    /// The prefix is new and there is no row for it; nothing changed.
    pub(crate) fn learn(&mut self, now: Instant, option: &PrefixInformation, router: u8) -> Result<(), TableFull> {
        self.learn_displacing(now, option, router, true).map(|_| ())
    }

    /// The same; also gives the row that had to go for it. `shares`: whether
    /// one may.
    pub(crate) fn learn_displacing(
        &mut self,
        now: Instant,
        option: &PrefixInformation,
        router: u8,
        shares: bool,
    ) -> Result<Option<LearnedPrefix>, TableFull> {
        let result = self.learn_row(now, option, router, shares);
        self.note_first();
        result
    }

    fn learn_row(
        &mut self,
        now: Instant,
        option: &PrefixInformation,
        router: u8,
        shares: bool,
    ) -> Result<Option<LearnedPrefix>, TableFull> {
        // NDP-10, NDP-32, NDP-33 a, b [RFC 4861 §6.3.4; 4862 §5.5.3]
        let first = option.prefix.address();
        let long_enough = option.prefix.length() >= 8;
        if long_enough && (first.is_unicast_link_local() || first.is_multicast()) {
            return Ok(None);
        }
        let on_link = option.flags.contains(PrefixFlags::ON_LINK);
        // NDP-33 c, d [RFC 4862 §5.5.3]: identifiers have 64 bits.
        let autonomous = option.flags.contains(PrefixFlags::AUTONOMOUS)
            && option.preferred_lifetime <= option.valid_lifetime
            && option.prefix.length() == 64;
        if !on_link && !autonomous {
            return Ok(None);
        }
        let mut displaced = None;
        let row = if option.valid_lifetime.is_zero() {
            match self.rows.iter_mut().find(|row| row.prefix == option.prefix) {
                Some(row) => row,
                None => return Ok(None),
            }
        } else {
            self.find_or_add(option.prefix, shares.then_some(router), &mut displaced)?
        };
        if on_link {
            row.learn_on_link(now, option.valid_lifetime, router);
        }
        if autonomous {
            row.learn_autonomous(now, option.valid_lifetime, option.preferred_lifetime, router);
        }
        Ok(displaced)
    }

    /// The router in `slot` is no potential router any more: what only it
    /// advertised is gone. `ISA-23`
    pub(crate) fn forget_router(&mut self, slot: u8) {
        for row in self.rows.iter_mut() {
            if row.on_link_sources.take(slot) {
                row.on_link = OVER;
            }
            if row.autonomous_sources.take(slot) {
                (row.valid, row.preferred) = (OVER, OVER);
            }
        }
        self.note_first();
    }

    /// No addresses of this prefix any more; who advertised it has taken it
    /// back, without the two hours that an advertisement would leave.
    pub(crate) fn forget_autonomous(&mut self, prefix: &Ipv6Prefix) {
        for row in self.rows.iter_mut().filter(|row| row.prefix == *prefix) {
            row.autonomous_sources = Sources::NONE;
            (row.valid, row.preferred) = (OVER, OVER);
        }
    }

    /// Lets time pass up to `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.rows.keep(|row| {
            row.expire(now);
            row.is_wanted() || row.told.is_some()
        });
        self.note_first();
    }

    /// The earliest time at which [`expire`](Self::expire) will change
    /// something.
    #[must_use]
    pub(crate) fn deadline(&self) -> Expiry {
        let of_row = |row: &LearnedPrefix| [row.on_link, row.valid, row.preferred];
        self.rows.iter().flat_map(of_row).filter(|&expiry| expiry != OVER).min().unwrap_or(Expiry::NEVER)
    }

    /// Whether the address lies in an advertised on-link prefix, as of the
    /// last [`expire`](Self::expire). Link-local addresses are always
    /// on-link and are not looked for here. [RFC 5942 §4]
    #[inline(always)]
    #[must_use]
    pub(crate) fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        let (high, low) = halves(address);
        self.rows.bounded().iter().any(|row| row.is_on_link() && row.prefix.contains_halves(high, low))
    }

    /// Whether addresses are made of a prefix that the address lies in.
    #[inline]
    #[must_use]
    pub(crate) fn makes_addresses(&self, address: &Ipv6Addr) -> bool {
        let (high, low) = halves(address);
        self.rows.bounded().iter().any(|row| row.valid != OVER && row.prefix.contains_halves(high, low))
    }

    /// Whether the address is link-local or lies in the first on-link /64;
    /// `false` says only that [`is_on_link`](Self::is_on_link) must be asked.
    #[inline(always)]
    pub(crate) fn is_plainly_on_link(&self, address: &Ipv6Addr) -> bool {
        let upper = bytes_at::<0, 8, 16>(&address.octets());
        upper == self.first_on_link || upper == LINK_LOCAL
    }

    /// To be called when a row begins or ceases to be on-link.
    fn note_first(&mut self) {
        let mut on_link = self.rows.iter().filter(|row| row.is_on_link() && row.prefix.length() == 64);
        self.first_on_link = on_link.next().map_or(LINK_LOCAL, |row| row.prefix.high().to_be_bytes());
    }

    /// The prefixes that are on-link or have addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LearnedPrefix> {
        self.rows.iter().filter(|row| row.is_wanted())
    }

    /// The prefixes that have addresses, each router's first one before any
    /// router's second: who has many comes not before who has few.
    /// Without `shares` in the order in which they were learned.
    pub(crate) fn each_in_turns(&self, shares: bool, mut each: impl FnMut(&LearnedPrefix)) {
        for turn in 0..if shares { self.rows.len() } else { 1 } {
            let mut turns = Turns::default();
            for row in self.rows.iter().filter(|row| row.valid != OVER) {
                if !shares || turns.next(row.autonomous_sources) == turn {
                    each(row);
                }
            }
        }
    }

    /// The next prefix that became on-link or no longer is.
    pub(crate) fn poll_on_link(&mut self) -> Option<(Change, Ipv6Prefix)> {
        self.rows.iter_mut().find_map(LearnedPrefix::poll_on_link)
    }

    fn find_or_add(
        &mut self,
        prefix: Ipv6Prefix,
        asker: Option<u8>,
        displaced: &mut Option<LearnedPrefix>,
    ) -> Result<&mut LearnedPrefix, TableFull> {
        let index = match self.rows.iter().position(|row| row.prefix == prefix) {
            Some(index) => index,
            None => self.add(prefix, asker, displaced)?,
        };
        self.rows.get_mut(index).ok_or(TableFull::new(Table::Prefixes))
    }

    fn add(
        &mut self,
        prefix: Ipv6Prefix,
        asker: Option<u8>,
        displaced: &mut Option<LearnedPrefix>,
    ) -> Result<usize, TableFull> {
        let over = |row: &LearnedPrefix| !row.is_wanted();
        let clean = |row: &LearnedPrefix| over(row) && row.told.is_none();
        let rows = &*self.rows;
        // A row whose end the caller has yet to hear of is the last resort:
        // it then has both an old and a new prefix.
        let index = match rows.iter().position(clean) {
            Some(index) => index,
            None => match self.rows.add(LearnedPrefix::EMPTY, Table::Prefixes) {
                Ok(()) => self.rows.len().saturating_sub(1),
                Err(full) => match self.rows.iter().position(over) {
                    Some(index) => index,
                    None => {
                        let sources = self.rows.iter().map(LearnedPrefix::sources);
                        let index = asker.and_then(|asker| row_to_take(sources, asker)).ok_or(full)?;
                        *displaced = self.rows.get(index).copied();
                        index
                    }
                },
            },
        };
        let rows = &mut *self.rows;
        // If the prefix was here before and another prefix has its row now,
        // the caller need not hear of an end.
        if let Some(before) = rows.iter().position(|row| row.told == Some(prefix)) {
            // Not where it is in this row still.
            if let Ok([before, here]) = rows.get_disjoint_mut([before, index]) {
                core::mem::swap(&mut before.told, &mut here.told);
            }
        }
        if let Some(row) = rows.get_mut(index) {
            *row = LearnedPrefix { prefix, told: row.told, ..LearnedPrefix::EMPTY };
        }
        Ok(index)
    }
}

impl<K: Count> fmt::Debug for Prefixes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.fmt(f)
    }
}

impl LearnedPrefix {
    /// The prefix.
    #[must_use]
    pub(crate) fn prefix(&self) -> Ipv6Prefix {
        self.prefix
    }

    /// Whether the prefix is on-link.
    #[must_use]
    pub(crate) fn is_on_link(&self) -> bool {
        self.on_link != OVER
    }

    /// When addresses of it stop being valid; `None`: there are none.
    #[must_use]
    pub(crate) fn valid_until(&self) -> Option<Expiry> {
        (self.valid != OVER).then_some(self.valid)
    }

    /// When addresses of it stop being preferred; `None`: they are not.
    #[must_use]
    pub(crate) fn preferred_until(&self) -> Option<Expiry> {
        (self.preferred != OVER).then_some(self.preferred)
    }

    /// The routers that advertise it, for whatever use.
    pub(crate) fn sources(&self) -> Sources {
        Sources(self.on_link_sources.0 | self.autonomous_sources.0)
    }

    fn is_wanted(&self) -> bool {
        self.on_link != OVER || self.valid != OVER
    }

    /// NDP-32 [RFC 4861 §6.3.4]: the timer is the lifetime, zero ends it at
    /// once; no two-hour rule.
    fn learn_on_link(&mut self, now: Instant, valid: Lifetime, router: u8) {
        if valid.is_zero() {
            (self.on_link, self.on_link_sources) = (OVER, Sources::NONE);
        } else {
            self.on_link = Expiry::after(now, valid);
            self.on_link_sources.add(router);
        }
    }

    fn learn_autonomous(&mut self, now: Instant, valid: Lifetime, preferred: Lifetime, router: u8) {
        if self.valid.is_due(now) {
            // NDP-33 [RFC 4862 §5.5.3 d]
            if valid.is_zero() {
                return;
            }
            self.valid = Expiry::after(now, valid);
            self.autonomous_sources = Sources::NONE;
        } else {
            self.valid = two_hour_rule(now, self.valid, valid);
        }
        self.preferred = if preferred.is_zero() { OVER } else { Expiry::after(now, preferred) };
        self.autonomous_sources.add(router);
    }

    fn expire(&mut self, now: Instant) {
        if self.on_link.is_due(now) {
            (self.on_link, self.on_link_sources) = (OVER, Sources::NONE);
        }
        if self.preferred.is_due(now) {
            self.preferred = OVER;
        }
        if self.valid.is_due(now) {
            (self.valid, self.preferred, self.autonomous_sources) = (OVER, OVER, Sources::NONE);
        }
    }

    fn poll_on_link(&mut self) -> Option<(Change, Ipv6Prefix)> {
        let wanted = self.is_on_link().then_some(self.prefix);
        match (self.told, wanted) {
            (Some(told), wanted) if wanted != Some(told) => {
                self.told = None;
                Some((Change::Removed, told))
            }
            (None, Some(prefix)) => {
                self.told = wanted;
                Some((Change::Added, prefix))
            }
            _ => None,
        }
    }
}

impl LearnedPrefix {
    const EMPTY: Self = LearnedPrefix {
        prefix: Ipv6Prefix::DEFAULT,
        on_link: OVER,
        valid: OVER,
        preferred: OVER,
        on_link_sources: Sources::NONE,
        autonomous_sources: Sources::NONE,
        told: None,
    };
}

/// When an address is valid until, after an advertisement with valid
/// lifetime `received`, if it was until `valid`.
///
/// `NDP-34 [RFC 4862 §5.5.3 e]`: an advertisement that anybody may have
/// forged can lengthen the time, but cut it to two hours at worst.
#[must_use]
fn two_hour_rule(now: Instant, valid: Expiry, received: Lifetime) -> Expiry {
    let wanted = Expiry::after(now, received);
    let two_hours = Expiry::at(now.saturating_add(TWO_HOURS));
    if wanted > two_hours || wanted > valid {
        wanted
    } else if valid <= two_hours {
        valid
    } else {
        two_hours
    }
}

#[cfg(test)]
mod tests;

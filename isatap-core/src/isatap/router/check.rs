//! Whether a router's neighbours are there. `SEC-1 [RFC 6324 §3.1.1]`

use core::net::Ipv6Addr;

use super::RouterInterface;
use crate::capacity::{Capacity, Count as _, Rows};
use crate::engine::Entropy;
use crate::interface::{CheckedNeighbor, NeighborChecks, Tracked};
use crate::isatap::addr::embedded_ipv4;
use crate::link::Link as _;
use crate::prefix::{Ipv6Prefix, halves, is_ambiguous};
use crate::time::Instant;

/// Whether a router asks a neighbour whether it is there before it forwards
/// anything to it or from it.
///
/// `SEC-1 [RFC 6324 §3.1.1]`: it ends routing loops where the address checks
/// (`SEC-3`) are blind. A host pays nothing: it is asked behind the
/// advertisement that it solicited, and answers before it sends. One that
/// answers no Neighbor Solicitation, which every IPv6 node must, is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum CheckNeighbors {
    /// Never.
    Off,
    /// Where the neighbour's IPv4 address or a locator of ours may be
    /// anybody's: the address checks of one of the two ends see nothing there.
    /// The site's prefixes (`SEC-2`) do not change that, since two routers may
    /// both be in them; nor does a list of routers (`SEC-4`), which may lack
    /// one.
    ///
    /// With a public address at each end, the address checks of the other
    /// router see its own address in the packet. Where it has none, like a 6rd
    /// border relay of another vendor whose prefix we cannot know, use
    /// [`On`](Self::On).
    WhereBlind,
    /// Always.
    On,
}

impl core::fmt::Display for CheckNeighbors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CheckNeighbors {
    /// The word for it in options and configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckNeighbors::Off => "off",
            CheckNeighbors::WhereBlind => "where-blind",
            CheckNeighbors::On => "on",
        }
    }

    /// Every choice.
    pub const ALL: [CheckNeighbors; 3] = [CheckNeighbors::Off, CheckNeighbors::WhereBlind, CheckNeighbors::On];
}

/// The neighbours of a router of capacity `C`.
pub(super) type Checks<C> = NeighborChecks<Rows<<C as Capacity>::CheckedNeighbors, CheckedNeighbor>>;

impl<C: Capacity> RouterInterface<C> {
    /// Whether every neighbour has to be asked.
    fn asks_everybody(&self) -> bool {
        match self.config.check_neighbors {
            _ if C::CheckedNeighbors::ROWS == 0 => false,
            CheckNeighbors::Off => false,
            CheckNeighbors::WhereBlind => self.blind,
            CheckNeighbors::On => true,
        }
    }

    /// Whether this neighbour has to be asked.
    #[inline]
    pub(super) fn asks(&self, neighbor: &Ipv6Addr) -> bool {
        if C::CheckedNeighbors::ROWS == 0 {
            return false;
        }
        let is_blind = || embedded_ipv4(neighbor).is_some_and(is_ambiguous);
        let asked = self.asks_everybody() || (self.config.check_neighbors == CheckNeighbors::WhereBlind && is_blind());
        // A route by a router names its link-local address, which nobody has
        // made up, and which every ISATAP node has, whatever its prefixes: an
        // answer would prove nothing.
        let is_router = || embedded_ipv4(neighbor).is_some_and(|ipv4| self.link.prl.lists(ipv4));
        asked && !(Ipv6Prefix::LINK_LOCAL.contains(neighbor) && is_router())
    }

    /// Notes whether the address checks see our own locators.
    pub(super) fn note_locators(&mut self) {
        self.blind = self.link.locators().iter().any(|locator| is_ambiguous(locator.address));
    }

    /// Asks a host that has just been sent what addresses are made of. Its
    /// link-local address would not do: a router of another site has one too.
    pub(super) fn expect(&mut self, now: Instant, host: &Ipv6Addr) {
        let (_, identifier) = halves(host);
        for row in self.published.iter().filter(|row| row.prefix.length() == 64) {
            let (prefix, _) = halves(&row.prefix.address());
            let address = Ipv6Addr::from_bits(u128::from(prefix) << 64 | u128::from(identifier));
            if self.asks(&address) {
                self.neighbors.expect(now, &address);
            }
        }
    }

    /// Does what is due for the neighbours.
    pub(super) fn time_neighbors(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        // The secret is drawn before the first question, not with it: what was asked without one is forgotten.
        let may_ask = self.config.check_neighbors != CheckNeighbors::Off;
        if C::CheckedNeighbors::ROWS > 0 && self.neighbors.handle_timeout(now, may_ask, entropy) {
            Tracked::mark(&mut self.link);
        }
    }

    /// Neighbours in a prefix that is gone are none.
    pub(super) fn forget_neighbors(&mut self, now: Instant) {
        if C::CheckedNeighbors::ROWS == 0 {
            return;
        }
        let link = &self.link;
        self.neighbors.retain(now, |address| link.is_on_link(address));
    }
}

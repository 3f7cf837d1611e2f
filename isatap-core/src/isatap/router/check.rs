//! Whether a router's neighbours are there. `SEC-1 [RFC 6324 §3.1.1]`

use core::net::Ipv6Addr;

use super::RouterInterface;
use crate::capacity::{Capacity, Rows};
use crate::interface::{CheckedNeighbor, NeighborCheck, NeighborChecks, link_of_its_data};
use crate::isatap::addr::embedded_ipv4;
use crate::isatap::link::Link;
use crate::link::Link as _;
use crate::packet::LinkId;
use crate::prefix::is_ambiguous;
use crate::time::Instant;

/// Whether a router asks a neighbour whether it is there before it forwards
/// anything to it or from it.
///
/// `SEC-1 [RFC 6324 §3.1.1]`: it ends routing loops where the other checks are
/// blind, which is behind private IPv4 addresses. It has a price: as many
/// hosts as the table has rows ([`Capacity::CheckedNeighbors`]) can talk by
/// the router at a time, the first packet of each waits for an answer, and a
/// host that answers no Neighbor Solicitation is cut off. A list of the site's
/// IPv4 prefixes ([`Link::add_member`], `SEC-2`) has none of these, so this is
/// off unless asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckNeighbors {
    /// Never.
    Off,
    /// While a locator is private and neither the site's IPv4 prefixes nor all
    /// its routers are listed (`SEC-2`, `SEC-4`): where nothing else would end
    /// a loop.
    WhereBlind,
    /// Always.
    On,
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

/// A router's link and which of its neighbours are known to be there, for
/// threads.
#[derive(Clone)]
pub struct RouterLink<C: Capacity> {
    link: Link<C>,
    neighbors: Checks<C>,
    checks: bool,
}

impl<C: Capacity> RouterLink<C> {
    /// The link's data.
    #[must_use]
    pub fn link(&self) -> &Link<C> {
        &self.link
    }

    pub(super) fn vouches_for(&self, neighbor: &Ipv6Addr) -> bool {
        !self.checks || is_router(&self.link, neighbor) || self.neighbors.is_verified(neighbor)
    }
}

impl<C: Capacity> RouterInterface<C> {
    /// Whether neighbours are checked now.
    #[must_use]
    pub fn checks_neighbors(&self) -> bool {
        match self.config.check_neighbors {
            CheckNeighbors::Off => false,
            CheckNeighbors::On => true,
            CheckNeighbors::WhereBlind => {
                let private = self.link.locators.iter().any(|locator| is_ambiguous(locator.address));
                private && self.link.members.is_empty() && !self.link.refuse_routers
            }
        }
    }

    pub(super) fn vouches_for(&self, neighbor: &Ipv6Addr) -> bool {
        !self.checks_neighbors() || is_router(&self.link, neighbor) || self.neighbors.is_verified(neighbor)
    }

    pub(super) fn snapshot_link(&self) -> RouterLink<C> {
        RouterLink { link: self.link.clone(), neighbors: self.neighbors.clone(), checks: self.checks_neighbors() }
    }

    pub(super) fn ask(&mut self, now: Instant, id: LinkId, neighbor: &Ipv6Addr) -> NeighborCheck {
        if !self.checks_neighbors() || is_router(&self.link, neighbor) {
            return NeighborCheck::Pass;
        }
        self.neighbors.check(now, id, neighbor)
    }

    /// Neighbours in a prefix that is gone are none.
    pub(super) fn forget_neighbors(&mut self, now: Instant) {
        let link = &self.link;
        self.neighbors.retain(now, |address| link.is_on_link(address));
    }
}

/// The other routers of the site are configured, and need no question.
fn is_router<C: Capacity>(link: &Link<C>, neighbor: &Ipv6Addr) -> bool {
    embedded_ipv4(neighbor).is_some_and(|ipv4| link.prl.lists(ipv4))
}

link_of_its_data!(RouterLink, vouches_for);

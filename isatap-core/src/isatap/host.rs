//! The host: solicits potential routers for ever, and turns what they
//! advertise into addresses, routes and an MTU.
//!
//! ```text
//! Down ──locator──▶ Resolving ──addresses──▶ per router: Soliciting(n)
//! Soliciting(n) ──▶ RS; the next after 4, 8, 16 … 3600 s with jitter (ISA-34)
//! Soliciting ──valid RA──▶ Up(i), TIMER(i) at 80 % of the shortest lifetime
//! Up(i) ──TIMER(i)──▶ Soliciting(i), routes kept
//! Up(i) ──lifetimes over──▶ routes and addresses removed
//! any ──last locator gone──▶ Down; any ──name's TTL over──▶ resolve again
//! ```
//!
//! A host that asks once loses its prefix: routers on ISATAP advertise only
//! when asked (`ISA-36`).

mod config;
mod learn;
mod machine;
mod names;
mod solicit;

use core::net::Ipv4Addr;

use crate::capacity::{Capacity, Parts};
use crate::engine::LearnedAddress;
use crate::error::{Table, TableFull};
use crate::interface::{Context, Told, Tracked, interface};
use crate::isatap::addr;
use crate::isatap::link::IsatapLink;
use crate::isatap::prl::{EntryOrigin, Timer};
use crate::link::Locator;
use crate::nd::learned::{DnsServer, LinkParameters, SearchDomain, TimedRow, TimedSet};
use crate::nd::neighbor::Neighbors;
use crate::nd::option::{PrefixFlags, PrefixInformation};
use crate::prefix::{Ipv6Prefix, is_never_unicast};
use crate::route::Origin;
use crate::time::{Expiry, Instant, Lifetime};

pub use config::{HostConfig, LinkLocal, SolicitDestination};
use names::Names;
pub use names::{ResolveFailure, Resolved};

/// The interface of an ISATAP host.
#[derive(Clone)]
pub struct HostInterface<C: Capacity> {
    config: HostConfig,
    link: Tracked<IsatapLink<C>>,
    names: Names,
    parameters: LinkParameters,
    servers: TimedSet<DnsServer, C::DnsServers>,
    domains: TimedSet<SearchDomain, C::SearchDomains>,
    neighbors: Neighbors<Ipv4Addr, C::Neighbors>,
    told: Told<C>,
}

impl<C: Capacity> HostInterface<C> {
    /// A host without locators.
    #[must_use]
    pub const fn new(config: HostConfig) -> Self {
        HostInterface {
            config,
            link: Tracked::new(IsatapLink::new(config.policy, false)),
            names: Names { wanted: false, asked: false, refresh: Expiry::NEVER, failures: 0, before_each_round: false },
            parameters: LinkParameters::DEFAULT,
            servers: TimedSet::EMPTY,
            domains: TimedSet::EMPTY,
            neighbors: Neighbors::EMPTY,
            told: Told::NOTHING,
        }
    }

    /// This host's addresses as they should be.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// The DNS servers learned. `NDP-13`
    pub fn dns_servers(&self) -> impl Iterator<Item = &TimedRow<DnsServer>> {
        self.servers.iter()
    }

    /// The search domains learned.
    pub fn search_domains(&self) -> impl Iterator<Item = &TimedRow<SearchDomain>> {
        self.domains.iter()
    }

    /// How many options of advertisements broke their own rules and were
    /// skipped, such as a search list whose padding is not zero; at most
    /// 65,535. `NDP-13`
    #[must_use]
    pub const fn unusable_options(&self) -> u16 {
        self.parameters.unusable_options
    }

    /// The link parameters learned.
    #[must_use]
    pub fn parameters(&self) -> &LinkParameters {
        &self.parameters
    }

    /// The neighbours under unreachability detection, by IPv4 address.
    #[must_use]
    pub fn neighbors(&self) -> &Neighbors<Ipv4Addr, C::Neighbors> {
        &self.neighbors
    }

    /// Replaces the locators: the IPv4 addresses of this site's interface, at
    /// any time. `ISA-11`, `ISA-14`
    ///
    /// Addresses made of a locator that is gone go with it; a new one brings
    /// its own, and the names are resolved and the routers asked again.
    ///
    /// # Errors
    /// More locators than the table holds: as many as fit are used.
    /// Addresses that cannot be locators are left out.
    pub fn set_locators(&mut self, cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let before = self.link.underlay.locators.clone();
        let result = self.link.replace_locators(locators);
        let same = *before == *self.link.locators();
        if same {
            return result;
        }
        self.sync_addresses(cx.now);
        // A neighbour's address that is ours now is nobody else's.
        for locator in self.link.locators().iter() {
            self.neighbors.forget(locator.address);
        }
        if self.link.locators().is_empty() {
            for (_, row) in self.link.prl.rows_mut() {
                row.solicitation.answered();
                row.solicitation_wanted = false;
                row.round_pending = false;
                row.timer = Timer::Off;
            }
            // Down: nobody is asked for routers that nobody can ask.
            self.names.wanted = false;
            // Nor is anybody given up who was not asked.
            self.neighbors.clear();
            return result;
        }
        let brings_new = self.link.locators().iter().any(|new| !before.iter().any(|old| old.address == new.address));
        if brings_new {
            self.names.wanted |= self.config.resolve;
            self.names.failures = 0;
            for slot in 0..self.slots() {
                self.start_round(cx.now, slot, true);
            }
        }
        result
    }

    /// Lists a potential router by address. `ISA-20 [RFC 5214 §8.3.2]`: it
    /// stays whatever the names say. An address that is never a unicast one
    /// is left out (`ISA-25`), and one of our own is not asked.
    ///
    /// One that can be nobody's is left out, as it is from an answer.
    ///
    /// # Errors
    /// The router list is full.
    pub fn add_router(&mut self, cx: &mut Context<'_, C>, address: Ipv4Addr) -> Result<(), TableFull> {
        // ISA-25
        if is_never_unicast(address) {
            return Ok(());
        }
        self.list(cx, address, EntryOrigin::Static)
    }

    /// Takes a potential router off the list, with all that was learned from
    /// it alone.
    pub fn remove_router(&mut self, cx: &mut Context<'_, C>, address: Ipv4Addr) {
        if let Some(slot) = self.link.prl.slot(address) {
            self.retire(cx, slot);
            self.sync_addresses(cx.now);
        }
    }

    /// Makes a prefix on-link for ever, without an advertisement: for nodes
    /// that are not told by a router. No addresses are made of it. An
    /// advertisement of the same prefix takes it over, lifetime included.
    ///
    /// # Errors
    /// The table of prefixes or of routes is full.
    pub fn add_on_link_prefix(&mut self, cx: &mut Context<'_, C>, prefix: Ipv6Prefix) -> Result<(), TableFull> {
        let given = PrefixInformation {
            prefix,
            flags: PrefixFlags::ON_LINK,
            valid_lifetime: Lifetime::INFINITE,
            preferred_lifetime: Lifetime::INFINITE,
        };
        self.link.prefixes.learn(cx.now, &given, NO_ROUTER)?;
        self.link.sync_routes(cx)
    }

    /// `ISA-45`: whether a listed router may be a default router and set link
    /// parameters. Holds while it is listed; one that is used so is no longer,
    /// where it may not.
    pub fn set_default_router(&mut self, cx: &mut Context<'_, C>, address: Ipv4Addr, allowed: bool) {
        let Some(row) = self.link.prl.slot(address).and_then(|slot| self.link.prl.row_mut(slot)) else { return };
        row.no_default = !allowed;
        if !allowed {
            row.set_default(cx.now, Lifetime::ZERO);
            let (link, forms) = (cx.id, [addr::link_local(address), addr::other_link_local(address)]);
            cx.routes.remove_if(|route| {
                route.link == link
                    && route.origin == Origin::Advertised
                    && route.prefix.is_default()
                    && route.next_hop.is_some_and(|next_hop| forms.contains(&next_hop))
            });
        }
    }

    fn slots(&self) -> usize {
        self.link.prl.capacity()
    }

    fn list(&mut self, cx: &mut Context<'_, C>, address: Ipv4Addr, origin: EntryOrigin) -> Result<(), TableFull> {
        let now = cx.now;
        // ISA-25: of one given by address it may become true.
        if origin == EntryOrigin::Resolved && !self.link.underlay.may_send_to(address) {
            return Ok(());
        }
        let added = self.link.list_router(address, origin);
        if added.is_err() {
            let router = Ipv6Prefix::new(addr::link_local(address), 128);
            cx.refusals.note(cx.id, Table::PotentialRouters, None, router);
        }
        self.told.full.note(added);
        let (slot, new) = added?;
        if new {
            self.told.full.found_room(Table::PotentialRouters);
            // ISA-32: a new entry starts a round.
            self.start_first_round(now, slot);
            self.sync_addresses(now);
        }
        Ok(())
    }

    /// Takes the entry off the list. `ISA-23`
    fn retire(&mut self, cx: &mut Context<'_, C>, slot: usize) {
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        row.retire();
        let address = row.address();
        let number = router_number(slot);
        self.link.prefixes.forget_router(number);
        self.servers.forget_router(number);
        self.domains.forget_router(number);
        for form in [addr::link_local(address), addr::other_link_local(address)] {
            cx.routes.remove_next_hop(cx.id, &form);
        }
        self.neighbors.forget(address);
        self.sync_routes(cx);
    }

    /// The addresses that should be: one link-local a locator, and one for
    /// each autonomous prefix and locator. `ISA-12 [RFC 4862 §5.3]`
    ///
    /// They are used at once: without multicast nobody could object, and the
    /// IPv4 address makes them unique. `ISA-6`, `NDP-54 [RFC 4862 §5.4]`
    fn sync_addresses(&mut self, now: Instant) {
        let link_locals = self.config.link_local == LinkLocal::Always || self.link.prl.iter().next().is_some();
        let (locators, shares) = (self.link.locators(), C::PARTS.contains(Parts::SHARES));
        self.told.sync_addresses(|wanted| {
            let mut add = |prefix: Ipv6Prefix, preferred_until, valid_until| {
                for own in locators {
                    if let Some(address) = addr::address(&prefix, own.address) {
                        wanted.add(LearnedAddress { address, prefix_length: 64, preferred_until, valid_until });
                    }
                }
            };
            if link_locals {
                add(Ipv6Prefix::LINK_LOCAL, Expiry::NEVER, Expiry::NEVER);
            }
            self.link.prefixes.each_in_turns(shares, |row| {
                if let Some(valid_until) = row.valid_until().filter(|valid| !valid.is_due(now)) {
                    add(row.prefix(), row.preferred_until().unwrap_or(Expiry::at(now)), valid_until);
                }
            });
        });
    }

    /// The on-link routes that should be: one for each on-link prefix.
    fn sync_routes(&mut self, cx: &mut Context<'_, C>) {
        self.told.full.note(self.link.sync_routes(cx));
    }
}

/// A number that no row of the router list has.
const NO_ROUTER: u8 = u8::MAX;

/// The number of a row of the router list, as learned state names it.
fn router_number(slot: usize) -> u8 {
    u8::try_from(slot).unwrap_or(u8::MAX)
}

interface!(HostInterface, IsatapLink);

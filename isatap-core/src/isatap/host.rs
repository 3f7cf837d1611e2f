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

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::capacity::{Capacity, Rows};
use crate::drop_reason::DropReason;
use crate::engine::{Change, Entropy, Event, LearnedAddress, Transmit, uniform};
use crate::error::{EmitError, Table, TableFull};
use crate::interface::{
    AddressRow, Addresses, Context, Interface, Received, answer_solicitation, neighbor_discovery, write_advertisement,
};
use crate::isatap::link::Link;
use crate::isatap::prl::{EntryOrigin, PotentialRouter, Prl, Timer};
use crate::isatap::{addr, ingress};
use crate::link::{
    Admitted, Denied, Link as LinkTrait, LinkKind, Locator, OuterPolicy, Resolution as NextHopResolution,
};
use crate::nd::learned::{DnsServer, LinkParameters, SearchDomain, TimedRow, TimedSet};
use crate::nd::message::{self, NeighborFlags, NeighborSolicitationRepr, RouterAdvertisement, RouterSolicitationRepr};
use crate::nd::neighbor::{Advertised, Neighbor, Neighbors};
use crate::nd::solicit;
use crate::nd::{Message, NdOption, validate};
use crate::packet::PacketMut;
use crate::prefix::Ipv6Prefix;
use crate::proto41::Flow;
use crate::proto41::icmp::TunnelError;
use crate::route::{Origin, Preference, Route};
use crate::time::{Expiry, Instant, Lifetime};

/// How a host behaves. [`HostConfig::DEFAULT`] is what RFC 5214 and RFC 7559
/// recommend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether there are names to resolve: the host then asks for it by
    /// [`Event::ResolveRouters`].
    pub resolve: bool,
    /// PrlRefreshInterval. `ISA-21 [RFC 5214 §8.3.1]`
    pub refresh_interval: Duration,
    /// When the link-local addresses exist. `ISA-12`
    pub link_local: LinkLocal,
    /// Where the first solicitation of a round goes. `ISA-30`
    pub solicit: SolicitDestination,
    /// Whether repeats go to the other u form and to all-routers. `ISA-27`
    pub try_other_forms: bool,
    /// How solicitations are paced; its `min_round_interval` is
    /// MinRouterSolicitInterval. `ISA-34`, `ISA-37`
    pub solicitation: solicit::Config,
    /// Whether neighbours are probed. `ISA-48`
    pub probe_neighbors: bool,
}

impl HostConfig {
    /// The recommended behaviour, with names to resolve.
    pub const DEFAULT: HostConfig = HostConfig {
        policy: OuterPolicy::DEFAULT,
        resolve: true,
        refresh_interval: Duration::from_secs(3600),
        link_local: LinkLocal::Always,
        solicit: SolicitDestination::Unicast,
        try_other_forms: true,
        solicitation: solicit::Config::DEFAULT,
        probe_neighbors: true,
    };
}

impl Default for HostConfig {
    fn default() -> Self {
        HostConfig::DEFAULT
    }
}

/// When a host has link-local addresses. `ISA-12`, `NAM-6a`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkLocal {
    /// With every locator.
    Always,
    /// With every locator, while the router list is not empty.
    WhenRouterKnown,
}

/// The inner destination of a solicitation. `ISA-30`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SolicitDestination {
    /// The potential router's link-local address.
    Unicast,
    /// All-routers, `ff02::2`, as Windows XP does.
    AllRouters,
}

/// The potential routers' names, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// All addresses of all names.
    pub addresses: &'a [Ipv4Addr],
    /// The smallest TTL of the records; `None` when they have none.
    pub ttl: Option<Duration>,
}

/// Why names were not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolveFailure {
    /// Nobody could be asked, or nobody answered: the old list is kept.
    Unavailable,
    /// The names have no address: entries that came from names are removed.
    NoSuchName,
}

/// The interface of an ISATAP host.
#[derive(Clone)]
pub struct HostInterface<C: Capacity> {
    config: HostConfig,
    link: Link<C>,
    names: Names,
    parameters: LinkParameters,
    servers: TimedSet<DnsServer, Rows<C::DnsServers, TimedRow<DnsServer>>>,
    domains: TimedSet<SearchDomain, Rows<C::SearchDomains, TimedRow<SearchDomain>>>,
    neighbors: Neighbors<Ipv4Addr, Rows<C::Neighbors, Neighbor<Ipv4Addr>>>,
    addresses: Addresses<Rows<C::Addresses, AddressRow>>,
    full: FullTables,
    told_mtu: u16,
}

/// Where the resolution of names stands. `ISA-22`, `ISA-24`
#[derive(Clone, Copy, Debug)]
struct Names {
    wanted: bool,
    asked: bool,
    refresh: Expiry,
    failures: u8,
    /// TTL 0: resolve before each round. `ISA-22`
    before_each_round: bool,
}

/// Which tables were found full, and which were told so.
#[derive(Clone, Copy, Debug, Default)]
struct FullTables {
    now: u16,
    told: u16,
}

/// The tables of a host that can be full, by bit.
const TABLES: [Table; 6] = [
    Table::PotentialRouters,
    Table::Prefixes,
    Table::Routes,
    Table::Addresses,
    Table::DnsServers,
    Table::SearchDomains,
];

impl FullTables {
    fn bit(table: Table) -> u16 {
        let at = TABLES.iter().position(|&other| other == table).and_then(|at| u32::try_from(at).ok());
        at.and_then(|at| 1_u16.checked_shl(at)).unwrap_or(0)
    }

    fn note<T>(&mut self, result: Result<T, TableFull>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(full) => {
                self.now |= Self::bit(full.table);
                None
            }
        }
    }

    fn found_room(&mut self, table: Table) {
        let bit = Self::bit(table);
        self.now &= !bit;
        self.told &= !bit;
    }

    fn next(&mut self) -> Option<Table> {
        let table = TABLES.into_iter().find(|&table| self.now & !self.told & Self::bit(table) != 0)?;
        self.told |= Self::bit(table);
        Some(table)
    }

    fn has_next(&self) -> bool {
        self.now & !self.told != 0
    }
}

impl<C: Capacity> HostInterface<C> {
    /// A host without locators.
    #[must_use]
    pub const fn new(config: HostConfig) -> Self {
        HostInterface {
            config,
            link: Link::new(config.policy, false),
            names: Names { wanted: false, asked: false, refresh: Expiry::NEVER, failures: 0, before_each_round: false },
            parameters: LinkParameters::DEFAULT,
            servers: TimedSet::EMPTY,
            domains: TimedSet::EMPTY,
            neighbors: Neighbors::EMPTY,
            addresses: Addresses::EMPTY,
            full: FullTables { now: 0, told: 0 },
            told_mtu: 0,
        }
    }

    /// The link's data.
    #[must_use]
    pub fn link(&self) -> &Link<C> {
        &self.link
    }

    /// The link's data, for its settings.
    pub fn link_mut(&mut self) -> &mut Link<C> {
        &mut self.link
    }

    /// This host's addresses as they should be.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.addresses.iter()
    }

    /// The DNS servers learned. `NDP-13`
    pub fn dns_servers(&self) -> impl Iterator<Item = &TimedRow<DnsServer>> {
        self.servers.iter()
    }

    /// The search domains learned.
    pub fn search_domains(&self) -> impl Iterator<Item = &TimedRow<SearchDomain>> {
        self.domains.iter()
    }

    /// The link parameters learned.
    #[must_use]
    pub fn parameters(&self) -> &LinkParameters {
        &self.parameters
    }

    /// The neighbours under unreachability detection, by IPv4 address.
    #[must_use]
    pub fn neighbors(&self) -> &Neighbors<Ipv4Addr, Rows<C::Neighbors, Neighbor<Ipv4Addr>>> {
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
        let before = self.link.locators.clone();
        let result = self.link.replace_locators(locators);
        let same = before.len() == self.link.locators.len() && before.iter().eq(self.link.locators.iter());
        if same {
            return result;
        }
        self.sync_addresses(cx.now);
        if self.link.locators.is_empty() {
            for (_, row) in self.link.prl.rows_mut() {
                row.solicitation.answered();
                row.solicitation_wanted = false;
                row.round_pending = false;
                row.timer = Timer::Off;
            }
            return result;
        }
        let brings_new = self.link.locators.iter().any(|new| !before.iter().any(|old| old.address == new.address));
        if brings_new {
            self.names.wanted |= self.config.resolve;
            self.names.failures = 0;
            for slot in 0..self.slots() {
                self.start_round(cx.now, slot, true);
            }
        }
        result
    }

    /// Lists a potential router by address. `ISA-20`
    ///
    /// # Errors
    /// The router list is full.
    pub fn add_router(&mut self, cx: &mut Context<'_, C>, address: Ipv4Addr) -> Result<(), TableFull> {
        self.list(cx.now, address, EntryOrigin::Static)
    }

    /// Takes a potential router off the list, with all that was learned from
    /// it alone.
    pub fn remove_router(&mut self, cx: &mut Context<'_, C>, address: Ipv4Addr) {
        if let Some(slot) = self.link.prl.slot(address) {
            self.retire(cx, slot);
            self.sync_addresses(cx.now);
        }
    }

    /// `ISA-45`: whether a listed router may be a default router and set link
    /// parameters. Holds while it is listed.
    pub fn set_default_router(&mut self, address: Ipv4Addr, allowed: bool) {
        if let Some(row) = self.link.prl.slot(address).and_then(|slot| self.link.prl.row_mut(slot)) {
            row.default = allowed;
        }
    }

    /// Resolves the names now, whatever the timers say.
    pub fn resolve_routers(&mut self) {
        self.names.wanted |= self.config.resolve;
    }

    /// The answer to [`Event::ResolveRouters`].
    ///
    /// # Errors
    /// More addresses than the router list holds: as many as fit are used.
    pub fn routers_resolved(
        &mut self,
        cx: &mut Context<'_, C>,
        answer: Result<Answer<'_>, ResolveFailure>,
    ) -> Result<(), TableFull> {
        self.names.asked = false;
        let mut result = Ok(());
        let addresses = match answer {
            Ok(answer) => {
                self.names.failures = 0;
                self.names.before_each_round = answer.ttl == Some(Duration::ZERO);
                // ISA-22 [RFC 5214 §8.3.2]
                let ttl = answer.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(Duration::MAX);
                self.names.refresh = Expiry::at(cx.now.saturating_add(ttl.min(self.config.refresh_interval)));
                answer.addresses
            }
            Err(failure) => {
                // ISA-24: what is known stays as long as nobody denies it.
                // Ask again after 10 s, 20 s, 40 s … at most the refresh interval.
                let wait = Duration::from_secs(10_u64.checked_shl(self.names.failures.into()).unwrap_or(u64::MAX));
                self.names.failures = self.names.failures.saturating_add(1).min(16);
                self.names.refresh = Expiry::at(cx.now.saturating_add(wait.min(self.config.refresh_interval)));
                if failure == ResolveFailure::Unavailable {
                    self.start_pending(cx.now);
                    return Ok(());
                }
                &[]
            }
        };
        // ISA-23: whole addresses are compared; entries in both keep all.
        for slot in 0..self.slots() {
            let gone = self.link.prl.row_mut(slot).is_some_and(|row| {
                row.listed && row.origin == EntryOrigin::Resolved && !addresses.contains(&row.address)
            });
            if gone {
                self.retire(cx, slot);
            }
        }
        for &address in addresses {
            // ISA-25
            if Prl::<C>::is_acceptable(address, self.link.locators())
                && let Err(full) = self.list(cx.now, address, EntryOrigin::Resolved)
            {
                result = Err(full);
            }
        }
        self.start_pending(cx.now);
        self.sync_addresses(cx.now);
        result
    }

    fn slots(&self) -> usize {
        self.link.prl.capacity()
    }

    fn list(&mut self, now: Instant, address: Ipv4Addr, origin: EntryOrigin) -> Result<(), TableFull> {
        let added = self.link.prl.add(address, origin);
        self.full.note(added);
        let (slot, new) = added?;
        self.full.found_room(Table::PotentialRouters);
        if new {
            // ISA-32: a new entry starts a round.
            self.start_round(now, slot, true);
            self.sync_addresses(now);
        }
        Ok(())
    }

    /// Takes the entry off the list. `ISA-23`
    fn retire(&mut self, cx: &mut Context<'_, C>, slot: usize) {
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        row.retire();
        let address = row.address;
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

    /// Starts a round of solicitations to one router, or sees to it that one
    /// starts when it may. `ISA-33`, `ISA-37`
    fn start_round(&mut self, now: Instant, slot: usize, with_delay: bool) {
        if self.link.locators.is_empty() {
            return;
        }
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        if !row.listed {
            return;
        }
        row.timer = Timer::Off;
        if self.names.before_each_round && row.origin == EntryOrigin::Resolved && !row.round_pending {
            row.round_pending = true;
            self.names.wanted = true;
            return;
        }
        Self::begin(&self.config, row, now, with_delay);
    }

    /// Begins the rounds that waited for the names.
    fn start_pending(&mut self, now: Instant) {
        for (_, row) in self.link.prl.rows_mut() {
            if row.listed && row.round_pending {
                Self::begin(&self.config, row, now, false);
            }
        }
    }

    fn begin(config: &HostConfig, row: &mut PotentialRouter, now: Instant, with_delay: bool) {
        row.round_pending = false;
        row.solicitation.start(now, with_delay, &config.solicitation);
    }

    /// The addresses that should be: one link-local a locator, and one for
    /// each autonomous prefix and locator. `ISA-12 [RFC 4862 §5.3]`
    fn sync_addresses(&mut self, now: Instant) {
        let link_locals = self.config.link_local == LinkLocal::Always || self.link.prl.iter().next().is_some();
        let link_local =
            LinkPrefix { prefix: Ipv6Prefix::LINK_LOCAL, preferred_until: Expiry::NEVER, valid_until: Expiry::NEVER };
        let learned = self.link.prefixes.iter().filter_map(|row| {
            let valid_until = row.valid_until().filter(|valid| !valid.is_due(now))?;
            let preferred_until = row.preferred_until().unwrap_or(Expiry::at(now));
            Some(LinkPrefix { prefix: row.prefix(), preferred_until, valid_until })
        });
        let prefixes = link_locals.then_some(link_local).into_iter().chain(learned);
        let locators = self.link.locators.as_slice();
        let wanted = prefixes.flat_map(|prefix| {
            locators.iter().filter_map(move |locator| {
                Some(LearnedAddress {
                    address: addr::address(&prefix.prefix, locator.address)?,
                    prefix_length: 64,
                    preferred_until: prefix.preferred_until,
                    valid_until: prefix.valid_until,
                })
            })
        });
        let replaced = self.addresses.replace(wanted);
        if self.full.note(replaced).is_some() {
            self.full.found_room(Table::Addresses);
        }
    }

    /// The on-link routes that should be: one for each on-link prefix.
    fn sync_routes(&mut self, cx: &mut Context<'_, C>) {
        let synced = self.link.sync_routes(cx);
        self.full.note(synced);
    }

    /// A Router Advertisement from the router in row `slot`.
    fn learn(&mut self, cx: &mut Context<'_, C>, slot: usize, source: Ipv6Addr, ra: &RouterAdvertisement<'_>) {
        let Some(default) = self.link.prl.row_mut(slot).map(|row| row.default) else { return };
        let (now, number) = (cx.now, router_number(slot));
        let mut lifetimes = Lifetimes { shortest: None, longest: Lifetime::ZERO };
        if default {
            // NDP-30, NDP-31: the last advertisement wins, zero says nothing.
            self.parameters.learn(now, ra);
            let lifetime = Lifetime::from_duration(ra.router_lifetime());
            lifetimes.useful(lifetime);
            // NDP-36 [RFC 4191 §3.1]: the header first, then each option.
            self.set_route(cx, Ipv6Prefix::DEFAULT, source, ra.preference(), lifetime);
        }
        for option in ra.options().flatten() {
            match option {
                NdOption::PrefixInformation(information) => {
                    lifetimes.useful(information.valid_lifetime);
                    lifetimes.note(information.preferred_lifetime);
                    let learned = self.link.prefixes.learn(now, &information, number);
                    if self.full.note(learned).is_some() {
                        self.full.found_room(Table::Prefixes);
                    }
                }
                NdOption::RouteInformation(information) => {
                    let scope = information.prefix.address();
                    if scope.is_multicast() || scope.is_unicast_link_local() {
                        continue;
                    }
                    if information.prefix.is_default() && !default {
                        continue;
                    }
                    lifetimes.useful(information.lifetime);
                    self.set_route(cx, information.prefix, source, information.preference, information.lifetime);
                }
                NdOption::Mtu(mtu) if default => {
                    // NDP-14, TUN-36 [RFC 4861 §6.3.4]: what fits the link.
                    self.parameters.learn_mtu(mtu, self.link.policy.mtu.interface_mtu());
                    self.link.policy.link_mtu = self.parameters.mtu().unwrap_or(self.link.policy.link_mtu);
                }
                NdOption::RecursiveDnsServers(servers) => {
                    lifetimes.note(servers.lifetime());
                    let learned = self.servers.learn_option(now, &servers, number);
                    self.full.note(learned);
                }
                NdOption::DnsSearchList(domains) => {
                    lifetimes.note(domains.lifetime());
                    let learned = self.domains.learn_option(now, &domains, number);
                    self.full.note(learned);
                }
                _ => {}
            }
        }
        self.sync_routes(cx);
        self.sync_addresses(now);
        for form in [addr::link_local, addr::other_link_local] {
            if let Some(row) = self.link.prl.row_mut(slot) {
                cx.routes.set_unreachable(cx.id, &form(row.address), false);
            }
        }
        if let Some(row) = self.link.prl.row_mut(slot) {
            row.other_form = source != addr::link_local(row.address);
            row.solicitation.answered();
            row.solicitation_wanted = false;
            row.alive_until = Expiry::after(now, lifetimes.longest);
            row.useless = if lifetimes.longest.is_zero() { row.useless.saturating_add(1).min(16) } else { 0 };
            let (interval, too_short) = timer(&self.config, &lifetimes, row.useless);
            row.timer = Timer::Draw { from: now, interval };
            row.warn_lifetime = too_short;
            // NDP-66 [RFC 4861 §6.3.4]
            self.neighbors.heard_router(row.address);
            if self.config.probe_neighbors && !row.answered {
                // ISA-48 [RFC 5214 §8.4]: confirmed once, when its addresses
                // are new.
                let _ = self.neighbors.probe(now, row.address);
            }
            row.answered = true;
        }
    }

    fn set_route(
        &mut self,
        cx: &mut Context<'_, C>,
        prefix: Ipv6Prefix,
        next_hop: Ipv6Addr,
        preference: Preference,
        lifetime: Lifetime,
    ) {
        let route = Route {
            preference,
            expires: Expiry::after(cx.now, lifetime),
            ..Route::via(prefix, cx.id, next_hop, Origin::Advertised)
        };
        if lifetime.is_zero() {
            // ISA-47, NDP-36: zero withdraws this route and nothing else.
            cx.routes.remove(&route.key());
        } else if self.full.note(cx.routes.insert(route)).is_some() {
            self.full.found_room(Table::Routes);
        }
    }

    fn redirect(
        &mut self,
        cx: &mut Context<'_, C>,
        received: &validate::Received<'_>,
        target: Ipv6Addr,
        destination: Ipv6Addr,
        outer_source: Ipv4Addr,
    ) -> Received {
        // ISA-46 [RFC 4861 §8.1]: from the first hop that is in use, whose
        // entry may be a default router (ISA-45), to a neighbour of ours.
        let first_hop =
            cx.routes.lookup_on(Some(cx.id), &destination).map(|found| found.route.next_hop_for(&destination));
        let allowed =
            self.link.prl.slot(outer_source).and_then(|slot| self.link.prl.row_mut(slot)).is_some_and(|r| r.default);
        let reachable = addr::embedded_ipv4(&target).is_some() && self.link.is_on_link(&target);
        if first_hop != Some(received.source) || !allowed || !reachable || destination.is_multicast() {
            return Received::Drop(DropReason::RedirectRefused);
        }
        let Some(prefix) = Ipv6Prefix::new(destination, 128) else { return Received::Consumed };
        let expires = Expiry::after(cx.now, REDIRECT_LIFETIME);
        let on_link = Route::on_link(prefix, cx.id, Origin::Advertised);
        let next_hop = if target == destination { None } else { Some(target) };
        self.full.note(cx.routes.insert(Route { next_hop, expires, ..on_link }));
        Received::Consumed
    }

    /// The inner destination of the next solicitation to a router. `ISA-27`
    fn solicitation_destination(&self, row: &PotentialRouter) -> Ipv6Addr {
        let (own, other) = if row.other_form {
            (addr::other_link_local(row.address), addr::link_local(row.address))
        } else {
            (addr::link_local(row.address), addr::other_link_local(row.address))
        };
        let order = match self.config.solicit {
            SolicitDestination::Unicast => [own, other, ingress::ALL_ROUTERS],
            SolicitDestination::AllRouters => [ingress::ALL_ROUTERS, own, other],
        };
        let turn = if self.config.try_other_forms { row.attempts().saturating_sub(1).checked_rem(3) } else { None };
        let turn = usize::from(turn.unwrap_or(0));
        order.get(turn).copied().unwrap_or(own)
    }
}

/// A redirected destination is looked up again after this long; the RFC
/// gives such entries no lifetime, a small table must.
const REDIRECT_LIFETIME: Lifetime = Lifetime::from_secs(600);

/// At most one probe a minute of a router that is avoided. [RFC 4191 §3.5]
const AVOIDED_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// The number of a row of the router list, as learned state names it.
fn router_number(slot: usize) -> u8 {
    u8::try_from(slot).unwrap_or(u8::MAX)
}

/// A prefix that addresses are made of.
struct LinkPrefix {
    prefix: Ipv6Prefix,
    preferred_until: Expiry,
    valid_until: Expiry,
}

/// The lifetimes in one advertisement.
struct Lifetimes {
    shortest: Option<Duration>,
    longest: Lifetime,
}

impl Lifetimes {
    /// A lifetime that must not run out before the router is asked again.
    fn note(&mut self, lifetime: Lifetime) {
        if let Some(duration) = lifetime.duration().filter(|duration| !duration.is_zero()) {
            self.shortest = Some(self.shortest.map_or(duration, |shortest| shortest.min(duration)));
        }
    }

    /// The same, of something that makes the advertisement useful.
    fn useful(&mut self, lifetime: Lifetime) {
        self.note(lifetime);
        self.longest = self.longest.max(lifetime);
    }
}

/// TIMER(i) before jitter, and whether a lifetime will run out before it.
///
/// `ISA-35 [RFC 5214 §8.3.4; RFC 7559 §2.1]`: 80 % of the shortest finite
/// lifetime, never less than MinRouterSolicitInterval; without any, the
/// refresh interval; after an advertisement that says nothing, ever longer.
fn timer(config: &HostConfig, lifetimes: &Lifetimes, useless: u8) -> (Duration, bool) {
    let least = config.solicitation.min_round_interval;
    if useless > 0 {
        let factor = 1_u32.checked_shl(u32::from(useless).saturating_sub(1)).unwrap_or(u32::MAX);
        return (least.saturating_mul(factor).min(config.refresh_interval.max(least)), false);
    }
    match lifetimes.shortest {
        None => (config.refresh_interval.max(least), false),
        Some(shortest) => {
            let early = shortest.saturating_mul(4).checked_div(5).unwrap_or(shortest);
            (early.max(least), early < least && shortest <= least)
        }
    }
}

impl<C: Capacity> Interface<C> for HostInterface<C> {
    type Snapshot = Link<C>;

    fn snapshot(&self) -> Link<C> {
        self.link.clone()
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_, C>,
        from: Admitted,
        flow: &Flow,
        packet: &mut PacketMut<'_>,
    ) -> Received {
        let Some(received) = neighbor_discovery(packet.as_slice()) else { return Received::NotControl };
        let message = match validate::message(&received) {
            Ok(message) => message,
            Err(reason) => return Received::Drop(reason),
        };
        match message {
            // ISA-49, NDP-25 [RFC 4861 §6.2.6]
            Message::RouterSolicitation(_) => Received::Drop(DropReason::NotARouter),
            Message::RouterAdvertisement(ra) => {
                if let Err(reason) = ingress::advertisement(&received.source, flow.outer_source, from) {
                    return Received::Drop(reason);
                }
                let Some(slot) = self.link.prl.slot(flow.outer_source) else {
                    return Received::Drop(DropReason::RaNotFromRouter);
                };
                self.learn(cx, slot, received.source, &ra);
                Received::Consumed
            }
            Message::NeighborSolicitation(_) => match answer_solicitation(&self.link, cx.forwarding, &received) {
                Ok(answer) => write_advertisement(packet, answer),
                Err(reason) => Received::Drop(reason),
            },
            Message::NeighborAdvertisement(na) => {
                // The neighbour is who sent the packet: its target must be it.
                if addr::embedded_ipv4(&na.target()) != Some(flow.outer_source) {
                    return Received::Drop(DropReason::NdUnknownTarget);
                }
                let solicited = na.flags().contains(NeighborFlags::SOLICITED);
                let is_router = na.flags().contains(NeighborFlags::ROUTER);
                if self.neighbors.advertised(cx.now, flow.outer_source, solicited, is_router) == Advertised::Unknown {
                    return Received::Drop(DropReason::NdUnknownTarget);
                }
                for form in [addr::link_local(flow.outer_source), addr::other_link_local(flow.outer_source)] {
                    if solicited {
                        cx.routes.set_unreachable(cx.id, &form, false);
                    }
                    // NDP-53 [RFC 4861 §7.2.5]: a router no more.
                    if !is_router {
                        cx.routes.remove_if(|route| {
                            route.link == cx.id
                                && route.origin == Origin::Advertised
                                && route.prefix.is_default()
                                && route.next_hop == Some(form)
                        });
                    }
                }
                Received::Consumed
            }
            Message::Redirect(redirect) => {
                self.redirect(cx, &received, redirect.target(), redirect.destination(), flow.outer_source)
            }
        }
    }

    fn note_sent(&mut self, now: Instant, destination: Ipv4Addr) {
        if self.config.probe_neighbors {
            // A full table watches no more neighbours; nothing else changes.
            let _ = self.neighbors.note_sent(now, destination);
        }
    }

    fn note_avoided(&mut self, now: Instant, next_hop: &Ipv6Addr) {
        let slot = addr::embedded_ipv4(next_hop).and_then(|ipv4| self.link.prl.slot(ipv4));
        if let Some(row) = slot.and_then(|slot| self.link.prl.row_mut(slot))
            && row.avoided_until <= now
        {
            // NDP-37 [RFC 4191 §3.5]: there is traffic for it now; once a minute.
            row.avoided_until = now.saturating_add(AVOIDED_PROBE_INTERVAL);
            let _ = self.neighbors.probe(now, row.address);
        }
    }

    fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason> {
        // TUN-44 [RFC 5214 §7.2]: a hint may only cast doubt (NDP-68).
        if error.too_big().is_none() {
            self.neighbors.doubt(now, error.destination);
        }
        self.link.path_error(now, error)
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        let now = cx.now;
        if self.names.refresh.is_due(now) {
            self.names.refresh = Expiry::NEVER;
            self.names.wanted |= self.config.resolve;
        }
        self.link.paths.handle_timeout(now);
        self.servers.expire(now);
        self.domains.expire(now);
        self.parameters.handle_timeout(now, entropy);
        if self.link.prefixes.deadline().is_due(now) {
            self.link.prefixes.expire(now);
            self.sync_routes(cx);
            self.sync_addresses(now);
        }
        self.neighbors.set_times(self.parameters.reachable_time(), self.parameters.retrans_timer());
        self.neighbors.handle_timeout(now);
        while let Some(unreachable) = self.neighbors.next_failed() {
            for form in [addr::link_local(unreachable), addr::other_link_local(unreachable)] {
                // NDP-37 [RFC 4191 §3.2]: skipped while another is reachable.
                cx.routes.set_unreachable(cx.id, &form, true);
            }
            if let Some(slot) = self.link.prl.slot(unreachable) {
                self.start_round(now, slot, false);
            }
        }
        for slot in 0..self.slots() {
            self.row_timeout(now, slot, entropy);
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        let wanted = self.link.prl.rows().find(|row| row.solicitation_wanted).copied();
        if let Some(row) = wanted {
            if let Some(locator) = self.link.locator_for(row.address) {
                // ISA-31: from the link-local address of the locator that the
                // outer header names; hop limit 255; no link-layer address.
                let (source, destination) = (addr::link_local(locator), self.solicitation_destination(&row));
                message::write_packet(out, &source, &destination, |w| RouterSolicitationRepr.emit(w))?;
                let sent = cx.send(&self.link, locator, row.address, out);
                self.solicited(row.address);
                return Ok(sent);
            }
            self.solicited(row.address);
        }
        let Some(neighbor) = self.neighbors.next_probe(cx.now) else { return Ok(None) };
        let Some(locator) = self.link.locator_for(neighbor) else {
            self.neighbors.probe_sent(cx.now, neighbor);
            return Ok(None);
        };
        let other_form = self.link.prl.iter().any(|row| row.address == neighbor && row.other_form);
        let target = if other_form { addr::other_link_local(neighbor) } else { addr::link_local(neighbor) };
        // NDP-51: to the target itself.
        let source = addr::link_local(locator);
        message::write_packet(out, &source, &target, |w| NeighborSolicitationRepr { target }.emit(w))?;
        let sent = cx.send(&self.link, locator, neighbor, out);
        self.neighbors.probe_sent(cx.now, neighbor);
        Ok(sent)
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let link = cx.id;
        if self.names.wanted && !self.names.asked {
            self.names.wanted = false;
            self.names.asked = true;
            return Some(Event::ResolveRouters { link });
        }
        if let Some((change, address)) = self.addresses.poll() {
            return Some(Event::Address { link, change, address });
        }
        for (_, row) in self.link.prl.rows_mut() {
            if row.told != row.answered {
                row.told = row.answered;
                let change = if row.told { Change::Added } else { Change::Removed };
                return Some(Event::Router { link, change, address: row.address });
            }
            if row.warn_lifetime {
                row.warn_lifetime = false;
                return Some(Event::LifetimeTooShort { link, address: row.address });
            }
        }
        if self.told_mtu != self.link.policy.link_mtu {
            self.told_mtu = self.link.policy.link_mtu;
            return Some(Event::Mtu { link, mtu: self.told_mtu });
        }
        if self.servers.poll_changed() {
            return Some(Event::DnsServers { link });
        }
        if self.domains.poll_changed() {
            return Some(Event::SearchDomains { link });
        }
        self.full.next().map(|table| Event::TableFull { link, table })
    }

    fn deadline(&self) -> Expiry {
        let rows = self.link.prl.rows().map(PotentialRouter::deadline);
        [
            self.names.refresh,
            self.link.paths.next_deadline(),
            self.link.prefixes.deadline(),
            self.servers.deadline(),
            self.domains.deadline(),
            self.parameters.deadline(),
            self.neighbors.deadline(),
        ]
        .into_iter()
        .chain(rows)
        .min()
        .unwrap_or(Expiry::NEVER)
    }

    fn has_packet(&self, now: Instant) -> bool {
        self.neighbors.next_probe(now).is_some() || self.link.prl.rows().any(|row| row.solicitation_wanted)
    }

    fn has_event(&self) -> bool {
        (self.names.wanted && !self.names.asked)
            || self.addresses.has_changes()
            || self.told_mtu != self.link.policy.link_mtu
            || self.servers.has_changes()
            || self.domains.has_changes()
            || self.full.has_next()
            || self.link.prl.rows().any(|row| row.told != row.answered || row.warn_lifetime)
    }
}

impl<C: Capacity> HostInterface<C> {
    /// What is due in one row of the router list.
    fn row_timeout(&mut self, now: Instant, slot: usize, entropy: &mut dyn Entropy) {
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        if row.answered && row.alive_until.is_due(now) {
            row.answered = false;
        }
        if let Timer::Draw { from, interval } = row.timer {
            // ISA-35: ±10 %. A round that would start before
            // MinRouterSolicitInterval is over waits for it.
            let spread = interval.checked_div(10).unwrap_or(interval);
            let drawn = uniform(entropy, interval.saturating_sub(spread), interval.saturating_add(spread));
            row.timer = Timer::At(from.saturating_add(drawn));
        }
        if matches!(row.timer, Timer::At(due) if due <= now) {
            row.timer = Timer::Off;
            // ISA-33: no delay when it is the timer that asks.
            self.start_round(now, slot, false);
        }
        let config = self.config.solicitation;
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        if row.solicitation.handle_timeout(now, &config, entropy) {
            row.solicitation_wanted = true;
        }
    }

    /// The solicitation to `address` has been written.
    fn solicited(&mut self, address: Ipv4Addr) {
        for (_, row) in self.link.prl.rows_mut().filter(|(_, row)| row.address == address) {
            row.solicitation_wanted = false;
        }
    }
}

/// The link's answers are those of its data.
impl<C: Capacity> LinkTrait for HostInterface<C> {
    fn kind(&self) -> LinkKind {
        self.link.kind()
    }

    fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<NextHopResolution, DropReason> {
        self.link.resolve(inner_source, next_hop)
    }

    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        self.link.admit(flow)
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        self.link.is_on_link(address)
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        self.link.is_local(address)
    }

    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        self.link.owns_ipv4(address)
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.link.source_for(destination)
    }

    fn policy(&self) -> &OuterPolicy {
        self.link.policy()
    }

    fn path_mtu(&self, destination: Ipv4Addr) -> u16 {
        self.link.path_mtu(destination)
    }
}

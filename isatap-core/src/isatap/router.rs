//! The router: answers solicitations, each to the host that asked.
//!
//! ```text
//! RS ──▶ row: delay drawn (0 … 0.5 s) ──▶ RA to the RS's source ──▶ quiet for 1 s
//! ```
//!
//! There are no unsolicited advertisements, since a router knows no list of
//! its hosts (`ISA-56`). A router that does not advertise is a
//! [`HostInterface`](super::HostInterface) whose forwarding is on (`ISA-62`).

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::capacity::{Capacity, List, Row, Rows};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, LearnedAddress, Transmit, uniform};
use crate::error::{EmitError, Table, TableFull};
use crate::interface::{
    AddressRow, Addresses, Context, Interface, Received, answer_solicitation, neighbor_discovery, write_advertisement,
};
use crate::isatap::addr;
use crate::isatap::link::Link;
use crate::isatap::prl::EntryOrigin;
use crate::link::{
    Admitted, Denied, Link as LinkTrait, LinkKind, Locator, OuterPolicy, Resolution as NextHopResolution,
};
use crate::nd::learned::{DnsServer, SearchDomain};
use crate::nd::message::{self, RouterAdvertisementRepr, RouterFlags};
use crate::nd::option::{DnsSearchList, Mtu, PrefixFlags, PrefixInformation, RecursiveDnsServers, RouteInformation};
use crate::nd::{Message, validate};
use crate::packet::PacketMut;
use crate::prefix::Ipv6Prefix;
use crate::proto41::Flow;
use crate::proto41::icmp::TunnelError;
use crate::route::{Preference, Route};
use crate::time::{Expiry, Instant, Lifetime};
use crate::wire::field::Writer;

/// What a router advertises, prefixes and routes apart. `ISA-55`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether solicitations are answered at all. `RTE-7`
    pub advertise: bool,
    /// Whether the router offers itself as a default router although no
    /// `::/0` is published. Never while forwarding is off (`NDP-67`).
    pub advertise_default_route: bool,
    /// The hop limit that hosts should use; 0: no opinion.
    pub cur_hop_limit: u8,
    /// M, O and other flags.
    pub flags: RouterFlags,
    /// Preference as a default router.
    pub preference: Preference,
    /// Lifetime as a default router, in seconds. `ISA-59`
    pub router_lifetime: u16,
    /// How long a neighbour counts as reachable, in ms; 0: no opinion.
    pub reachable_time: u32,
    /// Between two Neighbor Solicitations, in ms; 0: no opinion.
    pub retrans_timer: u32,
    /// The MTU that hosts should use, in bytes; `None`: no opinion.
    pub mtu: Option<u16>,
    /// Lifetime of the DNS servers and search domains.
    pub dns_lifetime: Lifetime,
    /// Advertisements a second to all hosts together. `ISA-57`
    pub answers_per_second: u16,
}

impl RouterConfig {
    /// A default router with the lifetimes of RFC 4861, MTU 1,280.
    pub const DEFAULT: RouterConfig = RouterConfig {
        policy: OuterPolicy::DEFAULT,
        advertise: true,
        advertise_default_route: true,
        cur_hop_limit: 64,
        flags: RouterFlags::empty(),
        preference: Preference::Medium,
        router_lifetime: 1800,
        reachable_time: 0,
        retrans_timer: 0,
        mtu: Some(1280),
        dns_lifetime: Lifetime::from_secs(1800),
        answers_per_second: 1000,
    };
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig::DEFAULT
    }
}

/// A prefix that hosts make addresses of, and its lifetimes. `ISA-59`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedPrefix {
    /// The prefix, a /64.
    pub prefix: Ipv6Prefix,
    /// How long addresses are valid.
    pub valid_lifetime: Lifetime,
    /// How long addresses are preferred.
    pub preferred_lifetime: Lifetime,
}

impl PublishedPrefix {
    /// A prefix with the lifetimes of RFC 4861 §6.2.1: 30 and 7 days.
    #[must_use]
    pub const fn new(prefix: Ipv6Prefix) -> Self {
        PublishedPrefix {
            prefix,
            valid_lifetime: Lifetime::from_secs(2_592_000),
            preferred_lifetime: Lifetime::from_secs(604_800),
        }
    }
}

impl Row for PublishedPrefix {
    const EMPTY: Self = PublishedPrefix::new(Ipv6Prefix::DEFAULT);
}

/// The interface of an advertising ISATAP router.
#[derive(Clone)]
pub struct RouterInterface<C: Capacity> {
    config: RouterConfig,
    link: Link<C>,
    published: List<PublishedPrefix, Rows<C::Prefixes, PublishedPrefix>>,
    servers: List<DnsServer, Rows<C::DnsServers, DnsServer>>,
    domains: List<SearchDomain, Rows<C::SearchDomains, SearchDomain>>,
    solicitors: List<Solicitor, Rows<C::Solicitations, Solicitor>>,
    addresses: Addresses<Rows<C::Addresses, AddressRow>>,
    /// Answers given in the second that began then. `ISA-57`
    answered: (Instant, u16),
    addresses_full: Full,
    told_mtu: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    No,
    Untold,
    Told,
}

/// A host that has solicited.
#[derive(Clone, Copy, Debug)]
pub struct Solicitor {
    host: Ipv6Addr,
    ipv4: Ipv4Addr,
    /// The locator that it asked, from which it expects the answer. `ISA-53`
    locator: Ipv4Addr,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The delay is to be drawn.
    Draw {
        from: Instant,
    },
    Due(Instant),
    /// Given; no other before that.
    Given {
        quiet_until: Instant,
    },
}

impl Row for Solicitor {
    const EMPTY: Self = Solicitor {
        host: Ipv6Addr::UNSPECIFIED,
        ipv4: Ipv4Addr::UNSPECIFIED,
        locator: Ipv4Addr::UNSPECIFIED,
        answer: Answer::Given { quiet_until: Instant::ZERO },
    };
}

/// `NDP-40 [RFC 4861 §10]`
const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);

/// No host is answered more often: less than the 4 s at which hosts repeat.
const QUIET: Duration = Duration::from_secs(1);

impl<C: Capacity> RouterInterface<C> {
    /// A router without locators or prefixes.
    #[must_use]
    pub const fn new(config: RouterConfig) -> Self {
        RouterInterface {
            config,
            link: Link::new(config.policy, true),
            published: List::EMPTY,
            servers: List::EMPTY,
            domains: List::EMPTY,
            solicitors: List::EMPTY,
            addresses: Addresses::EMPTY,
            answered: (Instant::ZERO, 0),
            addresses_full: Full::No,
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

    /// What is advertised, to be changed; hosts learn it when they ask next.
    pub fn config_mut(&mut self) -> &mut RouterConfig {
        &mut self.config
    }

    /// The published prefixes.
    #[must_use]
    pub fn published(&self) -> &[PublishedPrefix] {
        self.published.as_slice()
    }

    /// This router's addresses: for each locator a link-local one and one in
    /// each published prefix, of the same identifier. `ISA-54`
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.addresses.iter()
    }

    /// Replaces the locators, at any time.
    ///
    /// # Errors
    /// More locators than the table holds: as many as fit are used.
    pub fn set_locators(&mut self, _cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let result = self.link.replace_locators(locators);
        // Nobody expects an answer from a locator that is gone.
        let link = &self.link;
        self.solicitors.retain(|row| link.owns_ipv4(row.locator));
        self.sync_addresses();
        result
    }

    /// Publishes a prefix: on-link here, and for hosts to make addresses of.
    ///
    /// # Errors
    /// The table of prefixes is full.
    ///
    /// The prefix must be a /64; another one is on-link, and no addresses
    /// are made of it.
    pub fn publish(&mut self, cx: &mut Context<'_, C>, prefix: PublishedPrefix) -> Result<(), TableFull> {
        self.withdraw(cx, &prefix.prefix);
        self.published.push(prefix, Table::Prefixes)?;
        // To this node itself its own prefix does not end.
        let own = PrefixInformation {
            prefix: prefix.prefix,
            flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
            valid_lifetime: Lifetime::INFINITE,
            preferred_lifetime: Lifetime::INFINITE,
        };
        let learned = self.link.prefixes.learn(cx.now, &own, OWN);
        self.link.sync_routes(cx)?;
        self.sync_addresses();
        learned
    }

    /// Takes back a prefix. Hosts keep their addresses until they expire, as
    /// nobody can tell them. `ISA-56`
    pub fn withdraw(&mut self, cx: &mut Context<'_, C>, prefix: &Ipv6Prefix) {
        let before = self.published.len();
        self.published.retain(|row| row.prefix != *prefix);
        if self.published.len() == before {
            return;
        }
        let gone = PrefixInformation {
            prefix: *prefix,
            flags: PrefixFlags::ON_LINK,
            valid_lifetime: Lifetime::ZERO,
            preferred_lifetime: Lifetime::ZERO,
        };
        let _ = self.link.prefixes.learn(cx.now, &gone, OWN);
        self.link.prefixes.forget_autonomous(prefix);
        self.link.prefixes.expire(cx.now);
        // Removing routes needs no room.
        let _ = self.link.sync_routes(cx);
        self.sync_addresses();
    }

    /// Advertises a DNS server.
    ///
    /// # Errors
    /// The table is full.
    pub fn add_dns_server(&mut self, server: Ipv6Addr) -> Result<(), TableFull> {
        self.servers.push(DnsServer(server), Table::DnsServers)
    }

    /// Advertises a search domain.
    ///
    /// # Errors
    /// The table is full.
    pub fn add_search_domain(&mut self, domain: SearchDomain) -> Result<(), TableFull> {
        self.domains.push(domain, Table::SearchDomains)
    }

    /// Makes another router of the site known. `SEC-4`, `ISA-42`
    ///
    /// # Errors
    /// The router list is full.
    pub fn add_known_router(&mut self, address: Ipv4Addr) -> Result<(), TableFull> {
        self.link.prl.add(address, EntryOrigin::Static).map(|_| ())
    }

    fn sync_addresses(&mut self) {
        let prefixes = self.published.iter().map(|row| row.prefix);
        let locators = self.link.locators.as_slice();
        let wanted = core::iter::once(Ipv6Prefix::LINK_LOCAL).chain(prefixes).flat_map(|prefix| {
            locators.iter().filter_map(move |locator| {
                let address = addr::address(&prefix, locator.address)?;
                let never = Expiry::NEVER;
                Some(LearnedAddress { address, prefix_length: 64, preferred_until: never, valid_until: never })
            })
        });
        let full = self.addresses.replace(wanted).is_err();
        self.addresses_full = match (full, self.addresses_full) {
            (false, _) => Full::No,
            (true, Full::No) => Full::Untold,
            (true, before) => before,
        };
    }

    /// Remembers a host that asks. `ISA-51`, `ISA-52`
    fn solicited(&mut self, now: Instant, source: Ipv6Addr, flow: &Flow) -> Received {
        // ISA-52 [RFC 5214 §8.2]: the answer goes to the source, whose IPv4
        // address is the one that the packet came from.
        if addr::embedded_ipv4(&source) != Some(flow.outer_source) {
            return Received::Drop(DropReason::NdAddresses);
        }
        if !self.config.advertise {
            return Received::Drop(DropReason::NotARouter);
        }
        let new = Solicitor {
            host: source,
            ipv4: flow.outer_source,
            locator: flow.outer_destination,
            answer: Answer::Draw { from: now },
        };
        if let Some(row) = self.solicitors.iter_mut().find(|row| row.host == source && row.locator == new.locator) {
            return match row.answer {
                // NDP-40: the delay counts from the first one.
                Answer::Draw { .. } | Answer::Due(_) => Received::Consumed,
                Answer::Given { quiet_until } if now < quiet_until => Received::Drop(DropReason::RateLimited),
                Answer::Given { .. } => {
                    *row = new;
                    Received::Consumed
                }
            };
        }
        if self.solicitors.is_full() {
            // Rows that only remember an answer go first, the oldest of them;
            // a host that waits is never evicted.
            let given = |row: &Solicitor| match row.answer {
                Answer::Given { quiet_until } => Some(quiet_until),
                _ => None,
            };
            let oldest = self.solicitors.iter().enumerate().filter_map(|(at, row)| given(row).map(|quiet| (quiet, at)));
            match oldest.min() {
                Some((_, at)) => self.solicitors.remove(at),
                None => return Received::Drop(DropReason::TableFull),
            };
        }
        match self.solicitors.push(new, Table::Solicitations) {
            Ok(()) => Received::Consumed,
            Err(_) => Received::Drop(DropReason::TableFull),
        }
    }

    /// Writes the advertisement. `ISA-55`
    fn emit(
        &self,
        forwarding: bool,
        routes: &crate::interface::Routes<C>,
        id: crate::packet::LinkId,
        writer: &mut Writer<'_>,
    ) {
        let published = |route: &&Route| route.publish && route.link != id;
        let default = self.config.advertise_default_route
            || routes.published().filter(published).any(|route| route.prefix.is_default());
        let ra = RouterAdvertisementRepr {
            cur_hop_limit: self.config.cur_hop_limit,
            flags: self.config.flags,
            preference: self.config.preference,
            // NDP-67, RTE-7 [RFC 4861 §6.2.5]: no default router without
            // forwarding.
            router_lifetime: if default && forwarding { self.config.router_lifetime } else { 0 },
            reachable_time: self.config.reachable_time,
            retrans_timer: self.config.retrans_timer,
        };
        ra.emit(writer);
        if let Some(mtu) = self.config.mtu {
            Mtu(u32::from(mtu)).emit(writer);
        }
        for prefix in self.published.iter() {
            let option = PrefixInformation {
                prefix: prefix.prefix,
                flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
                valid_lifetime: prefix.valid_lifetime,
                preferred_lifetime: prefix.preferred_lifetime,
            };
            option.emit(writer);
        }
        // NDP-12 [RFC 4191 §2.3, §4]: no prefix twice, at most 17; and none
        // that this node would not forward to.
        let more_specific = || routes.published().filter(published).filter(|route| !route.prefix.is_default());
        for (at, route) in more_specific().enumerate().take(MOST_ROUTES) {
            let repeated = more_specific().take(at).any(|before| before.prefix == route.prefix);
            if forwarding && !repeated {
                let lifetime = Lifetime::from_secs(u32::from(self.config.router_lifetime));
                RouteInformation { prefix: route.prefix, preference: route.preference, lifetime }.emit(writer);
            }
        }
        for server in self.servers.iter() {
            RecursiveDnsServers::emit_list(self.config.dns_lifetime, &[server.0], writer);
        }
        if !self.domains.is_empty() {
            let names = self.domains.iter().filter_map(SearchDomain::name);
            DnsSearchList::emit_list(self.config.dns_lifetime, names, writer);
        }
    }

    /// One more answer in this second, if there may be. `ISA-57`
    fn may_answer(&mut self, now: Instant) -> bool {
        let (since, count) = self.answered;
        if now.saturating_duration_since(since) >= Duration::from_secs(1) {
            self.answered = (now, 1);
            return true;
        }
        if count >= self.config.answers_per_second {
            return false;
        }
        self.answered = (since, count.saturating_add(1));
        true
    }

    fn due(&self, now: Instant) -> Option<usize> {
        self.solicitors.iter().position(|row| matches!(row.answer, Answer::Due(at) if at <= now))
    }
}

/// `NDP-12 [RFC 4191 §4]`
const MOST_ROUTES: usize = 17;

/// The row of the router list that stands for this router itself.
const OWN: u8 = 0;

impl<C: Capacity> Interface<C> for RouterInterface<C> {
    type Snapshot = Link<C>;

    fn snapshot(&self) -> Link<C> {
        self.link.clone()
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_, C>,
        _from: Admitted,
        flow: &Flow,
        packet: &mut PacketMut<'_>,
    ) -> Received {
        let Some(received) = neighbor_discovery(packet.as_slice()) else { return Received::NotControl };
        let message = match validate::message(&received) {
            Ok(message) => message,
            Err(reason) => return Received::Drop(reason),
        };
        match message {
            Message::RouterSolicitation(_) => {
                // ISA-51: to all-routers, or to us under either u bit.
                if !received.destination.is_multicast() && !self.link.is_local(&received.destination) {
                    return Received::Drop(DropReason::NdAddresses);
                }
                self.solicited(cx.now, received.source, flow)
            }
            // NDP-25 [RFC 4861 §6.2.7]: what other routers say is not ours to use.
            Message::RouterAdvertisement(_) => Received::Consumed,
            // ISA-58 [RFC 5214 §8.4]
            Message::NeighborSolicitation(_) => match answer_solicitation(&self.link, cx.forwarding, &received) {
                Ok(answer) => write_advertisement(packet, answer),
                Err(reason) => Received::Drop(reason),
            },
            // No neighbour is watched here, so none is known (NDP-53).
            Message::NeighborAdvertisement(_) => Received::Drop(DropReason::NdUnknownTarget),
            // NDP-70 [RFC 4861 §8.2]
            Message::Redirect(_) => Received::Drop(DropReason::RedirectRefused),
        }
    }

    fn note_sent(&mut self, _now: Instant, _destination: Ipv4Addr) {}

    fn note_avoided(&mut self, _now: Instant, _next_hop: &Ipv6Addr) {}

    fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason> {
        self.link.path_error(now, error)
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        self.link.paths.handle_timeout(cx.now);
        for row in self.solicitors.iter_mut() {
            if let Answer::Draw { from } = row.answer {
                // NDP-40 [RFC 4861 §6.2.6]
                row.answer = Answer::Due(from.saturating_add(uniform(entropy, Duration::ZERO, MAX_RA_DELAY_TIME)));
            }
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        let Some(at) = self.due(cx.now) else { return Ok(None) };
        let Some(row) = self.solicitors.as_slice().get(at).copied() else { return Ok(None) };
        let source = addr::link_local(row.locator);
        message::write_packet(out, &source, &row.host, |writer| self.emit(cx.forwarding, cx.routes, cx.id, writer))?;
        let answer = Answer::Given { quiet_until: cx.now.saturating_add(QUIET) };
        if let Some(row) = self.solicitors.as_mut_slice().get_mut(at) {
            row.answer = answer;
        }
        // Over the limit the host gets nothing and asks again.
        if !self.may_answer(cx.now) {
            return Ok(None);
        }
        Ok(cx.send(&self.link, row.locator, row.ipv4, out))
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let link = cx.id;
        if let Some((change, address)) = self.addresses.poll() {
            return Some(Event::Address { link, change, address });
        }
        if self.told_mtu != self.link.policy.link_mtu {
            self.told_mtu = self.link.policy.link_mtu;
            return Some(Event::Mtu { link, mtu: self.told_mtu });
        }
        if self.addresses_full == Full::Untold {
            self.addresses_full = Full::Told;
            return Some(Event::TableFull { link, table: Table::Addresses });
        }
        None
    }

    fn deadline(&self) -> Expiry {
        let rows = self.solicitors.iter().map(|row| match row.answer {
            Answer::Draw { from } => Expiry::at(from),
            Answer::Due(at) => Expiry::at(at),
            Answer::Given { .. } => Expiry::NEVER,
        });
        rows.min().unwrap_or(Expiry::NEVER).min(self.link.paths.next_deadline())
    }

    fn has_packet(&self, now: Instant) -> bool {
        self.due(now).is_some()
    }

    fn has_event(&self) -> bool {
        self.addresses.has_changes()
            || self.told_mtu != self.link.policy.link_mtu
            || self.addresses_full == Full::Untold
    }
}

/// The link's answers are those of its data.
impl<C: Capacity> LinkTrait for RouterInterface<C> {
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

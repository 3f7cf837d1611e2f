//! The router of a 6to4 site, and the host that is its own router.
//!
//! ```text
//! public IPv4 address ──▶ address, 2002::/16, site /48 for the LANs
//!                    └──▶ relay known (by address, by name) ──▶ ::/0
//!                              └──▶ probed, three times no answer ──▶ no ::/0
//! ```
//!
//! A host/router and a site's router differ in that forwarding is on for the
//! latter, and its site prefix handed to LANs (`S64-23`).

use core::net::Ipv4Addr;

use super::addr::{self, PREFIX};
use super::ingress;
use super::link::{Side, SixToFourLink};
use crate::capacity::{Bounded, Capacity, Count as _, Parts, Vec};
use crate::engine::{Delegation, Entropy, Event, LearnedAddress, Transmit};
use crate::error::{EmitError, Table, TableFull};
use crate::interface::{Context, Control, Delegated, Probe, Received, Told, Tracked, interface};
use crate::link::{Locator, OuterPolicy};
use crate::nd::message;
use crate::packet::PacketMut;
use crate::prefix::Ipv6Prefix;
use crate::proto41::underlay::may_send_to;
use crate::route::{Origin, Preference, Route};
use crate::time::{Duration, Expiry, Instant};
use crate::wire::icmpv6::Message as Icmpv6;
use crate::wire::{ipv6, protocol};

/// How a 6to4 router works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// For labs: whether IPv4 addresses that are not global count as if they
    /// were, private ones (which `S64-14` refuses) included; see
    /// [`ingress::is_usable`].
    pub accept_bogons: bool,
    /// The way to the native Internet.
    pub relay: Relay,
    /// Whether 6to4 rests while a native global prefix is known. `S64-33`
    pub only_without_native: bool,
    /// Whether the relay is asked for an answer before it is relied on.
    /// `S64-35`
    pub probe_relay: bool,
}

impl RouterConfig {
    /// No relay; rests beside native IPv6.
    pub const DEFAULT: RouterConfig = RouterConfig {
        policy: OuterPolicy::DEFAULT,
        accept_bogons: false,
        relay: Relay::None,
        only_without_native: true,
        probe_relay: false,
    };
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig::DEFAULT
    }
}

/// Which relay leads to the native Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relay {
    /// None: other 6to4 sites only. `RTE-11`
    None,
    /// The one at this IPv4 address.
    Address(Ipv4Addr),
    /// One whose name the caller resolves, see [`Event::ResolveRelay`]. There
    /// is no default name. `S64-33`
    Name,
    /// Whichever answers at 192.88.99.1: deprecated, and only by asking for
    /// it. `S64-31 [RFC 7526 §5]`
    Anycast,
}

/// The 6to4 interface of a site's router or of a host/router.
///
/// `S64-30 [RFC 7526 §5]`: a node has 6to4 only by being given one;
/// forwarding does not bring it.
#[derive(Clone)]
pub struct RouterInterface<C: Capacity> {
    config: RouterConfig,
    link: Tracked<SixToFourLink<C>>,
    /// All that the caller named; the link has those in use.
    locators: Vec<Locator, C::Locators>,
    until: Expiry,
    native: bool,
    resolved: Option<Ipv4Addr>,
    resolve: Resolve,
    probe: Probe,
    /// When the relay is probed again, and how often it was silent in a row.
    probe_again: (Expiry, u8),
    told: Told<C>,
    delegated: Delegated,
}

/// What the name of the relay waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolve {
    /// Nothing: no name, or nobody asks.
    Idle,
    /// The caller is to be told.
    Wanted,
    /// The caller was told.
    Asked,
    /// The answer ages.
    Fresh { until: Instant },
}

/// Without a TTL, and at most. Relays move seldom.
const REFRESH: Duration = Duration::from_secs(3600);
/// After a failure, and at least.
const RETRY: Duration = Duration::from_secs(60);
/// A relay that was silent is probed again after this, then after twice as long and so on.
const FIRST_PROBE_PAUSE: Duration = Duration::from_secs(10);
/// One that answered is after this, and no pause is longer.
const LONGEST_PROBE_PAUSE: Duration = Duration::from_secs(300);

impl<C: Capacity> RouterInterface<C> {
    /// A router without IPv4 addresses.
    #[must_use]
    pub const fn new(config: RouterConfig) -> Self {
        RouterInterface {
            config,
            link: Tracked::new(SixToFourLink::new(config.policy, config.accept_bogons, Side::Site)),
            locators: Bounded::EMPTY,
            until: Expiry::NEVER,
            native: false,
            resolved: None,
            resolve: Resolve::Idle,
            probe: Probe::IDLE,
            probe_again: (Expiry::NEVER, 0),
            told: Told::NOTHING,
            delegated: Delegated::NOTHING,
        }
    }

    /// This node's addresses on the link.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// The site prefix for LANs, of the first public IPv4 address. `S64-47`:
    /// a site has one prefix by each uplink, and this link is one.
    #[must_use]
    pub fn delegation(&self) -> Option<Delegation> {
        self.delegated.wanted
    }

    /// What it was told last of [native IPv6](Self::set_native).
    #[must_use]
    pub fn has_native(&self) -> bool {
        self.native
    }

    /// Whether it rests, since there is native IPv6. `S64-33`
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.native && self.config.only_without_native
    }

    /// The relay in use: known, and not found silent.
    #[must_use]
    pub fn relay(&self) -> Option<Ipv4Addr> {
        self.known_relay().filter(|_| self.probe.outcome() != Some(false))
    }

    /// Replaces the IPv4 addresses, at any time; those that cannot be a 6to4
    /// site's are left out. `S64-1`, `S64-38`
    ///
    /// `until`: how long they are known to be ours, such as a DHCP lease.
    /// Prefixes live no longer. `S64-34 [RFC 3056 §2]`
    ///
    /// # Errors
    /// More than the table of locators or of routes holds: as many as fit are
    /// used.
    pub fn set_locators(
        &mut self,
        cx: &mut Context<'_, C>,
        locators: &[Locator],
        until: Expiry,
    ) -> Result<(), TableFull> {
        let mut result = Ok(());
        self.locators.clear();
        for locator in locators {
            // Those in use fill no more rows than these.
            if ingress::locator(locator.address, self.config.accept_bogons) {
                result = result.and(self.locators.add(*locator, Table::Locators));
            }
        }
        self.until = until;
        result.and(self.sync(cx))
    }

    /// Says whether this node has a native global prefix. `S64-33`
    ///
    /// # Errors
    /// The route table is full.
    pub fn set_native(&mut self, cx: &mut Context<'_, C>, native: bool) -> Result<(), TableFull> {
        self.native = native;
        self.sync(cx)
    }

    /// Accepts packets with native sources only from this relay, from others
    /// so named, and from 192.88.99.1. `S64-24`
    ///
    /// # Errors
    /// The table is full.
    pub fn accept_relay(&mut self, relay: Ipv4Addr) -> Result<(), TableFull> {
        self.link.relays.add(relay, Table::PotentialRouters)
    }

    /// The answer to [`Event::ResolveRelay`]: the first address that can be a
    /// relay's is used. None: the name did not resolve; a relay known before
    /// is kept, and the name asked for again.
    ///
    /// # Errors
    /// The route table is full.
    pub fn relay_resolved(
        &mut self,
        cx: &mut Context<'_, C>,
        addresses: &[Ipv4Addr],
        ttl: Option<Duration>,
    ) -> Result<(), TableFull> {
        let wait = match addresses.iter().copied().find(|address| self.can_be_relay(*address)) {
            Some(address) => {
                self.resolved = Some(address);
                ttl.unwrap_or(REFRESH).clamp(RETRY, REFRESH)
            }
            None => RETRY,
        };
        self.resolve = Resolve::Fresh { until: cx.now.saturating_add(wait) };
        self.sync(cx)
    }

    /// The relay that is to be used, whether or not it answers.
    #[must_use]
    pub fn known_relay(&self) -> Option<Ipv4Addr> {
        let relay = match self.config.relay {
            Relay::None => None,
            Relay::Address(address) => Some(address),
            Relay::Name => self.resolved,
            Relay::Anycast => Some(addr::ANYCAST_RELAY),
        };
        relay.filter(|relay| self.can_be_relay(*relay))
    }

    /// S64-20, TUN-4: a name or a configuration may say anything.
    fn can_be_relay(&self, address: Ipv4Addr) -> bool {
        ingress::is_usable(address, self.config.accept_bogons) && may_send_to(address, &self.locators)
    }

    /// Takes back what sites of before have brought that are gone: no other
    /// interface has null routes in them.
    fn withdraw(&mut self, cx: &mut Context<'_, C>, is_gone: impl Fn(&Self, Ipv4Addr) -> bool) {
        for own in self.link.locators().iter().map(|locator| locator.address).filter(|own| is_gone(self, *own)) {
            cx.routes.remove(&Route::null(addr::site(own), Origin::Automatic).key());
        }
    }

    /// Brings link, addresses, routes, probe and delegation to what is known.
    fn sync(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        self.withdraw(cx, |router, own| !router.locators.iter().any(|kept| kept.address == own) || router.is_resting());
        // S64-33: native IPv6 is better than 6to4.
        let locators = if self.is_resting() { &[] } else { &*self.locators };
        let known = self.link.replace_locators(locators);
        self.told.full.set(Table::Locators, known);
        let active = !self.link.locators().is_empty();
        // What the name stands for was judged by the addresses that there were.
        let is_stale = self.resolved.is_some_and(|relay| !self.can_be_relay(relay));
        if is_stale {
            self.resolved = None;
        }
        let is_due = self.resolve == Resolve::Idle || (is_stale && self.resolve != Resolve::Asked);
        if active && self.config.relay == Relay::Name && is_due {
            self.resolve = Resolve::Wanted;
        }
        let relay = self.known_relay().filter(|_| active);
        match relay {
            Some(relay) if C::PARTS.contains(Parts::PROBES) && self.config.probe_relay => {
                if self.probe.target() != Some(relay) {
                    self.probe.start(cx.now, relay);
                    self.probe_again = (Expiry::NEVER, 0);
                    self.link.probed = Some(relay);
                }
            }
            _ => {
                self.probe.stop();
                self.probe_again = (Expiry::NEVER, 0);
                self.link.probed = None;
            }
        }
        let (link, until) = (&self.link, self.until);
        let first = link.locators().first();
        self.delegated.wanted = first.map(|own| Delegation { prefix: addr::site(own.address), until });
        self.told.sync_automatic(link.locators().iter().map(|own| link.address_of(own.address)), until);
        known.and(self.sync_routes(cx))
    }

    /// Probes the relay now, if it is one that is probed; which one that is.
    pub fn probe_relay(&mut self, now: Instant) -> Option<Ipv4Addr> {
        let relay = self.probe.target()?;
        self.probe_again.0 = Expiry::NEVER;
        if self.link.probed.is_none() {
            self.probe.repeat(now);
            self.link.probed = Some(relay);
        }
        Some(relay)
    }

    fn sync_routes(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let (id, relay, locators) = (cx.id, self.relay(), self.link.locators());
        let active = !locators.is_empty();
        if C::Routes::ROWS == 0 {
            self.link.gateway = relay.filter(|_| active);
            return Ok(());
        }
        // S64-13: exactly this long. S64-45: not published.
        let on_link = active.then(|| Route::on_link(PREFIX, id, Origin::Automatic));
        // RTE-11: no relay, no route. Native routes are better than this.
        let default = relay.filter(|_| active).map(|relay| Route {
            preference: Preference::Low,
            ..Route::via(Ipv6Prefix::DEFAULT, id, addr::relay(relay), Origin::Automatic)
        });
        // RTE-10: what no LAN of ours has must not bounce to the relay.
        let sites = locators.iter().map(|own| Route::null(addr::site(own.address), Origin::Automatic));
        self.told.sync_routes(cx, on_link.into_iter().chain(default).chain(sites))
    }

    /// Whether a packet is the relay's answer to a probe: an echo reply, or
    /// the error that hop limit 1 made. `S64-35`
    fn is_answer(&self, packet: &[u8]) -> bool {
        let Some(token) = self.probe.token().filter(|_| self.probe.is_asking()) else { return false };
        let (Ok(header), Ok(upper)) = (ipv6::Header::parse(packet), ipv6::upper_layer(packet)) else { return false };
        let Some(message) = packet.get(upper.offset..header.packet_len()) else { return false };
        if !icmpv6_is_valid(&header, message) {
            return false;
        }
        let echo = |message: &[u8], kind: u8| {
            message.first() == Some(&kind) && message.get(4..8).is_some_and(|sent| sent == token.to_be_bytes())
        };
        echo(message, Icmpv6::ECHO_REPLY)
            || (message.starts_with(&[Icmpv6::TIME_EXCEEDED, 0])
                && message.get(8..).is_some_and(|quoted| {
                    let to_relay = ipv6::Header::parse_quoted(quoted)
                        .is_ok_and(|header| header.destination() == addr::relay(self.probe.relay()));
                    to_relay && quoted.get(40..).is_some_and(|sent| echo(sent, Icmpv6::ECHO_REQUEST))
                }))
    }
}

fn icmpv6_is_valid(header: &ipv6::Header<'_>, message: &[u8]) -> bool {
    header.next_header() == protocol::ICMPV6 && Icmpv6::parse(message, &header.source(), &header.destination()).is_ok()
}

impl<C: Capacity> Control<C> for RouterInterface<C> {
    fn leave(&mut self, cx: &mut Context<'_, C>) {
        self.withdraw(cx, |_, _| true);
    }

    fn receive_awaited(&mut self, cx: &mut Context<'_, C>, packet: &[u8]) -> Received {
        if !self.is_answer(packet) {
            return Received::NotControl;
        }
        let was_silent = self.probe.outcome() == Some(false);
        self.probe.answered();
        self.link.probed = None;
        // S64-35: it is relied on while it answers.
        self.probe_again = (Expiry::at(cx.now.saturating_add(LONGEST_PROBE_PAUSE)), 0);
        if was_silent {
            // A full table is told of.
            let _ = self.sync(cx);
        }
        Received::Consumed
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        if matches!(self.resolve, Resolve::Fresh { until } if until <= cx.now) {
            self.resolve = Resolve::Wanted;
        }
        if self.probe_again.0.is_due(cx.now) {
            self.probe_relay(cx.now);
        }
        if self.probe.handle_timeout(cx.now, entropy) {
            self.link.probed = None;
            // It may come back, and nobody else would tell.
            let (_, failures) = self.probe_again;
            let pause = FIRST_PROBE_PAUSE.saturating_mul(1_u32.checked_shl(failures.into()).unwrap_or(u32::MAX));
            let again = Expiry::at(cx.now.saturating_add(pause.min(LONGEST_PROBE_PAUSE)));
            self.probe_again = (again, failures.saturating_add(1).min(16));
            // S64-35: the other sites stay reachable. Removing needs no room.
            let _ = self.sync_routes(cx);
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        if !self.probe.is_due(cx.now) {
            return Ok(None);
        }
        let relay = self.probe.relay();
        let token = self.probe.token().unwrap_or(0);
        let Some(own) = self.link.locators().first().map(|own| own.address) else {
            self.probe.stop();
            return Ok(None);
        };
        message::write_packet(out, &addr::host_router(own), &addr::relay(relay), |writer| {
            writer.bytes(&[Icmpv6::ECHO_REQUEST, 0, 0, 0]);
            writer.u32(token);
        })?;
        // S64-35 [RFC 6343 §4.2.1]: the relay itself answers, one way or
        // the other.
        if let Some(hop_limit) = out.as_mut_slice().get_mut(7) {
            *hop_limit = 1;
        }
        self.probe.sent(cx.now);
        Ok(cx.send(&*self.link, own, relay, out))
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let link = cx.id;
        if self.resolve == Resolve::Wanted {
            self.resolve = Resolve::Asked;
            return Some(Event::ResolveRelay { link });
        }
        if let Some(reachable) = self.probe.poll() {
            return Some(Event::RelayProbed { link, address: self.probe.relay(), reachable });
        }
        self.delegated.poll_event(cx.id).or_else(|| self.told.poll_event(cx.id, &self.link.underlay.policy))
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        if self.told.full.is_any() {
            let _ = self.sync(cx);
        }
    }

    fn deadline(&self) -> Expiry {
        let resolve = match self.resolve {
            Resolve::Fresh { until } => Expiry::at(until),
            _ => Expiry::NEVER,
        };
        self.probe.deadline().min(self.probe_again.0).min(resolve)
    }
}

interface!(RouterInterface, SixToFourLink);

//! The customer edge: one IPv4 address, one delegated prefix.
//!
//! ```text
//! IPv4 address + domain ──▶ delegated prefix ──▶ address, LANs, null route
//!                      └──▶ 6rd prefix on-link, ::/0 to the border relay
//! ```

use core::fmt;
use core::net::Ipv4Addr;

use super::addr::{Domain, DomainError};
use super::dhcp::SixRdOption;
use super::link::{Place, Side, SixRdLink};
use crate::capacity::{Capacity, Parts};
use crate::engine::{Delegation, Entropy, Event, LearnedAddress, Transmit};
use crate::error::{EmitError, TableFull};
use crate::interface::{Context, Control, Delegated, Probe, Received, Told, Tracked, interface};
use crate::link::{Locator, OuterPolicy};
use crate::packet::PacketMut;
use crate::prefix::{Ipv4Prefix, Ipv6Prefix};
use crate::proto41::ecn::{EcnMode, TosMode};
use crate::route::{Origin, Route};
use crate::time::{Expiry, Instant};
use crate::wire::{ipv6, protocol};

/// How outer headers of 6rd are made: the traffic class is copied, ECN bits
/// included, the rest as RFC 4213 recommends. `S6R-24`, `S6R-25 [RFC 5969
/// §9, §9.1]`
pub const POLICY: OuterPolicy =
    OuterPolicy { tos: TosMode::CopyTrafficClass, ecn: EcnMode::Normal, ..OuterPolicy::DEFAULT };

/// How a customer edge works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EdgeConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether packets of other customer edges must come from them directly.
    /// `S6R-22`
    pub strict_siblings: bool,
    /// Whether 6rd is used at all: DHCP says nothing while it is not.
    /// `S6R-12`
    pub enabled: bool,
}

impl EdgeConfig {
    /// Enabled; siblings may come by the border relay.
    pub const DEFAULT: EdgeConfig = EdgeConfig { policy: POLICY, strict_siblings: false, enabled: true };
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig::DEFAULT
    }
}

/// The 6rd interface of a customer edge.
#[derive(Clone)]
pub struct EdgeInterface<C: Capacity> {
    config: EdgeConfig,
    link: Tracked<SixRdLink<C>>,
    /// The 6rd prefix and the IPv4MaskLen. `S6R-15`: the common bits are
    /// those of our own IPv4 address.
    domain: Option<(Ipv6Prefix, u8)>,
    until: Expiry,
    probe: Probe,
    told: Told<C>,
    delegated: Delegated,
}

/// Why a customer edge cannot be configured so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigureError {
    /// The values make no domain.
    Domain(DomainError),
    /// A table has no room; what fits is used.
    TableFull(TableFull),
}

impl fmt::Display for ConfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigureError::Domain(error) => write!(f, "no 6rd domain: {error}"),
            ConfigureError::TableFull(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for ConfigureError {}

impl From<TableFull> for ConfigureError {
    fn from(full: TableFull) -> Self {
        ConfigureError::TableFull(full)
    }
}

impl<C: Capacity> EdgeInterface<C> {
    /// A customer edge of no domain, without an IPv4 address.
    #[must_use]
    pub const fn new(config: EdgeConfig) -> Self {
        EdgeInterface {
            config,
            link: Tracked::new(SixRdLink::new(config.policy, Side::Edge, config.strict_siblings)),
            domain: None,
            until: Expiry::NEVER,
            probe: Probe::IDLE,
            told: Told::NOTHING,
            delegated: Delegated::NOTHING,
        }
    }

    /// This node's addresses on the link.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// The prefix for LANs.
    #[must_use]
    pub fn delegation(&self) -> Option<Delegation> {
        self.delegated.wanted
    }

    /// Sets the domain, at any time: all its customers have the upper
    /// `ipv4_mask_len` bits of their IPv4 addresses in common with us. The
    /// first of `relays` is used, packets of all are accepted. `S6R-11`
    ///
    /// # Errors
    /// The values make no domain, and nothing changed; or a table is full.
    pub fn configure(
        &mut self,
        cx: &mut Context<'_, C>,
        prefix: Ipv6Prefix,
        ipv4_mask_len: u8,
        relays: impl Iterator<Item = Ipv4Addr>,
    ) -> Result<(), ConfigureError> {
        // Lengths and prefix make a domain with any IPv4 address or with none.
        Domain::around(prefix, ipv4_mask_len, Ipv4Addr::UNSPECIFIED).map_err(ConfigureError::Domain)?;
        self.withdraw(cx);
        self.domain = Some((prefix, ipv4_mask_len));
        let relays = self.link.replace_relays(relays);
        let synced = self.sync(cx);
        relays?;
        Ok(synced?)
    }

    /// Sets the domain from DHCP. `S6R-12`, `S6R-14`: nothing happens while
    /// 6rd is switched off.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn configure_by_dhcp(
        &mut self,
        cx: &mut Context<'_, C>,
        option: &SixRdOption<'_>,
    ) -> Result<(), ConfigureError> {
        if !self.config.enabled {
            return Ok(());
        }
        self.configure(cx, option.prefix(), option.ipv4_mask_len(), option.relays())
    }

    /// Switches 6rd on or off. `S6R-12`
    ///
    /// # Errors
    /// The route table is full.
    pub fn set_enabled(&mut self, cx: &mut Context<'_, C>, enabled: bool) -> Result<(), TableFull> {
        self.config.enabled = enabled;
        self.sync(cx)
    }

    /// Replaces the IPv4 addresses, of which a customer edge uses one: the
    /// first that can be a unicast address. `S6R-9`
    ///
    /// `until`: how long it is known to be ours, such as a DHCP lease.
    /// Prefixes live no longer. `S6R-8`
    ///
    /// # Errors
    /// The route table is full, or not every address is known to be ours.
    pub fn set_locators(
        &mut self,
        cx: &mut Context<'_, C>,
        locators: &[Locator],
        until: Expiry,
    ) -> Result<(), TableFull> {
        let known = self.link.replace_locators(locators);
        self.until = until;
        known.and(self.sync(cx))
    }

    /// Asks the border relay whether packets come back from it; the answer is
    /// [`Event::RelayProbed`]. `S6R-50`
    pub fn probe_relay(&mut self, now: Instant) {
        if !C::PARTS.contains(Parts::PROBES) {
            return;
        }
        if let (Some(relay), Some(_)) = (self.link.relay(), self.link.place) {
            self.probe.start(now, relay);
            self.link.probing = true;
        }
    }

    /// Whether the border relay answered the last probe; `None`: not asked,
    /// or not known yet.
    #[must_use]
    pub fn is_relay_reachable(&self) -> Option<bool> {
        self.probe.outcome()
    }

    /// Takes back what the place in the domain has brought.
    fn withdraw(&mut self, cx: &mut Context<'_, C>) {
        if let Some(place) = self.link.place.take() {
            cx.routes.remove(&Route::null(place.delegated, Origin::Automatic).key());
        }
    }

    /// Brings link, address, routes and delegation to what is known.
    fn sync(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let place = match (self.domain, self.link.underlay.locators().first().copied()) {
            // The lengths were checked, so there is no error to come.
            (Some((prefix, mask)), Some(own)) if self.config.enabled => Ipv4Prefix::new(own.address, mask)
                .and_then(|common| Domain::new(prefix, common).ok())
                .map(|domain| Place::new(domain, own)),
            _ => None,
        };
        // TUN-4: DHCP and configuration may say anything.
        let relay = self.link.relays().iter().copied().find(|relay| self.link.underlay.may_send_to(*relay));
        if (self.link.place, self.link.relay) != (place, relay) {
            self.withdraw(cx);
            self.probe.stop();
            self.link.probing = false;
            (self.link.place, self.link.relay) = (place, relay);
        }
        let id = cx.id;
        // S6R-20 [RFC 5969 §7.1.1]. Without a gateway: the relay is an IPv4 next hop, and by an
        // IPv6 address it can have this node's own, when it lies outside the common block.
        let default =
            (place.is_some() && relay.is_some()).then(|| Route::on_link(Ipv6Prefix::DEFAULT, id, Origin::Automatic));
        let on_link = place.map(|place| Route::on_link(place.domain.prefix(), id, Origin::Automatic));
        let null = place.map(|place| Route::null(place.delegated, Origin::Automatic));
        let until = self.until;
        self.delegated.wanted = place.map(|place| Delegation { prefix: place.delegated, until });
        self.told.sync_addresses(|wanted| self.link.told_addresses(until).for_each(|address| wanted.add(address)));
        self.told.sync_routes(cx, on_link.into_iter().chain(default).chain(null))
    }
}

impl<C: Capacity> Control<C> for EdgeInterface<C> {
    fn leave(&mut self, cx: &mut Context<'_, C>) {
        self.withdraw(cx);
    }

    fn receive_awaited(&mut self, _cx: &mut Context<'_, C>, _packet: &[u8]) -> Received {
        if !C::PARTS.contains(Parts::PROBES) {
            return Received::NotControl;
        }
        self.probe.answered();
        self.link.probing = self.probe.outcome().is_none();
        Received::Consumed
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        if C::PARTS.contains(Parts::PROBES) && self.probe.handle_timeout(cx.now, entropy) {
            self.link.probing = false;
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        if !C::PARTS.contains(Parts::PROBES) || !self.probe.is_due(cx.now) {
            return Ok(None);
        }
        let (Some(place), relay) = (self.link.place, self.probe.relay()) else {
            self.probe.stop();
            return Ok(None);
        };
        // S6R-50 [RFC 5969 §8]: from us to us, by the relay's datapath; empty,
        // so that nothing but forwarding is asked of it.
        let header = ipv6::Fields {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 0,
            next_header: protocol::NO_NEXT_HEADER,
            hop_limit: PROBE_HOP_LIMIT,
            source: place.address(),
            destination: place.address(),
        };
        out.write_with(|writer| writer.bytes(&header.to_bytes()))?;
        self.probe.sent(cx.now);
        Ok(cx.send(&*self.link, place.own.address, relay, out))
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        if C::PARTS.contains(Parts::PROBES)
            && let Some(reachable) = self.probe.poll()
        {
            return Some(Event::RelayProbed { link: cx.id, address: self.probe.relay(), reachable });
        }
        self.delegated.poll_event(cx.id).or_else(|| self.told.poll_event(cx.id, &self.link.underlay.policy))
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        if self.told.full.is_any() {
            let _ = self.sync(cx);
        }
    }

    fn deadline(&self) -> Expiry {
        if C::PARTS.contains(Parts::PROBES) { self.probe.deadline() } else { Expiry::NEVER }
    }
}

/// Comes back one lower.
const PROBE_HOP_LIMIT: u8 = 64;

interface!(EdgeInterface, SixRdLink);

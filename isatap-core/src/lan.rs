//! A router's LAN: a native link whose prefixes come from tunnels, and the
//! advertisements that tell its hosts. [RFC 4861 §6.2, RFC 3056 §5.1, RFC
//! 5969 §4]
//!
//! Address resolution on the link is the caller's, as for every
//! [`NativeLink`]. What is advertised here is multicast, at the times of
//! [`Schedule`]. `RTE-13`: connection sharing is a tunnel, such a LAN, and
//! forwarding on both.

use core::net::Ipv6Addr;

use crate::capacity::{Bounded, Capacity, Vec};
use crate::drop_reason::DropReason;
use crate::engine::{Delegation, Entropy, Event, LearnedAddress, Transmit};
use crate::error::{EmitError, Table, TableFull};
use crate::interface::{ALL_NODES, Addresses, Context, Control, Received, Tracked, interface, neighbor_discovery};
use crate::link::{InterfaceAddress, Link as _, NativeLink};
use crate::nd::advertise::{Intervals, Schedule};
use crate::nd::learned::TWO_HOURS;
use crate::nd::message::{self, RouterAdvertisementRepr, RouterFlags};
use crate::nd::option::{PrefixFlags, PrefixInformation, RouteInformation};
use crate::nd::validate;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::route::{Origin, Preference, Route};
use crate::time::{Expiry, Instant, Lifetime};
use crate::wire::field::Writer;

/// `NDP-12 [RFC 4191 §4]`
const MOST_ROUTES: usize = 17;

/// What a LAN's router does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// MTU of the link, in bytes.
    pub mtu: u16,
    /// This router's link-local address there; advertisements come from it,
    /// and its identifier makes the addresses in delegated prefixes.
    pub link_local: Ipv6Addr,
    /// Which /64 of each delegated prefix is this LAN's, such as the number of
    /// the interface. Not 0, where the tunnel's own address is. `S64-2`
    pub subnet: u16,
    /// Whether hosts are told. `RTE-7`
    pub advertise: bool,
    /// When.
    pub intervals: Intervals,
    /// Preference as a default router. `S64-34 [RFC 6343 §4.1]`: low, since a
    /// native router on the same link is better.
    pub preference: Preference,
    /// Lifetime as a default router, in seconds.
    pub router_lifetime: u16,
    /// How long addresses are valid, if the IPv4 address lives as long.
    pub valid_lifetime: Lifetime,
    /// How long addresses are preferred, likewise.
    pub preferred_lifetime: Lifetime,
}

impl Config {
    /// The values of RFC 4861 §6.2.1, with low preference.
    #[must_use]
    pub const fn new(link_local: Ipv6Addr, subnet: u16) -> Self {
        Config {
            mtu: 1500,
            link_local,
            subnet,
            advertise: true,
            intervals: Intervals::DEFAULT,
            preference: Preference::Low,
            router_lifetime: 1800,
            valid_lifetime: Lifetime::from_secs(2_592_000),
            preferred_lifetime: Lifetime::from_secs(604_800),
        }
    }
}

/// The interface of a LAN.
#[derive(Clone)]
pub struct LanInterface<C: Capacity> {
    config: Config,
    link: Tracked<NativeLink<C>>,
    prefixes: Vec<Published, C::Prefixes>,
    schedule: Schedule,
    addresses: Addresses<C::Addresses>,
}

/// A prefix that hosts make addresses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The /64.
    pub prefix: Ipv6Prefix,
    /// The tunnel that it belongs to; [`LinkId::NULL`]: given by hand.
    pub from: LinkId,
    /// When it is no longer spoken of.
    pub until: Expiry,
    /// Taken back: valid for existing connections only, until then.
    pub is_deprecated: bool,
}

impl<C: Capacity> LanInterface<C> {
    /// A LAN without prefixes; [`start`](Self::start) lets it speak.
    ///
    /// # Errors
    /// The table of addresses has not even one row.
    pub fn new(config: Config) -> Result<Self, TableFull> {
        let mut link = NativeLink::new(config.mtu);
        link.add_address(InterfaceAddress { address: config.link_local, prefix_length: 64 })?;
        Ok(LanInterface {
            config,
            link: Tracked::new(link),
            prefixes: Bounded::EMPTY,
            schedule: Schedule::SILENT,
            addresses: Addresses::EMPTY,
        })
    }

    /// What hosts make addresses of, or did.
    #[must_use]
    pub fn published(&self) -> &[Published] {
        &self.prefixes
    }

    /// Begins to advertise, if that is configured; also after a change that
    /// hosts should know of soon.
    pub fn start(&mut self, now: Instant) {
        if self.config.advertise {
            self.schedule.start(now);
        }
    }

    /// Ends it; hosts are told that the router goes. `NDP-42`
    pub fn stop(&mut self, now: Instant) {
        self.schedule.stop(now);
    }

    /// Publishes a /64 given by hand.
    ///
    /// # Errors
    /// A table is full.
    pub fn publish(&mut self, cx: &mut Context<'_, C>, prefix: Ipv6Prefix) -> Result<(), TableFull> {
        self.add(cx, Published { prefix, from: LinkId::NULL, until: Expiry::NEVER, is_deprecated: false })
    }

    /// Uses this LAN's /64 of what the tunnel `tunnel` has for LANs now, and
    /// takes back what it had before; `None`: nothing.
    ///
    /// `S64-38`, `S6R-9`: what is taken back is advertised as deprecated for
    /// two hours at most. `S64-37`, `S6R-8`: nothing lives longer than the
    /// IPv4 address. A delegated /64 is this LAN's whole; of one that has too
    /// few bits for the subnet nothing is used.
    ///
    /// # Errors
    /// A table is full.
    pub fn delegate(
        &mut self,
        cx: &mut Context<'_, C>,
        tunnel: LinkId,
        delegation: Option<Delegation>,
    ) -> Result<(), TableFull> {
        let wanted = delegation.and_then(|given| Some((subnet(&given.prefix, self.config.subnet)?, given.until)));
        let now = cx.now;
        let mut gone = None;
        for row in self.prefixes.iter_mut().filter(|row| row.from == tunnel && !row.is_deprecated) {
            if wanted.is_some_and(|(prefix, _)| prefix == row.prefix) {
                continue;
            }
            row.is_deprecated = true;
            row.until = row.until.min(Expiry::at(now.saturating_add(TWO_HOURS)));
            gone = Some(row.prefix);
        }
        if let Some(prefix) = gone {
            cx.routes.remove(&Route::on_link(prefix, cx.id, Origin::OnLink).key());
            self.link.retain_addresses(|own| !prefix.contains(&own.address));
            self.changed(now);
        }
        let result = match wanted {
            Some((prefix, until)) => self.add(cx, Published { prefix, from: tunnel, until, is_deprecated: false }),
            None => Ok(()),
        };
        result.and(self.sync_addresses())
    }

    fn add(&mut self, cx: &mut Context<'_, C>, new: Published) -> Result<(), TableFull> {
        if let Some(row) = self.prefixes.iter_mut().find(|row| row.prefix == new.prefix) {
            if *row == new {
                return Ok(());
            }
            *row = new;
        } else {
            if self.prefixes.is_full()
                && let Some(at) = self.prefixes.iter().position(|row| row.is_deprecated)
            {
                // A prefix in use is worth more than one that is taken back.
                self.prefixes.take(at);
            }
            self.prefixes.add(new, Table::Prefixes)?;
        }
        self.changed(cx.now);
        let identifier = self.config.link_local.octets();
        let address = identifier.last_chunk::<8>().and_then(|identifier| new.prefix.with_identifier(*identifier));
        if let Some(address) = address
            && !self.link.is_local(&address)
        {
            self.link.add_address(InterfaceAddress { address, prefix_length: 64 })?;
        }
        cx.insert_route(Route::on_link(new.prefix, cx.id, Origin::OnLink))?;
        self.sync_addresses()
    }

    /// Hosts should know soon. [RFC 4861 §6.2.4]
    fn changed(&mut self, now: Instant) {
        if self.schedule.is_advertising() {
            self.schedule.start(now);
        }
    }

    fn sync_addresses(&mut self) -> Result<(), TableFull> {
        let until = |address: &Ipv6Addr| {
            let row = self.prefixes.iter().find(|row| row.prefix.contains(address));
            row.map_or(Expiry::NEVER, |row| row.until)
        };
        let learned = |own: &InterfaceAddress| LearnedAddress {
            address: own.address,
            prefix_length: own.prefix_length,
            preferred_until: until(&own.address),
            valid_until: until(&own.address),
        };
        let mut wanted = self.addresses.replace();
        self.link.addresses().iter().for_each(|own| wanted.add(learned(own)));
        wanted.end()
    }

    /// Writes the advertisement. `S64-37 [RFC 3056 §5.1]`
    fn emit(&self, cx: &Context<'_, C>, writer: &mut Writer<'_>) {
        let is_final = self.schedule.is_final();
        // NDP-67: no default router without forwarding; S64-34, RTE-11: nor
        // without a default route by another link, as when a relay is dead.
        let leads_on = cx.routes.iter().any(|route| route.prefix.is_default() && route.link != cx.id);
        let is_router = leads_on && cx.forwarding && !is_final;
        let lifetime = if is_router { self.config.router_lifetime } else { 0 };
        let ra = RouterAdvertisementRepr {
            cur_hop_limit: 64,
            flags: RouterFlags::empty(),
            preference: self.config.preference,
            router_lifetime: lifetime,
            reachable_time: 0,
            retrans_timer: 0,
        };
        ra.emit(writer);
        for row in self.prefixes.iter() {
            let left = row.until.remaining(cx.now);
            let valid_lifetime = self.config.valid_lifetime.min(left);
            let preferred_lifetime = self.config.preferred_lifetime.min(valid_lifetime);
            let option = PrefixInformation {
                prefix: row.prefix,
                flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
                valid_lifetime,
                // S64-38
                preferred_lifetime: if row.is_deprecated { Lifetime::ZERO } else { preferred_lifetime },
            };
            option.emit(writer);
        }
        // RTE-6, NDP-12.
        let published = || {
            cx.routes.published().filter(|route| {
                route.publish && route.link != cx.id && !route.prefix.is_default() && may_be_published(&route.prefix)
            })
        };
        for (at, route) in published().enumerate().take(MOST_ROUTES) {
            if cx.forwarding && !published().take(at).any(|before| before.prefix == route.prefix) {
                // NDP-42 [RFC 4191 §4]: final ones take the routes back too.
                let seconds = if is_final { 0 } else { u32::from(self.config.router_lifetime) };
                let lifetime = Lifetime::from_secs(seconds);
                RouteInformation { prefix: route.prefix, preference: route.preference, lifetime }.emit(writer);
            }
        }
    }
}

/// `S64-44 [RFC 3056 §5.2]`: of 6to4, native links hear of nothing longer
/// than `2002::/16`.
fn may_be_published(prefix: &Ipv6Prefix) -> bool {
    !Ipv6Prefix::SIX_TO_FOUR.covers(prefix) || *prefix == Ipv6Prefix::SIX_TO_FOUR
}

/// The /64 with the number `id` in `prefix`, which has fewer bits; a /64
/// itself. `S64-2`: there is no number 0.
fn subnet(prefix: &Ipv6Prefix, id: u16) -> Option<Ipv6Prefix> {
    let room = 64_u32.checked_sub(u32::from(prefix.length()))?;
    if room == 0 {
        return Some(*prefix);
    }
    if id == 0 || (room < 16 && u32::from(id) >> room != 0) {
        return None;
    }
    Ipv6Prefix::new(Ipv6Addr::from_bits(prefix.address().to_bits() | u128::from(id) << 64), 64)
}

impl<C: Capacity> Control<C> for LanInterface<C> {
    fn receive_native(&mut self, cx: &mut Context<'_, C>, packet: &[u8]) -> Received {
        let Some(received) = neighbor_discovery(packet) else { return Received::NotControl };
        if received.icmpv6.first() != Some(&ROUTER_SOLICITATION) {
            return Received::NotControl;
        }
        match validate::router_solicitation(&received) {
            Ok(_) if self.schedule.is_advertising() => {
                self.schedule.solicited(cx.now);
                Received::Consumed
            }
            Ok(_) => Received::Drop(DropReason::NotARouter),
            Err(reason) => Received::Drop(reason),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        let now = cx.now;
        self.schedule.handle_timeout(entropy);
        let (id, routes, link) = (cx.id, &mut cx.routes, &mut self.link);
        self.prefixes.keep(|row| {
            let is_over = row.until.is_due(now);
            if is_over && !row.is_deprecated {
                routes.remove(&Route::on_link(row.prefix, id, Origin::OnLink).key());
                link.retain_addresses(|own| !row.prefix.contains(&own.address));
            }
            !is_over
        });
        // There are no more addresses than before.
        let _ = self.sync_addresses();
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        if !self.schedule.is_due(cx.now) {
            return Ok(None);
        }
        message::write_packet(out, &self.config.link_local, &ALL_NODES, |writer| self.emit(cx, writer))?;
        self.schedule.sent(cx.now, &self.config.intervals);
        Ok(Some(Transmit { link: cx.id, outer: None }))
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let (change, address) = self.addresses.poll()?;
        Some(Event::Address { link: cx.id, change, address })
    }

    fn retry(&mut self, _cx: &mut Context<'_, C>) {
        let _ = self.sync_addresses();
    }

    fn deadline(&self) -> Expiry {
        let prefixes = self.prefixes.iter().map(|row| row.until).min().unwrap_or(Expiry::NEVER);
        self.schedule.deadline().min(prefixes)
    }
}

/// [RFC 4861 §4.1]
const ROUTER_SOLICITATION: u8 = crate::wire::icmpv6::Message::ROUTER_SOLICITATION;

interface!(LanInterface, NativeLink);

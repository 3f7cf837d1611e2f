//! Configured tunnels: both IPv4 ends are given. [RFC 4213 §3]
//!
//! A point-to-point link: every packet goes to the one remote, and only the
//! remote is heard. Multicast crosses it. Router-to-router, host-to-router and
//! host-to-host tunnels differ only in their routes (`TUN-65`).
//!
//! # Security limits
//!
//! Whoever can forge the remote's IPv4 address can send into the tunnel:
//! IPv4 ingress filtering, or IPsec, is what stops that. [RFC 4213 §5]

mod link;

use core::net::Ipv4Addr;

use crate::capacity::{Capacity, Count as _, N};
use crate::drop_reason::DropReason;
use crate::engine::{Delegation, Entropy, Event, LearnedAddress, Transmit};
use crate::error::{EmitError, Table, TableFull};
use crate::interface::{Context, Control, Delegated, Heard, Received, Told, Tracked, interface};
use crate::link::{InterfaceAddress, Link, Locator, OuterPolicy};
use crate::nd::message::{self, Message, NeighborFlags, NeighborSolicitationRepr};
use crate::nd::neighbor::{Advertised, Neighbors, Reachability};
use crate::packet::PacketMut;
use crate::prefix::Ipv6Prefix;
use crate::route::{Origin, Route};
use crate::time::{Expiry, Instant};

pub use link::{ConfiguredLink, link_local};

/// What is configured. `TUN-60`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// This end's IPv4 address; `None`: the first of those that
    /// [`set_locators`](ConfiguredInterface::set_locators) brings, at any time.
    pub local: Option<Ipv4Addr>,
    /// The other end's, never derived from an IPv6 address; `None`:
    /// [`set_remote`](ConfiguredInterface::set_remote) brings it.
    pub remote: Option<Ipv4Addr>,
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether the remote is probed when packets are sent. `TUN-62`: SHOULD.
    pub probe_remote: bool,
}

impl Config {
    /// As RFC 4213 recommends it, with ends that are not known yet.
    pub const DEFAULT: Config = Config { local: None, remote: None, policy: OuterPolicy::DEFAULT, probe_remote: true };

    /// The same from `local` to `remote`.
    #[must_use]
    pub const fn new(local: Ipv4Addr, remote: Ipv4Addr) -> Self {
        Config { local: Some(local), remote: Some(remote), ..Config::DEFAULT }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::DEFAULT
    }
}

/// The interface of a configured tunnel.
#[derive(Clone)]
pub struct ConfiguredInterface<C: Capacity> {
    config: Config,
    link: Tracked<ConfiguredLink<C>>,
    remote: Neighbors<Ipv4Addr, N<1>>,
    told: Told<C>,
    delegated: Delegated,
}

impl<C: Capacity> ConfiguredInterface<C> {
    /// A tunnel with its link-local address, where its local end is known.
    /// `TUN-61`
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut interface = ConfiguredInterface {
            config,
            link: Tracked::new(ConfiguredLink::new(&config)),
            remote: Neighbors::EMPTY,
            told: Told::NOTHING,
            delegated: Delegated::NOTHING,
        };
        // One address always fits; a table without rows has none to tell.
        let _ = interface.sync_addresses();
        interface
    }

    /// Replaces the IPv4 addresses of this node, with their subnets: their
    /// broadcast addresses are no remote (`TUN-4`). It sends from one of them:
    /// [`Config::local`], or the first.
    ///
    /// # Errors
    /// A table is full: not every address is known to be ours, or the default
    /// route has no row.
    pub fn set_locators(&mut self, cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let known = self.link.set_locators(self.config.local, locators);
        known.and(self.sync(cx))
    }

    /// Sets the other end; `None`: nobody is sent to or heard.
    ///
    /// # Errors
    /// The default route has no row.
    pub fn set_remote(&mut self, cx: &mut Context<'_, C>, remote: Option<Ipv4Addr>) -> Result<(), TableFull> {
        if self.link.remote() != remote {
            self.link.set_remote(remote);
            // What was known of the old one says nothing of the new one.
            self.remote = Neighbors::EMPTY;
        }
        self.sync(cx)
    }

    /// Whether the tunnel is a way to everywhere, while both ends are known.
    ///
    /// # Errors
    /// The route has no row.
    pub fn set_default_route(&mut self, cx: &mut Context<'_, C>, is_wanted: bool) -> Result<(), TableFull> {
        self.link.default_route = is_wanted;
        self.sync(cx)
    }

    /// The prefix that the other end routes to this node, for its LANs. What no
    /// LAN has of it does not return into the tunnel.
    ///
    /// # Errors
    /// The route that keeps it from there has no row.
    pub fn set_routed_prefix(&mut self, cx: &mut Context<'_, C>, prefix: Option<Ipv6Prefix>) -> Result<(), TableFull> {
        self.leave(cx);
        self.link.routed = prefix;
        self.delegated.wanted = prefix.map(|prefix| Delegation { prefix, until: Expiry::NEVER });
        self.sync(cx)
    }

    /// The prefix for LANs.
    #[must_use]
    pub fn delegation(&self) -> Option<Delegation> {
        self.delegated.wanted
    }

    /// Adds an address of this node; its prefix is on-link here.
    ///
    /// # Errors
    /// The table of addresses (in which the link-local one has a row) or of
    /// routes is full; nothing changed.
    pub fn add_address(&mut self, cx: &mut Context<'_, C>, address: InterfaceAddress) -> Result<(), TableFull> {
        if self.link.is_local(&address.address) {
            return Ok(());
        }
        if !self.link.has_room() {
            return Err(TableFull::new(Table::Addresses));
        }
        if let Some(prefix) = address.prefix().filter(|prefix| prefix.length() < 128) {
            cx.insert_route(Route::on_link(prefix, cx.id, Origin::OnLink))?;
        }
        self.link.add_address(address)?;
        self.sync_addresses()
    }

    /// What is known of the other end; `None`: nothing was sent yet.
    #[must_use]
    pub fn remote_reachability(&self) -> Option<Reachability> {
        self.remote.reachability(self.link.remote()?)
    }

    /// Brings addresses and routes to what is known.
    fn sync(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let default = (self.link.default_route && self.link.is_usable())
            .then(|| Route::on_link(Ipv6Prefix::DEFAULT, cx.id, Origin::Automatic));
        let null = self.delegated.wanted.map(|given| Route::null(given.prefix, Origin::Automatic));
        let addresses = self.sync_addresses();
        addresses.and(self.told.sync_routes(cx, default.into_iter().chain(null)))
    }

    fn sync_addresses(&mut self) -> Result<(), TableFull> {
        let mut wanted = self.told.addresses.replace();
        self.link.addresses().for_each(|own| wanted.add(LearnedAddress::lasting(own.address, own.prefix_length)));
        wanted.end()
    }
}

impl<C: Capacity> Control<C> for ConfiguredInterface<C> {
    fn leave(&mut self, cx: &mut Context<'_, C>) {
        if let Some(given) = self.delegated.wanted {
            cx.routes.remove(&Route::null(given.prefix, Origin::Automatic).key());
        }
    }

    fn receive(&mut self, cx: &mut Context<'_, C>, heard: &Heard<'_>) -> Received {
        match &heard.message {
            Message::NeighborAdvertisement(na) => {
                let solicited = na.flags().contains(NeighborFlags::SOLICITED);
                let is_router = na.flags().contains(NeighborFlags::ROUTER);
                let remote = self.link.remote().filter(|_| C::Neighbors::ROWS > 0);
                match remote.map(|remote| self.remote.advertised(cx.now, remote, solicited, is_router)) {
                    None | Some(Advertised::Unknown) => Received::Drop(DropReason::NdUnknownTarget),
                    Some(Advertised::Accepted { .. }) => Received::Consumed,
                }
            }
            // NDP-70: this link has no second neighbour to be redirected to.
            Message::Redirect(_) => Received::Drop(DropReason::RedirectRefused),
            // Whose solicitations and advertisements these are is the stack's
            // to say: the tunnel is a link like any other.
            _ => Received::NotControl,
        }
    }

    fn note_sent(&mut self, now: Instant, destination: Ipv4Addr) {
        if C::Neighbors::ROWS > 0 && self.config.probe_remote {
            // There is one row, and one neighbour.
            let _ = self.remote.note_sent(now, destination);
        }
    }

    fn doubt(&mut self, now: Instant, destination: Ipv4Addr) {
        if C::Neighbors::ROWS > 0 {
            self.remote.doubt(now, destination);
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, _entropy: &mut dyn Entropy) {
        if C::Neighbors::ROWS == 0 {
            return;
        }
        self.remote.handle_timeout(cx.now);
        // An only neighbour that does not answer has no alternative: the next
        // packet asks it again.
        while self.remote.next_failed().is_some() {}
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        let Some(remote) = self.remote.next_probe(cx.now).filter(|_| C::Neighbors::ROWS > 0) else { return Ok(None) };
        let Some(local) = self.link.local() else {
            self.remote = Neighbors::EMPTY;
            return Ok(None);
        };
        let (source, target) = (link_local(local), link_local(remote));
        // NDP-51, TUN-63: to the target itself, without a link-layer address.
        message::write_packet(out, &source, &target, |w| NeighborSolicitationRepr { target }.emit(w))?;
        let sent = cx.send(&*self.link, local, remote, out);
        self.remote.probe_sent(cx.now, remote);
        Ok(sent)
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        self.delegated.poll_event(cx.id).or_else(|| self.told.poll_event(cx.id, &self.link.underlay.policy))
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        if self.told.full.is_any() {
            let _ = self.sync(cx);
        }
    }

    fn deadline(&self) -> Expiry {
        if C::Neighbors::ROWS > 0 { self.remote.deadline() } else { Expiry::NEVER }
    }
}

interface!(ConfiguredInterface, ConfiguredLink);

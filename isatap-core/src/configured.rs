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

use crate::capacity::{Capacity, N};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, LearnedAddress, Transmit};
use crate::error::{EmitError, Table, TableFull};
use crate::interface::{Context, Control, Heard, Received, Told, interface};
use crate::link::{InterfaceAddress, Link, Locator, OuterPolicy};
use crate::nd::message::{self, Message, NeighborFlags, NeighborSolicitationRepr};
use crate::nd::neighbor::{Advertised, Neighbors, Reachability};
use crate::packet::PacketMut;
use crate::route::{Origin, Route};
use crate::time::{Expiry, Instant};

pub use link::{ConfiguredLink, link_local};

/// What is configured. `TUN-60`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// This end's IPv4 address.
    pub local: Ipv4Addr,
    /// The other end's; never derived from an IPv6 address.
    pub remote: Ipv4Addr,
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether the remote is probed when packets are sent. `TUN-62`: SHOULD.
    pub probe_remote: bool,
}

impl Config {
    /// A tunnel from `local` to `remote` as RFC 4213 recommends it.
    #[must_use]
    pub const fn new(local: Ipv4Addr, remote: Ipv4Addr) -> Self {
        Config { local, remote, policy: OuterPolicy::DEFAULT, probe_remote: true }
    }
}

/// The interface of a configured tunnel.
#[derive(Clone)]
pub struct ConfiguredInterface<C: Capacity> {
    config: Config,
    link: ConfiguredLink<C>,
    remote: Neighbors<Ipv4Addr, N<1>>,
    told: Told<C>,
}

impl<C: Capacity> ConfiguredInterface<C> {
    /// A tunnel with its link-local address. `TUN-61`
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut interface = ConfiguredInterface {
            config,
            link: ConfiguredLink::new(config.local, config.remote, config.policy),
            remote: Neighbors::EMPTY,
            told: Told::NOTHING,
        };
        // One address always fits; a table without rows has none to tell.
        let _ = interface.sync_addresses();
        interface
    }

    /// Replaces the IPv4 addresses of this node, with their subnets, of which
    /// it sends from [`Config::local`] alone: their broadcast addresses are no
    /// remote. `TUN-4`
    ///
    /// # Errors
    /// The table is full: not every address is known to be ours.
    pub fn set_locators(&mut self, locators: &[Locator]) -> Result<(), TableFull> {
        self.link.set_locators(locators)
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
        self.remote.reachability(self.config.remote)
    }

    fn sync_addresses(&mut self) -> Result<(), TableFull> {
        let learned = |own: &InterfaceAddress| LearnedAddress {
            address: own.address,
            prefix_length: own.prefix_length,
            preferred_until: Expiry::NEVER,
            valid_until: Expiry::NEVER,
        };
        self.told.addresses.replace(&mut self.link.addresses().map(|own| learned(&own)))
    }
}

impl<C: Capacity> Control<C> for ConfiguredInterface<C> {
    fn receive(&mut self, cx: &mut Context<'_, C>, heard: &Heard<'_>) -> Received {
        match &heard.message {
            Message::NeighborAdvertisement(na) => {
                let solicited = na.flags().contains(NeighborFlags::SOLICITED);
                let is_router = na.flags().contains(NeighborFlags::ROUTER);
                match self.remote.advertised(cx.now, self.config.remote, solicited, is_router) {
                    Advertised::Unknown => Received::Drop(DropReason::NdUnknownTarget),
                    Advertised::Accepted { .. } => Received::Consumed,
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
        if self.config.probe_remote {
            // There is one row, and one neighbour.
            let _ = self.remote.note_sent(now, destination);
        }
    }

    fn doubt(&mut self, now: Instant, destination: Ipv4Addr) {
        self.remote.doubt(now, destination);
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, _entropy: &mut dyn Entropy) {
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
        let Some(remote) = self.remote.next_probe(cx.now) else { return Ok(None) };
        let (source, target) = (link_local(self.config.local), link_local(self.config.remote));
        // NDP-51, TUN-63: to the target itself, without a link-layer address.
        message::write_packet(out, &source, &target, |w| NeighborSolicitationRepr { target }.emit(w))?;
        let sent = cx.send(&self.link, self.config.local, remote, out);
        self.remote.probe_sent(cx.now, remote);
        Ok(sent)
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        self.told.poll_event(cx.id, &self.link.underlay.policy)
    }

    fn deadline(&self) -> Expiry {
        self.remote.deadline()
    }
}

interface!(ConfiguredInterface, ConfiguredLink);

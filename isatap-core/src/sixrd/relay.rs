//! The border relay between a 6rd domain and the native Internet.
//!
//! It is a node with this interface and a native one, both forwarding. What
//! customers send to each other by it goes back into the tunnel (hairpin).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::addr::Domain;
use super::edge::POLICY;
use super::link::{Link, Place, Side};
use crate::capacity::Capacity;
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, LearnedAddress, Transmit};
use crate::error::{EmitError, TableFull};
use crate::interface::{Automatic, Context, Interface, Received, delegate_to_link, path_error, replace_routes};
use crate::link::{Admitted, Locator, OuterPolicy};
use crate::packet::PacketMut;
use crate::prefix::is_never_unicast;
use crate::proto41::Flow;
use crate::proto41::icmp::TunnelError;
use crate::route::{Origin, Route};
use crate::time::{Expiry, Instant};

/// How a border relay works. `S6R-30`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// The domain, with the IPv4 block that its customers share, of which the
    /// relay's own address need not be one. `S6R-15`
    pub domain: Domain,
    /// Whether other relays have the same IPv4 address. `S6R-32`: then no
    /// outer packet may be fragmented, and a smaller path is a black hole.
    pub anycast: bool,
    /// Whether the 6rd prefix is published on the native side.
    pub publish: bool,
}

impl RelayConfig {
    /// A relay of `domain`, not anycast, publishing nothing.
    #[must_use]
    pub const fn new(domain: Domain) -> Self {
        RelayConfig { policy: POLICY, domain, anycast: false, publish: false }
    }
}

/// The 6rd interface of a border relay.
#[derive(Clone)]
pub struct RelayInterface<C: Capacity> {
    config: RelayConfig,
    link: Link<C>,
    told: Automatic<C>,
}

impl<C: Capacity> RelayInterface<C> {
    /// A border relay without an IPv4 address.
    #[must_use]
    pub const fn new(config: RelayConfig) -> Self {
        let side = Side::Relay { anycast: config.anycast };
        RelayInterface { config, link: Link::new(config.policy, side, false), told: Automatic::EMPTY }
    }

    /// The link's data.
    #[must_use]
    pub fn link(&self) -> &Link<C> {
        &self.link
    }

    /// How outer headers are made, to be changed.
    pub fn policy_mut(&mut self) -> &mut OuterPolicy {
        &mut self.link.policy
    }

    /// This relay's 6rd address.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses()
    }

    /// Makes other tunnel routers of the IPv4 network known, which are no
    /// customers. `S6R-33`, `SEC-4`
    ///
    /// # Errors
    /// More than the table holds.
    pub fn set_known_routers(&mut self, routers: &[Ipv4Addr]) -> Result<(), TableFull> {
        self.link.replace_relays(routers.iter().copied())
    }

    /// Replaces the IPv4 address, of which a border relay has one: the first
    /// that can be a unicast address.
    ///
    /// # Errors
    /// The route table is full.
    pub fn set_locators(&mut self, cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let own = locators.iter().find(|locator| !is_never_unicast(locator.address));
        let place = own.map(|own| Place::new(self.config.domain, *own));
        if let Some(before) = self.link.place.filter(|before| Some(*before) != place) {
            cx.routes.remove(&Route::null(before.delegated, Origin::Automatic).key());
        }
        self.link.place = place;
        let id = cx.id;
        let on_link = place.map(|place| Route {
            publish: self.config.publish,
            ..Route::on_link(place.domain.prefix(), id, Origin::Automatic)
        });
        // S6R-30 [RFC 5969 §7.2]: but for its address and the anycast one,
        // which are delivered before any route is asked.
        let null = place.map(|place| Route::null(place.delegated, Origin::Automatic));
        let is_own = |route: &Route| route.link == id && route.origin == Origin::Automatic;
        let result = replace_routes(cx, is_own, on_link.into_iter().chain(null));
        self.told.set_addresses(self.link.address().into_iter(), Expiry::NEVER);
        self.told.note_room(result);
        result
    }
}

impl<C: Capacity> Interface<C> for RelayInterface<C> {
    type Snapshot = Link<C>;

    fn snapshot(&self) -> Link<C> {
        self.link.clone()
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_, C>,
        _from: Admitted,
        _flow: &Flow,
        packet: &mut PacketMut<'_>,
    ) -> Received {
        Automatic::receive(&self.link, cx, packet)
    }

    fn note_sent(&mut self, _now: Instant, _destination: Ipv4Addr) {}

    fn note_avoided(&mut self, _now: Instant, _next_hop: &Ipv6Addr) {}

    fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason> {
        path_error(&mut self.link.paths, self.link.policy.mtu, now, error)
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, _entropy: &mut dyn Entropy) {
        self.link.paths.handle_timeout(cx.now);
    }

    fn poll_transmit(&mut self, _: &mut Context<'_, C>, _: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        Ok(None)
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        self.told.poll_event(cx, &self.link.policy)
    }

    fn deadline(&self) -> Expiry {
        self.link.paths.next_deadline()
    }

    fn has_packet(&self, _now: Instant) -> bool {
        false
    }

    fn has_event(&self) -> bool {
        self.told.has_event(&self.link.policy)
    }
}

delegate_to_link!(RelayInterface);

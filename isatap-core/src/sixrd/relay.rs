//! The border relay between a 6rd domain and the native Internet.
//!
//! It is a node with this interface and a native one, both forwarding. What
//! customers send to each other by it goes back into the tunnel (hairpin).

use core::net::Ipv4Addr;

use super::addr::Domain;
use super::edge::POLICY;
use super::link::{Place, Side, SixRdLink};
use crate::capacity::Capacity;
use crate::engine::{Event, LearnedAddress};
use crate::error::{Table, TableFull};
use crate::interface::{Context, Control, Told, Tracked, interface};
use crate::link::{Locator, OuterPolicy};
use crate::route::{Origin, Route};
use crate::time::Expiry;
use crate::wire::ipv6;

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
    /// outer packet may be fragmented, and a smaller path is a black hole: the
    /// IPv6 MTU is 1,280 bytes unless another one was configured.
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
    link: Tracked<SixRdLink<C>>,
    told: Told<C>,
}

impl<C: Capacity> RelayInterface<C> {
    /// A border relay without an IPv4 address.
    #[must_use]
    pub const fn new(mut config: RelayConfig) -> Self {
        if config.anycast && !config.policy.fixed_link_mtu {
            // S6R-25, S6R-32: an error about the path may reach another relay.
            config.policy.link_mtu = ipv6::MINIMUM_MTU;
        }
        let side = Side::Relay { anycast: config.anycast };
        RelayInterface { config, link: Tracked::new(SixRdLink::new(config.policy, side, false)), told: Told::NOTHING }
    }

    /// This node's addresses on the link.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// Makes other tunnel routers of the IPv4 network known, which are no
    /// customers. `S6R-33`, `SEC-4`
    ///
    /// # Errors
    /// More than the table holds.
    pub fn set_known_routers(&mut self, routers: &[Ipv4Addr]) -> Result<(), TableFull> {
        self.link.replace_relays(routers.iter().copied())
    }

    /// Replaces the IPv4 addresses, of which a border relay uses one: the
    /// first that can be a unicast address.
    ///
    /// # Errors
    /// The route table is full, or not every address is known to be ours.
    pub fn set_locators(&mut self, cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let known = self.link.replace_locators(locators);
        self.told.full.set(Table::Locators, known);
        known.and(self.sync(cx))
    }

    /// Takes back what the place in the domain has brought.
    fn withdraw(&mut self, cx: &mut Context<'_, C>) {
        if let Some(place) = self.link.place.take() {
            cx.routes.remove(&Route::null(place.delegated, Origin::Automatic).key());
        }
    }

    /// Brings link, address and routes to what is known.
    fn sync(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let place = self.link.underlay.locators().first().map(|own| Place::new(self.config.domain, *own));
        if self.link.place != place {
            self.withdraw(cx);
            self.link.place = place;
        }
        let id = cx.id;
        let on_link = place.map(|place| Route {
            publish: self.config.publish,
            ..Route::on_link(place.domain.prefix(), id, Origin::Automatic)
        });
        // S6R-30 [RFC 5969 §7.2]: but for its address and the anycast one,
        // which are delivered before any route is asked.
        let null = place.map(|place| Route::null(place.delegated, Origin::Automatic));
        let told = self.link.told_addresses(Expiry::NEVER);
        self.told.sync_addresses(|wanted| told.for_each(|address| wanted.add(address)));
        self.told.sync_routes(cx, on_link.into_iter().chain(null))
    }
}

impl<C: Capacity> Control<C> for RelayInterface<C> {
    fn leave(&mut self, cx: &mut Context<'_, C>) {
        self.withdraw(cx);
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        self.told.poll_event(cx.id, &self.link.underlay.policy)
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        if self.told.full.is_any() {
            let _ = self.sync(cx);
        }
    }
}

interface!(RelayInterface, SixRdLink);

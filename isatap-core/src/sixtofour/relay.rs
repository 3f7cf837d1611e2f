//! The relay between 6to4 sites and the native Internet.
//!
//! It is a node with this interface and a native one, both forwarding. Its
//! one route is `2002::/16`; the way to the native Internet is the node's.

use super::addr::PREFIX;
use super::link::{Side, SixToFourLink};
use crate::capacity::{Bounded as _, Capacity};
use crate::engine::{Event, LearnedAddress};
use crate::error::{Table, TableFull};
use crate::interface::{Context, Control, Told, Tracked, interface};
use crate::link::{Locator, OuterPolicy};
use crate::prefix::Ipv4Prefix;
use crate::route::{Origin, Route};
use crate::time::Expiry;

/// How a relay works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// For labs: whether IPv4 addresses that are not global count as if they
    /// were, private ones (which `S64-14` refuses) included; see
    /// [`is_usable`](super::ingress::is_usable).
    pub accept_bogons: bool,
    /// Whether it answers at 192.88.99.1, when that is among its locators;
    /// deprecated. It finds out no path MTU then. `S64-31 [RFC 7526 §5]`
    pub anycast: bool,
    /// Whether `2002::/16` is published on the native side; nothing longer
    /// ever is. `S64-44 [RFC 3056 §5.2]`
    pub publish: bool,
}

impl RelayConfig {
    /// No anycast, nothing published.
    pub const DEFAULT: RelayConfig =
        RelayConfig { policy: OuterPolicy::DEFAULT, accept_bogons: false, anycast: false, publish: false };
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig::DEFAULT
    }
}

/// The 6to4 interface of a relay. `S64-45`: a node is one only by being given
/// this.
#[derive(Clone)]
pub struct RelayInterface<C: Capacity> {
    config: RelayConfig,
    link: Tracked<SixToFourLink<C>>,
    told: Told<C>,
}

impl<C: Capacity> RelayInterface<C> {
    /// A relay without IPv4 addresses, for everybody.
    #[must_use]
    pub const fn new(mut config: RelayConfig) -> Self {
        if config.anycast {
            // TUN-37 [RFC 3056 §4]: no DF, as an error about the path may reach another relay.
            config.policy = config.policy.without_path_mtu();
        }
        RelayInterface {
            config,
            link: Tracked::new(SixToFourLink::new(
                config.policy,
                config.accept_bogons,
                Side::Relay { anycast: config.anycast },
            )),
            told: Told::NOTHING,
        }
    }

    /// This node's addresses on the link.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// Serves only 6to4 routers at these IPv4 addresses, and others so named.
    /// `S64-46`: with none named, everybody: think twice.
    ///
    /// # Errors
    /// The table is full.
    pub fn add_client(&mut self, routers: Ipv4Prefix) -> Result<(), TableFull> {
        self.link.clients.add(routers, Table::Members)
    }

    /// Replaces the IPv4 addresses, at any time. The first one is sent from;
    /// 192.88.99.1, where it is allowed, before that. `S64-1`, `S64-34`
    ///
    /// # Errors
    /// More than the table of locators or of routes holds.
    pub fn set_locators(&mut self, cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let known = self.link.replace_locators(locators);
        self.told.full.set(Table::Locators, known);
        known.and(self.sync(cx))
    }

    /// Brings addresses and routes to what is known.
    fn sync(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let link = &self.link;
        self.told.sync_automatic(link.locators().iter().map(|own| link.address_of(own.address)), Expiry::NEVER);
        let on_link = (!link.locators().is_empty())
            .then(|| Route { publish: self.config.publish, ..Route::on_link(PREFIX, cx.id, Origin::Automatic) });
        self.told.sync_routes(cx, on_link.into_iter())
    }
}

impl<C: Capacity> Control<C> for RelayInterface<C> {
    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        self.told.poll_event(cx.id, &self.link.underlay.policy)
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        if self.told.full.is_any() {
            let _ = self.sync(cx);
        }
    }
}

interface!(RelayInterface, SixToFourLink);

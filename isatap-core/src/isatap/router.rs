//! The router: answers solicitations, each to the host that asked.
//!
//! ```text
//! RS ──▶ row: delay drawn (0 … 0.5 s) ──▶ RA to the RS's source ──▶ quiet for 1 s
//! RS, half of the rows wait ──▶ row without delay ──▶ the same
//! ```
//!
//! There are no periodic advertisements, since a router knows no list of
//! its hosts; those that it remembers hear of a change (`ISA-56`) and of its end (`NDP-42`). A router that does not advertise is a
//! [`HostInterface`](super::HostInterface) whose forwarding is on (`ISA-62`).

mod advertise;
mod answered;
mod check;
mod config;
mod limit;
mod machine;
mod tell;

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::{Bounded, Capacity, Rows, Vec};
use crate::engine::LearnedAddress;
use crate::error::{Table, TableFull};
use crate::interface::{Context, Told, Tracked, interface};
use crate::isatap::addr;
use crate::isatap::link::IsatapLink;
use crate::isatap::prl::EntryOrigin;
use crate::link::{Link as _, Locator};
use crate::nd::learned::{DnsServer, SearchDomain};
use crate::nd::option::{PrefixFlags, PrefixInformation};
use crate::prefix::Ipv6Prefix;
use crate::time::{Instant, Lifetime};

pub use advertise::Solicitor;
use answered::Answered;
pub use answered::Mark;
pub use check::CheckNeighbors;
pub use config::{OfferDefault, PublishedPrefix, RouterConfig};
use limit::Limit;
use tell::Round;

/// The interface of an advertising ISATAP router.
#[derive(Clone)]
pub struct RouterInterface<C: Capacity> {
    config: RouterConfig,
    link: Tracked<IsatapLink<C>>,
    published: Vec<PublishedPrefix, C::Prefixes>,
    servers: Vec<DnsServer, C::DnsServers>,
    domains: Vec<SearchDomain, C::SearchDomains>,
    solicitors: Vec<Solicitor, C::Solicitations>,
    recent: Answered<Rows<C::Answered, Mark>>,
    neighbors: check::Checks<C>,
    /// Whether a locator may be anybody's. `SEC-3`
    blind: bool,
    told: Told<C>,
    /// What was sent a moment ago, in [pieces](advertise::PIECE). `ISA-57`
    sent: Limit,
    round: Round,
    is_stopping: bool,
}

impl<C: Capacity> RouterInterface<C> {
    /// A router without locators or prefixes.
    #[must_use]
    pub const fn new(config: RouterConfig) -> Self {
        RouterInterface {
            config,
            link: Tracked::new(IsatapLink::new(config.policy, true)),
            published: Bounded::EMPTY,
            servers: Bounded::EMPTY,
            domains: Bounded::EMPTY,
            solicitors: Bounded::EMPTY,
            recent: Answered::EMPTY,
            neighbors: check::Checks::<C>::EMPTY,
            blind: false,
            told: Told::NOTHING,
            sent: Limit::EMPTY,
            round: Round::NONE,
            is_stopping: false,
        }
    }

    /// What is advertised.
    #[must_use]
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// What is advertised, to be changed; hosts learn it when they ask next,
    /// or by [`advertise_again`](Self::advertise_again).
    /// Whether packets are forwarded is another switch, of the interface
    /// (`ISA-60`).
    pub fn config_mut(&mut self) -> &mut RouterConfig {
        &mut self.config
    }

    /// The published prefixes.
    #[must_use]
    pub fn published(&self) -> &[PublishedPrefix] {
        &self.published
    }

    /// When a host was answered last.
    #[must_use]
    pub fn last_answered(&self) -> Option<Instant> {
        self.sent.last()
    }

    /// This router's addresses: for each locator a link-local one and one in
    /// each published prefix, of the same identifier. `ISA-54`
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// Replaces the locators, at any time.
    ///
    /// # Errors
    /// More locators than the table holds: as many as fit are used.
    pub fn set_locators(&mut self, _cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let result = self.link.replace_locators(locators);
        self.note_locators();
        // Nobody expects an answer from a locator that is gone.
        let link = &self.link;
        self.solicitors.keep(|row| link.owns_ipv4(row.locator));
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
        self.published.add(prefix, Table::Prefixes)?;
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
        self.published.keep(|row| row.prefix != *prefix);
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
        self.forget_neighbors(cx.now);
        self.sync_addresses();
    }

    /// Advertises a DNS server.
    ///
    /// # Errors
    /// The table is full.
    pub fn add_dns_server(&mut self, server: Ipv6Addr) -> Result<(), TableFull> {
        self.servers.add(DnsServer(server), Table::DnsServers)
    }

    /// Advertises a search domain.
    ///
    /// # Errors
    /// The table is full.
    pub fn add_search_domain(&mut self, domain: SearchDomain) -> Result<(), TableFull> {
        self.domains.add(domain, Table::SearchDomains)
    }

    /// Lists another router of this link as a potential router: what it sends
    /// is let in whatever its source. `ISA-42`
    ///
    /// Two routers that believe each other in everything are two halves of a
    /// loop: only for routers whose own checks are known.
    ///
    /// # Errors
    /// The router list is full.
    pub fn add_trusted_router(&mut self, address: Ipv4Addr) -> Result<(), TableFull> {
        self.link.list_router(address, EntryOrigin::Static).map(|_| ())
    }

    /// Makes the other tunnel routers of the IPv4 network known, of whatever
    /// mechanism: nothing is let in from them, or sent to them, as if they were
    /// hosts. One that is trusted as well is refused. `SEC-4 [RFC 6324 §3.2.3]`
    ///
    /// # Errors
    /// More than the table holds.
    pub fn set_known_routers(&mut self, routers: &[Ipv4Addr]) -> Result<(), TableFull> {
        self.link.set_known_routers(routers)
    }

    fn sync_addresses(&mut self) {
        let prefixes = self.published.iter().map(|row| row.prefix);
        let locators = self.link.locators();
        self.told.sync_addresses(|wanted| {
            for prefix in core::iter::once(Ipv6Prefix::LINK_LOCAL).chain(prefixes) {
                let own = locators.iter().filter_map(|locator| addr::address(&prefix, locator.address));
                own.for_each(|address| wanted.add(LearnedAddress::lasting(address, 64)));
            }
        });
    }
}

/// The row of the router list that stands for this router itself.
const OWN: u8 = 0;

interface!(RouterInterface, IsatapLink);

//! What a router advertises.

use super::CheckNeighbors;
use crate::link::OuterPolicy;
use crate::nd::message::RouterFlags;
use crate::prefix::Ipv6Prefix;
use crate::route::Preference;
use crate::time::Lifetime;

/// What a router advertises, prefixes and routes apart. `ISA-55`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether solicitations are answered at all. `RTE-7`
    pub advertise: bool,
    /// When the router offers itself as a default router.
    pub default_route: OfferDefault,
    /// The hop limit that hosts should use; 0: no opinion.
    pub cur_hop_limit: u8,
    /// M, O and other flags.
    pub flags: RouterFlags,
    /// Preference as a default router.
    pub preference: Preference,
    /// Lifetime as a default router, in seconds. `ISA-59`
    pub router_lifetime: u16,
    /// Lifetime of published routes; one that ends earlier is advertised for
    /// as long as it lasts. AdvRouteLifetime. [RFC 4191 §4]
    pub route_lifetime: Lifetime,
    /// How long a neighbour counts as reachable, in ms; 0: no opinion.
    pub reachable_time: u32,
    /// Between two Neighbor Solicitations, in ms; 0: no opinion.
    pub retrans_timer: u32,
    /// Lifetime of the DNS servers and search domains.
    pub dns_lifetime: Lifetime,
    /// Advertisements a second to all hosts together; one of more than 256
    /// bytes counts for each 256 that it begins. It bounds what forged
    /// solicitations make this router send. `ISA-57`
    pub answers_per_second: u16,
    /// Whether hosts are asked whether they are there. `SEC-1`
    pub check_neighbors: CheckNeighbors,
}

impl RouterConfig {
    /// A default router with the lifetimes of RFC 4861, which asks its neighbours
    /// where nothing else would see a routing loop.
    pub const DEFAULT: RouterConfig = RouterConfig {
        policy: OuterPolicy::DEFAULT,
        advertise: true,
        default_route: OfferDefault::Always,
        cur_hop_limit: 64,
        flags: RouterFlags::empty(),
        preference: Preference::Medium,
        router_lifetime: 1800,
        route_lifetime: Lifetime::from_secs(1800),
        reachable_time: 0,
        retrans_timer: 0,
        dns_lifetime: Lifetime::from_secs(1800),
        // Forged solicitations, 30,000 a second, and 10,000 that a socket has
        // kept while the router stood still. What is counted as a second may
        // be a quarter longer, and over the limit nobody is answered for as
        // long as that quarter.
        answers_per_second: 60_000,
        check_neighbors: CheckNeighbors::WhereBlind,
    };
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig::DEFAULT
    }
}

/// When a router offers itself as a default router. With a published `::/0` of
/// the node's it always does, and never while forwarding is off (`NDP-67`).
/// `RTE-6`, `RTE-7`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum OfferDefault {
    /// While the node has a default route by another link. After that has
    /// changed call
    /// [`advertise_again`](super::RouterInterface::advertise_again).
    Auto,
    /// Even where it leads nowhere.
    Always,
    /// Not for that.
    Never,
}

impl OfferDefault {
    /// Every choice.
    pub const ALL: [OfferDefault; 3] = [OfferDefault::Auto, OfferDefault::Always, OfferDefault::Never];

    /// The word for it in options and configuration files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OfferDefault::Auto => "auto",
            OfferDefault::Always => "always",
            OfferDefault::Never => "never",
        }
    }
}

impl core::fmt::Display for OfferDefault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
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

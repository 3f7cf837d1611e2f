//! How a host behaves.

use crate::link::OuterPolicy;
use crate::nd::solicit;
use crate::time::Duration;

/// How a host behaves. [`HostConfig::DEFAULT`] is what RFC 5214 and RFC 7559
/// recommend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostConfig {
    /// How outer headers are made.
    pub policy: OuterPolicy,
    /// Whether there are names to resolve: the host then asks for it by
    /// [`Event::ResolveRouters`](crate::engine::Event::ResolveRouters).
    pub resolve: bool,
    /// PrlRefreshInterval. `ISA-21 [RFC 5214 §8.3.1]`
    pub refresh_interval: Duration,
    /// When the link-local addresses exist. `ISA-12`
    pub link_local: LinkLocal,
    /// Where the first solicitation of a round goes. `ISA-30`
    pub solicit: SolicitDestination,
    /// Whether repeats go to the other u form and to all-routers. `ISA-27`
    pub try_other_forms: bool,
    /// How solicitations are paced; its `min_round_interval` is
    /// MinRouterSolicitInterval. `ISA-34`, `ISA-37`
    pub solicitation: solicit::Config,
    /// Whether neighbours are probed. `ISA-48`
    pub probe_neighbors: bool,
}

impl HostConfig {
    /// The recommended behaviour, with names to resolve.
    pub const DEFAULT: HostConfig = HostConfig {
        policy: OuterPolicy::DEFAULT,
        resolve: true,
        refresh_interval: Duration::from_secs(3600),
        link_local: LinkLocal::Always,
        solicit: SolicitDestination::Unicast,
        try_other_forms: true,
        solicitation: solicit::Config::DEFAULT,
        probe_neighbors: true,
    };
}

impl Default for HostConfig {
    fn default() -> Self {
        HostConfig::DEFAULT
    }
}

/// When a host has link-local addresses. `ISA-12`, `NAM-6a`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkLocal {
    /// With every locator.
    Always,
    /// With every locator, while the router list is not empty.
    WhenRouterKnown,
}

/// The inner destination of a solicitation. `ISA-30`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SolicitDestination {
    /// The potential router's link-local address.
    Unicast,
    /// All-routers, `ff02::2`, as Windows XP does.
    AllRouters,
}

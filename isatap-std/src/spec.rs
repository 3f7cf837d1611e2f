//! What a link is to be: one struct a mechanism, which says it once.
//!
//! The struct is the flags of the command (feature `args`: clap), the table of a file (feature
//! `file`: serde), what [`check`](crate::check) judges by, what a scenario of the lab builds, and
//! what a program fills in that uses the library. [`LinkSpec`] is any of them.
//!
//! ```
//! use isatap_std::spec::{IsatapHost, LinkSpec};
//!
//! let mut host = IsatapHost::new();
//! host.router = vec!["10.0.0.1".parse()?, "isatap.corp.example".parse()?];
//! host.mtu = Some(1000);
//! let refusals = LinkSpec::from(host).check();
//! assert_eq!(refusals[0].key, "mtu");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whether this machine has the addresses and devices that a struct names is not asked here.

mod advertised;
mod compatible;
mod dns_update;
mod endpoint;
mod field;
#[cfg(feature = "file")]
pub(crate) mod file;
mod isatap_host;
mod isatap_router;
mod kernel_path;
mod lan;
mod names;
mod native;
mod outer;
mod portproxy;
mod refusal;
mod sixrd;
mod sixtofour;
mod teredo_client;
mod teredo_relay;
mod teredo_server;
mod tunnel;
pub(crate) mod update_url;
mod value;
mod whole;

pub use crate::device::Binding;
pub use advertised::{OwnPrefix, PublishedRoute};
pub use compatible::Compatible;
pub use dns_update::DnsUpdate;
pub use endpoint::{Direction, Family, Listen, Target, TargetHost, ZonedAddress};
pub use isatap_host::IsatapHost;
pub use isatap_router::IsatapRouter;
pub use kernel_path::KernelPath;
pub use lan::LanOptions;
pub(crate) use lan::fits;
pub use native::Native;
pub use outer::{Ecn, INHERIT, Mark, Tos, Ttl};
pub(crate) use portproxy::rule_loops;
pub use portproxy::{PortProxy, Protocol, ProxyProtocol, rule_conflicts, rules_at_answerers};
pub use refusal::Refusal;
pub(crate) use refusal::{Refusals, check_public};
use refusal::{check_local, check_locator, check_via, too_many};
pub use sixrd::{SixRd, SixRdRole};
pub use sixtofour::{SixToFour, SixToFourRole};
pub use teredo_client::{PortMapping, TeredoClient};
pub use teredo_relay::TeredoRelay;
pub use teredo_server::TeredoServer;
pub use tunnel::Tunnel;
pub use update_url::UpdateUrl;
pub use value::{AddressError, AddressWithLength, Bind, DnsServer, ServerName};
pub use whole::{Conflict, MOST_LINKS, conflicts, overlaps};

use crate::capacity::Linux;
use crate::device::check_device;
use crate::error::Error;
use crate::resolve::NameService;
use isatap_core::capacity::Capacity;
use isatap_core::datapath::Switches;
use isatap_core::error::TableFull;
use isatap_core::interface::Context;
use isatap_core::link::Locator;
use isatap_core::node::{AnyInterface, Node, NodeConfig};
use isatap_core::time::{Expiry, Instant};
use isatap_core::wire::ipv6::MINIMUM_MTU;
use std::net::Ipv4Addr;
use std::path::Path;

/// The device of ISATAP when nothing else is asked for.
pub const ISATAP_DEVICE: &str = "isatap0";

/// The device of Teredo when nothing else is asked for.
pub const TEREDO_DEVICE: &str = "teredo";

/// The metric of a tunnel's routes when nothing else is asked for: twice that of the kernel's own
/// (1024, of a native default route, say), so that they yield to native ones of the same prefix.
pub const DEFAULT_METRIC: u32 = 2048;

/// The longest inner packet that an IPv4 packet takes.
const LARGEST_MTU: u16 = 65_515;

/// Fields whose numbers are fewer than those of their type: the key, the least and the greatest.
pub const RANGES: [(&str, u16, u16); 3] = [
    ("mtu", MINIMUM_MTU, LARGEST_MTU),
    ("v4-mask-len", 0, 32),
    ("connect-timeout", portproxy::CONNECT_TIMEOUTS.0, portproxy::CONNECT_TIMEOUTS.1),
];

/// What one link is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LinkSpec {
    /// `isatap host`, `[[isatap-host]]`
    IsatapHost(IsatapHost),
    /// `isatap router`, `[[isatap-router]]`
    IsatapRouter(IsatapRouter),
    /// `isatap tunnel`, `[[tunnel]]`
    Tunnel(Tunnel),
    /// `isatap compatible`, `[[compatible]]`
    Compatible(Compatible),
    /// `isatap 6rd`, `[[6rd]]`
    SixRd(SixRd),
    /// `isatap 6to4`, `[[6to4]]`
    SixToFour(SixToFour),
    /// `isatap teredo client`, `[[teredo-client]]`
    TeredoClient(TeredoClient),
    /// `isatap teredo server`, `[[teredo-server]]`
    TeredoServer(TeredoServer),
    /// `isatap teredo relay`, `[[teredo-relay]]`
    TeredoRelay(TeredoRelay),
}

/// The same expression of every kind of link.
macro_rules! each {
    ($link:expr, $spec:ident => $of:expr) => {
        match $link {
            LinkSpec::IsatapHost($spec) => $of,
            LinkSpec::IsatapRouter($spec) => $of,
            LinkSpec::Tunnel($spec) => $of,
            LinkSpec::Compatible($spec) => $of,
            LinkSpec::SixRd($spec) => $of,
            LinkSpec::SixToFour($spec) => $of,
            LinkSpec::TeredoClient($spec) => $of,
            LinkSpec::TeredoServer($spec) => $of,
            LinkSpec::TeredoRelay($spec) => $of,
        }
    };
}

macro_rules! from {
    ($($kind:ident),*) => {$(
        impl From<$kind> for LinkSpec {
            fn from(spec: $kind) -> Self {
                LinkSpec::$kind(spec)
            }
        }
    )*};
}

from!(IsatapHost, IsatapRouter, Tunnel, Compatible, SixRd, SixToFour, TeredoClient, TeredoServer, TeredoRelay);

impl LinkSpec {
    /// The device to make.
    #[must_use]
    pub fn device(&self) -> &str {
        each!(self, spec => &spec.dev)
    }

    /// A file to record outer packets into.
    #[must_use]
    pub fn pcap(&self) -> Option<&Path> {
        each!(self, spec => spec.pcap.as_deref())
    }

    /// The metric of routes through the device.
    #[must_use]
    pub fn metric(&self) -> u32 {
        match self {
            LinkSpec::IsatapHost(spec) => spec.metric,
            LinkSpec::IsatapRouter(spec) => spec.metric,
            LinkSpec::Tunnel(spec) => spec.metric,
            LinkSpec::Compatible(spec) => spec.metric,
            LinkSpec::SixRd(spec) => spec.metric,
            LinkSpec::SixToFour(spec) => spec.metric,
            LinkSpec::TeredoClient(_) | LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) => DEFAULT_METRIC,
        }
    }

    /// Whether it takes a full table from the kernel.
    #[must_use]
    pub fn full_table(&self) -> bool {
        match self {
            LinkSpec::IsatapHost(spec) => spec.full_table,
            LinkSpec::IsatapRouter(spec) => spec.full_table,
            LinkSpec::Tunnel(spec) => spec.full_table,
            LinkSpec::Compatible(spec) => spec.full_table,
            LinkSpec::SixRd(spec) => spec.full_table,
            LinkSpec::SixToFour(spec) => spec.full_table,
            LinkSpec::TeredoClient(_) | LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) => false,
        }
    }

    /// The IPv4 addresses that it is given; none: which of this machine's it has is not said.
    #[must_use]
    pub fn locals(&self) -> Vec<Ipv4Addr> {
        match self {
            LinkSpec::IsatapHost(host) => host.local.clone(),
            LinkSpec::IsatapRouter(router) => router.local.clone(),
            LinkSpec::Tunnel(tunnel) => tunnel.local.into_iter().collect(),
            LinkSpec::Compatible(compatible) => compatible.local.clone(),
            LinkSpec::SixRd(sixrd) => sixrd.local.into_iter().collect(),
            LinkSpec::SixToFour(sixtofour) => sixtofour.locals(),
            LinkSpec::TeredoClient(client) => client.bound().into_iter().collect(),
            LinkSpec::TeredoServer(server) => vec![server.primary, server.secondary()],
            LinkSpec::TeredoRelay(relay) => vec![relay.local],
        }
    }

    /// The lmhosts file that names are looked up in, where it is not the system's.
    #[must_use]
    pub fn lmhosts(&self) -> Option<&Path> {
        match self {
            LinkSpec::IsatapHost(host) => host.lmhosts.as_deref(),
            LinkSpec::SixToFour(sixtofour) => sixtofour.lmhosts.as_deref(),
            _ => None,
        }
    }

    /// The device whose IPv4 addresses it sends from, whatever they are at the time.
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        match self {
            LinkSpec::IsatapHost(host) => host.via.as_deref(),
            LinkSpec::Tunnel(tunnel) => tunnel.via.as_deref(),
            LinkSpec::SixRd(sixrd) => sixrd.via.as_deref(),
            _ => None,
        }
    }

    /// How its outer packets leave and come; of Teredo nothing of that is asked.
    #[must_use]
    pub fn binding(&self) -> Binding {
        match self {
            LinkSpec::IsatapHost(spec) => spec.outer().binding(),
            LinkSpec::IsatapRouter(spec) => spec.outer().binding(),
            LinkSpec::Tunnel(spec) => spec.outer().binding(),
            LinkSpec::Compatible(spec) => spec.outer().binding(),
            LinkSpec::SixRd(spec) => spec.outer().binding(),
            LinkSpec::SixToFour(spec) => spec.outer().binding(),
            LinkSpec::TeredoClient(_) | LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) => Binding::default(),
        }
    }

    /// Whether it listens at a port below 1024, which not everybody may.
    #[must_use]
    pub fn binds_low_port(&self) -> bool {
        let is_low = |bind: Option<Bind>| bind.is_some_and(|Bind(bind)| (1..1024).contains(&bind.port()));
        match self {
            LinkSpec::IsatapRouter(_) => self.answer_by().contains(&NameService::Netbios),
            LinkSpec::TeredoClient(client) => is_low(client.bind),
            LinkSpec::TeredoRelay(relay) => is_low(relay.bind),
            _ => false,
        }
    }

    /// Whether it leaves something to a daemon after it: a port that a NAT opens until it is told otherwise.
    #[must_use]
    pub fn remembers(&self) -> bool {
        matches!(self, LinkSpec::TeredoClient(client) if matches!(client.port_mapping, PortMapping::Auto | PortMapping::Upnp))
    }

    /// By what it answers to the name isatap.
    #[must_use]
    pub(crate) fn answer_by(&self) -> &[NameService] {
        match self {
            LinkSpec::IsatapRouter(router) => &router.answer_by,
            _ => &[],
        }
    }

    /// The LANs that get a prefix of it.
    #[must_use]
    pub fn lans(&self) -> &[LanOptions] {
        match self {
            LinkSpec::Tunnel(tunnel) => &tunnel.lan,
            LinkSpec::SixRd(sixrd) => &sixrd.lan,
            LinkSpec::SixToFour(sixtofour) => &sixtofour.lan,
            _ => &[],
        }
    }

    /// The lease of a DHCPv4 client that it follows.
    #[must_use]
    pub fn dhcp_lease(&self) -> Option<&Path> {
        match self {
            LinkSpec::SixRd(sixrd) => sixrd.dhcp_lease.as_deref(),
            _ => None,
        }
    }

    /// The routes that an ISATAP router tells hosts of.
    pub(crate) fn published_routes(&self) -> &[PublishedRoute] {
        match self {
            LinkSpec::IsatapRouter(router) => &router.advertise_route,
            _ => &[],
        }
    }

    /// Where its secrets are.
    #[must_use]
    pub fn secret_file(&self) -> Option<&Path> {
        match self {
            LinkSpec::TeredoClient(client) => client.secret_file.as_deref(),
            LinkSpec::TeredoServer(server) => server.secret_file.as_deref(),
            _ => None,
        }
    }

    /// What it reads to call its tunnel broker: the password, and certificates of CAs.
    pub fn update_files(&self) -> impl Iterator<Item = &Path> {
        let files = match self {
            LinkSpec::Tunnel(tunnel) => [tunnel.update_login.as_deref(), tunnel.update_ca.as_deref()],
            _ => [None, None],
        };
        files.into_iter().flatten()
    }

    /// The same link with what it leaves open written out, what is repeated once, and lists whose
    /// order says nothing in one order: two links that are written differently and are the same are
    /// equal then.
    #[must_use]
    pub fn resolved(&self) -> Self {
        let mut link = self.clone();
        each!(&mut link, spec => spec.resolve());
        link
    }

    /// Lets IPv4 addresses count as public that are not, where the link asks whether they are.
    pub fn accept_bogons(&mut self) {
        match self {
            LinkSpec::SixToFour(spec) => spec.accept_bogons = true,
            LinkSpec::TeredoClient(spec) => spec.accept_bogons = true,
            LinkSpec::TeredoServer(spec) => spec.accept_bogons = true,
            LinkSpec::TeredoRelay(spec) => spec.accept_bogons = true,
            _ => {}
        }
    }

    /// Whether it speaks Teredo, and not protocol 41.
    #[must_use]
    pub fn is_teredo(&self) -> bool {
        matches!(self, LinkSpec::TeredoClient(_) | LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_))
    }

    /// The name of its role in [`Status`](crate::service::status::Status).
    #[must_use]
    pub fn role(&self) -> &'static str {
        match self {
            LinkSpec::IsatapHost(_) => "isatap-host",
            LinkSpec::IsatapRouter(_) => "isatap-router",
            LinkSpec::Tunnel(_) => "configured",
            LinkSpec::Compatible(_) => "compatible",
            LinkSpec::SixRd(sixrd) => match sixrd.role {
                SixRdRole::CustomerEdge => "6rd-ce",
                SixRdRole::BorderRelay => "6rd-br",
            },
            LinkSpec::SixToFour(sixtofour) => match sixtofour.role {
                SixToFourRole::HostRouter => "6to4-host-router",
                SixToFourRole::Router => "6to4-router",
                SixToFourRole::Relay => "6to4-relay",
            },
            LinkSpec::TeredoClient(_) => "teredo-client",
            LinkSpec::TeredoServer(_) => "teredo-server",
            LinkSpec::TeredoRelay(_) => "teredo-relay",
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            LinkSpec::IsatapHost(_) => "ISATAP host",
            LinkSpec::IsatapRouter(_) => "ISATAP router",
            LinkSpec::Tunnel(_) => "configured tunnel",
            LinkSpec::Compatible(_) => "tunnel to IPv4-compatible addresses",
            LinkSpec::SixRd(sixrd) => sixrd.role.describe(),
            LinkSpec::SixToFour(sixtofour) => sixtofour.role.describe(),
            LinkSpec::TeredoClient(_) => "Teredo client",
            LinkSpec::TeredoServer(_) => "Teredo server",
            LinkSpec::TeredoRelay(_) => "Teredo relay",
        }
    }

    /// What its fields cannot be on any machine; nothing where it is well.
    #[must_use]
    pub fn check(&self) -> Vec<Refusal> {
        let mut refusals = Refusals(self.check_fields());
        if refusals.0.is_empty() {
            refusals.note("", self.try_out());
        }
        refusals.0
    }

    /// The same without whether there is room for it.
    pub(crate) fn check_fields(&self) -> Vec<Refusal> {
        let mut refusals = Refusals::default();
        refusals.note("dev", check_device(self.device()));
        each!(self, spec => spec.refuse(&mut refusals));
        refusals.0
    }

    /// Whether the tables of a node on Linux have room for all of it.
    fn try_out(&self) -> Result<(), Error> {
        if self.is_teredo() {
            return Ok(());
        }
        let full = |full: TableFull| Error::usage("make the link", self.device(), full.to_string());
        let mut node: Box<Node<Box<AnyInterface<Linux>>, Linux, 1>> = Box::new(Node::new(NodeConfig::DEFAULT));
        let id = node.add(Box::new(self.interface()?), Switches::DEFAULT).map_err(full)?;
        let locators: Vec<Locator> = self.locals().into_iter().map(Locator::from).collect();
        let told = node.with_interface(Instant::ZERO, id, |interface, cx| {
            self.tell(interface, cx)?;
            set_locators(interface, cx, &locators, Expiry::NEVER).map_err(full)?;
            if let (AnyInterface::IsatapHost(host), LinkSpec::IsatapHost(spec)) = (&mut **interface, self) {
                spec.addresses().try_for_each(|router| host.add_router(cx, router)).map_err(full)?;
            }
            Ok(())
        });
        told.unwrap_or(Ok(()))
    }

    /// The first of [`check`](Self::check), for who does one thing at a time.
    ///
    /// # Errors
    ///
    /// A usage error.
    pub fn check_first(&self) -> Result<(), Error> {
        self.check().into_iter().next().map_or(Ok(()), |refusal| Err(refusal.error))
    }

    /// What it leaves open, and what closes that; one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match self {
            LinkSpec::IsatapHost(host) => host.warnings(),
            LinkSpec::IsatapRouter(router) => router.warnings(),
            LinkSpec::Tunnel(tunnel) => tunnel.warnings(),
            LinkSpec::SixRd(sixrd) => sixrd.warnings(),
            LinkSpec::SixToFour(sixtofour) => sixtofour.warnings(),
            _ => Vec::new(),
        }
    }

    /// The core's interface of a link that speaks protocol 41. [`tell`](Self::tell) is for
    /// afterwards, when a node has it.
    ///
    /// # Errors
    ///
    /// A 6rd domain that cannot be, more of something than `C` has room for, or a link that speaks
    /// Teredo. What else [`check`](Self::check) refuses is for before.
    pub fn interface<C: Capacity>(&self) -> Result<AnyInterface<C>, Error> {
        match self {
            LinkSpec::IsatapHost(host) => host.interface(),
            LinkSpec::IsatapRouter(router) => router.interface(),
            LinkSpec::Tunnel(tunnel) => Ok(tunnel.interface()),
            LinkSpec::Compatible(compatible) => Ok(compatible.interface()),
            LinkSpec::SixRd(sixrd) => sixrd.interface(),
            LinkSpec::SixToFour(sixtofour) => sixtofour.interface(),
            LinkSpec::TeredoClient(_) | LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) => {
                Err(Error::usage("carry protocol 41 by", self.device(), "it speaks Teredo"))
            }
        }
    }

    /// Tells the [`interface`](Self::interface) what it can be told once it is a node's: prefixes
    /// to advertise, addresses, the 6rd domain.
    ///
    /// # Errors
    ///
    /// More of something than `C` has room for.
    pub fn tell<C: Capacity>(&self, interface: &mut AnyInterface<C>, cx: &mut Context<'_, C>) -> Result<(), Error> {
        match (self, interface) {
            (LinkSpec::IsatapRouter(spec), AnyInterface::IsatapRouter(router)) => spec.tell(router, cx),
            (LinkSpec::Tunnel(spec), AnyInterface::Configured(tunnel)) => spec.tell(tunnel, cx),
            (LinkSpec::SixRd(spec), AnyInterface::SixRdEdge(edge)) => spec.tell(edge, cx),
            _ => Ok(()),
        }
    }
}

/// Tells an interface which IPv4 addresses it has, until when.
///
/// # Errors
///
/// More than `C` has room for.
pub fn set_locators<C: Capacity>(
    interface: &mut AnyInterface<C>,
    cx: &mut Context<'_, C>,
    locators: &[Locator],
    until: Expiry,
) -> Result<(), TableFull> {
    match interface {
        AnyInterface::IsatapHost(host) => host.set_locators(cx, locators),
        AnyInterface::IsatapRouter(router) => router.set_locators(cx, locators),
        AnyInterface::SixRdEdge(edge) => edge.set_locators(cx, locators, until),
        AnyInterface::SixRdRelay(relay) => relay.set_locators(cx, locators),
        AnyInterface::SixToFourRouter(router) => router.set_locators(cx, locators, until),
        AnyInterface::SixToFourRelay(relay) => relay.set_locators(cx, locators),
        AnyInterface::Configured(tunnel) => tunnel.set_locators(cx, locators),
        AnyInterface::Compatible(compatible) => compatible.set_locators(cx, locators),
        _ => Ok(()),
    }
}

/// One order for a list whose order says nothing.
fn sort<T: ToString>(set: &mut Vec<T>) {
    set.sort_by_cached_key(ToString::to_string);
    set.dedup_by_key(|one| one.to_string());
}

/// Each once, in a list whose order says something.
fn once<T: PartialEq>(list: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(list.len());
    for one in list.drain(..) {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    *list = kept;
}

/// Some things in a message.
pub(crate) fn list<T: ToString>(things: &[T]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

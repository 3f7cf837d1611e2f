//! What the other end of a link has to be, whatever runs there.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::isatap::{OfferDefault, addr as isatap};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::ecn::TosMode;
use isatap_core::sixrd::addr::Domain;
use isatap_core::sixtofour::addr as sixtofour;
use isatap_core::wire::ipv6::MINIMUM_MTU;

use super::Given;
use super::steps::words;
use crate::resolve::{Entry, Name};
use crate::spec::{
    AddressWithLength, Ecn, IsatapHost, IsatapRouter, LinkSpec, SixRd, SixRdRole, SixToFour, SixToFourRole, Tos, Ttl,
    Tunnel,
};

/// How an end is told what the file does not say of it.
pub(super) const GIVE_LOCAL: &str = "give --local V4";

/// The other end of a link, as far as it is known.
pub(super) enum OtherEnd<'s> {
    IsatapHost(Host<'s>),
    IsatapRouter(Router<'s>),
    Tunnel(TunnelEnd<'s>),
    SixRdEdge(SixRdEnd<'s>),
    SixRdRelay(SixRdEnd<'s>),
    SixToFourSite(Site<'s>),
    SixToFourRelay(Site<'s>),
    TeredoClient {
        server: Ipv4Addr,
        dev: &'s str,
        accept_bogons: bool,
    },
    TeredoServer {
        server: Option<Ipv4Addr>,
        secondary: Option<Ipv4Addr>,
        dev: &'s str,
        accept_bogons: bool,
    },
    Compatible {
        common: Common<'s>,
        local: Option<Ipv4Addr>,
    },
    /// Of a Teredo relay: clients find it by themselves.
    Nobody,
}

/// What tunnels of protocol 41 have in common.
#[derive(Clone, Copy)]
pub(super) struct Common<'s> {
    pub(super) dev: &'s str,
    /// What this end was given, or has without path MTU discovery; `None`: each end takes that of its IPv4 interface.
    pub(super) mtu: Option<u16>,
    pub(super) ttl: Ttl,
    /// What this end was given; `None`: nothing, and each mechanism has its own.
    pub(super) tos: Option<Tos>,
    pub(super) ecn: Option<Ecn>,
    pub(super) is_6rd: bool,
}

/// A host of an ISATAP router of ours.
pub(super) struct Host<'s> {
    pub(super) common: Common<'s>,
    /// Its own address.
    pub(super) local: Option<Ipv4Addr>,
    /// The router's, the first that the file names.
    pub(super) router: Ipv4Addr,
    /// What hosts are told: the router's name, or its address.
    pub(super) told: String,
    pub(super) prefixes: Vec<Ipv6Prefix>,
    /// What the router is the way to.
    pub(super) routes: Vec<Ipv6Prefix>,
    pub(super) dns: &'s [Ipv6Addr],
    pub(super) search: &'s [Name],
    /// Seconds within which a host has to solicit again.
    pub(super) lifetime: u32,
}

/// The router of an ISATAP host of ours.
pub(super) struct Router<'s> {
    pub(super) common: Common<'s>,
    pub(super) address: Option<Ipv4Addr>,
    /// Why the address is not known.
    pub(super) unknown: &'static str,
    pub(super) prefixes: &'s [Ipv6Prefix],
    /// How its hosts find it: a name, or its address.
    pub(super) told: Option<String>,
    pub(super) isatap_interface: Option<&'s str>,
    pub(super) lan_interface: Option<&'s str>,
}

/// A configured tunnel, seen from its other end.
pub(super) struct TunnelEnd<'s> {
    pub(super) common: Common<'s>,
    pub(super) local: Ipv4Addr,
    pub(super) remote: Ipv4Addr,
    pub(super) addresses: Vec<AddressWithLength>,
    /// Prefixes that it has no known address in.
    pub(super) without_address: Vec<Ipv6Prefix>,
}

/// One end of a 6rd domain.
pub(super) struct SixRdEnd<'s> {
    pub(super) common: Common<'s>,
    pub(super) domain: Domain,
    pub(super) local: Option<Ipv4Addr>,
    /// The border relay: of a relay itself.
    pub(super) relay: Option<Ipv4Addr>,
    /// Of a relay: the address of a customer, ours.
    pub(super) customer: Option<Ipv4Addr>,
}

/// A 6to4 site, or a relay.
pub(super) struct Site<'s> {
    pub(super) common: Common<'s>,
    pub(super) local: Option<Ipv4Addr>,
    /// The relay that the site uses: ours.
    pub(super) relay: Option<Ipv4Addr>,
    pub(super) accept_bogons: bool,
}

impl Common<'_> {
    /// What switching its device on does, and the words of that command for the MTU.
    pub(super) fn switch_on(&self) -> (&'static str, Vec<String>) {
        match self.mtu {
            Some(mtu) => ("Switch it on, with the MTU of this end.", words!["mtu", mtu]),
            None => ("Switch it on.", Vec::new()),
        }
    }

    /// The TOS of outer packets, for who does not know that 6rd has its own. S6R-24
    pub(super) fn tos(&self) -> Option<Tos> {
        let copied = self.is_6rd.then_some(Tos(TosMode::CopyTrafficClass));
        self.tos.or(copied).filter(|tos| tos.0 != TosMode::Fixed(0))
    }
}

macro_rules! common {
    ($spec:expr) => {
        Common {
            dev: &$spec.dev,
            mtu: $spec.mtu.or((!$spec.path_mtu_discovery).then_some(MINIMUM_MTU)),
            ttl: $spec.ttl,
            tos: $spec.tos,
            ecn: $spec.ecn,
            is_6rd: false,
        }
    };
}

impl<'s> OtherEnd<'s> {
    pub(super) fn of(link: &'s LinkSpec, given: &'s Given) -> Self {
        match link {
            LinkSpec::IsatapRouter(router) => Self::of_isatap_router(router, given),
            LinkSpec::IsatapHost(host) => Self::of_isatap_host(host, given),
            LinkSpec::Tunnel(tunnel) => Self::of_tunnel(tunnel, given),
            LinkSpec::SixRd(sixrd) => Self::of_sixrd(sixrd, given),
            LinkSpec::SixToFour(sixtofour) => Self::of_sixtofour(sixtofour, given),
            LinkSpec::TeredoServer(server) => {
                OtherEnd::TeredoClient { server: server.primary, dev: &server.dev, accept_bogons: server.accept_bogons }
            }
            LinkSpec::TeredoClient(client) => OtherEnd::TeredoServer {
                server: match client.server.entry() {
                    Entry::Address(address) => Some(*address),
                    Entry::Name(_) => given.local,
                },
                secondary: client.secondary,
                dev: &client.dev,
                accept_bogons: client.accept_bogons,
            },
            LinkSpec::Compatible(spec) => OtherEnd::Compatible { common: common!(spec), local: given.local },
            LinkSpec::TeredoRelay(_) => OtherEnd::Nobody,
        }
    }

    fn of_isatap_router(router: &'s IsatapRouter, given: &Given) -> Self {
        let address = router.local.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let mut routes: Vec<Ipv6Prefix> = router.advertise_route.iter().map(|route| route.prefix).collect();
        if router.offers_default() != OfferDefault::Never && router.router_lifetime > 0 {
            routes.insert(0, Ipv6Prefix::DEFAULT);
        }
        let lifetimes = [u32::from(router.router_lifetime), router.preferred_lifetime];
        OtherEnd::IsatapHost(Host {
            common: common!(router),
            local: given.local,
            router: address,
            told: given.router_name.as_ref().map_or_else(|| address.to_string(), ToString::to_string),
            prefixes: router.prefix.iter().map(|own| own.prefix).collect(),
            routes,
            dns: &router.dns,
            search: &router.search,
            lifetime: lifetimes.into_iter().filter(|seconds| *seconds > 0).min().unwrap_or(0),
        })
    }

    fn of_isatap_host(host: &'s IsatapHost, given: &'s Given) -> Self {
        let mut addresses = host.addresses();
        let one = addresses.next().filter(|_| addresses.next().is_none());
        let unknown = if host.router.is_empty() {
            "the file names no router"
        } else if host.addresses().next().is_none() {
            "the file names the router, and no DNS is asked here"
        } else {
            "the file names several routers, each of which is an other end"
        };
        let address = given.local.or(one);
        let name = given.router_name.as_ref().or_else(|| host.names().next());
        OtherEnd::IsatapRouter(Router {
            common: common!(host),
            address,
            unknown,
            prefixes: &given.prefix,
            told: name.map(ToString::to_string).or_else(|| address.map(|address| address.to_string())),
            isatap_interface: given.isatap_interface.as_deref(),
            lan_interface: given.lan_interface.as_deref(),
        })
    }

    fn of_tunnel(tunnel: &'s Tunnel, given: &Given) -> Self {
        let (mut addresses, mut without_address) = (Vec::new(), Vec::new());
        for AddressWithLength(own) in &tunnel.address {
            let Some(prefix) = own.prefix() else { continue };
            let is_there =
                |other: &&AddressWithLength| prefix.contains(&other.0.address) && other.0.address != own.address;
            match given.address.iter().find(is_there) {
                Some(other) => addresses.push(*other),
                None if own.prefix_length == 127 => {
                    // [RFC 6164 §1] There are two.
                    let mut other = *own;
                    other.address = Ipv6Addr::from_bits(own.address.to_bits() ^ 1);
                    addresses.push(AddressWithLength(other));
                }
                None => without_address.push(prefix),
            }
        }
        OtherEnd::Tunnel(TunnelEnd {
            common: common!(tunnel),
            // A name was told apart before, as was one that follows a device.
            local: match tunnel.remote {
                Entry::Address(remote) => remote,
                Entry::Name(_) => Ipv4Addr::UNSPECIFIED,
            },
            remote: tunnel.local.unwrap_or(Ipv4Addr::UNSPECIFIED),
            addresses,
            without_address,
        })
    }

    fn of_sixrd(sixrd: &'s SixRd, given: &Given) -> Self {
        let Ok(domain) = sixrd.domain() else { return OtherEnd::Nobody };
        let common = Common { is_6rd: true, ..common!(sixrd) };
        match sixrd.role {
            SixRdRole::BorderRelay => {
                let relay = sixrd.local;
                OtherEnd::SixRdEdge(SixRdEnd { common, domain, local: given.local, relay, customer: None })
            }
            SixRdRole::CustomerEdge => {
                let relay = given.local.or(sixrd.br.first().copied());
                let customer = sixrd.local;
                OtherEnd::SixRdRelay(SixRdEnd { common, domain, local: relay, relay, customer })
            }
        }
    }

    fn of_sixtofour(sixtofour: &'s SixToFour, given: &Given) -> Self {
        let (common, accept_bogons) = (common!(sixtofour), sixtofour.accept_bogons);
        match (sixtofour.role, &sixtofour.relay) {
            (SixToFourRole::Relay, _) => {
                let relay = sixtofour.local.first().copied();
                OtherEnd::SixToFourSite(Site { common, local: given.local, relay, accept_bogons })
            }
            (_, None) => OtherEnd::SixToFourSite(Site { common, local: given.local, relay: None, accept_bogons }),
            (_, Some(entry)) => {
                let named = match entry {
                    Entry::Address(address) => Some(*address),
                    Entry::Name(_) => None,
                };
                OtherEnd::SixToFourRelay(Site { common, local: given.local.or(named), relay: None, accept_bogons })
            }
        }
    }

    /// The ends of its tunnel of protocol 41, as far as they are known: a kernel has one tunnel for them.
    pub(super) fn kernel_ends(&self) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
        let local = match self {
            OtherEnd::Tunnel(tunnel) => return Some((tunnel.local, Some(tunnel.remote))),
            OtherEnd::IsatapHost(host) => host.local,
            OtherEnd::IsatapRouter(router) => router.address,
            OtherEnd::SixRdEdge(end) | OtherEnd::SixRdRelay(end) => end.local,
            OtherEnd::SixToFourSite(site) | OtherEnd::SixToFourRelay(site) => site.local,
            OtherEnd::Compatible { local, .. } => *local,
            OtherEnd::TeredoClient { .. } | OtherEnd::TeredoServer { .. } | OtherEnd::Nobody => None,
        };
        local.map(|local| (local, None))
    }

    /// What it is, for people.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            OtherEnd::IsatapHost(_) => "an ISATAP host",
            OtherEnd::IsatapRouter(_) => "the ISATAP router",
            OtherEnd::Tunnel(_) => "the tunnel's other end",
            OtherEnd::SixRdEdge(_) => "a 6rd customer edge",
            OtherEnd::SixRdRelay(_) => "the 6rd border relay",
            OtherEnd::SixToFourSite(_) => "a 6to4 site",
            OtherEnd::SixToFourRelay(_) => "the 6to4 relay",
            OtherEnd::TeredoClient { .. } => "a Teredo client",
            OtherEnd::TeredoServer { .. } => "the Teredo server",
            OtherEnd::Compatible { .. } => "a host of ::/96",
            OtherEnd::Nobody => "Teredo clients",
        }
    }
}

impl Host<'_> {
    /// Its addresses, one in each prefix. `ISA-4`
    pub(super) fn addresses(&self, local: Ipv4Addr) -> impl Iterator<Item = Ipv6Addr> {
        self.prefixes.iter().filter_map(move |prefix| isatap::address(prefix, local))
    }

    /// The next hop of its routes.
    pub(super) fn gateway(&self) -> Ipv6Addr {
        isatap::link_local(self.router)
    }

    /// How often a host solicits that is not told a default route and prefix for ever.
    pub(super) fn solicits_every(&self) -> u32 {
        self.lifetime.saturating_mul(4) / 5
    }
}

impl SixRdEnd<'_> {
    /// Its own address: the first behind the subnet-router anycast address. `S6R-7`
    pub(super) fn address(&self, local: Ipv4Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.domain.anycast(local).to_bits() | 1)
    }

    /// DHCPv4 option 212, in hexadecimal, for who tells edges so. `S6R-10`
    pub(super) fn option_212(&self) -> Option<String> {
        let mut option = [0; 64];
        let relays: Vec<Ipv4Addr> = self.relay.into_iter().collect();
        let prefix = self.domain.prefix();
        let length = isatap_core::sixrd::dhcp::emit(self.domain.ipv4_mask_len(), &prefix, &relays, &mut option).ok()?;
        // Without its code and length, which the server writes.
        let value = option.get(2..length)?;
        let digits: Vec<String> = value.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(digits.join(":"))
    }
}

impl Site<'_> {
    /// Its own address. `S64-3`
    pub(super) fn address(local: Ipv4Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(sixtofour::site(local).address().to_bits() | 1)
    }
}

/// The addresses one of which the file says the other end to have; empty: it leaves that open.
pub(super) fn said_locals(link: &LinkSpec) -> Vec<Ipv4Addr> {
    let of_entry = |entry: &Entry| match entry {
        Entry::Address(address) => vec![*address],
        Entry::Name(_) => Vec::new(),
    };
    match link {
        LinkSpec::Tunnel(tunnel) => of_entry(&tunnel.remote),
        LinkSpec::TeredoClient(client) => of_entry(client.server.entry()),
        LinkSpec::IsatapHost(host) if host.names().next().is_none() => host.addresses().collect(),
        LinkSpec::SixRd(sixrd) if sixrd.role == SixRdRole::CustomerEdge => sixrd.br.clone(),
        _ => Vec::new(),
    }
}

/// Whether an address is for the tunnel's other end.
pub(super) fn takes_address(link: &LinkSpec, address: &AddressWithLength) -> bool {
    let LinkSpec::Tunnel(tunnel) = link else { return false };
    tunnel.address.iter().any(|AddressWithLength(own)| {
        own.prefix().is_some_and(|prefix| prefix.contains(&address.0.address)) && own.address != address.0.address
    })
}

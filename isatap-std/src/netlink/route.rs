//! Routes through a device, and the way to an IPv4 destination.

use super::{Device, Netlink, PROTOCOL, gone, parse, seconds};
use crate::device::Bound;
use crate::error::Error;
use isatap_core::prefix::Ipv6Prefix;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REQUEST};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RoutePreference, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How much a route is preferred to another of the same prefix and metric
/// (RFC 4191 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// Only when there is nothing else.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Before all others.
    High,
}

/// An IPv6 route through a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// First address of the destinations.
    pub destination: Ipv6Addr,
    /// Length of the destination prefix, 0 to 128.
    pub prefix_len: u8,
    /// The next hop on the link; `None`: the destination itself is on the link.
    pub next_hop: Option<Ipv6Addr>,
    /// The smaller, the better; 0 stands for the kernel's default of 1024.
    pub metric: u32,
    /// Between routes of equal metric.
    pub preference: Preference,
    /// How long the route exists; `None` is for ever. The kernel removes it then
    /// by itself.
    pub lifetime: Option<Duration>,
}

/// A route on the device that another program made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForeignRoute {
    /// The route; its lifetime is what was left of it when it was reported.
    pub route: Route,
    /// Who made it: 2 the kernel (the prefix of an address), 3 boot, 4 static, and
    /// so on, as in `/etc/iproute2/rt_protos`.
    pub protocol: u8,
}

/// How the kernel would send an IPv4 packet to some destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Path {
    /// The source address it would choose.
    pub source: Ipv4Addr,
    /// The device it would leave by.
    pub interface: u32,
    /// The MTU in bytes: what the kernel learned of the path or what the route
    /// says, else that of the device.
    pub mtu: u32,
    /// The router that it would be sent to; `None`: the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
}

/// By which way the kernel would send an IPv4 packet from some address of this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Way {
    /// The device it would leave by.
    pub interface: u32,
    /// The MTU in bytes that the route has, if it has one.
    pub mtu: Option<u32>,
    /// Whether the route puts packets in others: SRv6, MPLS, BPF (`ip route … encap`).
    pub encapsulates: bool,
}

impl Netlink {
    /// Adds a route of ours through a device. When it is there already, only its
    /// lifetime changes; a route of ours to the same prefix by another next hop
    /// stays.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege, the device is down, or the next hop is
    /// neither link-local nor on-link.
    pub fn add_route(&self, index: u32, route: &Route) -> Result<(), Error> {
        let mut message = route_message(index, route);
        if route.preference != Preference::Medium {
            // Sent only where it says something: the kernel's default is Medium.
            message.attributes.push(RouteAttribute::Preference(match route.preference {
                Preference::Low => RoutePreference::Low,
                Preference::Medium => RoutePreference::Medium,
                Preference::High => RoutePreference::High,
            }));
        }
        if let Some(lifetime) = route.lifetime {
            message.attributes.push(RouteAttribute::Expires(seconds(Some(lifetime))));
        }
        // Without NLM_F_REPLACE, which would take any other's route of the same
        // metric away. A route that exists is EEXIST, its lifetime refreshed.
        self.order(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE)
            .or_else(|error| match error.raw_os_error() {
                Some(libc::EEXIST) => Ok(()),
                _ => Err(error),
            })
            .map_err(|error| {
                let unreachable = matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::EINVAL));
                let error = Error::refused("add the route", Through(route, index), error);
                if unreachable {
                    error.with_advice("the next hop has to be a link-local address, not one of this host's own")
                } else {
                    error
                }
            })
    }

    /// Removes a route of ours; it is no error when it is gone already, or its
    /// device. A route of the same prefix that another program made stays.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege.
    pub fn remove_route(&self, index: u32, route: &Route) -> Result<(), Error> {
        self.order(RouteNetlinkMessage::DelRoute(route_message(index, route)), 0)
            .or_else(gone)
            .map_err(|error| Error::refused("remove the route", Through(route, index), error))
    }

    /// The routes through a device that this program made.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn own_routes(&self, index: u32) -> Result<Vec<Route>, Error> {
        Ok(self.routes(index)?.filter(|route| route.protocol == PROTOCOL).map(|route| route.route).collect())
    }

    /// The routes through a device that other programs made.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn foreign_routes(&self, index: u32) -> Result<Vec<ForeignRoute>, Error> {
        Ok(self.routes(index)?.filter(|route| route.protocol != PROTOCOL).collect())
    }

    /// The devices, by interface index, through which the kernel has a unicast route to one of
    /// exactly these prefixes, with that prefix. A route without a carrier is none.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn devices_toward(&self, prefixes: &[Ipv6Prefix]) -> Result<Vec<(Ipv6Prefix, u32)>, Error> {
        let refused = |error| Error::refused("list", "the IPv6 routes", error);
        let answer = self.dump(RouteNetlinkMessage::GetRoute(main_table())).map_err(refused)?;
        let messages = answer.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) => Some(message),
            _ => None,
        });
        let routes = messages.flat_map(parse::unicast_routes_of).filter(|route| route.is_alive);
        let found = routes.filter_map(|found| {
            let prefix = Ipv6Prefix::new(found.route.route.destination, found.route.route.prefix_len)?;
            prefixes.contains(&prefix).then_some((prefix, found.interface))
        });
        Ok(found.collect())
    }

    /// How the kernel would send to `destination` now.
    ///
    /// # Errors
    ///
    /// There is no route.
    pub fn ipv4_path(&self, destination: Ipv4Addr) -> Result<Ipv4Path, Error> {
        self.ipv4_path_of(destination, Bound::default())
    }

    /// The same of packets with a mark, or by one device.
    ///
    /// # Errors
    ///
    /// As [`ipv4_path`](Self::ipv4_path).
    pub fn ipv4_path_of(&self, destination: Ipv4Addr, bound: Bound) -> Result<Ipv4Path, Error> {
        let parse::Path { source, interface, mtu, gateway, .. } = self.way(None, destination, bound)?;
        let mtu = match mtu {
            Some(mtu) => mtu,
            None => self.links()?.into_iter().find(|link| link.index == interface).map_or(1500, |link| link.mtu),
        };
        Ok(Ipv4Path { source, interface, mtu, gateway })
    }

    /// By which way packets leave from this address of this machine's, as rules of routing may want it. Rules that name protocol 41 it does not know: the kernel answers for TCP,
    /// UDP and ICMP alone.
    ///
    /// # Errors
    ///
    /// As [`ipv4_path`](Self::ipv4_path).
    pub fn ipv4_way(&self, source: Ipv4Addr, destination: Ipv4Addr, bound: Bound) -> Result<Ipv4Way, Error> {
        let parse::Path { interface, mtu, encapsulates, .. } = self.way(Some(source), destination, bound)?;
        Ok(Ipv4Way { interface, mtu, encapsulates })
    }

    fn way(&self, from: Option<Ipv4Addr>, destination: Ipv4Addr, bound: Bound) -> Result<parse::Path, Error> {
        let refused = |error| {
            Error::refused("find the IPv4 route to", destination, error)
                .with_advice("check the IPv4 network (ip route get), or name the local address")
        };
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(destination)));
        if let Some(source) = from {
            message.header.source_prefix_length = 32;
            message.attributes.push(RouteAttribute::Source(RouteAddress::Inet(source)));
        }
        if bound.interface != 0 {
            message.attributes.push(RouteAttribute::Oif(bound.interface));
        }
        if bound.mark != 0 {
            message.attributes.push(RouteAttribute::Mark(bound.mark));
        }
        let answer = self.transport.request(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST).map_err(refused)?;
        let found = answer.iter().find_map(parse::ipv4_path_of);
        found.ok_or_else(|| refused(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer names no source")))
    }

    fn routes(&self, index: u32) -> Result<impl Iterator<Item = ForeignRoute> + use<>, Error> {
        let mut message = main_table();
        message.attributes.push(RouteAttribute::Oif(index));
        let answer = self
            .dump(RouteNetlinkMessage::GetRoute(message))
            .map_err(|error| Error::refused("list the routes through", Device(index), error))?;
        Ok(answer.into_iter().flat_map(move |message| match message {
            RouteNetlinkMessage::NewRoute(message) => parse::routes_of(&message, index),
            _ => Vec::new(),
        }))
    }
}

/// A request for the IPv6 routes of the main table.
fn main_table() -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message
}

struct Through<'a>(&'a Route, u32);

impl fmt::Display for Through<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.destination, self.0.prefix_len)?;
        if let Some(next_hop) = self.0.next_hop {
            write!(f, " via {next_hop}")?;
        }
        write!(f, " dev {}", Device(self.1))
    }
}

fn route_message(index: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet6,
        destination_prefix_length: route.prefix_len,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: PROTOCOL.into(),
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(route.destination)));
    attributes.push(RouteAttribute::Oif(index));
    if let Some(next_hop) = route.next_hop {
        attributes.push(RouteAttribute::Gateway(RouteAddress::Inet6(next_hop)));
    }
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

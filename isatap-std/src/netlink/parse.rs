//! From rtnetlink messages to what this program asks about.

use super::{ForeignRoute, InterfaceAddress, Ipv4Address, NetDevice, Preference, Route};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RoutePreference, RouteType,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How the kernel would send, as far as the route says it.
pub(super) struct Path {
    pub(super) source: Ipv4Addr,
    pub(super) interface: u32,
    pub(super) mtu: Option<u32>,
    pub(super) gateway: Option<Ipv4Addr>,
    /// Whether the route puts packets in others: SRv6, MPLS, BPF (`ip route … encap`).
    pub(super) encapsulates: bool,
}

pub(super) fn link_of(message: &RouteNetlinkMessage) -> Option<NetDevice> {
    match message {
        RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message) => link(message),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Option<NetDevice> {
    let mut name = None;
    let (mut mtu, mut is_vrf, mut master) = (0, false, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Mtu(value) => mtu = *value,
            LinkAttribute::Controller(index) => master = Some(*index),
            LinkAttribute::LinkInfo(info) => is_vrf = info.contains(&LinkInfo::Kind(InfoKind::Vrf)),
            _ => {}
        }
    }
    Some(NetDevice {
        index: message.header.index,
        name: name?,
        is_up: message.header.flags.contains(LinkFlags::Up),
        is_running: message.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        is_loopback: message.header.flags.contains(LinkFlags::Loopback),
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        mtu,
        is_vrf,
        master,
    })
}

fn address_message(message: &RouteNetlinkMessage) -> Option<&AddressMessage> {
    match message {
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => Some(message),
        _ => None,
    }
}

/// The address itself: on a point-to-point device IFA_ADDRESS is the other end.
pub(super) fn local(message: &AddressMessage) -> Option<IpAddr> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => found = Some(*address),
            _ => {}
        }
    }
    found
}

pub(super) fn ipv4_address_of(message: &RouteNetlinkMessage) -> Option<Ipv4Address> {
    let message = address_message(message)?;
    let IpAddr::V4(address) = local(message)? else {
        return None;
    };
    let (_, valid) = lifetimes(message);
    Some(Ipv4Address { interface: message.header.index, address, prefix_len: message.header.prefix_len, valid })
}

/// Preferred and valid.
fn lifetimes(message: &AddressMessage) -> (Option<Duration>, Option<Duration>) {
    let told = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::CacheInfo(info) => Some((info.ifa_preferred, info.ifa_valid)),
        _ => None,
    });
    let lifetime = |value| (value != u32::MAX).then(|| Duration::from_secs(u64::from(value)));
    told.map_or((None, None), |(preferred, valid)| (lifetime(preferred), lifetime(valid)))
}

/// Whether an address is being asked for on the link, or somebody else has it there.
pub(super) fn is_doubtful(message: &RouteNetlinkMessage) -> bool {
    let Some(message) = address_message(message) else { return true };
    let in_attribute = message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Flags(flags) => {
            let doubtful = AddressFlags::Tentative | AddressFlags::Dadfailed;
            flags.intersects(doubtful) && !flags.contains(AddressFlags::Optimistic)
        }
        _ => false,
    });
    in_attribute || message.header.flags.contains(AddressHeaderFlags::Tentative)
}

/// Whether somebody else on the link has the address.
pub(super) fn is_duplicate(message: &RouteNetlinkMessage) -> bool {
    address_message(message).is_some_and(|message| {
        message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Flags(flags) => flags.contains(AddressFlags::Dadfailed),
            _ => false,
        })
    })
}

/// The interface index and the address.
pub(super) fn ipv6_address_of(message: &RouteNetlinkMessage) -> Option<(u32, InterfaceAddress)> {
    let message = address_message(message)?;
    let IpAddr::V6(address) = local(message)? else {
        return None;
    };
    let (preferred, valid) = lifetimes(message);
    Some((message.header.index, InterfaceAddress { address, prefix_len: message.header.prefix_len, preferred, valid }))
}

/// An answer to "how would you send there?".
pub(super) fn ipv4_path_of(message: &RouteNetlinkMessage) -> Option<Path> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    let (mut source, mut interface, mut mtu, mut gateway, mut encapsulates) = (None, None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            // The one that was asked for, or the one that the kernel would take.
            RouteAttribute::PrefSource(RouteAddress::Inet(address))
            | RouteAttribute::Source(RouteAddress::Inet(address)) => {
                source = Some(*address);
            }
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            RouteAttribute::EncapType(_) | RouteAttribute::Encap(_) => encapsulates = true,
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(Path { source: source?, interface: interface?, mtu, gateway, encapsulates })
}

/// A unicast route of the main table.
pub(super) struct UnicastRoute {
    /// The interface index of the device that it leads to.
    pub(super) interface: u32,
    pub(super) route: ForeignRoute,
    /// Whether the device has a carrier.
    pub(super) is_alive: bool,
}

/// Those through `device` of [`unicast_routes_of`].
pub(super) fn routes_of(message: &RouteMessage, device: u32) -> Vec<ForeignRoute> {
    let all = unicast_routes_of(message).into_iter();
    all.filter(|route| route.interface == device).map(|route| route.route).collect()
}

/// The destinations of a route message, whatever its kind.
pub(super) fn destination_of(message: &RouteMessage) -> (Ipv6Addr, u8) {
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet6(value)) => Some(*value),
        _ => None,
    });
    (destination.unwrap_or(Ipv6Addr::UNSPECIFIED), message.header.destination_prefix_length)
}

/// The unicast routes that a message tells of: none, one, or one for each next hop of a
/// multipath route.
pub(super) fn unicast_routes_of(message: &RouteMessage) -> Vec<UnicastRoute> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let (destination, prefix_len) = destination_of(message);
    let mut metric = 0;
    let mut preference = Preference::Medium;
    let mut lifetime = None;
    let mut single = (None, None);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(value) => table = *value,
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Preference(value) => {
                preference = match value {
                    RoutePreference::Low => Preference::Low,
                    RoutePreference::High => Preference::High,
                    _ => Preference::Medium,
                }
            }
            // Ticks of 1/100 s (USER_HZ), zero for none.
            RouteAttribute::CacheInfo(info) if info.expires > 0 => {
                lifetime = Some(Duration::from_millis(u64::from(info.expires) * 10));
            }
            RouteAttribute::Oif(index) => single.0 = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => single.1 = Some(*address),
            RouteAttribute::MultiPath(next_hops) => {
                hops.extend(next_hops.iter().map(|hop| {
                    let gateway = hop.attributes.iter().find_map(gateway);
                    (Some(hop.interface_index), gateway)
                }));
            }
            _ => {}
        }
    }
    if header.address_family != AddressFamily::Inet6
        || table != u32::from(RouteHeader::RT_TABLE_MAIN)
        || header.kind != RouteType::Unicast
        || header.flags.contains(RouteFlags::Cloned)
    {
        return Vec::new();
    }
    if hops.is_empty() {
        hops.push(single);
    }
    let is_alive = !header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    let routes = hops.into_iter().filter_map(|(interface, next_hop)| {
        let route = Route { destination, prefix_len, next_hop, metric, preference, lifetime };
        let route = ForeignRoute { route, protocol: header.protocol.into() };
        Some(UnicastRoute { interface: interface?, route, is_alive })
    });
    routes.collect()
}

fn gateway(attribute: &RouteAttribute) -> Option<Ipv6Addr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(*address),
        _ => None,
    }
}

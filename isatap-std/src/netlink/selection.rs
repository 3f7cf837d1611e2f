//! What the kernel selects addresses by: labels, the addresses that there are, the way to a
//! destination.

use super::{Netlink, parse};
use crate::error::Error;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::Source;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REQUEST};
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::addrlabel::{AddrLabelAttribute, AddrLabelMessage};
use netlink_packet_route::link::{LinkLayerType, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

/// How the kernel would send to a destination of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The source address it would choose; `None`: it has none.
    pub source: Option<IpAddr>,
    /// The device it would leave by.
    pub interface: u32,
    /// The destination is this machine itself.
    pub local: bool,
}

impl Netlink {
    /// The labels of the kernel, by which it chooses IPv6 source addresses; those of a single
    /// device left out.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn labels(&self) -> Result<Vec<(Ipv6Prefix, u32)>, Error> {
        let mut message = AddrLabelMessage::default();
        message.header.family = AddressFamily::Inet6;
        let answer = self
            .dump(RouteNetlinkMessage::GetAddrLabel(message))
            .map_err(|error| Error::refused("list", "the address labels", error))?;
        Ok(answer.iter().filter_map(label_of).collect())
    }

    /// Gives the addresses of a prefix a label; one that the prefix has already is replaced.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege, a part of `::ffff:0:0/96`, the label 0xffffffff.
    pub fn set_label(&self, prefix: Ipv6Prefix, label: u32) -> Result<(), Error> {
        let mut message = label_message(prefix);
        message.attributes.push(AddrLabelAttribute::Label(label));
        // Not by NLM_F_REPLACE: Linux looks no further than the first prefix of the same length, and
        // puts a second row before the one that it should replace.
        self.remove_label(prefix)?;
        self.order(RouteNetlinkMessage::NewAddrLabel(message), NLM_F_CREATE)
            .map_err(|error| Error::refused(format!("set the label {label} of"), prefix, error))
    }

    /// Removes the label of a prefix, and a second one that other programs left behind it; it is no
    /// error when it has none.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege.
    pub fn remove_label(&self, prefix: Ipv6Prefix) -> Result<(), Error> {
        loop {
            let mut message = label_message(prefix);
            // The kernel wants one here too, and does not look at it.
            message.attributes.push(AddrLabelAttribute::Label(0));
            match self.order(RouteNetlinkMessage::DelAddrLabel(message), 0) {
                Ok(()) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => return Ok(()),
                Err(error) => return Err(Error::refused("remove the label of", prefix, error)),
            }
        }
    }

    /// The addresses of all devices that packets can come from: none that is still asked for on its
    /// link, or that another machine there has.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn sources(&self) -> Result<Vec<Source>, Error> {
        let mut sources = Vec::new();
        for family in [AddressFamily::Inet6, AddressFamily::Inet] {
            let answer = self.dump_addresses(family).map_err(|error| Error::refused("list", "the addresses", error))?;
            // Of IPv4 addresses none is asked for, and the flag says nothing there.
            let usable = answer.iter().filter(|message| family == AddressFamily::Inet || !parse::is_doubtful(message));
            sources.extend(usable.filter_map(source_of));
        }
        Ok(sources)
    }

    /// How the kernel would send to a destination, by `device` unless that is 0; `None`: it has no
    /// route.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn path(&self, destination: IpAddr, device: u32) -> Result<Option<Path>, Error> {
        let mut message = RouteMessage::default();
        let (family, length, address) = match destination {
            IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
            IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = length;
        message.attributes.push(RouteAttribute::Destination(address));
        if device != 0 {
            message.attributes.push(RouteAttribute::Oif(device));
        }
        match self.transport.request(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST) {
            Ok(answer) => Ok(answer.iter().find_map(path_of)),
            Err(error) if is_no_route(&error) => Ok(None),
            Err(error) => Err(Error::refused("find the route to", destination, error)),
        }
    }

    /// The devices that carry IPv6 in IPv4 by the kernel itself: `sit`, `gre` and the like. Our own
    /// are TUN devices, which look like any VPN's.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn kernel_tunnels(&self) -> Result<Vec<u32>, Error> {
        let answer = self
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .map_err(|error| Error::refused("list", "the network devices", error))?;
        let tunnels = answer.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => {
                let kind = message.header.link_layer_type;
                matches!(kind, LinkLayerType::Sit | LinkLayerType::Tunnel | LinkLayerType::Ipgre)
                    .then_some(message.header.index)
            }
            _ => None,
        });
        Ok(tunnels.collect())
    }
}

/// What the kernel answers where a destination has no route, or one that refuses.
fn is_no_route(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::ESRCH)
    )
}

fn label_message(prefix: Ipv6Prefix) -> AddrLabelMessage {
    let mut message = AddrLabelMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = prefix.length();
    message.attributes.push(AddrLabelAttribute::Address(prefix.address().into()));
    message
}

fn label_of(message: &RouteNetlinkMessage) -> Option<(Ipv6Prefix, u32)> {
    let RouteNetlinkMessage::NewAddrLabel(message) = message else { return None };
    if message.header.index != 0 {
        return None;
    }
    let (mut address, mut label) = (Ipv6Addr::UNSPECIFIED, None);
    for attribute in &message.attributes {
        match attribute {
            AddrLabelAttribute::Address(IpAddr::V6(value)) => address = *value,
            AddrLabelAttribute::Label(value) => label = Some(*value),
            _ => {}
        }
    }
    Some((Ipv6Prefix::new(address, message.header.prefix_len)?, label?))
}

fn source_of(message: &RouteNetlinkMessage) -> Option<Source> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let address = parse::local(message)?;
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let has = |flag| flags.is_some_and(|flags| flags.contains(flag));
    let mut source = Source::new(address, message.header.prefix_len);
    source.interface = message.header.index;
    source.deprecated = has(AddressFlags::Deprecated);
    // Of IPv4 the same bit says that another address of the subnet came first.
    source.temporary = address.is_ipv6() && has(AddressFlags::Secondary);
    source.home = has(AddressFlags::Homeaddress);
    Some(source)
}

fn path_of(message: &RouteNetlinkMessage) -> Option<Path> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let (mut source, mut interface) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => source = Some(IpAddr::V4(*address)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => source = Some(IpAddr::V6(*address)),
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    Some(Path { source, interface: interface?, local: message.header.kind == RouteType::Local })
}

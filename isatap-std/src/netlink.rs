//! Addresses, routes and MTU of a device, by rtnetlink; and what other programs
//! change there.
//!
//! [`Netlink`] asks and orders, one request at a time, and waits for the kernel's
//! answer. [`Monitor`] listens. Neither needs a thread or an async runtime.
//!
//! Routes that this program makes carry the number [`PROTOCOL`], and only those
//! does it ever remove. Routes that others put on the device are what
//! [`Netlink::foreign_routes`] and the monitor report, to be mirrored into the
//! core's route table: a TUN device hides which next hop the kernel chose, so
//! `ip -6 route add P via fe80::5efe:192.0.2.1 dev isatap0` works only so. Of
//! these the main table alone is seen: policy routing with other tables is not.
//!
//! Addresses are added with `nodad noprefixroute`: a tunnel has no neighbours to
//! ask (RFC 5214 §8), and which prefixes are on-link is the core's to say.

mod monitor;
mod parse;
mod route;
mod selection;
pub mod sysctl;
mod transport;

pub use monitor::{Event, Monitor};
pub use route::{ForeignRoute, Ipv4Path, Ipv4Way, Preference, Route};
pub use selection::Path;

use crate::error::Error;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use transport::Transport;

/// The routing protocol number of the routes that this program makes; shown by
/// `ip -6 route` as `proto 86`.
///
/// 86 has no name in iproute2's table and no use known there; numbers above 15
/// are for programs to choose.
pub const PROTOCOL: u8 = 86;

/// An IPv6 address to be put on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of its prefix, 0 to 128: it makes no route.
    pub prefix_len: u8,
    /// How long the address may start new connections; `None` is for ever, zero
    /// is deprecated at once.
    pub preferred: Option<Duration>,
    /// How long the address exists; `None` is for ever. Fractions of a second are
    /// rounded up. The kernel removes it then by itself.
    pub valid: Option<Duration>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetDevice {
    /// The interface index.
    pub index: u32,
    /// The name.
    pub name: String,
    /// Whether the administrator switched it on.
    pub is_up: bool,
    /// Whether it is on and has a carrier: an IPv4 underlay that works.
    pub is_running: bool,
    /// Whether it leads to this machine alone.
    pub is_loopback: bool,
    /// Whether its packets have a link-layer header as on Ethernet.
    pub is_ethernet: bool,
    /// The MTU in bytes.
    pub mtu: u32,
    /// Whether it is a VRF.
    pub is_vrf: bool,
    /// The interface index of the device that it is enslaved to: a VRF, a bridge, a bond.
    pub master: Option<u32>,
}

/// An IPv4 address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Address {
    /// The device's interface index.
    pub interface: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// How long it is known to stay, such as a DHCP lease; `None`: for ever.
    pub valid: Option<Duration>,
}

/// A socket to the kernel's tables of links, addresses and routes.
#[derive(Debug)]
pub struct Netlink {
    transport: Transport,
}

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or a sandbox that forbids netlink sockets.
    pub fn open() -> Result<Self, Error> {
        let transport = Transport::open(0).map_err(|error| Error::refused("open", "a netlink socket", error))?;
        Ok(Self { transport })
    }

    /// All devices of the namespace.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn links(&self) -> Result<Vec<NetDevice>, Error> {
        let answer = self
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .map_err(|error| Error::refused("list", "the network devices", error))?;
        Ok(answer.iter().filter_map(parse::link_of).collect())
    }

    /// The device of that name.
    ///
    /// # Errors
    ///
    /// A usage error when there is none.
    pub fn link(&self, name: &str) -> Result<NetDevice, Error> {
        let found = self.links()?.into_iter().find(|link| link.name == name);
        found.ok_or_else(|| Error::usage("find the device", name, "there is none").with_advice("see: ip link"))
    }

    /// The device of that interface index.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: there is none.
    pub fn device(&self, index: u32) -> Result<NetDevice, Error> {
        let refused = |error| Error::refused("find", Device(index), error);
        let answer = self.transport.request(RouteNetlinkMessage::GetLink(link_message(index)), NLM_F_REQUEST);
        let found = answer.map_err(refused)?.iter().find_map(parse::link_of);
        found.ok_or_else(|| refused(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer names none")))
    }

    /// Switches a device on or off.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege, or no such device.
    pub fn set_up(&self, index: u32, up: bool) -> Result<(), Error> {
        let mut message = link_message(index);
        message.header.change_mask = LinkFlags::Up;
        if up {
            message.header.flags = LinkFlags::Up;
        }
        let doing = if up { "switch on" } else { "switch off" };
        self.set_link(message).map_err(|error| Error::refused(doing, Device(index), error))
    }

    /// Sets the MTU.
    ///
    /// # Errors
    ///
    /// A usage error under 1280, where the kernel would take IPv6 off the device in
    /// silence (RFC 8200 §5); or the kernel's refusal.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Error> {
        if mtu < 1280 {
            return Err(Error::usage(format!("set the MTU to {mtu} of"), Device(index), "IPv6 needs at least 1280"));
        }
        let mut message = link_message(index);
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.set_link(message).map_err(|error| Error::refused(format!("set the MTU to {mtu} of"), Device(index), error))
    }

    /// Limits the super-packets that the kernel hands to the device to `bytes`, IPv6 header
    /// included. With 65,515 and less each fits an IPv4 packet as it is.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege, or more than the device can take.
    pub fn limit_super_packets(&self, index: u32, bytes: u32) -> Result<(), Error> {
        let mut message = link_message(index);
        message.attributes.push(LinkAttribute::GsoMaxSize(bytes));
        self.set_link(message)
            .map_err(|error| Error::refused(format!("limit super-packets to {bytes} bytes on"), Device(index), error))
    }

    /// Keeps the kernel from making a link-local address of its own: ours embeds
    /// the IPv4 address (RFC 5214 §6.2). To be called before the device is up.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege, or IPv6 is off.
    pub fn forbid_kernel_addresses(&self, index: u32) -> Result<(), Error> {
        let mut message = link_message(index);
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
        self.set_link(message)
            .map_err(|error| Error::refused("keep the kernel's link-local address off", Device(index), error))
    }

    /// Adds an address, or gives the one that is there these lifetimes.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege, no such device, a valid lifetime of zero
    /// or shorter than the preferred one.
    pub fn replace_address(&self, index: u32, address: &InterfaceAddress) -> Result<(), Error> {
        self.put_address(index, address, AddressFlags::Nodad | AddressFlags::Noprefixroute)
    }

    /// The same on a link with neighbours, whom the kernel asks first whether one of them has
    /// the address (RFC 4862 §5.4).
    ///
    /// # Errors
    ///
    /// As [`replace_address`](Self::replace_address).
    pub fn replace_lan_address(&self, index: u32, address: &InterfaceAddress) -> Result<(), Error> {
        self.put_address(index, address, AddressFlags::Noprefixroute)
    }

    fn put_address(&self, index: u32, address: &InterfaceAddress, flags: AddressFlags) -> Result<(), Error> {
        let mut message = address_message(index, address.address, address.prefix_len);
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_preferred = seconds(address.preferred);
        lifetimes.ifa_valid = seconds(address.valid);
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        self.order(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|error| Error::refused("add the address", On(address.address, index), error))
    }

    /// Removes an address; it is no error when it is gone already, or its device.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no privilege.
    pub fn remove_address(&self, index: u32, address: Ipv6Addr, prefix_len: u8) -> Result<(), Error> {
        let message = address_message(index, address, prefix_len);
        self.order(RouteNetlinkMessage::DelAddress(message), 0)
            .or_else(gone)
            .map_err(|error| Error::refused("remove the address", On(address, index), error))
    }

    /// The IPv6 addresses of a device, whoever made them.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn addresses(&self, index: u32) -> Result<Vec<InterfaceAddress>, Error> {
        let answer = self
            .dump_addresses(AddressFamily::Inet6)
            .map_err(|error| Error::refused("list the addresses of", Device(index), error))?;
        let mine = answer.iter().filter_map(parse::ipv6_address_of);
        Ok(mine.filter(|(interface, _)| *interface == index).map(|(_, address)| address).collect())
    }

    /// The link-local address of a device that can be used: no neighbour has it, as far as
    /// the kernel knows by now.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn link_local(&self, index: u32) -> Result<Option<Ipv6Addr>, Error> {
        let answer = self
            .dump_addresses(AddressFamily::Inet6)
            .map_err(|error| Error::refused("list the addresses of", Device(index), error))?;
        let usable = answer.iter().filter(|message| !parse::is_doubtful(message)).filter_map(parse::ipv6_address_of);
        let mut found = usable.filter(|(interface, _)| *interface == index).map(|(_, address)| address.address);
        Ok(found.find(Ipv6Addr::is_unicast_link_local))
    }

    /// Whether the device has a link-local address that another machine on the link has too.
    pub(crate) fn has_duplicate_link_local(&self, index: u32) -> Result<bool, Error> {
        let answer = self
            .dump_addresses(AddressFamily::Inet6)
            .map_err(|error| Error::refused("list the addresses of", Device(index), error))?;
        let mut duplicates = answer.iter().filter(|message| parse::is_duplicate(message));
        Ok(duplicates.any(|message| {
            parse::ipv6_address_of(message)
                .is_some_and(|(interface, address)| interface == index && address.address.is_unicast_link_local())
        }))
    }

    /// All IPv6 addresses of the namespace, each with the interface index of its device.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn ipv6_addresses(&self) -> Result<Vec<(u32, InterfaceAddress)>, Error> {
        let answer = self
            .dump_addresses(AddressFamily::Inet6)
            .map_err(|error| Error::refused("list", "the IPv6 addresses", error))?;
        Ok(answer.iter().filter_map(parse::ipv6_address_of).collect())
    }

    /// The same without those that another machine may have.
    ///
    /// # Errors
    ///
    /// As [`ipv6_addresses`](Self::ipv6_addresses).
    pub fn usable_ipv6_addresses(&self) -> Result<Vec<(u32, InterfaceAddress)>, Error> {
        let answer = self
            .dump_addresses(AddressFamily::Inet6)
            .map_err(|error| Error::refused("list", "the IPv6 addresses", error))?;
        let usable = answer.iter().filter(|message| !parse::is_doubtful(message));
        Ok(usable.filter_map(parse::ipv6_address_of).collect())
    }

    /// All IPv4 addresses of the namespace.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn ipv4_addresses(&self) -> Result<Vec<Ipv4Address>, Error> {
        let answer = self
            .dump_addresses(AddressFamily::Inet)
            .map_err(|error| Error::refused("list", "the IPv4 addresses", error))?;
        Ok(answer.iter().filter_map(parse::ipv4_address_of).collect())
    }

    fn dump_addresses(&self, family: AddressFamily) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut message = AddressMessage::default();
        message.header.family = family;
        self.dump(RouteNetlinkMessage::GetAddress(message))
    }

    fn dump(&self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.transport.request(message, NLM_F_REQUEST | NLM_F_DUMP)
    }

    fn set_link(&self, message: LinkMessage) -> io::Result<()> {
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    fn order(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.transport.request(message, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
    }
}

/// A device in an error: by its name where it still has one.
struct Device(u32);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // nix gives an empty name, not an error, for a device that is gone.
        match nix::net::if_::if_indextoname(self.0) {
            Ok(name) if !name.is_empty() => f.write_str(&name.to_string_lossy()),
            _ => write!(f, "device number {}", self.0),
        }
    }
}

struct On(Ipv6Addr, u32);

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.0, Device(self.1))
    }
}

/// What was to be removed is not there, or its device is not.
fn gone(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENODEV) => Ok(()),
        _ => Err(error),
    }
}

/// Whole seconds, rounded up; all ones is for ever in the kernel's interface.
fn seconds(lifetime: Option<Duration>) -> u32 {
    const INFINITE: u32 = u32::MAX;
    let Some(lifetime) = lifetime else {
        return INFINITE;
    };
    let whole = lifetime.as_secs().saturating_add(u64::from(lifetime.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(INFINITE).min(INFINITE - 1)
}

fn link_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn address_message(index: u32, address: Ipv6Addr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = prefix_len;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Local(IpAddr::V6(address)));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_round_up_and_never_become_infinite_by_accident() {
        assert_eq!(seconds(None), u32::MAX);
        assert_eq!(seconds(Some(Duration::ZERO)), 0);
        assert_eq!(seconds(Some(Duration::from_millis(1))), 1);
        assert_eq!(seconds(Some(Duration::from_secs(7200))), 7200);
        assert_eq!(seconds(Some(Duration::MAX)), u32::MAX - 1);
    }

    // Needs no privilege: the loopback device of whatever namespace this is.
    #[test]
    fn asks_about_loopback() {
        let netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap();
        assert_eq!((lo.index, lo.mtu), (1, 65536));
        assert_eq!(netlink.device(1).unwrap(), lo);
        assert!(netlink.device(0x7fff_fff0).is_err());
        if lo.is_up {
            let path = netlink.ipv4_path(Ipv4Addr::LOCALHOST).unwrap();
            assert_eq!((path.source, path.interface), (Ipv4Addr::LOCALHOST, 1));
        }
        let error = netlink.link("no-such-device").unwrap_err();
        assert_eq!(error.class(), crate::error::Class::Usage);
    }

    #[test]
    fn a_refusal_names_what_and_where() {
        let netlink = Netlink::open().unwrap();
        let route = Route {
            destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
            prefix_len: 64,
            next_hop: Some(Ipv6Addr::LOCALHOST),
            metric: 0,
            preference: Preference::Medium,
            lifetime: None,
        };
        // No such device, or no privilege: refused either way.
        let error = netlink.add_route(0x7fff_fff0, &route).unwrap_err();
        let line = error.to_string();
        assert!(
            line.starts_with("cannot add the route 2001:db8::/64 via ::1 dev device number 2147483632: "),
            "{line}"
        );
        let error = netlink.set_mtu(1, 1279).unwrap_err().to_string();
        assert_eq!(error, "cannot set the MTU to 1279 of lo: IPv6 needs at least 1280");
    }
}

//! The IPv4 links of this host on which neighbours can be asked.

use std::io;
use std::net::Ipv4Addr;

/// An interface with an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    /// Whether it carries multicast.
    pub(super) is_multicast: bool,
    /// Not empty.
    pub(super) addresses: Vec<InterfaceAddress>,
}

/// An IPv4 address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceAddress {
    pub(super) address: Ipv4Addr,
    pub(super) mask: Ipv4Addr,
    /// The directed broadcast address of the subnet.
    pub(super) broadcast: Option<Ipv4Addr>,
}

impl Interface {
    /// The first address: what is asked here is asked from there (NAM-61).
    pub(super) fn address(&self) -> Ipv4Addr {
        self.addresses.first().map_or(Ipv4Addr::UNSPECIFIED, |address| address.address)
    }

    /// Whether a host with this address is on the link (NAM-23).
    pub(super) fn is_on_link(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.covers(address))
    }

    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// The subnets that broadcasts reach, each once.
    pub(super) fn broadcasts(&self) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> + '_ {
        let first = |at: usize, broadcast| self.addresses.iter().take(at).all(|own| own.broadcast != Some(broadcast));
        let all = self.addresses.iter().enumerate();
        all.filter_map(move |(at, own)| own.broadcast.filter(|to| first(at, *to)).map(|to| (own.address, to)))
    }
}

impl InterfaceAddress {
    fn covers(&self, address: Ipv4Addr) -> bool {
        let (own, mask, other) = (self.address.to_bits(), self.mask.to_bits(), address.to_bits());
        // Neither the subnet itself nor its broadcast address is a host's; a subnet of one address
        // or two has neither.
        let is_host = mask >= u32::MAX << 1 || (other & !mask != 0 && other | mask != u32::MAX);
        own & mask == other & mask && is_host
    }
}

/// The interfaces that are up, loopback and point-to-point ones apart: those have no neighbours
/// who could be asked.
#[cfg(target_os = "linux")]
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    use nix::ifaddrs::getifaddrs;
    use nix::net::if_::{InterfaceFlags, if_nametoindex};
    use nix::sys::socket::SockaddrStorage;

    let ipv4 =
        |address: &Option<SockaddrStorage>| address.as_ref()?.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip);
    let mut found: Vec<Interface> = Vec::new();
    for row in getifaddrs()? {
        let (Some(address), Some(mask)) = (ipv4(&row.address), ipv4(&row.netmask)) else { continue };
        let no_link = InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_POINTOPOINT;
        if !row.flags.contains(InterfaceFlags::IFF_UP) || row.flags.intersects(no_link) {
            continue;
        }
        // Addresses are often added without one, and the kernel answers to that of the subnet all the
        // same. A subnet of one or two addresses has none, whatever is written there.
        let is_broadcast = row.flags.contains(InterfaceFlags::IFF_BROADCAST) && mask.to_bits() < u32::MAX << 1;
        let of_subnet = Ipv4Addr::from_bits(address.to_bits() | !mask.to_bits());
        let broadcast = is_broadcast.then(|| ipv4(&row.broadcast).filter(|to| *to != address).unwrap_or(of_subnet));
        let own = InterfaceAddress { address, mask, broadcast };
        match found.iter_mut().find(|interface| interface.name == row.interface_name) {
            Some(interface) => interface.addresses.push(own),
            None => {
                // It may be gone again.
                let Ok(index) = if_nametoindex(row.interface_name.as_str()) else { continue };
                let is_multicast = row.flags.contains(InterfaceFlags::IFF_MULTICAST);
                found.push(Interface { name: row.interface_name, index, is_multicast, addresses: vec![own] });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(subnets: &[([u8; 4], u32)]) -> Interface {
        let address = |(address, length): &([u8; 4], u32)| {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or_default();
            let (address, mask) = (Ipv4Addr::from(*address), Ipv4Addr::from_bits(mask));
            let broadcast = Some(Ipv4Addr::from_bits(address.to_bits() | !mask.to_bits()));
            InterfaceAddress { address, mask, broadcast: broadcast.filter(|to| *to != address) }
        };
        let addresses = subnets.iter().map(address).collect();
        Interface { name: "eth0".to_owned(), index: 2, is_multicast: true, addresses }
    }

    #[test]
    fn nam_23_the_subnets_of_an_interface_are_on_link_and_nothing_else() {
        let eth0 = interface(&[([10, 0, 0, 2], 24), ([192, 0, 2, 1], 31), ([198, 51, 100, 7], 32)]);
        for (address, is_on_link) in [
            ([10, 0, 0, 1], true),
            ([10, 0, 0, 254], true),
            ([10, 0, 0, 0], false),
            ([10, 0, 0, 255], false),
            ([10, 0, 1, 1], false),
            ([192, 0, 2, 0], true),
            ([192, 0, 2, 2], false),
            ([198, 51, 100, 7], true),
            ([198, 51, 100, 8], false),
            ([0, 0, 0, 0], false),
        ] {
            assert_eq!(eth0.is_on_link(address.into()), is_on_link, "{address:?}");
        }
    }

    #[test]
    fn nam_31_each_subnet_is_asked_once_at_its_own_broadcast_address() {
        let eth0 = interface(&[([10, 0, 0, 2], 24), ([10, 0, 0, 3], 24), ([10, 1, 0, 1], 16), ([10, 2, 0, 1], 32)]);
        let asked: Vec<String> = eth0.broadcasts().map(|(from, to)| format!("{from} {to}")).collect();
        assert_eq!(asked, ["10.0.0.2 10.0.0.255", "10.1.0.1 10.1.255.255"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn loopback_is_no_link() {
        assert!(interfaces().unwrap().iter().all(|interface| !interface.address().is_loopback()));
    }
}

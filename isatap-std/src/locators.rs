//! Which IPv4 addresses of this machine a link sends from, at any time.

use crate::device::Binding;
use crate::error::Error;
use crate::netlink::{Ipv4Address, NetDevice, Netlink};
use isatap_core::isatap::addr::is_locator;
use isatap_core::link::Locator;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Where the locators of a link come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LocatorSource {
    /// These, as long as this machine has them.
    Fixed(Vec<Ipv4Addr>),
    /// All addresses of a device.
    Device(String),
    /// All addresses of this machine: a 6to4 link takes those that are public.
    All,
    /// The one that the kernel would use toward the first potential router.
    TowardRouter,
}

/// Locators, and the MTU of the device underneath.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) locators: Vec<Locator>,
    /// That of the device by which packets go to the peer; without a peer, the smallest of the devices that have the
    /// locators. In bytes. Of another IPv4 route to a peer nobody tells, since a router may have a million of them: a
    /// device that carries less refuses what is longer, as path MTU discovery wants it.
    pub(crate) mtu: Option<u16>,
    /// How long they are all known to stay; `None`: for ever.
    pub(crate) valid: Option<Duration>,
    /// Why there are none.
    pub(crate) missing: Option<Missing>,
    /// The interface index of the device that the link is bound to; 0: none.
    pub(crate) interface: u32,
}

/// What a machine lacks before it has a locator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Such as an address, for people.
    pub(crate) what: String,
    /// The command that shows what there is.
    pub(crate) see: String,
}

impl Missing {
    fn new(what: impl Into<String>, see: impl Into<String>) -> Self {
        Self { what: what.into(), see: see.into() }
    }
}

impl LocatorSource {
    /// The addresses that it has to be; none where any would do.
    pub(crate) fn fixed(&self) -> &[Ipv4Addr] {
        match self {
            LocatorSource::Fixed(addresses) => addresses,
            _ => &[],
        }
    }

    /// Sees whether it makes sense on this machine. Addresses and devices that are not there may
    /// come later.
    ///
    /// # Errors
    ///
    /// A usage error: the device is the loopback device.
    pub(crate) fn check(&self, netlink: &Netlink) -> Result<(), Error> {
        match self {
            LocatorSource::Device(name) => {
                let index = netlink.links()?.into_iter().find(|link| link.name == *name).map(|link| link.index);
                let own = netlink.ipv4_addresses()?.into_iter().filter(|own| Some(own.interface) == index);
                let own: Vec<_> = own.collect();
                if own.iter().any(|own| own.address.is_loopback()) && !own.iter().any(|own| is_locator(own.address)) {
                    let text = format!("it is the loopback device, and {} is on every machine", Ipv4Addr::LOCALHOST);
                    let error = Error::usage("send from the addresses of", name, text);
                    return Err(error.with_advice("name the device towards the site; see: ip -4 address"));
                }
                Ok(())
            }
            LocatorSource::Fixed(_) | LocatorSource::All | LocatorSource::TowardRouter => Ok(()),
        }
    }

    /// Sees whether this machine has all the addresses that it has to be, for who cannot wait for them.
    ///
    /// # Errors
    ///
    /// A usage error: an address that is not this machine's.
    pub(crate) fn require(&self, netlink: &Netlink) -> Result<(), Error> {
        let own = netlink.ipv4_addresses()?;
        match self.fixed().iter().find(|address| !own.iter().any(|own| own.address == **address)) {
            None => Ok(()),
            Some(address) => {
                let error = Error::usage("send from", address, "this machine does not have this address");
                Err(error.with_advice("see: ip -4 address"))
            }
        }
    }

    /// What there has to be before there is a locator.
    fn missing(&self, links: &[NetDevice], router: Option<Ipv4Addr>, binding: &Binding) -> Option<Missing> {
        match self {
            LocatorSource::Fixed(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                Some(Missing::new(addresses.join(" or "), "ip -4 address"))
            }
            LocatorSource::Device(name) if links.iter().any(|link| link.name == *name) => {
                Some(Missing::new(format!("an IPv4 address on {name}"), "ip -4 address"))
            }
            LocatorSource::Device(name) => Some(Missing::new(format!("the device {name}"), "ip link")),
            LocatorSource::TowardRouter => router.map(|router| {
                let see = format!("ip -4 route get {router}{}", binding.route_options());
                Missing::new(format!("an IPv4 route to {router}"), see)
            }),
            // Which of them will do is not known here.
            LocatorSource::All => None,
        }
    }

    /// How long the prefix of the first locator's subnet is; 32 without one.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub(crate) fn subnet_length(&self, netlink: &Netlink) -> Result<u8, Error> {
        Ok(self.find(netlink, None, &Binding::default())?.locators.first().map_or(32, |found| found.subnet_length))
    }

    /// The locators now of a link that is bound so. `peer`: the first potential router, the
    /// other end or the relay, if one is known.
    ///
    /// # Errors
    ///
    /// The kernel's refusal to list addresses, which is not expected. That there is no
    /// address or no route is no error: there are no locators then (ISA-11).
    pub(crate) fn find(&self, netlink: &Netlink, peer: Option<Ipv4Addr>, binding: &Binding) -> Result<Found, Error> {
        let mut own = netlink.ipv4_addresses()?;
        let links = netlink.links()?;
        let device = binding.device.as_ref().map(|name| (name, links.iter().find(|link| link.name == *name)));
        if let Some((name, None)) = device {
            let missing = Missing::new(format!("the device {name}"), "ip link");
            return Ok(Found { missing: Some(missing), ..Found::default() });
        }
        let device = device.and_then(|(_, link)| link);
        let interface = device.map_or(0, |link| link.index);
        if device.is_some() {
            keep_those_of(vrf_of(interface, &links), &links, &mut own);
        }
        // An address can be on several devices. The loopback device, and a VRF, has neither its subnet
        // nor its MTU, so any other comes first.
        let is_loopback = |link: &&NetDevice| link.is_loopback || link.is_vrf;
        let loopback: Vec<u32> = links.iter().filter(is_loopback).map(|link| link.index).collect();
        own.sort_by_key(|own| (own.interface != interface, loopback.contains(&own.interface)));
        let mut chosen: Vec<Ipv4Address> = match self {
            LocatorSource::Fixed(addresses) => {
                addresses.iter().filter_map(|address| own.iter().find(|own| own.address == *address)).copied().collect()
            }
            LocatorSource::Device(name) => {
                let index = links.iter().find(|link| link.name == *name).map(|link| link.index);
                own.iter().filter(|own| Some(own.interface) == index).copied().collect()
            }
            LocatorSource::All => own.clone(),
            LocatorSource::TowardRouter => {
                let bound = binding.on(interface);
                let path = peer.and_then(|peer| Some((peer, netlink.ipv4_path_of(peer, bound).ok()?)));
                // A path from a router to itself is loopback's.
                let source = path.filter(|(peer, path)| path.source != *peer).map(|(_, path)| path.source);
                own.iter().filter(|own| Some(own.address) == source).copied().collect()
            }
        };
        let mut seen = Vec::new();
        chosen.retain(|own| {
            let is_new = !seen.contains(&own.address);
            seen.push(own.address);
            is_new && is_locator(own.address)
        });
        let locators =
            chosen.iter().map(|own| Locator { address: own.address, subnet_length: own.prefix_len }).collect();
        let way = peer.zip(chosen.first()).and_then(|(peer, first)| {
            netlink.ipv4_way(first.address, peer, binding.on(interface)).ok().map(|way| way.interface)
        });
        let mtu = mtu_underneath(&links, &loopback, way, interface, &chosen, &own);
        let valid = chosen.iter().filter_map(|own| own.valid).min();
        let missing = if chosen.is_empty() { self.missing(&links, peer, binding) } else { None };
        Ok(Found { locators, mtu, valid, missing, interface })
    }
}

/// The IPv4 MTU of the `way` to the peer; of the device bound to and those that have the `chosen` addresses, where there
/// is none; and of those that have any of our `own`, where that is the loopback device or a VRF. TUN-30: never that one's.
fn mtu_underneath(
    links: &[NetDevice],
    loopback: &[u32],
    way: Option<u32>,
    bound: u32,
    chosen: &[Ipv4Address],
    own: &[Ipv4Address],
) -> Option<u16> {
    let on = |addresses: &[Ipv4Address], index| addresses.iter().any(|own| own.interface == index);
    let smallest = |is_one: &dyn Fn(u32) -> bool| {
        let carry = links.iter().filter(|link| !loopback.contains(&link.index) && is_one(link.index));
        carry.map(|link| u16::try_from(link.mtu).unwrap_or(u16::MAX)).min()
    };
    smallest(&|index| Some(index) == way)
        .or_else(|| smallest(&|index| index == bound || on(chosen, index)))
        .or_else(|| smallest(&|index| !chosen.is_empty() && on(own, index)))
}

/// The VRF that a device is or is in; `None`: that of no VRF.
fn vrf_of(interface: u32, links: &[NetDevice]) -> Option<u32> {
    let device = |index| links.iter().find(|link| link.index == index);
    let own = device(interface)?;
    let master = || own.master.and_then(device);
    [Some(own), master()].into_iter().flatten().find(|device| device.is_vrf).map(|vrf| vrf.index)
}

/// Another VRF can have the same address in another subnet: it is not the one that packets of this VRF have.
fn keep_those_of(vrf: Option<u32>, links: &[NetDevice], own: &mut Vec<Ipv4Address>) {
    own.retain(|own| vrf_of(own.interface, links) == vrf);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, is_vrf: bool, master: Option<u32>) -> NetDevice {
        NetDevice {
            index,
            name: format!("eth{index}"),
            is_up: true,
            is_running: true,
            is_loopback: false,
            mtu: 1500,
            is_ethernet: true,
            is_vrf,
            master,
        }
    }

    #[test]
    fn tun_30_tun_32_the_mtu_is_that_of_the_way_then_of_the_devices_and_never_loopbacks() {
        let links: Vec<_> = [(1, 65_536), (2, 1500), (3, 1400), (4, 9000), (5, 1300), (6, 100_000)]
            .map(|(index, mtu)| NetDevice { mtu, ..device(index, false, None) })
            .into();
        let on = |interface| Ipv4Address { interface, address: Ipv4Addr::LOCALHOST, prefix_len: 8, valid: None };
        let own = [on(1), on(2), on(3), on(4)];
        for (way, bound, chosen, expected) in [
            (Some(4), 0, &[2][..], Some(9000)),
            // A way by a device without an IPv4 address.
            (Some(5), 0, &[2], Some(1300)),
            (Some(6), 0, &[2], Some(u16::MAX)),
            // The peer is this machine itself.
            (Some(1), 0, &[2], Some(1500)),
            (None, 0, &[2], Some(1500)),
            (None, 0, &[4, 3], Some(1400)),
            (None, 5, &[4, 3], Some(1300)),
            // An address of the loopback device: nobody knows by which packets leave.
            (None, 0, &[1], Some(1400)),
            (Some(4), 0, &[1], Some(9000)),
            (None, 4, &[1], Some(9000)),
            (None, 0, &[], None),
        ] {
            let chosen: Vec<_> = chosen.iter().map(|index| on(*index)).collect();
            let mtu = mtu_underneath(&links, &[1], way, bound, &chosen, &own);
            assert_eq!(mtu, expected, "{way:?} {bound} {chosen:?}");
        }
    }

    #[test]
    fn an_address_of_another_vrf_is_none_of_this_one() {
        // Two VRFs with a device in each, one in none, and one in a bridge, which is no VRF.
        let links = [
            device(1, true, None),
            device(2, true, None),
            device(11, false, Some(1)),
            device(12, false, Some(2)),
            device(13, false, None),
            device(14, false, Some(13)),
        ];
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let all: Vec<Ipv4Address> =
            [12, 11, 13, 14, 1].map(|interface| Ipv4Address { interface, address, prefix_len: 24, valid: None }).into();
        for (bound, expected) in
            [(1, &[11, 1][..]), (11, &[11, 1]), (2, &[12]), (12, &[12]), (13, &[13, 14]), (14, &[13, 14])]
        {
            let mut own = all.clone();
            keep_those_of(vrf_of(bound, &links), &links, &mut own);
            assert_eq!(own.iter().map(|own| own.interface).collect::<Vec<_>>(), expected, "{bound}");
        }
    }
}

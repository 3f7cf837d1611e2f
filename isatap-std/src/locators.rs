//! Which IPv4 addresses of this machine a link sends from, at any time.

use crate::error::Error;
use crate::netlink::{Ipv4Address, Netlink};
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
    /// The smallest of the devices', in bytes.
    pub(crate) mtu: Option<u16>,
    /// How long they are all known to stay; `None`: for ever.
    pub(crate) valid: Option<Duration>,
}

impl LocatorSource {
    /// The addresses that it has to be; none where any would do.
    pub(crate) fn fixed(&self) -> &[Ipv4Addr] {
        match self {
            LocatorSource::Fixed(addresses) => addresses,
            _ => &[],
        }
    }

    /// Sees whether it makes sense on this machine.
    ///
    /// # Errors
    ///
    /// A usage error: an address that is not this machine's, a device that does not exist or
    /// is the loopback device.
    pub(crate) fn check(&self, netlink: &Netlink) -> Result<(), Error> {
        match self {
            LocatorSource::Fixed(addresses) => {
                let own = netlink.ipv4_addresses()?;
                for address in addresses {
                    if !own.iter().any(|own| own.address == *address) {
                        let error = Error::usage("send from", address, "this machine does not have this address");
                        return Err(error.with_advice("see: ip -4 address"));
                    }
                }
                Ok(())
            }
            LocatorSource::Device(name) => {
                let index = netlink.link(name)?.index;
                let own: Vec<_> = netlink.ipv4_addresses()?.into_iter().filter(|own| own.interface == index).collect();
                // An address may come later, but not to where this one is.
                if own.iter().any(|own| own.address.is_loopback()) && !own.iter().any(|own| is_locator(own.address)) {
                    let text = format!("it is the loopback device, and {} is on every machine", Ipv4Addr::LOCALHOST);
                    let error = Error::usage("send from the addresses of", name, text);
                    return Err(error.with_advice("name the device towards the site; see: ip -4 address"));
                }
                Ok(())
            }
            LocatorSource::All | LocatorSource::TowardRouter => Ok(()),
        }
    }

    /// How long the prefix of the first locator's subnet is; 32 without one.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub(crate) fn subnet_length(&self, netlink: &Netlink) -> Result<u8, Error> {
        Ok(self.find(netlink, None)?.locators.first().map_or(32, |found| found.subnet_length))
    }

    /// The locators now. `router`: the first potential router, if one is known.
    ///
    /// # Errors
    ///
    /// The kernel's refusal to list addresses, which is not expected. That there is no
    /// address or no route is no error: there are no locators then (ISA-11).
    pub(crate) fn find(&self, netlink: &Netlink, router: Option<Ipv4Addr>) -> Result<Found, Error> {
        let mut own = netlink.ipv4_addresses()?;
        let links = netlink.links()?;
        // An address can be on several devices. The loopback device has neither its subnet nor its
        // MTU, so any other comes first.
        let on_loopback = |index| own.iter().any(|own| own.interface == index && own.address.is_loopback());
        let loopback: Vec<u32> = links.iter().map(|link| link.index).filter(|index| on_loopback(*index)).collect();
        own.sort_by_key(|own| loopback.contains(&own.interface));
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
                let path = router.and_then(|router| netlink.ipv4_path(router).ok().map(|path| (router, path)));
                // A path from a router to itself is loopback's.
                let source = path.filter(|(router, path)| path.source != *router).map(|(_, path)| path.source);
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
        let mtu = links
            .iter()
            .filter(|link| chosen.iter().any(|own| own.interface == link.index))
            .map(|link| u16::try_from(link.mtu).unwrap_or(u16::MAX))
            .min();
        let valid = chosen.iter().filter_map(|own| own.valid).min();
        Ok(Found { locators, mtu, valid })
    }
}

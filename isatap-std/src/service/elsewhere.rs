//! What IPv6 this machine has by other devices, by the kernel's tables: links of last resort rest
//! beside it, and a router that has nowhere to lead to says so.

use crate::error::Error;
use crate::netlink::Netlink;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::addr::{OBSOLETE_PREFIX, PREFIX};
use isatap_core::teredo::ingress::is_native_global;
use std::net::Ipv6Addr;

/// The name of the device by which this machine reaches the IPv6 Internet without Teredo: it has a
/// default route, and the machine an address to send from. `own`: the device that asks.
///
/// `TER-31`, `SEL-14 [RFC 4380 §5.5]`: native, ISATAP, 6to4, 6rd or a configured tunnel, of this process,
/// of another one or of the kernel. Without a default route there is no way to the Internet, which
/// is what Teredo is for.
pub(super) fn other_ipv6(netlink: &Netlink, own: u32) -> Result<Option<String>, Error> {
    let addresses = netlink.usable_ipv6_addresses()?;
    if !addresses.iter().any(|(device, address)| *device != own && is_native_global(&address.address)) {
        return Ok(None);
    }
    let is_teredo = |device: u32| {
        let mut of_it = addresses.iter().filter(|(other, _)| *other == device);
        device == own || of_it.any(|(_, own)| PREFIX.contains(&own.address) || OBSOLETE_PREFIX.contains(&own.address))
    };
    let devices = netlink.devices_toward(&[Ipv6Prefix::DEFAULT])?;
    let Some((_, device)) = devices.into_iter().find(|(_, device)| !is_teredo(*device)) else { return Ok(None) };
    let name = netlink.links()?.into_iter().find(|link| link.index == device).map(|link| link.name);
    Ok(Some(name.unwrap_or_else(|| format!("device number {device}"))))
}

/// A global address that no tunnel has made, as far as its prefix says: 6to4 rests beside one
/// (`S64-33`).
pub(super) fn is_native(address: &Ipv6Addr) -> bool {
    is_native_global(address) && !Ipv6Prefix::SIX_TO_FOUR.contains(address)
}

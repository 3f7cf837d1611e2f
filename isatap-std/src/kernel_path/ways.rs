//! How packets leave by IPv4: the device, and how much it carries.

use crate::netlink::{NetDevice, Netlink};
use crate::proto41_socket::Bound;
use isatap_core::time::Instant;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long an answer is believed: as long as a row.
const BELIEVED: Duration = super::rows::GOOD;
/// Answers that are kept: beyond it all are asked for again.
const MOST: usize = 4096;

/// The kernel's answers, as they were given last.
#[derive(Debug, Default)]
pub(super) struct Ways {
    known: HashMap<(Ipv4Addr, Ipv4Addr, Bound), (Instant, Option<Way>)>,
    /// All devices; none: not asked yet.
    devices: Vec<NetDevice>,
}

/// A device underneath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Its interface index.
    pub(super) interface: u32,
    /// Bytes of an outer packet.
    pub(super) mtu: u32,
}

impl Ways {
    /// The way from `source`, an address of this machine's, to `destination`; `None`: the programs have none, since
    /// it is by a device that is not of the kind of Ethernet, or there is no route.
    pub(super) fn of(
        &mut self,
        netlink: &Netlink,
        now: Instant,
        [source, destination]: [Ipv4Addr; 2],
        bound: Bound,
    ) -> Option<Way> {
        let key = (source, destination, bound);
        if let Some((asked, way)) = self.known.get(&key)
            && now < asked.saturating_add(BELIEVED)
        {
            return *way;
        }
        let found = netlink.ipv4_way(source, destination, bound).ok();
        let way = found.and_then(|(interface, mtu)| {
            let device = self.device(netlink, interface)?;
            Some(Way { interface, mtu: mtu.unwrap_or(device.mtu) })
        });
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(key, (now, way));
        way
    }

    /// A device that the programs can send by and receive from.
    pub(super) fn device(&mut self, netlink: &Netlink, index: u32) -> Option<&NetDevice> {
        if self.devices.is_empty() {
            self.devices = netlink.links().unwrap_or_default();
        }
        self.devices.iter().find(|device| device.index == index && device.is_ethernet)
    }

    /// Asks for everything anew.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.devices.clear();
    }
}

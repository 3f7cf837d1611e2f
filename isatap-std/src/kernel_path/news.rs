//! What changes of IPv4 and of devices: for all links, whatever they follow of it themselves.

use super::messages::{Attributes, play};
use crate::error::Error;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;
/// What stands for the interface index where a setting is of all devices (`NETCONFA_IFINDEX_ALL`).
const ALL: u32 = u32::MAX;
/// `NETCONFA_IFINDEX`, behind `struct netconfmsg`.
const NETCONFA_IFINDEX: u16 = 1;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
/// What stands for an interface index where filters are shared by devices (`TCM_IFINDEX_MAGIC_BLOCK`).
const SHARED: u32 = u32::MAX;
/// RTM_NEWQDISC to RTM_GETTFILTER.
const TC: std::ops::RangeInclusive<u16> = 36..=46;

// Others are in libc.
const RTNLGRP_TC: u32 = 4;
const RTNLGRP_IPV4_NETCONF: u32 = 24;
const RTNLGRP_NEXTHOP: u32 = 32;
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    RTNLGRP_TC,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_NEXTHOP,
];

/// Datagrams that are read in a row; the rest at the next turn.
const BATCH: usize = 256;

/// Hears of it.
#[derive(Debug)]
pub(super) struct News(Socket);

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Routes, nexthops, rules, addresses or devices: packets may leave another way.
    pub(super) ways: bool,
    pub(super) rules: bool,
    /// Queues or filters of a device that was asked about.
    pub(super) queues: bool,
    /// Settings of IPv4 of such a device, or of all: which sources it takes packets from (`rp_filter`).
    pub(super) settings: bool,
    /// Devices by interface index, in order; true: it is gone.
    pub(super) devices: Vec<(u32, bool)>,
    /// More than was told: anything may have changed.
    pub(super) is_lost: bool,
}

impl News {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub(super) fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            GROUPS.into_iter().try_for_each(|group| socket.add_membership(group))?;
            // As much as the system gives.
            let _ = socket.set_rx_buf_sz(1_u32 << 20);
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        open().map(Self).map_err(|error: io::Error| Error::refused("listen to", "changes of IPv4 and devices", error))
    }

    /// Takes what was heard: of queues, filters and settings, what is of devices that are `ours`.
    pub(super) fn take(&mut self, ours: impl Fn(u32) -> bool) -> Told {
        let mut told = Told::default();
        let mut heard = Vec::with_capacity(1 << 15);
        for _ in 0..BATCH {
            heard.clear();
            match self.0.recv_from(&mut heard, 0) {
                Ok(_) => told.hear(&heard, &ours),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => told.is_lost = true,
            }
        }
        told
    }
}

impl Told {
    fn hear(&mut self, datagram: &[u8], ours: impl Fn(u32) -> bool) {
        let end = play(datagram, &mut |kind, body| {
            let index = || Some(u32::from_ne_bytes(*body.get(4..)?.first_chunk()?));
            match kind {
                RTM_NEWLINK | RTM_DELLINK => {
                    let change = index().map(|index| (index, kind == RTM_DELLINK));
                    let is_new = self.devices.last() != change.as_ref();
                    self.devices.extend(change.filter(|_| is_new));
                    self.ways = true;
                }
                // One that is cut off may be about any.
                kind if TC.contains(&kind) => self.queues |= index().is_none_or(|index| index == SHARED || ours(index)),
                RTM_NEWNETCONF | RTM_DELNETCONF => {
                    let attributes = Attributes(body.get(4..).unwrap_or_default());
                    let index = attributes.value(NETCONFA_IFINDEX).and_then(|value| value.first_chunk().copied());
                    self.settings |= index.map(u32::from_ne_bytes).is_none_or(|index| index == ALL || ours(index));
                }
                kind => {
                    self.rules |= matches!(kind, RTM_NEWRULE | RTM_DELRULE);
                    self.ways = true;
                }
            }
        });
        self.is_lost |= end.is_some_and(|end| end.is_err());
    }
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::made::{attribute, message};
    use super::*;

    #[test]
    fn a_device_that_is_gone_and_made_anew_is_both() {
        let link = |kind, index: u32| message(kind, &[&[0; 4][..], &index.to_ne_bytes()].concat());
        let mut told = Told::default();
        told.hear(
            &[link(RTM_NEWLINK, 3), link(RTM_NEWLINK, 3), link(RTM_DELLINK, 3), link(RTM_NEWLINK, 3)].concat(),
            |_| true,
        );
        assert_eq!(told.devices, [(3, false), (3, true), (3, false)]);
        assert!(told.ways && !told.rules && !told.queues && !told.is_lost);
    }

    #[test]
    fn what_changes_is_told_apart() {
        let of = |kind| {
            let mut told = Told::default();
            told.hear(&message(kind, &[0; 24]), |_| true);
            (told.ways, told.rules, told.queues)
        };
        // Addresses, routes, rules; queues and filters.
        for (kind, expected) in [
            (20, (true, false, false)),
            (25, (true, false, false)),
            (33, (true, true, false)),
            // A nexthop.
            (104, (true, false, false)),
            (36, (false, false, true)),
            (45, (false, false, true)),
        ] {
            assert_eq!(of(kind), expected, "{kind}");
        }
    }

    #[test]
    fn settings_of_other_devices_are_no_news() {
        // As `sysctl net.ipv4.conf.eth0.rp_filter=1` was told by Linux 6.18: family, interface index, the setting.
        let told = |index: u32| {
            let body = [vec![2, 0, 0, 0], attribute(1, &index.to_ne_bytes()), attribute(3, &1_u32.to_ne_bytes())];
            let mut told = Told::default();
            told.hear(&message(RTM_NEWNETCONF, &body.concat()), |index| index == 3);
            assert!(!told.ways && !told.queues && !told.is_lost);
            told.settings
        };
        assert!(told(3) && !told(4) && told(ALL));
        // Those of devices to come.
        assert!(!told(u32::MAX - 1));
        let mut cut = Told::default();
        cut.hear(&message(RTM_NEWNETCONF, &[2]), |_| false);
        assert!(cut.settings);
    }

    #[test]
    fn queues_of_other_devices_are_no_news() {
        let told = |kind, index: u32| {
            let mut told = Told::default();
            told.hear(&message(kind, &[&[0; 4][..], &index.to_ne_bytes(), &[0; 12]].concat()), |index| index == 3);
            told.queues
        };
        for kind in TC {
            // A block of filters that devices share names none.
            assert!(told(kind, 3) && !told(kind, 4) && told(kind, u32::MAX), "{kind}");
        }
        let mut cut = Told::default();
        cut.hear(&message(36, &[0; 4]), |_| false);
        assert!(cut.queues);
    }
}

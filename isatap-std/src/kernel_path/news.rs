//! What changes of IPv4 and of devices: for all links, whatever they follow of it themselves.

use super::messages::play;
use crate::error::Error;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
/// What stands for an interface index where filters are shared by devices (`TCM_IFINDEX_MAGIC_BLOCK`).
const SHARED: u32 = u32::MAX;
/// RTM_NEWQDISC to RTM_GETTFILTER.
const TC: std::ops::RangeInclusive<u16> = 36..=46;

/// RTNLGRP_TC; others are in libc.
const RTNLGRP_TC: u32 = 4;
const GROUPS: [u32; 5] =
    [libc::RTNLGRP_LINK, RTNLGRP_TC, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV4_RULE];

/// Datagrams that are read in a row; the rest at the next turn.
const BATCH: usize = 256;

/// Hears of it.
#[derive(Debug)]
pub(super) struct News(Socket);

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Routes, rules, addresses or devices: packets may leave another way.
    pub(super) ways: bool,
    pub(super) rules: bool,
    /// Queues or filters of a device that was asked about.
    pub(super) queues: bool,
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

    /// Takes what was heard: of queues and filters, what is of devices that are `ours`.
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
    use super::super::messages::made::message;
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
            (36, (false, false, true)),
            (45, (false, false, true)),
        ] {
            assert_eq!(of(kind), expected, "{kind}");
        }
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

//! What other programs change, as events.

use super::transport::{Messages, Transport};
use super::{ForeignRoute, Ipv4Address, NetDevice, PROTOCOL, parse};
use crate::error::Error;
use isatap_core::prefix::Ipv6Prefix;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

// Of <linux/rtnetlink.h>.
const RTNLGRP_IPV6_NETCONF: u32 = 25;
const RTM_NEWNETCONF: u16 = 80;

/// A change; but for [`Event::OwnLost`] one that this program did not make.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// Another hand put a route on the watched device, or changed one: the same
    /// prefix, next hop and metric may come again.
    RouteAdded(ForeignRoute),
    /// A route of another program is gone.
    RouteRemoved(ForeignRoute),
    /// A route of this program's on the watched device is gone, or an address of the device:
    /// by another program, by the kernel when its time was over, or by this program.
    OwnLost,
    /// A device got an IPv4 address, or the address changed otherwise.
    Ipv4AddressAdded(Ipv4Address),
    /// A device lost an IPv4 address.
    Ipv4AddressRemoved(Ipv4Address),
    /// A device got or lost an IPv6 address, or an address changed otherwise; on the
    /// watched device it may be this program's.
    Ipv6AddressesChanged {
        /// The device's interface index.
        interface: u32,
    },
    /// IPv4 routes changed, or policy rules; told only after [`Monitor::follow_ipv4_routes`].
    Ipv4RoutesChanged,
    /// A route, by whatever device, to one of the prefixes that [`Monitor::follow_ipv6_routes`] names
    /// came, went or changed.
    Ipv6RoutesChanged,
    /// A switch of a device's, or of all devices', is another: whether the kernel forwards,
    /// say. [`sysctl`](super::sysctl) tells what it is now.
    SwitchesChanged,
    /// A device appeared, went up or down, or changed its name or MTU.
    LinkChanged(NetDevice),
    /// A device is gone.
    LinkRemoved {
        /// Its interface index.
        index: u32,
    },
    /// Changes were lost because they came faster than they were read: forget what
    /// the events told and ask [`Netlink`](super::Netlink) for the whole.
    Resync,
}

/// Listens to changes: of routes on one device, of IPv4 addresses and links on
/// all. Non-blocking; wait for the descriptor to be readable.
///
/// Open it first and list routes and addresses afterwards, so that no change falls
/// between the two. An IPv6 route replaced by another is told as an addition only:
/// of the routes with that prefix and metric, those that a fresh list does not name
/// are gone.
#[derive(Debug)]
pub struct Monitor {
    transport: Transport,
    device: u32,
    followed: Vec<Ipv6Prefix>,
    waiting: VecDeque<Event>,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Listens from now on; `device` is the interface index of the TUN device.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or a sandbox that forbids netlink sockets.
    pub fn open(device: u32) -> Result<Self, Error> {
        const GROUPS: [libc::c_int; 5] = [
            libc::RTMGRP_LINK,
            libc::RTMGRP_IPV4_IFADDR,
            libc::RTMGRP_IPV6_IFADDR,
            libc::RTMGRP_IPV6_ROUTE,
            1 << (RTNLGRP_IPV6_NETCONF - 1),
        ];
        let groups = GROUPS.iter().fold(0, |mask, bit| mask | bit.cast_unsigned());
        let open = || {
            let transport = Transport::open(groups)?;
            transport.enlarge_receive_buffer();
            transport.set_non_blocking()?;
            Ok(transport)
        };
        Ok(Self {
            transport: open().map_err(|error| Error::refused("listen to", "network changes", error))?,
            device,
            followed: Vec::new(),
            waiting: VecDeque::new(),
            buffer: Vec::with_capacity(1 << 16),
        })
    }

    /// Tells of IPv4 routes too, from now on: for who follows the address that the kernel
    /// would choose.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn follow_ipv4_routes(&mut self) -> Result<(), Error> {
        // Rules say which packets the routes are of.
        [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV4_RULE]
            .into_iter()
            .try_for_each(|group| self.transport.join(group))
            .map_err(|error| Error::refused("listen to", "changes of IPv4 routes", error))
    }

    /// Tells of routes to exactly these prefixes, by all devices, from now on.
    pub fn follow_ipv6_routes(&mut self, prefixes: Vec<Ipv6Prefix>) {
        self.followed = prefixes;
    }

    /// The next change; `None`: none waits.
    ///
    /// # Errors
    ///
    /// The socket failed, which is not expected: lost changes are
    /// [`Event::Resync`], not an error.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match self.transport.receive(&mut self.buffer) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Some(Event::Resync));
                }
                Err(error) => {
                    return Err(Error::refused("listen to", "network changes", error));
                }
            }
            if Messages::types(&self.buffer).any(|kind| kind == RTM_NEWNETCONF) {
                self.waiting.push_back(Event::SwitchesChanged);
            }
            for (_, payload) in Messages::new(&self.buffer) {
                match payload {
                    NetlinkPayload::InnerMessage(message) => {
                        if is_followed(&message, &self.followed) {
                            // One is enough, however many come at once.
                            self.waiting.retain(|event| *event != Event::Ipv6RoutesChanged);
                            self.waiting.push_back(Event::Ipv6RoutesChanged);
                        }
                        events_of(&message, self.device, &mut self.waiting);
                    }
                    NetlinkPayload::Overrun(_) => self.waiting.push_back(Event::Resync),
                    _ => {}
                }
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

fn events_of(message: &RouteNetlinkMessage, device: u32, out: &mut VecDeque<Event>) {
    match message {
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)
            if route.header.address_family == AddressFamily::Inet =>
        {
            ipv4_routes_changed(out);
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => ipv4_routes_changed(out),
        RouteNetlinkMessage::NewRoute(route) => {
            let foreign = parse::routes_of(route, device).into_iter();
            out.extend(foreign.filter(not_ours).map(Event::RouteAdded));
        }
        RouteNetlinkMessage::DelRoute(route) => {
            for removed in parse::routes_of(route, device) {
                if not_ours(&removed) {
                    out.push_back(Event::RouteRemoved(removed));
                } else {
                    own_lost(out);
                }
            }
        }
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address)
            if address.header.family == AddressFamily::Inet6 =>
        {
            let interface = address.header.index;
            if interface == device && matches!(message, RouteNetlinkMessage::DelAddress(_)) {
                own_lost(out);
            }
            out.push_back(Event::Ipv6AddressesChanged { interface });
        }
        RouteNetlinkMessage::NewAddress(_) => {
            out.extend(parse::ipv4_address_of(message).map(Event::Ipv4AddressAdded));
        }
        RouteNetlinkMessage::DelAddress(_) => {
            out.extend(parse::ipv4_address_of(message).map(Event::Ipv4AddressRemoved));
        }
        RouteNetlinkMessage::NewLink(_) => {
            out.extend(parse::link_of(message).map(Event::LinkChanged));
        }
        RouteNetlinkMessage::DelLink(link) => out.push_back(Event::LinkRemoved { index: link.header.index }),
        _ => {}
    }
}

fn is_followed(message: &RouteNetlinkMessage, followed: &[Ipv6Prefix]) -> bool {
    let (RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)) = message else { return false };
    let (destination, length) = parse::destination_of(route);
    route.header.address_family == AddressFamily::Inet6
        && followed.iter().any(|prefix| (prefix.address(), prefix.length()) == (destination, length))
}

/// One is enough, however many come at once.
fn ipv4_routes_changed(out: &mut VecDeque<Event>) {
    out.retain(|event| *event != Event::Ipv4RoutesChanged);
    out.push_back(Event::Ipv4RoutesChanged);
}

/// One is enough, however many come at once.
fn own_lost(out: &mut VecDeque<Event>) {
    out.retain(|event| *event != Event::OwnLost);
    out.push_back(Event::OwnLost);
}

fn not_ours(route: &ForeignRoute) -> bool {
    route.protocol != PROTOCOL
}

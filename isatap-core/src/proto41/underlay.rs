//! The IPv4 side of a tunnel: the addresses that it sends from, where its
//! packets may go, what the paths there carry, how outer headers are made.

use core::net::Ipv4Addr;

use super::ecn::{EcnMode, TosMode, tos_bits};
use super::icmp::{TunnelError, TunnelErrorKind};
use super::mtu::{MtuMode, PathMtus};
use super::{Marks, Outer};
use crate::capacity::{Bounded, Capacity, Count as _, Parts, Vec};
use crate::drop_reason::DropReason;
use crate::error::{Table, TableFull};
use crate::prefix::{Ipv4Prefix, is_never_unicast};
use crate::time::{Expiry, Instant};
use crate::wire::ipv6;

/// How a link makes its outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OuterPolicy {
    /// Static or dynamic MTU. `TUN-30`
    pub mtu: MtuMode,
    /// No longer packet enters the link, in bytes, whatever the IPv4 side
    /// carries: 1,280 where nobody knows that, or what was configured or a
    /// Router Advertisement said; `u16::MAX` where the IPv4 side alone decides.
    /// `ISA-15`, `NDP-14`
    pub link_mtu: u16,
    /// Whether `link_mtu` was configured: no router changes it then.
    pub fixed_link_mtu: bool,
    /// Outer time to live. `TUN-60`
    pub ttl: TtlMode,
    /// Where the outer DSCP comes from. `TUN-50`
    pub tos: TosMode,
    /// How ECN enters the tunnel. `TUN-51`
    pub ecn: EcnMode,
}

impl OuterPolicy {
    /// What RFC 4213 recommends: MTU 1,280, TTL 64, TOS 0, ECN compatibility
    /// mode; dynamic, so that the IPv4 Identification need not be unique
    /// (`TUN-7`) and a smaller IPv4 path is found.
    pub const DEFAULT: OuterPolicy = OuterPolicy {
        mtu: MtuMode::Dynamic { interface: 1500 },
        link_mtu: ipv6::MINIMUM_MTU,
        fixed_link_mtu: false,
        ttl: TtlMode::Fixed(Outer::DEFAULT_TTL),
        tos: TosMode::Fixed(0),
        ecn: EcnMode::Compatibility,
    };

    /// The same with this IPv6 MTU, in bytes, that was configured; `None`: it
    /// follows the IPv4 side, as that of Linux's sit devices does.
    #[must_use]
    pub const fn with_link_mtu(self, configured: Option<u16>) -> Self {
        match configured {
            Some(mtu) => OuterPolicy { link_mtu: mtu, fixed_link_mtu: true, ..self },
            None => OuterPolicy { link_mtu: u16::MAX, fixed_link_mtu: false, ..self },
        }
    }

    /// The same without path MTU discovery: what fits is the configured IPv6
    /// MTU, without one 1,280 bytes. `TUN-31`
    #[must_use]
    pub const fn without_path_mtu(self) -> Self {
        let mtu = if self.fixed_link_mtu { self.link_mtu } else { ipv6::MINIMUM_MTU };
        OuterPolicy { mtu: MtuMode::Static(mtu), ..self }
    }

    /// The IPv6 MTU of the link, in bytes: the configured one, or the smaller of
    /// [`link_mtu`](Self::link_mtu) and what the interface underneath carries.
    /// `ISA-15`
    #[must_use]
    pub const fn ipv6_mtu(&self) -> u16 {
        let carried = self.mtu.interface_mtu();
        if self.fixed_link_mtu || self.link_mtu < carried { self.link_mtu } else { carried }
    }

    /// TOS and TTL of the outer header of a packet with this inner traffic
    /// class and, as it leaves, this hop limit. `TUN-50`, `TUN-60`
    #[inline]
    pub(crate) fn tos_and_ttl(&self, traffic_class: u8, hop_limit: u8) -> (u8, u8) {
        self.stamp().of(traffic_class, hop_limit)
    }

    /// The same for any packet.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        let (tos, copied) = tos_bits(self.tos, self.ecn);
        let ttl = match self.ttl {
            // No IPv4 packet has less.
            TtlMode::Fixed(ttl) => ttl.max(1),
            TtlMode::CopyHopLimit => 0,
        };
        Stamp { tos, copied, ttl }
    }
}

/// TOS and TTL of outer headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) tos: u8,
    /// The bits that the inner traffic class gives.
    pub(crate) copied: u8,
    /// 0: the inner hop limit.
    pub(crate) ttl: u8,
}

impl Stamp {
    /// For who writes no outer header.
    pub(crate) const NONE: Stamp = Stamp { tos: 0, copied: 0, ttl: 0 };

    /// Those of a packet with this inner traffic class and, as it leaves, this
    /// hop limit.
    #[inline]
    pub(crate) fn of(self, traffic_class: u8, hop_limit: u8) -> (u8, u8) {
        let ttl = if self.ttl == 0 { hop_limit.max(1) } else { self.ttl };
        // A neighbour takes an inner 0.
        (self.tos | traffic_class & self.copied, ttl)
    }
}

/// What the outer header says of the hops that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TtlMode {
    /// The same for all packets, 1 to 255; 0 is taken for 1, the least that an
    /// IPv4 packet leaves with.
    Fixed(u8),
    /// The inner hop limit, so that routers of the IPv4 network count as those
    /// of a path do: an ICMPv4 "time exceeded" about such a packet becomes that
    /// of ICMPv6, and says nothing of the other end.
    CopyHopLimit,
}

impl Default for OuterPolicy {
    fn default() -> Self {
        OuterPolicy::DEFAULT
    }
}

/// An IPv4 address that a link sends from, with the length of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Locator {
    /// The address.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet it is on, to know the broadcast address
    /// (`TUN-4`) and which destinations are near; 32 when not known.
    pub subnet_length: u8,
}

impl Locator {
    /// Whether `address` is on the same subnet.
    #[inline]
    pub(crate) fn is_near(&self, address: Ipv4Addr) -> bool {
        self.subnet().is_some_and(|subnet| subnet.contains(address))
    }

    /// Whether `address` is the directed broadcast address of the subnet; a
    /// subnet of one or two addresses has none. `TUN-15`
    #[inline]
    #[must_use]
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.broadcast() == Some(address)
    }

    /// The directed broadcast address of the subnet.
    #[inline]
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        // As that of the subnet: without its prefix, since packets ask.
        if self.subnet_length > 30 {
            return None;
        }
        let host = u32::MAX.wrapping_shr(self.subnet_length.into());
        Some(Ipv4Addr::from_bits(self.address.to_bits() | host))
    }

    /// Whether no neighbour has `address`: it is this one, or the directed
    /// broadcast address of the subnet.
    #[inline]
    pub(crate) fn excludes(&self, address: Ipv4Addr) -> bool {
        self.address == address || self.is_broadcast(address)
    }

    #[inline]
    fn subnet(&self) -> Option<Ipv4Prefix> {
        Ipv4Prefix::new(self.address, self.subnet_length)
    }
}

impl From<Ipv4Addr> for Locator {
    fn from(address: Ipv4Addr) -> Self {
        Locator { address, subnet_length: 32 }
    }
}

/// Whether a node with these addresses may send to `destination`, whatever a
/// name, a router list or an IPv6 address says. `TUN-4`: it is a host's
/// (`TUN-15`), and neither one of its own nor the directed broadcast address of
/// a subnet of theirs.
#[inline]
pub(crate) fn may_send_to(destination: Ipv4Addr, own: &[Locator]) -> bool {
    !is_never_unicast(destination) && !own.iter().any(|locator| locator.excludes(destination))
}

/// The IPv4 side of one link.
#[derive(Clone)]
pub struct Underlay<C: Capacity> {
    pub(crate) locators: Vec<Locator, C::Locators>,
    /// The first locator; 0.0.0.0 while there is none, and while it is the
    /// broadcast address of a locator's subnet.
    pub(crate) first: Ipv4Addr,
    /// Whose packets are no plain neighbour's: the locators, the broadcast
    /// addresses of their subnets, and whom the link [adds](Self::mark). Any
    /// address while there is no first one.
    pub(crate) marks: Marks,
    paths: PathMtus<C::PathMtus>,
    /// How outer headers are made.
    pub policy: OuterPolicy,
    way: u64,
}

impl<C: Capacity> Underlay<C> {
    /// Without addresses.
    #[must_use]
    pub const fn new(policy: OuterPolicy) -> Self {
        let (first, marks) = (Ipv4Addr::UNSPECIFIED, Marks::ALL);
        Underlay { locators: Bounded::EMPTY, first, marks, paths: PathMtus::EMPTY, policy, way: 0 }
    }

    /// The IPv4 addresses of this node on the link, in the order in which they
    /// were given.
    #[inline]
    #[must_use]
    pub fn locators(&self) -> &[Locator] {
        &self.locators
    }

    /// By which way packets leave this node and their answers come, where it
    /// has several: a number of the caller's. What an ICMPv4 error says is said
    /// of the paths of one way.
    #[must_use]
    pub fn way(&self) -> u64 {
        self.way
    }

    /// Has packets leave by this way from now on. What is known of the paths of
    /// another way is forgotten.
    pub fn set_way(&mut self, way: u64) {
        if self.way != way {
            self.way = way;
            self.paths = PathMtus::EMPTY;
        }
    }

    /// Takes the IPv4 MTU of the interface underneath, in bytes, where path MTUs
    /// are found out. `TUN-32`
    pub fn set_interface_mtu(&mut self, mtu: u16) {
        if let MtuMode::Dynamic { interface } = &mut self.policy.mtu
            && *interface != mtu
        {
            *interface = mtu;
            self.paths.forget_from(mtu);
        }
    }

    /// Replaces the addresses by those that can be unicast ones, without
    /// repeats.
    ///
    /// # Errors
    /// There is not room for all.
    pub(crate) fn replace(&mut self, locators: impl IntoIterator<Item = Locator>) -> Result<(), TableFull> {
        self.locators.clear();
        let mut result = Ok(());
        for new in locators.into_iter().filter(|new| !is_never_unicast(new.address)) {
            match self.locators.iter_mut().find(|own| own.address == new.address) {
                // On a loopback device too, say: the subnet is that of the other one.
                Some(own) => own.subnet_length = own.subnet_length.min(new.subnet_length),
                None => result = result.and(self.locators.add(new, Table::Locators)),
            }
        }
        self.mark(Marks::NONE);
        result
    }

    /// Marks the addresses that the locators make special, and those of
    /// `others`. To be called again after [`replace`](Self::replace).
    pub(crate) fn mark(&mut self, others: Marks) {
        if !C::PARTS.contains(Parts::SHORTCUTS) {
            return;
        }
        let is_broadcast = |address| self.locators.iter().any(|own| own.is_broadcast(address));
        let first = self.locators.first().map(|own| own.address).filter(|first| !is_broadcast(*first));
        self.marks = if first.is_some() { Marks::of(&self.locators).with(others) } else { Marks::ALL };
        self.first = first.unwrap_or(Ipv4Addr::UNSPECIFIED);
    }

    /// Whether a packet between these two is one to the first locator, from a
    /// neighbour who is not marked; `false` says only that somebody must look.
    #[inline(always)]
    pub(crate) fn is_plain(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        destination == self.first && !self.marks.may_have(source)
    }

    /// Whether `address` is one of this node's.
    #[inline]
    #[must_use]
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.locators.iter().any(|own| own.address == address)
    }

    /// Whether no neighbour sends from `address`: it is this node's, or a
    /// broadcast address of one of its subnets. `TUN-15`
    #[inline]
    #[must_use]
    pub fn excludes(&self, address: Ipv4Addr) -> bool {
        self.marks.may_have(address) && self.locators.iter().any(|own| own.excludes(address))
    }

    /// Whether an outer packet may go to `destination` at all. `TUN-4`: not to
    /// addresses that are no host's, not to this node itself, and not to a
    /// broadcast address of one of its subnets.
    #[inline]
    #[must_use]
    pub fn may_send_to(&self, destination: Ipv4Addr) -> bool {
        !is_never_unicast(destination) && !self.excludes(destination)
    }

    /// How the MTU is found. Who has no room for what ICMPv4 errors say of paths
    /// lets routers fragment: else a narrow path would swallow packets for ever.
    /// `TUN-31 [RFC 4213 §3.2.1]`
    #[inline]
    pub(crate) fn mtu_mode(&self) -> MtuMode {
        if C::PathMtus::ROWS == 0 { MtuMode::Static(self.policy.mtu.interface_mtu()) } else { self.policy.mtu }
    }

    /// What is known of the IPv4 path MTU toward `destination`, in bytes.
    #[inline]
    #[must_use]
    pub fn path_mtu(&self, destination: Ipv4Addr) -> u16 {
        let interface = match self.policy.mtu {
            MtuMode::Dynamic { interface } => interface,
            MtuMode::Static(_) => u16::MAX,
        };
        self.paths.get(destination).map_or(interface, |estimate| estimate.min(interface))
    }

    /// Whether anything follows here from an ICMPv4 error of this kind.
    /// `TUN-43`
    pub(crate) fn heeds(&self, error: &TunnelError) -> bool {
        match error.kind {
            TunnelErrorKind::TooBig { .. } => matches!(self.mtu_mode(), MtuMode::Dynamic { .. }),
            TunnelErrorKind::Unreachable { .. } | TunnelErrorKind::TtlExceeded => true,
            TunnelErrorKind::Ignored => false,
        }
    }

    /// Applies an ICMPv4 error that it [heeds](Self::heeds) to what is known of
    /// the paths. `TUN-35`
    ///
    /// # Errors
    /// It claims no less than is known.
    pub(crate) fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason> {
        match (error.too_big(), self.policy.mtu) {
            (Some(claim), MtuMode::Dynamic { interface }) => {
                self.paths.too_big(now, &claim, interface).map(|_| ()).ok_or(DropReason::IcmpV4Ignored)
            }
            _ => Ok(()),
        }
    }

    /// Tries larger path MTUs where it is time to.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.paths.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn deadline(&self) -> Expiry {
        self.paths.next_deadline()
    }
}

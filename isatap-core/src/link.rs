//! A tunnel as a link: the two questions that make one mechanism different
//! from another.
//!
//! *Given an inner source and an IPv6 next hop, which IPv4 addresses does the
//! outer packet get?* ([`Link::resolve`]) and *given all four addresses of a
//! packet that came in, may it enter, and who spoke?* ([`Link::admit`]).
//! Everything else (routes, forwarding, MTU, loop checks) is the same for all.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::{Bounded, Capacity, Vec};
use crate::drop_reason::DropReason;
pub use crate::engine::Admitted;
use crate::error::{Table, TableFull};
use crate::prefix::Ipv6Prefix;
use crate::proto41::icmp::TunnelError;
use crate::proto41::mtu::MtuMode;
use crate::proto41::underlay::Underlay;
pub use crate::proto41::underlay::{Locator, OuterPolicy, TtlMode};
use crate::proto41::{Flow, Marks};
use crate::select::{self, Source};

/// What the datapath asks of a link. All answers come from plain data: no
/// clock, no state that a packet changes.
pub trait Link {
    /// How large its tables are.
    type Capacity: Capacity;

    /// Which mechanism this is: its name, and its place in the order in which
    /// links are asked. What a link is like, its [traits](Link::traits) say.
    fn kind(&self) -> LinkKind;

    /// What sets this link apart from others, besides the answers below.
    fn traits(&self) -> Traits;

    /// The IPv4 side: own addresses, where packets may go, path MTUs, how outer
    /// headers are made.
    fn underlay(&self) -> &Underlay<Self::Capacity>;

    /// The same, to be changed: the IPv4 interface may get another MTU.
    /// `TUN-32`
    fn underlay_mut(&mut self) -> &mut Underlay<Self::Capacity>;

    /// Where a packet from `inner_source` to the neighbour `next_hop` goes.
    /// `TUN-2`, `TUN-3`: both ends are answered here, since a peer compares
    /// the outer source with the inner one.
    ///
    /// # Errors
    /// The next hop has no usable IPv4 address in it, or this link has none.
    fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason>;

    /// The neighbour on this link by which a packet to `destination` leaves, on a
    /// node without a route table ([`Capacity::Routes`] of no rows). Elsewhere
    /// the routes say it.
    ///
    /// # Errors
    /// [`DropReason::NoRoute`]; [`DropReason::NullRoute`]: it is in a prefix of
    /// this node's, which must not return to where it came from. `RTE-10`
    fn next_hop(&self, destination: &Ipv6Addr) -> Result<Ipv6Addr, DropReason> {
        if self.is_on_link(destination) { Ok(*destination) } else { Err(DropReason::NoRoute) }
    }

    /// Whether a packet with these addresses may leave by the neighbour
    /// `next_hop`: the rules that need the destination too. Asked before
    /// [`resolve`](Link::resolve).
    ///
    /// # Errors
    /// The rule that it breaks.
    #[inline]
    fn permit(
        &self,
        inner_source: &Ipv6Addr,
        inner_destination: &Ipv6Addr,
        next_hop: &Ipv6Addr,
    ) -> Result<(), DropReason> {
        let _ = (inner_source, inner_destination, next_hop);
        Ok(())
    }

    /// Whether the control machine waits for such a packet, which need not be
    /// Neighbor Discovery, and may have this node's own source. `S6R-50`
    #[inline]
    fn awaits(&self, flow: &Flow) -> bool {
        let _ = flow;
        false
    }

    /// Whether packets from `inner_source` must have come by this link, so
    /// that a native link has none of them. `S6R-35`
    #[inline]
    fn claims_source(&self, inner_source: &Ipv6Addr) -> bool {
        let _ = inner_source;
        false
    }

    /// Whether `address` has one of this link's own IPv4 addresses in it, in a
    /// way that only the link knows. Asked where a link's traits say
    /// [`own_prefix`](Traits::own_prefix). `SEC-3`
    #[inline]
    fn embeds_own(&self, address: &Ipv6Addr) -> bool {
        let _ = address;
        false
    }

    /// Whether a protocol-41 packet may come in here.
    ///
    /// # Errors
    /// [`Denied::NotAddressed`]: not for this link at all, no trace is left.
    /// [`Denied::Refused`]: for this link, and not let in; the next link is
    /// asked all the same. `TUN-23`
    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied>;

    /// Whether `address` is a neighbour here: in an on-link prefix, link-local
    /// included.
    fn is_on_link(&self, address: &Ipv6Addr) -> bool;

    /// Whether `address` is one of this node's own on this link.
    fn is_local(&self, address: &Ipv6Addr) -> bool;

    /// The last bytes of the addresses that are [local](Link::is_local), but of `fe80::/64`. The datapath asks again
    /// after each change that the interface [tells of](crate::interface::Interface::take_change).
    #[doc(hidden)]
    fn own_marks(&self) -> Marks {
        Marks::ALL
    }

    /// Whether `address` is an IPv4 address that this link sends from.
    #[inline]
    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        self.underlay().owns(address)
    }

    /// The node's address on this link from which to answer `destination`:
    /// one that the peer's source check lets in. `NDP-64`
    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr>;

    /// Whether this link can have sent the packet that an ICMPv4 error quotes,
    /// and does something about it. `TUN-35`, `TUN-43`
    #[inline]
    fn believes(&self, error: &TunnelError) -> bool {
        self.owns_ipv4(error.source) && self.underlay().heeds(error)
    }
}

/// What sets one link apart from another, whatever its mechanism. MTU, DF, TTL
/// and ECN are in its [`OuterPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traits {
    /// It carries IPv6 itself: no outer header is put in front.
    pub native: bool,
    /// It has two ends: it carries groups and tests for duplicate addresses,
    /// and sends nothing back that came from it. `ISA-70`, `TUN-61`, `TUN-64`
    pub point_to_point: bool,
    /// The IPv4 addresses come out of the IPv6 ones, so that anybody can make
    /// a packet go to any of them.
    pub automatic: bool,
    /// What a neighbour sends to itself goes back to it. `S6R-50`
    pub hairpins: bool,
    /// Nothing that came by another automatic tunnel is forwarded into it.
    /// `S6R-34`
    pub refuses_automatic: bool,
    /// IPv4-compatible inner sources may come in. `TUN-72`
    pub compatible_sources: bool,
    /// No packet sent into it may be fragmented on the way, not even where
    /// static MTU would let it. `S6R-32`
    pub never_fragments: bool,
    /// Its own IPv4 address is in a prefix that only it knows, as
    /// [`Link::embeds_own`] says. `SEC-3`
    pub own_prefix: bool,
}

impl Traits {
    /// A tunnel to any number of neighbours, each given by hand.
    pub const TUNNEL: Traits = Traits {
        native: false,
        point_to_point: false,
        automatic: false,
        hairpins: false,
        refuses_automatic: false,
        compatible_sources: false,
        never_fragments: false,
        own_prefix: false,
    };
    /// An automatic tunnel.
    pub const AUTOMATIC: Traits = Traits { automatic: true, ..Traits::TUNNEL };
}

/// The mechanisms, in the order in which protocol-41 packets are offered to
/// them. `TUN-23 [RFC 5214 §7.3]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LinkKind {
    /// A configured tunnel: both IPv4 ends are given.
    Configured,
    /// ISATAP.
    Isatap,
    /// 6rd.
    SixRd,
    /// 6to4.
    SixToFour,
    /// Automatic tunnelling to IPv4-compatible addresses.
    Compatible,
    /// A link that carries IPv6 itself, such as Ethernet.
    Native,
}

impl LinkKind {
    /// The mechanism's name, as `check` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LinkKind::Configured => "configured",
            LinkKind::Isatap => "isatap",
            LinkKind::SixRd => "6rd",
            LinkKind::SixToFour => "6to4",
            LinkKind::Compatible => "compatible",
            LinkKind::Native => "native",
        }
    }
}

/// Where an IPv6 packet goes, for [`Link::resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// Into an IPv4 packet with these addresses.
    To {
        /// The outer source.
        source: Ipv4Addr,
        /// The outer destination.
        destination: Ipv4Addr,
    },
    /// Out of a native link as it is; finding the next hop's link-layer
    /// address is the caller's.
    Native,
}

/// Why a link did not let a packet in, for [`Link::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// The outer addresses are not this link's.
    NotAddressed,
    /// They are, and the packet breaks a rule.
    Refused(DropReason),
}

/// A link that carries IPv6 without a tunnel: the router's LAN.
///
/// The core routes to it and knows its prefixes; address resolution, and
/// everything else that Ethernet needs, is the caller's (a kernel, smoltcp).
#[derive(Clone)]
pub struct NativeLink<C: Capacity> {
    addresses: Vec<InterfaceAddress, C::Addresses>,
    gateway: Option<Ipv6Addr>,
    /// Nothing but the MTU.
    underlay: Underlay<C>,
}

impl<C: Capacity> NativeLink<C> {
    /// A native link of `mtu` bytes without addresses.
    #[must_use]
    pub const fn new(mtu: u16) -> Self {
        let policy = OuterPolicy { link_mtu: mtu, mtu: MtuMode::Static(mtu), ..OuterPolicy::DEFAULT };
        NativeLink { addresses: Bounded::EMPTY, gateway: None, underlay: Underlay::new(policy) }
    }

    /// Sets the router behind which everything else is, for a node without a
    /// route table: see [`Link::next_hop`]. Elsewhere that is a route.
    pub fn set_gateway(&mut self, gateway: Option<Ipv6Addr>) {
        self.gateway = gateway;
    }

    /// Adds an address of this node, whose prefix is on-link.
    ///
    /// # Errors
    /// The table of addresses is full.
    pub fn add_address(&mut self, address: InterfaceAddress) -> Result<(), TableFull> {
        self.addresses.add(address, Table::Addresses)
    }

    /// Keeps the addresses that `keep` says yes to.
    pub(crate) fn retain_addresses(&mut self, mut keep: impl FnMut(&InterfaceAddress) -> bool) {
        self.addresses.keep(|own| keep(own));
    }

    /// This node's addresses.
    #[must_use]
    pub fn addresses(&self) -> &[InterfaceAddress] {
        &self.addresses
    }
}

impl<C: Capacity> Link for NativeLink<C> {
    type Capacity = C;

    fn kind(&self) -> LinkKind {
        LinkKind::Native
    }

    fn traits(&self) -> Traits {
        Traits { native: true, ..Traits::TUNNEL }
    }

    fn underlay(&self) -> &Underlay<C> {
        &self.underlay
    }

    fn underlay_mut(&mut self) -> &mut Underlay<C> {
        &mut self.underlay
    }

    fn next_hop(&self, destination: &Ipv6Addr) -> Result<Ipv6Addr, DropReason> {
        if self.is_on_link(destination) { Ok(*destination) } else { self.gateway.ok_or(DropReason::NoRoute) }
    }

    fn resolve(&self, _inner_source: &Ipv6Addr, _next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        Ok(Resolution::Native)
    }

    fn admit(&self, _flow: &Flow) -> Result<Admitted, Denied> {
        Err(Denied::NotAddressed)
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        Ipv6Prefix::LINK_LOCAL.contains(address) || is_in(self.addresses(), address)
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        self.addresses.iter().any(|own| own.is(address))
    }

    fn own_marks(&self) -> Marks {
        let anycast = |own: &InterfaceAddress| own.prefix().map_or(own.address, |prefix| prefix.address());
        let both = |marks: Marks, own: &InterfaceAddress| marks.with_last_of(&own.address).with_last_of(&anycast(own));
        self.addresses.iter().fold(Marks::NONE, both)
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        select::source_among(self.addresses().iter().map(InterfaceAddress::source), destination)
    }
}

/// An IPv6 address of an interface of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of the on-link prefix, in bits; 128 when none goes with it.
    pub prefix_length: u8,
}

impl InterfaceAddress {
    /// Whether `address` is this one, or the subnet-router anycast address of
    /// its prefix, which every router answers to. `ISA-70 [RFC 4291 §2.6.1]`
    #[must_use]
    pub fn is(&self, address: &Ipv6Addr) -> bool {
        self.address == *address
            || (self.prefix_length < 127 && self.prefix().is_some_and(|prefix| prefix.address() == *address))
    }

    /// The prefix that the address lies in.
    #[must_use]
    pub fn prefix(&self) -> Option<Ipv6Prefix> {
        Ipv6Prefix::new(self.address, self.prefix_length)
    }

    pub(crate) fn source(&self) -> Source {
        Source::new(self.address.into(), self.prefix_length)
    }
}

/// Whether `address` is on-link by the prefix of one of `addresses`.
pub(crate) fn is_in(addresses: &[InterfaceAddress], address: &Ipv6Addr) -> bool {
    addresses.iter().any(|own| own.prefix().is_some_and(|prefix| prefix.contains(address)))
}

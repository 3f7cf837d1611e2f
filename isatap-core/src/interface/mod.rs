//! An interface of a node: a link with the control machine that keeps it.
//!
//! The machine never holds what it shares: links' routes and the clock come
//! in with each call, as a [`Context`].

mod addresses;
mod automatic;
mod delegate;
mod neighbor_check;
mod probe;
mod refusals;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::DerefMut;

use crate::capacity::{Capacity, Rows, Storage};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, Transmit};
use crate::error::{EmitError, Table, TableFull};
use crate::link::{Admitted, Link, NativeLink, pointee};
use crate::nd::message::{self, NeighborAdvertisementRepr};
use crate::nd::validate;
use crate::packet::{LinkId, PacketMut};
use crate::proto41::identification::{Bucket, Identifications};
use crate::proto41::mtu::{self, MtuDecision};
use crate::proto41::{self, Flow, Outer, icmp::TunnelError};
use crate::route::{Origin, Route, RouteTable, Slot};
use crate::time::{Expiry, Instant};
use crate::wire::{ipv6, protocol};

pub use addresses::{AddressRow, Addresses};
pub(crate) use automatic::{Automatic, replace_routes};
pub(crate) use delegate::{
    interface_by, interface_of_its_link, link_and_policy, link_field, link_of_its_data, pointee_mut, silent_interface,
};
pub(crate) use neighbor_check::NeighborChecks;
pub use neighbor_check::{CheckedNeighbor, NeighborCheck};
pub(crate) use probe::Probe;
pub use refusals::{Refusal, Refusals};

/// The routes of a node of capacity `C`.
pub type Routes<C> = RouteTable<Rows<<C as Capacity>::Routes, Slot>>;

/// The IPv4 Identification counters of a node of capacity `C`.
pub type Ids<C> = Identifications<Rows<<C as Capacity>::Identifications, Bucket>>;

/// What a node of capacity `C` remembers of what found no room.
pub type RefusalsOf<C> = Refusals<Rows<<C as Capacity>::Refusals, Refusal>>;

/// What an interface borrows from its node for one call.
pub struct Context<'a, C: Capacity> {
    /// The time, never going backwards.
    pub now: Instant,
    /// The interface's own number.
    pub id: LinkId,
    /// The node's routes.
    pub routes: &'a mut Routes<C>,
    /// The node's IPv4 Identification counters.
    pub identifications: &'a mut Ids<C>,
    /// What found no room.
    pub refusals: &'a mut RefusalsOf<C>,
    /// Whether this interface forwards. `RTE-7`
    pub forwarding: bool,
}

impl<C: Capacity> Context<'_, C> {
    /// Encapsulates a packet that the interface of `link` has written itself.
    ///
    /// # Errors
    /// No headroom, or no Identification left: see the reason.
    pub(crate) fn wrap(
        &mut self,
        link: &impl Link,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        packet: &mut PacketMut<'_>,
    ) -> Result<Outer, DropReason> {
        let underlay = link.underlay();
        let policy = &underlay.policy;
        let dont_fragment = match mtu::decide(policy.mtu, underlay.path_mtu(destination), packet.len()) {
            // S6R-32: what the node itself says to customers is no exception.
            MtuDecision::Send { dont_fragment } => dont_fragment || link.never_fragments(),
            MtuDecision::TooBig { .. } => return Err(DropReason::PacketTooBig),
        };
        // TUN-7: an atomic datagram needs no Identification of its own.
        let identification =
            if dont_fragment { 0 } else { self.identifications.next(self.now, source, destination)? };
        let outer = Outer { source, destination, ports: None, tos: 0, ttl: policy.ttl, dont_fragment, identification };
        proto41::encapsulate(packet, &outer).map_err(|_| DropReason::NoHeadroom)?;
        Ok(outer)
    }
}

impl<C: Capacity> Context<'_, C> {
    /// Adds or replaces a route, and counts what finds no room.
    ///
    /// # Errors
    /// It is this route.
    pub(crate) fn insert_route(&mut self, route: Route) -> Result<(), TableFull> {
        insert_route(self.routes, self.refusals, route)
    }

    /// Sends what the interface has just written into `packet`: from one
    /// locator to a neighbour. What cannot be sent is left out, as if it
    /// had been lost on the way: whoever wanted it repeats it.
    pub(crate) fn send(
        &mut self,
        link: &impl Link,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        packet: &mut PacketMut<'_>,
    ) -> Option<Transmit> {
        // TUN-4: a router list may hold what has become an address of ours.
        if !link.underlay().may_send_to(destination) {
            return None;
        }
        let outer = self.wrap(link, source, destination, packet).ok()?;
        Some(Transmit::tunnel(self.id, outer))
    }
}

/// Adds or replaces a route, and counts what finds no room: this route, or the
/// one that it displaces.
pub(crate) fn insert_route(
    routes: &mut RouteTable<impl Storage<Slot>>,
    refusals: &mut Refusals<impl Storage<Refusal>>,
    route: Route,
) -> Result<(), TableFull> {
    let (refused, result) = match routes.insert_displacing(route) {
        Ok((_, displaced)) => (displaced, Ok(())),
        Err(full) => (Some(route), Err(full)),
    };
    // Redirects are remembered as long as there is room: nobody is owed that.
    if let Some(refused) = refused.filter(|refused| refused.origin != Origin::Redirected) {
        refusals.note(refused.link, Table::Routes, refused.next_hop, Some(refused.prefix));
    }
    result
}

/// What an interface did with a Neighbor Discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is not the interface's: deliver it like any packet.
    NotControl,
    /// Taken.
    Consumed,
    /// Taken; the buffer holds an IPv6 packet that goes back to the sender.
    Answer,
    /// Refused.
    Drop(DropReason),
}

/// A link with its control machine, as a node holds it.
pub trait Interface<C: Capacity>: Link<Capacity = C> {
    /// The link alone, for threads that only move packets.
    type Snapshot: Link + Clone;

    /// A copy of the link as it is now.
    fn snapshot(&self) -> Self::Snapshot;

    /// A Neighbor Discovery message that this link let in, already
    /// decapsulated.
    fn receive(&mut self, cx: &mut Context<'_, C>, from: Admitted, flow: &Flow, packet: &mut PacketMut<'_>)
    -> Received;

    /// A packet that arrived on this link natively.
    fn receive_native(&mut self, cx: &mut Context<'_, C>, packet: &[u8]) -> Received {
        let _ = (cx, packet);
        Received::NotControl
    }

    /// Whether a packet to, or from, `neighbor` may pass; a link that checks
    /// asks the neighbour where that is not known. Not called for packets that
    /// this node itself is the end of. `SEC-1 [RFC 6324 §3.1.1]`
    fn check_neighbor(&mut self, now: Instant, id: LinkId, neighbor: &Ipv6Addr) -> NeighborCheck {
        let _ = (now, id, neighbor);
        NeighborCheck::Pass
    }

    /// A packet was sent to the neighbour at `destination`. `NDP-50`
    fn note_sent(&mut self, now: Instant, destination: Ipv4Addr);

    /// A route by `next_hop` would have been better, were it reachable.
    /// `NDP-37`
    fn note_avoided(&mut self, now: Instant, next_hop: &Ipv6Addr);

    /// An ICMPv4 error about a packet that this link sent.
    ///
    /// # Errors
    /// It is not believed or not acted upon.
    fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason>;

    /// Does what is due.
    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy);

    /// Writes the next packet that this interface wants to send.
    ///
    /// # Errors
    /// The buffer is too short; the packet stays wanted.
    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError>;

    /// The next difference between what is and what was told.
    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event>;

    /// When [`handle_timeout`](Interface::handle_timeout) has something to do.
    fn deadline(&self) -> Expiry;

    /// Whether a packet waits to be polled.
    fn has_packet(&self, now: Instant) -> bool;

    /// Whether an event waits to be polled.
    fn has_event(&self) -> bool;
}

/// An interface behind a pointer: a `Box`, where a node is to have room for
/// many and not hold it.
impl<P, C: Capacity> Interface<C> for P
where
    P: DerefMut<Target: Interface<C>>,
{
    type Snapshot = <P::Target as Interface<C>>::Snapshot;

    fn snapshot(&self) -> Self::Snapshot {
        (**self).snapshot()
    }

    interface_by!([pointee], [pointee_mut]);
}

/// The Neighbor Discovery message in an IPv6 packet, if it is one, found
/// behind any extension headers.
pub(crate) fn neighbor_discovery(packet: &[u8]) -> Option<validate::Received<'_>> {
    let header = ipv6::Header::parse(packet).ok()?;
    let upper = ipv6::upper_layer(packet).ok()?;
    let icmpv6 = packet.get(upper.offset..)?;
    if upper.fragment_offset != 0 {
        // The middle of something: its bytes only look like a message.
        return None;
    }
    if upper.protocol != protocol::ICMPV6 || !message::is_neighbor_discovery(*icmpv6.first()?) {
        return None;
    }
    Some(validate::Received {
        source: header.source(),
        destination: header.destination(),
        hop_limit: header.hop_limit(),
        fragmented: upper.fragment,
        icmpv6,
    })
}

/// Answers a Neighbor Solicitation in place. `ISA-48`, `ISA-58`, `TUN-62`:
/// every node must, whatever its role.
///
/// `NDP-68 [RFC 4861 §7.2.3]`: silence where the target is not ours.
pub(crate) fn answer_solicitation(
    link: &impl Link,
    is_router: bool,
    received: &validate::Received<'_>,
) -> Result<(Ipv6Addr, Ipv6Addr, NeighborAdvertisementRepr), DropReason> {
    let solicitation = validate::neighbor_solicitation(received)?;
    let target = solicitation.target();
    if !link.is_local(&target) || received.source.is_unspecified() {
        return Err(DropReason::NdUnknownTarget);
    }
    // NDP-64: from the address that was asked.
    let repr = NeighborAdvertisementRepr::answer(&solicitation, is_router);
    Ok((target, received.source, repr))
}

/// Writes the advertisement that [`answer_solicitation`] decided on.
pub(crate) fn write_advertisement(
    packet: &mut PacketMut<'_>,
    (source, destination, repr): (Ipv6Addr, Ipv6Addr, NeighborAdvertisementRepr),
) -> Received {
    match message::write_packet(packet, &source, &destination, |writer| repr.emit(writer)) {
        Ok(_) => Received::Answer,
        Err(_) => Received::Drop(DropReason::NoHeadroom),
    }
}

/// A native link has no control machine: its Neighbor Discovery is the
/// caller's.
impl<C: Capacity> Interface<C> for NativeLink<C> {
    type Snapshot = NativeLink<C>;

    fn snapshot(&self) -> NativeLink<C> {
        self.clone()
    }

    fn receive(&mut self, _: &mut Context<'_, C>, _: Admitted, _: &Flow, _: &mut PacketMut<'_>) -> Received {
        Received::NotControl
    }

    fn note_sent(&mut self, _: Instant, _: Ipv4Addr) {}

    fn note_avoided(&mut self, _: Instant, _: &Ipv6Addr) {}

    fn path_error(&mut self, _: Instant, _: &TunnelError) -> Result<(), DropReason> {
        Err(DropReason::IcmpV4Ignored)
    }

    fn handle_timeout(&mut self, _: &mut Context<'_, C>, _: &mut dyn Entropy) {}

    fn poll_transmit(&mut self, _: &mut Context<'_, C>, _: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        Ok(None)
    }

    fn poll_event(&mut self, _: &mut Context<'_, C>) -> Option<Event> {
        None
    }

    fn deadline(&self) -> Expiry {
        Expiry::NEVER
    }

    fn has_packet(&self, _: Instant) -> bool {
        false
    }

    fn has_event(&self) -> bool {
        false
    }
}

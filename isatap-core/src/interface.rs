//! An interface of a node: a link and the control machine that keeps it.
//!
//! Packets ask the [`Link`], which is data. Neighbor Discovery, time and
//! errors go to the [`Control`] machine, which changes that data. It never
//! holds what it shares: routes and the clock come in with each call, as a
//! [`Context`].

mod addresses;
mod full;
mod neighbor_check;
mod probe;
mod refusals;
mod told;
mod tracked;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::DerefMut;

use crate::capacity::{Capacity, Count, Parts, Rows};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, Transmit};
use crate::error::{EmitError, Table, TableFull};
use crate::link::{Admitted, Link, NativeLink};
use crate::nd::message::{self, Message, NeighborAdvertisementRepr, NeighborFlags};
use crate::nd::validate;
use crate::packet::{LinkId, PacketMut};
use crate::proto41::identification::{Bucket, Identifications};
use crate::proto41::mtu::{self, MtuDecision};
use crate::proto41::{Flow, Outer};
use crate::route::{Origin, Route, RouteTable, Slot};
use crate::time::{Expiry, Instant};
use crate::wire::{ipv6, protocol};

pub(crate) use addresses::{Addresses, Replacement};
pub(crate) use neighbor_check::NeighborChecks;
pub use neighbor_check::{CheckedNeighbor, NeighborCheck};
pub(crate) use probe::Probe;
pub use refusals::{Refusal, Refusals};
pub(crate) use told::{Delegated, Told, automatic};
pub(crate) use tracked::Tracked;

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
    /// The outer header of a packet that the interface of `link` has written
    /// itself.
    ///
    /// # Errors
    /// It is larger than the tunnel's MTU.
    pub(crate) fn outer(
        &mut self,
        link: &(impl Link + ?Sized),
        source: Ipv4Addr,
        destination: Ipv4Addr,
        packet: &[u8],
    ) -> Result<Outer, DropReason> {
        let underlay = link.underlay();
        let policy = &underlay.policy;
        let dont_fragment = match mtu::decide(underlay.mtu_mode(), underlay.path_mtu(destination), packet.len()) {
            // S6R-32: what the node itself says to customers is no exception.
            MtuDecision::Send { dont_fragment } => dont_fragment || link.traits().never_fragments,
            MtuDecision::TooBig { .. } => return Err(DropReason::PacketTooBig),
        };
        // TUN-7: an atomic datagram needs no Identification of its own.
        let identification = if dont_fragment { 0 } else { self.identifications.next(self.now, source, destination) };
        let header = ipv6::Header::parse(packet).map_err(|_| DropReason::NotIpv6)?;
        // S64-35: a probe's hop limit ends at the neighbour, and not on the way there.
        let hop_limit = header.hop_limit().max(Outer::DEFAULT_TTL);
        let (tos, ttl) = policy.tos_and_ttl(header.traffic_class(), hop_limit);
        Ok(Outer { tos, ttl, dont_fragment, identification, ..Outer::new(source, destination) })
    }

    /// Adds or replaces a route, and counts what finds no room.
    ///
    /// # Errors
    /// It is this route.
    pub(crate) fn insert_route(&mut self, route: Route) -> Result<(), TableFull> {
        // Without a table a link says itself where packets go.
        if C::Routes::ROWS == 0 { Ok(()) } else { insert_route::<C>(self.routes, self.refusals, route) }
    }

    /// Sends what the interface has just written into `packet`: from one
    /// locator to a neighbour. What cannot be sent is left out, as if it
    /// had been lost on the way: whoever wanted it repeats it.
    pub(crate) fn send(
        &mut self,
        link: &(impl Link + ?Sized),
        source: Ipv4Addr,
        destination: Ipv4Addr,
        packet: &PacketMut<'_>,
    ) -> Option<Transmit> {
        // TUN-4: a router list may hold what has become an address of ours.
        if !link.underlay().may_send_to(destination) {
            return None;
        }
        let outer = self.outer(link, source, destination, packet.as_slice()).ok()?;
        Some(Transmit::tunnel(self.id, outer))
    }
}

/// Adds or replaces a route, and counts what finds no room: this route, or the
/// one that it displaces.
pub(crate) fn insert_route<C: Capacity>(
    routes: &mut Routes<C>,
    refusals: &mut RefusalsOf<C>,
    route: Route,
) -> Result<(), TableFull> {
    let (refused, result) = match routes.insert_displacing(route, C::PARTS.contains(Parts::SHARES)) {
        Ok((_, displaced)) => (displaced, Ok(())),
        Err(full) => (Some(route), Err(full)),
    };
    // Redirects are remembered as long as there is room: nobody is owed that.
    if let Some(refused) = refused.filter(|refused| refused.origin != Origin::Redirected) {
        refusals.note(refused.link, Table::Routes, refused.next_hop, Some(refused.prefix));
    }
    result
}

/// What an interface did with a packet.
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

/// A link and its control machine, as a node holds them.
pub trait Interface<C: Capacity> {
    /// The type of its link; `dyn Link` where that may be any.
    type Link: Link<Capacity = C> + ?Sized;

    /// What the datapath asks.
    fn link(&self) -> &Self::Link;

    /// The same, for its settings.
    fn link_mut(&mut self) -> &mut Self::Link;

    /// The machine that keeps the link.
    fn control(&self) -> &dyn Control<C>;

    /// The same, to be told something.
    fn control_mut(&mut self) -> &mut dyn Control<C>;

    /// Whether the link, or what else packets are judged by here, may have
    /// changed since this was asked last. An interface that does not keep
    /// account says yes.
    fn take_change(&mut self) -> bool {
        true
    }
}

/// An interface behind a pointer: a `Box`, where a node is to have room for
/// many and not hold it.
impl<P, C: Capacity> Interface<C> for P
where
    P: DerefMut<Target: Interface<C>>,
{
    type Link = <P::Target as Interface<C>>::Link;

    fn link(&self) -> &Self::Link {
        (**self).link()
    }

    fn link_mut(&mut self) -> &mut Self::Link {
        (**self).link_mut()
    }

    fn control(&self) -> &dyn Control<C> {
        (**self).control()
    }

    fn control_mut(&mut self) -> &mut dyn Control<C> {
        (**self).control_mut()
    }

    fn take_change(&mut self) -> bool {
        (**self).take_change()
    }
}

/// Makes an interface of a control machine whose field `link` is its link.
macro_rules! interface {
    ($machine:ident, $link:ident) => {
        impl<C: $crate::capacity::Capacity> $crate::interface::Interface<C> for $machine<C> {
            type Link = $link<C>;

            #[inline(always)]
            fn link(&self) -> &$link<C> {
                &self.link
            }

            fn link_mut(&mut self) -> &mut $link<C> {
                &mut self.link
            }

            #[inline(always)]
            fn control(&self) -> &dyn $crate::interface::Control<C> {
                self
            }

            #[inline(always)]
            fn control_mut(&mut self) -> &mut dyn $crate::interface::Control<C> {
                self
            }

            fn take_change(&mut self) -> bool {
                $crate::interface::Tracked::take_change(&mut self.link)
            }
        }
    };
}
pub(crate) use interface;

/// The control machine of a link: who solicits, advertises, qualifies. What a
/// machine leaves out is what a link without one does.
pub trait Control<C: Capacity> {
    /// A valid Neighbor Discovery message that this link let in, other than a
    /// solicitation of a neighbour, which every node answers alike.
    fn receive(&mut self, cx: &mut Context<'_, C>, heard: &Heard<'_>) -> Received {
        let _ = cx;
        Received::Drop(match heard.message {
            Message::RouterSolicitation(_) => DropReason::NotARouter,
            Message::RouterAdvertisement(_) => DropReason::RaNotFromRouter,
            // No neighbour is watched here. S6R-26
            Message::NeighborSolicitation(_) | Message::NeighborAdvertisement(_) => DropReason::NdUnknownTarget,
            Message::Redirect(_) => DropReason::RedirectRefused,
        })
    }

    /// A packet that the link [awaits](Link::awaits).
    fn receive_awaited(&mut self, cx: &mut Context<'_, C>, packet: &[u8]) -> Received {
        let _ = (cx, packet);
        Received::NotControl
    }

    /// A packet that arrived on this link natively.
    fn receive_native(&mut self, cx: &mut Context<'_, C>, packet: &[u8]) -> Received {
        let _ = (cx, packet);
        Received::NotControl
    }

    /// Whether packets to and from this neighbour need no question whether it
    /// is there, for who has no clock and asks nobody. `SEC-1`
    fn is_verified(&self, neighbor: &Ipv6Addr) -> bool {
        let _ = neighbor;
        true
    }

    /// Whether a packet to, or from, `neighbor` may pass; a link that checks
    /// asks the neighbour where that is not known, if the packet may wait. Not
    /// called for packets that this node itself is the end of.
    /// `SEC-1 [RFC 6324 §3.1.1]`
    fn check_neighbor(&mut self, now: Instant, id: LinkId, neighbor: &Ipv6Addr, may_wait: bool) -> NeighborCheck {
        let _ = (now, id, neighbor, may_wait);
        NeighborCheck::Pass
    }

    /// Until when [`check_neighbor`](Self::check_neighbor) goes on to let
    /// packets to and from this neighbour pass, and changes nothing at that,
    /// unless the interface tells of a [change](Interface::take_change).
    /// `SEC-1`
    fn passes_until(&self, neighbor: &Ipv6Addr) -> Expiry {
        let _ = neighbor;
        Expiry::NEVER
    }

    /// Packets to or from this neighbour, in IPv4 at `destination`, pass elsewhere: has it asked in time for the next
    /// ones. Until when they pass; `None`: as far as was said. `SEC-1`
    fn prolong(&mut self, now: Instant, neighbor: &Ipv6Addr, destination: Option<Ipv4Addr>) -> Option<Expiry> {
        let _ = (now, neighbor, destination);
        None
    }

    /// Whether [`is_verified`](Self::is_verified) may answer otherwise than
    /// when this was asked last.
    fn take_verified(&mut self) -> bool {
        false
    }

    /// A packet was sent to the neighbour at `destination`. `NDP-50`
    fn note_sent(&mut self, now: Instant, destination: Ipv4Addr) {
        let _ = (now, destination);
    }

    /// A route by `next_hop` would have been better, were it reachable.
    /// `NDP-37`
    fn note_avoided(&mut self, now: Instant, next_hop: &Ipv6Addr) {
        let _ = (now, next_hop);
    }

    /// An ICMPv4 error says that the neighbour at `destination` may be gone.
    /// It may only cast doubt (`NDP-68`). `TUN-44 [RFC 5214 §7.2]`
    fn doubt(&mut self, now: Instant, destination: Ipv4Addr) {
        let _ = (now, destination);
    }

    /// The interface is removed: takes back the routes that are by no link.
    /// `RTE-8`
    fn leave(&mut self, cx: &mut Context<'_, C>) {
        let _ = cx;
    }

    /// Does what is due.
    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        let _ = (cx, entropy);
    }

    /// Writes the next packet that this machine wants to send.
    ///
    /// # Errors
    /// The buffer is too short; the packet stays wanted.
    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        let _ = (cx, out);
        Ok(None)
    }

    /// The next difference between what is and what was told. What brings one
    /// about comes with a [`Context`].
    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let _ = cx;
        None
    }

    /// The end of an address or a route was told, and its row is free: tries
    /// again what found no room.
    fn retry(&mut self, cx: &mut Context<'_, C>) {
        let _ = cx;
    }

    /// When [`handle_timeout`](Control::handle_timeout) or
    /// [`poll_transmit`](Control::poll_transmit) has something to do.
    fn deadline(&self) -> Expiry {
        Expiry::NEVER
    }
}

/// A Neighbor Discovery message, and who sent it.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// Who that is to the link.
    pub from: Admitted,
    /// The headers that it came in.
    pub flow: &'a Flow,
    /// The addresses of the message.
    pub received: validate::Received<'a>,
    /// The message.
    pub message: Message<'a>,
}

/// A packet that may be for the control machine of `interface`, already
/// decapsulated.
pub(crate) fn receive<C: Capacity>(
    interface: &mut impl Interface<C>,
    cx: &mut Context<'_, C>,
    from: Admitted,
    flow: &Flow,
    packet: &mut PacketMut<'_>,
) -> Received {
    if interface.link().awaits(flow) {
        let received = interface.control_mut().receive_awaited(cx, packet.as_slice());
        if received != Received::NotControl {
            return received;
        }
    }
    let Some(received) = neighbor_discovery(packet.as_slice()) else { return Received::NotControl };
    let message = match validate::message(&received) {
        Ok(message) => message,
        Err(reason) => return Received::Drop(reason),
    };
    let Message::NeighborSolicitation(solicitation) = message else {
        return interface.control_mut().receive(cx, &Heard { from, flow, received, message });
    };
    let (link, target) = (interface.link(), solicitation.target());
    // NDP-68 [RFC 4861 §7.2.3]: silence where the target is not ours.
    let is_test = received.source.is_unspecified();
    if !link.is_local(&target) || (is_test && !link.traits().point_to_point) {
        return Received::Drop(DropReason::NdUnknownTarget);
    }
    // ISA-48, ISA-58, TUN-62 [RFC 4213 §3.8]: every node must answer, whatever
    // its role. Link-layer address options say nothing (TUN-63).
    let mut repr = NeighborAdvertisementRepr::answer(&solicitation, cx.forwarding);
    let mut destination = received.source;
    if is_test {
        // TUN-61, NDP-52 [RFC 4861 §7.2.4]: whoever tests an address for being
        // a duplicate has none yet, so that all nodes are told.
        repr.flags.remove(NeighborFlags::SOLICITED);
        destination = ALL_NODES;
    }
    // NDP-64: from the address that was asked.
    match message::write_packet(packet, &target, &destination, |writer| repr.emit(writer)) {
        Ok(_) => Received::Answer,
        Err(_) => Received::Drop(DropReason::NoHeadroom),
    }
}

/// `ff02::1`
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The Neighbor Discovery message in an IPv6 packet, if it is one, found
/// behind any extension headers.
pub(crate) fn neighbor_discovery(packet: &[u8]) -> Option<validate::Received<'_>> {
    neighbor_discovery_behind(&ipv6::Header::parse(packet).ok()?)
}

/// The same of a header that was parsed.
#[inline]
pub(crate) fn neighbor_discovery_behind<'a>(header: &ipv6::Header<'a>) -> Option<validate::Received<'a>> {
    let upper = header.upper_layer().ok()?;
    let icmpv6 = upper.of(header)?;
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

/// A native link has no control machine: its Neighbor Discovery is the
/// caller's.
impl<C: Capacity> Control<C> for NativeLink<C> {}

impl<C: Capacity> Interface<C> for NativeLink<C> {
    type Link = Self;

    fn link(&self) -> &Self {
        self
    }

    fn link_mut(&mut self) -> &mut Self {
        self
    }

    fn control(&self) -> &dyn Control<C> {
        self
    }

    fn control_mut(&mut self) -> &mut dyn Control<C> {
        self
    }

    /// Only its owner changes it.
    fn take_change(&mut self) -> bool {
        false
    }
}

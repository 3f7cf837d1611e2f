//! An interface of any mechanism, for nodes that have several.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Node;
use crate::capacity::Capacity;
use crate::compatible;
use crate::configured;
use crate::drop_reason::DropReason;
use crate::engine::{Change, Delegation, Entropy, Event, Transmit};
use crate::error::{EmitError, TableFull};
use crate::interface::{Context, Interface, NeighborCheck, Received};
use crate::isatap;
use crate::lan;
use crate::link::{Admitted, Denied, Link, LinkKind, NativeLink, OuterPolicy, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::proto41::Flow;
use crate::proto41::icmp::TunnelError;
use crate::sixrd;
use crate::sixtofour;
use crate::time::{Expiry, Instant};

/// An interface of any mechanism.
#[derive(Clone)]
pub enum AnyInterface<C: Capacity> {
    /// A link that carries IPv6 itself.
    Native(NativeLink<C>),
    /// A router's native link, which advertises.
    Lan(lan::Interface<C>),
    /// A configured tunnel.
    Configured(configured::Interface<C>),
    /// An ISATAP host's interface.
    IsatapHost(isatap::HostInterface<C>),
    /// An ISATAP router's interface.
    IsatapRouter(isatap::RouterInterface<C>),
    /// A 6rd customer edge's interface.
    SixRdEdge(sixrd::EdgeInterface<C>),
    /// A 6rd border relay's interface.
    SixRdRelay(sixrd::RelayInterface<C>),
    /// The interface of a 6to4 router or host/router.
    SixToFourRouter(sixtofour::RouterInterface<C>),
    /// A 6to4 relay's interface.
    SixToFourRelay(sixtofour::RelayInterface<C>),
    /// Automatic tunnelling to IPv4-compatible addresses.
    Compatible(compatible::Interface<C>),
}

impl<C: Capacity> AnyInterface<C> {
    /// How a tunnel makes its outer headers, to be changed: the MTU of what is
    /// underneath may be another one now. `None`: it is no tunnel. `TUN-32`
    pub fn policy_mut(&mut self) -> Option<&mut OuterPolicy> {
        Some(match self {
            AnyInterface::Native(_) | AnyInterface::Lan(_) => return None,
            AnyInterface::Configured(tunnel) => tunnel.policy_mut(),
            AnyInterface::IsatapHost(host) => host.link_mut().policy_mut(),
            AnyInterface::IsatapRouter(router) => router.link_mut().policy_mut(),
            AnyInterface::SixRdEdge(edge) => edge.policy_mut(),
            AnyInterface::SixRdRelay(relay) => relay.policy_mut(),
            AnyInterface::SixToFourRouter(router) => router.policy_mut(),
            AnyInterface::SixToFourRelay(relay) => relay.policy_mut(),
            AnyInterface::Compatible(tunnel) => tunnel.policy_mut(),
        })
    }
}

/// A link of any mechanism, without its control machine.
#[derive(Clone)]
pub enum AnyLink<C: Capacity> {
    /// A link that carries IPv6 itself.
    Native(NativeLink<C>),
    /// A configured tunnel.
    Configured(configured::Link<C>),
    /// An ISATAP host's link.
    Isatap(isatap::Link<C>),
    /// An ISATAP router's link.
    IsatapRouter(isatap::RouterLink<C>),
    /// A 6rd link.
    SixRd(sixrd::Link<C>),
    /// A 6to4 link.
    SixToFour(sixtofour::Link<C>),
    /// A link to IPv4-compatible addresses.
    Compatible(compatible::Link<C>),
}

macro_rules! each {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self {
            AnyInterface::Native($inner) => $call,
            AnyInterface::Lan($inner) => $call,
            AnyInterface::Configured($inner) => $call,
            AnyInterface::IsatapHost($inner) => $call,
            AnyInterface::IsatapRouter($inner) => $call,
            AnyInterface::SixRdEdge($inner) => $call,
            AnyInterface::SixRdRelay($inner) => $call,
            AnyInterface::SixToFourRouter($inner) => $call,
            AnyInterface::SixToFourRelay($inner) => $call,
            AnyInterface::Compatible($inner) => $call,
        }
    };
}

macro_rules! each_link {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self {
            AnyLink::Native($inner) => $call,
            AnyLink::Configured($inner) => $call,
            AnyLink::Isatap($inner) => $call,
            AnyLink::IsatapRouter($inner) => $call,
            AnyLink::SixRd($inner) => $call,
            AnyLink::SixToFour($inner) => $call,
            AnyLink::Compatible($inner) => $call,
        }
    };
}

macro_rules! delegate_link {
    ($name:ident, $each:ident) => {
        impl<C: Capacity> Link for $name<C> {
            fn kind(&self) -> LinkKind {
                $each!(self, inner => inner.kind())
            }

            fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
                $each!(self, inner => inner.resolve(inner_source, next_hop))
            }

            fn permit(
                &self,
                inner_source: &Ipv6Addr,
                inner_destination: &Ipv6Addr,
                next_hop: &Ipv6Addr,
            ) -> Result<(), DropReason> {
                $each!(self, inner => inner.permit(inner_source, inner_destination, next_hop))
            }

            fn awaits(&self, flow: &Flow) -> bool {
                $each!(self, inner => inner.awaits(flow))
            }

            fn claims_source(&self, inner_source: &Ipv6Addr) -> bool {
                $each!(self, inner => inner.claims_source(inner_source))
            }

            fn is_verified(&self, neighbor: &Ipv6Addr) -> bool {
                $each!(self, inner => inner.is_verified(neighbor))
            }

            fn never_fragments(&self) -> bool {
                $each!(self, inner => inner.never_fragments())
            }

            fn embeds_own(&self, address: &Ipv6Addr) -> bool {
                $each!(self, inner => inner.embeds_own(address))
            }

            fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
                $each!(self, inner => inner.admit(flow))
            }

            fn is_on_link(&self, address: &Ipv6Addr) -> bool {
                $each!(self, inner => inner.is_on_link(address))
            }

            fn is_local(&self, address: &Ipv6Addr) -> bool {
                $each!(self, inner => inner.is_local(address))
            }

            fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
                $each!(self, inner => inner.owns_ipv4(address))
            }

            fn may_send_to(&self, destination: Ipv4Addr) -> bool {
                $each!(self, inner => inner.may_send_to(destination))
            }

            fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
                $each!(self, inner => inner.source_for(destination))
            }

            fn policy(&self) -> &OuterPolicy {
                $each!(self, inner => inner.policy())
            }

            fn path_mtu(&self, destination: Ipv4Addr) -> u16 {
                $each!(self, inner => inner.path_mtu(destination))
            }
        }
    };
}

delegate_link!(AnyInterface, each);
delegate_link!(AnyLink, each_link);

impl<C: Capacity> Interface<C> for AnyInterface<C> {
    type Snapshot = AnyLink<C>;

    fn snapshot(&self) -> AnyLink<C> {
        match self {
            AnyInterface::Native(link) => AnyLink::Native(link.snapshot()),
            AnyInterface::Lan(interface) => AnyLink::Native(interface.snapshot()),
            AnyInterface::Configured(interface) => AnyLink::Configured(interface.snapshot()),
            AnyInterface::IsatapHost(interface) => AnyLink::Isatap(interface.snapshot()),
            AnyInterface::IsatapRouter(interface) => AnyLink::IsatapRouter(interface.snapshot()),
            AnyInterface::SixRdEdge(interface) => AnyLink::SixRd(interface.snapshot()),
            AnyInterface::SixRdRelay(interface) => AnyLink::SixRd(interface.snapshot()),
            AnyInterface::SixToFourRouter(interface) => AnyLink::SixToFour(interface.snapshot()),
            AnyInterface::SixToFourRelay(interface) => AnyLink::SixToFour(interface.snapshot()),
            AnyInterface::Compatible(interface) => AnyLink::Compatible(interface.snapshot()),
        }
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_, C>,
        from: Admitted,
        flow: &Flow,
        packet: &mut PacketMut<'_>,
    ) -> Received {
        each!(self, inner => inner.receive(cx, from, flow, packet))
    }

    fn receive_native(&mut self, cx: &mut Context<'_, C>, packet: &[u8]) -> Received {
        each!(self, inner => inner.receive_native(cx, packet))
    }

    fn check_neighbor(&mut self, now: Instant, id: LinkId, neighbor: &Ipv6Addr) -> NeighborCheck {
        each!(self, inner => inner.check_neighbor(now, id, neighbor))
    }

    fn note_sent(&mut self, now: Instant, destination: Ipv4Addr) {
        each!(self, inner => inner.note_sent(now, destination));
    }

    fn note_avoided(&mut self, now: Instant, next_hop: &Ipv6Addr) {
        each!(self, inner => inner.note_avoided(now, next_hop));
    }

    fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason> {
        each!(self, inner => inner.path_error(now, error))
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        each!(self, inner => inner.handle_timeout(cx, entropy));
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        each!(self, inner => inner.poll_transmit(cx, out))
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        each!(self, inner => inner.poll_event(cx))
    }

    fn deadline(&self) -> Expiry {
        each!(self, inner => inner.deadline())
    }

    fn has_packet(&self, now: Instant) -> bool {
        each!(self, inner => inner.has_packet(now))
    }

    fn has_event(&self) -> bool {
        each!(self, inner => inner.has_event())
    }
}

impl<C: Capacity, const LINKS: usize> Node<AnyInterface<C>, C, LINKS> {
    /// Does on every LAN what [`Event::Delegation`] asks for.
    ///
    /// # Errors
    /// A table of a LAN, or that of the routes, is full; the others have it.
    pub fn delegate(
        &mut self,
        now: Instant,
        tunnel: LinkId,
        change: Change,
        delegation: Delegation,
    ) -> Result<(), TableFull> {
        let given = (change != Change::Removed).then_some(delegation);
        let mut result = Ok(());
        for id in super::link_ids::<LINKS>() {
            let told = self.with_interface(now, id, |interface, cx| match interface {
                AnyInterface::Lan(lan) => lan.delegate(cx, tunnel, given),
                _ => Ok(()),
            });
            result = result.and(told.unwrap_or(Ok(())));
        }
        result
    }
}

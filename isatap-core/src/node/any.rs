//! An interface of any mechanism, for nodes that have several.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::Capacity;
use crate::configured;
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, Transmit};
use crate::error::EmitError;
use crate::interface::{Context, Interface, Received};
use crate::isatap;
use crate::link::{Admitted, Denied, Link, LinkKind, NativeLink, OuterPolicy, Resolution};
use crate::packet::PacketMut;
use crate::proto41::Flow;
use crate::proto41::icmp::TunnelError;
use crate::time::{Expiry, Instant};

/// An interface of any mechanism.
#[derive(Clone)]
pub enum AnyInterface<C: Capacity> {
    /// A link that carries IPv6 itself.
    Native(NativeLink<C>),
    /// A configured tunnel.
    Configured(configured::Interface<C>),
    /// An ISATAP host's interface.
    IsatapHost(isatap::HostInterface<C>),
    /// An ISATAP router's interface.
    IsatapRouter(isatap::RouterInterface<C>),
}

/// A link of any mechanism, without its control machine.
#[derive(Clone)]
pub enum AnyLink<C: Capacity> {
    /// A link that carries IPv6 itself.
    Native(NativeLink<C>),
    /// A configured tunnel.
    Configured(configured::Link<C>),
    /// An ISATAP link.
    Isatap(isatap::Link<C>),
}

macro_rules! each {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self {
            AnyInterface::Native($inner) => $call,
            AnyInterface::Configured($inner) => $call,
            AnyInterface::IsatapHost($inner) => $call,
            AnyInterface::IsatapRouter($inner) => $call,
        }
    };
}

macro_rules! each_link {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self {
            AnyLink::Native($inner) => $call,
            AnyLink::Configured($inner) => $call,
            AnyLink::Isatap($inner) => $call,
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
            AnyInterface::Configured(interface) => AnyLink::Configured(interface.snapshot()),
            AnyInterface::IsatapHost(interface) => AnyLink::Isatap(interface.snapshot()),
            AnyInterface::IsatapRouter(interface) => AnyLink::Isatap(interface.snapshot()),
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

//! An interface of any mechanism, for nodes that have several.

use core::net::Ipv6Addr;

use super::Node;
use crate::capacity::Capacity;
use crate::compatible;
use crate::configured;
use crate::engine::{Change, Delegation};
use crate::error::TableFull;
use crate::interface::{Interface, interface_by};
use crate::isatap;
use crate::lan;
use crate::link::{Link, NativeLink, OuterPolicy, link_by};
use crate::packet::LinkId;
use crate::sixrd;
use crate::sixtofour;
use crate::time::Instant;

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
            type Capacity = C;

            link_by!($each);

            fn is_verified(&self, neighbor: &Ipv6Addr) -> bool {
                $each!(self, inner => inner.is_verified(neighbor))
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

    interface_by!([each], [each]);
}

impl<C: Capacity, const LINKS: usize> Node<AnyInterface<C>, C, LINKS> {
    /// Does on every LAN what [`Event::Delegation`](crate::engine::Event::Delegation) asks for.
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

//! An interface of any mechanism, for nodes that have several.

use super::Node;
use crate::capacity::Capacity;
use crate::compatible;
use crate::configured;
use crate::datapath::Remember;
use crate::engine::{Change, Delegation};
use crate::error::TableFull;
use crate::interface::{Control, Interface};
use crate::isatap;
use crate::lan;
use crate::link::{Link, NativeLink};
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
    Lan(lan::LanInterface<C>),
    /// A configured tunnel.
    Configured(configured::ConfiguredInterface<C>),
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
    Compatible(compatible::CompatibleInterface<C>),
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

impl<C: Capacity> Interface<C> for AnyInterface<C> {
    type Link = dyn Link<Capacity = C>;

    fn link(&self) -> &Self::Link {
        each!(self, interface => interface.link())
    }

    fn link_mut(&mut self) -> &mut Self::Link {
        each!(self, interface => interface.link_mut())
    }

    fn control(&self) -> &dyn Control<C> {
        each!(self, interface => interface)
    }

    fn control_mut(&mut self) -> &mut dyn Control<C> {
        each!(self, interface => interface)
    }

    fn take_change(&mut self) -> bool {
        each!(self, interface => interface.take_change())
    }
}

impl<C: Capacity, const LINKS: usize, D: Remember> Node<AnyInterface<C>, C, LINKS, D> {
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

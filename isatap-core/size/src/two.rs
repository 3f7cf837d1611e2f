//! Two kinds of interface in one node.

use isatap_core::capacity::Capacity;
use isatap_core::interface::{Control, Interface};
use isatap_core::link::Link;

/// A node's tunnel or its LAN: no other mechanism enters the image.
pub enum Two<T, L> {
    /// The tunnel.
    Tunnel(T),
    /// The LAN.
    Lan(L),
}

impl<C, T, L> Interface<C> for Two<T, L>
where
    C: Capacity,
    T: Interface<C> + 'static,
    L: Interface<C> + 'static,
    T::Link: Link<Capacity = C> + Sized,
    L::Link: Link<Capacity = C> + Sized,
{
    type Link = dyn Link<Capacity = C>;

    fn link(&self) -> &Self::Link {
        match self {
            Two::Tunnel(interface) => interface.link(),
            Two::Lan(interface) => interface.link(),
        }
    }

    fn link_mut(&mut self) -> &mut Self::Link {
        match self {
            Two::Tunnel(interface) => interface.link_mut(),
            Two::Lan(interface) => interface.link_mut(),
        }
    }

    fn control(&self) -> &dyn Control<C> {
        match self {
            Two::Tunnel(interface) => interface.control(),
            Two::Lan(interface) => interface.control(),
        }
    }

    fn control_mut(&mut self) -> &mut dyn Control<C> {
        match self {
            Two::Tunnel(interface) => interface.control_mut(),
            Two::Lan(interface) => interface.control_mut(),
        }
    }

    fn take_change(&mut self) -> bool {
        match self {
            Two::Tunnel(interface) => interface.take_change(),
            Two::Lan(interface) => interface.take_change(),
        }
    }
}

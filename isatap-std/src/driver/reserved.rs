//! What comes by a device for a link that is bound to it.

use isatap_core::packet::LinkId;
use isatap_core::proto41::Outer;
use std::net::Ipv4Addr;

/// Packets that no link takes which is bound to no device, also while the link that they are for is remade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The link; `None`: it is to be made.
    pub link: Option<LinkId>,
    /// The interface index of the device that it is bound to.
    pub interface: u32,
    /// The IPv4 addresses of this end; empty: not known, so any.
    pub locals: Vec<Ipv4Addr>,
    /// That of the other end; `None`: any.
    pub remote: Option<Ipv4Addr>,
}

impl Reserved {
    /// Whether a packet that came by the device of this interface index can be for the link.
    pub(super) fn is_for(&self, interface: u32, outer: &Outer) -> bool {
        self.interface == interface
            && (self.locals.is_empty() || self.locals.contains(&outer.destination))
            && self.remote.is_none_or(|remote| remote == outer.source)
    }
}

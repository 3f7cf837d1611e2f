//! Decisions for who carries packets in a machine's place: a kernel, a network card.
//!
//! He is told of a decision that is remembered, with all that it depends on, and
//! whether it served a packet before: who carries flows takes those, and of others
//! only what he has already; what reads other bytes of a packet than its addresses is his to
//! look at, or to leave to the machine. He tells what he has carried.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::LinkId;
use crate::time::{Expiry, Instant};

/// Packets from the inside with these addresses go into a tunnel; those of protocol 41 with
/// "do not fragment" set, datagrams of UDP without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sends {
    /// The inner source.
    pub source: Ipv6Addr,
    /// The inner destination.
    pub destination: Ipv6Addr,
    /// The link that they leave by.
    pub link: LinkId,
    /// The outer source.
    pub outer_source: Ipv4Addr,
    /// The outer destination.
    pub outer_destination: Ipv4Addr,
    /// The UDP ports of source and destination; `None`: protocol 41.
    pub ports: Option<(u16, u16)>,
    /// Bytes of inner packet that may go.
    pub mtu: u16,
    /// The outer TOS, but for the bits of the mask.
    pub tos: u8,
    /// The bits that the inner traffic class gives.
    pub tos_mask: u8,
    /// The outer time to live; 0: the inner hop limit, and 1 for that of 0.
    pub ttl: u8,
    /// When it ends, if nothing changes: a neighbour's answer is good no longer.
    pub until: Expiry,
    /// Whether the decision served a packet before this one.
    pub again: bool,
}

/// Packets from the network with these addresses are let in and delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admits {
    /// The inner source.
    pub source: Ipv6Addr,
    /// The inner destination.
    pub destination: Ipv6Addr,
    /// The outer source.
    pub outer_source: Ipv4Addr,
    /// The outer destination.
    pub outer_destination: Ipv4Addr,
    /// The UDP ports of source and destination; `None`: protocol 41.
    pub ports: Option<(u16, u16)>,
    /// The link that lets them in.
    pub link: LinkId,
    /// Whether the machine waits for some ICMPv6 message with these addresses:
    /// it is to see all of that. Neighbor Discovery it is to see always.
    pub awaited: bool,
    /// When it ends, if nothing changes.
    pub until: Expiry,
    /// Whether the decision served a packet before this one.
    pub again: bool,
}

/// What went by without the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The link by which they left or came.
    pub link: LinkId,
    /// The link whose device they came from, or went to.
    pub device: LinkId,
    /// To whom in IPv4; `None`: they came in.
    pub destination: Option<Ipv4Addr>,
    /// The inner address of the other end: the destination of what left, the source of what came in.
    pub peer: Ipv6Addr,
    /// They went no sooner than that, and it is not known when.
    pub since: Instant,
    /// How many. One that stands for several counts once.
    pub packets: u64,
}

//! IPv6 in IPv4, protocol 41: what every mechanism shares. [RFC 4213]
//!
//! [`Flow::parse`] judges an outer packet by the rules that need no
//! mechanism; a link then says whether it takes the flow, and
//! [`decapsulate`] narrows the packet to the inner one. The other way,
//! [`mtu::decide`] says whether and how the packet may go, and
//! [`encapsulate`] or the faster [`Template`] push the outer header.
//!
//! What this cannot do: it does not reassemble IPv4 fragments and does not
//! make any; both belong to the IPv4 host underneath. It protects nothing:
//! whoever can forge an outer source can send through a tunnel whatever its
//! mechanism accepts from that source.

pub mod ecn;
mod flow;
pub mod icmp;
pub mod identification;
pub mod mtu;
mod options;
mod template;
pub mod underlay;

use core::net::Ipv4Addr;

pub use self::flow::Flow;
pub(crate) use self::options::check_options;
pub use self::template::Template;

use self::ecn::Ecn;
use crate::drop_reason::DropReason;
use crate::error::EmitError;
use crate::packet::PacketMut;
use crate::wire::{ipv4, ipv6, protocol, udp};

/// Bytes of outer header that a protocol-41 tunnel adds.
pub const OVERHEAD: u16 = 20;

/// The outer header of one packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outer {
    /// The tunnel's own IPv4 address.
    pub source: Ipv4Addr,
    /// The other end's.
    pub destination: Ipv4Addr,
    /// Source and destination port of a tunnel over UDP; `None`: protocol 41.
    pub ports: Option<(u16, u16)>,
    /// DSCP (upper 6 bits) and ECN (lower 2).
    pub tos: u8,
    /// Hops through the IPv4 network.
    pub ttl: u8,
    /// Whether routers must not fragment.
    pub dont_fragment: bool,
    /// Of no meaning with `dont_fragment`. [RFC 6864 §4.1]
    pub identification: u16,
}

impl Outer {
    /// The TTL when nothing else is configured.
    pub const DEFAULT_TTL: u8 = 64;

    /// Bytes of headers in front of the inner packet.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        match self.ports {
            None => ipv4::HEADER_LEN,
            Some(_) => ipv4::HEADER_LEN.saturating_add(udp::HEADER_LEN),
        }
    }

    /// The part of an encapsulated packet that goes through a socket whose
    /// kernel writes the IPv4 (and UDP) header itself.
    #[inline]
    #[must_use]
    pub fn payload<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet.get(self.header_len()..).unwrap_or(&[])
    }
}

/// Pushes the outer header in front of an inner packet.
///
/// The packet must be exactly as long as its IPv6 header says: the outer
/// total length is counted from it, and the payload is not read (over UDP it
/// is, for the checksum).
///
/// # Errors
/// Less headroom than the headers take, or more than 65535 bytes with them;
/// the packet is unchanged.
pub fn encapsulate(packet: &mut PacketMut<'_>, outer: &Outer) -> Result<(), EmitError> {
    let Some(ports) = outer.ports else {
        return Template::new(outer.source, outer.tos, outer.ttl, outer.dont_fragment).encapsulate(
            packet,
            outer.destination,
            outer.identification,
        );
    };
    let len = packet.len();
    let too_long = EmitError::new(len.saturating_add(outer.header_len()), usize::from(u16::MAX));
    let payload_len = u16::try_from(len).ok().filter(|len| *len <= LONGEST_UDP_PAYLOAD).ok_or(too_long)?;
    let fields = udp::Fields { source: ports.0, destination: ports.1 };
    let udp = fields.to_bytes_ipv4(outer.source, outer.destination, packet.as_slice()).ok_or(too_long)?;
    let fields = ipv4::Fields {
        tos: outer.tos,
        payload_len: payload_len.saturating_add(8),
        identification: outer.identification,
        dont_fragment: outer.dont_fragment,
        more_fragments: false,
        fragment_offset: 0,
        ttl: outer.ttl,
        protocol: protocol::UDP,
        source: outer.source,
        destination: outer.destination,
    };
    let front = packet.push_front::<28>()?;
    if let Some((header, rest)) = front.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>() {
        *header = fields.to_bytes();
        rest.iter_mut().zip(udp).for_each(|(to, from)| *to = from);
    }
    Ok(())
}

/// 65535 bytes less both headers.
const LONGEST_UDP_PAYLOAD: u16 = 65507;

/// Narrows an outer packet to the inner one that `flow`, parsed from it,
/// describes: outer header and padding go, and the congestion mark of the
/// outer header is combined into the inner one.
///
/// # Errors
/// `TUN-52`: [`DropReason::EcnNotCapable`]; [`DropReason::Truncated`] when
/// the flow is of another packet. The packet is unchanged.
#[inline]
pub fn decapsulate(packet: &mut PacketMut<'_>, flow: &Flow) -> Result<ecn::Exit, DropReason> {
    let inner = Ecn::of(flow.traffic_class);
    let exit = ecn::exit(inner, Ecn::of(flow.tos))?;
    let (header_len, inner_len) = (usize::from(flow.header_len), usize::from(flow.inner_len));
    if packet.len() < header_len.saturating_add(inner_len) {
        return Err(DropReason::Truncated);
    }
    packet.pull_front(header_len);
    // TUN-12 [RFC 4213 §3.6]: the inner length counts, never the outer one.
    packet.truncate(inner_len);
    if exit.ecn != inner
        && let Some(header) = packet.as_mut_slice().first_chunk_mut()
    {
        ipv6::set_ecn(header, exit.ecn.bits());
    }
    Ok(exit)
}

#[cfg(test)]
mod tests;

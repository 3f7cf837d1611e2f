//! What the stack itself looks at in a TCP segment.

use std::net::{IpAddr, SocketAddr};

use super::super::super::ip::{Ipv4, Ipv6, PROTOCOL_TCP};

/// What is looked at in a segment that has come.
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) acknowledged: u32,
    pub(super) is_syn: bool,
    /// It acknowledges, and does nothing else.
    pub(super) is_bare: bool,
}

impl Segment {
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const RST: u8 = 4;
        const ACK: u8 = 16;
        let (source, destination, segment) = tcp_of(packet)?;
        let port = |at: usize| Some(u16::from_be_bytes(*segment.get(at..)?.first_chunk()?));
        let flags = *segment.get(13)? & (FIN | SYN | RST | ACK);
        let header = usize::from(*segment.get(12)? >> 4) * 4;
        Some(Segment {
            from: SocketAddr::new(source, port(0)?),
            to: SocketAddr::new(destination, port(2)?),
            acknowledged: u32::from_be_bytes(*segment.get(8..)?.first_chunk()?),
            is_syn: flags == SYN,
            is_bare: flags == ACK && segment.len() == header,
        })
    }
}

/// Source, destination and TCP segment of a packet, if it has one.
pub(in super::super::super) fn tcp_of(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    if let Some(packet) = Ipv6::parse(packet) {
        return (packet.next_header == PROTOCOL_TCP).then_some((
            packet.source.into(),
            packet.destination.into(),
            packet.payload,
        ));
    }
    let packet = Ipv4::parse(packet)?;
    (packet.protocol == PROTOCOL_TCP).then_some((packet.source.into(), packet.destination.into(), packet.payload))
}

//! The outer header as data, and the one place that puts it in front of a
//! packet or takes it off.
//!
//! Machines take and give an [`Outer`] and the bytes behind the header: a
//! socket, whose kernel writes and reads headers itself, has nothing to undo.
//! Who has whole IPv4 packets (firmware, a capture) calls [`Outer::push`] for
//! what a machine sends, and [`Outer::pull`], or
//! [`decapsulate_ipv4`](crate::engine::Machine::decapsulate_ipv4), for what
//! came in.

use core::net::{Ipv4Addr, SocketAddrV4};

use super::{Template, check_options};
use crate::drop_reason::DropReason;
use crate::error::EmitError;
use crate::packet::PacketMut;
use crate::wire::checksum;
use crate::wire::field::{ipv4_at, u8_at, u16_at, word_at};
use crate::wire::{ipv4, protocol, udp};

/// The outer header of one packet, to be sent or received: of IPv4, and of UDP
/// where there are ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outer {
    /// Who sends: the tunnel's own IPv4 address, or the other end's.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// Source and destination port of a tunnel over UDP; `None`: protocol 41.
    pub ports: Option<(u16, u16)>,
    /// DSCP (upper 6 bits) and ECN (lower 2).
    pub tos: u8,
    /// Hops through the IPv4 network.
    pub ttl: u8,
    /// Whether routers must not fragment.
    pub dont_fragment: bool,
    /// Of no meaning with `dont_fragment`, and where the kernel chooses it.
    /// [RFC 6864 §4.1]
    pub identification: u16,
}

impl Outer {
    /// The TTL when nothing else is configured.
    pub const DEFAULT_TTL: u8 = 64;

    /// A header of protocol 41 that may be fragmented: TOS and Identification
    /// 0, [`DEFAULT_TTL`](Self::DEFAULT_TTL).
    #[must_use]
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Outer {
            source,
            destination,
            ports: None,
            tos: 0,
            ttl: Outer::DEFAULT_TTL,
            dont_fragment: false,
            identification: 0,
        }
    }

    /// The same of a UDP datagram.
    #[must_use]
    pub const fn udp(from: SocketAddrV4, to: SocketAddrV4) -> Self {
        Outer { ports: Some((from.port(), to.port())), ..Outer::new(*from.ip(), *to.ip()) }
    }

    /// Bytes of header: 20, or 28 with UDP.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        match self.ports {
            None => ipv4::HEADER_LEN,
            Some(_) => ipv4::HEADER_LEN.saturating_add(udp::HEADER_LEN),
        }
    }

    /// Puts the header in front of a packet.
    ///
    /// The total length is counted from the packet, so nothing may lie behind
    /// it. It is not read, except over UDP, for the checksum.
    ///
    /// # Errors
    /// Less headroom than the header takes, or more than 65535 bytes with it;
    /// the packet is unchanged.
    pub fn push(&self, packet: &mut PacketMut<'_>) -> Result<(), EmitError> {
        let Some((source, destination)) = self.ports else {
            return Template::new(self.source, self.tos, self.ttl, self.dont_fragment).encapsulate(
                packet,
                self.destination,
                self.identification,
            );
        };
        let len = packet.len();
        let too_long = EmitError::new(len.saturating_add(self.header_len()), usize::from(u16::MAX));
        let payload_len = u16::try_from(len).ok().filter(|len| *len <= LONGEST_UDP_PAYLOAD).ok_or(too_long)?;
        let fields = udp::Fields { source, destination };
        let udp = fields.to_bytes_ipv4(self.source, self.destination, packet.as_slice()).ok_or(too_long)?;
        let fields = ipv4::Fields {
            tos: self.tos,
            payload_len: payload_len.saturating_add(8),
            identification: self.identification,
            dont_fragment: self.dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            ttl: self.ttl,
            protocol: protocol::UDP,
            source: self.source,
            destination: self.destination,
        };
        let front = packet.push_front::<28>()?;
        if let Some((header, rest)) = front.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>() {
            *header = fields.to_bytes();
            rest.iter_mut().zip(udp).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }

    /// Takes the header off a packet that came in, as an IPv4 host does, and
    /// what lies behind the packet's total length.
    ///
    /// # Errors
    /// In this order, that of [`Flow::parse`](super::Flow::parse): it has no
    /// IPv4 header; the checksum of that is wrong; the packet is not there to
    /// its end; it is neither of protocol 41 nor of UDP; it is a fragment
    /// (`TUN-10`: reassembly comes first, and is not done here); its options
    /// are malformed or a source route (`TUN-11`, `SEC-12`); its UDP length is
    /// another than that of what carried it, or its UDP checksum is wrong
    /// (`TER-16 [RFC 768]`: zero means that there is none). The packet is
    /// unchanged.
    #[inline]
    pub fn pull(packet: &mut PacketMut<'_>) -> Result<Outer, DropReason> {
        let (outer, headers, total) = match packet.as_slice().first_chunk() {
            Some(fixed) if is_plain(fixed, protocol::IPV6, packet.len()) && u16_at::<2, 20>(fixed) >= 20 => {
                (Outer::read(fixed), ipv4::HEADER_LEN, usize::from(u16_at::<2, 20>(fixed)))
            }
            _ => judge(packet.as_slice())?,
        };
        packet.truncate(total);
        packet.pull_front(headers);
        Ok(outer)
    }

    /// What a header of protocol 41 says.
    #[inline(always)]
    fn read(fixed: &[u8; ipv4::HEADER_LEN]) -> Outer {
        Outer {
            source: ipv4_at::<12, 20>(fixed),
            destination: ipv4_at::<16, 20>(fixed),
            ports: None,
            tos: u8_at::<1, 20>(fixed),
            ttl: u8_at::<8, 20>(fixed),
            dont_fragment: u16_at::<6, 20>(fixed) & ipv4::DONT_FRAGMENT != 0,
            identification: u16_at::<4, 20>(fixed),
        }
    }
}

/// Whether the header of a packet of `received` bytes is clearly in order, of
/// this protocol and without options, asked word-wide; but for a total length
/// that is too short. `false` says only that somebody must look.
///
/// Every packet that comes in runs through here, so the instructions count;
/// that both ways agree is a property test.
#[inline(always)]
pub(super) fn is_plain(fixed: &[u8; ipv4::HEADER_LEN], protocol: u8, received: usize) -> bool {
    // The protocol before the words that it lies in: the compiler would cut
    // it out of them instead of comparing a byte.
    if u8_at::<9, 20>(fixed) != protocol {
        return false;
    }
    word_at::<0, 20>(fixed) & (FIRST_BYTE | FRAGMENT) == PLAIN
        && checksum::is_header_valid(fixed)
        && usize::from(u16_at::<2, 20>(fixed)) <= received
}

/// The checks one by one: the header, its bytes and those of the packet.
#[cold]
fn judge(packet: &[u8]) -> Result<(Outer, usize, usize), DropReason> {
    let header = ipv4::Header::parse_quoted(packet).map_err(|_| DropReason::OuterMalformed)?;
    if !header.is_checksum_valid() {
        return Err(DropReason::OuterChecksum);
    }
    let header = ipv4::Header::parse(packet).map_err(|_| DropReason::OuterMalformed)?;
    let is_udp = header.protocol() == protocol::UDP;
    // TUN-5
    if !is_udp && header.protocol() != protocol::IPV6 {
        return Err(DropReason::NotProtocol41);
    }
    if header.is_fragment() {
        return Err(DropReason::OuterFragment);
    }
    check_options(header.options())?;
    let fixed = packet.first_chunk().ok_or(DropReason::OuterMalformed)?;
    let (outer, total) = (Outer::read(fixed), usize::from(header.total_length()));
    if !is_udp {
        return Ok((outer, header.header_len(), total));
    }
    let datagram = udp::Header::parse(header.payload()).map_err(|_| DropReason::TeredoMalformed)?;
    let is_whole = usize::from(datagram.length()) == header.payload().len();
    if !is_whole || !datagram.is_valid_ipv4(outer.source, outer.destination) {
        return Err(DropReason::TeredoMalformed);
    }
    let ports = Some((datagram.source(), datagram.destination()));
    Ok((Outer { ports, ..outer }, header.header_len().saturating_add(udp::HEADER_LEN), total))
}

/// More-fragments flag and fragment offset in the first word of the header.
const FRAGMENT: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0x3f, 0xff]);

/// Version and header length in the first word of the header.
const FIRST_BYTE: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0, 0, 0, 0]);

/// The two of a packet that has neither options nor other fragments.
const PLAIN: u64 = u64::from_ne_bytes([0x45, 0, 0, 0, 0, 0, 0, 0]);

/// 65535 bytes less both headers.
const LONGEST_UDP_PAYLOAD: u16 = 65507;

#[cfg(test)]
mod tests;

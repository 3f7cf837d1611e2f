//! What an outer packet is about, and the checks that need no mechanism.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::drop_reason::DropReason;
use crate::prefix::{is_never_unicast, is_refused_inner_source};
use crate::wire::checksum;
use crate::wire::field::{ipv4_at, ipv6_at, u8_at, u16_at};
use crate::wire::{ipv4, ipv6, protocol};

/// The outer and inner addresses of a protocol-41 packet and what else the
/// checks behind this one ask for. Refers to no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flow {
    /// Who sent the outer packet.
    pub outer_source: Ipv4Addr,
    /// To whom.
    pub outer_destination: Ipv4Addr,
    /// Who sent the inner packet.
    pub inner_source: Ipv6Addr,
    /// To whom.
    pub inner_destination: Ipv6Addr,
    /// The outer DSCP (upper 6 bits) and ECN (lower 2).
    pub tos: u8,
    /// The outer hops left.
    pub outer_ttl: u8,
    /// The inner DSCP (upper 6 bits) and ECN (lower 2).
    pub traffic_class: u8,
    /// The [`protocol`] of what follows the inner header.
    pub next_header: u8,
    /// The inner hops left.
    pub hop_limit: u8,
    /// Bytes of outer header: 20 to 60.
    pub header_len: u8,
    /// Bytes of inner packet: its header's 40 and its payload length.
    pub inner_len: u16,
    /// Bytes between the end of the inner packet and that of the outer one.
    pub padding: u16,
}

impl Flow {
    /// Judges an outer packet. Bytes behind its total length are ignored.
    ///
    /// The checks, in this order: the outer header is one of IPv4 and its
    /// checksum holds, the packet is there to its end, of protocol 41, not a
    /// fragment, long enough; outer source and destination can be unicast
    /// addresses; the inner packet is of IPv6 and there to its end; its
    /// source may come out of a tunnel.
    ///
    /// # Errors
    /// The first check that failed. A source `::` and whatever depends on the
    /// node's own addresses is left to the links.
    pub fn parse(outer: &[u8]) -> Result<Flow, DropReason> {
        let Some(headers) = outer.first_chunk::<60>() else {
            return Err(short(outer));
        };
        if u8_at::<0, 60>(headers) != 0x45 {
            return with_options(outer);
        }
        let (ipv4, ipv6) = split(headers);
        if !checksum::is_header_valid(ipv4) {
            return Err(DropReason::OuterChecksum);
        }
        judge(ipv4, ipv6, ipv4::HEADER_LEN, outer.len())
    }

    /// [`Flow::parse`] for callers that have no slice of the packet, such as
    /// a BPF program: both headers as arrays, the outer header's length and
    /// how many bytes of outer packet there are.
    ///
    /// With options (`header_len` beyond 20) the checksum is not verified, as
    /// the options are not here: let the IPv4 host do it.
    ///
    /// # Errors
    /// As [`Flow::parse`]; [`DropReason::OuterMalformed`] when `header_len` is
    /// not what the outer header says.
    #[inline]
    pub fn from_headers(
        ipv4: &[u8; 20],
        ipv6: &[u8; 40],
        header_len: usize,
        received: usize,
    ) -> Result<Flow, DropReason> {
        let first = u8_at::<0, 20>(ipv4);
        if first >> 4 != 4 || header_len < ipv4::HEADER_LEN || ipv4::header_len(first) != header_len {
            return Err(DropReason::OuterMalformed);
        }
        if header_len == ipv4::HEADER_LEN && !checksum::is_header_valid(ipv4) {
            return Err(DropReason::OuterChecksum);
        }
        judge(ipv4, ipv6, header_len, received)
    }

    /// The inner packet inside the outer one, without padding: for readers.
    /// Forwarding goes through [`decapsulate`](super::decapsulate), which
    /// must write.
    #[must_use]
    pub fn inner<'p>(&self, outer: &'p [u8]) -> &'p [u8] {
        let start = usize::from(self.header_len);
        outer.get(start..start.saturating_add(usize::from(self.inner_len))).unwrap_or(&[])
    }
}

/// The checks behind the outer header's first byte and its checksum.
#[inline(always)]
fn judge(ipv4: &[u8; 20], ipv6: &[u8; 40], header_len: usize, received: usize) -> Result<Flow, DropReason> {
    let total = usize::from(u16_at::<2, 20>(ipv4));
    if total > received {
        return Err(DropReason::OuterMalformed);
    }
    // TUN-5
    if u8_at::<9, 20>(ipv4) != protocol::IPV6 {
        return Err(DropReason::NotProtocol41);
    }
    // TUN-10 [RFC 4213 §3.6]: reassembly comes first, and is not done here.
    if u16_at::<6, 20>(ipv4) & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) != 0 {
        return Err(DropReason::OuterFragment);
    }
    // TUN-11
    let Some(rest) = total.checked_sub(header_len.saturating_add(ipv6::HEADER_LEN)) else {
        return Err(DropReason::TooShort);
    };
    // TUN-15, TUN-14
    let (outer_source, outer_destination) = (ipv4_at::<12, 20>(ipv4), ipv4_at::<16, 20>(ipv4));
    if is_never_unicast(outer_source) {
        return Err(DropReason::OuterSourceRefused);
    }
    if is_never_unicast(outer_destination) {
        return Err(DropReason::OuterDestinationRefused);
    }
    // TUN-5, TUN-12
    if u8_at::<0, 40>(ipv6) >> 4 != 6 {
        return Err(DropReason::InnerVersion);
    }
    let payload_len = u16_at::<4, 40>(ipv6);
    let Some(padding) = rest.checked_sub(usize::from(payload_len)) else {
        return Err(DropReason::Truncated);
    };
    let next_header = u8_at::<6, 40>(ipv6);
    if payload_len == 0 && next_header == protocol::HOP_BY_HOP {
        return Err(DropReason::Jumbogram);
    }
    // TUN-16
    let inner_source = ipv6_at::<8, 40>(ipv6);
    if is_refused_inner_source(&inner_source) {
        return Err(DropReason::InnerSourceRefused);
    }
    Ok(Flow {
        outer_source,
        outer_destination,
        inner_source,
        inner_destination: ipv6_at::<24, 40>(ipv6),
        tos: u8_at::<1, 20>(ipv4),
        outer_ttl: u8_at::<8, 20>(ipv4),
        traffic_class: ipv6::traffic_class(ipv6),
        next_header,
        hop_limit: u8_at::<7, 40>(ipv6),
        // None of the three can be cut: header_len is at most 60, and the
        // others are not above the total length.
        header_len: u8::try_from(header_len).unwrap_or(u8::MAX),
        inner_len: payload_len.wrapping_add(40),
        padding: u16::try_from(padding).unwrap_or(u16::MAX),
    })
}

/// Outer and inner header of a packet without options.
#[inline(always)]
fn split(headers: &[u8; 60]) -> (&[u8; 20], &[u8; 40]) {
    const NONE4: [u8; 20] = [0; 20];
    const NONE6: [u8; 40] = [0; 40];
    (headers.first_chunk().unwrap_or(&NONE4), headers.last_chunk().unwrap_or(&NONE6))
}

/// A packet whose first byte is not that of a header without options.
#[cold]
fn with_options(outer: &[u8]) -> Result<Flow, DropReason> {
    let header = ipv4::Header::parse_quoted(outer).map_err(|_| DropReason::OuterMalformed)?;
    if !header.is_checksum_valid() {
        return Err(DropReason::OuterChecksum);
    }
    let ipv4 = outer.first_chunk().ok_or(DropReason::OuterMalformed)?;
    let header_len = header.header_len();
    // Options may leave less than the 40 bytes; what is not there is not
    // looked at either, because the total length then does not reach it.
    let mut ipv6 = [0; 40];
    if let Some(there) = header.payload().first_chunk() {
        ipv6 = *there;
    }
    judge(ipv4, &ipv6, header_len, outer.len())
}

/// Why a packet of fewer than 60 bytes is refused.
#[cold]
fn short(outer: &[u8]) -> DropReason {
    match with_options(outer) {
        Err(reason) => reason,
        Ok(_) => DropReason::TooShort,
    }
}

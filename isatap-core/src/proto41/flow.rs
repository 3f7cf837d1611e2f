//! What an outer packet is about, and the checks that need no mechanism.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{MOST_CARRIED, Outer, check_options, outer};
use crate::drop_reason::DropReason;
use crate::prefix::{Ipv6Prefix, halves, is_never_unicast, is_refused_inner_source};
use crate::wire::checksum;
use crate::wire::field::{ipv4_at, ipv6_at, u8_at, u16_at, u32_at, word_at};
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
    /// Bytes of outer header that the packet has: 20 to 60, 0 where it was
    /// taken off.
    pub header_len: u8,
    /// Bytes of inner packet: its header's 40 and its payload length.
    pub inner_len: u16,
    /// Bytes of what was judged: that outer header, the inner packet, and
    /// padding behind it.
    pub total_length: u16,
}

impl Flow {
    /// Judges an outer packet. Bytes behind its total length are ignored.
    ///
    /// The checks, in this order: the outer header is one of IPv4 and its
    /// checksum holds, the packet is there to its end, of protocol 41, not a
    /// fragment; its options are in order and none is a source route; it is
    /// long enough; outer source and destination can be unicast addresses; the
    /// inner packet is of IPv6 and there to its end; its source may come out of
    /// a tunnel.
    ///
    /// # Errors
    /// The first check that failed. A source `::` and whatever depends on the
    /// node's own addresses is left to the links.
    #[inline(always)]
    pub fn parse(outer: &[u8]) -> Result<Flow, DropReason> {
        // Both ways end in references to the headers, not in a flow, which
        // would go through memory: so links read the packet itself.
        let (ipv4, ipv6, header_len) = match outer.first_chunk::<60>().map(split) {
            Some((ipv4, ipv6)) if is_plain(ipv4, ipv6, outer.len()) => (ipv4, ipv6, ipv4::HEADER_LEN),
            _ => judge(outer)?,
        };
        Ok(flow(ipv4, ipv6, header_len))
    }

    /// [`Flow::parse`] of a packet whose outer header was taken off.
    ///
    /// # Errors
    /// As [`Flow::parse`], of what is left to be judged; a packet over UDP is
    /// [`DropReason::NotProtocol41`].
    #[inline]
    pub fn of(outer: &Outer, inner: &[u8]) -> Result<Flow, DropReason> {
        if outer.ports.is_some() {
            return Err(DropReason::NotProtocol41);
        }
        let Some(ipv6) = inner.first_chunk() else { return Err(DropReason::TooShort) };
        let (source, destination) = (outer.source, outer.destination);
        let ([from, ..], [to, ..]) = (source.octets(), destination.octets());
        let len = carried(inner);
        if !is_plain_inner(from, to, ipv6, i32::from(len).wrapping_sub(40)) {
            judge_inner(source, destination, ipv6, usize::from(len).saturating_sub(ipv6::HEADER_LEN))?;
        }
        Ok(Flow::made(outer, ipv6, len))
    }

    /// [`Flow::of`] where IPv4-compatible sources, `::192.0.2.1`, are let in:
    /// for the automatic tunnels of RFC 2893 alone. `TUN-72`
    ///
    /// # Errors
    /// As [`Flow::of`].
    #[inline]
    pub fn of_compatible(outer: &Outer, inner: &[u8]) -> Result<Flow, DropReason> {
        let len = carried(inner);
        let ipv6 = match inner.first_chunk() {
            Some(ipv6) if is_plainly_compatible(outer, ipv6, i32::from(len).wrapping_sub(40)) => ipv6,
            _ => judge_compatible(outer, inner)?,
        };
        Ok(Flow::made(outer, ipv6, len))
    }

    /// The fields, of headers that were judged.
    #[inline(always)]
    fn made(outer: &Outer, ipv6: &[u8; 40], len: u16) -> Flow {
        Flow {
            outer_source: outer.source,
            outer_destination: outer.destination,
            inner_source: ipv6_at::<8, 40>(ipv6),
            inner_destination: ipv6_at::<24, 40>(ipv6),
            tos: outer.tos,
            outer_ttl: outer.ttl,
            traffic_class: ipv6::traffic_class(ipv6),
            next_header: u8_at::<6, 40>(ipv6),
            hop_limit: u8_at::<7, 40>(ipv6),
            header_len: 0,
            inner_len: u16_at::<4, 40>(ipv6).wrapping_add(40),
            total_length: len,
        }
    }

    /// [`Flow::parse`] for callers that have no slice of the packet, such as
    /// a BPF program: both headers as arrays, the outer header's length and
    /// how many bytes of outer packet there are.
    ///
    /// With options (`header_len` beyond 20) neither they nor the checksum are
    /// judged, as they are not here: leave such packets to the IPv4 host.
    ///
    /// # Errors
    /// As [`Flow::parse`]; [`DropReason::OuterMalformed`] when `header_len` is
    /// not what the outer header says.
    pub fn from_headers(
        ipv4: &[u8; 20],
        ipv6: &[u8; 40],
        header_len: usize,
        received: usize,
    ) -> Result<Flow, DropReason> {
        if header_len == ipv4::HEADER_LEN && is_plain(ipv4, ipv6, received) {
            return Ok(flow(ipv4, ipv6, header_len));
        }
        let first = u8_at::<0, 20>(ipv4);
        if first >> 4 != 4 || header_len < ipv4::HEADER_LEN || ipv4::header_len(first) != header_len {
            return Err(DropReason::OuterMalformed);
        }
        if header_len == ipv4::HEADER_LEN && !checksum::is_header_valid(ipv4) {
            return Err(DropReason::OuterChecksum);
        }
        judge_headers(ipv4, &[], ipv6, header_len, received)?;
        Ok(flow(ipv4, ipv6, header_len))
    }

    /// A flow between these addresses, of a packet without anything special.
    #[cfg(test)]
    pub(crate) fn between(from: Ipv4Addr, to: Ipv4Addr, source: Ipv6Addr, destination: Ipv6Addr) -> Flow {
        Flow {
            outer_source: from,
            outer_destination: to,
            inner_source: source,
            inner_destination: destination,
            tos: 0,
            outer_ttl: 64,
            traffic_class: 0,
            next_header: protocol::UDP,
            hop_limit: 64,
            header_len: 20,
            inner_len: 48,
            total_length: 68,
        }
    }

    /// [`Flow::of_compatible`] of a packet that [`Flow::of`] has refused for its
    /// source.
    #[cold]
    pub(crate) fn of_refused(outer: &Outer, inner: &[u8]) -> Result<Flow, DropReason> {
        let ipv6 = judge_refused(inner.first_chunk().ok_or(DropReason::TooShort)?)?;
        Ok(Flow::made(outer, ipv6, carried(inner)))
    }

    /// Whether [`Flow::of_compatible`] alone lets its source in. `TUN-72`
    #[inline(always)]
    pub(crate) fn is_compatible(&self) -> bool {
        word_at::<0, 16>(&self.inner_source.octets()) == 0 && self.is_compatible_behind()
    }

    /// The same of the lower half alone. Out of line, so that packets pay for one comparison.
    #[cold]
    fn is_compatible_behind(&self) -> bool {
        let (_, low) = halves(&self.inner_source);
        low != 0 && low >> 32 == 0
    }

    /// Bytes between the end of the inner packet and that of the outer one.
    #[must_use]
    pub fn padding(&self) -> u16 {
        self.total_length.saturating_sub(u16::from(self.header_len)).saturating_sub(self.inner_len)
    }

    /// The inner packet without padding, of the bytes that were judged: for
    /// readers.
    /// Forwarding goes through [`decapsulate`](super::decapsulate), which
    /// must write.
    #[must_use]
    pub fn inner<'p>(&self, outer: &'p [u8]) -> &'p [u8] {
        let start = usize::from(self.header_len);
        outer.get(start..start.saturating_add(usize::from(self.inner_len))).unwrap_or(&[])
    }
}

/// Whether a packet without outer options is clearly in order, asked
/// word-wide. `false` says only that [`judge`] must look.
#[inline(always)]
fn is_plain(ipv4: &[u8; 20], ipv6: &[u8; 40], received: usize) -> bool {
    outer::is_plain(ipv4, protocol::IPV6, received)
        && is_plain_inner(
            u8_at::<12, 20>(ipv4),
            u8_at::<16, 20>(ipv4),
            ipv6,
            i32::from(u16_at::<2, 20>(ipv4)).wrapping_sub(60),
        )
}

/// The same of what is behind the outer header: the first bytes of its source
/// and destination, the inner header, and how many bytes there are behind that.
#[inline(always)]
fn is_plain_inner(source: u8, destination: u8, ipv6: &[u8; 40], room: i32) -> bool {
    is_plain_but_for_source(source, destination, ipv6, room)
        // All refused sources are multicast or have 64 zero bits in front.
        && u8_at::<8, 40>(ipv6) != 0xff
        && word_at::<8, 40>(ipv6) != 0
}

/// The same where the source is IPv4-compatible, and neither `::` nor `::1`.
#[inline(always)]
fn is_plainly_compatible(outer: &Outer, ipv6: &[u8; 40], room: i32) -> bool {
    let ([from, ..], [to, ..]) = (outer.source.octets(), outer.destination.octets());
    outer.ports.is_none()
        && word_at::<8, 40>(ipv6) == 0
        && u32_at::<16, 40>(ipv6) == 0
        && u32_at::<20, 40>(ipv6) > 1
        && is_plain_but_for_source(from, to, ipv6, room)
}

#[inline(always)]
fn is_plain_but_for_source(source: u8, destination: u8, ipv6: &[u8; 40], room: i32) -> bool {
    // An empty payload may be a jumbogram's: judge_inner() knows. Here it
    // becomes 65,535, which is longer than what a packet has room for.
    if i32::from(u16_at::<4, 40>(ipv6).wrapping_sub(1)) >= room {
        return false;
    }
    // 0 and 224 to 255 first, 127 then: asked one behind the other, the
    // compiler would compute both answers.
    let is_refused = |first: u8| first.wrapping_sub(1) >= 223;
    if is_refused(source) || is_refused(destination) {
        return false;
    }
    if source == 127 || destination == 127 {
        return false;
    }
    u8_at::<0, 40>(ipv6) & 0xf0 == 0x60
}

/// How many of these bytes an IPv4 packet can have carried.
#[inline(always)]
fn carried(inner: &[u8]) -> u16 {
    u16::try_from(inner.len().min(MOST_CARRIED.into())).unwrap_or(MOST_CARRIED)
}

/// The checks one by one, for packets that are not plain.
#[cold]
fn judge(outer: &[u8]) -> Result<(&[u8; 20], &[u8; 40], usize), DropReason> {
    let header = ipv4::Header::parse_quoted(outer).map_err(|_| DropReason::OuterMalformed)?;
    if !header.is_checksum_valid() {
        return Err(DropReason::OuterChecksum);
    }
    let ipv4 = outer.first_chunk().ok_or(DropReason::OuterMalformed)?;
    // With fewer than 40 bytes there the packet ends too early or is too
    // short, which is found before these zeros are looked at.
    let ipv6 = header.payload().first_chunk().unwrap_or(&[0; 40]);
    judge_headers(ipv4, header.options(), ipv6, header.header_len(), outer.len())?;
    Ok((ipv4, ipv6, header.header_len()))
}

/// The checks behind version, header length and checksum.
fn judge_headers(
    ipv4: &[u8; 20],
    options: &[u8],
    ipv6: &[u8; 40],
    header_len: usize,
    received: usize,
) -> Result<(), DropReason> {
    let total = usize::from(u16_at::<2, 20>(ipv4));
    if total > received || total < header_len {
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
    // TUN-11, SEC-12
    check_options(options)?;
    // TUN-11
    let Some(room) = total.checked_sub(header_len.saturating_add(ipv6::HEADER_LEN)) else {
        return Err(DropReason::TooShort);
    };
    judge_inner(ipv4_at::<12, 20>(ipv4), ipv4_at::<16, 20>(ipv4), ipv6, room)
}

/// The checks of [`Flow::of`], but for a source that is IPv4-compatible.
#[cold]
fn judge_compatible<'p>(outer: &Outer, inner: &'p [u8]) -> Result<&'p [u8; 40], DropReason> {
    let ipv6 = inner.first_chunk().ok_or(DropReason::TooShort);
    match Flow::of(outer, inner) {
        Ok(_) => ipv6,
        Err(DropReason::InnerSourceRefused) => judge_refused(ipv6?),
        Err(reason) => Err(reason),
    }
}

/// The inner header of a packet that was refused for its source, if that is
/// IPv4-compatible. The source is judged last, so everything else holds.
fn judge_refused(ipv6: &[u8; 40]) -> Result<&[u8; 40], DropReason> {
    let source = ipv6_at::<8, 40>(ipv6);
    let is_compatible = !source.is_loopback() && Ipv6Prefix::COMPATIBLE.contains(&source);
    is_compatible.then_some(ipv6).ok_or(DropReason::InnerSourceRefused)
}

/// The checks of what does not depend on how the outer header was read. `room`:
/// bytes behind the inner header.
fn judge_inner(source: Ipv4Addr, destination: Ipv4Addr, ipv6: &[u8; 40], room: usize) -> Result<(), DropReason> {
    // TUN-15, TUN-14
    if is_never_unicast(source) {
        return Err(DropReason::OuterSourceRefused);
    }
    if is_never_unicast(destination) {
        return Err(DropReason::OuterDestinationRefused);
    }
    // TUN-5
    if u8_at::<0, 40>(ipv6) >> 4 != 6 {
        return Err(DropReason::InnerVersion);
    }
    // TUN-12
    let payload_len = u16_at::<4, 40>(ipv6);
    if room < usize::from(payload_len) {
        return Err(DropReason::Truncated);
    }
    if payload_len == 0 && u8_at::<6, 40>(ipv6) == protocol::HOP_BY_HOP {
        return Err(DropReason::Jumbogram);
    }
    // TUN-16
    if is_refused_inner_source(&ipv6_at::<8, 40>(ipv6)) {
        return Err(DropReason::InnerSourceRefused);
    }
    Ok(())
}

/// The fields, from headers that were judged.
#[inline(always)]
fn flow(ipv4: &[u8; 20], ipv6: &[u8; 40], header_len: usize) -> Flow {
    Flow {
        outer_source: ipv4_at::<12, 20>(ipv4),
        outer_destination: ipv4_at::<16, 20>(ipv4),
        inner_source: ipv6_at::<8, 40>(ipv6),
        inner_destination: ipv6_at::<24, 40>(ipv6),
        tos: u8_at::<1, 20>(ipv4),
        outer_ttl: u8_at::<8, 20>(ipv4),
        traffic_class: ipv6::traffic_class(ipv6),
        next_header: u8_at::<6, 40>(ipv6),
        hop_limit: u8_at::<7, 40>(ipv6),
        // Neither can be cut: the one is at most 60, the other not above the
        // total length.
        header_len: u8::try_from(header_len).unwrap_or(u8::MAX),
        inner_len: u16_at::<4, 40>(ipv6).wrapping_add(40),
        total_length: u16_at::<2, 20>(ipv4),
    }
}

/// Outer and inner header of a packet without options.
#[inline(always)]
fn split(headers: &[u8; 60]) -> (&[u8; 20], &[u8; 40]) {
    const NONE4: [u8; 20] = [0; 20];
    const NONE6: [u8; 40] = [0; 40];
    (headers.first_chunk().unwrap_or(&NONE4), headers.last_chunk().unwrap_or(&NONE6))
}

#[cfg(test)]
mod tests;

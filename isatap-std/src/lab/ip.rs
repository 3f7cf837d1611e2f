//! What the world itself must understand of IPv4, IPv6 and ICMP: enough to
//! carry packets, cut and join them, and answer pings.
//!
//! Written without the core's wire formats on purpose: the lab judges them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv4 protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IPv4 protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IPv4 protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IPv4 protocol number of IPv6 in IPv4.
pub const PROTOCOL_IPV6: u8 = 41;
/// IPv6 next header of ICMPv6.
pub const NEXT_HEADER_ICMPV6: u8 = 58;

/// An IPv4 packet taken apart; the header checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Time to live, in routers.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// The identification.
    pub identification: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Whether further fragments follow.
    pub more_fragments: bool,
    /// Where the payload lies in the whole packet's, in bytes.
    pub offset: usize,
    /// Options, a multiple of 4 bytes.
    pub options: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Takes `bytes` apart; `None`: no IPv4 packet, or a wrong checksum.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; 20] = bytes.first_chunk()?;
        let header_len = usize::from(header[0] & 15) * 4;
        let total = usize::from(u16_at(bytes, 2));
        if header[0] >> 4 != 4 || header_len < 20 || header_len > total || total > bytes.len() {
            return None;
        }
        if checksum(&[&bytes[..header_len]]) != 0 {
            return None;
        }
        let fragment = u16_at(bytes, 6);
        Some(Ipv4 {
            source: Ipv4Addr::from_octets([header[12], header[13], header[14], header[15]]),
            destination: Ipv4Addr::from_octets([header[16], header[17], header[18], header[19]]),
            protocol: header[9],
            ttl: header[8],
            tos: header[1],
            identification: u16_at(bytes, 4),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            offset: usize::from(fragment & 0x1fff) * 8,
            options: &bytes[20..header_len],
            payload: &bytes[header_len..total],
        })
    }

    /// The packet's bytes, checksum and all.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut out = Vec::with_capacity(header_len + self.payload.len());
        out.push(0x40 | low_byte(header_len / 4));
        out.push(self.tos);
        out.extend(low_word(header_len + self.payload.len()).to_be_bytes());
        out.extend(self.identification.to_be_bytes());
        out.extend((flags | low_word(self.offset / 8)).to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        out.extend(self.options);
        let sum = checksum(&[&out]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(self.payload);
        out
    }

    /// Whether it is a part of a packet.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.offset != 0
    }

    /// Length of the packet in bytes, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        20 + self.options.len() + self.payload.len()
    }

    /// Whether there is no payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The packet in parts of at most `mtu` bytes. Options stay in the first
    /// part only, as if none had the copied bit. [RFC 791 §3.2]
    #[must_use]
    pub fn fragments(&self, mtu: usize) -> Vec<Vec<u8>> {
        if self.len() <= mtu {
            return vec![self.emit()];
        }
        let mut parts = Vec::new();
        let mut rest = self.payload;
        let mut part = *self;
        while !rest.is_empty() {
            let room = mtu.saturating_sub(20 + part.options.len()).max(8);
            let take = if rest.len() <= room { rest.len() } else { room / 8 * 8 };
            let (now, later) = rest.split_at(take);
            part.payload = now;
            part.more_fragments = self.more_fragments || !later.is_empty();
            parts.push(part.emit());
            part.offset += take;
            part.options = &[];
            rest = later;
        }
        parts
    }
}

/// An IPv6 packet taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
    /// What the payload is.
    pub next_header: u8,
    /// Routers that it may still pass.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Takes `bytes` apart; `None`: no IPv6 packet, or not all of it.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; 40] = bytes.first_chunk()?;
        let length = usize::from(u16_at(bytes, 4));
        if header[0] >> 4 != 6 {
            return None;
        }
        Some(Ipv6 {
            source: ipv6_at(header, 8),
            destination: ipv6_at(header, 24),
            next_header: header[6],
            hop_limit: header[7],
            traffic_class: header[0] << 4 | header[1] >> 4,
            payload: bytes.get(40..40 + length)?,
        })
    }

    /// The packet's bytes, with flow label 0.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = vec![0x60 | self.traffic_class >> 4, self.traffic_class << 4, 0, 0];
        out.extend(low_word(self.payload.len()).to_be_bytes());
        out.extend([self.next_header, self.hop_limit]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        out.extend(self.payload);
        out
    }

    /// The ICMPv6 message in it, if its checksum holds: type, code, the rest.
    #[must_use]
    pub fn icmpv6(&self) -> Option<(u8, u8, &'a [u8])> {
        if self.next_header != NEXT_HEADER_ICMPV6 || self.payload.len() < 8 {
            return None;
        }
        let sum = icmpv6_checksum(&self.source, &self.destination, self.payload);
        if sum == 0 { Some((self.payload[0], self.payload[1], &self.payload[4..])) } else { None }
    }
}

/// An IPv6 packet with an ICMPv6 message of type, code 0 and `body` (behind
/// the checksum).
#[must_use]
pub fn icmpv6_packet(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(body);
    let sum = icmpv6_checksum(&source, &destination, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ipv6 { source, destination, next_header: NEXT_HEADER_ICMPV6, hop_limit, traffic_class: 0, payload: &message }.emit()
}

/// An IPv4 packet around an IPv6 one, as a forger would make it: TTL 64, no
/// DF, identification 0.
#[must_use]
pub fn protocol41_packet(source: Ipv4Addr, destination: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    ipv4_packet(source, destination, PROTOCOL_IPV6, inner)
}

/// A plain IPv4 packet: TTL 64, no DF, identification 0.
#[must_use]
pub fn ipv4_packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    Ipv4 {
        source,
        destination,
        protocol,
        ttl: 64,
        tos: 0,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        offset: 0,
        options: &[],
        payload,
    }
    .emit()
}

/// An echo request of `size` bytes in all (at least 48), whose data counts
/// up.
#[must_use]
pub fn echo_request(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    id: u16,
    sequence: u16,
    size: usize,
) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(sequence.to_be_bytes());
    body.extend((0..size.saturating_sub(48)).map(low_byte));
    icmpv6_packet(source, destination, hop_limit, 128, &body)
}

/// The reply to an echo request that was sent to a unicast address; `None`:
/// it is none.
#[must_use]
pub fn echo_reply(request: &[u8]) -> Option<Vec<u8>> {
    let request = Ipv6::parse(request)?;
    let (128, 0, body) = request.icmpv6()? else { return None };
    if request.destination.is_multicast() || request.source.is_multicast() || request.source.is_unspecified() {
        return None;
    }
    Some(icmpv6_packet(request.destination, request.source, 64, 129, body))
}

/// The Internet checksum over `parts`, all but the last of even length.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).map_or(0, |sum| !sum)
}

fn icmpv6_checksum(source: &Ipv6Addr, destination: &Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    checksum(&[&source.octets(), &destination.octets(), &length, &[0, 0, 0, NEXT_HEADER_ICMPV6], message])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn ipv6_at(bytes: &[u8], at: usize) -> Ipv6Addr {
    bytes[at..].first_chunk::<16>().map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
}

fn low_byte(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or(0)
}

fn low_word(value: usize) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn fragments_of_every_mtu_carry_the_payload_in_multiples_of_eight() {
        let payload: Vec<u8> = (0..3000).map(low_byte).collect();
        let whole = ipv4_packet(A, B, 41, &payload);
        let whole = Ipv4::parse(&whole).unwrap();
        for mtu in [68, 100, 576, 1280, 1499, 3019] {
            let mut joined = vec![0; payload.len()];
            let parts = whole.fragments(mtu);
            for (n, bytes) in parts.iter().enumerate() {
                let part = Ipv4::parse(bytes).unwrap();
                assert!(part.len() <= mtu);
                assert_eq!(part.more_fragments, n + 1 < parts.len());
                assert!(n + 1 == parts.len() || part.payload.len().is_multiple_of(8));
                joined[part.offset..part.offset + part.payload.len()].copy_from_slice(part.payload);
            }
            assert_eq!(joined, payload);
        }
        assert_eq!(whole.fragments(3020), [whole.emit()]);
    }

    #[test]
    fn the_solicitation_of_the_vectors_is_taken_apart_and_made_again() {
        // RS of 10.0.0.2 to 10.0.0.1.
        let hex = "45000044000000004029668f0a0000020a000001\
                   6000000000083afffe8000000000000000005efe0a000002fe8000000000000000005efe0a000001\
                   8500abbb00000000";
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let outer = Ipv4::parse(&bytes).unwrap();
        assert_eq!((outer.source, outer.destination, outer.protocol), (A, B, 41));
        let inner = Ipv6::parse(outer.payload).unwrap();
        assert_eq!(inner.icmpv6(), Some((133, 0, &[0; 4][..])));
        let again = icmpv6_packet(inner.source, inner.destination, 255, 133, &[0; 4]);
        assert_eq!(protocol41_packet(A, B, &again), bytes);
        for at in 0..20 {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(Ipv4::parse(&bad).is_none(), "the checksum covers byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(Ipv4::parse(&bytes[..len]).is_none());
        }
    }

    #[test]
    fn an_echo_request_is_answered_with_its_own_data() {
        let (c, d) = ("2001:db8::c".parse().unwrap(), "2001:db8::d".parse().unwrap());
        let request = echo_request(c, d, 64, 7, 9, 100);
        assert_eq!(request.len(), 100);
        let reply = echo_reply(&request).unwrap();
        let reply = Ipv6::parse(&reply).unwrap();
        assert_eq!((reply.source, reply.destination), (d, c));
        assert!(matches!(reply.icmpv6(), Some((129, 0, [0, 7, 0, 9, ..]))));
        assert_eq!(reply.payload[4..], request[44..]);
        assert!(echo_reply(&reply.emit()).is_none());
        assert!(echo_reply(&echo_request(c, "ff02::1".parse().unwrap(), 64, 7, 9, 48)).is_none());
    }
}

//! Packets as they were on the wire, from what a capture shows of them.
//!
//! A capture that is made on the sending machine shows packets before the network card has
//! finished them; one with a snap length shows their first bytes. What is missing is filled in,
//! always to the packet's advantage: a refusal is owed to bytes that are there.

use std::fmt;
use std::net::Ipv6Addr;

use isatap_core::packet::{HEADROOM, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::teredo::ingress;
use isatap_core::wire::checksum::{self, Sum};
use isatap_core::wire::icmpv6::Message;
use isatap_core::wire::{ipv4, ipv6, protocol};

/// What was taken for granted when a packet was judged, or why it may have been refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Note {
    /// The capture does not hold all of the packet.
    Cut,
    /// The IPv4 header checksum is zero and does not hold.
    ChecksumUnset,
    /// The UDP checksum is that of the pseudo-header alone.
    UdpChecksumUnset,
    /// The IPv4 total length is zero.
    LengthUnset,
    /// The sender of a refused packet is the end of a configured tunnel.
    ConfiguredEnd,
}

impl Note {
    /// The note in kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Note::Cut => "cut",
            Note::ChecksumUnset => "checksum-unset",
            Note::UdpChecksumUnset => "udp-checksum-unset",
            Note::LengthUnset => "length-unset",
            Note::ConfiguredEnd => "configured-end",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Note::Cut => "The capture holds the start of the packet only; the rest counts as right.",
            Note::ChecksumUnset => {
                "The IPv4 checksum is 0: captured on the sender, before its network card filled it in."
            }
            Note::UdpChecksumUnset => {
                "The UDP checksum is not complete: captured on the sender, before its network card filled it in."
            }
            Note::LengthUnset => {
                "The IPv4 length is 0: segmentation offload, captured before the sender's network card cut it up."
            }
            Note::ConfiguredEnd => {
                "The sender's link-local address is a configured tunnel's (Cisco: tunnel mode ipv6ip): set it to ISATAP \
                 there (tunnel mode ipv6ip isatap), or use isatap tunnel here."
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// A packet, whole again.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    /// How many of them the capture holds.
    pub(super) known: usize,
    pub(super) notes: Vec<Note>,
}

impl Whole {
    /// The packet of `length` bytes that begins with `captured`, which has an IPv4 header.
    pub(super) fn new(captured: &[u8], length: usize, header: &ipv4::Header<'_>) -> Self {
        let mut notes = Vec::new();
        let mut bytes = captured.to_vec();
        // No IPv4 packet is longer.
        bytes.resize(length.clamp(captured.len(), captured.len().max(MOST)), 0);
        let mut is_header_open = false;
        if header.total_length() == 0 {
            let total = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            put(&mut bytes, 2, &total.to_be_bytes());
            let at = header.header_len();
            let room = total.saturating_sub(u16::try_from(at + ipv6::HEADER_LEN).unwrap_or(u16::MAX));
            // The same card cuts the inner packet.
            let has_payload = |next: &u8| *next != protocol::NO_NEXT_HEADER && *next != protocol::HOP_BY_HOP;
            if header.protocol() == protocol::IPV6
                && bytes.get(at + 4..at + 6) == Some(&[0, 0])
                && bytes.get(at + 6).is_some_and(has_payload)
            {
                put(&mut bytes, at + 4, &room.to_be_bytes());
            }
            notes.push(Note::LengthUnset);
            is_header_open = true;
        } else if header.checksum() == 0 && !header.is_checksum_valid() {
            notes.push(Note::ChecksumUnset);
            is_header_open = true;
        }
        if is_header_open && let Some(range) = bytes.get_mut(..header.header_len()) {
            put(range, 10, &[0, 0]);
            let sum = checksum::checksum(range);
            put(range, 10, &sum.to_be_bytes());
        }
        let stated = ipv4::Header::parse_quoted(&bytes).map_or(0, |header| usize::from(header.total_length()));
        if captured.len() < bytes.len().min(stated) {
            notes.push(Note::Cut);
        }
        let mut whole = Whole { bytes, known: captured.len(), notes };
        whole.complete_udp(header);
        if let Some(at) = whole.inner() {
            whole.complete_inner(at);
        }
        whole
    }

    /// The packet as it is.
    pub(super) fn received(packet: &[u8]) -> Self {
        Whole { bytes: packet.to_vec(), known: packet.len(), notes: Vec::new() }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.notes.contains(&Note::Cut)
    }

    /// Where the inner packet starts, if there is one.
    pub(super) fn inner(&self) -> Option<usize> {
        let header = ipv4::Header::parse_quoted(&self.bytes).ok()?;
        if header.fragment_offset() != 0 {
            return None;
        }
        match header.protocol() {
            protocol::IPV6 => Some(header.header_len()),
            protocol::UDP => {
                let mut buffer = vec![0; HEADROOM];
                buffer.extend(&self.bytes);
                let end = buffer.len();
                let mut payload = PacketMut::new(&mut buffer, HEADROOM..end).ok()?;
                Outer::pull(&mut payload).ok()?;
                let (datagram, _) = ingress::parse(payload.as_slice()).ok()?;
                Some(header.header_len() + UDP_HEADER + datagram.inner_range().start)
            }
            _ => None,
        }
    }

    /// The inner source and destination, as far as the capture holds them.
    pub(super) fn inner_addresses(&self) -> (Option<Ipv6Addr>, Option<Ipv6Addr>) {
        let Some(at) = self.inner() else { return (None, None) };
        let there = self.bytes.get(at..self.known.min(self.bytes.len())).unwrap_or(&[]);
        if there.first().is_none_or(|first| first >> 4 != 6) {
            return (None, None);
        }
        let address = |at: usize| there.get(at..)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
        (address(SOURCE), address(DESTINATION))
    }

    /// How many bytes of the inner header the capture holds.
    pub(super) fn known_of_inner_header(&self, at: usize) -> usize {
        self.known.saturating_sub(at).min(ipv6::HEADER_LEN)
    }

    /// The same packet to another inner destination, if what is captured of the destination
    /// fits.
    pub(super) fn to(&self, at: usize, destination: Ipv6Addr) -> Option<Vec<u8>> {
        let octets = destination.octets();
        let known = self.known_of_inner_header(at).checked_sub(DESTINATION)?;
        let start = at + DESTINATION;
        if self.bytes.get(start..start + known)? != octets.get(..known)? {
            return None;
        }
        let mut bytes = self.bytes.clone();
        put(&mut bytes, start, &octets);
        Some(bytes)
    }

    /// The same packet with an inner header that no rule about the outer one minds.
    pub(super) fn with_any_inner(&self, at: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let total = ipv4::Header::parse_quoted(&bytes).map_or(0, |header| usize::from(header.total_length()));
        let room = u16::try_from(total.saturating_sub(at + ipv6::HEADER_LEN)).unwrap_or(0);
        let [high, low] = room.to_be_bytes();
        put(&mut bytes, at, &[0x60, 0, 0, 0, high, low, protocol::NO_NEXT_HEADER, 64]);
        put(&mut bytes, at + SOURCE, &ANY_SOURCE.octets());
        put(&mut bytes, at + DESTINATION, &ANY_SOURCE.octets());
        bytes
    }

    /// A UDP checksum that nobody could have computed from what is here: none.
    fn complete_udp(&mut self, header: &ipv4::Header<'_>) {
        if header.protocol() != protocol::UDP || header.is_fragment() {
            return;
        }
        let at = header.header_len();
        let Some(&[length_high, length_low, high, low]) = self.bytes.get(at + 4..at + UDP_HEADER) else { return };
        let length = u16::from_be_bytes([length_high, length_low]);
        let pseudo = checksum::pseudo_header_ipv4(header.source(), header.destination(), protocol::UDP, length);
        let is_open = u16::from_be_bytes([high, low]) == pseudo.fold();
        if is_open {
            self.notes.push(Note::UdpChecksumUnset);
        }
        if is_open || self.is_cut() {
            put(&mut self.bytes, at + 6, &[0, 0]);
        }
    }

    /// Fills in what follows the inner header at `at`.
    fn complete_inner(&mut self, at: usize) {
        if !self.is_cut() || self.known_of_inner_header(at) < DESTINATION {
            return;
        }
        let known = self.known;
        let Some(bytes) = self.bytes.get_mut(at..) else { return };
        let Ok(header) = ipv6::Header::parse(bytes) else { return };
        let end = header.packet_len();
        let (source, destination) = (header.source(), header.destination());
        let bytes = bytes.get_mut(..end).unwrap_or(&mut []);
        let known = known.saturating_sub(at);
        let Some((next, from)) = upper_layer(bytes, known) else { return };
        if next != protocol::ICMPV6 || from >= known {
            return;
        }
        let fixed = match bytes.get(from) {
            Some(&Message::ROUTER_SOLICITATION) => 8,
            Some(&Message::ROUTER_ADVERTISEMENT) => 16,
            Some(&Message::NEIGHBOR_SOLICITATION) => {
                // Asked for is whom it is sent to.
                complete_address(bytes, from + 8, destination, known);
                24
            }
            Some(&Message::NEIGHBOR_ADVERTISEMENT) => {
                complete_address(bytes, from + 8, source, known);
                24
            }
            Some(&Message::REDIRECT) => {
                complete_address(bytes, from + 8, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), known);
                complete_address(bytes, from + 24, ANY_SOURCE, known);
                40
            }
            _ => return,
        };
        complete_options(bytes, from + fixed, known);
        let Some(message) = bytes.get_mut(from..) else { return };
        put(message, 2, &[0, 0]);
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let pseudo = checksum::pseudo_header_ipv6(&source, &destination, protocol::ICMPV6, length);
        let sum = Sum::bytes(pseudo, message).checksum();
        put(message, 2, &sum.to_be_bytes());
    }
}

/// The upper layer of an IPv6 packet of which `known` bytes are there, and where it starts. The
/// chain of headers ends where it is not known how it goes on.
fn upper_layer(packet: &mut [u8], known: usize) -> Option<(u8, usize)> {
    let (mut next, mut at) = (*packet.get(6)?, ipv6::HEADER_LEN);
    for _ in 0..=ipv6::MAX_EXTENSION_HEADERS {
        let unit = match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS | protocol::MOBILITY => 8,
            protocol::AUTHENTICATION => 4,
            _ => return Some((next, at)),
        };
        if at >= known {
            *packet.get_mut(at)? = protocol::NO_NEXT_HEADER;
        }
        let &[following, length, ..] = packet.get(at..)? else { return None };
        next = following;
        at += if unit == 8 { (usize::from(length) + 1) * 8 } else { (usize::from(length) + 2) * 4 };
    }
    None
}

/// Overwrites those bytes of the address at `at` that are not known.
fn complete_address(packet: &mut [u8], at: usize, with: Ipv6Addr, known: usize) {
    let missing = known.clamp(at, at + 16);
    put(packet, missing, with.octets().get(missing - at..).unwrap_or(&[]));
}

/// Makes one option of an unknown type of what is not known of the options at `at`.
fn complete_options(packet: &mut [u8], mut at: usize, known: usize) {
    /// RFC 4727 §5.1.3: for experiments.
    const EXPERIMENT: u8 = 253;
    while at < packet.len() {
        match packet.get(at + 1) {
            // Discarded for what is there.
            Some(0) if at + 1 < known => return,
            Some(&length) if at + 1 < known => at += 8 * usize::from(length),
            _ => {
                let left = (packet.len() - at) / 8;
                let Ok(length @ 1..) = u8::try_from(left.min(255)) else { return };
                if at >= known {
                    put(packet, at, &[EXPERIMENT]);
                }
                put(packet, at + 1, &[length]);
                at += 8 * usize::from(length);
            }
        }
    }
}

/// Overwrites bytes, if there are as many.
fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

/// The UDP ports of a packet, source first, if it has some.
pub(super) fn ports(packet: &[u8], header: &ipv4::Header<'_>) -> Option<(u16, u16)> {
    let at = header.header_len();
    let &[a, b, c, d] = packet.get(at..at + 4)? else { return None };
    let is_first = header.fragment_offset() == 0 && header.protocol() == protocol::UDP;
    is_first.then_some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Bytes of the longest IPv4 packet.
const MOST: usize = 65_535;
const UDP_HEADER: usize = 8;
/// Where an IPv6 header has its source and its destination.
const SOURCE: usize = 8;
pub(super) const DESTINATION: usize = 24;
/// No mechanism's, and no address that is never a source.
const ANY_SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

//! Joining what the kernel has not joined, before it goes to the TUN device.

use super::checksum::pseudo_header;
use super::{IPV6_HEADER, PartialChecksum, SegmentKind, Segmentation, TCP_CHECKSUM, VirtioHeader, classify, word_at};
use isatap_core::wire::checksum::Sum;
use isatap_core::wire::protocol::TCP;
use std::num::NonZeroU16;
use std::ops::Range;

const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const TCP_FLAGS: usize = IPV6_HEADER + 13;
/// IPv6 and TCP with all options.
const MOST_HEADERS: usize = IPV6_HEADER + 60;

/// Joins TCP segments that follow each other in a batch of received packets, so that
/// they cross the TUN device in one write.
///
/// Only segments that can be cut again into exactly what came are joined: one
/// flow, one after the other, the same acknowledgment, window, options and traffic class,
/// no flags but ACK and a PSH that ends the join, all of one size but the last. Each checksum
/// is verified first, since a joined packet has none that a receiver could check. Everything else
/// passes as [`classify`] says. Within a flow the order stays.
///
/// Nothing is copied but headers: a [`Joined`] names pieces of the packets, for a
/// gathering write ([`Tun::write_joined`](crate::tun::Tun::write_joined) on Linux).
///
/// ```
/// # use isatap_std::offload::Coalescer;
/// # let packets: Vec<Vec<u8>> = vec![];
/// let mut coalescer = Coalescer::new();
/// for (index, packet) in packets.iter().enumerate() {
///     coalescer.push(index, packet);
/// }
/// for joined in coalescer.joined() {
///     // tun.write_joined(&joined, |index| &packets[index])
///     let pieces = joined.parts.iter().map(|part| &packets[part.packet][part.range.clone()]);
///     let bytes: usize = joined.headers.len() + pieces.map(<[u8]>::len).sum::<usize>();
/// }
/// coalescer.clear();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Coalescer {
    // Those after `used` are kept for their memory.
    groups: Vec<Group>,
    used: usize,
}

/// One write to the TUN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined<'c> {
    /// What the device is to be told.
    pub header: VirtioHeader,
    /// The headers, when they are not those of the first packet; else empty.
    pub headers: &'c [u8],
    /// What follows, in order.
    pub parts: &'c [Part],
}

/// A piece of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number under which the packet was pushed.
    pub packet: usize,
    /// Where in the packet.
    pub range: Range<usize>,
}

impl Coalescer {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next decapsulated IPv6 packet under a number of the caller's.
    pub fn push(&mut self, number: usize, packet: &[u8]) {
        let header = classify(packet);
        let segment = Segment::of(packet, &header);
        if let (Some(segment), Some(headers)) = (&segment, packet.get(..MOST_HEADERS.min(packet.len()))) {
            let open = self.groups.get_mut(..self.used).unwrap_or_default();
            let same = open.iter_mut().rev().find(|group| group.is_flow_of(headers));
            if let Some(group) = same {
                if group.append(number, headers, segment) {
                    return;
                }
                group.open = false;
            }
        } else if let Some(headers) = packet.get(..IPV6_HEADER + 4).filter(|h| h[6] == TCP) {
            // An acknowledgment or a FIN must not be overtaken by later segments.
            let open = self.groups.get_mut(..self.used).unwrap_or_default();
            for group in open.iter_mut().filter(|group| group.is_flow_of(headers)) {
                group.open = false;
            }
        }
        if self.used == self.groups.len() {
            self.groups.push(Group::default());
        }
        if let Some(group) = self.groups.get_mut(self.used) {
            group.start(number, packet, header, segment);
        }
        self.used += 1;
    }

    /// What is to be written, in order.
    pub fn joined(&mut self) -> impl Iterator<Item = Joined<'_>> {
        self.groups.iter_mut().take(self.used).map(Group::seal)
    }

    /// Forgets everything; the numbers may be used again.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

/// A TCP segment that may be joined to others.
#[derive(Clone, Copy, Debug)]
struct Segment {
    header_len: usize,
    payload_len: u16,
    sequence: u32,
    pushed: bool,
}

impl Segment {
    fn of(packet: &[u8], header: &VirtioHeader) -> Option<Self> {
        if header.segmentation.is_some() || *packet.get(6)? != TCP || *packet.first()? >> 4 != 6 {
            return None;
        }
        let flags = *packet.get(TCP_FLAGS)?;
        if flags & !PSH != ACK {
            return None;
        }
        let tcp_len = usize::from(packet.get(IPV6_HEADER + 12)? >> 4) * 4;
        let header_len = IPV6_HEADER + tcp_len;
        let length = usize::from(word_at(packet, 4)?) + IPV6_HEADER;
        let payload_len = packet.len().checked_sub(header_len)?;
        if tcp_len < 20 || payload_len == 0 || length != packet.len() {
            return None;
        }
        if header.checksum.is_none() {
            let addresses = Sum::ZERO.bytes(packet.get(8..IPV6_HEADER)?);
            let pseudo = pseudo_header(addresses, TCP, packet.len() - IPV6_HEADER);
            if !pseudo.bytes(packet.get(IPV6_HEADER..)?).is_valid() {
                return None;
            }
        }
        Some(Self {
            header_len,
            payload_len: u16::try_from(payload_len).ok()?,
            sequence: u32::from_be_bytes(*packet.get(IPV6_HEADER + 4..)?.first_chunk()?),
            pushed: flags & PSH != 0,
        })
    }
}

#[derive(Clone, Debug)]
struct Group {
    header: VirtioHeader,
    // The first packet's, as it came.
    headers: [u8; MOST_HEADERS],
    headers_len: usize,
    parts: Vec<Part>,
    open: bool,
    /// Length of the first segment's payload: that of all but the last.
    size: u16,
    payload_len: usize,
    next_sequence: u32,
    pushed: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            header: VirtioHeader::default(),
            headers: [0; MOST_HEADERS],
            headers_len: 0,
            parts: Vec::new(),
            open: false,
            size: 0,
            payload_len: 0,
            next_sequence: 0,
            pushed: false,
        }
    }
}

impl Group {
    fn start(&mut self, number: usize, packet: &[u8], header: VirtioHeader, segment: Option<Segment>) {
        self.header = header;
        self.parts.clear();
        self.parts.push(Part { packet: number, range: 0..packet.len() });
        self.headers_len = 0;
        self.open = false;
        if let Some(segment) = segment {
            let from = packet.get(..segment.header_len).unwrap_or_default();
            if let Some(to) = self.headers.get_mut(..from.len()) {
                to.copy_from_slice(from);
                self.headers_len = from.len();
                self.size = segment.payload_len;
                self.payload_len = 0;
                self.open = true;
                self.count(&segment);
            }
        }
    }

    /// Addresses and ports are the same; never so for what cannot be joined at all.
    fn is_flow_of(&self, headers: &[u8]) -> bool {
        const FLOW: Range<usize> = 8..IPV6_HEADER + 4;
        self.open && self.headers.get(FLOW) == headers.get(FLOW)
    }

    fn append(&mut self, number: usize, headers: &[u8], segment: &Segment) -> bool {
        // Version, traffic class and flow label; next header and hop limit;
        // acknowledgment and data offset; window; urgent pointer and options.
        let end = segment.header_len;
        let same = [0..4, 6..8, 48..53, 54..56, 58..end];
        let total = self.headers_len + self.payload_len + usize::from(segment.payload_len);
        let fits = segment.sequence == self.next_sequence
            && segment.header_len == self.headers_len
            && segment.payload_len <= self.size
            && total - IPV6_HEADER <= usize::from(u16::MAX)
            && same.into_iter().all(|range| self.headers.get(range.clone()) == headers.get(range));
        if !fits {
            return false;
        }
        if self.parts.len() == 1
            && let Some(first) = self.parts.first_mut()
        {
            // Its headers now come from here.
            first.range.start = self.headers_len;
        }
        self.parts.push(Part {
            packet: number,
            range: segment.header_len..segment.header_len + usize::from(segment.payload_len),
        });
        self.count(segment);
        true
    }

    fn count(&mut self, segment: &Segment) {
        self.payload_len += usize::from(segment.payload_len);
        self.next_sequence = segment.sequence.wrapping_add(segment.payload_len.into());
        self.pushed = segment.pushed;
        // After a short one or a PSH nothing can follow that would be cut alike.
        self.open = segment.payload_len == self.size && !segment.pushed;
    }

    fn seal(&mut self) -> Joined<'_> {
        if self.parts.len() == 1 {
            return Joined { header: self.header, headers: &[], parts: &self.parts };
        }
        let tcp_len = self.headers_len - IPV6_HEADER + self.payload_len;
        let addresses = Sum::ZERO.bytes(self.headers.get(8..IPV6_HEADER).unwrap_or_default());
        let pseudo = pseudo_header(addresses, TCP, tcp_len).fold().to_be_bytes();
        let length = u16::try_from(tcp_len).unwrap_or(u16::MAX).to_be_bytes();
        let field = IPV6_HEADER + usize::from(TCP_CHECKSUM);
        self.headers[4..6].copy_from_slice(&length);
        self.headers[field..field + 2].copy_from_slice(&pseudo);
        if self.pushed {
            self.headers[TCP_FLAGS] |= PSH;
        }
        // At most 100 and 40: see MOST_HEADERS.
        let small = |length: usize| u16::try_from(length).unwrap_or_default();
        Joined {
            header: VirtioHeader {
                checksum: Some(PartialChecksum { start: small(IPV6_HEADER), offset: TCP_CHECKSUM }),
                segmentation: NonZeroU16::new(self.size).map(|size| Segmentation {
                    kind: SegmentKind::Tcp,
                    size,
                    header_len: small(self.headers_len),
                    ecn: false,
                }),
            },
            headers: self.headers.get(..self.headers_len).unwrap_or_default(),
            parts: &self.parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Segments, oracle};
    use super::*;
    use proptest::prelude::*;

    /// What the device would get.
    fn join(packets: &[Vec<u8>]) -> Vec<(VirtioHeader, Vec<u8>)> {
        let mut coalescer = Coalescer::new();
        // Twice: what a first batch leaves behind must not show in the second.
        for _ in 0..2 {
            coalescer.clear();
            for (number, packet) in packets.iter().enumerate() {
                coalescer.push(number, packet);
            }
        }
        coalescer
            .joined()
            .map(|joined| {
                let mut bytes = joined.headers.to_vec();
                for part in joined.parts {
                    bytes.extend_from_slice(&packets[part.packet][part.range.clone()]);
                }
                (joined.header, bytes)
            })
            .collect()
    }

    /// What a device would make of it again.
    fn cut(joined: &[(VirtioHeader, Vec<u8>)]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut out = vec![0; 70_000];
        for (header, packet) in joined {
            let mut segments = Segments::new(packet, header).unwrap();
            while let Some(length) = segments.next_into(&mut out) {
                packets.push(out[..length].to_vec());
            }
        }
        packets
    }

    fn stream(sizes: &[usize], last_flags: u8) -> Vec<Vec<u8>> {
        let mut sequence = u32::MAX - 2000;
        let mut packets = Vec::new();
        for (index, &size) in sizes.iter().enumerate() {
            let flags = if index + 1 == sizes.len() { last_flags } else { 0x10 };
            packets.push(oracle::tcp_packet(sequence, flags, &vec![index as u8; size]));
            sequence = sequence.wrapping_add(size as u32);
        }
        packets
    }

    #[test]
    fn a_run_of_segments_is_one_write() {
        let packets = stream(&[1200, 1200, 1200, 700], 0x18);
        let joined = join(&packets);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].0.segmentation.map(|cut| cut.size.get()), Some(1200));
        assert_eq!(cut(&joined), packets);
    }

    #[test]
    fn what_cannot_be_cut_alike_stays_apart() {
        let base = || oracle::tcp_packet(1, 0x10, &[1; 100]);
        let follower = |change: fn(&mut Vec<u8>)| {
            let mut packet = oracle::tcp_packet(101, 0x10, &[2; 100]);
            change(&mut packet);
            oracle::make_partial(&mut packet);
            packet
        };
        assert_eq!(join(&[base(), follower(|_| ())]).len(), 1);
        let changes: [fn(&mut Vec<u8>); 11] = [
            |p| p[1] ^= 0x10,  // ECN
            |p| p[3] ^= 1,     // flow label
            |p| p[7] ^= 1,     // hop limit
            |p| p[9] ^= 1,     // source address
            |p| p[41] ^= 1,    // source port
            |p| p[47] ^= 1,    // sequence number
            |p| p[51] ^= 1,    // acknowledgment
            |p| p[55] ^= 1,    // window
            |p| p[67] ^= 1,    // timestamp
            |p| p[53] |= 0x20, // URG
            |p| p[53] |= 0x01, // FIN
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let packets = [base(), follower(change)];
            assert_eq!(join(&packets).len(), 2, "change {index}");
        }
        // Larger than the first; then after a smaller one.
        assert_eq!(join(&stream(&[100, 101], 0x10)).len(), 2);
        assert_eq!(join(&stream(&[100, 99, 99], 0x10)).len(), 2);
    }

    #[test]
    fn a_damaged_segment_is_passed_on_as_it_is() {
        let mut packets = stream(&[500, 500, 500], 0x10);
        packets[1][100] ^= 0x40;
        let joined = join(&packets);
        assert_eq!(joined.len(), 3);
        assert_eq!(cut(&joined), packets);
        assert!(!oracle::verifies(&joined[1].1), "damage must stay visible");
    }

    #[test]
    fn order_within_a_flow_stays() {
        // Segment, bare acknowledgment, segment: the third must not join the first.
        let packets = [
            oracle::tcp_packet(1, 0x10, &[1; 100]),
            oracle::tcp_packet_acknowledging(101, 0x0102_9999, 0x10, &[]),
            oracle::tcp_packet(101, 0x10, &[2; 100]),
        ];
        let joined = join(&packets);
        assert_eq!(cut(&joined), packets);
    }

    #[test]
    fn joins_end_at_64_kib() {
        let packets = stream(&[1208; 64], 0x10);
        let joined = join(&packets);
        assert_eq!(joined.len(), 2);
        assert!(joined.iter().all(|(_, packet)| packet.len() <= 65_575));
        assert_eq!(cut(&joined), packets);
    }

    #[test]
    fn what_the_kernel_joined_passes_untouched() {
        let mut large = oracle::tcp_packet(1, 0x10, &[1; 9000]);
        oracle::make_partial(&mut large);
        let next = oracle::tcp_packet(9001, 0x10, &[1; 100]);
        let joined = join(&[large.clone(), next.clone()]);
        assert_eq!(joined, [(classify(&large), large), (VirtioHeader::default(), next)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Several flows, mixed; each must come out as it went in.
        #[test]
        fn every_flow_comes_out_as_it_went_in(
            steps in proptest::collection::vec((0_usize..4, 0_usize..3, 0_usize..8), 1..60),
        ) {
            let mut sequences = [0_u32; 4];
            let mut packets = Vec::new();
            for (flow, size, kind) in steps {
                let payload = vec![kind as u8; [0, 500, 1000][size]];
                let flags = [0x10, 0x10, 0x10, 0x10, 0x10, 0x18, 0x11, 0x30][kind];
                let mut packet = if kind == 4 && flow == 0 {
                    oracle::udp_packet(&payload)
                } else {
                    oracle::tcp_packet(sequences[flow], flags, &payload)
                };
                if packet[6] == 6 {
                    packet[40] = flow as u8;
                    sequences[flow] = sequences[flow].wrapping_add(payload.len() as u32);
                }
                oracle::make_partial(&mut packet);
                let offset = if packet[6] == 6 { 16 } else { 6 };
                let partial = PartialChecksum { start: 40, offset };
                super::super::complete_checksum(&mut packet, &partial).unwrap();
                packets.push(packet);
            }
            let joined = join(&packets);
            let out = cut(&joined);
            for flow in 0..4_u8 {
                let of = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
                    all.iter().filter(|p| p[6] == 6 && p[40] == flow).cloned().collect()
                };
                prop_assert_eq!(of(&out), of(&packets));
            }
            prop_assert_eq!(out.len(), packets.len());
        }

        #[test]
        fn nothing_panics_on_any_bytes(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..10),
        ) {
            let packets: Vec<Vec<u8>> = packets
                .into_iter()
                .map(|mut packet| {
                    if let Some(next) = packet.get_mut(6) {
                        *next = 6;
                    }
                    packet
                })
                .collect();
            prop_assert_eq!(join(&packets).len(), packets.len());
        }
    }
}

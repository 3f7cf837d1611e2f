//! Cutting a super-packet into packets of one segment each.

use super::checksum;
use super::{IPV6_HEADER, OffloadError, PartialChecksum, SegmentKind, TCP_CHECKSUM, UDP_CHECKSUM, VirtioHeader};
use isatap_core::drop_reason::DropReason;
use isatap_core::wire::checksum::Sum;
use isatap_core::wire::ipv6::upper_layer;
use isatap_core::wire::protocol::{TCP, UDP};
use std::ops::Range;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
const TCP_FLAGS: usize = 13;

/// The packets that a super-packet stands for, in order.
///
/// Each has the headers of the whole with its own length, sequence number, flags
/// and checksum: FIN and PSH on the last only, CWR on the first only (RFC 3168
/// §6.1.2 asks for one packet with CWR), no datagram with UDP checksum 0.
///
/// A packet without segmentation is cut into one, its checksum completed. That may
/// be the checksum of a packet inside: of TCP in VXLAN, say. Whole packets inside
/// others are never cut: no such offload is offered, so the kernel cuts them.
///
/// Nothing of the payload is moved: [`next_header`](Segments::next_header) writes
/// the headers and names the payload's place, for a gathering send;
/// [`next_into`](Segments::next_into) copies both together.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    header_len: usize,
    shape: Shape,
    // Payload of the next packet starts here, from the start of `packet`.
    next: Option<usize>,
    size: usize,
}

/// One packet of [`Segments`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Bytes written to the caller's buffer.
    pub header_len: usize,
    /// Where the payload is in the super-packet.
    pub payload: Range<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Nothing to change: the checksum is complete.
    Whole,
    /// One packet. Its checksum, at this place, lacks what lies in front.
    Open { field: usize, checksum: [u8; 2] },
    Cut {
        kind: SegmentKind,
        transport: usize,
        // Sum of what every packet's checksum has in common: the addresses.
        addresses: Sum,
    },
}

impl<'a> Segments<'a> {
    /// The longest headers that are written, IPv6 with extension headers and TCP
    /// with options: the buffer of [`next_header`](Segments::next_header) never
    /// needs more.
    pub const MAX_HEADER_LEN: usize = 256;

    /// Cuts an IPv6 packet from the TUN device by the header that came with it.
    ///
    /// # Errors
    ///
    /// The header does not fit the packet: no checksum place, to be cut by another protocol
    /// than its own, headers longer than [`MAX_HEADER_LEN`](Self::MAX_HEADER_LEN).
    pub fn new(packet: &'a [u8], header: &VirtioHeader) -> Result<Self, OffloadError> {
        let Some(partial) = header.checksum else {
            // A cut needs every checksum anew, so the kernel leaves it open.
            return if header.segmentation.is_some() {
                Err(OffloadError::Mismatch)
            } else {
                Ok(Self { packet, header_len: 0, shape: Shape::Whole, next: Some(0), size: packet.len() })
            };
        };
        let Some(cut) = header.segmentation else { return Self::open(packet, &partial) };
        let transport = usize::from(partial.start);
        let (kind, field, protocol) = match cut.kind {
            SegmentKind::Tcp => (cut.kind, TCP_CHECKSUM, TCP),
            SegmentKind::Udp => (cut.kind, UDP_CHECKSUM, UDP),
        };
        let upper = upper_layer(packet).map_err(|reason| match reason {
            DropReason::TooShort | DropReason::Truncated => OffloadError::Truncated,
            _ => OffloadError::Mismatch,
        })?;
        if partial.offset != field || (upper.protocol, upper.offset, upper.fragment) != (protocol, transport, false) {
            return Err(OffloadError::Mismatch);
        }
        let transport_len = match kind {
            SegmentKind::Udp => 8,
            SegmentKind::Tcp => {
                let offset = packet.get(transport + 12).ok_or(OffloadError::Truncated)?;
                usize::from(offset >> 4) * 4
            }
        };
        if kind == SegmentKind::Tcp && transport_len < 20 {
            return Err(OffloadError::Mismatch);
        }
        let header_len = transport + transport_len;
        if header_len > packet.len() {
            return Err(OffloadError::Truncated);
        }
        if header_len > Self::MAX_HEADER_LEN {
            return Err(OffloadError::Mismatch);
        }
        let addresses = packet.get(8..IPV6_HEADER).ok_or(OffloadError::Truncated)?;
        Ok(Self {
            packet,
            header_len,
            shape: Shape::Cut { kind, transport, addresses: Sum::ZERO.bytes(addresses) },
            next: Some(header_len),
            size: usize::from(cut.size.get()),
        })
    }

    fn open(packet: &'a [u8], partial: &PartialChecksum) -> Result<Self, OffloadError> {
        let field = usize::from(partial.start) + usize::from(partial.offset);
        let header_len = field + 2;
        if header_len > packet.len() {
            return Err(OffloadError::Truncated);
        }
        // Headers of packets inside of others, several times over, are shorter.
        if usize::from(partial.start) < IPV6_HEADER || header_len > Self::MAX_HEADER_LEN {
            return Err(OffloadError::Mismatch);
        }
        let checksum = checksum::completed(packet, partial)?;
        Ok(Self {
            packet,
            header_len,
            shape: Shape::Open { field, checksum },
            next: Some(header_len),
            size: usize::MAX,
        })
    }

    /// How many packets are still to come.
    pub fn remaining(&self) -> usize {
        self.next.map_or(0, |next| (self.packet.len() - next).div_ceil(self.size.max(1)).max(1))
    }

    /// The length of the longest packet to come, headers included: what the MTU
    /// check is about.
    pub fn longest(&self) -> usize {
        let payload = self.packet.len() - self.header_len;
        self.header_len + payload.min(self.size)
    }

    /// Writes the headers of the next packet to the start of `header`, of at least
    /// [`MAX_HEADER_LEN`](Self::MAX_HEADER_LEN) bytes, and says where its payload
    /// is. A plain packet is all payload.
    ///
    /// `None` at the end, or when `header` is too short for these headers.
    pub fn next_header(&mut self, header: &mut [u8]) -> Option<Segment> {
        let begin = self.next?;
        let end = begin.saturating_add(self.size).min(self.packet.len());
        let payload = begin..end;
        let header = header.get_mut(..self.header_len)?;
        header.copy_from_slice(self.packet.get(..self.header_len)?);
        if let Shape::Open { field, checksum } = self.shape {
            put(header, field, &checksum);
        }
        if let Shape::Cut { kind, transport, addresses } = self.shape {
            let bytes = self.packet.get(payload.clone())?;
            let length = self.header_len - IPV6_HEADER + bytes.len();
            put(header, 4, &be16(length));
            let transport_length = self.header_len - transport + bytes.len();
            let header_of = header.get_mut(transport..)?;
            let (field, protocol) = match kind {
                SegmentKind::Tcp => {
                    let offset = u32::try_from(begin - self.header_len).ok()?;
                    self.write_tcp(header_of, offset, end);
                    (usize::from(TCP_CHECKSUM), TCP)
                }
                SegmentKind::Udp => {
                    put(header_of, 4, &be16(transport_length));
                    (usize::from(UDP_CHECKSUM), UDP)
                }
            };
            put(header_of, field, &[0, 0]);
            let total = checksum::pseudo_header(addresses, protocol, transport_length).bytes(header_of).bytes(bytes);
            put(header_of, field, &checksum::finish(total));
        }
        self.next = (end < self.packet.len()).then_some(end);
        Some(Segment { header_len: self.header_len, payload })
    }

    /// Writes the next packet whole to the start of `out` and gives its length.
    ///
    /// `None` at the end, or when `out` is shorter than the packet
    /// ([`longest`](Self::longest) says what is enough); nothing is lost then.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        let before = self.next?;
        let length = self.header_len + self.size.min(self.packet.len() - before);
        if out.len() < length {
            return None;
        }
        let segment = self.next_header(out)?;
        let to = out.get_mut(segment.header_len..length)?;
        to.copy_from_slice(self.packet.get(segment.payload)?);
        Some(length)
    }

    fn write_tcp(&self, tcp: &mut [u8], offset: u32, end: usize) {
        if let Some(sequence) = tcp.get_mut(4..8) {
            let first = sequence.first_chunk().copied().map_or(0, u32::from_be_bytes);
            sequence.copy_from_slice(&first.wrapping_add(offset).to_be_bytes());
        }
        if let Some(flags) = tcp.get_mut(TCP_FLAGS) {
            if end < self.packet.len() {
                *flags &= !(FIN | PSH);
            }
            if offset > 0 {
                *flags &= !CWR;
            }
        }
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: &[u8; N]) {
    if let Some(to) = bytes.get_mut(at..at + N) {
        to.copy_from_slice(value);
    }
}

fn be16(length: usize) -> [u8; 2] {
    // A packet of the kernel fits: longer ones are jumbograms, never asked for.
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{Segmentation, oracle};
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU16;

    const ALL_FLAGS: u8 = 0xff;

    fn header(kind: SegmentKind, size: u16) -> VirtioHeader {
        VirtioHeader {
            checksum: Some(PartialChecksum {
                start: 40,
                offset: match kind {
                    SegmentKind::Tcp => 16,
                    SegmentKind::Udp => 6,
                },
            }),
            segmentation: NonZeroU16::new(size).map(|size| Segmentation { kind, size, header_len: 0, ecn: false }),
        }
    }

    fn cut(packet: &[u8], header: &VirtioHeader) -> Vec<Vec<u8>> {
        let mut segments = Segments::new(packet, header).unwrap();
        let (count, longest) = (segments.remaining(), segments.longest());
        let mut packets = Vec::new();
        let mut out = vec![0xaa; 70_000];
        while let Some(length) = segments.next_into(&mut out) {
            packets.push(out[..length].to_vec());
        }
        assert_eq!(packets.len(), count);
        assert_eq!(packets.iter().map(Vec::len).max(), Some(longest));
        assert_eq!(segments.remaining(), 0);
        packets
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn tcp_cut_then_joined_is_the_original(
            payload in proptest::collection::vec(any::<u8>(), 1..20_000),
            size in 1_u16..3000,
            sequence: u32,
            flags: u8,
        ) {
            let mut packet = oracle::tcp_packet(sequence, flags, &payload);
            oracle::make_partial(&mut packet);
            let packets = cut(&packet, &header(SegmentKind::Tcp, size));
            prop_assert_eq!(packets.len(), payload.len().div_ceil(size.into()));
            let mut stream = Vec::new();
            for (index, piece) in packets.iter().enumerate() {
                prop_assert!(oracle::verifies(piece), "checksum of packet {}", index);
                let expected = (u64::from(sequence) + stream.len() as u64) % (1 << 32);
                prop_assert_eq!(u64::from(oracle::tcp_sequence(piece)), expected);
                let (first, last) = (index == 0, index + 1 == packets.len());
                for (bit, only_here) in [(0x01, last), (0x08, last), (0x80, first)] {
                    let expected = only_here && flags & bit != 0;
                    prop_assert_eq!(oracle::tcp_flags(piece) & bit != 0, expected);
                }
                prop_assert_eq!(oracle::tcp_flags(piece) & 0x76, flags & 0x76);
                // All else in the headers is the original's: addresses, ports, options.
                prop_assert_eq!(&piece[..4], &packet[..4]);
                prop_assert_eq!(&piece[6..44], &packet[6..44]);
                prop_assert_eq!(&piece[48..53], &packet[48..53]);
                prop_assert_eq!(&piece[58..72], &packet[58..72]);
                prop_assert!(last || oracle::payload(piece).len() == usize::from(size));
                stream.extend_from_slice(oracle::payload(piece));
            }
            prop_assert_eq!(stream, payload);
        }

        #[test]
        fn udp_cut_gives_whole_datagrams(
            payload in proptest::collection::vec(any::<u8>(), 1..20_000),
            size in 1_u16..3000,
        ) {
            let mut packet = oracle::udp_packet(&payload);
            oracle::make_partial(&mut packet);
            let packets = cut(&packet, &header(SegmentKind::Udp, size));
            prop_assert!(packets.iter().all(|piece| oracle::verifies(piece)));
            let datagrams: Vec<&[u8]> = packets.iter().map(|piece| oracle::payload(piece)).collect();
            let expected: Vec<&[u8]> = payload.chunks(size.into()).collect();
            prop_assert_eq!(datagrams, expected);
        }

        #[test]
        fn gathered_and_copied_are_the_same(
            payload in proptest::collection::vec(any::<u8>(), 1..5000),
            size in 1_u16..2000,
        ) {
            let mut packet = oracle::tcp_packet(9, ALL_FLAGS, &payload);
            oracle::make_partial(&mut packet);
            let header = header(SegmentKind::Tcp, size);
            let mut gather = Segments::new(&packet, &header).unwrap();
            let mut gathered = Vec::new();
            let mut scratch = [0; Segments::MAX_HEADER_LEN];
            while let Some(segment) = gather.next_header(&mut scratch) {
                gathered.push([&scratch[..segment.header_len], &packet[segment.payload]].concat());
            }
            prop_assert_eq!(gathered, cut(&packet, &header));
        }

        #[test]
        fn nothing_panics_on_any_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            start in 0_u16..100,
            udp: bool,
            size in 0_u16..100,
        ) {
            let kind = if udp { SegmentKind::Udp } else { SegmentKind::Tcp };
            let mut header = header(kind, size);
            header.checksum.as_mut().unwrap().start = start;
            if let Ok(mut segments) = Segments::new(&bytes, &header) {
                let mut out = [0; 500];
                let mut count = 0;
                let expected = segments.remaining();
                while segments.next_into(&mut out).is_some() {
                    count += 1;
                }
                prop_assert_eq!(count, expected);
            }
        }
    }

    #[test]
    fn a_packet_with_a_partial_checksum_is_one_packet() {
        let mut packet = oracle::tcp_packet(5, 0x02, &[]);
        let complete = packet.clone();
        oracle::make_partial(&mut packet);
        assert_eq!(cut(&packet, &header(SegmentKind::Tcp, 0)), [complete]);
    }

    /// TCP over IPv6 in VXLAN, as a program that has its packets from a network card hands them out.
    #[test]
    fn a_checksum_of_a_packet_inside_is_completed_there() {
        let mut inner = oracle::tcp_packet(5, 0x18, &[7; 301]);
        let complete = inner.clone();
        oracle::make_partial(&mut inner);
        let in_vxlan = |inner: &[u8]| oracle::udp_packet(&[&[8, 0, 0, 0, 0, 0, 1, 0][..], &[2; 14], inner].concat());
        let (packet, start) = (in_vxlan(&inner), 40 + 8 + 8 + 14 + 40);
        let mut header = header(SegmentKind::Tcp, 0);
        header.checksum.as_mut().unwrap().start = start;
        let [completed] = <[_; 1]>::try_from(cut(&packet, &header)).unwrap();
        assert_eq!(completed[70..], complete);
        assert_eq!(completed[..70], packet[..70]);
        // Nobody offers to cut such a packet.
        header.segmentation = self::header(SegmentKind::Tcp, 100).segmentation;
        assert_eq!(Segments::new(&packet, &header).err(), Some(OffloadError::Mismatch));
    }

    #[test]
    fn a_plain_packet_passes_unchanged() {
        let packet = oracle::udp_packet(b"hello");
        let packets = cut(&packet, &VirtioHeader::default());
        assert_eq!(packets, [packet]);
    }

    #[test]
    fn a_short_buffer_loses_nothing() {
        let mut packet = oracle::tcp_packet(5, 0x18, &[1; 3000]);
        oracle::make_partial(&mut packet);
        let mut segments = Segments::new(&packet, &header(SegmentKind::Tcp, 1000)).unwrap();
        let mut short = [0; 1071];
        assert_eq!(segments.next_into(&mut short), None);
        assert_eq!(segments.remaining(), 3);
        let mut enough = [0; 1072];
        assert_eq!(segments.next_into(&mut enough), Some(1072));
        assert_eq!(segments.remaining(), 2);
    }

    #[test]
    fn extension_headers_are_kept_on_every_packet() {
        let plain = oracle::tcp_packet(5, 0x18, &[7; 2000]);
        // A destination options header with a PadN of 4 between IPv6 and TCP.
        let mut packet = plain[..40].to_vec();
        packet.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend(&plain[40..]);
        packet[6] = 60;
        let mut header = header(SegmentKind::Tcp, 1500);
        header.checksum.as_mut().unwrap().start = 48;
        let packets = cut(&packet, &header);
        assert_eq!(packets.len(), 2);
        for piece in packets {
            assert_eq!(piece[40..48], [6, 0, 1, 4, 0, 0, 0, 0]);
            assert_eq!(usize::from(piece[4]) << 8 | usize::from(piece[5]), piece.len() - 40);
            // Without the extension header the packet must verify as usual.
            let mut bare = [&piece[..40], &piece[48..]].concat();
            bare[6] = 6;
            let length = (bare.len() - 40) as u16;
            bare[4..6].copy_from_slice(&length.to_be_bytes());
            assert!(oracle::verifies(&bare));
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused() {
        let mut packet = oracle::tcp_packet(5, 0x18, &[1; 100]);
        oracle::make_partial(&mut packet);
        let good = header(SegmentKind::Tcp, 10);
        let mut no_checksum = good;
        no_checksum.checksum = None;
        let mut wrong_kind = good;
        wrong_kind.segmentation.as_mut().unwrap().kind = SegmentKind::Udp;
        let mut inside_ipv6 = good;
        inside_ipv6.checksum.as_mut().unwrap().start = 20;
        for bad in [no_checksum, wrong_kind, inside_ipv6] {
            assert_eq!(Segments::new(&packet, &bad).err(), Some(OffloadError::Mismatch));
        }
        assert_eq!(Segments::new(&packet[..60], &good).err(), Some(OffloadError::Truncated));
        packet[0] = 0x45;
        assert_eq!(Segments::new(&packet, &good).err(), Some(OffloadError::Mismatch));
    }
}

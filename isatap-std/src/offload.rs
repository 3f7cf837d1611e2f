//! The kernel's super-packets: cut, completed and recognised, as pure functions.
//!
//! A packet costs the kernel thousands of instructions and the core a hundred, so
//! speed comes from fewer, larger packets through the kernel. Two places hand
//! them out:
//!
//! - **The TUN device**, with offloads on, gives a TCP stream as packets of up to
//!   64 KiB and says in a [`VirtioHeader`] how to cut them. [`Segments`] cuts;
//!   [`complete_checksum`] finishes what the kernel left to "the hardware".
//! - **A raw protocol-41 socket** gives packets that the kernel's receive offload
//!   has joined: longer than any MTU, the TCP checksum field holding no more than
//!   the sum of the pseudo-header. The socket does not say so, nor what the segment
//!   size was. [`classify`] sees it in the packet and makes the header with which
//!   the TUN device takes it as it is. Written without that header, such a packet
//!   is one with a wrong checksum, and a TCP stream stalls.
//!

//!
//! [`Coalescer`] joins what the kernel has not joined.
//!
//! Everything here is about the inner IPv6 packet, before encapsulation or after
//! decapsulation. Nothing here can undo a UDP join: where the lengths of the
//! datagrams are lost, so are the datagrams. The kernel joins UDP on its way to a
//! raw socket only where the administrator switched `rx-udp-gro-forwarding` or
//! `rx-gro-list` on; leave both off on the underlay's device.

mod checksum;
mod coalesce;
mod receive;
mod segment;

pub use checksum::complete_checksum;
pub use coalesce::{Coalescer, Joined, Part};
pub use receive::classify;
pub use segment::{Segment, Segments};

use isatap_core::packet::HEADROOM;
use std::fmt;
use std::num::NonZeroU16;

/// Bytes that hold any packet the kernel hands out, headroom included: an IPv4
/// packet of 65,535 bytes, or an IPv6 packet with 65,535 bytes of payload.
pub const BUFFER_LEN: usize = HEADROOM + 40 + 65_536;

/// The shortest MTU an IPv6 link may have (RFC 8200 §5), and so the largest packet
/// that any IPv6 path takes.
pub(crate) const MINIMUM_MTU: usize = 1280;

pub(crate) const IPV6_HEADER: usize = isatap_core::wire::ipv6::HEADER_LEN;
/// Offsets of the checksum field from the start of the transport header.
pub(crate) const TCP_CHECKSUM: u16 = 16;
pub(crate) const UDP_CHECKSUM: u16 = 6;

/// What stands between the kernel and a packet on a TUN device with
/// `IFF_VNET_HDR`: what is still to be done to it.
///
/// The default asks for nothing: a plain packet. The format is that of the Linux
/// UAPI header `virtio_net.h`, in the byte order of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VirtioHeader {
    /// The transport checksum is to be computed.
    pub checksum: Option<PartialChecksum>,
    /// The packet stands for several.
    pub segmentation: Option<Segmentation>,
}

/// A checksum field that holds the sum of the pseudo-header only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartialChecksum {
    /// Where the sum starts, from the start of the IPv6 header: the start of the
    /// transport header.
    pub start: u16,
    /// Where the field is, from `start`: 16 for TCP, 6 for UDP.
    pub offset: u16,
}

/// How a packet that stands for several is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segmentation {
    /// The protocol that is cut.
    pub kind: SegmentKind,
    /// Payload bytes of each packet but the last, which may have fewer.
    pub size: NonZeroU16,
    /// Length of all headers, IPv6 to TCP or UDP. Advice: zero when unknown.
    pub header_len: u16,
    /// TCP with CWR set in the first packet.
    pub ecn: bool,
}

/// What a super-packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// TCP over IPv6.
    Tcp,
    /// UDP over IPv6: each segment becomes a datagram.
    Udp,
}

/// Why a packet with a [`VirtioHeader`] cannot be served. None of these comes from
/// a sound kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OffloadError {
    /// The header asks for a cut that is not TCP or UDP over IPv6.
    UnknownKind(u8),
    /// The packet ends before the place that the header names.
    Truncated,
    /// The packet is not what the header says it is.
    Mismatch,
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "offload kind {kind:#04x} was never asked for"),
            Self::Truncated => f.write_str("the packet ends before the offload's place"),
            Self::Mismatch => f.write_str("the packet is not what its offload header says"),
        }
    }
}

impl std::error::Error for OffloadError {}

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

impl VirtioHeader {
    /// Bytes of the header.
    pub const LEN: usize = 10;

    /// Reads what the kernel wrote.
    ///
    /// # Errors
    ///
    /// [`OffloadError::UnknownKind`] for a cut other than TCP or UDP over IPv6.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, OffloadError> {
        let [flags, gso, h0, h1, s0, s1, c0, c1, o0, o1] = *bytes;
        let word = |a, b| u16::from_ne_bytes([a, b]);
        let checksum = (flags & NEEDS_CSUM != 0).then(|| PartialChecksum { start: word(c0, c1), offset: word(o0, o1) });
        let kind = match gso & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV6 => Some(SegmentKind::Tcp),
            GSO_UDP_L4 => Some(SegmentKind::Udp),
            _ => return Err(OffloadError::UnknownKind(gso)),
        };
        let segmentation = kind
            .map(|kind| {
                Ok(Segmentation {
                    kind,
                    size: NonZeroU16::new(word(s0, s1)).ok_or(OffloadError::Mismatch)?,
                    header_len: word(h0, h1),
                    ecn: gso & GSO_ECN != 0,
                })
            })
            .transpose()?;
        Ok(Self { checksum, segmentation })
    }

    /// What the kernel is to read.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let (mut flags, mut gso, mut header_len, mut size) = (0, GSO_NONE, 0, 0);
        let (mut start, mut offset) = (0, 0);
        if let Some(checksum) = self.checksum {
            flags = NEEDS_CSUM;
            (start, offset) = (checksum.start, checksum.offset);
        }
        if let Some(cut) = self.segmentation {
            gso = match cut.kind {
                SegmentKind::Tcp => GSO_TCPV6,
                SegmentKind::Udp => GSO_UDP_L4,
            } | if cut.ecn { GSO_ECN } else { 0 };
            (header_len, size) = (cut.header_len, cut.size.get());
        }
        let [h0, h1] = header_len.to_ne_bytes();
        let [s0, s1] = size.to_ne_bytes();
        let [c0, c1] = u16::to_ne_bytes(start);
        let [o0, o1] = u16::to_ne_bytes(offset);
        [flags, gso, h0, h1, s0, s1, c0, c1, o0, o1]
    }

    /// For the core's [`PacketMut::set_segment_size`](isatap_core::packet::PacketMut::set_segment_size):
    /// payload bytes of each packet that this one stands for, `None` when it stands for itself.
    pub fn segment_size(&self) -> Option<NonZeroU16> {
        self.segmentation.map(|cut| cut.size)
    }

    /// Nothing is to be done to the packet.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
pub(crate) mod oracle;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_bytes_are_those_of_virtio_net_h() {
        // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
        let header = VirtioHeader {
            checksum: Some(PartialChecksum { start: 40, offset: 16 }),
            segmentation: Some(Segmentation {
                kind: SegmentKind::Tcp,
                size: NonZeroU16::new(0x0102).unwrap(),
                header_len: 72,
                ecn: true,
            }),
        };
        let mut expected = vec![1, 0x84];
        for word in [72_u16, 0x0102, 40, 16] {
            expected.extend(word.to_ne_bytes());
        }
        assert_eq!(header.emit().as_slice(), expected);
        assert_eq!(VirtioHeader::default().emit(), [0; 10]);
        assert!(VirtioHeader::parse(&[0; 10]).unwrap().is_plain());
    }

    #[test]
    fn what_was_never_asked_for_is_an_error() {
        // TCPv4 and UDP fragmentation: the device offers neither.
        for kind in [1, 3, 0x81, 6] {
            let mut bytes = [0; 10];
            bytes[1] = kind;
            assert_eq!(VirtioHeader::parse(&bytes), Err(OffloadError::UnknownKind(kind)));
        }
        let mut size_zero = [0; 10];
        size_zero[1] = 4;
        assert_eq!(VirtioHeader::parse(&size_zero), Err(OffloadError::Mismatch));
    }

    proptest! {
        #[test]
        fn headers_survive_a_round_trip(bytes: [u8; 10]) {
            if let Ok(header) = VirtioHeader::parse(&bytes) {
                prop_assert_eq!(VirtioHeader::parse(&header.emit()), Ok(header));
            }
        }
    }
}

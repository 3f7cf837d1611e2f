//! Reads captures: pcap and pcapng files, and the IP packets in their frames.
//!
//! A [`Reader`] takes one frame after the other from any input, in constant
//! memory. [`Frame::ip`] takes the link layer off. A file that is cut short
//! or broken in the middle gives every frame before the fault, then an error
//! that says where.
//!
//! Writing is [`lab::pcap`](crate::lab::pcap)'s. Compressed captures are not read.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};

use crate::Error;

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Its number in the file, from 1, as other tools count.
    pub number: u64,
    /// When it was captured, since 1970 UTC; zero where the file does not say.
    pub time: Duration,
    /// What its first bytes are: a `LINKTYPE_` value of tcpdump.org.
    pub link_type: u16,
    /// The bytes that were captured.
    pub bytes: Vec<u8>,
    /// How long it was on the wire, in bytes; more than there are bytes when
    /// the capture kept only the start.
    pub original_len: usize,
}

/// The frames of a capture, in order.
///
/// The iterator ends after the first error.
pub struct Reader {
    blocks: Option<Box<dyn PcapReaderIterator>>,
    name: String,
    number: u64,
    nanoseconds: bool,
    interfaces: Vec<Interface>,
}

/// What a file says of one interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u16,
    /// Units of time in a second.
    resolution: u64,
    /// Seconds to add to each time.
    offset: i64,
}

impl Reader {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if path.as_os_str() == "-" {
            return Self::new(io::stdin(), "standard input");
        }
        match File::open(path) {
            Ok(file) => Self::new(file, name),
            Err(error) => Err(Error::usage("read the capture", name, error.to_string())),
        }
    }

    /// Reads from `input`, which errors call `name`.
    ///
    /// # Errors
    /// The first bytes are those of no capture.
    pub fn new(input: impl Read + Send + 'static, name: impl Into<Cow<'static, str>>) -> Result<Self, Error> {
        let name = name.into().into_owned();
        let blocks = create_reader(BUFFER, input).map_err(|error| broken(&name, 0, &error))?;
        Ok(Reader { blocks: Some(blocks), name, number: 0, nanoseconds: false, interfaces: Vec::new() })
    }

    /// Whether `start`, the first bytes of a file, are those of a capture.
    #[must_use]
    pub fn recognises(start: &[u8]) -> bool {
        const PCAP: [u32; 3] = [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34];
        const PCAPNG: u32 = 0x0a0d_0d0a;
        start.first_chunk().is_some_and(|magic| {
            let [big, little] = [u32::from_be_bytes(*magic), u32::from_le_bytes(*magic)];
            big == PCAPNG || PCAP.contains(&big) || PCAP.contains(&little)
        })
    }

    fn advance(&mut self) -> Result<Option<Frame>, Error> {
        let Some(blocks) = self.blocks.as_mut() else { return Ok(None) };
        loop {
            let held = blocks.data().len();
            match blocks.next() {
                Ok((length, block)) => {
                    let frame = match block {
                        PcapBlockOwned::LegacyHeader(header) => {
                            self.nanoseconds = header.is_nanosecond_precision();
                            let resolution = if self.nanoseconds { 1_000_000_000 } else { 1_000_000 };
                            self.interfaces = vec![Interface::new(header.network.0, resolution, 0)];
                            None
                        }
                        PcapBlockOwned::Legacy(block) => self.interfaces.first().map(|interface| {
                            let fraction = u64::from(block.ts_usec) * if self.nanoseconds { 1 } else { 1000 };
                            (
                                *interface,
                                Duration::from_secs(block.ts_sec.into()) + Duration::from_nanos(fraction),
                                block.data.get(..to_usize(block.caplen)).unwrap_or(block.data).to_vec(),
                                block.origlen,
                            )
                        }),
                        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                            self.interfaces.clear();
                            None
                        }
                        PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                            let resolution = block.ts_resolution().unwrap_or(1_000_000);
                            self.interfaces.push(Interface::new(block.linktype.0, resolution, block.ts_offset()));
                            None
                        }
                        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                            self.interfaces.get(to_usize(block.if_id)).map(|interface| {
                                let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                                let data = block.data.get(..to_usize(block.caplen)).unwrap_or(block.data);
                                (*interface, interface.time(units), data.to_vec(), block.origlen)
                            })
                        }
                        PcapBlockOwned::NG(Block::SimplePacket(block)) => self.interfaces.first().map(|interface| {
                            let data = block.data.get(..to_usize(block.origlen)).unwrap_or(block.data);
                            (*interface, Duration::ZERO, data.to_vec(), block.origlen)
                        }),
                        PcapBlockOwned::NG(_) => None,
                    };
                    blocks.consume(length);
                    if let Some((interface, time, bytes, original_len)) = frame {
                        self.number += 1;
                        let original_len = to_usize(original_len);
                        let (number, link_type) = (self.number, interface.link_type);
                        return Ok(Some(Frame { number, time, link_type, bytes, original_len }));
                    }
                }
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::Incomplete(_)) => {
                    blocks.refill().map_err(|error| broken(&self.name, self.number, &error))?;
                }
                Err(PcapError::BufferTooSmall) if held < LARGEST => {
                    // A block longer than any packet: comments, names.
                    let larger = held.max(BUFFER).saturating_mul(2);
                    if !blocks.grow(larger) {
                        return Err(broken(&self.name, self.number, &PcapError::BufferTooSmall));
                    }
                    blocks.refill().map_err(|error| broken(&self.name, self.number, &error))?;
                }
                Err(error) => return Err(broken(&self.name, self.number, &error)),
            }
        }
    }
}

/// Room for the longest packet there can be, with its block.
const BUFFER: usize = 128 * 1024;

/// No block is read that is longer than this many bytes.
const LARGEST: usize = 16 * 1024 * 1024;

impl Iterator for Reader {
    type Item = Result<Frame, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.blocks = None;
        }
        next
    }
}

impl Interface {
    fn new(link_type: i32, resolution: u64, offset: i64) -> Self {
        // Bits above the 16 of the type say something about frame check sequences.
        let link_type = u16::try_from(link_type & 0xffff).unwrap_or(u16::MAX);
        Interface { link_type, resolution: resolution.max(1), offset }
    }

    fn time(&self, units: u64) -> Duration {
        let seconds = (units / self.resolution).saturating_add_signed(self.offset);
        let nanos = u128::from(units % self.resolution) * 1_000_000_000 / u128::from(self.resolution);
        Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn broken(name: &str, number: u64, error: &PcapError<&[u8]>) -> Error {
    let what = match error {
        PcapError::HeaderNotRecognized => "is neither a pcap nor a pcapng file".to_owned(),
        PcapError::UnexpectedEof | PcapError::Incomplete(_) | PcapError::Eof => {
            format!("is cut short behind packet {number}")
        }
        PcapError::ReadError => format!("cannot be read any further behind packet {number}"),
        PcapError::BufferTooSmall => format!("has a block of more than {LARGEST} bytes behind packet {number}"),
        _ => format!("is broken behind packet {number}"),
    };
    Error::usage("read the capture", name, format!("it {what}"))
}

/// `LINKTYPE_` values of tcpdump.org whose frames can hold IP packets.
mod link_type {
    pub(super) const NULL: u16 = 0;
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const RAW_BSD: u16 = 12;
    pub(super) const RAW_OPENBSD: u16 = 14;
    pub(super) const RAW: u16 = 101;
    pub(super) const LOOP: u16 = 108;
    pub(super) const LINUX_SLL: u16 = 113;
    pub(super) const IPV4: u16 = 228;
    pub(super) const IPV6: u16 = 229;
    pub(super) const LINUX_SLL2: u16 = 276;
}

/// EtherTypes.
mod ether_type {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// 802.1Q, 802.1ad and the one before it.
    pub(super) const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
}

/// Why a frame gives no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotIp {
    /// The frame is too short for its link layer.
    Short,
    /// It carries something else: an EtherType, or what its link layer has
    /// in its place.
    OtherProtocol(u32),
    /// Frames of this link type are not understood here.
    LinkType(u16),
}

impl std::fmt::Display for NotIp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotIp::Short => f.write_str("frame too short for its link layer"),
            NotIp::OtherProtocol(protocol) => write!(f, "not IP: protocol {protocol:#06x}"),
            NotIp::LinkType(link_type) => write!(f, "frames of link type {link_type} are not understood"),
        }
    }
}

impl Frame {
    /// The IP packet of the frame, of either version, with whatever padding
    /// the link layer added behind it.
    ///
    /// # Errors
    /// There is none: see the reason.
    pub fn ip(&self) -> Result<&[u8], NotIp> {
        ip(self.link_type, &self.bytes)
    }
}

/// The IP packet in a frame of link type `link_type`; see [`Frame::ip`].
///
/// # Errors
/// There is none.
pub fn ip(link_type: u16, frame: &[u8]) -> Result<&[u8], NotIp> {
    let behind = |length: usize| frame.get(length..).ok_or(NotIp::Short);
    match link_type {
        link_type::RAW | link_type::RAW_BSD | link_type::RAW_OPENBSD | link_type::IPV4 | link_type::IPV6 => Ok(frame),
        link_type::ETHERNET => by_ether_type(u16_at(frame, 12)?, behind(14)?),
        link_type::LINUX_SLL => by_ether_type(u16_at(frame, 14)?, behind(16)?),
        link_type::LINUX_SLL2 => by_ether_type(u16_at(frame, 0)?, behind(20)?),
        link_type::NULL | link_type::LOOP => {
            // AF_INET, and AF_INET6 of the systems there are, in either byte order.
            let family = frame.first_chunk::<4>().ok_or(NotIp::Short)?;
            let family = u32::from_be_bytes(*family);
            match family.min(family.swap_bytes()) {
                2 | 10 | 24 | 28 | 30 => behind(4),
                other => Err(NotIp::OtherProtocol(other)),
            }
        }
        other => Err(NotIp::LinkType(other)),
    }
}

fn by_ether_type(mut ether_type: u16, mut rest: &[u8]) -> Result<&[u8], NotIp> {
    // Two tags are common, more than four are not.
    for _ in 0..4 {
        if !ether_type::VLAN.contains(&ether_type) {
            break;
        }
        ether_type = u16_at(rest, 2)?;
        rest = rest.get(4..).ok_or(NotIp::Short)?;
    }
    match ether_type {
        ether_type::IPV4 | ether_type::IPV6 => Ok(rest),
        ether_type::PPPOE_SESSION => match u16_at(rest, 6)? {
            0x0021 | 0x0057 => rest.get(8..).ok_or(NotIp::Short),
            other => Err(NotIp::OtherProtocol(other.into())),
        },
        other => Err(NotIp::OtherProtocol(other.into())),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, NotIp> {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map(|bytes| u16::from_be_bytes(*bytes)).ok_or(NotIp::Short)
}

#[cfg(test)]
mod tests;

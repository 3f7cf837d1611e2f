//! Reads captures: pcap and pcapng files, and the IP packets in their frames.
//!
//! A [`Reader`] takes one frame after the other from any input, in constant
//! memory. [`Frame::packet`] takes the link layer off. A file that is cut short
//! or broken in the middle gives every frame before the fault, then an error
//! that says where; of a frame that the end cuts, the bytes that are there.
//!
//! Files compressed by gzip or zstd are read as they are. Writing is
//! [`pcap`](crate::pcap)'s.
//!
//! No crate reads the formats and the link layers that are met. pcap-parser and pcap-file
//! drop the bytes of a packet that the end cuts, and know no lengths without padding, no pcap
//! before version 2.4 and no IXIA; pcap-parser passes over the obsolete packets of pcapng and
//! refuses times in powers of two, pcap-file refuses a packet above the snap length.
//! etherparse knows four link types.

mod link;
mod link_type;
mod pcap;
mod pcapng;
mod source;
mod wireless;

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::error::Error;

pub use link::{IpPacket, NotIp, Tag, ip};
pub use link_type::name as link_type_name;

use pcap::Pcap;
use pcapng::PcapNg;
use source::{Packing, Source};

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Its number in the file, from 1, as other tools count.
    pub number: u64,
    /// When it was captured, since 1970 UTC; `None` where the file does not say.
    pub time: Option<Duration>,
    /// What its first bytes are: a `LINKTYPE_` value of tcpdump.org.
    pub link_type: u16,
    /// The bytes that were captured.
    pub bytes: Vec<u8>,
    /// How long it was on the wire, in bytes; more than there are bytes when
    /// the capture kept only the start.
    pub original_len: usize,
}

impl Frame {
    /// The IP packet of the frame, of either version, and what the link layer
    /// said around it.
    ///
    /// # Errors
    /// There is none: see the reason.
    pub fn packet(&self) -> Result<IpPacket<'_>, NotIp> {
        let mut packet = link::packet(self.link_type, &self.bytes)?;
        // What the capture left off is the packet's end.
        packet.length += self.original_len.saturating_sub(self.bytes.len());
        Ok(packet)
    }

    /// The bytes of [`Frame::packet`].
    ///
    /// # Errors
    /// There is none: see the reason.
    pub fn ip(&self) -> Result<&[u8], NotIp> {
        self.packet().map(|packet| packet.bytes)
    }
}

/// The frames of a capture, in order.
///
/// The iterator ends after the first error.
pub struct Reader {
    source: Source,
    format: Format,
    name: String,
    number: u64,
    is_ended: bool,
}

/// A file format.
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// Why a file cannot be read any further.
enum Fault {
    Read(io::Error),
    /// It ends within something.
    Cut,
    /// It has something that cannot be: what.
    Broken(String),
}

impl Reader {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        match Source::open(path) {
            Ok(input) => Self::of(input, name),
            Err(why) => Err(Error::usage(READ, name, why)),
        }
    }

    /// Reads from `input`, which errors call `name`.
    ///
    /// # Errors
    /// The first bytes are those of no capture.
    pub fn new(input: impl Read + Send + 'static, name: impl Into<Cow<'static, str>>) -> Result<Self, Error> {
        Self::of(Box::new(input), name.into().into_owned())
    }

    fn of(input: source::Input, name: String) -> Result<Self, Error> {
        let (mut source, start) = match Source::new(input) {
            Ok(opened) => opened,
            Err(why) => return Err(Error::usage(READ, name, why)),
        };
        let format = match start.first_chunk().copied() {
            None if source.is_torn() => return Err(Fault::Cut.error(&name, 0, false)),
            None if start.is_empty() => return Err(Error::usage(READ, name, "it is empty")),
            Some(word) if PcapNg::is_magic(u32::from_be_bytes(word)) => Format::PcapNg(PcapNg::new(start)),
            Some(word) if [u32::from_be_bytes(word), u32::from_le_bytes(word)].into_iter().any(Pcap::is_magic) => {
                match Pcap::new(&mut source, start) {
                    Ok(pcap) => Format::Pcap(pcap),
                    Err(fault) => return Err(fault.error(&name, 0, false)),
                }
            }
            _ => return Err(unknown(&name, &start)),
        };
        Ok(Reader { source, format, name, number: 0, is_ended: false })
    }

    /// Whether `start`, the first bytes of a file, are those of a capture, or
    /// of a compressed file that may hold one.
    #[must_use]
    pub fn recognises(start: &[u8]) -> bool {
        let is_capture = start.first_chunk().is_some_and(|word| {
            let [big, little] = [u32::from_be_bytes(*word), u32::from_le_bytes(*word)];
            PcapNg::is_magic(big) || Pcap::is_magic(big) || Pcap::is_magic(little)
        });
        is_capture || Packing::of(start).is_some()
    }

    fn advance(&mut self) -> Result<Option<Frame>, Fault> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.source),
            Format::PcapNg(pcapng) => pcapng.next(&mut self.source),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Frame, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ended {
            return None;
        }
        match self.advance() {
            Ok(Some(mut frame)) => {
                self.number += 1;
                frame.number = self.number;
                Some(Ok(frame))
            }
            Ok(None) => {
                self.is_ended = true;
                None
            }
            Err(fault) => {
                self.is_ended = true;
                Some(Err(fault.error(&self.name, self.number, self.source.is_within())))
            }
        }
    }
}

/// What was tried, in errors.
const READ: &str = "read the capture";

/// No packet or block of more bytes is believed.
const LARGEST: usize = 16 * 1024 * 1024;

impl Fault {
    /// For people. `number`: the last packet; `within`: it is the one that is cut.
    fn error(self, name: &str, number: u64, within: bool) -> Error {
        let place = match number {
            0 => "before its first packet".to_owned(),
            number if within => format!("in packet {number}"),
            number => format!("behind packet {number}"),
        };
        let why = match self {
            Fault::Read(error) => format!("it cannot be read any further {place}: {error}"),
            Fault::Cut => format!("it is cut short {place}"),
            Fault::Broken(what) => format!("it is broken {place}: it has {what}"),
        };
        Error::usage(READ, name, why)
    }
}

/// The error about a file that is no capture.
fn unknown(name: &str, start: &[u8]) -> Error {
    let format = match start {
        [b's', b'n', b'o', b'o', b'p', 0, ..] => Some("a snoop file"),
        [b'G', b'M', b'B', b'U', ..] | [b'R', b'T', b'S', b'S', ..] => Some("a Microsoft Network Monitor file"),
        [b'X', b'C', b'P', 0, ..] => Some("a Sniffer file"),
        _ => None,
    };
    match format {
        Some(format) => Error::usage(READ, name, format!("it is {format}"))
            .with_advice("convert it with editcap -F pcapng FILE NEW.pcapng"),
        None => Error::usage(READ, name, "it is neither a pcap nor a pcapng file"),
    }
}

/// What a file says of one interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u16,
    /// Units of time in a second.
    units: u128,
    /// Seconds to add to each time.
    offset: i64,
    /// The most bytes of a packet; 0: no limit.
    snap_len: u32,
}

impl Interface {
    const NONE: Interface = Interface { link_type: 0, units: 1_000_000, offset: 0, snap_len: 0 };

    fn time(&self, ticks: u64) -> Duration {
        let (ticks, units) = (u128::from(ticks), self.units.max(1));
        // Neither product nor quotient can be too large: there are 64 bits of ticks.
        let seconds = u64::try_from(ticks / units).unwrap_or(u64::MAX).saturating_add_signed(self.offset);
        let nanos = ticks % units * 1_000_000_000 / units;
        Duration::new(seconds, u32::try_from(nanos).unwrap_or(0))
    }

    /// The frame whose bytes come next.
    fn frame(&self, source: &mut Source, time: Option<Duration>, captured: u32, length: u32) -> Result<Frame, Fault> {
        let [captured, length] = [captured, length].map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if captured > LARGEST {
            return Err(Fault::Broken(format!("a packet of {captured} bytes")));
        }
        let mut bytes = Vec::new();
        if !source.read(&mut bytes, captured).map_err(Fault::Read)? {
            source.end_within();
        }
        Ok(Frame { number: 0, time, link_type: self.link_type, bytes, original_len: length.max(captured) })
    }
}

/// Numbers in bytes of either order; zero behind the end.
struct Bytes<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Bytes<'_> {
    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = self.bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N]);
        if !self.big {
            field.reverse();
        }
        field
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.at(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.at(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.at(at))
    }
}

#[cfg(test)]
mod tests;

//! The file format pcapng. [draft-ietf-opsawg-pcapng]

use super::source::Source;
use super::{Bytes, Fault, Frame, Interface, LARGEST};

/// A file in the middle of being read.
#[derive(Clone, Debug)]
pub(super) struct PcapNg {
    big: bool,
    /// Those of the section.
    interfaces: Vec<Interface>,
    /// The type of a block of which the length has been read too.
    pending: Vec<u8>,
}

/// Types of blocks.
mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    /// Obsolete, and written by old Wiresharks.
    pub(super) const PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Options of an interface.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const TIME_RESOLUTION: u16 = 9;
    pub(super) const TIME_OFFSET: u16 = 14;
}

/// What tells the byte order of a section.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// The most interfaces of a section.
const INTERFACES: usize = 65_536;

/// Bytes of a block around its body: type and length, and the length again.
const AROUND: u64 = 12;

impl PcapNg {
    pub(super) fn is_magic(word: u32) -> bool {
        word == block::SECTION
    }

    /// A file that begins with `start`.
    pub(super) fn new(start: Vec<u8>) -> Self {
        PcapNg { big: false, interfaces: Vec::new(), pending: start }
    }

    /// The next packet; `None`: there is none.
    pub(super) fn next(&mut self, source: &mut Source) -> Result<Option<Frame>, Fault> {
        loop {
            let mut head = std::mem::take(&mut self.pending);
            let missing = 8_usize.saturating_sub(head.len());
            if !source.read(&mut head, missing).map_err(Fault::Read)? {
                return if head.is_empty() && !source.is_torn() { Ok(None) } else { Err(Fault::Cut) };
            }
            // A section's type is the same in both byte orders; its length is in that which the
            // word behind it tells.
            let kind = Bytes { bytes: &head, big: self.big }.u32(0);
            if kind == block::SECTION {
                take(source, &mut head, 4)?;
                self.big = match [true, false].map(|big| Bytes { bytes: &head, big }.u32(8) == BYTE_ORDER) {
                    [false, false] => return Err(Fault::Broken("a section without a byte order".to_owned())),
                    [big, _] => big,
                };
                self.interfaces.clear();
            }
            let stated = Bytes { bytes: &head, big: self.big }.u32(4);
            // Some writers do not count the padding.
            let total = u64::from(stated).next_multiple_of(4);
            let held = u64::try_from(head.len()).unwrap_or(u64::MAX);
            let Some(mut left) = total.checked_sub(AROUND.max(held.saturating_add(4))) else {
                return Err(Fault::Broken(format!("a block of {stated} bytes")));
            };
            let frame = match kind {
                block::INTERFACE => {
                    let mut body = Vec::new();
                    take(source, &mut body, bounded(left)?)?;
                    left = 0;
                    if self.interfaces.len() >= INTERFACES {
                        return Err(Fault::Broken(format!("more than {INTERFACES} interfaces")));
                    }
                    self.interfaces.push(interface(&Bytes { bytes: &body, big: self.big }));
                    None
                }
                block::PACKET | block::ENHANCED_PACKET | block::SIMPLE_PACKET => {
                    Some(self.packet(kind, source, &mut left)?)
                }
                // Names, statistics, secrets, comments.
                _ => None,
            };
            let is_whole = source.skip(left).map_err(Fault::Read)? && {
                let mut end = Vec::new();
                let is_there = source.read(&mut end, 4).map_err(Fault::Read)?;
                let repeated = Bytes { bytes: &end, big: self.big }.u32(0);
                if is_there && repeated != stated {
                    return Err(Fault::Broken("a block with two lengths".to_owned()));
                }
                is_there
            };
            match frame {
                None if !is_whole => return Err(Fault::Cut),
                None => {}
                Some(frame) => {
                    if !is_whole {
                        source.end_within();
                    }
                    return Ok(Some(frame));
                }
            }
        }
    }

    /// The packet in a block of which `left` bytes are not read.
    fn packet(&self, kind: u32, source: &mut Source, left: &mut u64) -> Result<Frame, Fault> {
        let mut bytes = Vec::new();
        let fixed = if kind == block::SIMPLE_PACKET { 4 } else { 20 };
        let Some(room) = left.checked_sub(fixed) else {
            return Err(Fault::Broken("a packet's block without room for a packet".to_owned()));
        };
        take(source, &mut bytes, bounded(fixed)?)?;
        let header = Bytes { bytes: &bytes, big: self.big };
        let number = match kind {
            block::SIMPLE_PACKET => 0,
            block::PACKET => u32::from(header.u16(0)),
            _ => header.u32(0),
        };
        let described = usize::try_from(number).ok().and_then(|number| self.interfaces.get(number));
        let Some(interface) = described else {
            return Err(Fault::Broken(format!("a packet of interface {number}, which it does not describe")));
        };
        let (time, captured, length) = if kind == block::SIMPLE_PACKET {
            let length = header.u32(0);
            let snapped = if interface.snap_len == 0 { length } else { length.min(interface.snap_len) };
            (None, snapped.min(u32::try_from(room).unwrap_or(u32::MAX)), length)
        } else {
            let ticks = u64::from(header.u32(4)) << 32 | u64::from(header.u32(8));
            (Some(interface.time(ticks)), header.u32(12), header.u32(16))
        };
        *left = room
            .checked_sub(captured.into())
            .ok_or_else(|| Fault::Broken(format!("a packet of {captured} bytes in a block with room for {room}")))?;
        interface.frame(source, time, captured, length)
    }
}

/// Reads bytes without which there is no packet.
fn take(source: &mut Source, to: &mut Vec<u8>, count: usize) -> Result<(), Fault> {
    if source.read(to, count).map_err(Fault::Read)? { Ok(()) } else { Err(Fault::Cut) }
}

/// A length that memory is given for.
fn bounded(length: u64) -> Result<usize, Fault> {
    match usize::try_from(length) {
        Ok(length) if length <= LARGEST => Ok(length),
        _ => Err(Fault::Broken(format!("a block of {length} bytes"))),
    }
}

/// What the body of its block says of an interface.
fn interface(body: &Bytes<'_>) -> Interface {
    let mut interface = Interface { link_type: body.u16(0), snap_len: body.u32(4), ..Interface::NONE };
    let mut at = 8;
    loop {
        let (code, length) = (body.u16(at), usize::from(body.u16(at + 2)));
        let value = body.bytes.get(at + 4..at + 4 + length);
        match (code, value) {
            (option::END, _) | (_, None) => return interface,
            (option::TIME_RESOLUTION, Some(&[resolution, ..])) => {
                let (base, exponent) = if resolution & 0x80 == 0 { (10, resolution) } else { (2, resolution & 0x7f) };
                interface.units = u128::checked_pow(base, exponent.into()).unwrap_or(u128::MAX);
            }
            (option::TIME_OFFSET, Some(value)) if value.len() == 8 => interface.offset = body.i64(at + 4),
            _ => {}
        }
        at += 4 + length.next_multiple_of(4);
    }
}

//! The file format pcap, with its variants: both byte orders, microseconds and nanoseconds, the
//! longer records of Kuznetzov's patch, the header of IXIA's analysers.

use std::time::Duration;

use super::source::Source;
use super::{Bytes, Fault, Frame, Interface};

/// What comes before the first record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    big: bool,
    interface: Interface,
    /// Bytes of a record's header.
    record: usize,
    /// Versions before 2.3 had the two lengths the other way round, and some writers of 2.3.
    swapped: Swapped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swapped {
    No,
    Yes,
    Perhaps,
}

/// The first word of a file, as the writer's machine has it.
mod magic {
    pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
    pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;
    /// Alexey Kuznetzov's patch of libpcap.
    pub(super) const MODIFIED: u32 = 0xa1b2_cd34;
    /// IXIA's lcap, hardware and software.
    pub(super) const IXIA: [u32; 2] = [0x1c00_01ac, 0x1c00_01ab];
}

impl Pcap {
    pub(super) fn is_magic(word: u32) -> bool {
        matches!(word, magic::MICROSECONDS | magic::NANOSECONDS | magic::MODIFIED) || magic::IXIA.contains(&word)
    }

    /// Reads what is left of the file's header behind `start`.
    pub(super) fn new(source: &mut Source, mut start: Vec<u8>) -> Result<Self, Fault> {
        let big = start.first_chunk().is_some_and(|word| Pcap::is_magic(u32::from_be_bytes(*word)));
        let missing = HEADER.saturating_sub(start.len());
        if !source.read(&mut start, missing).map_err(Fault::Read)? {
            return Err(Fault::Cut);
        }
        let header = Bytes { bytes: &start, big };
        let word = header.u32(0);
        if magic::IXIA.contains(&word) && !source.skip(4).map_err(Fault::Read)? {
            return Err(Fault::Cut);
        }
        let swapped = match (header.u16(4), header.u16(6)) {
            (2, 0..=2) => Swapped::Yes,
            (2, 3) => Swapped::Perhaps,
            _ => Swapped::No,
        };
        let is_nanoseconds = word == magic::NANOSECONDS || magic::IXIA.contains(&word);
        let interface = Interface {
            // The upper bits say something about frame check sequences.
            link_type: header.u16(if big { 22 } else { 20 }),
            units: if is_nanoseconds { 1_000_000_000 } else { 1_000_000 },
            ..Interface::NONE
        };
        Ok(Pcap { big, interface, record: if word == magic::MODIFIED { 24 } else { 16 }, swapped })
    }

    /// The next record; `None`: there is none.
    pub(super) fn next(&self, source: &mut Source) -> Result<Option<Frame>, Fault> {
        let mut bytes = Vec::new();
        if !source.read(&mut bytes, self.record).map_err(Fault::Read)? {
            return if bytes.is_empty() && !source.is_torn() { Ok(None) } else { Err(Fault::Cut) };
        }
        let record = Bytes { bytes: &bytes, big: self.big };
        let [seconds, fraction, mut captured, mut length] = [0, 4, 8, 12].map(|at| record.u32(at));
        if self.swapped == Swapped::Yes || self.swapped == Swapped::Perhaps && captured > length {
            std::mem::swap(&mut captured, &mut length);
        }
        let time = Duration::from_secs(seconds.into()) + self.interface.time(fraction.into());
        self.interface.frame(source, Some(time), captured, length).map(Some)
    }
}

/// Bytes of a file's header.
const HEADER: usize = 24;

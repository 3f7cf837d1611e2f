//! Captures of the cloud's packets for Wireshark and friends.

use std::io::{self, Write};

use isatap_core::time::Instant;

/// Raw IP, IPv4 or IPv6 by the first half-byte.
const LINKTYPE_RAW: u32 = 101;

/// Writes a capture in the classic pcap format: microseconds, little-endian,
/// link type 101 (raw IP). Time is the world's, from zero.
///
/// The format is a 24-byte header and 16 bytes in front of each packet, which
/// is less than any crate for it asks to compile.
pub struct Pcap {
    out: Box<dyn Write + Send>,
    error: Option<io::Error>,
}

impl Pcap {
    /// Starts a capture.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: Box<dyn Write + Send>) -> io::Result<Self> {
        let mut header = Vec::new();
        header.extend(0xa1b2_c3d4_u32.to_le_bytes());
        header.extend(2_u16.to_le_bytes());
        header.extend(4_u16.to_le_bytes());
        header.extend([0; 8]);
        header.extend(65_535_u32.to_le_bytes());
        header.extend(LINKTYPE_RAW.to_le_bytes());
        out.write_all(&header)?;
        Ok(Pcap { out, error: None })
    }

    /// Adds a packet. The first error stays until [`finish`](Pcap::finish)
    /// and ends the capture: a full disk does not stop the world.
    pub fn packet(&mut self, time: Instant, packet: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let word = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0).to_le_bytes();
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut record = Vec::with_capacity(16 + packet.len());
        record.extend(word(time.micros() / 1_000_000));
        record.extend(word(time.micros() % 1_000_000));
        record.extend(length);
        record.extend(length);
        record.extend(packet);
        self.error = self.out.write_all(&record).err();
    }

    /// Makes what was added so far visible to readers of the file; an error counts as
    /// that of a packet.
    pub fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
    }

    /// The error that ended the capture, if one did.
    #[must_use]
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// The first that writing it met.
    pub fn finish(mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

impl std::fmt::Debug for Pcap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pcap").field("error", &self.error).finish_non_exhaustive()
    }
}

/// The packets of a capture that [`Pcap`] wrote, with their times; `None`:
/// it is not such a capture, or cut short.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Vec<(Instant, Vec<u8>)>> {
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
    };
    if word(bytes, 0)? != 0xa1b2_c3d4 || word(bytes, 20)? != LINKTYPE_RAW {
        return None;
    }
    let mut packets = Vec::new();
    let mut rest = &bytes[24..];
    while !rest.is_empty() {
        let micros = u64::from(word(rest, 0)?) * 1_000_000 + u64::from(word(rest, 4)?);
        let end = 16 + usize::try_from(word(rest, 8)?).ok()?;
        packets.push((Instant::from_micros(micros), rest.get(16..end)?.to_vec()));
        rest = &rest[end..];
    }
    Some(packets)
}

/// A buffer that can be read while someone else writes to it: a capture in
/// memory.
#[derive(Clone, Debug, Default)]
pub struct SharedBuffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl SharedBuffer {
    /// What was written so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().map(|bytes| bytes.clone()).unwrap_or_default()
    }
}

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = self.0.lock().map_err(|_| io::Error::other("a writer of this buffer panicked"))?;
        buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_again() {
        let buffer = SharedBuffer::default();
        let mut pcap = Pcap::new(Box::new(buffer.clone())).unwrap();
        pcap.packet(Instant::from_micros(1_500_007), &[0x45, 1, 2]);
        pcap.packet(Instant::from_secs(9), &[]);
        pcap.finish().unwrap();
        let bytes = buffer.bytes();
        assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(bytes.len(), 24 + 16 + 3 + 16);
        let packets = read(&bytes).unwrap();
        assert_eq!(packets, [(Instant::from_micros(1_500_007), vec![0x45, 1, 2]), (Instant::from_secs(9), vec![])]);
        assert!(read(&bytes[..bytes.len() - 1]).is_none());
        assert!(read(b"not a capture, but long enough").is_none());
    }

    #[test]
    fn an_error_of_the_writer_is_told_at_the_end() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut pcap = Pcap::new(Box::new(Full(30))).unwrap();
        pcap.packet(Instant::ZERO, &[1; 60]);
        pcap.packet(Instant::ZERO, &[]);
        assert_eq!(pcap.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

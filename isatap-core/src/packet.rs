//! A packet inside a buffer of the caller's.
//!
//! Headers are pushed in front and pulled off, padding is cut behind; the
//! payload never moves. The caller leaves [`HEADROOM`] bytes in front of what
//! it read, which is room for an ICMPv6 error built in front of its culprit,
//! and for an outer header that the caller then [pushes](crate::proto41::Outer::push).

use core::fmt;
use core::num::NonZeroU16;
use core::ops::Range;

use crate::error::EmitError;
use crate::wire::field::Writer;

/// Bytes to leave free in front of a packet before handing it in.
///
/// Enough for an outer IPv4 and UDP header with the Teredo authentication and
/// origin headers (49), and for an ICMPv6 error in front of its culprit that
/// is then itself encapsulated (48 + 20). A multiple of 16 keeps the IPv6
/// header aligned when the buffer is.
pub const HEADROOM: usize = 80;

/// One link of a node; the number is its place in the node's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u8);

impl LinkId {
    /// No link: where null routes lead. `S6R-20`
    pub const NULL: LinkId = LinkId(u8::MAX);

    /// The place in the node's table.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A packet: the bytes `range()` of a buffer, with room in front.
pub struct PacketMut<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
    segment_size: Option<NonZeroU16>,
    link: Option<LinkId>,
}

impl<'a> PacketMut<'a> {
    /// The packet that lies in `bytes` of `buffer`.
    ///
    /// # Errors
    /// The range lies outside the buffer.
    pub fn new(buffer: &'a mut [u8], bytes: Range<usize>) -> Result<Self, EmitError> {
        if bytes.start > bytes.end || bytes.end > buffer.len() {
            return Err(EmitError::new(bytes.end.max(bytes.start), buffer.len()));
        }
        Ok(PacketMut { buffer, start: bytes.start, end: bytes.end, segment_size: None, link: None })
    }

    /// An empty packet with as much of [`HEADROOM`] as the buffer has.
    pub fn empty(buffer: &'a mut [u8]) -> Self {
        let start = HEADROOM.min(buffer.len());
        PacketMut { buffer, start, end: start, segment_size: None, link: None }
    }

    /// Forgets the bytes and restores the headroom.
    pub fn clear(&mut self) {
        self.start = HEADROOM.min(self.buffer.len());
        self.end = self.start;
        self.segment_size = None;
        self.link = None;
    }

    /// The packet's bytes.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or(&[])
    }

    /// The packet's bytes, to be changed in place.
    #[inline]
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or(&mut [])
    }

    /// Where in the buffer the packet lies.
    #[inline]
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The packet's length in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        // `start <= end` always; saturating would cost four instructions a
        // packet.
        self.end.wrapping_sub(self.start)
    }

    /// Whether there is no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Free bytes in front of the packet.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Makes the packet `N` bytes longer in front and gives those bytes,
    /// which hold whatever was there.
    ///
    /// # Errors
    /// Less than `N` bytes of headroom; the packet is unchanged.
    #[inline]
    pub fn push_front<const N: usize>(&mut self) -> Result<&mut [u8; N], EmitError> {
        let available = self.start;
        let start = self.start.checked_sub(N).ok_or(EmitError::new(N, available))?;
        match self.buffer.get_mut(start..available).and_then(|front| front.first_chunk_mut::<N>()) {
            Some(front) => {
                self.start = start;
                Ok(front)
            }
            None => Err(EmitError::new(N, available)),
        }
    }

    /// Takes `count` bytes off the front; at most all of them.
    #[inline]
    pub fn pull_front(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Cuts the packet to its first `len` bytes, if it is longer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.end = self.start.wrapping_add(len);
        }
    }

    /// Replaces the packet by what `emit` writes, behind the headroom.
    ///
    /// # Errors
    /// The buffer is too short; the packet is then empty.
    pub fn write_with(&mut self, emit: impl FnOnce(&mut Writer<'_>)) -> Result<usize, EmitError> {
        self.clear();
        let start = self.start;
        let mut writer = Writer::new(self.buffer.get_mut(start..).unwrap_or(&mut []));
        emit(&mut writer);
        let len = writer.finish()?;
        self.end = start.saturating_add(len);
        Ok(len)
    }

    /// Replaces the packet by a copy of `bytes`, behind the headroom.
    ///
    /// # Errors
    /// The buffer is too short; the packet is then empty.
    pub fn copy_from(&mut self, bytes: &[u8]) -> Result<(), EmitError> {
        self.write_with(|writer| writer.bytes(bytes)).map(|_| ())
    }

    /// For a packet that stands for several (TSO, GSO, GRO): the payload
    /// length of each, so that the MTU is compared with what will be sent.
    #[must_use]
    pub fn segment_size(&self) -> Option<NonZeroU16> {
        self.segment_size
    }

    /// Says that the packet stands for several of `size` payload bytes each.
    pub fn set_segment_size(&mut self, size: Option<NonZeroU16>) {
        self.segment_size = size;
    }

    /// The link that the packet is bound to. Of one that is to be sent: the
    /// zone of its link-local addresses. Of one from the network: the only link
    /// that may let it in. `None`: any.
    #[must_use]
    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// Binds the packet to a link (a TUN device belongs to one).
    pub fn set_link(&mut self, link: Option<LinkId>) {
        self.link = link;
    }
}

impl fmt::Debug for PacketMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketMut({} bytes at {})", self.len(), self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_on_and_off_without_moving_the_payload() {
        let mut buffer = [0; 100];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(&[7; 10]).unwrap();
        assert_eq!(packet.range(), 80..90);
        *packet.push_front::<4>().unwrap() = [1, 2, 3, 4];
        assert_eq!(packet.as_slice()[..6], [1, 2, 3, 4, 7, 7]);
        packet.pull_front(4);
        packet.truncate(9);
        assert_eq!(packet.range(), 80..89);
        packet.pull_front(1000);
        assert!(packet.is_empty());
    }

    #[test]
    fn a_short_buffer_leaves_the_packet_as_it_was() {
        let mut buffer = [0; 8];
        assert!(PacketMut::new(&mut buffer, 3..9).is_err());
        let mut packet = PacketMut::new(&mut buffer, 3..8).unwrap();
        assert_eq!(packet.push_front::<4>(), Err(EmitError::new(4, 3)));
        assert_eq!(packet.range(), 3..8);
        assert_eq!(packet.copy_from(&[0; 9]), Err(EmitError::new(9, 0)));
        assert!(packet.is_empty());
    }
}

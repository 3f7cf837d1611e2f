//! Many packets in one system call, each with headroom.

use crate::offload::BUFFER_LEN;
use isatap_core::packet::HEADROOM;
use isatap_core::wire::checksum::checksum;
use isatap_core::wire::ipv4;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Buffers for [`Proto41Socket::receive`](super::Proto41Socket::receive), 64 KiB and
/// headroom each, and what was received into them. Memory that no packet has needed
/// yet is not used.
#[derive(Debug)]
pub struct ReceiveBatch {
    slab: Vec<u8>,
    // Of the packets that were received last, in order.
    lengths: Vec<usize>,
    capacity: usize,
}

impl ReceiveBatch {
    /// Room for `capacity` packets, from 1 to 64.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MOST);
        Self { slab: vec![0; capacity * BUFFER_LEN], lengths: Vec::with_capacity(capacity), capacity }
    }

    /// How many packets were received last.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// None was received last.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How many packets it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The packets received last: each one's whole buffer, and where in it the packet
    /// is. It starts at [`HEADROOM`].
    pub fn packets(&mut self) -> impl Iterator<Item = (&mut [u8], Range<usize>)> {
        self.slab
            .chunks_exact_mut(BUFFER_LEN)
            .zip(&self.lengths)
            .map(|(buffer, length)| (buffer, HEADROOM..HEADROOM + length))
    }

    /// A part of the buffer of a packet received last: what is left of it after
    /// decapsulation. Empty when there is no such packet or place.
    pub fn packet(&self, number: usize, range: Range<usize>) -> &[u8] {
        let buffer = self.slab.chunks_exact(BUFFER_LEN).take(self.lengths.len()).nth(number);
        buffer.and_then(|buffer| buffer.get(range)).unwrap_or_default()
    }

    /// Takes a packet as if it had been received, for sockets of tests.
    #[cfg(test)]
    pub(crate) fn push(&mut self, packet: &[u8]) {
        let at = self.lengths.len() * BUFFER_LEN + HEADROOM;
        self.slab[at..at + packet.len()].copy_from_slice(packet);
        self.lengths.push(packet.len());
    }

    /// Forgets what was received.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.lengths.clear();
    }

    /// Forgets what was received before other sockets fill the batch, one after the other.
    pub(crate) fn restart(&mut self) {
        self.lengths.clear();
    }

    /// The whole buffers that nothing was received into yet.
    pub(crate) fn vacant(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.slab.chunks_exact_mut(BUFFER_LEN).skip(self.lengths.len())
    }

    /// The first vacant buffer holds a packet of this length at [`HEADROOM`].
    pub(crate) fn occupy(&mut self, length: usize) {
        if self.lengths.len() < self.capacity {
            self.lengths.push(length.min(BUFFER_LEN - HEADROOM));
        }
    }

    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.lengths.clear();
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MOST];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; MOST];
        let mut count = 0;
        for ((buffer, part), message) in self.slab.chunks_exact_mut(BUFFER_LEN).zip(&mut parts).zip(&mut messages) {
            let space = buffer.get_mut(HEADROOM..).unwrap_or_default();
            let part = part.write(libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() });
            // SAFETY: zeroed above, and a C struct of integers and nullable pointers,
            // for all of which zero is a value.
            let header = unsafe { &mut message.assume_init_mut().msg_hdr };
            header.msg_iov = part;
            header.msg_iovlen = 1;
            count += 1;
        }
        let received = loop {
            // SAFETY: the first `count` messages are written, with pointers to the
            // first `count` parts, and those to as many separate pieces of the slab,
            // which this call borrows mutably; all outlive the call. A null timeout
            // is allowed. nix offers recvmmsg over slices of its own types only, to be
            // made anew for each call.
            let result = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    messages.as_mut_ptr().cast(),
                    count,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            match Errno::result(result) {
                Ok(received) => break usize::try_from(received).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(0),
                Err(errno) => return Err(errno.into()),
            }
        };
        self.lengths.extend(messages.iter().take(received).map(|message| {
            // SAFETY: zeroed above, and the kernel wrote the first `received`.
            let length = unsafe { message.assume_init_ref() }.msg_len;
            usize::try_from(length).unwrap_or_default().min(BUFFER_LEN - HEADROOM)
        }));
        for (buffer, length) in self.slab.chunks_exact_mut(BUFFER_LEN).zip(&mut self.lengths) {
            let packet = buffer.get_mut(HEADROOM..HEADROOM + *length).unwrap_or_default();
            if packet.first().is_some_and(|first| *first > WITHOUT_OPTIONS) {
                *length = as_on_the_wire(packet);
            }
        }
        Ok(received)
    }
}

/// Version 4 and 20 bytes of header.
const WITHOUT_OPTIONS: u8 = 0x45;

/// Makes the header of a packet one that the core can judge; the packet's new length.
///
/// The kernel has verified the header, its options included, and has then filled in what
/// options ask of a host (Record Route, Timestamp), so the checksum no longer holds. Its
/// verdict counts: the options are taken off. A source route, which the kernel lets in
/// where somebody allowed that (`accept_source_route`), stays for the core to refuse.
fn as_on_the_wire(packet: &mut [u8]) -> usize {
    let whole = packet.len();
    let Ok(header) = ipv4::Header::parse_quoted(packet) else { return whole };
    let (header_len, fields) = (header.header_len(), header.fields());
    if header.is_source_routed() {
        if let Some(header) = packet.get_mut(..header_len) {
            header[10..12].fill(0);
            let checksum = checksum(header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        return whole;
    }
    packet.copy_within(header_len.., ipv4::HEADER_LEN);
    packet[..ipv4::HEADER_LEN].copy_from_slice(&fields.to_bytes());
    whole - (header_len - ipv4::HEADER_LEN)
}

/// What one call takes: more gains nothing, and 64 buffers are 4 MiB.
const MOST: usize = 64;

/// An ICMPv4 error as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmpv4Error {
    /// Who sent it: a router on the way, or the destination.
    pub source: Ipv4Addr,
    /// To which of our addresses.
    pub destination: Ipv4Addr,
    /// Where in the buffer the message is, from its type on, without the IPv4 header in front;
    /// [`HEADROOM`] and more is free before it. The quoted packet is complete with its own header.
    pub range: Range<usize>,
}

pub(super) fn icmpv4_error(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Icmpv4Error>> {
    let space = buffer.get_mut(HEADROOM..).ok_or(io::ErrorKind::InvalidInput)?;
    let length = loop {
        match recv(socket.as_raw_fd(), space, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => break length,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    // The kernel checked this header; a caller's buffer may have cut it.
    let packet = space.get(..length).unwrap_or_default();
    let Ok(header) = ipv4::Header::parse_quoted(packet) else {
        return Ok(None);
    };
    Ok(Some(Icmpv4Error {
        source: header.source(),
        destination: header.destination(),
        range: HEADROOM + header.header_len()..HEADROOM + length,
    }))
}

pub(super) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SK_MEMINFO_DROPS of the Linux UAPI header sock_diag.h.
    const DROPS: usize = 8;
    let mut memory = [0_u32; DROPS + 1];
    let mut size = libc::socklen_t::try_from(size_of_val(&memory)).unwrap_or_default();
    // SAFETY: the kernel writes at most `size` bytes, those of `memory`, and the length to
    // `size`; both outlive the call. Neither nix nor socket2 knows this option.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    Errno::result(result)?;
    Ok(memory[DROPS])
}

/// Takes one packet and forgets it; `false` when none waits.
pub(super) fn discard(socket: BorrowedFd<'_>) -> bool {
    recv(socket.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::drop_reason::DropReason;
    use isatap_core::proto41::Flow;

    /// A packet with these options as a raw socket has it: the checksum does not hold.
    fn received(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45 + (options.len() / 4) as u8, 3, 0, (68 + options.len()) as u8, 0x12, 0x34, 0, 0];
        packet.extend([9, 41, 0xbe, 0xef, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(options);
        packet.extend([0x60, 0, 0, 0, 0, 8, 59, 64]);
        packet.extend(
            ["2001:db8::1", "2001:db8::2"].map(|text| text.parse::<std::net::Ipv6Addr>().unwrap().octets()).concat(),
        );
        packet.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        packet
    }

    #[test]
    fn tun_11_options_that_the_kernel_has_filled_in_are_taken_off() {
        let without = received(&[]);
        // Full by the kernel's hand, and with less room than a host that reads it again would want.
        for options in [&[7, 7, 8, 10, 0, 0, 2, 0][..], &[7, 9, 8, 10, 0, 0, 2, 0, 0, 0, 0, 0], &[1; 40]] {
            let mut packet = received(options);
            let length = as_on_the_wire(&mut packet);
            assert_eq!(length, without.len());
            assert_eq!(packet[20..length], without[20..]);
            let flow = Flow::parse(&packet[..length]).unwrap();
            assert_eq!((flow.header_len, flow.total_length, flow.tos, flow.outer_ttl), (20, 68, 3, 9));
            assert_eq!(flow.outer_source, Ipv4Addr::new(10, 0, 0, 1));
        }
    }

    #[test]
    fn sec_12_a_source_route_that_the_kernel_let_in_is_left_for_the_core_to_refuse() {
        let mut packet = received(&[131, 7, 8, 10, 0, 0, 2, 0]);
        let whole = packet.len();
        assert_eq!(as_on_the_wire(&mut packet), whole);
        assert_eq!(Flow::parse(&packet), Err(DropReason::OuterSourceRoute));
    }

    #[test]
    fn a_header_that_ends_early_is_left_alone() {
        let mut packet = received(&[1; 40]);
        let as_it_was = packet.clone();
        assert_eq!(as_on_the_wire(&mut packet[..59]), 59);
        assert_eq!(packet, as_it_was);
    }
}

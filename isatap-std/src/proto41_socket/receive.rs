//! Many packets in one system call, each with headroom.

use crate::offload::BUFFER_LEN;
use isatap_core::drop_reason::DropReason;
use isatap_core::packet::HEADROOM;
use isatap_core::proto41::Outer;
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
    arrivals: Vec<Arrival>,
    capacity: usize,
}

/// A packet that was received, its outer header beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The header that was in front.
    pub outer: Outer,
    /// Where in its buffer the rest of the packet is; [`HEADROOM`] and more is free before it.
    pub range: Range<usize>,
    /// The interface index of the device that its socket is bound to; 0: of one that takes all.
    pub interface: u32,
    /// Why nobody is to take it: its header has a source route, which the kernel lets in where
    /// somebody allowed that (`accept_source_route`).
    pub refused: Option<DropReason>,
}

impl ReceiveBatch {
    /// Room for `capacity` packets, from 1 to 64.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MOST);
        Self { slab: vec![0; capacity * BUFFER_LEN], arrivals: Vec::with_capacity(capacity), capacity }
    }

    /// How many packets were received last.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// None was received last.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// How many packets it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The packets received last, each one with its whole buffer.
    pub fn packets(&mut self) -> impl Iterator<Item = (&mut [u8], &Arrival)> {
        self.slab.chunks_exact_mut(BUFFER_LEN).zip(&self.arrivals)
    }

    /// A part of the buffer of a packet received last: what is left of it after
    /// decapsulation. Empty when there is no such packet or place.
    pub fn packet(&self, number: usize, range: Range<usize>) -> &[u8] {
        let buffer = self.slab.chunks_exact(BUFFER_LEN).take(self.arrivals.len()).nth(number);
        buffer.and_then(|buffer| buffer.get(range)).unwrap_or_default()
    }

    /// Takes an IPv4 packet as if it had been received, for sockets of tests.
    #[cfg(test)]
    pub(crate) fn push(&mut self, packet: &[u8]) {
        let at = self.arrivals.len() * BUFFER_LEN + HEADROOM;
        self.slab[at..at + packet.len()].copy_from_slice(packet);
        self.arrivals.push(read(packet, packet.len()));
    }

    /// Forgets what was received.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.arrivals.clear();
    }

    /// Forgets what was received before other sockets fill the batch, one after the other.
    pub(crate) fn restart(&mut self) {
        self.arrivals.clear();
    }

    /// The whole buffers that nothing was received into yet.
    pub(crate) fn vacant(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.slab.chunks_exact_mut(BUFFER_LEN).skip(self.arrivals.len())
    }

    /// The first vacant buffer holds, at [`HEADROOM`], this many bytes that came behind `outer`.
    pub(crate) fn occupy(&mut self, outer: Outer, length: usize) {
        if self.arrivals.len() < self.capacity {
            let range = HEADROOM..(HEADROOM + length).min(BUFFER_LEN);
            self.arrivals.push(Arrival { outer, range, interface: 0, refused: None });
        }
    }

    /// Receives at most so many more from a socket that is bound to this interface, or to none.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, interface: u32, most: usize) -> io::Result<()> {
        let before = self.arrivals.len();
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MOST];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; MOST];
        let mut count = 0;
        let vacant = self.slab.chunks_exact_mut(BUFFER_LEN).skip(before).take(most);
        for ((buffer, part), message) in vacant.zip(&mut parts).zip(&mut messages) {
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
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        };
        for (buffer, message) in self.slab.chunks_exact(BUFFER_LEN).skip(before).zip(&messages).take(received) {
            // SAFETY: zeroed above, and the kernel wrote the first `received`.
            let length = unsafe { message.assume_init_ref() }.msg_len;
            let length = usize::try_from(length).unwrap_or_default();
            let arrival = read(buffer.get(HEADROOM..).unwrap_or_default(), length);
            self.arrivals.push(Arrival { interface, ..arrival });
        }
        Ok(())
    }
}

/// Reads the header of a packet of `length` bytes at the start of `bytes`, which the kernel has
/// verified.
///
/// Its checksum is not looked at: the kernel has filled in what options ask of a host (Record
/// Route, Timestamp), so it no longer holds. Of options only a source route matters.
fn read(bytes: &[u8], length: usize) -> Arrival {
    let end = (HEADROOM + length).min(BUFFER_LEN);
    let Ok(header) = ipv4::Header::parse_quoted(bytes.get(..length).unwrap_or(bytes)) else {
        // The kernel hands out none.
        let outer = Outer::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        return Arrival { outer, range: end..end, interface: 0, refused: Some(DropReason::OuterMalformed) };
    };
    let outer = Outer {
        tos: header.tos(),
        ttl: header.ttl(),
        dont_fragment: header.dont_fragment(),
        identification: header.identification(),
        ..Outer::new(header.source(), header.destination())
    };
    let refused = header.is_source_routed().then_some(DropReason::OuterSourceRoute);
    Arrival { outer, range: HEADROOM + header.header_len()..end, interface: 0, refused }
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
    fn tun_11_options_that_the_kernel_has_filled_in_are_passed_over() {
        // Full by the kernel's hand, and with less room than a host that reads it again would want.
        for options in [&[][..], &[7, 7, 8, 10, 0, 0, 2, 0], &[7, 9, 8, 10, 0, 0, 2, 0, 0, 0, 0, 0], &[1; 40]] {
            let packet = received(options);
            let outer = Outer {
                tos: 3,
                ttl: 9,
                identification: 0x1234,
                ..Outer::new(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2))
            };
            let (start, end) = (HEADROOM + 20 + options.len(), HEADROOM + packet.len());
            assert_eq!(read(&packet, packet.len()), Arrival { outer, range: start..end, interface: 0, refused: None });
        }
    }

    #[test]
    fn sec_12_a_source_route_that_the_kernel_let_in_is_refused() {
        let packet = received(&[131, 7, 8, 10, 0, 0, 2, 0]);
        assert_eq!(read(&packet, packet.len()).refused, Some(DropReason::OuterSourceRoute));
    }

    #[test]
    fn a_header_that_ends_early_is_refused() {
        let packet = received(&[1; 40]);
        let arrival = read(&packet, 59);
        assert_eq!((arrival.refused, arrival.range.len()), (Some(DropReason::OuterMalformed), 0));
    }
}

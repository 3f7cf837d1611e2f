//! Many packets in one system call, each with headroom.

use super::batch::{MOST, ReceiveBatch};
use super::send::NO_MESSAGE;
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
    /// Receives at most so many more from a socket that is bound to this interface, or to none.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, interface: u32, most: usize) -> io::Result<()> {
        self.fill_by(most, |batch, asked| batch.receive(socket, interface, asked))
    }

    /// One call of [`fill`](Self::fill); gives how many came.
    fn receive(&mut self, socket: BorrowedFd<'_>, interface: u32, most: usize) -> io::Result<usize> {
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MOST];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MOST];
        let mut count = 0;
        for ((buffer, part), message) in self.vacant().take(most).zip(&mut parts).zip(&mut messages) {
            let space = buffer.get_mut(HEADROOM..).unwrap_or_default();
            let part = part.write(libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() });
            let header = &mut message.write(NO_MESSAGE).msg_hdr;
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
        for message in messages.iter().take(received) {
            // SAFETY: written above, of which the kernel has filled in the first `received`.
            let length = unsafe { message.assume_init_ref() }.msg_len;
            let length = usize::try_from(length).unwrap_or_default();
            self.push(|buffer| {
                let arrival = read(buffer.get(HEADROOM..).unwrap_or_default(), length);
                Arrival { interface, ..arrival }
            });
        }
        Ok(received)
    }
}

/// Reads the header of a packet of `length` bytes at the start of `bytes`, which the kernel has
/// verified.
///
/// Its checksum is not looked at: the kernel has filled in what options ask of a host (Record
/// Route, Timestamp), so it no longer holds. Of options only a source route matters.
pub(super) fn read(bytes: &[u8], length: usize) -> Arrival {
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

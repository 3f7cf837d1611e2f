//! Many packets in one system call, each with its own source, TOS and TTL.

use super::Bound;
use isatap_core::proto41::Outer;
use isatap_core::wire::{icmpv4, ipv4, protocol};
use nix::errno::Errno;
use std::mem::{MaybeUninit, offset_of};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{fmt, ptr};

/// One outer packet: what its headers are to say, which the kernel writes, and what is behind
/// them in two parts that the kernel puts together, so that a cut super-packet needs no copy of
/// its payload. Either part may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterPacket<'a> {
    /// The headers: the source an address of this host, a TTL of at least 1. The kernel chooses
    /// the Identification.
    pub outer: Outer,
    /// The device that it is to leave by, and its mark. Not of UDP.
    pub bound: Bound,
    /// The start of the packet, or all of it.
    pub headers: &'a [u8],
    /// The rest of the packet.
    pub payload: &'a [u8],
}

impl<'a> OuterPacket<'a> {
    /// A packet in one part.
    pub fn new(outer: Outer, packet: &'a [u8]) -> Self {
        Self { outer, bound: Bound::default(), headers: packet, payload: &[] }
    }

    /// The same, bound.
    #[must_use]
    pub fn bound(self, bound: Bound) -> Self {
        Self { bound, ..self }
    }

    /// Length of what is behind the headers, in bytes.
    pub fn len(&self) -> usize {
        self.headers.len() + self.payload.len()
    }

    /// There is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why the kernel did not take a packet. The packet is lost; the next may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendFailure {
    /// DF is set and the packet is larger than the MTU of the device it would leave
    /// by (`EMSGSIZE`), or it is larger than any IPv4 packet. No ICMPv4 message comes:
    /// see [`local_fragmentation_needed`].
    TooBig,
    /// The socket's buffer or the device's queue is full (`EAGAIN`, `ENOBUFS`).
    Congested,
    /// A firewall of this host forbids it (`EPERM`).
    NotPermitted,
    /// No route, the device is down, or the source is no address of this host (any
    /// more): the kernel does not tell these apart (`ENETUNREACH`, `EHOSTUNREACH`,
    /// `ENETDOWN`). Or the route leads to nobody: a broadcast address of one of this host's
    /// subnets, a route of type `prohibit` (`EACCES`).
    /// Or the device that it is bound to is gone (`ENODEV`).
    Unreachable,
    /// What no packet may say: TTL 0, or a source that is no host's (`EINVAL`).
    Invalid,
    /// Anything else: the error number.
    Other(i32),
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig => f.write_str("larger than the MTU of the device"),
            Self::Congested => f.write_str("the send queue is full"),
            Self::NotPermitted => f.write_str("forbidden by a firewall of this host"),
            Self::Unreachable => f.write_str("no IPv4 route, or the outer source is no address of this host"),
            Self::Invalid => f.write_str("TTL or source that no packet may have"),
            Self::Other(number) => write!(f, "{}", Errno::from_raw(*number)),
        }
    }
}

impl From<Errno> for SendFailure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EMSGSIZE => Self::TooBig,
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Self::Congested,
            Errno::EPERM => Self::NotPermitted,
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EACCES | Errno::ENODEV => {
                Self::Unreachable
            }
            Errno::EINVAL => Self::Invalid,
            other => Self::Other(other as i32),
        }
    }
}

/// The ICMPv4 message that a router would have sent for a packet which the kernel
/// refused as [`SendFailure::TooBig`]: destination unreachable, fragmentation needed
/// (RFC 1191 §4), with the MTU of the device and a quote of the packet as it would have
/// left. It feeds the core's own estimate. Gives its length in `out`; `None` when
/// `out` has less than 28 bytes or the packet would be larger than IPv4 allows.
pub fn local_fragmentation_needed(datagram: &OuterPacket<'_>, mtu: u16, out: &mut [u8]) -> Option<usize> {
    // RFC 1812 §4.3.2.3: the whole message, its own IPv4 header included, in 576 bytes.
    const MOST: usize = 576 - ipv4::HEADER_LEN;
    let header = ipv4::Fields {
        tos: datagram.outer.tos,
        payload_len: u16::try_from(datagram.len()).ok().filter(|len| *len <= u16::MAX - 20)?,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: datagram.outer.ttl,
        protocol: protocol::IPV6,
        source: datagram.outer.source,
        destination: datagram.outer.destination,
    };
    let length = (icmpv4::HEADER_LEN + ipv4::HEADER_LEN + datagram.len()).min(MOST).min(out.len());
    let out = out.get_mut(..length)?;
    let (icmp, quote) = out.split_first_chunk_mut::<{ icmpv4::HEADER_LEN }>()?;
    let (ipv4, payload) = quote.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    *ipv4 = header.to_bytes();
    for (to, from) in payload.iter_mut().zip(datagram.headers.iter().chain(datagram.payload)) {
        *to = *from;
    }
    let [high, low] = mtu.to_be_bytes();
    *icmp = icmpv4::header(3, 4, [0, 0, high, low], quote);
    Some(length)
}

/// Hands the first packets to the kernel in one call and gives how many it took, at
/// least one; an error is about the first packet.
pub(crate) fn send_some(socket: BorrowedFd<'_>, datagrams: &[OuterPacket<'_>]) -> Result<usize, SendFailure> {
    // Nothing of these is written that is not used: one packet does not pay for the room of 64.
    let mut destinations = [const { MaybeUninit::uninit() }; MOST];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; MOST];
    let mut parts = [const { MaybeUninit::<[libc::iovec; 2]>::uninit() }; MOST];
    let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MOST];
    let mut count = 0;
    for ((((datagram, destination), control), part), message) in
        datagrams.iter().zip(&mut destinations).zip(&mut controls).zip(&mut parts).zip(&mut messages)
    {
        let destination = destination.write(libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            // Of a raw socket it has none.
            sin_port: datagram.outer.ports.map_or(0, |(_, port)| port.to_be()),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(datagram.outer.destination.octets()) },
            sin_zero: [0; 8],
        });
        let control = Control::write(control, datagram);
        let part = part.write([datagram.headers, datagram.payload].map(|bytes| libc::iovec {
            // The kernel only reads what is sent; the type is shared with receiving.
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        }));
        let header = &mut message.write(NO_MESSAGE).msg_hdr;
        header.msg_name = ptr::from_mut(destination).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = part.as_mut_ptr();
        header.msg_iovlen = part.len() as _;
        header.msg_control = ptr::from_mut(control).cast();
        header.msg_controllen = Control::length(datagram) as _;
        count += 1;
    }
    loop {
        // SAFETY: the first `count` messages are written, with pointers to the first
        // `count` elements of the arrays above and to the slices that `datagrams`
        // borrows; all outlive the call, and the kernel writes to `msg_len` only.
        // nix offers sendmmsg with one control message for all packets only.
        let result =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr().cast(), count, libc::MSG_DONTWAIT as _) };
        match Errno::result(result) {
            Ok(sent) => return Ok(usize::try_from(sent).unwrap_or_default().max(1)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Packets in one system call.
const MOST: usize = 64;

/// A message with nothing in it.
// SAFETY: a C struct of integers and nullable pointers, for all of which zero is a value.
pub(crate) const NO_MESSAGE: libc::mmsghdr = unsafe { std::mem::zeroed() };

/// A control message as it lies in memory: the kernel's `struct cmsghdr`, its data,
/// and the padding up to the next.
#[repr(C)]
#[derive(Clone, Copy)]
struct ControlMessage<T> {
    header: libc::cmsghdr,
    data: T,
    // The kernel's length is a word; musl declares two halves of one, which would be aligned to less.
    _aligned: [usize; 0],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    source: ControlMessage<libc::in_pktinfo>,
    tos: ControlMessage<libc::c_int>,
    ttl: ControlMessage<libc::c_int>,
    // Last: what has none is handed over without it.
    mark: ControlMessage<u32>,
}

// The layout above is what the kernel's macros compute, on this platform too.
const _: () = {
    const fn space(data: usize) -> usize {
        // SAFETY: arithmetic on a number; unsafe only as it is declared in C.
        unsafe { libc::CMSG_SPACE(data as libc::c_uint) as usize }
    }
    assert!(size_of::<ControlMessage<libc::in_pktinfo>>() == space(size_of::<libc::in_pktinfo>()));
    assert!(size_of::<ControlMessage<libc::c_int>>() == space(size_of::<libc::c_int>()));
    assert!(size_of::<libc::cmsghdr>() == space(0));
};

impl<T> ControlMessage<T> {
    /// Field by field: the padding stays what it was.
    fn set(&mut self, level: libc::c_int, kind: libc::c_int, data: T) {
        self.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<T>()) as _;
        self.header.cmsg_level = level;
        self.header.cmsg_type = kind;
        self.data = data;
    }
}

impl Control {
    /// In zeroed memory, which the padding of each message keeps: the kernel is handed
    /// the bytes between them as well.
    fn write<'a>(memory: &'a mut MaybeUninit<Self>, datagram: &OuterPacket<'_>) -> &'a mut Self {
        // SAFETY: the memory of one such struct, of C structs of integers, for all of which
        // zero is a value. A value that is copied there would not bring its padding.
        let control = unsafe {
            ptr::write_bytes(memory.as_mut_ptr(), 0, 1);
            memory.assume_init_mut()
        };
        let address = |address: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
        let source = libc::in_pktinfo {
            ipi_ifindex: datagram.bound.interface as _,
            ipi_spec_dst: address(datagram.outer.source),
            ipi_addr: address(Ipv4Addr::UNSPECIFIED),
        };
        control.source.set(libc::IPPROTO_IP, libc::IP_PKTINFO, source);
        control.tos.set(libc::IPPROTO_IP, libc::IP_TOS, datagram.outer.tos.into());
        control.ttl.set(libc::IPPROTO_IP, libc::IP_TTL, datagram.outer.ttl.into());
        control.mark.set(libc::SOL_SOCKET, libc::SO_MARK, datagram.bound.mark);
        control
    }

    /// How much of it the kernel is handed: a mark takes a privilege, even that of 0.
    fn length(datagram: &OuterPacket<'_>) -> usize {
        if datagram.bound.mark == 0 { offset_of!(Self, mark) } else { size_of::<Self>() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The RFC 1071 sum by the book, for whole words.
    fn sums_to_all_ones(bytes: &[u8]) -> bool {
        let mut total = 0_u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) * 256 + u32::from(*pair.get(1).unwrap_or(&0));
        }
        while total > 0xffff {
            total = total % 0x10000 + total / 0x10000;
        }
        total == 0xffff
    }

    fn datagram<'a>(headers: &'a [u8], payload: &'a [u8]) -> OuterPacket<'a> {
        let ends = Outer::new(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1));
        let outer = Outer { tos: 0xb9, dont_fragment: true, ..ends };
        OuterPacket { outer, bound: Bound { mark: 0x1234, interface: 7 }, headers, payload }
    }

    /// The kernel is handed every byte of them: the padding of a message too, which is what
    /// the stack held before unless somebody writes it.
    #[test]
    fn all_bytes_of_the_control_messages_are_written() {
        const LEN: usize = size_of::<Control>();
        let datagram = datagram(&[], &[]);
        let mut memory = MaybeUninit::<Control>::uninit();
        let bytes = |memory: &MaybeUninit<Control>| {
            // SAFETY: each of the bytes was written, by the calls below.
            unsafe { std::slice::from_raw_parts(memory.as_ptr().cast::<u8>(), LEN).to_vec() }
        };
        let mut written = [0xa5, 0x5a].map(|before| {
            // SAFETY: the memory of one such struct.
            unsafe { ptr::write_bytes(memory.as_mut_ptr(), before, 1) };
            Control::write(&mut memory, &datagram);
            bytes(&memory)
        });
        assert_eq!(written[0], written[1]);
        let message = |level: libc::c_int, kind: libc::c_int, data: &[u8]| {
            let mut bytes = (size_of::<libc::cmsghdr>() + data.len()).to_ne_bytes().to_vec();
            bytes.resize(size_of::<libc::cmsghdr>() - 8, 0);
            bytes.extend([level.to_ne_bytes(), kind.to_ne_bytes()].concat());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
            bytes
        };
        let expected = [
            message(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                &[&7_i32.to_ne_bytes()[..], &[192, 0, 2, 1, 0, 0, 0, 0]].concat(),
            ),
            message(libc::IPPROTO_IP, libc::IP_TOS, &0xb9_i32.to_ne_bytes()),
            message(libc::IPPROTO_IP, libc::IP_TTL, &64_i32.to_ne_bytes()),
            message(libc::SOL_SOCKET, libc::SO_MARK, &0x1234_u32.to_ne_bytes()),
        ];
        assert_eq!(std::mem::take(&mut written[0]), expected.concat());
        assert_eq!(Control::length(&datagram), LEN);
        assert_eq!(Control::length(&datagram.bound(Bound::default())), expected[..3].concat().len());
    }

    #[test]
    fn a_local_refusal_reads_like_a_routers() {
        let (headers, payload) = ([0x60; 41], [7; 1400]);
        let datagram = datagram(&headers, &payload);
        let mut out = [0; 1000];
        let length = local_fragmentation_needed(&datagram, 1300, &mut out).unwrap();
        assert_eq!(length, 556);
        let message = &out[..length];
        assert_eq!(message[..2], [3, 4]);
        assert_eq!(message[6..8], 1300_u16.to_be_bytes());
        assert!(sums_to_all_ones(message));
        let quote = &message[8..];
        assert!(sums_to_all_ones(&quote[..20]));
        assert_eq!(quote[..2], [0x45, 0xb9]);
        assert_eq!(quote[2..4], 1461_u16.to_be_bytes());
        assert_eq!(quote[6..10], [0x40, 0, 64, 41]);
        assert_eq!(quote[12..20], [192, 0, 2, 1, 198, 51, 100, 1]);
        let inner = [&headers[..], &payload[..]].concat();
        assert_eq!(quote[20..], inner[..quote.len() - 20]);

        assert_eq!(local_fragmentation_needed(&datagram, 1300, &mut out[..28]), Some(28));
        assert_eq!(local_fragmentation_needed(&datagram, 1300, &mut out[..27]), None);
    }

    #[test]
    fn errors_are_told_apart_by_kind() {
        for (errno, failure) in [
            (Errno::EMSGSIZE, SendFailure::TooBig),
            (Errno::EAGAIN, SendFailure::Congested),
            (Errno::ENOBUFS, SendFailure::Congested),
            (Errno::EPERM, SendFailure::NotPermitted),
            (Errno::ENETUNREACH, SendFailure::Unreachable),
            (Errno::EHOSTUNREACH, SendFailure::Unreachable),
            (Errno::EACCES, SendFailure::Unreachable),
            (Errno::ENODEV, SendFailure::Unreachable),
            (Errno::EINVAL, SendFailure::Invalid),
            (Errno::EIO, SendFailure::Other(libc::EIO)),
        ] {
            assert_eq!(SendFailure::from(errno), failure);
        }
    }
}

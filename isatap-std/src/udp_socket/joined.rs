//! Many datagrams to one peer in one piece, which the kernel cuts: `UDP_SEGMENT`, Linux 4.18.
//!
//! The path from the system call to the device is the most of what a datagram costs, and is
//! gone once for all of them: see `tests/compare_teredo.rs`.

use crate::proto41_socket::OuterPacket;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams in one piece: the kernel's own limit before Linux 6.9.
const MOST: usize = 64;
/// Bytes in one piece, headers aside.
const LONGEST: usize = 65_000;

/// How many of the first datagrams can go in one piece: to the same end, all as long as the
/// first, but for the last, which may be shorter.
pub(super) fn count(datagrams: &[OuterPacket<'_>]) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    let size = first.len();
    let most = LONGEST.checked_div(size).unwrap_or(1).clamp(1, MOST);
    let ends = |datagram: &OuterPacket<'_>| {
        (datagram.outer.destination, datagram.outer.ports, datagram.outer.tos, datagram.outer.ttl)
    };
    let mut count = 1;
    for datagram in datagrams.iter().take(most).skip(1) {
        if ends(datagram) != ends(first) || datagram.len() > size || datagram.is_empty() {
            break;
        }
        count += 1;
        if datagram.len() < size {
            break;
        }
    }
    count
}

/// Sends them all, or none.
pub(super) fn send(socket: BorrowedFd<'_>, datagrams: &[OuterPacket<'_>]) -> Result<(), Errno> {
    let first = datagrams.first().ok_or(Errno::EINVAL)?;
    let (_, port) = first.outer.ports.ok_or(Errno::EINVAL)?;
    let size = u16::try_from(first.len()).map_err(|_| Errno::EINVAL)?;
    let pieces: Vec<IoSlice<'_>> = datagrams
        .iter()
        .flat_map(|datagram| [datagram.headers, datagram.payload])
        .filter(|piece| !piece.is_empty())
        .map(IoSlice::new)
        .collect();
    let address = |address: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
    let source = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: address(first.outer.source),
        ipi_addr: address(Ipv4Addr::UNSPECIFIED),
    };
    let ttl = libc::c_int::from(first.outer.ttl);
    let control = [
        ControlMessage::Ipv4PacketInfo(&source),
        ControlMessage::Ipv4Tos(&first.outer.tos),
        ControlMessage::Ipv4Ttl(&ttl),
        ControlMessage::UdpGsoSegments(&size),
    ];
    let to = SockaddrIn::from(SocketAddrV4::new(first.outer.destination, port));
    loop {
        match sendmsg(socket.as_raw_fd(), &pieces, &control, MsgFlags::MSG_DONTWAIT, Some(&to)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::proto41::Outer;

    fn datagram<'a>(to: u8, bytes: &'a [u8]) -> OuterPacket<'a> {
        let (headers, payload) = bytes.split_at(bytes.len() / 2);
        let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
        OuterPacket { headers, payload, ..OuterPacket::new(Outer::udp(at(1, 1), at(to, 2)), &[]) }
    }

    #[test]
    fn equal_datagrams_to_one_end_go_together_and_a_shorter_one_is_the_last() {
        let bytes = [7; 1300];
        let of = |lengths: &[usize]| lengths.iter().map(|length| datagram(1, &bytes[..*length])).collect::<Vec<_>>();
        for (lengths, expected) in [
            (&[][..], 0),
            (&[1248][..], 1),
            (&[1248, 1248, 1248][..], 3),
            (&[1248, 1248, 40, 1248][..], 3),
            (&[40, 1248][..], 1),
            (&[100, 0, 100][..], 1),
        ] {
            assert_eq!(count(&of(lengths)), expected, "{lengths:?}");
        }
        assert_eq!(count(&of(&[1248; 64])), 52, "65,000 bytes");
        assert_eq!(count(&of(&[100; 100])), 64);
        let mut ends = of(&[100; 3]);
        ends[1].outer.destination = Ipv4Addr::new(127, 0, 0, 2);
        assert_eq!(count(&ends), 1);
        ends[1] = OuterPacket { outer: Outer { ttl: 1, ..ends[0].outer }, ..ends[0] };
        assert_eq!(count(&ends), 1);
    }
}

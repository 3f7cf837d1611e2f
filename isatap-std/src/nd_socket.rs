//! Neighbor Discovery of a router on one native device: Router Solicitations in, Router
//! Advertisements out.
//!
//! A raw ICMPv6 socket. The kernel keeps its own part of Neighbor Discovery (addresses and
//! neighbours); it verifies checksums of what comes in and writes those of what goes out.
//! What is received gets back the IPv6 header that the kernel took off, so that the core's
//! rules (RFC 4861 §6.1.1) see it.

use crate::error::Error;
use isatap_core::wire::{ipv6, protocol};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// `ff02::2`
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ROUTER_SOLICITATION: u8 = 133;
/// Of Linux's `linux/icmpv6.h`: which ICMPv6 types a raw socket does not want, a bit each.
const ICMPV6_FILTER: libc::c_int = 1;
/// Neighbor Discovery that was forwarded comes from elsewhere. [RFC 4861 §6.1]
const HOP_LIMIT: u8 = 255;

/// The socket of a router on one device.
#[derive(Debug)]
pub struct NdSocket {
    socket: Socket,
    index: u32,
}

impl NdSocket {
    /// Listens on `device`, whose interface index is `index`, for who solicits routers.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: no CAP_NET_RAW, or no such device.
    pub fn open(device: &str, index: u32) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV6))?;
            // Before anything can be queued.
            want_only(&socket, ROUTER_SOLICITATION)?;
            socket.bind_device(Some(device.as_bytes()))?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
            socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
            socket.set_multicast_loop_v6(false)?;
            // The kernel is a member only while it forwards.
            socket.join_multicast_v6(&ALL_ROUTERS, index)?;
            Ok(Self { socket, index })
        };
        open().map_err(|error| Error::refused("listen for Router Solicitations on", device, error))
    }

    /// Sends an IPv6 packet of ICMPv6 alone: its message, between its addresses.
    ///
    /// # Errors
    ///
    /// It is no such packet (`InvalidInput`), or the kernel did not take it: the device is
    /// down, or the source address is not its own yet.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let header = ipv6::Header::parse(packet).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let message = packet.get(ipv6::HEADER_LEN..header.packet_len()).unwrap_or_default();
        if header.next_header() != protocol::ICMPV6 || header.hop_limit() != HOP_LIMIT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let from = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr { s6_addr: header.source().octets() },
            ipi6_ifindex: self.index as _,
        };
        let to = SockaddrIn6::from(SocketAddrV6::new(header.destination(), 0, 0, self.index));
        let parts = [IoSlice::new(message)];
        let with = [ControlMessage::Ipv6PacketInfo(&from)];
        sendmsg(self.socket.as_raw_fd(), &parts, &with, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }

    /// Writes the next Router Solicitation, header and all, to the start of `buffer`, which
    /// should hold a packet of the device's MTU; its length, `None`: none waits.
    ///
    /// # Errors
    ///
    /// The socket failed: worth counting, not fatal.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some((head, space)) = buffer.split_first_chunk_mut::<{ ipv6::HEADER_LEN }>() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut parts = [IoSliceMut::new(space)];
        let received = loop {
            let flags = MsgFlags::MSG_DONTWAIT;
            match recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                Ok(received) => break received,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        };
        let mut fields = ipv6::Fields {
            traffic_class: 0,
            flow_label: 0,
            payload_len: u16::try_from(received.bytes).unwrap_or(u16::MAX),
            next_header: protocol::ICMPV6,
            // What the kernel does not tell is refused by the core.
            hop_limit: 0,
            source: received.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()),
            destination: Ipv6Addr::UNSPECIFIED,
        };
        for told in received.cmsgs()? {
            match told {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    fields.destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => fields.hop_limit = u8::try_from(limit).unwrap_or_default(),
                _ => {}
            }
        }
        *head = fields.to_bytes();
        Ok(Some(ipv6::HEADER_LEN + usize::from(fields.payload_len)))
    }
}

impl AsFd for NdSocket {
    /// Readable when somebody solicits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket gets ICMPv6 of this type alone.
fn want_only(socket: &Socket, kind: u8) -> io::Result<()> {
    // As many bits as there are types; a set one keeps its type out.
    let mut unwanted = [u32::MAX; 8];
    if let Some(word) = unwanted.get_mut(usize::from(kind >> 5)) {
        *word &= !(1 << (kind & 31));
    }
    // SAFETY: the option's value is 32 bytes, the length given, of a live array.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMPV6_FILTER,
            unwanted.as_ptr().cast(),
            size_of_val(&unwanted) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

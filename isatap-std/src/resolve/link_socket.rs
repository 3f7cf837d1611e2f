//! A UDP socket that says by which interface a datagram goes, and by which one it came.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Bound to one port at all addresses.
#[derive(Debug)]
pub(super) struct LinkSocket(UdpSocket);

/// Whence a datagram came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) length: usize,
    pub(super) from: SocketAddrV4,
    pub(super) interface: u32,
    /// The destination: an address of this host, a group, or a broadcast address.
    pub(super) to: Ipv4Addr,
}

impl LinkSocket {
    /// Port 0: any free one. One that is named is ours alone.
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        // What is joined by others on this host is not for us.
        socket.set_multicast_all_v4(false)?;
        // NAM-20, NAM-25: 255 as RFC 4795 §2.5 recommends; NetBIOS does not mind.
        socket.set_multicast_ttl_v4(255)?;
        socket.set_ttl_v4(255)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        socket.set_nonblocking(false)?;
        Ok(Self(socket.into()))
    }

    /// Sends from one of this host's addresses, by that interface. It never waits: datagrams to addresses
    /// that nobody has lie in the kernel until ARP gives up, and may take all of the buffer.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddrV4, from: Ipv4Addr, interface: u32) -> io::Result<()> {
        let in_addr = |address: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
        let source = libc::in_pktinfo {
            ipi_ifindex: libc::c_int::try_from(interface).map_err(io::Error::other)?,
            ipi_spec_dst: in_addr(from),
            ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
        };
        let control = [ControlMessage::Ipv4PacketInfo(&source)];
        let pieces = [IoSlice::new(bytes)];
        loop {
            let to = SockaddrIn::from(to);
            match sendmsg(self.0.as_raw_fd(), &pieces, &control, MsgFlags::MSG_DONTWAIT, Some(&to)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The next datagram until then; `None`: there was none.
    pub(super) fn receive(&self, buffer: &mut [u8], until: Instant) -> io::Result<Option<Arrival>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // The kernel counts in whole ticks, and zero would be for ever.
            self.0.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.receive_one(buffer, MsgFlags::empty()) {
                Ok(None) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    /// One that is there already; `None`: nothing is.
    pub(super) fn receive_waiting(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        match self.receive_one(buffer, MsgFlags::MSG_DONTWAIT) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            received => received,
        }
    }

    /// `None`: the kernel did not say where it came from.
    fn receive_one(&self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Option<Arrival>> {
        let mut control = nix::cmsg_space!(libc::in_pktinfo);
        let mut pieces = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn>(self.0.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
        let info = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
            _ => None,
        });
        Ok(message.address.zip(info).and_then(|(from, info)| {
            Some(Arrival {
                length: message.bytes,
                from: SocketAddrV4::new(from.ip(), from.port()),
                interface: u32::try_from(info.ipi_ifindex).ok()?,
                to: Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()),
            })
        }))
    }

    /// Listens to a group on an interface that has this index.
    pub(super) fn join(&self, group: Ipv4Addr, interface: u32) -> io::Result<()> {
        let interface = socket2::InterfaceIndexOrAddress::Index(interface);
        match socket2::SockRef::from(&self.0).join_multicast_v4_n(&group, &interface) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => Ok(()),
            joined => joined,
        }
    }

    /// Listens to it there no more.
    pub(super) fn leave(&self, group: Ipv4Addr, interface: u32) -> io::Result<()> {
        let interface = socket2::InterfaceIndexOrAddress::Index(interface);
        socket2::SockRef::from(&self.0).leave_multicast_v4_n(&group, &interface)
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

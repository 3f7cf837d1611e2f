//! Raw IPv4 sockets for protocol 41: the outer packets of configured tunnels,
//! ISATAP, 6to4 and 6rd; and the ICMPv4 errors about what was sent.
//!
//! The kernel writes the IPv4 header and fragments. A socket with `IP_HDRINCL`
//! cannot fragment: a packet larger than the device's MTU is `EMSGSIZE` there even
//! with DF clear, against TUN-31. What the header is to say goes along with each
//! packet: source, TOS and TTL as control messages, DF by the choice of the socket.
//!
//! # Three sockets
//!
//! | socket | sends with | receives |
//! | --- | --- | --- |
//! | may fragment | DF clear, `IP_PMTUDISC_OMIT` | every protocol-41 packet of the host |
//! | do not fragment | DF set, `IP_PMTUDISC_PROBE` | nothing: it is bound where nothing comes |
//! | ICMPv4 | nothing | errors that quote a protocol-41 packet |
//!
//! What leaves by one device, or with a mark, leaves by the same sockets: both go along with the packet as
//! well (`IP_PKTINFO`; `SO_MARK` since Linux 5.5). What is to be taken from one device alone comes by a socket of
//! its own, which the kernel binds to the device (`SO_BINDTOIFINDEX`): it knows which devices a VRF has. The
//! first socket then takes the rest, or nothing where all links are bound: a filter drops what is to have a socket of
//! its own, so that each packet comes once, and not at all while that socket cannot be opened. (Of a device in a VRF the filter sees the VRF's index alone. Where one link is
//! bound to such a device and another of the same ends to none, each gets a copy.) ICMPv4 errors are heard from
//! everywhere: they are judged by what they quote.
//!
//! `OMIT` and `PROBE` look at the MTU of the device only, not at the kernel's
//! estimate of the path. With `DONT` and `DO` a forged "fragmentation needed", which
//! the kernel believes as soon as the quoted addresses and protocol fit, would for
//! ten minutes cut every packet into fragments of 552 bytes, or refuse it. The core
//! keeps its own estimate with its own checks (TUN-32, TUN-34, TUN-35).
//!
//! # Why not the error queue
//!
//! `IP_RECVERR` was measured on Linux 6.18 (namespaces, a router with a smaller MTU):
//! the queue gives the quoted packet *without* its IPv4 header, so neither the
//! Identification nor the Total Length that RFC 1191 needs; every raw protocol-41
//! socket of the host with the option gets every error, whoever sent the packet; and
//! the pending error makes the next send, to whatever destination, fail. A raw
//! ICMP socket with a filter gets the message as it came, whole.
//!
//! # Beside others
//!
//! Every process with such a socket gets every packet: what is not for one of the
//! node's links is dropped in silence. Measured: the kernel answers protocol 41 with
//! "protocol unreachable" (ICMPv4 3/2) as long as nobody has a raw socket, and not
//! once from the moment one is open, whatever its filter drops. By reading, not measured
//! here: with the kernel's `sit` module loaded, a packet that none of its tunnels
//! takes is answered with "port unreachable" (3/3) even though a raw socket took it;
//! unload `sit`, or let the firewall drop those answers.
//!
//! What is received may be larger than any MTU and its inner checksum unfinished:
//! see [`offload`](crate::offload).

mod batch;
mod filter;
mod receive;
mod send;

pub use batch::ReceiveBatch;
pub use receive::{Arrival, Icmpv4Error};
pub(crate) use send::{NO_MESSAGE, send_some};
pub use send::{OuterPacket, SendFailure, local_fragmentation_needed};

pub use crate::device::Bound;
use crate::error::Error;
use isatap_core::wire::protocol;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Bytes of receive buffer, as the kernel counts: bookkeeping included. A joined
/// packet of 64 KiB counts about twice its length.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Bytes of send buffer of each of the two sockets, as the kernel counts.
const SEND_BUFFER: usize = 1 << 20;

/// The first group, which is never given to anybody (RFC 1112 §4).
const RESERVED_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 0);

/// The sockets of one process, for all its protocol-41 links. Non-blocking.
#[derive(Debug)]
pub struct Proto41Socket {
    may_fragment: Receiver,
    dont_fragment: Socket,
    icmpv4: Socket,
    /// For what came by one device.
    bound: Vec<Receiver>,
    /// The devices that the first socket takes nothing from.
    left_out: Vec<u32>,
    counters: Cell<SendCounters>,
    receive_drops: Cell<u64>,
}

/// A socket that receives.
#[derive(Debug)]
struct Receiver {
    socket: Socket,
    /// The index of the device that it is bound to; 0: none.
    interface: u32,
    /// What the kernel had dropped of it when it was asked last.
    drops: Cell<u32>,
}

/// What became of the packets handed to [`Proto41Socket::send`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SendCounters {
    /// Taken by the kernel.
    pub sent: u64,
    /// [`SendFailure::TooBig`].
    pub too_big: u64,
    /// [`SendFailure::Congested`].
    pub congested: u64,
    /// [`SendFailure::NotPermitted`].
    pub not_permitted: u64,
    /// [`SendFailure::Unreachable`].
    pub unreachable: u64,
    /// [`SendFailure::Invalid`].
    pub invalid: u64,
    /// [`SendFailure::Other`].
    pub other: u64,
}

impl Proto41Socket {
    /// Opens the sockets. From now on the kernel does not answer protocol 41 with
    /// "protocol unreachable".
    ///
    /// # Errors
    ///
    /// No privilege (CAP_NET_RAW).
    pub fn open() -> Result<Self, Error> {
        // First the filters and options, then the socket that receives: nothing
        // is queued for a socket that nobody reads.
        let dont_fragment = open(protocol::IPV6, &filter::DROP_ALL)?;
        discover(&dont_fragment, libc::IP_PMTUDISC_PROBE)?;
        // Nothing comes to this group: the kernel makes no copies for the filter to drop, and believes no ICMPv4
        // error on account of this socket.
        let _ = dont_fragment.bind(&SocketAddrV4::new(RESERVED_GROUP, 0).into());
        let icmpv4 = open(protocol::ICMPV4, &filter::ERRORS_ABOUT_PROTOCOL_41)?;
        let may_fragment = Receiver::new(open(protocol::IPV6, &[])?, 0)?;
        discover(&may_fragment.socket, libc::IP_PMTUDISC_OMIT)?;
        for socket in [&may_fragment.socket, &dont_fragment] {
            set_buffer(SEND_BUFFER, |bytes| {
                setsockopt(socket, sockopt::SndBufForce, bytes).or_else(|_| setsockopt(socket, sockopt::SndBuf, bytes))
            })?;
        }
        let (counters, receive_drops) = (Cell::default(), Cell::default());
        Ok(Self {
            may_fragment,
            dont_fragment,
            icmpv4,
            bound: Vec::new(),
            left_out: Vec::new(),
            counters,
            receive_drops,
        })
    }

    /// Takes from now on what comes by the devices of these interface indices; 0: by any device. Without
    /// 0 nothing else is taken. `opened` is called with each new descriptor that is readable when
    /// [`receive`](Self::receive) has something.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or a device is gone, or what `opened` says. What comes by the others is taken.
    pub fn listen(
        &mut self,
        interfaces: &[u32],
        mut opened: impl FnMut(BorrowedFd<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        for index in interfaces.iter().copied().filter_map(NonZeroU32::new) {
            if self.bound.iter().all(|known| known.interface != index.get()) {
                let receiver = listen_to(index).and_then(|new| opened(new.socket.as_fd()).map(|()| new));
                outcome = outcome.and(receiver.map(|receiver| self.bound.push(receiver)));
            }
        }
        // Those too whose socket could not be opened: what comes by them is not for who is bound to none.
        let left_out: Vec<u32> = interfaces.iter().copied().filter(|interface| *interface != 0).collect();
        let first = &self.may_fragment.socket;
        let filtered = match (interfaces.contains(&0), left_out.is_empty()) {
            (false, _) => attach(first, &filter::DROP_ALL),
            // Nothing to detach is no error.
            (true, true) => first.detach_filter().or(Ok(())),
            (true, false) => attach(first, &filter::none_of(left_out.iter().copied())),
        };
        if filtered.is_ok() {
            // What waits does not say by which device it came.
            if !interfaces.contains(&0) || left_out.iter().any(|interface| !self.left_out.contains(interface)) {
                discard_all(first);
            }
            self.left_out = left_out;
        }
        // Its last ones are counted.
        let _ = self.receive_drops();
        self.bound.retain(|receiver| interfaces.contains(&receiver.interface));
        outcome.and(filtered.map_err(|error| Error::refused("choose packets for", "a raw socket", error)))
    }

    /// Sends packets in order and gives how many the kernel took. Those that it
    /// refuses are counted and told to `failed` by their place in `datagrams`; the
    /// others are sent all the same. None is ever kept for later.
    pub fn send(&self, datagrams: &[OuterPacket<'_>], mut failed: impl FnMut(usize, SendFailure)) -> usize {
        let mut counters = self.counters.get();
        let before = counters.sent;
        let mut done = 0;
        while let Some(first) = datagrams.get(done) {
            let rest = datagrams.get(done..).unwrap_or_default();
            let run =
                rest.iter().take_while(|datagram| datagram.outer.dont_fragment == first.outer.dont_fragment).count();
            let socket = if first.outer.dont_fragment { &self.dont_fragment } else { &self.may_fragment.socket };
            match send::send_some(socket.as_fd(), rest.get(..run).unwrap_or_default()) {
                Ok(sent) => {
                    counters.sent += u64::try_from(sent).unwrap_or_default();
                    done += sent;
                }
                Err(failure) => {
                    counters.count(failure);
                    failed(done, failure);
                    done += 1;
                }
            }
        }
        let sent = counters.sent - before;
        self.counters.set(counters);
        usize::try_from(sent).unwrap_or_default()
    }

    /// Takes the packets that wait, as many as `batch` holds, and gives how many.
    /// The kernel has reassembled them and judged their headers, which are taken
    /// off. Zero: none waits.
    ///
    /// # Errors
    ///
    /// Memory is short. Worth counting, not fatal.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.restart();
        // Each gets its share, so that none starves the others; what is left waits.
        let share = batch.capacity() / (self.bound.len() + 1);
        let mut outcome = Ok(());
        for Receiver { socket, interface, .. } in &self.bound {
            outcome = outcome.and(batch.fill(socket.as_fd(), *interface, share.max(1)));
        }
        outcome.and(batch.fill(self.packets_fd(), 0, batch.room())).map(|()| batch.len())
    }

    /// Takes the next ICMPv4 error about a protocol-41 packet of this host, whoever
    /// sent it, into `buffer`; `None`: none waits. The message is not verified: that is the core's
    /// part ([`Machine::handle_icmpv4`](isatap_core::engine::Machine::handle_icmpv4)). A `buffer` of
    /// 2 KiB holds any error that keeps to the RFCs; of a longer message it holds the start.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn receive_icmpv4(&self, buffer: &mut [u8]) -> io::Result<Option<Icmpv4Error>> {
        receive::icmpv4_error(self.icmpv4.as_fd(), buffer)
    }

    /// How many packets the kernel has dropped because a receive buffer was full, those of sockets included that
    /// are closed by now.
    ///
    /// # Errors
    ///
    /// A kernel before Linux 4.12.
    pub fn receive_drops(&self) -> io::Result<u64> {
        for receiver in self.bound.iter().chain([&self.may_fragment]) {
            self.receive_drops.set(self.receive_drops.get() + u64::from(receiver.new_drops()?));
        }
        Ok(self.receive_drops.get())
    }

    /// Readable when [`receive`](Self::receive) has something of any device.
    pub fn packets_fd(&self) -> BorrowedFd<'_> {
        self.may_fragment.socket.as_fd()
    }

    /// Readable when [`receive_icmpv4`](Self::receive_icmpv4) has something.
    pub fn icmpv4_fd(&self) -> BorrowedFd<'_> {
        self.icmpv4.as_fd()
    }

    /// What became of the packets sent so far.
    pub fn counters(&self) -> SendCounters {
        self.counters.get()
    }
}

impl SendCounters {
    pub(crate) fn count(&mut self, failure: SendFailure) {
        *match failure {
            SendFailure::TooBig => &mut self.too_big,
            SendFailure::Congested => &mut self.congested,
            SendFailure::NotPermitted => &mut self.not_permitted,
            SendFailure::Unreachable => &mut self.unreachable,
            SendFailure::Invalid => &mut self.invalid,
            SendFailure::Other(_) => &mut self.other,
        } += 1;
    }
}

impl Receiver {
    fn new(socket: Socket, interface: u32) -> Result<Self, Error> {
        enlarge(&socket)?;
        Ok(Self { socket, interface, drops: Cell::default() })
    }

    /// What the kernel has dropped since the last call; it counts modulo 2^32.
    fn new_drops(&self) -> io::Result<u32> {
        let drops = receive::drops(self.socket.as_fd())?;
        Ok(drops.wrapping_sub(self.drops.replace(drops)))
    }
}

fn open(number: u8, filter: &[libc::sock_filter]) -> Result<Socket, Error> {
    let name = match number {
        protocol::ICMPV4 => "a raw socket for ICMPv4",
        _ => "a raw socket for protocol 41",
    };
    let open = || -> io::Result<Socket> {
        let socket =
            Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(i32::from(number))))?;
        if !filter.is_empty() {
            attach(&socket, filter)?;
            // What came in before the filter was there.
            discard_all(&socket);
        }
        Ok(socket)
    };
    open().map_err(|error| Error::refused("open", name, error))
}

fn attach(socket: &Socket, filter: &[libc::sock_filter]) -> io::Result<()> {
    let filter: Vec<SockFilter> = filter.iter().map(|op| SockFilter::new(op.code, op.jt, op.jf, op.k)).collect();
    socket.attach_filter(&filter)
}

/// Forgets what waits.
fn discard_all(socket: &Socket) {
    while receive::discard(socket.as_fd()) {}
}

/// A socket for what comes by one device.
fn listen_to(index: NonZeroU32) -> Result<Receiver, Error> {
    // Nothing comes in before it is bound.
    let socket = open(protocol::IPV6, &filter::DROP_ALL)?;
    let bind = || socket.bind_device_by_index_v4(Some(index)).and_then(|()| socket.detach_filter());
    bind().map_err(|error| Error::refused("take packets from the interface", index, error))?;
    Receiver::new(socket, index.get())
}

/// Of a socket that receives.
fn enlarge(socket: &Socket) -> Result<(), Error> {
    set_buffer(RECEIVE_BUFFER, |bytes| {
        setsockopt(socket, sockopt::RcvBufForce, bytes).or_else(|_| setsockopt(socket, sockopt::RcvBuf, bytes))
    })
}

pub(crate) fn discover(socket: &Socket, mode: libc::c_int) -> Result<(), Error> {
    let size = libc::socklen_t::try_from(size_of_val(&mode)).unwrap_or_default();
    // SAFETY: the kernel reads `size` bytes, an int, behind a pointer to `mode`, which
    // outlives the call. Neither nix nor socket2 knows this option.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, (&raw const mode).cast(), size)
    };
    nix::errno::Errno::result(result)
        .map(drop)
        .map_err(|errno| Error::refused("choose fragmentation for", "a socket", errno.into()))
}

/// Without privilege the system's maximum is what we get: no error.
pub(crate) fn set_buffer(bytes: usize, set: impl FnOnce(&usize) -> nix::Result<()>) -> Result<(), Error> {
    set(&bytes).map_err(|errno| Error::refused(format!("set a buffer of {bytes} bytes for"), "a socket", errno.into()))
}

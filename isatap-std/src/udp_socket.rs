//! UDP sockets for Teredo: any number of local addresses and ports as one.
//!
//! What is received comes with what the kernel says of its headers: addresses, ports, TOS and
//! TTL. The source port of what is sent chooses the socket.
//!
//! DF is never set (RFC 4380 §5.1.2), and the kernel's estimate of the path is not looked
//! at: see [`proto41_socket`](crate::proto41_socket). ICMPv4 errors are not asked for: no
//! Teredo machine acts on them.

mod joined;

use crate::driver::{OuterSocket, Source, Watcher};
use crate::error::Error;
use crate::proto41_socket::{
    Bound, Icmpv4Error, NO_MESSAGE, OuterPacket, ReceiveBatch, SendCounters, SendFailure, discover, send_some,
    set_buffer,
};
use isatap_core::packet::HEADROOM;
use isatap_core::proto41::Outer;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::Cell;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::ptr;
use std::time::{Duration, Instant};

/// The sockets of one Teredo node.
#[derive(Debug)]
pub struct UdpSocket {
    endpoints: Vec<Endpoint>,
    watcher: Option<Watcher>,
    counters: Cell<SendCounters>,
    /// Whether the kernel cuts joined datagrams: see [`joined`].
    cuts: Cell<bool>,
    asked: Cell<Option<Instant>>,
    round_trip: Cell<Option<Duration>>,
}

#[derive(Debug)]
struct Endpoint {
    socket: Socket,
    local: SocketAddrV4,
}

/// Send and receive buffers, in bytes: half a second at 60 Mbit/s.
const BUFFER: usize = 4 << 20;
/// Datagrams in one system call.
const MOST: usize = 64;

impl Default for UdpSocket {
    fn default() -> Self {
        Self::new()
    }
}

impl UdpSocket {
    /// No sockets yet: [`open`](Self::open) some.
    pub fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            watcher: None,
            counters: Cell::default(),
            cuts: Cell::new(true),
            asked: Cell::default(),
            round_trip: Cell::default(),
        }
    }

    /// Opens a socket; address 0.0.0.0: all of this machine's, port 0: one that the kernel
    /// chooses. Gives where it listens.
    ///
    /// # Errors
    ///
    /// The port is in use, or the address is not this machine's.
    pub fn open(&mut self, local: SocketAddrV4) -> Result<SocketAddrV4, Error> {
        self.bind(local, |_| Ok(()))
    }

    /// Listens to a group at one port, on the device of the address `interface`; beside
    /// other programs that do. What this machine sends to the group does not come back.
    ///
    /// # Errors
    ///
    /// No such address, or a program has the port for itself.
    pub fn join(&mut self, group: SocketAddrV4, interface: Ipv4Addr) -> Result<(), Error> {
        let prepare = |socket: &Socket| {
            socket.set_reuse_address(true)?;
            socket.join_multicast_v4(group.ip(), &interface)
        };
        self.bind(group, prepare)?;
        self.endpoints.iter().try_for_each(|endpoint| {
            let silent = endpoint.socket.set_multicast_loop_v4(false);
            silent.map_err(|error| Error::refused("switch off the loop of multicast for", endpoint.local, error))
        })
    }

    fn bind(
        &mut self,
        local: SocketAddrV4,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<SocketAddrV4, Error> {
        let open = || -> io::Result<(Socket, SocketAddrV4)> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
            prepare(&socket)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            socket.set_recv_tos_v4(true)?;
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            // A kernel before Linux 5.0 joins none.
            let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
            socket.bind(&local.into())?;
            let local = socket.local_addr()?.as_socket_ipv4().unwrap_or(local);
            Ok((socket, local))
        };
        let (socket, local) = open().map_err(|error| {
            let in_use = error.kind() == io::ErrorKind::AddrInUse;
            let foreign = error.kind() == io::ErrorKind::AddrNotAvailable;
            let error = Error::refused("listen at UDP", local, error);
            match (in_use, foreign) {
                (true, _) => match holder(local) {
                    Some((pid, name)) => error.with_advice(format!(
                        "process {pid} ({name}) has this port: end it, or choose another port or address"
                    )),
                    None => error.with_advice("another program has this port: see ss -ulnp, or choose another"),
                },
                (_, true) => error.with_advice("this machine does not have this address: see ip -4 address"),
                _ => error,
            }
        })?;
        // DF is clear, whatever the kernel thinks of the path.
        discover(&socket, libc::IP_PMTUDISC_OMIT)?;
        set_buffer(BUFFER, |bytes| {
            setsockopt(&socket, sockopt::RcvBufForce, bytes).or_else(|_| setsockopt(&socket, sockopt::RcvBuf, bytes))
        })?;
        set_buffer(BUFFER, |bytes| {
            setsockopt(&socket, sockopt::SndBufForce, bytes).or_else(|_| setsockopt(&socket, sockopt::SndBuf, bytes))
        })?;
        if let Some(watcher) = &self.watcher {
            watcher.watch(socket.as_fd(), Source::Packets)?;
        }
        self.endpoints.push(Endpoint { socket, local });
        Ok(local)
    }

    /// Closes what listens at a port, whatever the address.
    pub fn close(&mut self, port: u16) {
        self.endpoints.retain(|endpoint| endpoint.local.port() != port);
    }

    /// No longer listens to a group.
    pub fn leave(&mut self, group: Ipv4Addr) {
        self.endpoints.retain(|endpoint| *endpoint.local.ip() != group);
    }

    /// Where it listens.
    pub fn local(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.endpoints.iter().map(|endpoint| endpoint.local)
    }

    /// The time between the last sending that was followed by a datagram, and that
    /// datagram: the round trip, where one question is asked at a time.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip.get()
    }

    /// Sends the first of some datagrams that leave by one socket; gives how many, at least
    /// one.
    fn send_run(&self, endpoint: &Endpoint, run: &[OuterPacket<'_>]) -> Result<usize, SendFailure> {
        let socket = endpoint.socket.as_fd();
        if !self.cuts.get() {
            return send_some(socket, run);
        }
        let first = joined::count(run);
        if let (2.., Some(together)) = (first, run.get(..first)) {
            match joined::send(socket, together) {
                Ok(()) => return Ok(first),
                // The device completes no checksums, or a datagram does not fit it uncut.
                Err(Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => self.cuts.set(false),
                // There may be room for some of them.
                Err(_) => {}
            }
            return send_some(socket, together);
        }
        let single = (1..run.len()).find(|at| joined::count(run.get(*at..).unwrap_or_default()) > 1);
        send_some(socket, run.get(..single.unwrap_or(run.len())).unwrap_or_default())
    }

    /// The socket that a datagram leaves by; the exact address before 0.0.0.0.
    fn endpoint(&self, source: SocketAddrV4) -> Option<&Endpoint> {
        let at = |address| self.endpoints.iter().find(|endpoint| endpoint.local == address);
        at(source).or_else(|| at(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, source.port())))
    }
}

impl OuterSocket for UdpSocket {
    fn send(&self, datagrams: &[OuterPacket<'_>], failed: &mut dyn FnMut(usize, SendFailure)) -> usize {
        self.asked.set(Some(Instant::now()));
        let mut counters = self.counters.get();
        let before = counters.sent;
        let mut done = 0;
        while let Some(first) = datagrams.get(done) {
            let source = |datagram: &OuterPacket<'_>| {
                datagram.outer.ports.map(|(port, _)| SocketAddrV4::new(datagram.outer.source, port))
            };
            // A run of datagrams that leave by the same socket.
            let rest = datagrams.get(done..).unwrap_or_default();
            let run = rest.iter().take(MOST).take_while(|datagram| source(datagram) == source(first)).count();
            let run = rest.get(..run).unwrap_or_default();
            let sent = match source(first).and_then(|source| self.endpoint(source)) {
                Some(endpoint) => self.send_run(endpoint, run),
                // The port was closed in this moment.
                None => Err(SendFailure::Invalid),
            };
            match sent {
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
        self.counters.set(counters);
        usize::try_from(counters.sent - before).unwrap_or_default()
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.restart();
        // Each gets its share, so that none starves the others: the first, which has most to do,
        // what they leave. What is left waits.
        let mut outcome = Ok(());
        for (at, endpoint) in self.endpoints.iter().enumerate().rev() {
            outcome = outcome.and(endpoint.receive(batch, batch.room().div_ceil(at + 1)));
        }
        // What others have received is not lost by one that fails.
        outcome.or_else(|error| if batch.is_empty() { Err(error) } else { Ok(()) })?;
        if let Some(asked) = Some(&self.asked).filter(|_| !batch.is_empty()).and_then(Cell::take) {
            self.round_trip.set(Some(asked.elapsed()));
        }
        Ok(batch.len())
    }

    fn receive_icmpv4(&self, _: &mut [u8]) -> io::Result<Option<Icmpv4Error>> {
        Ok(None)
    }

    fn device_mtu(&self, _: Ipv4Addr, _: Bound) -> Option<u16> {
        None
    }

    fn watch(&mut self, watcher: &Watcher) -> Result<(), Error> {
        self.endpoints.iter().try_for_each(|endpoint| watcher.watch(endpoint.socket.as_fd(), Source::Packets))?;
        self.watcher = Some(watcher.clone());
        Ok(())
    }

    fn counters(&self) -> SendCounters {
        self.counters.get()
    }
}

/// Room for what the kernel tells of a datagram: addresses, TOS and TTL, and more than that.
type Control = [u64; 16];

impl Endpoint {
    /// Receives at most `most` datagrams into the vacant buffers of a batch.
    fn receive(&self, batch: &mut ReceiveBatch, most: usize) -> io::Result<()> {
        batch.fill_by(most, |batch, asked| self.receive_some(batch, asked))
    }

    /// The same in one call; gives how many came.
    fn receive_some(&self, batch: &mut ReceiveBatch, most: usize) -> io::Result<usize> {
        let mut names = [const { MaybeUninit::<libc::sockaddr_in>::uninit() }; MOST];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; MOST];
        let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; MOST];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MOST];
        let mut count = 0;
        let rooms = batch.vacant().take(most).zip(&mut names).zip(&mut controls).zip(&mut parts).zip(&mut messages);
        for ((((buffer, name), control), part), message) in rooms {
            let space = buffer.get_mut(HEADROOM..).unwrap_or_default();
            let part = part.write(libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() });
            let header = &mut message.write(NO_MESSAGE).msg_hdr;
            // SAFETY: a C struct of integers, for all of which zero is a value.
            header.msg_name = ptr::from_mut(name.write(unsafe { std::mem::zeroed() })).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = control.write([0; _]).as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
            count += 1;
        }
        let received = loop {
            // SAFETY: the first `count` messages are written, with pointers to the first
            // `count` elements of the arrays above, and of those `parts` points to as many
            // separate pieces of the batch, which this call borrows mutably; all outlive
            // the call. A null timeout is allowed.
            let result = unsafe {
                libc::recvmmsg(
                    self.socket.as_raw_fd(),
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
        for (message, name) in messages.iter().zip(&names).take(received) {
            // SAFETY: both were written above, of which the kernel has filled in the first `received`.
            let (message, name) = unsafe { (message.assume_init_ref(), name.assume_init_ref()) };
            let from = SocketAddrV4::new(from_network(name.sin_addr), u16::from_be(name.sin_port));
            let told = Told::read(&message.msg_hdr);
            let to = SocketAddrV4::new(told.destination.unwrap_or(*self.local.ip()), self.local.port());
            let outer = Outer { tos: told.tos, ttl: told.ttl, ..Outer::udp(from, to) };
            batch.occupy(outer, usize::try_from(message.msg_len).unwrap_or_default(), told.size);
        }
        Ok(received)
    }
}

/// What the kernel tells of a datagram beside its sender.
#[derive(Clone, Copy, Debug)]
struct Told {
    destination: Option<Ipv4Addr>,
    tos: u8,
    ttl: u8,
    /// Of datagrams that the kernel has joined: the length of each.
    size: Option<NonZeroU16>,
}

impl Told {
    fn read(header: &libc::msghdr) -> Self {
        let mut told = Self { destination: None, tos: 0, ttl: 0, size: None };
        // SAFETY: the kernel wrote the control messages and their length; these macros
        // stay within that length and give null behind the last message.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
        // SAFETY: null, or a pointer of the macros to a whole header within the buffer.
        while let Some(message) = unsafe { next.as_ref() } {
            // SAFETY: as above: where the data of this message begins.
            let data = unsafe { libc::CMSG_DATA(next) };
            if message.cmsg_level == libc::IPPROTO_IP {
                match message.cmsg_type {
                    libc::IP_PKTINFO => {
                        // SAFETY: the kernel writes an `in_pktinfo` under this type; it
                        // need not be aligned for one.
                        let info: libc::in_pktinfo = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                        told.destination = Some(from_network(info.ipi_addr));
                    }
                    // SAFETY: one byte under this type.
                    libc::IP_TOS => told.tos = unsafe { data.read() },
                    libc::IP_TTL => {
                        // SAFETY: an int under this type; it need not be aligned.
                        let ttl: libc::c_int = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                        told.ttl = u8::try_from(ttl).unwrap_or(u8::MAX);
                    }
                    _ => {}
                }
            } else if (message.cmsg_level, message.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO) {
                // SAFETY: an int under this type; it need not be aligned.
                let size: libc::c_int = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                told.size = u16::try_from(size).ok().and_then(NonZeroU16::new);
            }
            // SAFETY: as for the first.
            next = unsafe { libc::CMSG_NXTHDR(header, next) };
        }
        told
    }
}

/// The socket of a line of `/proc/net/udp`, if it keeps others from `wanted`.
fn in_the_way(line: &str, wanted: SocketAddrV4) -> Option<String> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    // The address is printed as the number that its bytes are in memory.
    let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
    let same = address == *wanted.ip() || address.is_unspecified() || wanted.ip().is_unspecified();
    (same && u16::from_str_radix(port, 16) == Ok(wanted.port())).then_some(())?;
    fields.nth(7).map(|inode| format!("socket:[{inode}]"))
}

/// A process that has a UDP socket in the way of this one, and its name; as far as this one may
/// look.
fn holder(wanted: SocketAddrV4) -> Option<(u32, String)> {
    let table = fs::read_to_string("/proc/net/udp").ok()?;
    let sockets: Vec<String> = table.lines().skip(1).filter_map(|line| in_the_way(line, wanted)).collect();
    let holds = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
    };
    let pid_of = |process: &PathBuf| -> Option<u32> { process.file_name()?.to_str()?.parse().ok() };
    let entries = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let process = entries.filter(|process| pid_of(process).is_some()).find(holds)?;
    let pid = pid_of(&process)?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

fn from_network(address: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(address.s_addr.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::teredo::ingress::Path;

    const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

    #[test]
    fn who_has_the_port_at_another_address_is_not_in_the_way() {
        let line = |address: Ipv4Addr| {
            let number = u32::from_ne_bytes(address.octets());
            format!(
                "  77: {number:08X}:0DD8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0"
            )
        };
        let at = |last| Ipv4Addr::new(127, 0, 0, last);
        let found = |there, wanted, port| in_the_way(&line(there), SocketAddrV4::new(wanted, port)).is_some();
        assert_eq!(in_the_way(&line(at(1)), SocketAddrV4::new(at(1), 3544)).unwrap(), "socket:[4711]");
        assert!(!found(at(2), at(1), 3544) && !found(at(1), at(1), 3545));
        assert!(found(Ipv4Addr::UNSPECIFIED, at(1), 3544) && found(at(2), Ipv4Addr::UNSPECIFIED, 3544));
    }

    fn send(socket: &UdpSocket, from: SocketAddrV4, to: SocketAddrV4, payloads: &[&[u8]]) -> usize {
        let datagrams: Vec<_> = payloads.iter().map(|payload| datagram(from, to, payload)).collect();
        socket.send(&datagrams, &mut |place, failure| panic!("{place}: {failure}"))
    }

    /// In two parts, as a cut super-packet is.
    fn datagram(from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) -> OuterPacket<'_> {
        let (headers, payload) = bytes.split_at(bytes.len() / 3);
        OuterPacket { outer: Outer::udp(from, to), bound: Bound::default(), headers, payload }
    }

    /// What the core sees of what arrives: both ends and the payload.
    fn received(socket: &UdpSocket, count: usize) -> Vec<(SocketAddrV4, SocketAddrV4, Vec<u8>)> {
        received_in(socket, count).0
    }

    /// And how many buffers that took: fewer where the kernel joins datagrams.
    fn received_in(socket: &UdpSocket, count: usize) -> (Vec<(SocketAddrV4, SocketAddrV4, Vec<u8>)>, usize) {
        let mut batch = ReceiveBatch::new(8);
        let (mut all, mut buffers) = (Vec::new(), 0);
        let begin = Instant::now();
        while all.len() < count && begin.elapsed() < Duration::from_secs(5) {
            socket.receive(&mut batch).unwrap();
            for number in 0..batch.len() {
                let (buffer, arrival) = batch.packet_mut(number).unwrap();
                let path = Path::of(&arrival.outer).unwrap();
                assert_eq!((arrival.outer.tos, arrival.outer.ttl, arrival.refused), (0, 64, None));
                all.push((path.from, path.to, buffer[arrival.range.clone()].to_vec()));
            }
            buffers += batch.capacity() - batch.room();
        }
        (all, buffers)
    }

    fn open(address: Ipv4Addr) -> (UdpSocket, SocketAddrV4) {
        let mut socket = UdpSocket::new();
        let local = socket.open(SocketAddrV4::new(address, 0)).unwrap();
        (socket, SocketAddrV4::new(LOCALHOST, local.port()))
    }

    #[test]
    fn the_core_sees_both_ends_of_a_datagram_whatever_the_socket_is_bound_to() {
        for address in [LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let ((a, at_a), (b, at_b)) = (open(address), open(address));
            let payloads: Vec<Vec<u8>> = (0..20).map(|n| vec![n; usize::from(n) * 60]).collect();
            let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            assert_eq!(send(&a, at_a, at_b, &slices), payloads.len());
            let expected: Vec<_> = payloads.iter().map(|payload| (at_a, at_b, payload.clone())).collect();
            assert_eq!(received(&b, payloads.len()), expected);
        }
    }

    /// Lengths of bulk data, of which the kernel is handed pieces to cut.
    #[test]
    fn what_goes_in_one_piece_arrives_as_it_was() {
        let ((a, at_a), (b, at_b)) = (open(LOCALHOST), open(LOCALHOST));
        let payloads: Vec<Vec<u8>> = (0..60)
            .map(|n: u8| vec![n; if n % 20 == 19 { 700 } else { 1248 }])
            .chain((0..3).map(|n| vec![n; 40]))
            .chain([vec![9; 1200], vec![8; 1248]])
            .collect();
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        assert_eq!(send(&a, at_a, at_b, &slices), payloads.len());
        let expected: Vec<_> = payloads.iter().map(|payload| (at_a, at_b, payload.clone())).collect();
        let (all, buffers) = received_in(&b, payloads.len());
        assert_eq!(all, expected);
        assert!(buffers < 10, "what was sent in one piece is not received in one: {buffers}");
        // To who takes no joined datagrams, in whichever of the two ways.
        setsockopt(&b.endpoints[0].socket, sockopt::UdpGroSegment, &false).unwrap();
        for cuts in [true, false] {
            a.cuts.set(cuts);
            assert_eq!(send(&a, at_a, at_b, &slices), payloads.len());
            assert_eq!(received_in(&b, payloads.len()), (expected.clone(), payloads.len()));
        }
    }

    #[test]
    fn each_port_is_its_own_until_it_is_closed() {
        let ((mut a, first), (b, at_b)) = (open(Ipv4Addr::UNSPECIFIED), open(LOCALHOST));
        let second = a.open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap().port();
        let second = SocketAddrV4::new(LOCALHOST, second);
        assert_ne!(first, second);
        for from in [first, second] {
            assert_eq!(send(&a, from, at_b, &[b"x"]), 1);
            assert_eq!(received(&b, 1), [(from, at_b, b"x".to_vec())]);
            send(&b, at_b, from, &[b"y"]);
        }
        let mut answers: Vec<_> = received(&a, 2).into_iter().map(|(_, to, _)| to).collect();
        answers.sort();
        let mut both = [first, second];
        both.sort();
        assert_eq!(answers, both);

        a.close(second.port());
        let mut failures = Vec::new();
        assert_eq!(a.send(&[datagram(second, at_b, b"z")], &mut |place, failure| failures.push((place, failure))), 0);
        assert_eq!(failures, [(0, SendFailure::Invalid)]);
        assert_eq!(a.counters().invalid, 1);
    }

    #[test]
    fn a_port_in_use_is_told_with_what_to_do() {
        let (_socket, local) = open(LOCALHOST);
        let error = UdpSocket::new().open(local).unwrap_err().to_string();
        assert!(
            error.contains(&local.to_string()) && error.contains(&format!("process {} (", std::process::id())),
            "{error}"
        );
    }
}

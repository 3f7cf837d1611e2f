//! The kernel's sockets as the port proxy's [`System`].

mod pipes;

use super::Rule;
use super::counters::{End, Refusal};
use super::here::socket_address;
use super::listener::prepare;
use super::names::Names;
use super::slots::Id;
use super::system::{Opened, System, Taken};
use crate::resolve::Name;
use crate::service::{Notice, Observer};
use crate::spec::{Family, ZonedAddress};
use crate::waker::Waker;
use isatap_core::time::Instant;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit};
use pipes::{Pipe, Pipes};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

/// Between two warnings that the system has no room for more.
const QUIET: Duration = Duration::from_secs(60);

/// What the connections of the worker need of the kernel.
pub(super) struct Kernel {
    pub(super) epoll: Epoll,
    pub(super) names: Names<Id>,
    pub(super) observer: Observer,
    pipes: Pipes,
    /// Descriptors from this number on are for the rest of the process.
    most: RawFd,
    quiet_until: Option<Instant>,
}

impl Kernel {
    /// `waker` is rung when the answer for a name has come.
    pub(super) fn new(epoll: Epoll, waker: Waker, observer: Observer) -> Self {
        let (names, pipes) = (Names::new(waker), Pipes::new());
        Self { epoll, names, observer, pipes, most: RawFd::MAX, quiet_until: None }
    }

    /// Descriptors of connections are all that the process may have, but a quarter, or 64, for the rest of
    /// it. Links, their names and who asks for the status go on.
    pub(super) fn count_descriptors(&mut self) {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        self.most = RawFd::try_from(limit - (limit / 4).min(64)).unwrap_or(RawFd::MAX);
    }

    /// Once a minute at most.
    pub(super) fn warn(&mut self, what: &str, now: Instant) {
        if self.quiet_until.is_none_or(|until| until <= now) {
            self.quiet_until = Some(now.saturating_add(QUIET));
            let advice = "raise the limit on open files (ulimit -n, LimitNOFILE=), or lower max-connections";
            self.observer.notice(None, &Notice::Warning(format!("{what}; {advice}")));
        }
    }

    fn warn_of_descriptors(&mut self, rule: &Rule, now: Instant) {
        self.warn(&format!("no descriptor is left for connections at {}: they are reset", rule.spec.listen), now);
    }

    fn watch_as(&self, stream: &TcpStream, number: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        Ok(self.epoll.add(stream, EpollEvent::new(flags, number))?)
    }
}

impl System for Kernel {
    type Stream = TcpStream;
    type Piece = Pipe;

    fn has_room(&mut self, rule: &Rule, client: &TcpStream, now: Instant) -> bool {
        let has_room = client.as_raw_fd() < self.most;
        if !has_room {
            self.warn_of_descriptors(rule, now);
        }
        has_room
    }

    fn watch(&mut self, id: Id, client: &TcpStream) -> Result<(), Refusal> {
        let watched = client.set_nonblocking(true).and_then(|()| self.watch_as(client, id.client()));
        watched.map_err(|error| refusal(&error))
    }

    fn place(&self, address: &ZonedAddress, port: u16) -> Result<SocketAddr, Refusal> {
        socket_address(address.address, address.zone.as_deref(), port).map_err(|_| Refusal::Unreachable)
    }

    fn addresses(&mut self, name: &Name, family: Family, id: Id, now: Instant) -> Option<Vec<IpAddr>> {
        self.names.addresses(name, family, now, id)
    }

    fn connect(&mut self, rule: &Rule, id: Id, to: SocketAddr, now: Instant) -> Result<Opened<TcpStream>, Refusal> {
        let opened = connect(to).and_then(|opened| match opened.stream.as_raw_fd() < self.most {
            true => self.watch_as(&opened.stream, id.server()).map(|()| opened),
            false => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        });
        opened.map_err(|error| {
            if error.raw_os_error() == Some(libc::EMFILE) {
                self.warn_of_descriptors(rule, now);
            }
            refusal(&error)
        })
    }

    fn connected(&mut self, server: &TcpStream) -> Result<(), Refusal> {
        match server.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(refusal(&error)),
        }
    }

    fn ends(&self, client: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((client.peer_addr()?, client.local_addr()?))
    }

    fn read(&mut self, mut from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        from.read(buffer)
    }

    fn write(&mut self, mut to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        to.write(bytes)
    }

    fn shutdown(&mut self, stream: &TcpStream) -> io::Result<()> {
        stream.shutdown(Shutdown::Write)
    }

    fn take(&mut self, from: &TcpStream) -> io::Result<Taken<Pipe>> {
        self.pipes.take(from, self.most)
    }

    fn give(&mut self, piece: &Pipe, left: usize, to: &TcpStream) -> io::Result<usize> {
        Pipes::give(piece, left, to)
    }

    fn recycle(&mut self, piece: Pipe) {
        self.pipes.recycle(piece);
    }

    fn queued(&self, stream: &TcpStream) -> u64 {
        let mut queued = 0;
        // SAFETY: the ioctl writes one int behind the pointer, which outlives the call.
        let outcome = unsafe { ioctl::queued(stream.as_raw_fd(), &raw mut queued) };
        outcome.ok().and_then(|_| u64::try_from(queued).ok()).unwrap_or_default()
    }

    fn close(&mut self, stream: TcpStream) {
        drop(stream);
    }

    fn reset(&mut self, stream: TcpStream) {
        // Of one that is reset already it fails, and nothing is left to do.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }

    fn ended(&mut self, _rule: &Rule, _client: &TcpStream, _end: End) {}
}

#[allow(missing_docs, reason = "nix's macros make public functions in a private module")]
mod ioctl {
    // SIOCOUTQ by its other name.
    nix::ioctl_read_bad!(queued, libc::TIOCOUTQ, libc::c_int);
}

/// Begins to connect; the socket tells when that has come to something.
fn connect(to: SocketAddr) -> io::Result<Opened<TcpStream>> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    prepare(&socket)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from(socket);
    // A machine speaks to its own addresses from the same ones.
    let own = stream.local_addr().ok().filter(|own| own.ip() == to.ip() || own.ip().is_loopback());
    Ok(Opened { stream, own })
}

/// What the kernel says of a connection that it could not make.
fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Refusal::Target,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::ENODEV) => {
            Refusal::Unreachable
        }
        Some(libc::ETIMEDOUT) => Refusal::Timeout,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL) => Refusal::NoRoom,
        _ => Refusal::Other,
    }
}

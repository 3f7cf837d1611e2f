//! LLMNR by TCP (NAM-25, NAM-61): one question a connection, one connection at a time.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Holding, Shared, lock};
use crate::resolve::client::{read_exact, remaining};
use crate::resolve::discard::Discard;
use crate::resolve::llmnr::{Asked, PORT, Query};
use crate::resolve::message::wire_name;

/// How long a connection may take: it keeps others, and the end, waiting.
const PATIENCE: Duration = Duration::from_millis(250);
/// The wait after a connection that could not be taken, mostly for want of a descriptor: it is still there.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest question: a name of a few labels, and EDNS0.
const LONGEST: usize = 1024;

/// Listens at the port of LLMNR.
pub(super) fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // RFC 4795 §2.5: nothing of it leaves the link.
    socket.set_ttl_v4(1)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT).into())?;
    socket.listen(8)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Answers until the other end of `stop` is gone.
pub(super) fn serve(listener: &TcpListener, stop: &UnixStream, shared: &Mutex<Shared>) {
    loop {
        let mut fds = [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let is_ready = poll(&mut fds, PollTimeout::NONE).is_ok();
        if fds.first().and_then(PollFd::any).unwrap_or_default() {
            return;
        }
        if is_ready {
            match listener.accept() {
                // What is wrong with one connection is not with the next.
                Ok((stream, peer)) => drop(answer(stream, peer, shared)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

fn answer(mut stream: TcpStream, peer: SocketAddr, shared: &Mutex<Shared>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let (IpAddr::V4(asker), IpAddr::V4(own)) = (peer.ip(), stream.local_addr()?.ip()) else { return Ok(()) };
    let here = lock(shared).links.iter().find(|link| link.interface.has(own)).cloned();
    let Some(link) = here.filter(|link| link.interface.is_on_link(asker)) else {
        lock(shared).discard(Discard::OffLink);
        return Ok(());
    };
    let holding = link.llmnr.as_ref().map(|check| check.holding);
    let (Some(Holding::Held | Holding::Checking), Some(holding)) = (holding, holding) else { return Ok(()) };
    stream.set_nonblocking(false)?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, until)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length)).min(LONGEST)];
    read_exact(&mut stream, &mut question, until)?;
    let name = wire_name(&super::router_name());
    let query = match Query::read(&question, &name) {
        Ok(Some(query)) if query.asked != Asked::Conflict => query,
        Ok(_) => return Ok(()),
        Err(reason) => {
            lock(shared).discard(reason);
            return Ok(());
        }
    };
    let answer = query.answer(&link.addresses, holding == Holding::Checking).map_err(io::Error::other)?;
    stream.set_write_timeout(Some(remaining(until)?))?;
    stream.write_all(answer.as_stream_slice())?;
    lock(shared).answered();
    Ok(())
}

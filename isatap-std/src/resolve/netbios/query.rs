//! Asking WINS servers, and everybody on a link (NAM-31).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Instant;

use super::{
    LINK_TIMEOUT, LINK_TRIES, LONGEST_WAIT, NetbiosName, PORT, Reply, SERVER_TIMEOUT, SERVER_TRIES, query, reply,
};
use crate::resolve::client::{random_id, remaining};
use crate::resolve::discard::{Discard, Discards};
use crate::resolve::interfaces::Interface;
use crate::resolve::link_socket::LinkSocket;
use crate::resolve::{Failure, Heard};

/// The most that RFC 1002 §4.2.1 has in one datagram is 576 bytes; larger ones are read as well.
const LARGEST: usize = 2048;
/// Datagrams that are not the answer, before a server is given up.
const MAX_STRAY: usize = 64;

/// Asks the servers in order. The first that has the name or knows that there is none decides; one that
/// cannot tell does not.
pub(in crate::resolve) fn ask_wins(
    servers: &[Ipv4Addr],
    name: &NetbiosName,
    discards: &mut Discards,
) -> Result<(Heard, Ipv4Addr), Failure> {
    let mut worst = Failure::Unreachable;
    for server in servers {
        match ask_server(*server, name, discards) {
            Err(failure) if failure.keeps_routers() => worst = worst.max(failure),
            decided => return decided,
        }
    }
    Err(worst)
}

/// Asks one server, and once the one that it names instead (NAM-62).
fn ask_server(server: Ipv4Addr, name: &NetbiosName, discards: &mut Discards) -> Result<(Heard, Ipv4Addr), Failure> {
    let mut asked = server;
    for _ in 0..2 {
        let said = exchange(asked, name, discards).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
            _ => Failure::Unreachable,
        })?;
        match said {
            Some(Reply::Addresses { addresses, ttl }) => return Ok((Heard { addresses, ttl }, asked)),
            Some(Reply::NoSuchName) => return Err(Failure::NoSuchName),
            Some(Reply::ServerFailure) => return Err(Failure::ServerFailure),
            Some(Reply::Redirect(other)) => asked = other,
            Some(Reply::Wait(_)) | None => break,
        }
    }
    Err(Failure::BadAnswer)
}

/// What a server says at last; `None`: only what is no answer.
fn exchange(server: Ipv4Addr, name: &NetbiosName, discards: &mut Discards) -> io::Result<Option<Reply>> {
    let id = random_id()?;
    let question = query(id, name, false);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Connected: the kernel drops what does not come from the server's address and port.
    socket.connect((server, PORT))?;
    let (mut buffer, mut strays, mut is_waiting) = ([0; LARGEST], 0, false);
    for _ in 0..SERVER_TRIES {
        socket.send(&question)?;
        let mut until = Instant::now() + SERVER_TIMEOUT;
        while let Ok(left) = remaining(until) {
            socket.set_read_timeout(Some(left))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            };
            match reply(buffer.get(..length).unwrap_or_default(), id, name) {
                // The server works on it: it is not asked again meanwhile. It may say so once.
                Ok(Reply::Wait(time)) if !is_waiting => {
                    is_waiting = true;
                    until = Instant::now() + time.clamp(SERVER_TIMEOUT, LONGEST_WAIT);
                }
                Ok(Reply::Wait(_)) => {}
                Ok(said) => return Ok(Some(said)),
                Err(reason) => {
                    discards.count(reason);
                    strays += 1;
                    if strays >= MAX_STRAY {
                        return Ok(None);
                    }
                }
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Asks by broadcast on each of the interfaces; the first answer wins. The name of the interface
/// comes with it.
pub(in crate::resolve) fn ask_broadcast(
    interfaces: &[Interface],
    name: &NetbiosName,
    discards: &mut Discards,
) -> Result<(Heard, String), Failure> {
    let unreachable = |_: io::Error| Failure::Unreachable;
    let id = random_id().map_err(unreachable)?;
    let question = query(id, name, true);
    let socket = LinkSocket::open(0).map_err(unreachable)?;
    let (mut buffer, mut is_sent) = ([0; LARGEST], false);
    for _ in 0..LINK_TRIES {
        for interface in interfaces {
            for (from, to) in interface.broadcasts() {
                is_sent |= socket.send(&question, SocketAddrV4::new(to, PORT), from, interface.index).is_ok();
            }
        }
        if !is_sent {
            return Err(Failure::Unreachable);
        }
        let until = Instant::now() + LINK_TIMEOUT;
        let mut first: Option<(Heard, String)> = None;
        for _ in 0..MAX_STRAY {
            let Some(arrival) = socket.receive(&mut buffer, until).map_err(unreachable)? else { break };
            let here = interfaces.iter().find(|interface| interface.index == arrival.interface);
            let heard = match here.filter(|here| here.is_on_link(*arrival.from.ip())) {
                None => Err(Discard::OffLink),
                Some(_) if arrival.from.port() != PORT => Err(Discard::WrongPort),
                Some(here) => match reply(buffer.get(..arrival.length).unwrap_or_default(), id, name) {
                    Ok(Reply::Addresses { addresses, ttl }) => Ok((Heard { addresses, ttl }, here.name.clone())),
                    // Only a server may say so.
                    Ok(_) => Err(Discard::ErrorCode),
                    Err(reason) => Err(reason),
                },
            };
            match (heard, &first) {
                (Ok(heard), None) => first = Some(heard),
                // NAM-33: those that come later are counted, unless they say the same.
                (Ok((heard, _)), Some((first, _))) if heard.addresses == first.addresses => {}
                (Ok(_), Some(_)) => discards.count(Discard::Conflicting),
                (Err(reason), _) => discards.count(reason),
            }
        }
        if let Some(first) = first {
            return Ok(first);
        }
    }
    Err(Failure::NoSuchName)
}

//! One carried connection: the client's, the one to the target, and what goes between them.

use super::Rule;
use super::flow::{Flow, Progress, Side, Stock};
use super::header::header;
use super::listener::prepare;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whom the limit for one source counts: an IPv4 address, or an IPv6 /64, of which one host has as
/// many addresses as it likes. `PPX-12`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Source::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Source::V6([a, b, c, d])
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    /// As it was when the connection was accepted.
    pub(super) rule: Arc<Rule>,
    pub(super) source: Source,
    pub(super) client: Side,
    pub(super) stage: Stage,
    /// How often this process has accepted what it had opened itself, before this one.
    pub(super) rounds: u8,
    /// Our end of the connection to the target, where that is on this machine.
    pub(super) own: Option<SocketAddr>,
    /// When it is looked at although nothing has happened.
    pub(super) due: Option<Instant>,
    /// When something was carried last, or an end was seen to take what waits for it.
    pub(super) active: Instant,
    /// What waited in the kernel for both ends when that was asked last; 0: not since something was carried.
    pub(super) queued: u64,
    /// It has had its turn and waits for another.
    pub(super) is_queued: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The target's name is looked up until then.
    Resolving { until: Instant },
    /// `PPX-6`: nothing is read from the client yet.
    Connecting {
        server: TcpStream,
        /// The addresses to try after this one, the next one last.
        left: Vec<SocketAddr>,
        /// For all of them.
        until: Instant,
    },
    /// To the target, and from it.
    Open { server: Side, up: Flow, down: Flow },
}

/// What became of a turn.
#[derive(Debug)]
pub(super) enum Outcome {
    GoesOn(Progress),
    /// Both directions are over.
    Over,
}

impl Connection {
    /// The target has accepted. `PPX-8`: the first that it reads may be who the client is.
    pub(super) fn open(&mut self, server: TcpStream, now: Instant) -> io::Result<()> {
        let up = match self.rule.spec.proxy_protocol {
            Some(version) => {
                let (client, listener) = (self.client.stream.peer_addr()?, self.client.stream.local_addr()?);
                Flow::preceded_by(header(version, client, listener))
            }
            None => Flow::default(),
        };
        self.stage = Stage::Open { server: Side::new(server), up, down: Flow::default() };
        self.active = now;
        Ok(())
    }

    /// Carries both ways.
    ///
    /// # Errors
    ///
    /// One side was reset, or is gone.
    pub(super) fn carry(&mut self, stock: &mut Stock, now: Instant) -> io::Result<Outcome> {
        let Stage::Open { server, up, down } = &mut self.stage else { return Ok(Outcome::GoesOn(Progress::Waits)) };
        let upward = up.carry(&mut self.client, server, down.is_over, stock);
        let downward = match &upward {
            Ok(_) => down.carry(server, &mut self.client, up.is_over, stock),
            Err(_) => Ok(Progress::Waits),
        };
        let (to_target, to_client) = (up.take_carried(), down.take_carried());
        self.rule.counters.carried(to_target, to_client);
        if up.take_moved() | down.take_moved() {
            (self.active, self.queued) = (now, 0);
        }
        let (upward, downward) = (upward?, downward?);
        if up.is_over && down.is_over {
            return Ok(Outcome::Over);
        }
        let has_more = [upward, downward].contains(&Progress::HasMore);
        Ok(Outcome::GoesOn(if has_more { Progress::HasMore } else { Progress::Waits }))
    }

    /// Whether nothing has moved for this time. The last megabytes of a download may be in the kernel
    /// long after they were written, and a reset would throw them away: while they become fewer the
    /// connection is not idle. How many there were is known from the second look on, so one whose end
    /// takes nothing is idle after two of these times.
    pub(super) fn is_idle(&mut self, limit: Duration, now: Instant) -> bool {
        let Stage::Open { server, .. } = &self.stage else { return false };
        if now < self.active + limit {
            return false;
        }
        let queued = self.client.queued() + server.queued();
        if std::mem::replace(&mut self.queued, queued) == queued {
            return true;
        }
        self.active = now;
        false
    }

    /// `PPX-7`: closes both sides by a reset, so that neither takes what it has for all there is.
    pub(super) fn reset(self) {
        reset(self.client.stream);
        match self.stage {
            Stage::Resolving { .. } => {}
            Stage::Connecting { server, .. } => reset(server),
            Stage::Open { server, .. } => reset(server.stream),
        }
    }
}

/// Closes a connection by a reset.
pub(super) fn reset(stream: TcpStream) {
    // Of one that is reset already it fails, and nothing is left to do.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Begins to connect; the socket tells when that has come to something. And our own end, where the
/// target is on this machine.
pub(super) fn connect(to: SocketAddr) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    prepare(&socket)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from(socket);
    // A machine speaks to its own addresses from the same ones.
    let own = stream.local_addr().ok().filter(|own| own.ip() == to.ip() || own.ip().is_loopback());
    Ok((stream, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ppx_12_a_source_is_an_ipv4_address_or_an_ipv6_subnet() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
    }
}

//! What a NAT lets in to a port that has sent to a Teredo server: everybody, the addresses that were
//! sent to, or their very ports.
//!
//! RFC 4380 tells cone NATs and restricted ones apart by an answer from the server's other address
//! (§5.2.1), which a client of RFC 5991 does not ask for, since its address would say so. Nor does it
//! tell restricted NATs apart. Both can be seen from ports that no address is made of: a
//! solicitation with the cone bit is answered from the secondary address, to which nothing was
//! sent (everybody is let in), or nothing but a datagram to another port (addresses are let in).
//! Every server answers so; the NAT alone makes the difference.

use crate::clock::Clock;
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::teredo::secrets::Secrets;
use crate::waker::Waker;
use isatap_core::engine::Machine as _;
use isatap_core::link::Locator;
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::qualify::{NatKind, SOLICITATION_INTERVAL, Stage};
use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// Whom a NAT lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetsIn {
    /// Everybody: a cone NAT.
    Everybody,
    /// Whoever was sent to, from any port.
    Addresses,
    /// The ports that were sent to.
    Ports,
}

/// The name of a NAT's kind in kebab-case; stable.
pub(crate) fn nat_name(kind: NatKind, lets_in: Option<LetsIn>) -> &'static str {
    match (kind, lets_in) {
        (NatKind::Restricted, Some(LetsIn::Everybody)) => "cone",
        (NatKind::Restricted, Some(LetsIn::Ports)) => "port-restricted",
        (kind, _) => kind.as_str(),
    }
}

/// Two solicitations, and a second for the answer to the last.
const PATIENCE: Duration = Duration::from_millis(4000 + 1000);
/// How long one of the two ports is listened to at a time.
const GLANCE: Duration = Duration::from_millis(25);
/// Nobody listens there, and if so it throws away what comes. [RFC 863]
const DISCARD: u16 = 9;

const _: () = assert!(PATIENCE.as_secs() > SOLICITATION_INTERVAL.as_secs());

/// Which servers are to show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    pub(crate) server: Ipv4Addr,
    pub(crate) secondary: Ipv4Addr,
    pub(crate) locator: Locator,
    pub(crate) secrets: Secrets,
    pub(crate) accept_bogons: bool,
}

impl Question {
    /// Finds out, within 5 seconds, and sends nothing any more once it is not `wanted`.
    ///
    /// # Errors
    ///
    /// The kernel does not send.
    pub(crate) fn ask(&self, wanted: impl Fn() -> bool) -> io::Result<LetsIn> {
        let clock = Clock::start();
        let end = clock.now().saturating_add(PATIENCE);
        let (mut untouched, mut opened) = (Trial::begin(self, &clock, false)?, Trial::begin(self, &clock, true)?);
        while wanted() && !clock.until(end).is_zero() {
            untouched.turn(&clock)?;
            if untouched.is_heard() {
                return Ok(LetsIn::Everybody);
            }
            if !opened.is_heard() {
                opened.turn(&clock)?;
            }
        }
        Ok(if opened.is_heard() { LetsIn::Addresses } else { LetsIn::Ports })
    }
}

/// A client in the cone phase, at a port of its own.
struct Trial {
    machine: Box<Client<[Peer; 1], Secrets, 1>>,
    socket: UdpSocket,
    local: SocketAddrV4,
    /// Where a datagram goes before each solicitation.
    opens: Option<SocketAddrV4>,
    entropy: OsEntropy,
}

impl Trial {
    fn begin(question: &Question, clock: &Clock, opens: bool) -> io::Result<Self> {
        let socket = UdpSocket::bind((question.locator.address, 0))?;
        socket.set_read_timeout(Some(GLANCE))?;
        let local = SocketAddrV4::new(question.locator.address, socket.local_addr()?.port());
        let mut config = ClientConfig::new(question.server, local.port());
        config.qualify.secondary = Some(question.secondary);
        config.qualify.accept_bogons = question.accept_bogons;
        config.qualify.cone_phase = true;
        let mut machine = Box::new(Client::with_parts(config, LinkId(0), question.secrets.clone(), PeerTable::new()));
        machine.set_locator(clock.now(), Some(question.locator));
        let entropy = OsEntropy::open().map_err(|error| io::Error::other(error.to_string()))?;
        let opens = opens.then_some(SocketAddrV4::new(question.secondary, DISCARD));
        Ok(Self { machine, socket, local, opens, entropy })
    }

    /// Whether the secondary address was heard.
    fn is_heard(&self) -> bool {
        self.machine.status().stage == Stage::Qualified
    }

    fn turn(&mut self, clock: &Clock) -> io::Result<()> {
        let mut buffer = [0; 2048];
        self.machine.handle_timeout(clock.now(), &mut self.entropy);
        loop {
            let mut packet = PacketMut::empty(&mut buffer);
            let Ok(Some(sent)) = self.machine.poll_transmit(&mut packet) else { break };
            let Some((outer, (_, port))) = sent.outer.and_then(|outer| Some((outer, outer.ports?))) else { continue };
            if let Some(opens) = self.opens {
                self.socket.send_to(&[0], opens)?;
            }
            self.socket.send_to(packet.as_slice(), (outer.destination, port))?;
        }
        while self.machine.poll_event().is_some() {}
        match self.socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(from))) => {
                if let Ok(mut packet) = PacketMut::new(&mut buffer, 0..length) {
                    self.machine.decapsulate(clock.now(), &Outer::udp(from, self.local), &mut packet);
                }
                Ok(())
            }
            Err(error) if !is_silence(error.kind()) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Nothing has come yet, or the kernel tells of another datagram's fate.
fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ConnectionRefused)
}

/// A thread that asks; readable when [`take`](Self::take) has something.
#[derive(Debug)]
pub(crate) struct Asker {
    questions: Sender<(u32, Question)>,
    /// The number of the last question; another one than that of the one at hand ends it.
    last: Arc<AtomicU32>,
    answers: Receiver<(Question, io::Result<LetsIn>)>,
    wake: UnixStream,
    _waker: Waker,
}

impl Asker {
    /// Starts the thread, which waits for [`ask`](Self::ask).
    pub(crate) fn start() -> Result<Self, Error> {
        let refused = |error| Error::refused("start", "the thread that asks what the NAT lets in", error);
        let (waker, wake) = Waker::pair().map_err(refused)?;
        let kept = waker.clone();
        let (questions, asked) = mpsc::channel::<(u32, Question)>();
        let last = Arc::new(AtomicU32::new(0));
        let wanted = last.clone();
        let (told, answers) = mpsc::channel();
        let work = move || {
            while let Ok((number, question)) = asked.recv() {
                let is_wanted = || wanted.load(Ordering::Relaxed) == number;
                let answer = question.ask(is_wanted);
                if !is_wanted() {
                    continue;
                }
                if told.send((question, answer)).is_err() {
                    break;
                }
                waker.wake();
            }
        };
        crate::thread::spawn("isatap-nat", work).map_err(refused)?;
        Ok(Self { questions, last, answers, wake, _waker: kept })
    }

    /// Asks this, and nothing else any more.
    pub(crate) fn ask(&self, question: Question) {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // A thread that has ended answers nothing: then the kind stays unknown.
        let _ = self.questions.send((number, question));
    }

    /// Asks no more.
    pub(crate) fn stop(&self) {
        self.last.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer, and to what.
    pub(crate) fn take(&self) -> Option<(Question, io::Result<LetsIn>)> {
        while matches!((&self.wake).read(&mut [0; 16]), Ok(1..)) {}
        self.answers.try_iter().last()
    }
}

impl AsFd for Asker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_restricted_nat_is_told_apart_by_whom_it_lets_in() {
        let all = [None, Some(LetsIn::Everybody), Some(LetsIn::Addresses), Some(LetsIn::Ports)];
        let names = |kind| all.map(|lets_in| nat_name(kind, lets_in));
        assert_eq!(names(NatKind::Restricted), ["restricted", "cone", "restricted", "port-restricted"]);
        for kind in [NatKind::None, NatKind::Cone, NatKind::Symmetric, NatKind::Unknown] {
            assert_eq!(names(kind), [kind.as_str(); 4]);
        }
    }
}

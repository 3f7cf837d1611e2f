//! A stub resolver over UDP and TCP, blocking, without a cache.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::message::{self, MAX_ALIASES, Reply, WireName};
use super::{AddressLookup, Failure, Name, Records, ResolvConf};

/// Datagrams that are not the answer, before a server is given up: more is a
/// flood of guesses, and each try would raise its chance.
const MAX_STRAY_DATAGRAMS: usize = 64;

/// The built-in client of the DNS.
///
/// Each question goes out from a new socket on a port that the system picks, with
/// a random 16-bit identification; only the server's own address is heard.
/// A truncated answer is fetched by TCP. Servers are asked in order; one that
/// answered, even with an error, is not asked again for the same name, one that
/// stayed silent is asked once in each of [`ResolvConf::attempts`] rounds.
/// Time for one name: at most servers × attempts × timeout (30 s with three
/// servers), and never beyond the given deadline.
///
/// Not done: EDNS, DNSSEC, a cache. RFC 1035 §4 and §7.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StubClient {}

impl StubClient {
    /// A client; it holds no state between questions.
    #[must_use]
    pub fn new() -> Self {
        StubClient {}
    }
}

impl AddressLookup for StubClient {
    fn addresses(&mut self, name: &Name, conf: &ResolvConf, deadline: Instant) -> Result<Records, Failure> {
        let mut name = message::wire_name(name);
        let mut chain_ttl = Duration::MAX;
        let mut links = MAX_ALIASES;
        // Each round but the last uses up at least one alias.
        for _ in 0..=MAX_ALIASES {
            let reply = first_answer(conf, deadline, |server, until| ask(server, &name, links, until))?;
            match reply {
                Sound::Addresses { addresses, ttl } => {
                    let ttl = ttl.min(chain_ttl);
                    return Ok(Records { addresses, ttl });
                }
                Sound::Alias { target, ttl, links: used } => {
                    name = target;
                    chain_ttl = chain_ttl.min(ttl);
                    links = links.saturating_sub(used);
                }
            }
        }
        Err(Failure::BadAnswer)
    }
}

/// Rounds over the servers, in order, until one gives a sound answer: `ask` with its
/// address and the time it has. [`Failure::NoSuchName`] is a sound answer too. A server
/// that was not heard is asked again in the next round, one that failed otherwise is not.
///
/// Without an answer: what the servers said rather than their silence.
pub(crate) fn first_answer<T>(
    conf: &ResolvConf,
    deadline: Instant,
    mut ask: impl FnMut(SocketAddr, Instant) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut unheard = conf.nameservers.clone();
    let mut said = None;
    for _ in 0..conf.attempts {
        let mut still_unheard = Vec::new();
        for server in unheard {
            let now = Instant::now();
            if now >= deadline {
                return Err(said.unwrap_or(Failure::Timeout));
            }
            let failure = match ask(server, deadline.min(now + conf.timeout)) {
                Ok(answer) => return Ok(answer),
                Err(Failure::NoSuchName) => return Err(Failure::NoSuchName),
                Err(failure) => failure,
            };
            if rank(failure) < 2 {
                still_unheard.push(server);
            }
            if said.is_none_or(|said| rank(failure) > rank(said)) {
                said = Some(failure);
            }
        }
        unheard = still_unheard;
    }
    Err(said.unwrap_or(Failure::Unreachable))
}

/// How much a failure tells.
fn rank(failure: Failure) -> u8 {
    match failure {
        Failure::Unreachable => 0,
        Failure::Timeout => 1,
        _ => 2,
    }
}

/// A [`Reply`] that leads on.
enum Sound {
    Addresses { addresses: Vec<Ipv4Addr>, ttl: Duration },
    Alias { target: WireName, ttl: Duration, links: u8 },
}

fn ask(server: SocketAddr, name: &WireName, links: u8, until: Instant) -> Result<Sound, Failure> {
    let reply = exchange(server, name, links, until).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
        _ => Failure::Unreachable,
    })?;
    match reply {
        Reply::Addresses { addresses, ttl } => Ok(Sound::Addresses { addresses, ttl }),
        Reply::Alias { target, ttl, links } => Ok(Sound::Alias { target, ttl, links }),
        Reply::NoSuchName => Err(Failure::NoSuchName),
        Reply::ServerFailure => Err(Failure::ServerFailure),
        Reply::Malformed | Reply::Truncated => Err(Failure::BadAnswer),
    }
}

fn exchange(server: SocketAddr, name: &WireName, links: u8, until: Instant) -> io::Result<Reply> {
    let id = random_id()?;
    let question = message::query(id, name).map_err(io::Error::other)?;
    let reply = ask_udp(server, question.as_dgram_slice(), until, |message| message::reply(message, id, name, links))?;
    if reply != Reply::Truncated {
        return Ok(reply);
    }
    let message = ask_tcp(server, question.as_stream_slice(), until)?;
    // TC makes no sense here, and a stream carries nobody else's answers.
    Ok(message::reply(&message, id, name, links).unwrap_or(Reply::Malformed))
}

fn ask_udp(
    server: SocketAddr,
    question: &[u8],
    until: Instant,
    read: impl Fn(&[u8]) -> Option<Reply>,
) -> io::Result<Reply> {
    let any_port: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any_port)?;
    // Connected: the kernel drops what does not come from the server's address and port.
    socket.connect(server)?;
    socket.send(question)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for _ in 0..MAX_STRAY_DATAGRAMS {
        socket.set_read_timeout(Some(remaining(until)?))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(reply) = buffer.get(..length).and_then(&read) {
                    return Ok(reply);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Reply::Malformed)
}

/// RFC 1035 §4.2.2: each message behind its length in two octets, the question too.
fn ask_tcp(server: SocketAddr, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    exchange_tcp(TcpStream::connect_timeout(&server, remaining(until)?)?, question, until)
}

/// The same by a connection that there is.
pub(crate) fn exchange_tcp(mut stream: TcpStream, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(remaining(until)?))?;
    stream.write_all(question)?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, until)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut message, until)?;
    Ok(message)
}

/// `Read::read_exact` with a deadline for the whole: a server that sends an octet
/// now and then must not hold the thread.
pub(super) fn read_exact(stream: &mut TcpStream, mut out: &mut [u8], until: Instant) -> io::Result<()> {
    while !out.is_empty() {
        stream.set_read_timeout(Some(remaining(until)?))?;
        match stream.read(out) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => out = out.get_mut(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time left; an error when there is none, since a socket's timeout cannot be zero.
pub(crate) fn remaining(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// SEC-14: an identification nobody can guess.
pub(crate) fn random_id() -> io::Result<u16> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(u16::from_ne_bytes(id))
}

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
    fn addresses(
        &mut self,
        name: &Name,
        conf: &ResolvConf,
        deadline: Instant,
    ) -> Result<Records, Failure> {
        let mut name = WireName::from(name);
        let mut chain_ttl = Duration::MAX;
        let mut links = MAX_ALIASES;
        // Each round but the last uses up at least one alias.
        for _ in 0..=MAX_ALIASES {
            match ask_servers(&name, links, conf, deadline)? {
                Reply::Addresses { addresses, ttl } => {
                    let ttl = ttl.min(chain_ttl);
                    return Ok(Records { addresses, ttl });
                }
                Reply::Alias {
                    target,
                    ttl,
                    links: used,
                } => {
                    name = target;
                    chain_ttl = chain_ttl.min(ttl);
                    links = links.saturating_sub(used);
                }
                Reply::NoSuchName => return Err(Failure::NoSuchName),
                Reply::Malformed | Reply::Truncated => return Err(Failure::BadAnswer),
                Reply::ServerFailure => return Err(Failure::ServerFailure),
            }
        }
        Err(Failure::BadAnswer)
    }
}

/// The first useful answer. Without one: what the servers said rather than their silence.
fn ask_servers(
    name: &WireName,
    links: u8,
    conf: &ResolvConf,
    deadline: Instant,
) -> Result<Reply, Failure> {
    let mut silent = conf.nameservers.clone();
    let mut said = None;
    for _ in 0..conf.attempts {
        let mut still_silent = Vec::new();
        for server in silent {
            let until = deadline.min(Instant::now() + conf.timeout);
            let failure = match ask(server, name, links, until) {
                Ok(Reply::ServerFailure) => Failure::ServerFailure,
                Ok(Reply::Malformed | Reply::Truncated) => Failure::BadAnswer,
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    still_silent.push(server);
                    match error.kind() {
                        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
                        _ => Failure::Unreachable,
                    }
                }
            };
            if said.is_none_or(|said| rank(failure) > rank(said)) {
                said = Some(failure);
            }
        }
        silent = still_silent;
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

fn ask(server: SocketAddr, name: &WireName, links: u8, until: Instant) -> io::Result<Reply> {
    // Past the deadline nothing more is sent.
    remaining(until)?;
    let id = random_id()?;
    let question = message::query(id, name);
    let reply = ask_udp(server, &question, until, |message| {
        message::reply(message, id, name, links)
    })?;
    if reply != Reply::Truncated {
        return Ok(reply);
    }
    let message = ask_tcp(server, &question, until)?;
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

/// RFC 1035 §4.2.2: each message behind its length in two octets.
fn ask_tcp(server: SocketAddr, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, remaining(until)?)?;
    stream.set_write_timeout(Some(remaining(until)?))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed)?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, until)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut message, until)?;
    Ok(message)
}

/// `Read::read_exact` with a deadline for the whole: a server that sends an octet
/// now and then must not hold the thread.
fn read_exact(stream: &mut TcpStream, mut out: &mut [u8], until: Instant) -> io::Result<()> {
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
fn remaining(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// SEC-14: an identification nobody can guess.
fn random_id() -> io::Result<u16> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(u16::from_ne_bytes(id))
}

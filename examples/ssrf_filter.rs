//! Connects only to public addresses, whatever name or address it is given:
//!
//! ```text
//! cargo run -p isatap-examples --example ssrf_filter -- example.com:80 [::ffff:127.0.0.1]:80
//! ```
//!
//! Four rules, each of which a filter was once broken for the lack of:
//!
//! 1. the name is resolved once, by the same call that gives the addresses to
//!    connect to: between check and connect nobody asks the DNS again;
//! 2. every address is asked, and one bad address condemns the name;
//! 3. an address is asked with everything that is hidden in it;
//! 4. what is connected to is an address that was asked, never the name.
//!
//! A client that follows redirects calls this again for each of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what happens")]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use isatap_core::embedded::{Known, embedded_ipv4s, permits};
use isatap_core::prefix::is_public;

fn main() {
    let targets: Vec<String> = std::env::args().skip(1).collect();
    if targets.is_empty() {
        eprintln!("usage: ssrf_filter HOST:PORT...");
        std::process::exit(1);
    }
    // NAT64 prefixes and 6rd domains of the network that this runs in belong here.
    let known = Known::NONE;
    for target in &targets {
        match connect(target, &known, is_public, Duration::from_secs(5)) {
            Ok(stream) => println!("{target}: connected to {}", peer(&stream)),
            Err(error) => println!("{target}: {error}"),
        }
    }
}

/// Connects to `target` (`host:port`) if `allow` says yes to every address
/// that it resolves to and to every IPv4 address in those.
fn connect(
    target: &str,
    known: &Known<'_>,
    allow: impl Fn(IpAddr) -> bool,
    timeout: Duration,
) -> Result<TcpStream, Error> {
    let addresses: Vec<SocketAddr> = target.to_socket_addrs().map_err(Error::Resolve)?.collect();
    if let Some(refused) = addresses.iter().find(|address| !permits(address.ip(), known, &allow)) {
        return Err(Error::Refused { address: refused.ip(), because_of: culprit(refused.ip(), known, &allow) });
    }
    let mut last = io::Error::other("the name has no address");
    for address in &addresses {
        // By address: the name is not looked up again.
        match TcpStream::connect_timeout(address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(Error::Connect(last))
}

/// Which embedded address was refused, to tell the operator and not the user;
/// `None`: the address itself.
fn culprit(address: IpAddr, known: &Known<'_>, allow: impl Fn(IpAddr) -> bool) -> Option<(IpAddr, &'static str)> {
    let IpAddr::V6(address) = address else { return None };
    embedded_ipv4s(address, known)
        .map(|inside| (IpAddr::V4(inside.address), inside.form.as_str()))
        .find(|(inside, _)| !allow(*inside))
}

fn peer(stream: &TcpStream) -> String {
    stream.peer_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

#[derive(Debug)]
enum Error {
    Resolve(io::Error),
    Refused { address: IpAddr, because_of: Option<(IpAddr, &'static str)> },
    Connect(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Resolve(error) => write!(f, "not resolved: {error}"),
            Error::Refused { address, because_of: Some((inside, form)) } => {
                write!(f, "refused: {address} has {inside} in it ({form})")
            }
            Error::Refused { address, because_of: None } => write!(f, "refused: {address} is not public"),
            Error::Connect(error) => write!(f, "not connected: {error}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const TIMEOUT: Duration = Duration::from_secs(2);

    #[test]
    fn every_disguise_of_loopback_is_refused_and_nothing_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            "127.0.0.1",
            "localhost",
            "0.0.0.0",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2606:4700::5efe:7f00:1]",
            "[2001:0:808:808:0:efff:80ff:fffe]",
        ] {
            let answer = connect(&format!("{host}:{port}"), &Known::NONE, is_public, TIMEOUT);
            assert!(matches!(answer, Err(Error::Refused { .. })), "{host}: {answer:?}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_the_rule_allows_is_connected_to_the_address_that_was_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let loopback = |ip: IpAddr| ip.is_loopback();
        let stream = connect(&target.to_string(), &Known::NONE, loopback, TIMEOUT).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), target);
        let other = connect("[2002:7f00:1::1]:9", &Known::NONE, loopback, TIMEOUT);
        assert!(matches!(other, Err(Error::Refused { because_of: None, .. })), "{other:?}");
    }
}

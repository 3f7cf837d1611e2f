//! Sockets of the standard library:
//!
//! ```text
//! cargo run -p isatap-filter-examples --example std_filter -- http://example.com/ 'http://[::ffff:127.0.0.1]/'
//! ```
//!
//! The mistake: to check a name and then to connect by that name, as `TcpStream::connect("host:80")` does. It is looked
//! up again, and the second answer is whatever the owner of the name likes.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use isatap_filter_examples::Filter;

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() {
    for url in std::env::args().skip(1) {
        println!("{url}: {:?}", get(&Filter::public(), &url).map(|body| body.len()));
    }
}

/// Connects to a host of which every address is permitted, by one of these addresses.
fn connect(filter: &Filter, host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in filter.addresses(host, port)? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// As little HTTP as it takes.
fn get(filter: &Filter, url: &str) -> io::Result<String> {
    let rest = url.strip_prefix("http://").ok_or(io::ErrorKind::InvalidInput)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = port.unwrap_or((authority, 80));
    let mut stream = connect(filter, host, port)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_filter_examples::loopback::{World, judge, told};

    #[test]
    fn it_connects_to_permitted_addresses_alone() {
        judge("tests::it_connects_to_permitted_addresses_alone", |world, url| {
            get(&world.filter(), url).map_err(|error| told(&error))
        });
    }

    #[test]
    fn the_mistake_a_name_that_was_checked_is_looked_up_again() {
        let (world, host) = (World::new(), "rebinding.test");
        let filter = world.filter();
        let port = world.url("").rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        assert!(filter.addresses(host, port).is_ok(), "the check");
        let again = (filter.resolve)(host, port).unwrap();
        let stream = TcpStream::connect(&again[..]).unwrap();
        assert!(!filter.permits(stream.peer_addr().unwrap().ip()), "connecting by name led to another server");
    }
}

//! Values of fields that are written as text.

use crate::advice;
use crate::resolve::{Entry, EntryError, Name};
use isatap_core::link::InterfaceAddress;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::addr::SERVER_PORT;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

/// An address with the length of its prefix: `2001:db8::1/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressWithLength(pub InterfaceAddress);

impl FromStr for AddressWithLength {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = |text: &str| text.parse().map_err(|_| AddressError(advice::not_ipv6(text)));
        // What is left out would be guessed: a device with a /128 reaches nobody.
        let Some((own, length)) = text.split_once('/') else {
            let own: Ipv6Addr = address(text)?;
            let advice = format!("the prefix length is missing: write {own}/64, or {own}/128 for a single address");
            return Err(AddressError(advice));
        };
        let address = address(own)?;
        let length = length.parse().ok().filter(|length| Ipv6Prefix::new(address, *length).is_some());
        let prefix_length = length
            .ok_or_else(|| AddressError(format!("a prefix length is 0 to 128: write {address}/64, for example")))?;
        Ok(AddressWithLength(InterfaceAddress { address, prefix_length }))
    }
}

/// Why a text is no [`AddressWithLength`], and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

/// A UDP endpoint: `[V4]:PORT`, or a port alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind(pub SocketAddrV4);

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, port) = text.rsplit_once(':').unwrap_or(("", text));
        let address = match address {
            "" => Ok(Ipv4Addr::UNSPECIFIED),
            address => address.parse(),
        };
        match (address, port.parse()) {
            (Ok(address), Ok(port)) => Ok(Bind(SocketAddrV4::new(address, port))),
            (Ok(_), Err(_)) if port.parse::<Ipv4Addr>().is_ok() => {
                Err("the port is missing: write [V4]:PORT, such as 192.0.2.1:40000, or 192.0.2.1:0 for any port")
            }
            (Ok(_), Err(_)) => {
                Err("a port is a number of 0 to 65535: write [V4]:PORT, such as 192.0.2.1:40000 or :40000")
            }
            (Err(_), _) => {
                Err("no IPv4 address stands in front of the port: write [V4]:PORT, such as 192.0.2.1:40000 or :40000")
            }
        }
    }
}

/// A Teredo server by address or name. `HOST:3544` is taken as well; the protocol has no
/// other port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName(Entry);

impl ServerName {
    /// The address or name.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // More colons are an IPv6 address, and no server's.
        let host = match text.split_once(':').filter(|(_, port)| !port.contains([':', '/'])) {
            Some((host, port)) if port.parse() == Ok(SERVER_PORT) => host,
            Some(("", _)) => return Err("a name is missing in front of the port: write one".to_owned()),
            Some((host, _)) => {
                return Err(format!("a Teredo server has port {SERVER_PORT}: write {host} or {host}:{SERVER_PORT}"));
            }
            None => text,
        };
        host.parse().map(Self).map_err(|error: EntryError| error.to_string())
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server of the DNS, by address or name, and its port: 53 unless another one is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsServer {
    /// By address.
    Address(SocketAddr),
    /// By name, of which an IPv4 address is looked up.
    Name(Name, u16),
}

/// The port of the DNS.
const DNS_PORT: u16 = 53;

impl FromStr for DnsServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(address, DNS_PORT)));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => {
                let port = port.parse().map_err(|_| {
                    format!("write HOST or HOST:PORT, such as {name}:{DNS_PORT}; of an IPv6 address [2001:db8::1]:{DNS_PORT}")
                })?;
                (name, port)
            }
            None => (text, DNS_PORT),
        };
        // What looks like an address and is none says so.
        match name.parse().map_err(|error: EntryError| error.to_string())? {
            Entry::Address(address) => Ok(Self::Address(SocketAddr::new(address.into(), port))),
            Entry::Name(name) => Ok(Self::Name(name, port)),
        }
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(feature = "args")]
pub(super) fn check_neighbors(text: &str) -> Result<isatap_core::isatap::CheckNeighbors, &'static str> {
    let all = isatap_core::isatap::CheckNeighbors::ALL;
    all.into_iter().find(|choice| choice.as_str() == text).ok_or("expected off, where-blind or on")
}

#[cfg(feature = "args")]
pub(super) fn offer_default(text: &str) -> Result<isatap_core::isatap::OfferDefault, &'static str> {
    let all = isatap_core::isatap::OfferDefault::ALL;
    all.into_iter().find(|choice| choice.as_str() == text).ok_or("expected auto, always or never")
}

#[cfg(feature = "args")]
pub(super) fn preference(text: &str) -> Result<isatap_core::route::Preference, &'static str> {
    use isatap_core::route::Preference;
    let all = [Preference::Low, Preference::Medium, Preference::High];
    all.into_iter().find(|preference| preference.as_str() == text).ok_or("expected low, medium or high")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_a_name_at_the_one_port() {
        let name = |text: &str| text.parse::<ServerName>();
        assert_eq!(name("198.51.100.1").unwrap().entry(), &Entry::Address(Ipv4Addr::new(198, 51, 100, 1)));
        assert_eq!(name("198.51.100.1:3544"), name("198.51.100.1"));
        assert_eq!(name("teredo.example.net:3544").unwrap().to_string(), "teredo.example.net");
        assert!(name("198.51.100.1:53").unwrap_err().contains("3544"));
        for wrong in ["", "2001:db8::1", "198.51.100.256", "a..b:3544"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_of_the_dns_has_a_port() {
        let server = |text: &str| text.parse::<DnsServer>().map(|server| server.to_string());
        for (text, read) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("2001:db8::35", "[2001:db8::35]:53"),
            ("[2001:db8::35]:5353", "[2001:db8::35]:5353"),
            ("ns.example.net", "ns.example.net:53"),
            ("ns.example.net.:54", "ns.example.net.:54"),
        ] {
            assert_eq!(server(text).as_deref(), Ok(read));
        }
        for wrong in ["", "192.0.2.256", "ns:x", "ns:70000", "a..b", "2001:db8:::1"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bind_takes_an_address_and_a_port_or_a_port() {
        let bind = |text: &str| text.parse::<Bind>().map(|bind| bind.0);
        let any = Ipv4Addr::UNSPECIFIED;
        assert_eq!(bind(":40000"), Ok(SocketAddrV4::new(any, 40_000)));
        assert_eq!(bind("40000"), Ok(SocketAddrV4::new(any, 40_000)));
        assert_eq!(bind("192.0.2.1:0"), Ok(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0)));
        for wrong in ["", ":", "192.0.2.1", "192.0.2.1:65536", "[::1]:1", "x:1"] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }
}

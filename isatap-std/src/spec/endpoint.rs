//! TCP endpoints as text: where a port proxy listens, and what it connects to.

use crate::advice;
use crate::device::check_device;
use crate::resolve::Name;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The version of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// `0.0.0.0` or `::`.
    pub(crate) fn any(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// `127.0.0.1` or `::1`.
    pub(crate) fn loopback(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// The IP versions of a rule: of its clients and of its target, as `netsh interface portproxy`
/// names them. `PPX-1`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direction {
    /// Of the clients.
    pub from: Family,
    /// Of the target.
    pub to: Family,
}

impl Direction {
    /// The four that there are.
    pub const ALL: [Self; 4] = [
        Self { from: Family::V4, to: Family::V4 },
        Self { from: Family::V4, to: Family::V6 },
        Self { from: Family::V6, to: Family::V4 },
        Self { from: Family::V6, to: Family::V6 },
    ];

    /// `v4tov6`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match (self.from, self.to) {
            (Family::V4, Family::V4) => "v4tov4",
            (Family::V4, Family::V6) => "v4tov6",
            (Family::V6, Family::V4) => "v6tov4",
            (Family::V6, Family::V6) => "v6tov6",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Direction {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|direction| direction.as_str().eq_ignore_ascii_case(text));
        found.ok_or("expected v4tov4, v4tov6, v6tov4 or v6tov6")
    }
}

/// An address, with its zone where it is link-local.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ZonedAddress {
    /// The address.
    pub address: IpAddr,
    /// The device of a link-local address, by name or number.
    pub zone: Option<String>,
}

impl ZonedAddress {
    /// An address that needs no zone.
    pub(crate) fn plain(address: IpAddr) -> Self {
        Self { address, zone: None }
    }

    /// Reads what stands in brackets, or an IPv4 address. `PPX-10`: link-local ones need a zone.
    fn parse(text: &str) -> Result<Self, String> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| match address.contains(':') {
            true => advice::not_ipv6(address),
            false => advice::not_ipv4(address),
        })?;
        let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match zone {
            None if is_link_local => {
                Err(format!("each link has a {address}: write its device behind it, for example [{address}%eth1]"))
            }
            Some(_) if !is_link_local => Err(format!("only link-local addresses have a zone: write {address}")),
            Some(zone) => match check_device(zone) {
                Ok(()) => Ok(Self { address, zone: Some(zone.to_owned()) }),
                Err(error) => Err(error.to_string()),
            },
            None => Ok(Self { address, zone: None }),
        }
    }
}

impl fmt::Display for ZonedAddress {
    /// As it stands in front of a port: with brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, &self.zone) {
            (IpAddr::V4(address), _) => write!(f, "{address}"),
            (IpAddr::V6(address), None) => write!(f, "[{address}]"),
            (IpAddr::V6(address), Some(zone)) => write!(f, "[{address}%{zone}]"),
        }
    }
}

/// Where a port proxy listens: `PORT`, `*:PORT`, `V4:PORT`, `[V6]:PORT`, `[V6%DEV]:PORT`. `PPX-4`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The address; `None`: any of the rule's IP version.
    pub address: Option<ZonedAddress>,
    /// The TCP port, not 0.
    pub port: u16,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Parts::of(text)?;
        let (host, port) = match (parts.host, parts.port) {
            // A port alone.
            (Host::Plain(port), None) if is_number(port) => (Host::None, Some(port)),
            other => other,
        };
        let address = match host {
            Host::None | Host::Plain("*") => None,
            Host::Bracketed(text) => Some(ZonedAddress::parse(text)?),
            // A file says the same on each machine and at any time.
            Host::Plain(text) if text.contains(char::is_alphabetic) => {
                return Err("a rule listens at an address, not at a name: write one, or *:PORT for all".to_owned());
            }
            Host::Plain(text) => Some(ZonedAddress::parse(text)?),
        };
        if address.as_ref().is_some_and(|address| address.address.is_multicast()) {
            return Err("TCP has no multicast: write an address of this machine, or *:PORT for all".to_owned());
        }
        let port =
            port.ok_or("the port is missing: write it behind the address, such as 192.0.2.1:8080 or [::]:8080")?;
        Ok(Listen { address, port: number(port)? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            None => write!(f, "*:{}", self.port),
            Some(address) => write!(f, "{address}:{}", self.port),
        }
    }
}

/// What a port proxy connects to: `HOST:PORT`, `HOST`, or `PORT` of this machine. `PPX-4`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The machine; `None`: this one, by its loopback address.
    pub host: Option<TargetHost>,
    /// The TCP port, not 0; `None`: the one that the rule listens on.
    pub port: Option<u16>,
}

/// The machine of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// By its address.
    Address(ZonedAddress),
    /// By a name, which is resolved for each connection, and remembered for a minute at most.
    Name(Name),
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetHost::Address(address) => address.fmt(f),
            TargetHost::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Parts::of(text)?;
        let (host, port) = match (parts.host, parts.port) {
            (Host::Plain(port), None) if is_number(port) => (Host::None, Some(port)),
            other => other,
        };
        let address = |text: &str| ZonedAddress::parse(text).map(TargetHost::Address);
        let host = match host {
            Host::None => None,
            Host::Bracketed(text) => Some(address(text)?),
            Host::Plain("*") => return Err("any address is no target: write one, or the port alone".to_owned()),
            // What looks like a wrong address is none rather than a name.
            Host::Plain(text) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => Some(address(text)?),
            Host::Plain(text) => {
                Some(TargetHost::Name(text.parse().map_err(|error: crate::resolve::NameError| error.to_string())?))
            }
        };
        if let Some(TargetHost::Address(address)) = &host {
            check_target(address.address)?;
        }
        Ok(Target { host, port: port.map(number).transpose()? })
    }
}

fn check_target(address: IpAddr) -> Result<(), String> {
    if address.is_unspecified() {
        let loopback = ZonedAddress::plain(Family::of(address).loopback());
        return Err(format!("any address is no target: write {loopback} for this machine"));
    }
    if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("TCP reaches one machine: write its address".to_owned());
    }
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(Ok(()), |v4| Err(format!("this is an IPv4 address: write {v4}"))),
        IpAddr::V4(_) => Ok(()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Some(host), Some(port)) => write!(f, "{host}:{port}"),
            (Some(host), None) => host.fmt(f),
            (None, Some(port)) => port.fmt(f),
            (None, None) => f.write_str("this machine"),
        }
    }
}

/// What stands in front of a port, and the port.
struct Parts<'t> {
    host: Host<'t>,
    port: Option<&'t str>,
}

enum Host<'t> {
    None,
    /// In brackets: an IPv6 address.
    Bracketed(&'t str),
    Plain(&'t str),
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix('[') {
            let (host, behind) = rest.split_once(']').ok_or("the bracket ] is missing behind the IPv6 address")?;
            let port = match behind.strip_prefix(':') {
                Some(port) => Some(port),
                None if behind.is_empty() => None,
                None => return Err(format!("write [{host}]:PORT")),
            };
            if host.parse::<Ipv4Addr>().is_ok() {
                return Err(format!("an IPv4 address has no brackets: write {host}:PORT"));
            }
            return Ok(Self { host: Host::Bracketed(host), port });
        }
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((_, behind)) if behind.contains(':') => {
                return Err(format!("put brackets around an IPv6 address: write [{text}]:PORT, for example"));
            }
            Some((host, port)) => (host, Some(port)),
        };
        if host.is_empty() && port.is_none() {
            return Err("nothing is given: write ADDRESS:PORT".to_owned());
        }
        Ok(Self { host: if host.is_empty() { Host::None } else { Host::Plain(host) }, port })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0 && is_number(text));
    port.ok_or_else(|| "a port is a number of 1 to 65535".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ppx_4_where_it_listens_is_a_port_with_or_without_an_address() {
        let listen = |text: &str| text.parse::<Listen>().map(|listen| listen.to_string());
        for (text, same) in [
            ("8080", "*:8080"),
            (":8080", "*:8080"),
            ("*:8080", "*:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:65535", "[::]:65535"),
            ("[2001:DB8::1]:1", "[2001:db8::1]:1"),
            ("[fe80::1%eth1]:80", "[fe80::1%eth1]:80"),
        ] {
            assert_eq!(listen(text).as_deref(), Ok(same));
        }
        for (text, advice) in [
            ("", "nothing is given"),
            ("0", "1 to 65535"),
            ("65536", "1 to 65535"),
            ("192.0.2.1:+80", "1 to 65535"),
            ("192.0.2.1", "the port is missing"),
            ("[::1]", "the port is missing"),
            ("::1:80", "brackets"),
            ("[::1:80", "bracket ]"),
            ("[::1]80", "[::1]:PORT"),
            ("[192.0.2.1]:80", "has no brackets"),
            ("proxy.example:80", "not at a name"),
            ("192.0.2.256:80", "0 to 255"),
            ("239.1.2.3:80", "no multicast"),
            ("[ff02::1]:80", "no multicast"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn ppx_4_a_target_leaves_out_its_port_or_its_machine() {
        let target = |text: &str| text.parse::<Target>();
        for text in ["[2001:db8::1]:80", "[2001:db8::1]", "192.0.2.1:80", "192.0.2.1", "www.example.net:443", "8080"] {
            assert_eq!(target(text).unwrap().to_string(), text);
        }
        assert_eq!(target(":8080"), target("8080"));
        assert!(matches!(target("www").unwrap(), Target { host: Some(TargetHost::Name(_)), port: None }));
        for (text, advice) in [
            ("", "nothing is given"),
            ("*:80", "no target"),
            ("0.0.0.0:80", "write 127.0.0.1"),
            ("[::]:80", "write [::1]"),
            ("224.0.0.1:80", "one machine"),
            ("255.255.255.255:80", "one machine"),
            ("[::ffff:192.0.2.1]:80", "write 192.0.2.1"),
            ("192.0.2:80", "not an IPv4 address"),
            ("2001:db8::1", "brackets"),
            ("a..b:80", ""),
            ("host:http", "1 to 65535"),
        ] {
            let error = target(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn ppx_10_a_link_local_address_needs_its_zone_and_no_other_has_one() {
        for text in ["[fe80::1]:80", "[fe80::1%]:80", "[fe80::1%a/b]:80", "[2001:db8::1%eth1]:80", "[febf::1]:80"] {
            assert!(text.parse::<Listen>().is_err() && text.parse::<Target>().is_err(), "{text}");
        }
        let error = "[fe80::1]:80".parse::<Target>().unwrap_err();
        assert!(error.contains("[fe80::1%eth1]"), "{error}");
        assert!("[fe80::1%2]:80".parse::<Target>().is_ok());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(address: IpAddr, port in 1_u16..) {
            let zoned = ZonedAddress::plain(address);
            let text = format!("{zoned}:{port}");
            if let Ok(listen) = text.parse::<Listen>() {
                prop_assert_eq!(listen.address.as_ref().map(|own| own.address), Some(address));
                prop_assert_eq!(listen.to_string(), &*text);
            }
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string(), text);
            }
        }
    }
}

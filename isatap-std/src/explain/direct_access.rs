//! The prefixes of a DirectAccess server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use isatap_core::embedded::Nat64Prefix;
use isatap_core::prefix::{Ipv6Prefix, is_public};
use isatap_core::sixtofour::addr::{directaccess_prefixes, directaccess_prefixes_ula};
use serde::Serialize;

use super::TargetError;

/// A DirectAccess server, or several that share an organisation's prefix. `S64-40`
///
/// ```
/// use isatap_std::explain::DirectAccess;
///
/// let servers: DirectAccess = "fd9c:30c:2da4::/48".parse()?;
/// assert_eq!(servers.nat64().unwrap().prefix().to_string(), "fd9c:30c:2da4:7777::/96");
/// # Ok::<(), isatap_std::explain::TargetError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectAccess {
    /// By the first of its two public IPv4 addresses.
    Public(Ipv4Addr),
    /// Behind a NAT, by the /48 that its set-up drew at random.
    BehindNat(Ipv6Prefix),
}

impl FromStr for DirectAccess {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = |what: &str| Err(TargetError(format!("DirectAccess server {text}: {what}")));
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return if is_public(IpAddr::V4(address)) {
                Ok(DirectAccess::Public(address))
            } else {
                wrong(
                    "behind a NAT a server takes its prefixes from a random /48: give that, such as \
                     fd9c:30c:2da4::/48",
                )
            };
        }
        match text.parse::<Ipv6Prefix>() {
            Ok(prefix) if prefix.length() == 48 => Ok(DirectAccess::BehindNat(prefix)),
            _ => wrong("give its first public IPv4 address, or its organisation's prefix of 48 bits"),
        }
    }
}

impl fmt::Display for DirectAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectAccess::Public(address) => address.fmt(f),
            DirectAccess::BehindNat(prefix) => prefix.fmt(f),
        }
    }
}

impl DirectAccess {
    /// The prefixes, each with what it is for.
    #[must_use]
    pub fn answer(&self) -> DirectAccessAnswer {
        let mut notes = Vec::new();
        let prefixes = match self {
            DirectAccess::Public(address) => {
                let own = directaccess_prefixes(*address);
                notes.push(
                    "Its clients that use 6to4 have prefixes of their own IPv4 addresses; 6to4 is better off there \
                     [S64-40]."
                        .to_owned(),
                );
                notes.push(
                    "Not known: its NAT64 prefix, :7777::/96 of a /48 that its set-up drew at random. Give that \
                     /48 too: see Get-NetNatTransitionConfiguration on the server [N64-4]."
                        .to_owned(),
                );
                vec![
                    UseAnswer::new("intranet", own.organisation, server(own.organisation)),
                    UseAnswer::new("ip-https", own.ip_https, None),
                    UseAnswer::new("teredo", own.teredo, None),
                ]
            }
            DirectAccess::BehindNat(organisation) => match directaccess_prefixes_ula(organisation) {
                Some(own) => vec![
                    UseAnswer::new("isatap", own.isatap, None),
                    UseAnswer::new("ip-https", own.ip_https, None),
                    UseAnswer::new("second-ip-https", own.second_ip_https, None),
                    UseAnswer::new("dns64", own.dns64, server(own.dns64)),
                    // N64-4, S64-43
                    UseAnswer::new("nat64", own.nat64, None),
                ],
                None => Vec::new(),
            },
        };
        if prefixes.iter().any(|one| one.purpose == "isatap") {
            notes.push(
                "ISATAP routers advertise exactly this prefix: the servers' IPsec rules drop everything but ICMP from \
                 others [S64-42]."
                    .to_owned(),
            );
        }
        DirectAccessAnswer { direct_access: self.to_string(), prefixes, notes }
    }

    /// The translator's prefix, where it follows. `N64-4`
    #[must_use]
    pub fn nat64(&self) -> Option<Nat64Prefix> {
        match self {
            DirectAccess::Public(_) => None,
            DirectAccess::BehindNat(organisation) => Nat64Prefix::new(directaccess_prefixes_ula(organisation)?.nat64),
        }
    }
}

/// The server is the first host of its intranet's prefix.
fn server(prefix: Ipv6Prefix) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from_bits(prefix.address().to_bits() | 1))
}

/// What a DirectAccess server makes of its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DirectAccessAnswer {
    /// What was asked about: the IPv4 address, or the /48.
    pub direct_access: String,
    /// The prefixes.
    pub prefixes: Vec<UseAnswer>,
    /// What is remarkable: sentences.
    pub notes: Vec<String>,
}

/// A prefix of a DirectAccess server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UseAnswer {
    /// What it is for: `intranet`, `ip-https`, `teredo`, `isatap`, `second-ip-https`, `dns64`, `nat64`.
    #[serde(rename = "use")]
    pub purpose: &'static str,
    /// The prefix.
    pub prefix: String,
    /// The server's own address in it, where it has one.
    pub server: Option<Ipv6Addr>,
}

impl UseAnswer {
    fn new(purpose: &'static str, prefix: Ipv6Prefix, server: Option<Ipv6Addr>) -> Self {
        Self { purpose, prefix: prefix.to_string(), server }
    }
}

impl fmt::Display for DirectAccessAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectAccess server {}", self.direct_access)?;
        for UseAnswer { purpose, prefix, server } in &self.prefixes {
            write!(f, "\n  {purpose:<16}{prefix}")?;
            if let Some(server) = server {
                write!(f, ", the server is {server}")?;
            }
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n  {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(text: &str) -> Vec<String> {
        let answer = text.parse::<DirectAccess>().unwrap().answer();
        answer.prefixes.iter().map(|one| format!("{} {}", one.purpose, one.prefix)).collect()
    }

    /// The addresses of the seeds, argument by argument.
    #[test]
    fn n64_4_s64_40_the_prefixes_are_those_that_administrators_know() {
        let of_public =
            ["intranet 2002:836b:2:3333::/64", "ip-https 2002:836b:2:1000::/64", "teredo 2001:0:836b:2::/64"];
        assert_eq!(prefixes("131.107.0.2"), of_public);
        let behind_nat = [
            "isatap fd9c:30c:2da4:1::/64",
            "ip-https fd9c:30c:2da4:1000::/64",
            "second-ip-https fd9c:30c:2da4:1001::/64",
            "dns64 fd9c:30c:2da4:3333::/64",
            "nat64 fd9c:30c:2da4:7777::/96",
        ];
        assert_eq!(prefixes("fd9c:30c:2da4::/48"), behind_nat);
        let answer = "131.107.0.2".parse::<DirectAccess>().unwrap().answer().to_string();
        assert!(answer.contains("the server is 2002:836b:2:3333::1"), "{answer}");
        assert!(answer.contains("Not known: its NAT64 prefix"), "{answer}");
    }

    #[test]
    fn a_server_that_is_none_is_told_what_to_give() {
        for (text, told) in [
            ("10.0.0.1", "give that, such as fd9c:30c:2da4::/48"),
            ("fd9c:30c:2da4:1::/64", "48 bits"),
            ("edge1", "first public IPv4 address"),
        ] {
            let error = text.parse::<DirectAccess>().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}

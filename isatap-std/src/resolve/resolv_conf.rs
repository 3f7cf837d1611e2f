//! The resolver configuration: name servers, suffixes, options (NAM-10).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::Name;

/// The port of the DNS \[RFC 1035 §4.2\].
const DNS_PORT: u16 = 53;
/// Name servers beyond these are not asked, as in the C libraries.
const MAX_NAMESERVERS: usize = 3;
/// Suffixes beyond these are not tried: each costs a question.
const MAX_SUFFIXES: usize = 32;
/// The longest wait for one server, so that a refresh ends in bounded time.
const MAX_TIMEOUT: Duration = Duration::from_secs(5);

/// What `resolv.conf` says about reaching the DNS.
///
/// Understood: `nameserver`, `domain`, `search`, and of `options` `ndots`,
/// `timeout` and `attempts`. Everything else, and the environment variables that
/// change these for one program, is passed over. A line that cannot be read is
/// skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvConf {
    /// Where to ask, in order; at most three are kept.
    pub nameservers: Vec<SocketAddr>,
    /// The suffix list; the first is the primary suffix. At most 32 are kept.
    pub search: Vec<Name>,
    /// A name with at least this many dots is asked as it stands; 0..=15, default 1.
    pub ndots: usize,
    /// How long one server may take, 1 s to 5 s; default 5 s.
    pub timeout: Duration,
    /// How many rounds over the servers, 1..=5; default 2.
    pub attempts: u8,
}

impl Default for ResolvConf {
    /// What an absent file means: the server of this host, no suffixes.
    fn default() -> Self {
        ResolvConf {
            nameservers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: MAX_TIMEOUT,
            attempts: 2,
        }
    }
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`. Never fails: see the type.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = ResolvConf::default();
        let mut nameservers = Vec::new();
        for line in text.lines() {
            if line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if nameservers.len() < MAX_NAMESERVERS => {
                    nameservers.extend(words.next().and_then(nameserver));
                }
                // The later of `domain` and `search` holds.
                Some("domain") => conf.search = suffixes(words.take(1)),
                Some("search") => conf.search = suffixes(words),
                Some("options") => words.for_each(|word| conf.set_option(word)),
                _ => {}
            }
        }
        if !nameservers.is_empty() {
            conf.nameservers = nameservers;
        }
        conf
    }

    fn set_option(&mut self, word: &str) {
        let Some((option, value)) = word.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match option {
            "ndots" => self.ndots = usize::try_from(value).unwrap_or(usize::MAX).min(15),
            "timeout" => {
                self.timeout = Duration::from_secs(value.max(1).into()).min(MAX_TIMEOUT);
            }
            "attempts" => self.attempts = u8::try_from(value).unwrap_or(u8::MAX).clamp(1, 5),
            _ => {}
        }
    }
}

fn suffixes<'t>(words: impl Iterator<Item = &'t str>) -> Vec<Name> {
    // A lone dot, the root, is no suffix: it would send the bare label out.
    words
        .take_while(|word| !word.starts_with(['#', ';']))
        .filter_map(|word| word.parse().ok())
        .take(MAX_SUFFIXES)
        .collect()
}

fn nameserver(text: &str) -> Option<SocketAddr> {
    if let Some((address, zone)) = text.split_once('%') {
        let address = address.parse().ok()?;
        let scope = match zone.parse() {
            Ok(scope) => scope,
            Err(_) => interface_index(zone)?,
        };
        return Some(SocketAddrV6::new(address, DNS_PORT, 0, scope).into());
    }
    let address: IpAddr = text.parse().ok()?;
    Some(SocketAddr::new(address, DNS_PORT))
}

#[cfg(target_os = "linux")]
fn interface_index(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// Elsewhere a zone must be a number.
#[cfg(not(target_os = "linux"))]
fn interface_index(_: &str) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_10_reads_servers_suffixes_and_options() {
        let conf = ResolvConf::parse(
            "# by hand\n; too\nnameserver 192.0.2.53\nnameserver nonsense\n\
             nameserver 2001:db8::53\nnameserver fe80::53%7\nnameserver 192.0.2.54\n\
             domain ignored.example\nsearch corp.example.com  Example.com bad..name # end\n\
             options ndots:2 timeout:3 attempts:1 rotate edns0 ndots:x\n\
             sortlist 10.0.0.0\nlookup file bind\n",
        );
        let servers: Vec<String> = conf.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:53", "[fe80::53%7]:53"]);
        let search: Vec<&str> = conf.search.iter().map(Name::as_str).collect();
        assert_eq!(search, ["corp.example.com", "example.com"]);
        assert_eq!(conf.ndots, 2);
        assert_eq!(conf.timeout, Duration::from_secs(3));
        assert_eq!(conf.attempts, 1);
    }

    #[test]
    fn the_later_of_domain_and_search_holds() {
        let conf = ResolvConf::parse("search a.example b.example\ndomain c.example d.example\n");
        assert_eq!(conf.search, ["c.example".parse().unwrap()]);
        let conf = ResolvConf::parse("domain c.example\nsearch .\n");
        assert!(conf.search.is_empty());
    }

    #[test]
    fn nothing_said_means_the_server_of_this_host() {
        let conf = ResolvConf::parse("nameserver\n\0\u{fffd}garbage\n");
        assert_eq!(conf, ResolvConf::default());
        assert_eq!(conf.nameservers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn options_are_held_in_bounds() {
        let conf = ResolvConf::parse("options ndots:99 timeout:60 attempts:99\n");
        assert_eq!((conf.ndots, conf.attempts), (15, 5));
        assert_eq!(conf.timeout, Duration::from_secs(5));
        let conf = ResolvConf::parse("options ndots:0 timeout:0 attempts:0\n");
        assert_eq!((conf.ndots, conf.attempts), (0, 1));
        assert_eq!(conf.timeout, Duration::from_secs(1));
    }

    #[test]
    fn a_zone_is_an_index_or_the_name_of_an_interface() {
        assert_eq!(nameserver("fe80::1%../../etc/passwd"), None);
        assert_eq!(nameserver("fe80::1%no-such-interface"), None);
        #[cfg(target_os = "linux")]
        assert_eq!(nameserver("fe80::1%lo"), nameserver("fe80::1%1"));
    }
}

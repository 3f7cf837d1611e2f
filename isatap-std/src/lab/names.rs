//! The world's DNS, as far as a potential router list needs one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What asking for a name brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// Addresses, good for `ttl`.
    Addresses {
        /// The A records.
        addresses: Vec<Ipv4Addr>,
        /// The smallest time to live of the records.
        ttl: Duration,
    },
    /// There is no such name, or it has no address (NXDOMAIN, no data).
    NotFound,
    /// The server has a problem (SERVFAIL).
    ServerFailure,
    /// Nobody answers; the asking node gives up after [`Names::patience`].
    NoReply,
}

/// The names that the nodes can ask for. Unknown ones are
/// [`DnsAnswer::NotFound`].
#[derive(Clone, Debug)]
pub struct Names {
    records: BTreeMap<String, DnsAnswer>,
    /// How long an answer takes.
    pub latency: Duration,
    /// After how long a node takes [`DnsAnswer::NoReply`] for a failure.
    pub patience: Duration,
}

impl Names {
    /// No names; answers take 20 ms, patience ends after 5 s.
    #[must_use]
    pub fn new() -> Self {
        Names { records: BTreeMap::new(), latency: Duration::from_millis(20), patience: Duration::from_secs(5) }
    }

    /// From now on `name` gives `answer`.
    pub fn set(&mut self, name: &str, answer: DnsAnswer) {
        self.records.insert(name.to_ascii_lowercase(), answer);
    }

    /// From now on `name` has these addresses.
    pub fn set_addresses(&mut self, name: &str, addresses: &[Ipv4Addr], ttl: Duration) {
        self.set(name, DnsAnswer::Addresses { addresses: addresses.to_vec(), ttl });
    }

    /// What asking for `name` brings now.
    #[must_use]
    pub fn answer(&self, name: &str) -> DnsAnswer {
        self.records.get(&name.to_ascii_lowercase()).cloned().unwrap_or(DnsAnswer::NotFound)
    }
}

impl Default for Names {
    fn default() -> Self {
        Names::new()
    }
}

impl std::fmt::Display for DnsAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DnsAnswer::Addresses { addresses, ttl } => {
                for (n, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if n == 0 { "" } else { ", " })?;
                }
                write!(f, " for {} s", ttl.as_secs())
            }
            DnsAnswer::NotFound => f.write_str("no such name"),
            DnsAnswer::ServerFailure => f.write_str("server failure"),
            DnsAnswer::NoReply => f.write_str("no reply"),
        }
    }
}

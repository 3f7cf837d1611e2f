//! How a client behaves, and what it knows of itself.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use crate::teredo::qualify::{NatKind, QualifyConfig, Stage};
use crate::time::{Duration, Instant};

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Servers, and how to qualify.
    pub qualify: QualifyConfig,
    /// The service port: the caller has opened it. Several clients behind one
    /// NAT need different ones.
    pub port: u16,
    /// Sends to peers whose address says cone without asking first. RFC 5991
    /// §3.2: off.
    pub trust_cone: bool,
    /// Ports of one's own for peers, behind a NAT that keeps port numbers.
    /// [RFC 6081 §5.4]
    pub port_preserving: bool,
    /// Guesses the next port of a NAT that counts. [RFC 6081 §5.5]
    pub sequential_ports: bool,
    /// Tells peers the local address too, so that those behind the same NAT
    /// find it. [RFC 6081 §5.6]
    pub hairpinning: bool,
    /// Asks silent peers for a sign of life before the server is troubled.
    /// [RFC 6081 §5.7]
    pub server_load_reduction: bool,
    /// Looks for peers on the local network. RFC 4380 §5.2.8: shows this host
    /// to its neighbours, so off (`TER-52`).
    pub local_discovery: bool,
    /// Holds answers to bubbles back for 2 s after whatever was sent, by the
    /// letter of RFC 4380 §5.2.6. `TER-98`
    pub strict_bubble_timer: bool,
    /// Finds out, with a second port, for how long the NAT keeps a mapping,
    /// and lets the server be silent for up to that long instead of
    /// [`refresh_interval`](QualifyConfig::refresh_interval); for 120 s at
    /// most. RFC 4380 §5.2.7: optional, and a minute or more without traffic
    /// each time, so off.
    pub interval_determination: bool,
}

impl ClientConfig {
    /// All that helps to connect, and nothing that tells the neighbours.
    #[must_use]
    pub const fn new(server: Ipv4Addr, port: u16) -> Self {
        ClientConfig {
            qualify: QualifyConfig::new(server),
            port,
            trust_cone: false,
            port_preserving: true,
            sequential_ports: true,
            hairpinning: true,
            server_load_reduction: true,
            local_discovery: false,
            strict_bubble_timer: false,
            interval_determination: false,
        }
    }
}

/// What a client knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it is.
    pub stage: Stage,
    /// The NAT's kind.
    pub nat: NatKind,
    /// Whether the NAT keeps port numbers. `TER-75`
    pub port_preserving: bool,
    /// How the NAT shows the service port.
    pub mapping: Option<SocketAddrV4>,
    /// The own address.
    pub address: Option<Ipv6Addr>,
    /// When a valid packet of the server came last.
    pub server_heard: Instant,
    /// When the server is asked again, while the client is off-line.
    pub next_attempt: Option<Instant>,
    /// How long the server may be silent: as configured, or as found out.
    pub refresh_interval: Duration,
    /// Peers with whom something is under way.
    pub sessions: usize,
}

//! What only Teredo has.

use isatap_core::teredo::peer::Peer;
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// What a Teredo client, server or relay knows beside.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Teredo {
    /// A client's stage: `offline`, `asking-cone`, `asking-server`, `asking-secondary`,
    /// `qualified` or `resting`; of the others `running`.
    pub state: String,
    /// Why a client is off-line.
    pub reason: Option<String>,
    /// The server's primary address, once it is known.
    pub server: Option<Ipv4Addr>,
    /// The UDP port of this machine.
    pub port: u16,
    /// How the NAT shows a client's port.
    pub mapped: Option<SocketAddrV4>,
    /// The server's other address.
    #[cfg_attr(feature = "control", serde(default))]
    pub secondary: Option<Ipv4Addr>,
    /// A client's NAT: `none`, `cone`, `restricted`, `port-restricted`, `symmetric` or `unknown`; until it is known whom
    /// it lets in `restricted`.
    pub nat: Option<String>,
    /// Seconds since a client's server was heard.
    pub server_heard: Option<u64>,
    /// Seconds until a client that is off-line asks its server again.
    #[cfg_attr(feature = "control", serde(default))]
    pub asked_again: Option<u64>,
    /// Whose secret a client qualifies with.
    #[cfg_attr(feature = "control", serde(default))]
    pub client_id: Option<String>,
    /// How the NAT was asked to open a client's port; absent: it was not, or has not answered.
    #[cfg_attr(feature = "control", serde(default))]
    pub port_mapping: Option<PortMappingStatus>,
    /// Peers; a relay's clients.
    pub peers: Vec<TeredoPeer>,
}

impl Teredo {
    /// Of a server or relay, of which there is little to say.
    pub(crate) fn running() -> Self {
        Teredo {
            state: "running".to_owned(),
            reason: None,
            server: None,
            port: 0,
            mapped: None,
            secondary: None,
            nat: None,
            server_heard: None,
            asked_again: None,
            client_id: None,
            port_mapping: None,
            peers: Vec::new(),
        }
    }
}

/// How the NAT was asked to open a port.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PortMappingStatus {
    /// How the world sees the port.
    pub external: Option<SocketAddrV4>,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub by: Option<String>,
    /// Why there is none.
    pub failure: Option<String>,
}

/// A peer of a Teredo client or relay.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TeredoPeer {
    /// Its IPv6 address.
    pub address: Ipv6Addr,
    /// Where it is sent to.
    pub mapped: SocketAddrV4,
    /// Whether that was proven.
    pub trusted: bool,
    /// Whether it was heard in the last 30 seconds.
    pub reachable: bool,
}

impl TeredoPeer {
    /// The first thousand.
    pub(crate) fn list<'p>(now: Instant, peers: impl Iterator<Item = &'p Peer>) -> Vec<Self> {
        let of = |peer: &Peer| Self {
            address: peer.address(),
            mapped: peer.mapping(),
            trusted: peer.is_trusted(),
            reachable: peer.is_reachable(now),
        };
        peers.take(1000).map(of).collect()
    }
}

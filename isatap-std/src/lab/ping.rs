//! Echo requests that programs send, and what became of them.

use std::net::Ipv6Addr;
use std::time::Duration;

use isatap_core::packet::LinkId;
use isatap_core::time::Instant;

use super::ip::Ipv6;
use super::world::NodeId;

/// One echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Where to.
    pub to: Ipv6Addr,
    /// From which address; the node chooses where `None`.
    pub source: Option<Ipv6Addr>,
    /// Over which link: the zone of a link-local destination.
    pub link: Option<LinkId>,
    /// Length of the IPv6 packet in bytes, 48 at least.
    pub size: usize,
    /// Its hop limit.
    pub hop_limit: u8,
}

impl Ping {
    /// An echo request of 56 bytes with hop limit 64.
    #[must_use]
    pub const fn to(to: Ipv6Addr) -> Self {
        Ping { to, source: None, link: None, size: 56, hop_limit: 64 }
    }

    /// The same with another length of the whole packet.
    #[must_use]
    pub const fn size(self, size: usize) -> Self {
        Ping { size, ..self }
    }

    /// The same from this address.
    #[must_use]
    pub const fn from(self, source: Ipv6Addr) -> Self {
        Ping { source: Some(source), ..self }
    }
}

/// A ping that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingId(u32);

impl PingId {
    /// Identifier and sequence number of the echo request.
    #[must_use]
    pub fn on_the_wire(self) -> (u16, u16) {
        let [a, b, c, d] = self.0.to_be_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }
}

/// What became of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingOutcome {
    /// Nothing came back so far.
    Waiting,
    /// The node has no address to send it from.
    NoSource,
    /// The reply came.
    Reply {
        /// How long it took.
        after: Duration,
        /// The reply's hop limit as it arrived.
        hop_limit: u8,
    },
    /// An ICMPv6 error came.
    Error {
        /// Its type: 1 unreachable, 2 packet too big, 3 hop limit.
        kind: u8,
        /// Its code.
        code: u8,
        /// The four bytes behind the checksum: the MTU of type 2.
        value: u32,
    },
}

impl PingOutcome {
    /// Whether the reply came.
    #[must_use]
    pub const fn is_reply(&self) -> bool {
        matches!(self, PingOutcome::Reply { .. })
    }
}

/// All pings of a world, by [`PingId`].
#[derive(Debug, Default)]
pub(super) struct Pings {
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    from: NodeId,
    to: Ipv6Addr,
    outcome: PingOutcome,
}

impl Pings {
    pub(super) fn start(&mut self, at: Instant, from: NodeId, ping: &Ping, source: Option<Ipv6Addr>) -> PingId {
        let outcome = if source.is_some() { PingOutcome::Waiting } else { PingOutcome::NoSource };
        // Numbered from identifier 1, sequence 1 and up to sequence 65,535.
        let id = 0x0001_0001 + u32::try_from(self.sent.len()).unwrap_or(0);
        self.sent.push(Sent { at, from, to: ping.to, outcome });
        PingId(id)
    }

    pub(super) fn outcome(&self, id: PingId) -> PingOutcome {
        self.place(id.0).and_then(|at| self.sent.get(at)).map_or(PingOutcome::Waiting, |sent| sent.outcome)
    }

    /// A packet was delivered to programs on `node`: perhaps it ends a ping.
    pub(super) fn delivered(&mut self, now: Instant, node: NodeId, packet: &[u8]) {
        let Some(packet) = Ipv6::parse(packet) else { return };
        let Some((kind, code, body)) = packet.icmpv6() else { return };
        let id = match kind {
            129 => body.first_chunk(),
            // The quote: IPv6 header, then type, code, checksum, and the
            // number. It may be cut short, so it is not parsed as whole.
            1..=4 if body.get(10) == Some(&58) && body.get(44) == Some(&128) => {
                body.get(48..).and_then(|rest| rest.first_chunk())
            }
            _ => None,
        };
        let Some(id) = id.map(|id| u32::from_be_bytes(*id)) else { return };
        let Some(sent) = self.place(id).and_then(|at| self.sent.get_mut(at)) else { return };
        if sent.from != node || sent.outcome != PingOutcome::Waiting {
            return;
        }
        sent.outcome = match kind {
            129 if sent.to == packet.source || sent.to.is_multicast() => {
                PingOutcome::Reply { after: now.saturating_duration_since(sent.at).into(), hop_limit: packet.hop_limit }
            }
            129 => return,
            _ => {
                let value = body.first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
                PingOutcome::Error { kind, code, value }
            }
        };
    }

    fn place(&self, id: u32) -> Option<usize> {
        usize::try_from(id.checked_sub(0x0001_0001)?).ok()
    }
}

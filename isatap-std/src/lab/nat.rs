//! NATs: what they make of a UDP flow, as RFC 6081 §3 sorts them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;

use super::ip::{self, Ipv4, PROTOCOL_UDP as UDP};
use super::node::{LabNode, Outbox};
use super::rng::Rng;

/// How a NAT maps flows and filters what comes in. [RFC 6081 §3, RFC 4787 §4, §5]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// One mapping for all destinations; anybody may answer.
    Cone,
    /// One mapping; who was sent to may answer, from any port.
    AddressRestricted,
    /// One mapping; who was sent to may answer, from the same port.
    PortRestricted,
    /// A mapping for each destination address and port; the port number is
    /// kept while it is free.
    PortPreserving,
    /// A mapping for each destination address and port; ports count up.
    Sequential,
    /// A mapping for each destination address and port; ports are random.
    PortSymmetric,
    /// A mapping for each destination address and port; ports are random, and
    /// the NAT has several addresses, which it takes in turn.
    AddressSymmetric,
}

impl NatKind {
    /// All kinds.
    pub const ALL: [NatKind; 7] = [
        NatKind::Cone,
        NatKind::AddressRestricted,
        NatKind::PortRestricted,
        NatKind::PortPreserving,
        NatKind::Sequential,
        NatKind::PortSymmetric,
        NatKind::AddressSymmetric,
    ];

    /// The kind's name in kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            NatKind::Cone => "cone",
            NatKind::AddressRestricted => "address-restricted",
            NatKind::PortRestricted => "port-restricted",
            NatKind::PortPreserving => "port-preserving",
            NatKind::Sequential => "sequential",
            NatKind::PortSymmetric => "port-symmetric",
            NatKind::AddressSymmetric => "address-symmetric",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NatKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    fn is_symmetric(self) -> bool {
        !matches!(self, NatKind::Cone | NatKind::AddressRestricted | NatKind::PortRestricted)
    }
}

impl FromStr for NatKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NatKind::from_name(text)
            .ok_or_else(|| format!("not a kind of NAT: write one of {}", NatKind::ALL.map(NatKind::as_str).join(", ")))
    }
}

/// A flow that went out, and may come back.
#[derive(Clone, Debug)]
struct Mapping {
    inside: SocketAddrV4,
    outside: SocketAddrV4,
    /// Whom a symmetric NAT made it for.
    to: Option<SocketAddrV4>,
    /// Who was sent to.
    known: Vec<SocketAddrV4>,
    used: Instant,
}

/// A NAT: the gateway of nodes with private addresses
/// ([`World::set_gateway`](super::World::set_gateway)), with one public
/// address. It carries UDP and nothing else.
#[derive(Clone, Debug)]
pub struct Nat {
    kind: NatKind,
    public: Ipv4Addr,
    /// All of its addresses, the first of which is `public`.
    pool: Vec<Ipv4Addr>,
    /// Whether packets of the inside to the public address come back in.
    pub hairpin: bool,
    /// How long a mapping holds after the last packet that went out.
    pub timeout: Duration,
    /// The port of the first mapping, if it is free; drawn as its kind does where not said.
    pub first_port: Option<u16>,
    mappings: Vec<Mapping>,
    /// Ports that a port mapping protocol has opened, and for whom.
    opened: Vec<(SocketAddrV4, u16)>,
    next_port: u16,
    rng: Rng,
}

impl Nat {
    /// A NAT whose mappings hold for 60 s, without hairpinning.
    #[must_use]
    pub fn new(kind: NatKind, public: Ipv4Addr) -> Self {
        let seed = u64::from(u32::from(public));
        Nat {
            kind,
            public,
            pool: vec![public],
            hairpin: false,
            timeout: Duration::from_secs(60),
            first_port: None,
            mappings: Vec::new(),
            opened: Vec::new(),
            next_port: 20_000,
            rng: Rng::fork(seed, "nat"),
        }
    }

    /// Opens a port as UPnP and PCP do: whoever sends to it reaches `inside`.
    /// Packets of `inside` leave by it; where the NAT is symmetric, those to
    /// the first destination. [RFC 6081 §3]
    pub fn open(&mut self, inside: SocketAddrV4, port: u16) {
        self.opened.push((inside, port));
    }

    /// Forgets all mappings, as after a reboot.
    pub fn forget(&mut self) {
        self.mappings.clear();
    }

    /// Mappings that hold.
    #[must_use]
    pub fn mappings(&self, now: Instant) -> usize {
        self.mappings.iter().filter(|mapping| self.holds(mapping, now)).count()
    }

    fn holds(&self, mapping: &Mapping, now: Instant) -> bool {
        now < mapping.used + self.timeout
    }

    fn is_free(&self, port: u16) -> bool {
        let mapped = self.mappings.iter().any(|mapping| mapping.outside.port() == port);
        port >= 1024 && !mapped && self.opened.iter().all(|(_, opened)| *opened != port)
    }

    fn choose_port(&mut self, inside: SocketAddrV4) -> u16 {
        let opened = self.opened.iter().find(|(of, _)| *of == inside).map(|(_, port)| *port);
        // A symmetric NAT has it for one destination only.
        let is_taken = |port: &u16| self.mappings.iter().any(|mapping| mapping.outside.port() == *port);
        if let Some(port) = opened.filter(|port| !is_taken(port)) {
            return port;
        }
        if let Some(port) = self.first_port.take().filter(|port| self.is_free(*port)) {
            return port;
        }
        match self.kind {
            NatKind::Sequential => loop {
                let port = self.next_port;
                self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
                if self.is_free(port) {
                    return port;
                }
            },
            NatKind::PortPreserving if self.is_free(inside.port()) => inside.port(),
            _ => loop {
                let port = 1024 + u16::try_from(self.rng.below(64_000)).unwrap_or(0);
                if self.is_free(port) {
                    return port;
                }
            },
        }
    }

    /// The address and port that a packet from the inside leaves by.
    fn out(&mut self, now: Instant, inside: SocketAddrV4, to: SocketAddrV4) -> SocketAddrV4 {
        let (kind, timeout) = (self.kind, self.timeout);
        self.mappings.retain(|mapping| now < mapping.used + timeout);
        let key = kind.is_symmetric().then_some(to);
        let found = self.mappings.iter().position(|mapping| mapping.inside == inside && mapping.to == key);
        let index = found.unwrap_or_else(|| {
            let address = match kind {
                NatKind::AddressSymmetric => {
                    self.pool.rotate_left(1);
                    self.pool[0]
                }
                _ => self.public,
            };
            let outside = SocketAddrV4::new(address, self.choose_port(inside));
            self.mappings.push(Mapping { inside, outside, to: key, known: Vec::new(), used: now });
            self.mappings.len() - 1
        });
        let mapping = &mut self.mappings[index];
        mapping.used = now;
        if !mapping.known.contains(&to) {
            mapping.known.push(to);
        }
        mapping.outside
    }

    /// Whom a packet from the outside is for.
    fn inward(&self, now: Instant, from: SocketAddrV4, to: SocketAddrV4) -> Option<SocketAddrV4> {
        let opened = |(_, opened): &&(SocketAddrV4, u16)| SocketAddrV4::new(self.public, *opened) == to;
        if let Some((inside, _)) = self.opened.iter().find(opened) {
            return Some(*inside);
        }
        let mapping = self.mappings.iter().find(|mapping| mapping.outside == to && self.holds(mapping, now))?;
        let passes = match self.kind {
            NatKind::Cone => true,
            NatKind::AddressRestricted => mapping.known.iter().any(|known| known.ip() == from.ip()),
            _ => mapping.known.contains(&from),
        };
        passes.then_some(mapping.inside)
    }
}

impl LabNode for Nat {
    fn receive_ipv4(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        let parsed = Ipv4::parse(bytes).filter(|packet| packet.protocol == UDP);
        let Some((packet, [from_port, to_port])) = parsed.and_then(|packet| Some((packet, ports(&packet)?))) else {
            return out.dropped(DropReason::NotAddressed, bytes);
        };
        let mut from = SocketAddrV4::new(packet.source, from_port);
        let mut to = SocketAddrV4::new(packet.destination, to_port);
        let outbound = packet.source.is_private();
        if outbound {
            if self.pool.contains(to.ip()) && !self.hairpin {
                return out.dropped(DropReason::NotAddressed, bytes);
            }
            from = self.out(now, from, to);
        }
        if self.pool.contains(to.ip()) {
            match self.inward(now, from, to) {
                Some(inside) => to = inside,
                None => return out.dropped(DropReason::NotAddressed, bytes),
            }
        }
        match rewritten(&packet, from, to) {
            Some(bytes) => out.translated(&bytes),
            None => out.dropped(DropReason::HopLimit, bytes),
        }
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NotAddressed, packet);
    }

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NoRoute, packet);
    }

    fn timeout(&mut self, _now: Instant, _entropy: &mut Rng, _out: &mut Outbox) {}

    fn set_ipv4(&mut self, _now: Instant, addresses: &[Ipv4Addr], _out: &mut Outbox) {
        self.pool = addresses.to_vec();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        None
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        Vec::new()
    }
}

/// Source and destination port of a UDP packet.
fn ports(packet: &Ipv4<'_>) -> Option<[u16; 2]> {
    let header: &[u8; 8] = packet.payload.first_chunk()?;
    Some([u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]])])
}

/// The packet with other ends, checksums made anew, one hop further.
fn rewritten(packet: &Ipv4<'_>, from: SocketAddrV4, to: SocketAddrV4) -> Option<Vec<u8>> {
    let mut payload = packet.payload.to_vec();
    payload[0..2].copy_from_slice(&from.port().to_be_bytes());
    payload[2..4].copy_from_slice(&to.port().to_be_bytes());
    payload[6..8].fill(0);
    let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
    let pseudo = [&from.ip().octets()[..], &to.ip().octets(), &[0, UDP], &length].concat();
    let sum = match ip::checksum(&[&pseudo, &payload]) {
        0 => 0xffff,
        sum => sum,
    };
    payload[6..8].copy_from_slice(&sum.to_be_bytes());
    let ttl = packet.ttl.checked_sub(1).filter(|ttl| *ttl > 0)?;
    Some(Ipv4 { source: *from.ip(), destination: *to.ip(), ttl, payload: &payload, ..*packet }.emit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    const INSIDE: &str = "192.168.1.2:40000";

    fn nat(kind: NatKind) -> Nat {
        Nat::new(kind, Ipv4Addr::new(192, 0, 2, 1))
    }

    #[test]
    fn each_kind_maps_and_filters_as_its_name_says() {
        let (a, a_other_port, b) = (end("198.51.100.1:1"), end("198.51.100.1:2"), end("203.0.113.1:1"));
        for kind in NatKind::ALL {
            let mut nat = nat(kind);
            nat.pool.push(Ipv4Addr::new(192, 0, 2, 2));
            let now = Instant::ZERO;
            let first = nat.out(now, end(INSIDE), a);
            assert_eq!(nat.out(now, end(INSIDE), a), first, "{kind:?}");
            let comes_in = |from| nat.inward(now, from, first) == Some(end(INSIDE));
            let expected = match kind {
                NatKind::Cone => [true, true, true],
                NatKind::AddressRestricted => [true, true, false],
                _ => [true, false, false],
            };
            assert_eq!([comes_in(a), comes_in(a_other_port), comes_in(b)], expected, "{kind:?}");
            for other in [a_other_port, b] {
                assert_eq!(nat.out(now, end(INSIDE), other) == first, !kind.is_symmetric(), "{kind:?}");
            }
            let other_address = nat.out(now, end(INSIDE), end("203.0.113.2:1")).ip() != first.ip();
            assert_eq!(other_address, kind == NatKind::AddressSymmetric);
        }
    }

    #[test]
    fn ports_are_kept_counted_or_drawn() {
        let now = Instant::ZERO;
        let out =
            |nat: &mut Nat, n: u8| nat.out(now, end(INSIDE), SocketAddrV4::new([203, 0, 113, n].into(), 9)).port();
        let mut preserving = nat(NatKind::PortPreserving);
        assert_eq!(out(&mut preserving, 1), 40_000);
        assert_ne!(out(&mut preserving, 2), 40_000);
        let mut sequential = nat(NatKind::Sequential);
        assert_eq!([1, 2, 3].map(|n| out(&mut sequential, n)), [20_000, 20_001, 20_002]);
        let mut told = nat(NatKind::Sequential);
        told.first_port = Some(4096);
        assert_eq!([1, 2].map(|n| out(&mut told, n)), [4096, 20_000]);
    }

    #[test]
    fn a_mapping_ends_after_the_last_packet_out() {
        let mut nat = nat(NatKind::PortRestricted);
        let a = end("198.51.100.1:1");
        let outside = nat.out(Instant::ZERO, end(INSIDE), a);
        assert!(nat.inward(Instant::from_secs(59), a, outside).is_some());
        assert!(nat.inward(Instant::from_secs(60), a, outside).is_none());
        assert_eq!(nat.mappings(Instant::from_secs(60)), 0);
        assert_ne!(nat.out(Instant::from_secs(60), end(INSIDE), a), outside);
        nat.forget();
        assert_eq!(nat.mappings(Instant::from_secs(60)), 0);
    }

    #[test]
    fn an_opened_port_lets_everybody_in_and_a_symmetric_nat_has_it_for_one_destination() {
        let (now, stranger) = (Instant::ZERO, end("203.0.113.1:1"));
        let opened = end("192.0.2.1:40000");
        for (kind, for_all) in [(NatKind::PortRestricted, true), (NatKind::PortSymmetric, false)] {
            let mut nat = nat(kind);
            nat.open(end(INSIDE), 40_000);
            assert_eq!(nat.inward(now, stranger, opened), Some(end(INSIDE)));
            assert_eq!(nat.out(now, end(INSIDE), end("198.51.100.1:1")), opened);
            assert_eq!(nat.out(now, end(INSIDE), stranger) == opened, for_all, "{kind:?}");
            assert_ne!(nat.out(now, end("192.168.1.9:40000"), stranger), opened);
        }
    }

    #[test]
    fn kinds_are_found_by_name() {
        for kind in NatKind::ALL {
            assert_eq!(NatKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(NatKind::from_name("open"), None);
    }
}

//! The IPv4 network between the nodes, and what goes wrong in it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use isatap_core::time::Instant;

use super::ip::Ipv4;
use super::rng::Rng;
use super::world::NodeId;

/// The cloud's own address in the ICMPv4 errors that it sends: the IPv4 dummy
/// address. [RFC 7600 §4.8]
pub const CLOUD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// How long parts of a packet wait for the others. [RFC 1122 §3.3.2 asks for
/// 60 to 120 s; most systems use 30]
const REASSEMBLY_PATIENCE: Duration = Duration::from_secs(30);
/// Packets that one node puts together at a time.
const REASSEMBLY_ROOM: usize = 64;

/// A share of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance {
    per_million: u32,
}

impl Chance {
    /// None of them.
    pub const NEVER: Chance = Chance { per_million: 0 };

    /// `percent` of 100, at most all.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Chance::per_million(percent.saturating_mul(10_000))
    }

    /// `per_million` of 1,000,000, at most all.
    #[must_use]
    pub const fn per_million(per_million: u32) -> Self {
        Chance { per_million: if per_million > 1_000_000 { 1_000_000 } else { per_million } }
    }

    /// Draws once.
    pub(super) fn happens(self, rng: &mut Rng) -> bool {
        self.per_million > 0 && rng.below(1_000_000) < u64::from(self.per_million)
    }
}

/// What a packet meets on the way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// How long it takes at least.
    pub latency: Duration,
    /// How much longer it may take, uniformly; packets may overtake others.
    pub jitter: Duration,
    /// Packets that get lost.
    pub loss: Chance,
    /// Packets that arrive twice.
    pub duplication: Chance,
    /// Packets that arrive late, by a further latency and 10 ms: others
    /// overtake them.
    pub reordering: Chance,
    /// The longest packet that fits, in bytes. A longer one is cut in parts;
    /// with DF set it is dropped and an ICMPv4 "fragmentation needed" sent.
    pub mtu: usize,
    /// Longer packets with DF set vanish without that message.
    pub black_hole: bool,
    /// Routers on the way: each takes one from the TTL.
    pub hops: u8,
}

impl Conditions {
    /// 5 ms, one router, MTU 1,500 and no faults.
    pub const GOOD: Conditions = Conditions {
        latency: Duration::from_millis(5),
        jitter: Duration::ZERO,
        loss: Chance::NEVER,
        duplication: Chance::NEVER,
        reordering: Chance::NEVER,
        mtu: 1500,
        black_hole: false,
        hops: 1,
    };

    /// When a packet sent at `now` arrives.
    pub(super) fn arrival(&self, now: Instant, rng: &mut Rng) -> Instant {
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        let mut arrival = now.saturating_add(self.latency);
        if jitter > 0 {
            arrival = arrival.saturating_add(Duration::from_micros(rng.below(jitter)));
        }
        if self.reordering.happens(rng) {
            arrival = arrival.saturating_add(self.latency + Duration::from_millis(10));
        }
        arrival
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions::GOOD
    }
}

/// Packets that somebody on the way does not let through. `None` matches
/// everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this node.
    pub from: Option<NodeId>,
    /// To this node.
    pub to: Option<NodeId>,
    /// Of this IPv4 protocol.
    pub protocol: Option<u8>,
    /// Longer than this, in bytes.
    pub longer_than: Option<usize>,
}

impl Filter {
    fn matches(&self, from: Option<NodeId>, to: Option<NodeId>, packet: &Ipv4<'_>) -> bool {
        self.from.is_none_or(|node| Some(node) == from)
            && self.to.is_none_or(|node| Some(node) == to)
            && self.protocol.is_none_or(|protocol| protocol == packet.protocol)
            && self.longer_than.is_none_or(|length| packet.len() > length)
    }
}

/// The IPv4 network: one big cloud in which every address reaches every
/// other, under conditions that can differ by pair.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// What packets meet where no pair says otherwise.
    pub conditions: Conditions,
    pairs: BTreeMap<(NodeId, NodeId), Conditions>,
    filters: Vec<Filter>,
}

impl Cloud {
    /// Conditions from one node to another; the way back keeps its own.
    pub fn set_path(&mut self, from: NodeId, to: NodeId, conditions: Conditions) {
        self.pairs.insert((from, to), conditions);
    }

    /// What packets from one node to another meet.
    #[must_use]
    pub fn path(&self, from: Option<NodeId>, to: Option<NodeId>) -> Conditions {
        match (from, to) {
            (Some(from), Some(to)) => self.pairs.get(&(from, to)).copied().unwrap_or(self.conditions),
            _ => self.conditions,
        }
    }

    /// Drops what `filter` matches, from now on.
    pub fn add_filter(&mut self, filter: Filter) {
        self.filters.push(filter);
    }

    /// Lets everything through again.
    pub fn clear_filters(&mut self) {
        self.filters.clear();
    }

    pub(super) fn filters_out(&self, from: Option<NodeId>, to: Option<NodeId>, packet: &Ipv4<'_>) -> bool {
        self.filters.iter().any(|filter| filter.matches(from, to, packet))
    }
}

/// The ICMPv4 "fragmentation needed" about `packet`, which quotes its header
/// and 8 bytes more at least; `None` where no error may be sent.
/// [RFC 1122 §3.2.2, RFC 1191 §4, RFC 1812 §4.3.2.3]
pub(super) fn fragmentation_needed(packet: &Ipv4<'_>, mtu: usize) -> Option<Vec<u8>> {
    let is_error =
        packet.protocol == super::ip::PROTOCOL_ICMP && !matches!(packet.payload.first(), Some(0 | 8 | 13 | 14));
    if is_error || packet.offset != 0 || packet.source.is_multicast() || packet.destination.is_multicast() {
        return None;
    }
    let whole = packet.emit();
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend(u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
    // As much as fits into 576 bytes, as routers do today.
    message.extend(&whole[..whole.len().min(576 - 28)]);
    let sum = super::ip::checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(super::ip::ipv4_packet(CLOUD_ADDRESS, packet.source, super::ip::PROTOCOL_ICMP, &message))
}

/// Packets of which a node has some parts.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    partial: BTreeMap<(Ipv4Addr, Ipv4Addr, u8, u16), Partial>,
}

#[derive(Debug)]
struct Partial {
    since: Instant,
    parts: Vec<(usize, Vec<u8>)>,
    /// Length of the payload, once the last part is there.
    length: Option<usize>,
    first: Option<Vec<u8>>,
}

impl Reassembly {
    /// Takes a part; gives the whole packet when it was the last one missing.
    /// Parts that overlap, and packets that wait for too long or that there is
    /// no room for, are forgotten.
    pub(super) fn take(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        let part = Ipv4::parse(bytes)?;
        self.partial.retain(|_, partial| now < partial.since + REASSEMBLY_PATIENCE);
        let key = (part.source, part.destination, part.protocol, part.identification);
        if self.partial.len() >= REASSEMBLY_ROOM && !self.partial.contains_key(&key) {
            return None;
        }
        let partial = self.partial.entry(key).or_insert_with(|| Partial {
            since: now,
            parts: Vec::new(),
            length: None,
            first: None,
        });
        let end = part.offset + part.payload.len();
        if partial.parts.iter().any(|(at, have)| *at == part.offset && have == part.payload) {
            return None; // a copy
        }
        let overlaps = partial.parts.iter().any(|(at, have)| *at < end && part.offset < at + have.len());
        let past_end = partial.length.is_some_and(|length| end > length);
        if overlaps || past_end || end > 65_515 {
            self.partial.remove(&key);
            return None;
        }
        if part.offset == 0 {
            partial.first = Some(bytes.to_vec());
        }
        if !part.more_fragments {
            partial.length = Some(end);
        }
        partial.parts.push((part.offset, part.payload.to_vec()));
        let have: usize = partial.parts.iter().map(|(_, bytes)| bytes.len()).sum();
        if partial.length != Some(have) {
            return None;
        }
        let mut partial = self.partial.remove(&key)?;
        partial.parts.sort();
        let payload: Vec<u8> = partial.parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let first = partial.first?;
        let mut whole = Ipv4::parse(&first)?;
        whole.more_fragments = false;
        whole.payload = &payload;
        Some(whole.emit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::ip;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn long_packet(fill: u8) -> Vec<u8> {
        ip::ipv4_packet(A, B, 41, &[fill; 3000])
    }

    fn parts(fill: u8) -> Vec<Vec<u8>> {
        Ipv4::parse(&long_packet(fill)).unwrap().fragments(1280)
    }

    #[test]
    fn parts_in_any_order_and_twice_make_the_packet_once() {
        let parts = parts(7);
        assert_eq!(parts.len(), 3);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut reassembly = Reassembly::default();
            let mut whole = Vec::new();
            for n in order {
                whole.extend(reassembly.take(Instant::ZERO, &parts[n]));
                if n != order[2] {
                    assert!(reassembly.take(Instant::ZERO, &parts[n]).is_none());
                }
            }
            assert_eq!(whole, [long_packet(7)]);
            assert!(reassembly.partial.is_empty());
        }
    }

    #[test]
    fn parts_that_overlap_or_come_late_make_nothing() {
        let mut reassembly = Reassembly::default();
        assert!(reassembly.take(Instant::ZERO, &parts(1)[0]).is_none());
        assert!(reassembly.take(Instant::ZERO, &parts(2)[0]).is_none());
        assert!(reassembly.take(Instant::ZERO, &parts(1)[1]).is_none());
        assert!(reassembly.take(Instant::ZERO, &parts(1)[2]).is_none());
        assert!(reassembly.take(Instant::from_secs(31), &parts(1)[0]).is_none());
        assert_eq!(reassembly.partial.len(), 1);
    }

    #[test]
    fn fragmentation_needed_quotes_and_never_answers_an_error() {
        let packet = long_packet(3);
        let error = fragmentation_needed(&Ipv4::parse(&packet).unwrap(), 1300).unwrap();
        let error = Ipv4::parse(&error).unwrap();
        assert_eq!((error.source, error.destination, error.len()), (CLOUD_ADDRESS, A, 576));
        assert_eq!(error.payload[..2], [3, 4]);
        assert_eq!(error.payload[6..8], 1300_u16.to_be_bytes());
        assert_eq!(error.payload[8..28], packet[..20]);
        assert_eq!(ip::checksum(&[error.payload]), 0);
        assert!(fragmentation_needed(&error, 1300).is_none());
    }

    #[test]
    fn chances_are_about_right() {
        let mut rng = Rng::new(1);
        let hits = (0..100_000).filter(|_| Chance::percent(10).happens(&mut rng)).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert!(!Chance::NEVER.happens(&mut rng));
        assert!(Chance::percent(100).happens(&mut rng));
    }
}

//! Packets written and read by hand, and a clock that only moves from one
//! deadline to the next.
//!
//! Nothing here uses the code under test to make or judge bytes: checksums,
//! identifiers and options are written down a second time, from the RFCs.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use isatap_core::time::Duration;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Standard;
use isatap_core::datapath::Switches;
use isatap_core::engine::{Change, Entropy, Event, LearnedAddress, Machine, Transmit, Verdict, Via};
use isatap_core::isatap::{HostConfig, PublishedPrefix, Resolved, RouterConfig, RouterInterface};
use isatap_core::node::{IsatapHost, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::Route;
use isatap_core::time::{Instant, Lifetime};

pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

pub const RS: u8 = 133;
pub const RA: u8 = 134;
pub const NS: u8 = 135;
pub const NA: u8 = 136;
pub const REDIRECT: u8 = 137;

pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn prefix(text: &str) -> Ipv6Prefix {
    text.parse().unwrap()
}

pub fn at(secs: f64) -> Instant {
    Instant::from_micros((secs * 1e6).round() as u64)
}

pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An ISATAP address in `prefix` (its first 64 bits), u bit given.
pub fn isatap(prefix: &str, u: bool, ipv4: &str) -> Ipv6Addr {
    let mut bytes = v6(prefix).octets();
    bytes[8..12].copy_from_slice(&[if u { 2 } else { 0 }, 0, 0x5e, 0xfe]);
    bytes[12..].copy_from_slice(&v4(ipv4).octets());
    bytes.into()
}

/// `fe80::5efe:a.b.c.d`, u = 0.
pub fn local(ipv4: &str) -> Ipv6Addr {
    isatap("fe80::", false, ipv4)
}

/// `fe80::200:5efe:a.b.c.d`, u = 1.
pub fn universal(ipv4: &str) -> Ipv6Addr {
    isatap("fe80::", true, ipv4)
}

/// The Internet checksum. [RFC 1071]
fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn icmpv6_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    sum(&[&source.octets(), &destination.octets(), &length, &[0, 0, 0, 58], message])
}

/// An IPv6 packet.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// An ICMPv6 packet: `message` has its checksum field zero.
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    let sum = icmpv6_sum(source, destination, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(source, destination, 58, hop_limit, &message)
}

/// Neighbor Discovery: hop limit 255.
pub fn nd(source: Ipv6Addr, destination: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
    icmpv6(source, destination, 255, message)
}

/// The packet in an IPv4 packet of protocol 41.
pub fn outer(source: &str, destination: &str, inner: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + inner.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 41, 0, 0]);
    packet.extend(v4(source).octets());
    packet.extend(v4(destination).octets());
    let sum = sum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(inner);
    packet
}

pub fn rs() -> Vec<u8> {
    vec![RS, 0, 0, 0, 0, 0, 0, 0]
}

pub fn ns(target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![NS, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message
}

/// `flags`: R 0x80, S 0x40, O 0x20.
pub fn na(flags: u8, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![NA, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message
}

pub fn redirect(target: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![REDIRECT, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend(destination.octets());
    message
}

/// A Router Advertisement: hop limit 64, no times, these options.
pub fn ra(lifetime: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![RA, 0, 0, 0, 64, 0];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    message.extend(options.concat());
    message
}

pub const ON_LINK: u8 = 0x80;
pub const AUTONOMOUS: u8 = 0x40;

pub fn pio(text: &str, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let (address, length) = text.split_once('/').unwrap();
    let mut option = vec![3, 4, length.parse().unwrap(), flags];
    option.extend(valid.to_be_bytes());
    option.extend(preferred.to_be_bytes());
    option.extend([0; 4]);
    option.extend(v6(address).octets());
    option
}

/// `preference`: 0x08 high, 0x00 medium, 0x18 low.
pub fn rio(text: &str, preference: u8, lifetime: u32) -> Vec<u8> {
    let (address, length) = text.split_once('/').unwrap();
    let mut option = vec![24, 3, length.parse().unwrap(), preference];
    option.extend(lifetime.to_be_bytes());
    option.extend(v6(address).octets());
    option
}

pub fn mtu(bytes: u32) -> Vec<u8> {
    let mut option = vec![5, 1, 0, 0];
    option.extend(bytes.to_be_bytes());
    option
}

pub fn rdnss(lifetime: u32, servers: &[&str]) -> Vec<u8> {
    let mut option = vec![25, 1 + 2 * servers.len() as u8, 0, 0];
    option.extend(lifetime.to_be_bytes());
    option.extend(servers.iter().flat_map(|server| v6(server).octets()));
    option
}

/// A packet that a machine sent, taken apart and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub outer: (Ipv4Addr, Ipv4Addr),
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    /// Type, code, checksum and body.
    pub icmpv6: Vec<u8>,
}

impl Sent {
    /// Takes apart an outer packet; asserts what must hold for each one.
    pub fn read(packet: &[u8]) -> Self {
        assert_eq!(packet[0], 0x45, "IPv4 without options");
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len(), "outer length");
        assert_eq!(packet[9], 41);
        assert_eq!(sum(&[&packet[..20]]), 0, "IPv4 header checksum");
        let inner = &packet[20..];
        assert_eq!(inner[0] >> 4, 6);
        assert_eq!(usize::from(u16::from_be_bytes([inner[4], inner[5]])), inner.len() - 40, "inner length");
        let address = |from: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&inner[from..from + 16]).unwrap());
        let outer = |from: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[from..from + 4]).unwrap());
        let sent = Sent {
            outer: (outer(12), outer(16)),
            source: address(8),
            destination: address(24),
            hop_limit: inner[7],
            icmpv6: if inner[6] == 58 { inner[40..].to_vec() } else { Vec::new() },
        };
        if inner[6] == 58 {
            let mut message = sent.icmpv6.clone();
            message[2..4].fill(0);
            let expected = icmpv6_sum(sent.source, sent.destination, &message);
            assert_eq!(&expected.to_be_bytes(), &sent.icmpv6[2..4], "ICMPv6 checksum");
        }
        // The outer destination is a unicast address and not the sender's.
        let (from, to) = sent.outer;
        let first = to.octets()[0];
        assert!(first != 0 && first != 127 && first < 224 && from != to, "outer destination {to}");
        sent
    }

    pub fn kind(&self) -> u8 {
        self.icmpv6.first().copied().unwrap_or(0)
    }

    /// The options of an advertisement: type and body, cut by their lengths.
    pub fn options(&self) -> Vec<Vec<u8>> {
        assert_eq!(self.kind(), RA);
        let mut rest = &self.icmpv6[16..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (option, behind) = rest.split_at(usize::from(rest[1]) * 8);
            found.push(option.to_vec());
            rest = behind;
        }
        found
    }
}

/// Where random numbers come from.
#[derive(Clone, Copy, Debug)]
pub enum Dice {
    /// The lower end of each span.
    Low,
    /// The middle of each span.
    Middle,
    /// The upper end of each span.
    High,
    /// Anything, repeatable.
    Seeded(u64),
}

impl Entropy for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        match self {
            Dice::Low => out.fill(0),
            Dice::High => out.fill(0xff),
            Dice::Middle => {
                out.fill(0);
                out[0] = 0x80;
            }
            Dice::Seeded(state) => {
                for byte in out {
                    // xorshift64
                    *state ^= *state << 13;
                    *state ^= *state >> 7;
                    *state ^= *state << 17;
                    *byte = (*state >> 24) as u8;
                }
            }
        }
    }
}

/// A machine with a clock that jumps from deadline to deadline, and all that
/// it said.
pub struct Run<M> {
    pub machine: M,
    pub now: Instant,
    pub dice: Dice,
    pub sent: Vec<(Instant, Sent)>,
    pub events: Vec<(Instant, Event)>,
    pub addresses: BTreeMap<Ipv6Addr, LearnedAddress>,
    pub routes: Vec<Route>,
}

impl<M: Machine> Run<M> {
    pub fn new(machine: M, dice: Dice) -> Self {
        Run {
            machine,
            now: at(1000.0),
            dice,
            sent: Vec::new(),
            events: Vec::new(),
            addresses: BTreeMap::new(),
            routes: Vec::new(),
        }
    }

    /// What is due now, then all output.
    pub fn step(&mut self) {
        self.machine.handle_timeout(self.now, &mut self.dice);
        self.drain();
    }

    /// All output. Afterwards a machine that was not told of a packet or of
    /// an input sleeps: the next deadline lies in the future.
    pub fn drain(&mut self) {
        while let Some((packet, _)) = transmit(&mut self.machine) {
            self.sent.push((self.now, Sent::read(&packet)));
        }
        while let Some(event) = self.machine.poll_event() {
            self.events.push((self.now, event));
            self.note(event);
        }
    }

    /// Applies a difference; panics when it is none.
    fn note(&mut self, event: Event) {
        match event {
            Event::Address { change, address, .. } => {
                let before = match change {
                    Change::Removed => self.addresses.remove(&address.address),
                    _ => self.addresses.insert(address.address, address),
                };
                assert_eq!(before.is_some(), change != Change::Added, "{change:?} {address:?}");
                assert!(change == Change::Removed || before != Some(address), "told twice: {address:?}");
            }
            Event::Route { change, route } => {
                let position = self.routes.iter().position(|known| known.key() == route.key());
                assert_eq!(position.is_some(), change != Change::Added, "{change:?} {route:?}");
                if let Some(position) = position {
                    let before = self.routes.remove(position);
                    assert!(change == Change::Removed || before != route, "told twice: {route:?}");
                }
                if change != Change::Removed {
                    self.routes.push(route);
                }
            }
            _ => {}
        }
    }

    /// Runs until `end`, stopping at each deadline.
    pub fn until(&mut self, end: Instant) {
        self.step();
        while let Some(next) = self.machine.poll_timeout() {
            assert!(next > self.now, "a deadline that survives: {next} at {}", self.now);
            if next > end {
                break;
            }
            self.now = next;
            self.step();
        }
        self.now = end;
        self.step();
    }

    /// Runs to the next deadline.
    pub fn next(&mut self) {
        self.step();
        self.now = self.machine.poll_timeout().expect("a deadline").max(self.now);
        self.step();
    }

    /// Runs for as long.
    pub fn pass(&mut self, time: Duration) {
        self.until(self.now.saturating_add(time));
    }

    /// An IPv4 packet arrives.
    pub fn receive(&mut self, packet: &[u8]) -> Verdict {
        let (verdict, answer) = decapsulate(&mut self.machine, self.now, packet);
        if let Verdict::Answer { .. } = verdict {
            self.sent.push((self.now, Sent::read(&answer)));
        }
        self.drain();
        verdict
    }

    /// Takes what was sent so far.
    pub fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent).into_iter().map(|(_, sent)| sent).collect()
    }

    /// Takes the solicitations sent so far: when, and to whom.
    pub fn solicitations(&mut self) -> Vec<(Instant, Ipv4Addr, Ipv6Addr)> {
        let sent = std::mem::take(&mut self.sent);
        sent.iter().filter(|(_, sent)| sent.kind() == RS).map(|(at, s)| (*at, s.outer.1, s.destination)).collect()
    }

    pub fn has_address(&self, text: &str) -> bool {
        self.addresses.contains_key(&v6(text))
    }

    /// The next hops of the routes to `text` that were told.
    pub fn next_hops(&self, text: &str) -> Vec<Option<Ipv6Addr>> {
        self.routes.iter().filter(|route| route.prefix == prefix(text)).map(|route| route.next_hop).collect()
    }

    /// An IPv6 packet of this host: the outer addresses that it gets, or why
    /// it is dropped.
    pub fn send(&mut self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<(Ipv4Addr, Ipv4Addr), Verdict> {
        let inner = ipv6(source, destination, 59, 64, &[]);
        let mut buffer = vec![0; 1600];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(&inner).unwrap();
        packet.set_link(Some(LinkId(0)));
        match self.machine.encapsulate(self.now, &mut packet) {
            Verdict::Tunnel { outer, .. } => {
                outer.push(&mut packet).unwrap();
                Ok(Sent::read(packet.as_slice()).outer)
            }
            other => Err(other),
        }
    }
}

pub fn transmit(machine: &mut impl Machine) -> Option<(Vec<u8>, Transmit)> {
    let mut buffer = vec![0; 2000];
    let mut packet = PacketMut::empty(&mut buffer);
    let transmit = machine.poll_transmit(&mut packet).unwrap()?;
    if let Some(outer) = transmit.outer {
        outer.push(&mut packet).unwrap();
    }
    Some((packet.as_slice().to_vec(), transmit))
}

pub fn decapsulate(machine: &mut impl Machine, now: Instant, outer: &[u8]) -> (Verdict, Vec<u8>) {
    let mut buffer = vec![0; HEADROOM + outer.len() + 1500];
    buffer[HEADROOM..HEADROOM + outer.len()].copy_from_slice(outer);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + outer.len()).unwrap();
    let verdict = machine.decapsulate_ipv4(now, &mut packet);
    if let Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = verdict {
        outer.push(&mut packet).unwrap();
    }
    (verdict, packet.as_slice().to_vec())
}

pub type Host = Run<IsatapHost<Standard>>;

/// A host at these locators that asks no names.
pub fn host(config: HostConfig, locators: &[&str], dice: Dice) -> Host {
    let mut run = Run::new(IsatapHost::host(config), dice);
    let locators: Vec<_> = locators.iter().map(|text| v4(text).into()).collect();
    run.machine.set_locators(run.now, &locators).unwrap();
    run.drain();
    run
}

impl Host {
    pub fn locators(&mut self, locators: &[&str]) {
        let locators: Vec<_> = locators.iter().map(|text| v4(text).into()).collect();
        self.machine.set_locators(self.now, &locators).unwrap();
        self.drain();
    }

    pub fn router(&mut self, address: &str) {
        self.machine.add_router(self.now, v4(address)).unwrap();
        self.drain();
    }

    /// The names have these addresses, with this TTL in seconds.
    pub fn resolved(&mut self, addresses: &[&str], ttl: Option<u64>) {
        let addresses: Vec<_> = addresses.iter().map(|text| v4(text)).collect();
        let answer = Resolved { addresses: &addresses, ttl: ttl.map(secs) };
        self.machine.routers_resolved(self.now, Ok(answer)).unwrap();
        self.drain();
    }

    /// An advertisement of the router `from` for the locator `to`.
    pub fn hear(&mut self, from: &str, to: &str, lifetime: u16, options: &[Vec<u8>]) -> Verdict {
        let inner = nd(local(from), local(to), ra(lifetime, options));
        self.receive(&outer(from, to, &inner))
    }

    /// Questions asked to the resolver so far.
    pub fn questions(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::ResolveRouters { .. })).count()
    }
}

/// A configuration without names.
pub fn by_address() -> HostConfig {
    let mut config = HostConfig::DEFAULT;
    config.resolve = false;
    config
}

pub type Router<const LINKS: usize = 1> = Run<Node<RouterInterface<Standard>, Standard, LINKS>>;

/// A router at these locators, of these prefixes.
pub fn router(config: RouterConfig, locators: &[&str], prefixes: &[&str], switches: Switches, dice: Dice) -> Router {
    let mut node = Node::new(NodeConfig::DEFAULT);
    let id = node.add(RouterInterface::new(config), switches).unwrap();
    let mut run = Run::new(node, dice);
    let locators: Vec<_> = locators.iter().map(|text| v4(text).into()).collect();
    let told = run.machine.with_interface(run.now, id, |router, cx| {
        router.set_locators(cx, &locators)?;
        prefixes.iter().try_for_each(|text| router.publish(cx, PublishedPrefix::new(prefix(text))))
    });
    told.unwrap().unwrap();
    run.drain();
    run
}

impl Router {
    /// A host asks: `from` is its IPv4 address, `to` the router's.
    pub fn asked(&mut self, from: &str, to: &str, destination: Ipv6Addr) -> Verdict {
        self.receive(&outer(from, to, &nd(local(from), destination, rs())))
    }
}

/// A published lifetime.
pub fn lifetime(secs: u32) -> Lifetime {
    Lifetime::from_secs(secs)
}

//! The ingress rules of every link and of a node of several, read a second
//! time: RFC 4213 §3.6, 5214 §7.3, 3964 §5.2, 5969 §9.2, 2893 §5, 6324 §3.3.
//!
//! Nothing of the core's is called: addresses are numbers here, and bits are
//! taken one at a time.

use super::options::{self, Answer};

/// An address of this node and the length of its subnet.
pub type Own4 = (u32, u8);
/// An IPv6 prefix.
pub type Net6 = (u128, u8);

/// Who spoke, as the rules tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The far end of a configured tunnel.
    Remote,
    /// Whose IPv6 address says which IPv4 address is right, and it is.
    Host,
    /// One that is believed whatever it brings.
    Router,
    /// Whoever: nothing vouches for the source.
    Anybody,
}

/// What one link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    NotAddressed,
    Refused,
    Admitted(Speaker),
}

/// What all links look at.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub from: u32,
    pub to: u32,
    pub source: u128,
    pub destination: u128,
    /// `::/96`, for the one mechanism that wants it.
    pub compatible: bool,
    /// Whether nothing is behind the inner header that has rules of its own.
    pub plain: bool,
}

const LINK_LOCAL: Net6 = (0xfe80 << 112, 64);
const ALL_NODES: u128 = (0xff02 << 112) | 1;
const ALL_ROUTERS: u128 = (0xff02 << 112) | 2;

/// The first `length` bits are those of the prefix.
pub fn is_in(address: u128, (prefix, length): Net6) -> bool {
    (0..u32::from(length)).all(|bit| (address ^ prefix) >> (127 - bit) & 1 == 0)
}

fn is_in4(address: u32, (prefix, length): Own4) -> bool {
    (0..u32::from(length)).all(|bit| (address ^ prefix) >> (31 - bit) & 1 == 0)
}

/// The first `length` bits.
pub fn cut4(address: u32, length: u8) -> u32 {
    (0..u32::from(length)).fold(0, |cut, bit| cut | address & (1 << (31 - bit)))
}

fn four(a: u32, b: u32, c: u32, d: u32) -> u32 {
    ((a * 256 + b) * 256 + c) * 256 + d
}

/// 0/8, 127/8, 224/4, 240/4.
pub fn is_a_host(address: u32) -> bool {
    let first = address / 0x100_0000;
    (1..=126).contains(&first) || (128..=223).contains(&first)
}

/// The last address of the subnet of one of ours, where it has more than two.
fn is_broadcast(address: u32, own: &[Own4]) -> bool {
    own.iter().any(|(ours, length)| {
        *length <= 30
            && is_in4(address, (*ours, *length))
            && (0..32 - u32::from(*length)).all(|bit| address >> bit & 1 == 1)
    })
}

fn owns(own: &[Own4], address: u32) -> bool {
    own.iter().any(|(ours, _)| *ours == address)
}

impl Packet {
    /// The rules that need no mechanism; `::/96` sources pass, marked.
    pub fn read(bytes: &[u8]) -> Option<Packet> {
        let at = |place: usize| bytes.get(place).copied();
        let header_len = usize::from(at(0)? & 0xf) * 4;
        let total = usize::from(at(2)?) * 256 + usize::from(at(3)?);
        let header = bytes.get(..header_len)?;
        let inner = bytes.get(..total)?.get(header_len..)?;
        let is_sound = at(0)? >> 4 == 4 && header_len >= 20 && at(9)? == 41 && at(6)? & 0x3f == 0 && at(7)? == 0;
        if !is_sound || !adds_up(header) || inner.len() < 40 || options::read(&header[20..]) != Answer::Skip {
            return None;
        }
        let word = |place: usize| u32::from_be_bytes(bytes[place..place + 4].try_into().unwrap());
        let payload = usize::from(inner[4]) * 256 + usize::from(inner[5]);
        let fits = payload + 40 <= inner.len() && (payload != 0 || inner[6] != 0);
        if !is_a_host(word(12)) || !is_a_host(word(16)) || inner[0] >> 4 != 6 || !fits {
            return None;
        }
        let sixteen = |place: usize| u128::from_be_bytes(inner[place..place + 16].try_into().unwrap());
        let source = sixteen(8);
        if source == 1 || source >> 120 == 0xff || source >> 32 == 0xffff {
            return None;
        }
        let compatible = source != 0 && source >> 32 == 0;
        let plain = matches!(inner[6], 6 | 17 | 58 | 59);
        Some(Packet { from: word(12), to: word(16), source, destination: sixteen(24), compatible, plain })
    }
}

/// RFC 1071: the 16-bit words of a sound header add up to all ones.
fn adds_up(header: &[u8]) -> bool {
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) * 256 + u32::from(pair[1]));
    let sum: u32 = words.sum();
    sum != 0 && sum.is_multiple_of(0xffff)
}

/// A 6rd domain. [RFC 5969 §4]
#[derive(Clone, Copy, Debug)]
pub struct Domain {
    pub prefix: Net6,
    /// The IPv4 bits that all share, and how many.
    pub common: Own4,
}

impl Domain {
    fn embedded(&self, address: u128) -> Option<u32> {
        if !is_in(address, self.prefix) {
            return None;
        }
        let (common, mask) = (self.common.0, u32::from(self.common.1));
        let mut ipv4 = 0;
        for bit in 0..32 {
            let one = if bit < mask {
                common >> (31 - bit) & 1 == 1
            } else {
                address >> (127 - (u32::from(self.prefix.1) + bit - mask)) & 1 == 1
            };
            ipv4 |= u32::from(one) << (31 - bit);
        }
        Some(ipv4)
    }

    /// The delegated prefix of the node at `ipv4`.
    pub fn delegated(&self, ipv4: u32) -> Net6 {
        let (mut prefix, mut length) = self.prefix;
        for bit in u32::from(self.common.1)..32 {
            prefix |= u128::from(ipv4 >> (31 - bit) & 1) << (127 - u32::from(length));
            length += 1;
        }
        (prefix, length)
    }
}

/// A link, and all that its rules depend on.
#[derive(Clone, Debug)]
pub enum Rules {
    Native {
        addresses: Vec<Net6>,
    },
    /// `prefixes`: each a /64, of which the router's address has the identifier of `link_local`.
    Lan {
        link_local: u128,
        subnet: u16,
        prefixes: Vec<Net6>,
    },
    Configured {
        near: u32,
        far: u32,
        addresses: Vec<Net6>,
    },
    /// `prefixes`: on-link, and what addresses are made of, beside fe80::/64.
    Isatap {
        own: Vec<Own4>,
        routers: Vec<u32>,
        prefixes: Vec<Net6>,
        router: bool,
    },
    /// `strangers`: private addresses pass, and 100.64/10 and others that RFC 3964 does not
    /// list.
    SixToFourSite {
        own: Vec<Own4>,
        relays: Vec<u32>,
        strangers: bool,
    },
    /// `anycast`: whether it may be at 192.88.99.1.
    SixToFourRelay {
        own: Vec<Own4>,
        clients: Vec<Own4>,
        strangers: bool,
        anycast: bool,
    },
    SixRdEdge {
        own: Own4,
        domain: Domain,
        relays: Vec<u32>,
        strict: bool,
    },
    SixRdRelay {
        own: Own4,
        domain: Domain,
        routers: Vec<u32>,
    },
    Compatible {
        own: Vec<Own4>,
    },
}

impl Rules {
    /// The order in which links are asked. `TUN-23`
    fn rank(&self) -> u8 {
        match self {
            Rules::Configured { .. } => 0,
            Rules::Isatap { .. } => 1,
            Rules::SixRdEdge { .. } | Rules::SixRdRelay { .. } => 2,
            Rules::SixToFourSite { .. } | Rules::SixToFourRelay { .. } => 3,
            Rules::Compatible { .. } => 4,
            Rules::Native { .. } | Rules::Lan { .. } => 5,
        }
    }

    /// The IPv4 addresses of this node that it is heard at.
    pub fn own(&self) -> Vec<Own4> {
        match self {
            Rules::Native { .. } | Rules::Lan { .. } => Vec::new(),
            Rules::Configured { near, .. } => vec![(*near, 32)],
            Rules::Isatap { own, .. }
            | Rules::SixToFourSite { own, .. }
            | Rules::SixToFourRelay { own, .. }
            | Rules::Compatible { own } => own.clone(),
            Rules::SixRdEdge { own, .. } | Rules::SixRdRelay { own, .. } => vec![*own],
        }
    }

    /// What of `told` the link may be at becomes its own. `S64-1`, `S6R-9`
    pub fn relocate(&mut self, told: &[Own4]) {
        let mut hosts: Vec<Own4> = Vec::new();
        for (ipv4, length) in told.iter().copied().filter(|(ipv4, _)| is_a_host(*ipv4)) {
            if !owns(&hosts, ipv4) {
                hosts.push((ipv4, length));
            }
        }
        let anycast_relay = four(192, 88, 99, 1);
        let of_a_site = |strangers: bool, anycast: bool| {
            let may_be =
                |(ipv4, _): &Own4| may_be_sixtofour(*ipv4, &[], strangers) && (*ipv4 != anycast_relay || anycast);
            hosts.iter().copied().filter(may_be).collect::<Vec<_>>()
        };
        match self {
            Rules::Native { .. } | Rules::Lan { .. } | Rules::Configured { .. } => {}
            Rules::Isatap { own, .. } | Rules::Compatible { own } => *own = hosts,
            Rules::SixToFourSite { own, strangers, .. } => *own = of_a_site(*strangers, false),
            Rules::SixToFourRelay { own, strangers, anycast, .. } => *own = of_a_site(*strangers, *anycast),
            // Nothing is addressed to 0.0.0.0.
            Rules::SixRdRelay { own, .. } => *own = hosts.first().copied().unwrap_or((0, 32)),
            Rules::SixRdEdge { own, domain, .. } => {
                *own = hosts.first().copied().unwrap_or((0, 32));
                domain.common.0 = cut4(own.0, domain.common.1);
            }
        }
    }

    /// The link alone.
    pub fn judge(&self, packet: &Packet) -> Opinion {
        let Packet { from, to, source, destination, .. } = *packet;
        if packet.compatible && !matches!(self, Rules::Compatible { .. }) {
            return Opinion::Refused;
        }
        if let Rules::Configured { near, far, .. } = self {
            return match (from, to) == (*far, *near) {
                true if destination > 1 && near != far => Opinion::Admitted(Speaker::Remote),
                true => Opinion::Refused,
                false => Opinion::NotAddressed,
            };
        }
        let own = self.own();
        if !owns(&own, to) {
            return Opinion::NotAddressed;
        }
        if owns(&own, from) || is_broadcast(from, &own) {
            return Opinion::Refused;
        }
        let speaker = match self {
            Rules::Native { .. } | Rules::Lan { .. } | Rules::Configured { .. } => None,
            Rules::Isatap { routers, prefixes, router, .. } => {
                let group = if *router { ALL_ROUTERS } else { ALL_NODES };
                let is_group = destination >> 120 == 0xff;
                let refused = source == 0 || destination <= 1 || (is_group && destination != group);
                let on_link = is_in(source, LINK_LOCAL) || prefixes.iter().any(|prefix| is_in(source, *prefix));
                if refused {
                    None
                } else if routers.contains(&from) {
                    Some(Speaker::Router)
                } else {
                    (on_link && isatap(source) == Some(from)).then_some(Speaker::Host)
                }
            }
            Rules::SixToFourSite { relays, strangers, .. } => {
                let speaker = sixtofour(packet, &own, *strangers);
                let listed = relays.is_empty() || relays.contains(&from) || from == four(192, 88, 99, 1);
                let is_ours = six_to_four(destination) == Some(to);
                speaker.filter(|speaker| is_ours && (*speaker == Speaker::Host || listed))
            }
            Rules::SixToFourRelay { clients, strangers, .. } => {
                let served = clients.is_empty() || clients.iter().any(|client| is_in4(from, *client));
                let is_for_a_site = six_to_four(destination).is_some() && !self.is_local(destination);
                sixtofour(packet, &own, *strangers).filter(|_| served && !is_for_a_site)
            }
            Rules::SixRdEdge { own: (ours, _), domain, relays, strict } => {
                let delegated = domain.delegated(*ours);
                let inside = is_in(source, domain.prefix);
                let by_relay = relays.contains(&from);
                let its_own = is_in(source, domain.delegated(from)) || is_in(source, delegated);
                if sixrd_refuses(packet)
                    || !is_in(destination, delegated)
                    || (*strict && by_relay && inside && !its_own)
                {
                    None
                } else if by_relay {
                    Some(if inside { Speaker::Router } else { Speaker::Anybody })
                } else {
                    (domain.embedded(source) == Some(from)).then_some(Speaker::Host)
                }
            }
            Rules::SixRdRelay { domain, routers, .. } => {
                let is_known = routers.contains(&from) || is_in4(from, (four(192, 88, 99, 0), 24));
                let right = domain.embedded(source) == Some(from);
                (!sixrd_refuses(packet) && !is_known && right).then_some(Speaker::Host)
            }
            Rules::Compatible { .. } => {
                let of = |ipv4: u32| u128::from(ipv4);
                (source == of(from) && destination == of(to)).then_some(Speaker::Host)
            }
        };
        speaker.map_or(Opinion::Refused, Opinion::Admitted)
    }

    /// Whether this is a link that needs no tunnel.
    pub fn is_native(&self) -> bool {
        matches!(self, Rules::Native { .. } | Rules::Lan { .. })
    }

    /// The addresses that a link was given, each with its prefix length.
    fn addresses(&self) -> Vec<Net6> {
        match self {
            Rules::Native { addresses } | Rules::Configured { addresses, .. } => addresses.clone(),
            Rules::Lan { link_local, prefixes, .. } => {
                let identifier = link_local & u128::from(u64::MAX);
                let own = prefixes.iter().map(|(prefix, length)| (prefix | identifier, *length));
                std::iter::once((*link_local, 64)).chain(own).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An outer packet may go from `from` to `to`.
    pub fn may_send(&self, from: u32, to: u32) -> bool {
        let own = self.own();
        let is_elsewhere = is_a_host(to) && !owns(&own, to) && !is_broadcast(to, &own);
        let is_its_peer = match self {
            Rules::Configured { far, .. } => to == *far,
            _ => true,
        };
        owns(&own, from) && is_elsewhere && is_its_peer
    }

    fn is_on_link(&self, address: u128) -> bool {
        let among = |nets: &[Net6]| nets.iter().any(|net| is_in(address, *net));
        match self {
            Rules::Native { .. } | Rules::Lan { .. } | Rules::Configured { .. } => {
                is_in(address, LINK_LOCAL) || among(&self.addresses())
            }
            Rules::Isatap { prefixes, .. } => is_in(address, LINK_LOCAL) || among(prefixes),
            Rules::SixToFourSite { .. } | Rules::SixToFourRelay { .. } => six_to_four(address).is_some(),
            Rules::SixRdEdge { domain, .. } | Rules::SixRdRelay { domain, .. } => is_in(address, domain.prefix),
            Rules::Compatible { .. } => address > 1 && address >> 32 == 0,
        }
    }

    fn is_local(&self, address: u128) -> bool {
        let ours = |ipv4: Option<u32>| ipv4.is_some_and(|ipv4| owns(&self.own(), ipv4));
        match self {
            Rules::Native { .. } | Rules::Lan { .. } => self.addresses().into_iter().any(|(own, length)| {
                // The subnet-router anycast address. [RFC 4291 §2.6.1]
                let is_anycast = length < 127
                    && is_in(own, (address, length))
                    && address.trailing_zeros() >= 128 - u32::from(length);
                address == own || is_anycast
            }),
            Rules::Configured { near, .. } => {
                address == LINK_LOCAL.0 | u128::from(*near) || self.addresses().iter().any(|(own, _)| address == *own)
            }
            Rules::Isatap { prefixes, router, .. } => {
                let anycast = *router && prefixes.iter().any(|(prefix, _)| address == *prefix);
                anycast || (ours(isatap(address)) && self.is_on_link(address))
            }
            Rules::SixToFourSite { .. } => {
                let ipv4 = six_to_four(address);
                let rest = address & ((1 << 80) - 1);
                ours(ipv4) && (rest == 0 || Some(rest) == ipv4.map(u128::from))
            }
            Rules::SixToFourRelay { .. } => {
                let ipv4 = six_to_four(address);
                let own = u128::from(ipv4 != Some(four(192, 88, 99, 1)));
                let rest = address & ((1 << 80) - 1);
                ours(ipv4) && (rest == 0 || rest == own)
            }
            Rules::SixRdEdge { own: (own, _), domain, .. } | Rules::SixRdRelay { own: (own, _), domain, .. } => {
                let (prefix, length) = domain.delegated(*own);
                address == prefix || (length < 128 && address == prefix + 1)
            }
            Rules::Compatible { .. } => address >> 32 == 0 && address > 1 && ours(u32::try_from(address).ok()),
        }
    }
}

/// The IPv4 address in an ISATAP identifier, of either u bit.
fn isatap(address: u128) -> Option<u32> {
    let [.., a, b, c, d, e, f, g, h] = address.to_be_bytes();
    let is_one = matches!([a, b, c, d], [0 | 2, 0, 0x5e, 0xfe]);
    is_one.then(|| u32::from_be_bytes([e, f, g, h]))
}

/// The IPv4 address in a 6to4 address.
fn six_to_four(address: u128) -> Option<u32> {
    let [a, b, c, d, e, f, ..] = address.to_be_bytes();
    ([a, b] == [0x20, 0x02]).then(|| u32::from_be_bytes([c, d, e, f]))
}

/// RFC 3964 §5.3.1, in the words of its table; `strangers`: but for what labs live in.
pub fn may_be_sixtofour(address: u32, own: &[Own4], strangers: bool) -> bool {
    let among = |nets: &[(u32, u8)]| nets.iter().any(|net| is_in4(address, *net));
    let listed =
        [(0, 8), (four(127, 0, 0, 0), 8), (four(169, 254, 0, 0), 16), (four(224, 0, 0, 0), 4), (four(240, 0, 0, 0), 4)];
    let special = [
        (four(10, 0, 0, 0), 8),
        (four(172, 16, 0, 0), 12),
        (four(192, 168, 0, 0), 16),
        (four(100, 64, 0, 0), 10),
        (four(192, 0, 0, 0), 24),
        (four(192, 0, 2, 0), 24),
        (four(198, 18, 0, 0), 15),
        (four(198, 51, 100, 0), 24),
        (four(203, 0, 113, 0), 24),
    ];
    !among(&listed) && !is_broadcast(address, own) && (strangers || !among(&special))
}

/// RFC 3964 §5.2.
fn sixtofour(packet: &Packet, own: &[Own4], strangers: bool) -> Option<Speaker> {
    let usable = |ipv4: u32| may_be_sixtofour(ipv4, own, strangers);
    let sane = |address: u128| {
        let refused = [(0, 16), (0xfe80 << 112, 10), (0xfec0 << 112, 10), (0xff00 << 112, 8)];
        !refused.iter().any(|net| is_in(address, *net)) && six_to_four(address).is_none_or(usable)
    };
    if !usable(packet.from) || !usable(packet.to) || !sane(packet.source) || !sane(packet.destination) {
        return None;
    }
    let speaker = match (six_to_four(packet.source), six_to_four(packet.destination)) {
        (Some(source), _) if source != packet.from => return None,
        (_, Some(destination)) if destination != packet.to => return None,
        (Some(_), _) => Speaker::Host,
        (None, Some(_)) => Speaker::Anybody,
        (None, None) => return None,
    };
    Some(speaker)
}

/// What no 6rd tunnel carries: link-local addresses, groups, no address.
fn sixrd_refuses(packet: &Packet) -> bool {
    let link_local = |address: u128| is_in(address, (0xfe80 << 112, 10));
    let group = |address: u128| address >> 120 == 0xff;
    let bad = |address: u128| link_local(address) || group(address);
    packet.source == 0 || bad(packet.source) || bad(packet.destination) || packet.destination <= 1
}

/// Some link lets this outer packet in.
pub fn may_enter(links: &[Rules], outer: &[u8]) -> bool {
    let Some(packet) = Packet::read(outer) else { return false };
    links.iter().any(|link| matches!(link.judge(&packet), Opinion::Admitted(_)))
}

/// What a node of these links does, with all checks on: the number of the
/// link that lets the packet in, and who spoke.
///
/// `TUN-17`, `TUN-23`, `SEC-3`, `SEC-10`.
pub fn enters(links: &[Rules], packet: &Packet) -> Option<(usize, Speaker)> {
    let mut order: Vec<usize> = (0..links.len()).collect();
    order.sort_by_key(|at| links[*at].rank());
    let (at, speaker) = order.iter().find_map(|at| match links[*at].judge(packet) {
        Opinion::Admitted(speaker) => Some((*at, speaker)),
        _ => None,
    })?;
    let (source, destination) = (packet.source, packet.destination);
    let others = || links.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, link)| link);
    let scoped = is_in(source, LINK_LOCAL);
    let is_local = |address: u128| match is_in(address, LINK_LOCAL) {
        true => links[at].is_local(address),
        false => links.iter().any(|link| link.is_local(address)),
    };
    let of_a_lan = !scoped && others().any(|link| link.is_native() && link.is_on_link(source));
    let of_another = !scoped && speaker == Speaker::Anybody && others().any(|link| link.is_on_link(source));
    let comes_back = !links[at].is_on_link(destination)
        && embeds_own(links, destination)
        && !is_local(destination)
        && !links.iter().any(|link| link.is_native() && link.is_on_link(destination));
    (!is_local(source) && !of_a_lan && !of_another && !comes_back).then_some((at, speaker))
}

/// RFC 6324 §3.3: some tunnel would send a packet to `address` to this node.
/// Private addresses are many nodes', who may all have ISATAP; nobody may make a
/// 6to4 prefix of one, and where a lab does it is ours.
fn embeds_own(links: &[Rules], address: u128) -> bool {
    let own: Vec<Own4> = links.iter().flat_map(Rules::own).collect();
    let teredo = is_in(address, (0x2001 << 112, 32)).then(|| !low(address));
    let compatible = (address >> 32 == 0).then(|| low(address));
    let forms = [isatap(address).filter(|ipv4| !is_ambiguous(*ipv4)), six_to_four(address), teredo, compatible];
    let delegated = links.iter().any(|link| match link {
        Rules::SixRdEdge { own: (own, _), domain, .. } | Rules::SixRdRelay { own: (own, _), domain, .. } => {
            is_in(address, domain.delegated(*own))
        }
        _ => false,
    });
    delegated || forms.into_iter().flatten().any(|ipv4| owns(&own, ipv4))
}

fn low(address: u128) -> u32 {
    let [.., a, b, c, d] = address.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// RFC 1918, 6598, 3927.
fn is_ambiguous(ipv4: u32) -> bool {
    let nets = [
        (four(10, 0, 0, 0), 8),
        (four(172, 16, 0, 0), 12),
        (four(192, 168, 0, 0), 16),
        (four(100, 64, 0, 0), 10),
        (four(169, 254, 0, 0), 16),
    ];
    nets.iter().any(|net| is_in4(ipv4, *net))
}

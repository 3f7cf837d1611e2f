//! Links of every kind, alone and together, against a second reading of their
//! ingress rules.

use isatap_core::capacity::Standard;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Machine, Verdict};
use isatap_core::interface::Interface as _;
use isatap_core::link::{Denied, Link, Resolution};
use isatap_core::node::{AnyNode, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::{Flow, Outer};
use isatap_core::time::Instant;
use std::net::Ipv6Addr;

use super::input::Input;
use super::links::{add, speaker};
use super::packets::{self, IPV4, PRIVATE, PUBLIC, WORLD, World};
use super::rules::{Domain, Opinion, Own4, Packet, Rules, cut4, enters, is_a_host};

type Node = AnyNode<Standard, 4>;

const NOW: Instant = Instant::from_secs(1000);

/// Up to two IPv4 addresses to be listed, mostly neighbours', or none.
fn some(input: &mut Input<'_>) -> Vec<u32> {
    let count = input.byte() % 3;
    (0..count).map(|_| if input.byte() & 3 == 0 { packets::ipv4(input) } else { input.among(&IPV4[2..8]) }).collect()
}

/// 6rd domains of any lengths that RFC 5969 and `S6R-2` allow, around `own`.
fn domain(input: &mut Input<'_>, own: u32) -> Domain {
    if input.byte() & 1 == 0 {
        return Domain { common: (cut4(own, 16), 16), ..WORLD.domain };
    }
    let mask = input.byte() % 33;
    let length = 16 + input.byte() % (17 + mask);
    let prefix = 0x2001_0db8_6000_aaaa << 64 >> (128 - u32::from(length)) << (128 - u32::from(length));
    Domain { prefix: (prefix, length), common: (cut4(own, mask), mask) }
}

/// A link of the kind `kind`, told to be at `told`.
pub fn rules(input: &mut Input<'_>, kind: u8, told: &[Own4], world: &mut World) -> Rules {
    let first = told[0];
    let (own, strangers) = (Vec::new(), input.byte() & 1 == 1);
    let mut rules = match kind % 10 {
        0 => {
            let far = packets::ipv4(input);
            Rules::Configured { near: first.0, far, addresses: vec![(0x2001_0db8_0000_0009 << 64 | 1, 64)] }
        }
        1 => Rules::Isatap { own, routers: some(input), prefixes: vec![world.isatap], router: true },
        2 => Rules::Isatap { own, routers: hosts(some(input), told), prefixes: Vec::new(), router: false },
        3 => Rules::SixToFourSite { own, relays: some(input), strangers },
        4 => {
            let clients = some(input).into_iter().map(|client| (cut4(client, 16), 16)).collect();
            Rules::SixToFourRelay { own, clients, strangers, anycast: input.byte() & 1 == 1 }
        }
        5 => {
            world.domain = domain(input, first.0);
            let relays = some(input).into_iter().filter(|ipv4| is_a_host(*ipv4)).collect();
            Rules::SixRdEdge { own: first, domain: world.domain, relays, strict: strangers }
        }
        6 => {
            world.domain = domain(input, first.0);
            let routers = some(input).into_iter().filter(|ipv4| is_a_host(*ipv4)).collect();
            Rules::SixRdRelay { own: first, domain: world.domain, routers }
        }
        7 => Rules::Compatible { own },
        8 => Rules::Native { addresses: vec![(world.lan.0 | 1, 64)] },
        _ => {
            let link_local = 0xfe80 << 112 | 0x0200_00ff_fe00_0001;
            Rules::Lan { link_local, subnet: 1, prefixes: vec![world.lan] }
        }
    };
    rules.relocate(told);
    rules
}

/// Potential routers that a host at `own` takes.
fn hosts(routers: Vec<u32>, own: &[Own4]) -> Vec<u32> {
    routers.into_iter().filter(|router| is_a_host(*router) && !own.iter().any(|(own, _)| own == router)).collect()
}

/// IPv4 addresses of this node, of which a link can have up to two.
pub fn own(input: &mut Input<'_>) -> Vec<Own4> {
    let length = input.among(&[24, 24, 32, 31, 30, 16, 8]);
    let list = [
        vec![PUBLIC],
        vec![PUBLIC],
        vec![PRIVATE],
        vec![PUBLIC, PRIVATE],
        vec![PRIVATE, PUBLIC],
        vec![(0xc633_6407, 24)],
        vec![PUBLIC, (0xc058_6301, 32)],
        vec![(0x6440_0001, 24), PUBLIC],
    ];
    let mut own = list[usize::from(input.byte()) % list.len()].clone();
    own[0].1 = length;
    own
}

fn buffer(bytes: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM][..], bytes].concat()
}

/// What a node makes of an outer packet, and that a refusal changes nothing.
fn decapsulate(node: &mut Node, packet: &[u8]) -> Verdict {
    let mut buffer = buffer(packet);
    let end = buffer.len();
    let mut inside = PacketMut::new(&mut buffer, HEADROOM..end).unwrap();
    node.decapsulate_ipv4(NOW, &mut inside)
}

/// An outer packet as a socket gives it: its header, and what is behind that.
fn pulled(packet: &[u8]) -> Result<(Outer, Vec<u8>), DropReason> {
    let mut buffer = buffer(packet);
    let end = buffer.len();
    let mut inside = PacketMut::new(&mut buffer, HEADROOM..end).unwrap();
    let outer = Outer::pull(&mut inside)?;
    Ok((outer, inside.as_slice().to_vec()))
}

/// One link alone: the same answer as the rules, for each packet; and what it
/// would send is sent as the rules say.
pub fn tunnel_packet(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte() % 8;
    let own = own(&mut input);
    let mut world = WORLD;
    let rules = rules(&mut input, kind, &own, &mut world);
    let mut node: Box<Node> = Box::new(AnyNode::new(NodeConfig::DEFAULT));
    let (id, added) = add(&mut node, NOW, &rules, Switches::DEFAULT);
    added.unwrap();
    for _ in 0..8 {
        let outer = packets::outer(&mut input, &world);
        let read = Packet::read(&outer);
        let flow = pulled(&outer).and_then(|(outer, rest)| Flow::of_compatible(&outer, &rest));
        assert_eq!(flow.is_ok(), read.is_some(), "{flow:?}");
        let is_plain = Flow::parse(&outer).is_ok();
        assert_eq!(is_plain, pulled(&outer).is_ok_and(|(outer, rest)| Flow::of(&outer, &rest).is_ok()), "{flow:?}");
        assert_eq!(is_plain, read.is_some_and(|packet| !packet.compatible), "{flow:?}");
        if let (Ok(flow), Some(packet)) = (&flow, read)
            && (is_plain || matches!(rules, Rules::Compatible { .. }))
        {
            let link = node.interface(id).unwrap().link();
            let said = match link.admit(flow) {
                Ok(from) => Opinion::Admitted(speaker(from)),
                Err(Denied::Refused(_)) => Opinion::Refused,
                Err(_) => Opinion::NotAddressed,
            };
            assert_eq!(said, rules.judge(&packet), "{rules:?} {flow:?}");
        }
        // Nothing gets past the link.
        let verdict = decapsulate(&mut node, &outer);
        let is_let_in = read.is_some_and(|packet| matches!(rules.judge(&packet), Opinion::Admitted(_)));
        assert!(matches!(verdict, Verdict::Drop(_)) || is_let_in, "{verdict:?} {rules:?} {flow:?}");
        let (source, next_hop) = (packets::any_ipv6(&mut input, &world), packets::any_ipv6(&mut input, &world));
        let destination = if input.byte() & 1 == 0 { next_hop } else { packets::any_ipv6(&mut input, &world) };
        egress(node.interface(id).unwrap().link(), &rules, source, destination, next_hop);
        if input.is_empty() {
            break;
        }
    }
}

/// What a link sends goes from an address of ours to one that a host can
/// have, and passes the check of a peer that is a link of the same kind.
fn egress(
    link: &dyn Link<Capacity = Standard>,
    rules: &Rules,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_hop: Ipv6Addr,
) {
    let sent = link.permit(&source, &destination, &next_hop).and_then(|()| link.resolve(&source, &next_hop));
    let Ok(Resolution::To { source: from, destination: to }) = sent else { return };
    let (from, to) = (from.to_bits(), to.to_bits());
    let context = format!("{rules:?} {source} to {destination} by {next_hop}");
    let own = rules.own();
    assert!(own.iter().any(|(own, _)| *own == from), "{context}");
    assert!(is_a_host(to) && !own.iter().any(|(own, _)| *own == to), "{context}");
    let packet = Packet {
        from,
        to,
        source: source.to_bits(),
        destination: destination.to_bits(),
        compatible: false,
        plain: true,
    };
    // Who receives it there, with nothing listed.
    let there = match rules {
        Rules::SixToFourSite { strangers, .. } if next_hop == destination => {
            Rules::SixToFourSite { own: vec![(to, 32)], relays: Vec::new(), strangers: *strangers }
        }
        Rules::SixToFourRelay { strangers, .. } => {
            Rules::SixToFourSite { own: vec![(to, 32)], relays: Vec::new(), strangers: *strangers }
        }
        Rules::SixRdEdge { domain, relays, .. } if !relays.contains(&to) && next_hop == destination => {
            Rules::SixRdEdge { own: (to, 32), domain: *domain, relays: relays.clone(), strict: false }
        }
        Rules::SixRdRelay { domain, .. } if next_hop == destination => {
            Rules::SixRdEdge { own: (to, 32), domain: *domain, relays: vec![from], strict: false }
        }
        Rules::Compatible { .. } if next_hop == destination => Rules::Compatible { own: vec![(to, 32)] },
        _ => return,
    };
    let answer = there.judge(&packet);
    assert!(matches!(answer, Opinion::Admitted(_)), "{context}: {there:?} says {answer:?}");
}

/// Up to four links in one node: what enters, and as whose, is what the rules
/// of all of them say together. `TUN-23`
pub fn link_pairs(data: &[u8]) {
    let mut input = Input::new(data);
    let count = 2 + usize::from(input.byte() % 3);
    let own = own(&mut input);
    let mut world = WORLD;
    let mut node: Box<Node> = Box::new(AnyNode::new(NodeConfig::DEFAULT));
    let mut links = Vec::new();
    for _ in 0..count {
        let kind = input.byte();
        let rules = rules(&mut input, kind, &own, &mut world);
        let (id, added) = add(&mut node, NOW, &rules, Switches::DEFAULT);
        added.unwrap();
        assert_eq!(id, LinkId(u8::try_from(links.len()).unwrap()));
        links.push(rules);
    }
    for _ in 0..8 {
        let outer = packets::outer(&mut input, &world);
        let expected = Packet::read(&outer).map(|packet| (packet, enters(&links, &packet)));
        let found = pulled(&outer).and_then(|(outer, rest)| node.datapath().admit(&outer, &rest));
        let context = || format!("{found:?} of {links:?}");
        match (&found, expected) {
            (Ok((id, from, _)), Some((_, entry))) => {
                assert_eq!(Some((id.index(), speaker(*from))), entry, "{}", context());
            }
            (Ok(_), None) => panic!("malformed: {}", context()),
            // What is behind the inner header may be refused too.
            (Err(_), Some((packet, entry))) => assert!(entry.is_none() || !packet.plain, "{entry:?}: {}", context()),
            (Err(_), None) => {}
        }
        let is_let_in = found.is_ok();
        let verdict = decapsulate(&mut node, &outer);
        assert!(matches!(verdict, Verdict::Drop(_)) || is_let_in, "{verdict:?}: {links:?}");
        if input.is_empty() {
            break;
        }
    }
}

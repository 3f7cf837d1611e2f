//! Two nodes of the same links under the same packets and changes, one of which
//! remembers decisions, in a table so small that they drive each other out.
//!
//! The one without is the oracle: verdicts, bytes, counters, events, packets
//! of their own and deadlines are the same. Flows come again, with other bytes
//! around their addresses, so that decisions are found.

use isatap_core::time::Duration;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use isatap_core::capacity::{Capacity, MinimalRouter, Row, Small, Standard};
use isatap_core::datapath::{Decision, Decisions, IngressFilter, Remember, Switches};
use isatap_core::engine::{Event, Machine, Verdict, Via};
use isatap_core::interface::{Context, Interface as _};
use isatap_core::isatap::{CheckNeighbors, PublishedPrefix, Resolved, addr};
use isatap_core::nd::message::{
    NeighborAdvertisementRepr, NeighborFlags, RouterAdvertisementRepr, RouterFlags, write_packet,
};
use isatap_core::nd::option::{Mtu, PrefixFlags, PrefixInformation};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer;
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::time::{Instant, Lifetime};

use super::input::{Input, fix_icmpv6, sum};
use super::links::{add, net6, relocate};
use super::packets::{self, WORLD, address};
use super::rules::{Own4, Rules};
use super::tunnels::{own, rules};

const LINKS: usize = 4;

type Table = Decisions<Box<[Decision]>>;

/// A packet as it is handed in.
#[derive(Clone, Debug)]
struct Packet {
    way: Way,
    bytes: Vec<u8>,
    link: Option<LinkId>,
    segment_size: Option<NonZeroU16>,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Out,
    In(Outer),
    Forward(Outer),
    Native(LinkId),
}

struct Twins<C: Capacity> {
    plain: Box<AnyNode<C, LINKS>>,
    remembering: Box<AnyNode<C, LINKS, Table>>,
    links: Vec<Option<Rules>>,
    now: Instant,
    /// What was handed in a moment ago.
    flows: Vec<Packet>,
    /// What was sent last, as on the wire.
    sent: Vec<u8>,
    /// Who was asked whether it is there, by outer packets.
    asked: Vec<(Outer, Vec<u8>)>,
}

/// The same of both, which must come to the same.
macro_rules! both {
    ($twins:expr, $node:ident => $call:expr) => {{
        let one = {
            let $node = &mut *$twins.plain;
            $call
        };
        let other = {
            let $node = &mut *$twins.remembering;
            $call
        };
        assert_eq!(one, other);
        one
    }};
}

/// Runs two nodes by these bytes.
pub fn decisions(data: &[u8]) {
    found(data);
}

/// The same; how often a decision was found.
pub fn found(data: &[u8]) -> u64 {
    let mut input = Input::new(data);
    let flags = input.byte();
    match flags {
        0x80.. => run::<MinimalRouter>(flags, &mut input),
        _ if flags & 1 == 0 => run::<Small>(flags, &mut input),
        _ => run::<Standard>(flags, &mut input),
    }
}

fn run<C: Capacity>(flags: u8, input: &mut Input<'_>) -> u64 {
    let mut config = NodeConfig::DEFAULT;
    config.answer_echo = flags & 2 != 0;
    config.identification_seed = Some([7, 9]);
    let rows = vec![Decision::EMPTY; 2 + usize::from(flags >> 2 & 3) * 2];
    let mut twins = Twins::<C> {
        plain: Box::new(AnyNode::new(config)),
        remembering: Box::new(AnyNode::with_decisions(config, Decisions::with_storage(rows.into()))),
        links: Vec::new(),
        now: Instant::from_secs(1),
        flows: Vec::new(),
        sent: Vec::new(),
        asked: Vec::new(),
    };
    for _ in 0..=input.byte() % 4 {
        twins.add_link(input);
    }
    for _ in 0..160 {
        if input.is_empty() {
            break;
        }
        twins.step(input);
        twins.compare();
    }
    twins.remembering.decisions().hits()
}

impl<C: Capacity> Twins<C> {
    fn compare(&mut self) {
        assert_eq!(self.plain.counters(), self.remembering.counters());
        assert_eq!(self.plain.poll_timeout(), self.remembering.poll_timeout());
        assert!(self.plain.routes().eq(self.remembering.routes()));
    }

    fn add_link(&mut self, input: &mut Input<'_>) {
        let free = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if free == LINKS {
            return;
        }
        let kind = input.byte();
        let told = own(input);
        let rules = rules(input, kind, &told, &mut WORLD.clone());
        let mut switches = if input.byte() & 3 == 0 { Switches::DEFAULT } else { Switches::FORWARDING };
        switches.metric = u32::from(input.byte() % 4);
        let check = input.among(&[CheckNeighbors::On, CheckNeighbors::WhereBlind, CheckNeighbors::Off]);
        let now = self.now;
        let _ = both!(self, node => {
            let added = add(node, now, &rules, switches);
            node.with_interface(now, added.0, |interface, _| {
                if let AnyInterface::IsatapRouter(router) = interface {
                    router.config_mut().check_neighbors = check;
                }
            });
            added
        });
        self.links.resize(self.links.len().max(free + 1), None);
        self.links[free] = Some(rules);
        self.tick(0x5a);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0..=127 if !self.flows.is_empty() => {
                let at = usize::from(input.byte()) % self.flows.len();
                for _ in 0..=input.byte() % 4 {
                    let mut packet = self.flows[at].clone();
                    if input.byte() & 1 != 0 {
                        change(&mut packet, input);
                    }
                    self.hand_in(&packet);
                }
            }
            0..=151 => {
                // Those that go somewhere are rare.
                for _ in 0..8 {
                    let packet = any_packet(input);
                    if !matches!(self.hand_in(&packet), Verdict::Drop(_)) || input.byte() > 0xf0 {
                        self.flows.push(packet);
                        break;
                    }
                }
                let excess = self.flows.len().saturating_sub(6);
                self.flows.drain(..excess);
            }
            152..=159 => self.path_error(input),
            160..=179 => {
                let jump = input.among(&[
                    0_u64,
                    1,
                    1_000,
                    500_000,
                    1_000_000,
                    4_000_000,
                    29_000_000,
                    60_000_000,
                    7_200_000_000,
                ]);
                self.now = match input.byte() {
                    0..=99 => self.plain.poll_timeout().unwrap_or(self.now).max(self.now),
                    _ => self.now.saturating_add(Duration::from_micros(jump)),
                };
                if input.byte() & 3 != 0 {
                    self.tick(input.byte());
                }
            }
            180..=195 => self.answer(input),
            196..=203 => self.advertise(input),
            204..=211 => self.route(input),
            212..=219 => self.switch(input),
            220..=227 => self.relocate(input),
            228..=231 => self.add_link(input),
            232..=243 => self.control(input),
            _ => self.tick(input.byte()),
        }
    }

    fn hand_in(&mut self, packet: &Packet) -> Verdict {
        let now = self.now;
        let before = self.remembering.decisions().hits();
        let (verdict, bytes) = both!(self, node => {
            let mut buffer = [vec![0; HEADROOM], packet.bytes.clone()].concat();
            let range = HEADROOM..buffer.len();
            let mut handed = PacketMut::new(&mut buffer, range).unwrap();
            handed.set_link(packet.link);
            handed.set_segment_size(packet.segment_size);
            let verdict = match packet.way {
                Way::Out => node.encapsulate(now, &mut handed),
                Way::In(outer) => node.decapsulate(now, &outer, &mut handed),
                Way::Forward(outer) => node.forward(now, &outer, &mut handed),
                Way::Native(link) => node.forward_native(now, link, &mut handed),
            };
            (verdict, handed.as_slice().to_vec())
        });
        self.elsewhere(packet, &verdict, &bytes, before);
        if let Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = verdict {
            self.sent = pushed(&outer, &bytes);
        }
        verdict
    }

    /// Who carries packets by the decisions that the node tells of does to this one what the node did.
    fn elsewhere(&self, packet: &Packet, verdict: &Verdict, inner: &[u8], before: u64) {
        let node = &self.remembering;
        assert_eq!((self.plain.last_sends(), self.plain.last_admits()), (None, None));
        let was_found = node.decisions().hits() > before;
        let addresses = || [8, 24].map(|at| packet.bytes[at..at + 16].to_vec());
        match (packet.way, verdict) {
            (Way::Out, Verdict::Tunnel { link, outer }) => {
                let Some(sends) = node.last_sends() else {
                    assert!(!was_found || !outer.dont_fragment, "not told of: {packet:?}");
                    return;
                };
                assert_eq!(sends.again, was_found);
                assert_eq!(addresses(), [sends.source, sends.destination].map(|address| address.octets().to_vec()));
                let class = inner[0] << 4 | inner[1] >> 4;
                let ttl = if sends.ttl == 0 { inner[7].max(1) } else { sends.ttl };
                let expected = Outer {
                    tos: sends.tos | class & sends.tos_mask,
                    ttl,
                    dont_fragment: true,
                    identification: 0,
                    ..Outer::new(sends.outer_source, sends.outer_destination)
                };
                assert_eq!((*link, *outer), (sends.link, expected));
                assert!(packet.segment_size.is_some() || inner.len() <= usize::from(sends.mtu));
                assert!(self.now < sends.until.instant().unwrap_or(Instant::from_micros(u64::MAX)));
            }
            (Way::In(outer), Verdict::Deliver { link, .. }) => {
                let Some(admits) = node.last_admits() else {
                    assert!(!was_found, "not told of: {packet:?}");
                    return;
                };
                assert_eq!(admits.again, was_found);
                assert_eq!(addresses(), [admits.source, admits.destination].map(|address| address.octets().to_vec()));
                let outer = (outer.source, outer.destination);
                assert_eq!((*link, outer), (admits.link, (admits.outer_source, admits.outer_destination)));
            }
            // A machine has taken what it waits for: who carries packets has to leave it to the node.
            (Way::In(_), Verdict::Consumed { .. } | Verdict::Answer { .. }) if was_found && packet.bytes[6] == 58 => {
                let is_discovery = (133..=137).contains(&packet.bytes[40]);
                assert!(is_discovery || node.last_admits().is_none_or(|admits| admits.awaited), "{packet:?}");
            }
            _ => {}
        }
    }

    /// An ICMPv4 error about what was sent last.
    fn path_error(&mut self, input: &mut Input<'_>) {
        let mut message = vec![input.among(&[3, 3, 11]), input.among(&[4, 4, 1, 0]), 0, 0, 0, 0];
        message.extend(input.among(&[0_u16, 1280, 1300, 1400, 576]).to_be_bytes());
        message.extend(if input.byte() & 7 == 0 { packets::outer(input, &WORLD) } else { self.sent.clone() });
        let checksum = !sum(&[&message]);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let now = self.now;
        both!(self, node => {
            let mut buffer = [vec![0; HEADROOM], message.clone()].concat();
            let range = HEADROOM..buffer.len();
            let mut handed = PacketMut::new(&mut buffer, range).unwrap();
            (node.handle_icmpv4(now, &mut handed), handed.as_slice().to_vec())
        });
    }

    /// Time, and all that follows from it.
    fn tick(&mut self, entropy: u8) {
        let now = self.now;
        both!(self, node => node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(entropy)));
        for rounds in 0.. {
            assert!(rounds < 200, "output for ever");
            let sent = both!(self, node => {
                let mut buffer = vec![0; HEADROOM + 1500];
                let mut packet = PacketMut::empty(&mut buffer);
                let transmit = node.poll_transmit(&mut packet).unwrap();
                transmit.map(|transmit| (transmit, packet.as_slice().to_vec()))
            });
            if let Some((transmit, bytes)) = sent {
                if let Some(outer) = transmit.outer.filter(|_| bytes[6] == 58 && bytes[40] == 135) {
                    self.asked.push((outer, bytes));
                }
                continue;
            }
            let Some(event) = both!(self, node => node.poll_event()) else { break };
            if let Event::Delegation { link, change, delegation } = event {
                let _ = both!(self, node => node.delegate(now, link, change, delegation));
            }
        }
        let excess = self.asked.len().saturating_sub(4);
        self.asked.drain(..excess);
    }

    /// A neighbour that was asked whether it is there says so.
    fn answer(&mut self, input: &mut Input<'_>) {
        let Some((outer, question)) = self.asked.pop() else { return };
        let ipv6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&question[at..at + 16]).unwrap());
        let (asker, target) = (ipv6(8), ipv6(48));
        let flags = if input.byte() & 7 == 0 { NeighborFlags::empty() } else { NeighborFlags::SOLICITED };
        let repr = NeighborAdvertisementRepr { flags, target };
        let bytes = written(|packet| write_packet(packet, &target, &asker, |writer| repr.emit(writer)).is_ok());
        let outer = Outer::new(outer.destination, outer.source);
        self.hand_in(&Packet { way: Way::In(outer), bytes, link: None, segment_size: None });
    }

    /// A router that a host listens to speaks.
    fn advertise(&mut self, input: &mut Input<'_>) {
        let found = self.links.iter().flatten().find_map(|rules| match rules {
            Rules::Isatap { own, routers, router: false, .. } => Some((own.first()?.0, *routers.first()?)),
            _ => None,
        });
        let Some((own, router)) = found else { return };
        let repr = RouterAdvertisementRepr {
            cur_hop_limit: 64,
            flags: RouterFlags::empty(),
            preference: Preference::Medium,
            router_lifetime: input.among(&[1800, 0, 30]),
            reachable_time: 0,
            retrans_timer: 0,
        };
        let lifetime = Lifetime::from_secs(input.among(&[86_400, 0, 60, 7200]));
        let prefix = PrefixInformation {
            prefix: net6(WORLD.isatap),
            flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
            valid_lifetime: lifetime,
            preferred_lifetime: lifetime,
        };
        let mtu = Mtu(input.among(&[1280, 1400, 1480]));
        let (source, destination) = (addr::link_local(address(router)), addr::link_local(address(own)));
        let bytes = written(|packet| {
            let emitted = write_packet(packet, &source, &destination, |writer| {
                repr.emit(writer);
                prefix.emit(writer);
                mtu.emit(writer);
            });
            emitted.is_ok()
        });
        let outer = Outer::new(address(router), address(own));
        self.hand_in(&Packet { way: Way::In(outer), bytes, link: None, segment_size: None });
    }

    fn route(&mut self, input: &mut Input<'_>) {
        let length = input.among(&[0, 0, 16, 32, 48, 64, 128]);
        let prefix = Ipv6Prefix::new(packets::any_ipv6(input, &WORLD), length).unwrap();
        let link = LinkId(input.byte() % 5);
        let route = match input.byte() {
            0..=0x5f => Route::on_link(prefix, link, Origin::Manual),
            _ => Route::via(prefix, link, packets::any_ipv6(input, &WORLD), Origin::Manual),
        };
        if input.byte() & 3 != 0 {
            let _ = both!(self, node => node.insert_route(route));
        } else {
            both!(self, node => node.remove_route(&route.key()));
        }
    }

    fn switch(&mut self, input: &mut Input<'_>) {
        let id = LinkId(input.byte() % 4);
        let filter = input.among(&[IngressFilter::Off, IngressFilter::Site, IngressFilter::Strict]);
        let flags = input.byte();
        both!(self, node => if let Some(switches) = node.switches_mut(id) {
            switches.ingress = filter;
            switches.forwarding = flags & 1 != 0;
            switches.loop_checks = flags & 2 != 0;
        });
        if flags & 4 != 0 {
            both!(self, node => node.set_metric(id, u32::from(flags)).is_ok());
        }
        if flags & 8 != 0 {
            both!(self, node => node.add_known_prefix(net6(WORLD.isatap)).is_ok());
        }
        if flags & 16 != 0 {
            both!(self, node => node.set_order(&[LinkId(flags >> 6), LinkId(flags >> 5 & 1)]));
        }
        if flags & 0xe0 == 0xe0 && both!(self, node => node.remove(id).is_some()) {
            self.links[id.index()] = None;
            // Its number is free once the end of its routes was told.
            self.tick(0x5a);
        }
    }

    fn relocate(&mut self, input: &mut Input<'_>) {
        let at = usize::from(input.byte() % 4);
        let told: Vec<Own4> =
            (0..input.byte() % 3).map(|_| (packets::ipv4(input), input.among(&[24, 32, 30, 8]))).collect();
        let Some(rules) = self.links.get_mut(at).and_then(Option::as_mut) else { return };
        rules.relocate(&told);
        let (now, id) = (self.now, LinkId(u8::try_from(at).unwrap()));
        let _ = both!(self, node => relocate(node, now, id, &told));
    }

    /// What only one kind of interface is told.
    fn control(&mut self, input: &mut Input<'_>) {
        let id = LinkId(input.byte() % 4);
        let told = Told {
            flags: input.byte(),
            one: address(packets::ipv4(input)),
            net: Ipv6Prefix::new(packets::any_ipv6(input, &WORLD), input.among(&[64, 64, 48, 128])).unwrap(),
            ttl: input.among(&[None, Some(Duration::ZERO), Some(Duration::from_secs(60))]),
        };
        let now = self.now;
        both!(self, node => tell(node, now, id, &told));
    }
}

struct Told {
    flags: u8,
    one: Ipv4Addr,
    net: Ipv6Prefix,
    ttl: Option<Duration>,
}

fn tell<C: Capacity, D: Remember>(node: &mut AnyNode<C, LINKS, D>, now: Instant, id: LinkId, told: &Told) {
    let Told { flags, one, net, ttl } = *told;
    node.with_interface(now, id, |interface: &mut AnyInterface<C>, cx: &mut Context<'_, C>| match interface {
        AnyInterface::Configured(tunnel) => {
            let _ = tunnel.set_remote(cx, (flags & 1 != 0).then_some(one));
        }
        AnyInterface::IsatapRouter(router) => {
            let _ = match flags >> 6 {
                0 => router.set_known_routers(&[one]),
                1 => router.add_trusted_router(one),
                2 => router.publish(cx, PublishedPrefix::new(net)),
                _ => {
                    router.withdraw(cx, &net6(WORLD.isatap));
                    Ok(())
                }
            };
        }
        AnyInterface::IsatapHost(host) => {
            let _ = match flags >> 6 {
                0 => host.add_router(cx, one),
                1 => {
                    host.remove_router(cx, one);
                    Ok(())
                }
                _ => host.routers_resolved(cx, Ok(Resolved { addresses: &[one], ttl })),
            };
        }
        AnyInterface::SixToFourRouter(router) => {
            let _ = match flags >> 6 {
                0 => router.set_native(cx, flags & 1 != 0),
                1 => router.accept_relay(one),
                _ => router.relay_resolved(cx, &[one], ttl),
            };
        }
        AnyInterface::SixRdEdge(edge) => match flags >> 6 {
            0 => edge.probe_relay(cx.now),
            1 => drop(edge.set_enabled(cx, flags & 1 != 0)),
            _ => drop(edge.configure(cx, net6(WORLD.domain.prefix), flags % 33, [one].into_iter()).is_ok()),
        },
        AnyInterface::Lan(lan) => match flags >> 6 {
            0 => lan.stop(cx.now),
            1 => lan.start(cx.now),
            _ => drop(lan.publish(cx, Ipv6Prefix::subnet_of(&net.address()))),
        },
        other => other.link_mut().underlay_mut().policy.link_mtu = 1280 + u16::from(flags),
    });
}

fn pushed(outer: &Outer, bytes: &[u8]) -> Vec<u8> {
    let mut buffer = [vec![0; HEADROOM], bytes.to_vec()].concat();
    let range = HEADROOM..buffer.len();
    let mut packet = PacketMut::new(&mut buffer, range).unwrap();
    outer.push(&mut packet).unwrap();
    packet.as_slice().to_vec()
}

fn written(write: impl FnOnce(&mut PacketMut<'_>) -> bool) -> Vec<u8> {
    let mut buffer = vec![0; 512];
    let mut packet = PacketMut::empty(&mut buffer);
    assert!(write(&mut packet));
    packet.as_slice().to_vec()
}

fn any_packet(input: &mut Input<'_>) -> Packet {
    let link = input.among(&[None, None, Some(LinkId(0)), Some(LinkId(1))]);
    let way = input.byte();
    if way & 3 == 0 {
        return Packet { way: Way::Out, bytes: packets::inner(input, &WORLD), link, segment_size: None };
    }
    if way & 3 == 1 {
        let way = Way::Native(LinkId(way >> 2 & 3));
        return Packet { way, bytes: packets::inner(input, &WORLD), link: None, segment_size: None };
    }
    let mut whole = packets::outer(input, &WORLD);
    let end = whole.len();
    let mut packet = PacketMut::new(&mut whole, 0..end).unwrap();
    let Ok(outer) = Outer::pull(&mut packet) else {
        return Packet { way: Way::Out, bytes: vec![0x60], link, segment_size: None };
    };
    let bytes = packet.as_slice().to_vec();
    let way = if way & 4 == 0 { Way::In(outer) } else { Way::Forward(outer) };
    Packet { way, bytes, link, segment_size: None }
}

/// Other bytes around the addresses.
fn change(packet: &mut Packet, input: &mut Input<'_>) {
    let bytes = &mut packet.bytes;
    if bytes.len() < 48 {
        bytes.resize(48, 0);
        bytes[4..6].copy_from_slice(&8_u16.to_be_bytes());
    }
    match input.byte() % 14 {
        0 => bytes[7] = input.among(&[64, 0, 1, 2, 255]),
        1 => (bytes[0], bytes[1]) = (0x60 | input.byte() & 0xf, input.byte() & 0xf0),
        2 => bytes[6] = input.among(&[6, 17, 58, 59, 0, 43, 44, 60, 41, 4, 50]),
        3 => {
            bytes[6] = 58;
            (bytes[40], bytes[41]) = (input.among(&[128, 133, 134, 135, 136, 137, 1, 200]), 0);
            fix_icmpv6(bytes);
        }
        4 => bytes.truncate(usize::from(input.byte()) % bytes.len()),
        5 => bytes.extend([0xee; 5]),
        6 => bytes[4..6].copy_from_slice(&input.among(&[0_u16, 1, 8, 0xffff]).to_be_bytes()),
        7 | 8 => {
            let len = input.among(&[1200, 1240, 1241, 1300, 1360, 1421, 1460, 1461, 2000_usize]);
            bytes.resize(40 + len, 0x11);
            bytes[4..6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            bytes[6] = 17;
            packet.segment_size = NonZeroU16::new(input.among(&[0, 0, 1000, 1252, 1400]));
        }
        9 => bytes[0] = input.among(&[0x40, 0x50, 0x70, 0x6f]),
        10 => {
            if let Way::In(outer) | Way::Forward(outer) = &mut packet.way {
                outer.tos = input.byte();
            }
        }
        11 => {
            packet.way = match packet.way {
                Way::In(outer) => Way::Forward(outer),
                Way::Forward(outer) => Way::In(outer),
                Way::Out => Way::Native(LinkId(input.byte() % 4)),
                Way::Native(_) => Way::Out,
            }
        }
        12 => packet.link = input.among(&[None, Some(LinkId(0)), Some(LinkId(1)), Some(LinkId(2))]),
        _ => {
            if let Way::In(outer) | Way::Forward(outer) = &mut packet.way {
                outer.source = address(packets::ipv4(input));
            }
        }
    }
}

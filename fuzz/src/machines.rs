//! Lists of operations on machines, by the promises of their contract.
//!
//! After each operation: output drains in bounded time, no packet leaves for
//! an address that cannot be a unicast one or is our own, what came in is
//! what was delivered, sent, taken or dropped, and no deadline survives
//! being served.

use isatap_core::time::Duration;
use std::net::Ipv4Addr;

use isatap_core::capacity::{Capacity, Small};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::Tally;
use isatap_core::engine::{Event, Machine, Verdict, Via};
use isatap_core::interface::Interface;
use isatap_core::isatap::{HostConfig, PublishedPrefix, ResolveFailure, Resolved, RouterConfig, RouterInterface};
use isatap_core::node::{IsatapHost, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer;
use isatap_core::time::Instant;

use crate::doors::{beside, on_the_wire};
use crate::input::Input;
use crate::oracle::packets::{self, WORLD};

/// The hosts of the site, its router first, and two addresses that are none.
const IPV4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(192, 0, 2, 9),
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(224, 0, 0, 1),
];

/// What an operation made of a packet: the whole packet as it came, when it was
/// an outer one, the verdict, and the bytes that are then in the buffer.
pub(crate) type Check<'a> = &'a mut dyn FnMut(Option<&[u8]>, &Verdict, &[u8]);

pub(crate) fn in_a_buffer(bytes: &[u8], buffer: &mut Vec<u8>) -> std::ops::Range<usize> {
    buffer.clear();
    buffer.resize(HEADROOM, 0xa5);
    buffer.extend_from_slice(bytes);
    HEADROOM..buffer.len()
}

/// It leaves for a unicast address that is not our own; and what `outer` says is then on the wire.
fn check_sent(outer: &Outer, behind: &[u8]) {
    let bytes = on_the_wire(outer, behind);
    for address in [outer.source, outer.destination] {
        let first = address.octets()[0];
        assert!(first != 0 && first != 127 && first < 224, "{outer:?}");
    }
    assert_ne!(outer.source, outer.destination);
    assert_eq!(bytes[12..16], outer.source.octets());
    assert_eq!(bytes[16..20], outer.destination.octets());
    assert_eq!(bytes.len(), usize::from(u16::from_be_bytes([bytes[2], bytes[3]])));
}

pub(crate) fn check_verdict(verdict: &Verdict, bytes: &[u8]) {
    match verdict {
        Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
            check_sent(outer, bytes);
        }
        Verdict::Punt { .. } => panic!("only functions of &self punt"),
        _ => {}
    }
}

pub(crate) fn drain(machine: &mut impl Machine) -> Vec<Event> {
    let mut buffer = [0; HEADROOM + 1500];
    for polls in 0.. {
        assert!(polls < 1000, "packets that never end");
        let mut packet = PacketMut::empty(&mut buffer);
        let Some(sent) = machine.poll_transmit(&mut packet).unwrap() else { break };
        if let Some(outer) = sent.outer {
            check_sent(&outer, packet.as_slice());
        }
    }
    let events: Vec<Event> = std::iter::from_fn(|| machine.poll_event()).take(1000).collect();
    assert!(events.len() < 1000, "events that never end");
    events
}

pub(crate) fn tick(machine: &mut impl Machine, now: Instant, random: u8) -> Vec<Event> {
    machine.handle_timeout(now, &mut |out: &mut [u8]| out.fill(random));
    let events = drain(machine);
    assert!(machine.poll_timeout().is_none_or(|next| next > now), "a deadline survived {now}");
    events
}

/// The latest time told, and whether the next packet comes with an earlier one.
pub(crate) struct Clock {
    pub(crate) latest: Instant,
    behind: bool,
}

impl Clock {
    pub(crate) const START: Clock = Clock { latest: Instant::from_secs(1), behind: false };
}

/// One operation that every machine knows.
pub(crate) fn common<I: Interface<C>, C: Capacity, const LINKS: usize>(
    node: &mut Node<I, C, LINKS>,
    operation: u8,
    clock: &mut Clock,
    input: &mut Input<'_>,
    check: Check<'_>,
) -> Vec<Event> {
    let Clock { latest, behind } = clock;
    let mut buffer = Vec::new();
    let told = if std::mem::take(behind) { Instant::from_micros(latest.micros() / 2) } else { *latest };
    match operation % 8 {
        0 => {
            let jump = input.among(&[0_u64, 1, 1_000, 500_000, 4_000_000, 60_000_000, 7_200_000_000, 1 << 60]);
            *latest = latest.saturating_add(Duration::from_micros(jump));
        }
        // A clock that goes back is told to the next packet.
        1 => *behind = true,
        2 => *latest = node.poll_timeout().unwrap_or(*latest).max(*latest),
        3 => {
            let whole = packets::outer(input, &WORLD);
            let range = in_a_buffer(&whole, &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            let verdict = node.decapsulate_ipv4(told, &mut packet);
            check(Some(&whole), &verdict, packet.as_slice());
        }
        way @ 4..=5 => {
            let arrived = beside(&packets::outer(input, &WORLD)).unwrap();
            let range = in_a_buffer(&arrived.behind, &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            let verdict = match way {
                4 => node.decapsulate(told, &arrived.outer, &mut packet),
                _ => node.forward(told, &arrived.outer, &mut packet),
            };
            check(Some(&arrived.whole), &verdict, packet.as_slice());
        }
        6 => {
            let range = in_a_buffer(&packets::inner(input, &WORLD), &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            packet.set_link(input.among(&[None, Some(LinkId(0)), Some(LinkId(3))]));
            let verdict = node.encapsulate(told, &mut packet);
            check(None, &verdict, packet.as_slice());
        }
        _ => {
            let mut message = vec![input.among(&[3, 3, 11, 12, 0]), input.among(&[4, 1, 0]), 0, 0, 0, 0];
            message.extend(input.u16().to_be_bytes());
            message.extend(packets::outer(input, &WORLD));
            let checksum = !crate::input::sum(&[&message]);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            let range = in_a_buffer(&message, &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            let verdict = node.handle_icmpv4(told, &mut packet);
            check(None, &verdict, packet.as_slice());
        }
    }
    let events = tick(node, *latest, input.byte());
    balance(node);
    events
}

/// In = delivered + sent + taken + dropped.
pub(crate) fn balance<I: Interface<C>, C: Capacity, const LINKS: usize>(node: &Node<I, C, LINKS>) {
    let counters = node.counters();
    let out =
        [counters.tunnelled, counters.delivered, counters.native, counters.consumed, counters.held].map(Tally::get);
    assert_eq!(counters.entered.get(), out.iter().sum::<u64>() + counters.total_dropped());
}

/// An ISATAP host.
pub fn host_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut host: Box<IsatapHost<Small>> = Box::new(IsatapHost::host(HostConfig::DEFAULT));
    let mut clock = Clock::START;
    let now = clock.latest;
    let _ = host.set_locators(now, &[IPV4[1].into()]);
    let _ = host.routers_resolved(now, Ok(Resolved { addresses: &[IPV4[0]], ttl: None }));
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let now = clock.latest;
        match input.byte() {
            operation @ 0..=199 => {
                common(&mut host, operation, &mut clock, &mut input, &mut |_, verdict, bytes| {
                    check_verdict(verdict, bytes)
                });
            }
            200..=209 => {
                let locators = [input.among(&IPV4).into(), input.among(&IPV4).into(), input.among(&IPV4).into()];
                let _ = host.set_locators(now, &locators[..usize::from(input.byte() % 4)]);
            }
            210..=219 => {
                let addresses = [input.among(&IPV4), input.among(&IPV4), input.ipv4()];
                let ttl =
                    input.among(&[None, Some(Duration::ZERO), Some(Duration::from_secs(60)), Some(Duration::MAX)]);
                let answer = Resolved { addresses: &addresses[..usize::from(input.byte() % 4)], ttl };
                let _ = host.routers_resolved(now, Ok(answer));
            }
            220..=229 => {
                let failure = input.among(&[ResolveFailure::Unavailable, ResolveFailure::NoSuchName]);
                let _ = host.routers_resolved(now, Err(failure));
            }
            230..=239 => {
                let _ = host.add_router(now, input.among(&IPV4));
            }
            _ => {
                let address = input.among(&IPV4);
                host.with_interface(now, LinkId(0), |host, cx| host.remove_router(cx, address));
            }
        }
        tick(&mut *host, clock.latest, 0x5a);
    }
}

/// An ISATAP router.
pub fn router_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut node: Box<Node<RouterInterface<Small>, Small, 1>> = Box::new(Node::new(NodeConfig::DEFAULT));
    let link = node.add(RouterInterface::new(RouterConfig::DEFAULT), Switches::FORWARDING).unwrap();
    let mut clock = Clock::START;
    let now = clock.latest;
    node.with_interface(now, link, |router, cx| router.set_locators(cx, &[IPV4[1].into()]));
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let now = clock.latest;
        let prefix = |input: &mut Input<'_>| {
            let length = input.among(&[64, 64, 64, 48, 0, 128]);
            Ipv6Prefix::new(packets::any_ipv6(input, &WORLD), length).unwrap()
        };
        match input.byte() {
            operation @ 0..=199 => {
                common(&mut node, operation, &mut clock, &mut input, &mut |_, verdict, bytes| {
                    check_verdict(verdict, bytes)
                });
            }
            200..=219 => {
                let prefix = PublishedPrefix::new(prefix(&mut input));
                node.with_interface(now, link, |router, cx| router.publish(cx, prefix).is_ok());
            }
            220..=239 => {
                let prefix = prefix(&mut input);
                node.with_interface(now, link, |router, cx| router.withdraw(cx, &prefix));
            }
            252 => {
                node.with_interface(now, link, |router, cx| router.advertise_again(cx.now));
            }
            253 => {
                node.with_interface(now, link, |router, cx| router.stop(cx.now));
            }
            _ => {
                let locators = [input.among(&IPV4).into(), input.among(&IPV4).into()];
                let used = usize::from(input.byte() % 3);
                node.with_interface(now, link, |router, cx| router.set_locators(cx, &locators[..used]).is_ok());
            }
        }
        tick(&mut *node, clock.latest, 0x5a);
    }
}

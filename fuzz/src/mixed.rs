//! Lists of operations on a node of any links, whose addresses, domains and
//! routes change under it.

use isatap_core::time::Duration;

use isatap_core::capacity::{Capacity, Count as _, MinimalRouter, Small, Standard};
use isatap_core::datapath::{IngressFilter, Switches};
use isatap_core::engine::{Event, Verdict, Via};
use isatap_core::isatap::{PublishedPrefix, ResolveFailure, Resolved};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Route};

use crate::input::Input;
use crate::machines::{Clock, balance, check_verdict, common, in_a_buffer, tick};
use crate::oracle::links::{add, net6, relocate};
use crate::oracle::packets::{self, WORLD, address};
use crate::oracle::rules::{Own4, Rules, cut4, is_a_host, may_enter};
use crate::oracle::tunnels::{own, rules};

const LINKS: usize = 4;

/// A node, and what its links may let in at most.
struct Trial<C: Capacity> {
    node: Box<AnyNode<C, LINKS>>,
    /// By number; `None`: it was removed.
    links: Vec<Option<Rules>>,
    clock: Clock,
}

/// First byte: how large its tables are and what it does itself. Then its
/// links, and what happens to it.
pub fn node_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut config = NodeConfig::DEFAULT;
    config.answer_echo = flags & 1 != 0;
    match flags {
        0x80.. => run::<MinimalRouter>(config, &mut input),
        _ if flags & 2 == 0 => run::<Small>(config, &mut input),
        _ => run::<Standard>(config, &mut input),
    }
}

fn run<C: Capacity>(config: NodeConfig, input: &mut Input<'_>) {
    let mut trial = Trial::<C> { node: Box::new(AnyNode::new(config)), links: Vec::new(), clock: Clock::START };
    for _ in 0..=input.byte() % 4 {
        trial.add_link(input);
    }
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        trial.step(input);
    }
}

fn check(links: &[Option<Rules>], outer: Option<&[u8]>, verdict: &Verdict, bytes: &[u8]) {
    check_verdict(verdict, bytes);
    let sent = match verdict {
        Verdict::Tunnel { link, outer } | Verdict::Answer { via: Via::Tunnel { link, outer }, .. } => {
            Some((link, outer))
        }
        Verdict::Native { link, .. } | Verdict::Answer { via: Via::Native { link, .. }, .. } => {
            assert!(links[link.index()].as_ref().is_some_and(Rules::is_native));
            None
        }
        _ => None,
    };
    if let Some((link, outer)) = sent {
        let (from, to) = (outer.source.to_bits(), outer.destination.to_bits());
        let rules = &links[link.index()];
        assert!(rules.as_ref().is_some_and(|rules| rules.may_send(from, to)), "{outer:?} by {rules:?}");
    }
    // SEC-11: what may not enter leaves no trace but its count.
    if let Some(outer) = outer {
        let is_dropped = matches!(verdict, Verdict::Drop(_));
        let there: Vec<Rules> = links.iter().flatten().cloned().collect();
        assert!(is_dropped || may_enter(&there, outer), "{verdict:?} of {outer:02x?} with {links:?}");
    }
}

impl<C: Capacity> Trial<C> {
    fn add_link(&mut self, input: &mut Input<'_>) {
        let free = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if free == LINKS {
            return;
        }
        let kind = input.byte();
        let mut told = own(input);
        // What has no row is nobody's as far as the node knows.
        told.truncate(C::Locators::ROWS);
        let mut rules = rules(input, kind, &told, &mut WORLD.clone());
        let mut switches = if input.byte() & 3 == 0 { Switches::DEFAULT } else { Switches::FORWARDING };
        switches.metric = u32::from(input.byte() % 4);
        // Full tables are part of the trial.
        let _ = add(&mut *self.node, self.clock.latest, &rules, switches);
        if let Rules::Isatap { prefixes, router: false, .. } = &mut rules {
            // Whatever its routers advertise.
            *prefixes = vec![(0, 0)];
        }
        self.links.resize(self.links.len().max(free + 1), None);
        self.links[free] = Some(rules);
        self.settle();
    }

    fn settle(&mut self) {
        let events = tick(&mut *self.node, self.clock.latest, 0x5a);
        self.obey(events);
    }

    /// Does what events ask for, as a program would.
    fn obey(&mut self, mut events: Vec<Event>) {
        for rounds in 0.. {
            assert!(rounds < 8, "events that make events for ever");
            if events.is_empty() {
                break;
            }
            for event in events {
                if let Event::Delegation { link, change, delegation } = event {
                    let _ = self.node.delegate(self.clock.latest, link, change, delegation);
                }
            }
            events = tick(&mut *self.node, self.clock.latest, 0xa5);
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.clock.latest;
        match input.byte() {
            operation @ 0..=151 => {
                let links = &self.links;
                let mut check =
                    |outer: Option<&[u8]>, verdict: &Verdict, bytes: &[u8]| check(links, outer, verdict, bytes);
                let events = common(&mut *self.node, operation, &mut self.clock, input, &mut check);
                self.obey(events);
            }
            152..=167 => {
                let mut buffer = Vec::new();
                let range = in_a_buffer(&packets::inner(input, &WORLD), &mut buffer);
                let mut packet = PacketMut::new(&mut buffer, range).unwrap();
                let verdict = self.node.forward_native(now, LinkId(input.byte() % 5), &mut packet);
                check(&self.links, None, &verdict, packet.as_slice());
            }
            168..=183 => {
                let length = input.among(&[0, 16, 32, 48, 64, 128]);
                let prefix = Ipv6Prefix::new(packets::any_ipv6(input, &WORLD), length).unwrap();
                let link = LinkId(input.byte() % 5);
                let route = match input.byte() {
                    0..=0x3f => Route::on_link(prefix, link, Origin::Manual),
                    _ => Route::via(prefix, link, packets::any_ipv6(input, &WORLD), Origin::Manual),
                };
                if input.byte() & 3 != 0 {
                    let _ = self.node.insert_route(route);
                } else {
                    self.node.remove_route(&route.key());
                }
            }
            184..=199 => self.relocate(input),
            200..=207 => self.add_link(input),
            208..=223 => {
                let id = LinkId(input.byte() % 5);
                let filter = input.among(&[IngressFilter::Off, IngressFilter::Site, IngressFilter::Strict]);
                let flags = input.byte();
                if let Some(switches) = self.node.switches_mut(id) {
                    switches.ingress = filter;
                    switches.forwarding = flags & 1 != 0;
                    switches.loop_checks = flags & 2 != 0;
                }
                if flags & 4 != 0 {
                    let _ = self.node.set_metric(id, u32::from(flags));
                }
                if flags & 8 != 0 {
                    let _ = self.node.add_known_prefix(net6(WORLD.isatap));
                }
                if flags == 0xff && self.node.remove(id).is_some() {
                    self.links[id.index()] = None;
                }
            }
            _ => self.control(input),
        }
        self.settle();
        balance(&self.node);
    }

    fn relocate(&mut self, input: &mut Input<'_>) {
        let at = usize::from(input.byte() % 4);
        let mut told: Vec<Own4> =
            (0..input.byte() % 3).map(|_| (packets::ipv4(input), input.among(&[24, 32, 30, 8]))).collect();
        told.truncate(C::Locators::ROWS);
        let Some(rules) = self.links.get_mut(at).and_then(Option::as_mut) else { return };
        let _ = relocate(&mut *self.node, self.clock.latest, LinkId(u8::try_from(at).unwrap()), &told);
        rules.relocate(&told);
    }

    /// What only one kind of interface is told.
    fn control(&mut self, input: &mut Input<'_>) {
        let at = usize::from(input.byte() % 4);
        let Some(rules) = self.links.get_mut(at).and_then(Option::as_mut) else { return };
        let id = LinkId(u8::try_from(at).unwrap());
        let (flags, one, other) = (input.byte(), packets::ipv4(input), packets::ipv4(input));
        let net = Ipv6Prefix::new(packets::any_ipv6(input, &WORLD), input.among(&[64, 64, 48, 128])).unwrap();
        let ttl = [None, Some(Duration::ZERO), Some(Duration::from_secs(60)), Some(Duration::MAX)];
        let ttl = ttl[usize::from(flags & 3)];
        let listed = [address(one), address(other)];
        let listed = &listed[..usize::from(flags >> 2 & 3).min(2)];
        self.node.with_interface(self.clock.latest, id, |interface, cx| match (interface, rules) {
            (AnyInterface::IsatapRouter(router), Rules::Isatap { prefixes, .. }) => {
                if flags & 0x80 == 0 {
                    prefixes.push((net.address().to_bits(), net.length()));
                    let _ = router.publish(cx, PublishedPrefix::new(net));
                } else {
                    router.withdraw(cx, &net);
                }
            }
            (AnyInterface::IsatapHost(host), Rules::Isatap { routers, .. }) => {
                // One that is gone may still be listed: no less is let in.
                routers.extend([one, other]);
                let _ = match flags >> 6 {
                    0 => host.routers_resolved(cx, Err(ResolveFailure::NoSuchName)),
                    1 => host.add_router(cx, address(one)),
                    _ => host.routers_resolved(cx, Ok(Resolved { addresses: listed, ttl })),
                };
            }
            (AnyInterface::SixToFourRouter(router), _) => {
                let _ = if flags & 0x40 == 0 {
                    router.relay_resolved(cx, listed, ttl)
                } else {
                    router.set_native(cx, flags & 0x80 != 0)
                };
            }
            (AnyInterface::SixRdEdge(edge), Rules::SixRdEdge { own, domain, relays, .. }) => match flags >> 6 {
                0 => edge.probe_relay(cx.now),
                1 => drop(edge.set_enabled(cx, flags & 0x20 != 0)),
                _ => {
                    let mask = flags % 33;
                    let prefix = net6((0x2001_0db8_6000 << 80, 40));
                    if edge.configure(cx, prefix, mask, listed.iter().copied()).is_ok() || 40 + 32 - mask <= 64 {
                        *domain = WORLD.domain;
                        domain.common = (cut4(own.0, mask), mask);
                        *relays =
                            listed.iter().map(|relay| relay.to_bits()).filter(|relay| is_a_host(*relay)).collect();
                    }
                }
            },
            (AnyInterface::Lan(lan), _) => match flags >> 6 {
                0 => lan.stop(cx.now),
                1 => lan.start(cx.now),
                _ => drop(lan.publish(cx, Ipv6Prefix::subnet_of(&net.address()))),
            },
            _ => {}
        });
    }
}

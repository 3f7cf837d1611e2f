//! Any sequence of operations on a node with one interface: host, router,
//! configured tunnel. Whatever comes, the contract of `Machine` holds.
//!
//! After each operation: `handle_timeout`, then all output, read with buffers
//! that are too short first. Then: the next deadline lies in the future,
//! what was told adds up to what is, nothing was told twice, and each packet
//! that came in is counted once.

use isatap_core::time::Duration;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::*;
use isatap_core::capacity::{Capacity, Count as _, Minimal, MinimalRouter, Small, Standard};
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::interface::Interface;
use isatap_core::isatap::{HostConfig, HostInterface, PublishedPrefix, ResolveFailure, Resolved};
use isatap_core::isatap::{RouterConfig, RouterInterface};
use isatap_core::link::InterfaceAddress;
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::route::{Origin, Route};
use isatap_core::time::{Expiry, Instant};
use proptest::prelude::*;

const LINK: LinkId = LinkId(0);
const YEAR: u64 = 365 * 86400;

/// Locators, routers, hosts, and what can be none of them.
const IPV4: [&str; 8] =
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "131.107.71.209", "100.64.1.1", "192.0.2.1", "198.51.100.1", "224.0.0.1"];
const PREFIXES: [&str; 5] = ["fe80::", "2001:db8:0:7::", "2001:db8:0:8::", "2001:db8:0:9::", "2001:db8:1::"];

#[derive(Clone, Debug)]
enum Op {
    /// Inner source, inner destination, message, outer ends, faults.
    Receive {
        ends: (usize, usize),
        source: Address,
        destination: Address,
        message: Message,
        fault: Fault,
    },
    Send {
        source: Address,
        destination: Address,
    },
    IcmpV4 {
        kind: u8,
        code: u8,
        mtu: u16,
        ends: (usize, usize),
        quote: usize,
    },
    Pass(Duration),
    Jump {
        years: i64,
    },
    Timeouts(u8),
    Command(Command),
}

#[derive(Clone, Debug)]
enum Address {
    Isatap(usize, bool, usize),
    AllNodes,
    AllRouters,
    Unspecified,
    Other(u128),
}

#[derive(Clone, Debug)]
enum Message {
    Rs,
    Ra(u16, Vec<Vec<u8>>),
    Ns(Address),
    Na(u8, Address),
    Redirect(Address, Address),
    Data,
}

/// What happens to a packet on the way.
#[derive(Clone, Debug)]
enum Fault {
    None,
    /// A byte of the message changes; its checksum is right all the same.
    Message(usize, u8),
    /// A byte of the outer packet changes.
    Packet(usize, u8),
    Cut(usize),
}

/// Inputs of the three roles; each takes the ones that it has.
#[derive(Clone, Debug)]
enum Command {
    Locators(Vec<usize>),
    AddRouter(usize),
    RemoveRouter(usize),
    Resolved(Result<(Vec<usize>, Option<u64>), bool>),
    Default(usize, bool),
    Publish(usize, u32),
    Withdraw(usize),
    Forwarding(bool),
}

/// A node whose inputs are [`Command`]s.
trait Subject: isatap_core::engine::Machine + Clone {
    fn command(&mut self, now: Instant, command: &Command);
    fn addresses(&self) -> BTreeSet<Ipv6Addr>;
    fn told_routes(&self) -> Vec<Route>;
    fn unaccounted(&self) -> u64;
}

/// What the three roles differ in.
trait Role<C: Capacity>: Interface<C> + Clone {
    fn apply(node: &mut Node<Self, C, 1>, now: Instant, command: &Command);
    fn own(&self) -> BTreeSet<Ipv6Addr>;
}

impl<C: Capacity + Clone, R: Role<C>> Subject for Node<R, C, 1> {
    fn command(&mut self, now: Instant, command: &Command) {
        if let Command::Forwarding(on) = command {
            self.switches_mut(LINK).unwrap().forwarding = *on;
        }
        R::apply(self, now, command);
    }

    fn addresses(&self) -> BTreeSet<Ipv6Addr> {
        self.interface(LINK).unwrap().own()
    }

    fn told_routes(&self) -> Vec<Route> {
        self.routes().filter(|route| route.origin.is_told()).copied().collect()
    }

    fn unaccounted(&self) -> u64 {
        use isatap_core::drop_reason::Tally as _;
        let counters = self.counters();
        let told = [counters.delivered, counters.consumed, counters.tunnelled, counters.native, counters.held];
        let told: u64 = told.iter().map(|tally| tally.get()).sum();
        counters.entered.get().abs_diff(told + counters.total_dropped())
    }
}

fn ipv4(numbers: &[usize]) -> Vec<Ipv4Addr> {
    numbers.iter().map(|&number| v4(IPV4[number])).collect()
}

impl<C: Capacity> Role<C> for HostInterface<C> {
    fn apply(node: &mut Node<Self, C, 1>, now: Instant, command: &Command) {
        // A full table is an answer, not a failure.
        let _ = node.with_interface(now, LINK, |host, cx| match command {
            Command::Locators(numbers) => {
                let locators: Vec<_> = ipv4(numbers).into_iter().map(Into::into).collect();
                host.set_locators(cx, &locators)
            }
            Command::AddRouter(number) => host.add_router(cx, v4(IPV4[*number])),
            Command::RemoveRouter(number) => {
                host.remove_router(cx, v4(IPV4[*number]));
                Ok(())
            }
            Command::Resolved(Ok((numbers, ttl))) => {
                let addresses = ipv4(numbers);
                host.routers_resolved(cx, Ok(Resolved { addresses: &addresses, ttl: ttl.map(secs) }))
            }
            Command::Resolved(Err(denied)) => {
                let failure = if *denied { ResolveFailure::NoSuchName } else { ResolveFailure::Unavailable };
                host.routers_resolved(cx, Err(failure))
            }
            Command::Default(number, allowed) => {
                host.set_default_router(cx, v4(IPV4[*number]), *allowed);
                Ok(())
            }
            Command::Forwarding(_) => {
                host.solicit_routers(cx);
                Ok(())
            }
            Command::Publish(..) | Command::Withdraw(_) => Ok(()),
        });
    }

    fn own(&self) -> BTreeSet<Ipv6Addr> {
        self.addresses().map(|row| row.address).collect()
    }
}

impl<C: Capacity> Role<C> for RouterInterface<C> {
    fn apply(node: &mut Node<Self, C, 1>, now: Instant, command: &Command) {
        let subnet = |number: &usize| prefix(&format!("{}/64", PREFIXES[*number]));
        let _ = node.with_interface(now, LINK, |router, cx| match command {
            Command::Locators(numbers) => {
                let locators: Vec<_> = ipv4(numbers).into_iter().map(Into::into).collect();
                router.set_locators(cx, &locators)
            }
            Command::AddRouter(number) => router.add_trusted_router(v4(IPV4[*number])),
            Command::Publish(number, valid) => router.publish(
                cx,
                PublishedPrefix { valid_lifetime: lifetime(*valid), ..PublishedPrefix::new(subnet(number)) },
            ),
            Command::Withdraw(number) => {
                router.withdraw(cx, &subnet(number));
                Ok(())
            }
            Command::Default(number, allowed) => {
                router.config_mut().answers_per_second = if *allowed { *number as u16 } else { 1000 };
                Ok(())
            }
            Command::Forwarding(_) => {
                router.advertise_again(cx.now);
                Ok(())
            }
            _ => Ok(()),
        });
    }

    fn own(&self) -> BTreeSet<Ipv6Addr> {
        self.addresses().map(|row| row.address).collect()
    }
}

impl<C: Capacity> Role<C> for configured::ConfiguredInterface<C> {
    fn apply(node: &mut Node<Self, C, 1>, now: Instant, command: &Command) {
        if let Command::Publish(number, host) = command {
            let address = Ipv6Addr::from_bits(v6(PREFIXES[*number]).to_bits() | u128::from(*host | 1));
            let address = InterfaceAddress { address, prefix_length: 64 };
            let _ = node.with_interface(now, LINK, |tunnel, cx| tunnel.add_address(cx, address));
        }
    }

    fn own(&self) -> BTreeSet<Ipv6Addr> {
        self.link().addresses().map(|own| own.address).collect()
    }
}

fn address(address: &Address) -> Ipv6Addr {
    match *address {
        Address::Isatap(prefix, u, number) => isatap(PREFIXES[prefix], u, IPV4[number]),
        Address::AllNodes => ALL_NODES,
        Address::AllRouters => ALL_ROUTERS,
        Address::Unspecified => Ipv6Addr::UNSPECIFIED,
        Address::Other(bits) => Ipv6Addr::from_bits(bits),
    }
}

fn packet(op: &Op) -> Vec<u8> {
    let Op::Receive { ends, source, destination, message, fault } = op else { panic!() };
    let (source, destination) = (address(source), address(destination));
    let mut body = match message {
        Message::Rs => rs(),
        Message::Ra(lifetime, options) => ra(*lifetime, options),
        Message::Ns(target) => ns(address(target)),
        Message::Na(flags, target) => na(*flags, address(target)),
        Message::Redirect(target, destination) => redirect(address(target), address(destination)),
        Message::Data => vec![128, 0, 0, 0, 0, 0, 0, 0],
    };
    if let Fault::Message(at, byte) = fault {
        let at = at % body.len();
        if at != 2 && at != 3 {
            body[at] = *byte;
        }
    }
    let mut packet = outer(IPV4[ends.0], IPV4[ends.1], &nd(source, destination, body));
    match fault {
        Fault::Packet(at, byte) => {
            let at = at % packet.len();
            packet[at] = *byte;
        }
        Fault::Cut(at) => packet.truncate(at % packet.len()),
        _ => {}
    }
    packet
}

/// All output, each packet first asked for with buffers that are too short.
fn drain<M: Subject>(run: &mut Run<M>) {
    let mut rounds = 0;
    loop {
        let expected = transmit(&mut run.machine.clone());
        let enough = expected.as_ref().map_or(0, |(bytes, _)| HEADROOM + bytes.len() - 20);
        for size in [0, 20, HEADROOM, enough.saturating_sub(1)] {
            let mut short = vec![0; size.min(enough.saturating_sub(1))];
            let got = run.machine.poll_transmit(&mut PacketMut::empty(&mut short));
            match (&expected, got) {
                (None, Ok(None)) | (_, Err(_)) => {}
                (expected, got) => panic!("{size} bytes: {got:?}, of {expected:?}"),
            }
        }
        let got = transmit(&mut run.machine);
        assert_eq!(got, expected, "a short buffer lost something");
        let Some((bytes, _)) = got else { break };
        run.sent.push((run.now, Sent::read(&bytes)));
        rounds += 1;
        assert!(rounds < 1000, "it never ends");
    }
    run.drain();
}

fn play<M: Subject>(machine: M, ops: &[Op], seed: u64) -> Vec<(Instant, Sent)> {
    let mut run = Run::new(machine, Dice::Seeded(seed | 1));
    run.now = at((20 * YEAR) as f64);
    let mut latest = Instant::ZERO;
    for op in ops {
        match op {
            Op::Receive { .. } => {
                decapsulate(&mut run.machine, run.now, &packet(op));
            }
            Op::Send { source, destination } => {
                let _ = run.send(address(source), address(destination));
            }
            Op::IcmpV4 { kind, code, mtu, ends, quote } => {
                let quoted =
                    outer(IPV4[ends.0], IPV4[ends.1], &ipv6(local("10.0.0.2"), v6("2001:db8::9"), 59, 64, &[]));
                let mut message = vec![*kind, *code, 0, 0, 0, 0];
                message.extend(mtu.to_be_bytes());
                message.extend(&quoted[..(*quote).min(quoted.len())]);
                let len = message.len();
                message.resize(len + 1500, 0);
                message.rotate_right(200);
                let mut packet = PacketMut::new(&mut message, 200..200 + len).unwrap();
                run.machine.handle_icmpv4(run.now, &mut packet);
            }
            Op::Pass(time) => run.now = run.now.saturating_add(*time),
            Op::Jump { years } => {
                let micros = run.now.micros().saturating_add_signed(years * (YEAR * 1_000_000) as i64);
                run.now = Instant::from_micros(micros);
            }
            Op::Timeouts(count) => {
                for _ in 0..*count {
                    let Some(next) = run.machine.poll_timeout() else { break };
                    run.now = run.now.max(next);
                    run.machine.handle_timeout(run.now, &mut run.dice);
                    drain(&mut run);
                }
            }
            Op::Command(command) => run.machine.command(run.now, command),
        }
        // A clock that went backwards stands still.
        latest = latest.max(run.now);
        run.machine.handle_timeout(run.now, &mut run.dice);
        drain(&mut run);
        if let Some(next) = run.machine.poll_timeout() {
            assert!(next > latest, "still due: {next} at {latest} after {op:?}");
        }
        assert_eq!(run.addresses.keys().copied().collect::<BTreeSet<_>>(), run.machine.addresses(), "{op:?}");
        // A longer life alone is not told: its end will be.
        let told = |routes: &[Route]| {
            routes.iter().map(|r| format!("{:?}", Route { expires: Expiry::NEVER, ..*r })).collect::<BTreeSet<_>>()
        };
        assert_eq!(told(&run.routes), told(&run.machine.told_routes()), "{op:?}");
        assert_eq!(run.machine.unaccounted(), 0, "packets without an end after {op:?}");
    }
    run.sent
}

fn host_node<C: Capacity>() -> Node<HostInterface<C>, C, 1> {
    let mut node = Node::new(NodeConfig::DEFAULT);
    node.add(HostInterface::new(HostConfig::DEFAULT), Switches::DEFAULT).unwrap();
    node
}

fn router_node<C: Capacity>() -> Node<RouterInterface<C>, C, 1> {
    let mut node = Node::new(NodeConfig::DEFAULT);
    node.add(RouterInterface::new(RouterConfig::DEFAULT), Switches::FORWARDING).unwrap();
    node
}

fn tunnel_node<C: Capacity>() -> Node<configured::ConfiguredInterface<C>, C, 1> {
    let mut node = Node::new(NodeConfig::DEFAULT);
    let config = configured::Config::new(v4("192.0.2.1"), v4("198.51.100.1"));
    let id = node.add(configured::ConfiguredInterface::new(config), Switches::FORWARDING).unwrap();
    let inserted = node.insert_route(Route::via(prefix("::/0"), id, v6("fe80::1"), Origin::Manual));
    assert_eq!(inserted.is_ok(), C::Routes::ROWS > 0);
    node
}

fn any_address() -> impl Strategy<Value = Address> {
    prop_oneof![
        12 => (0..PREFIXES.len(), any::<bool>(), 0..IPV4.len()).prop_map(|(p, u, n)| Address::Isatap(p, u, n)),
        1 => Just(Address::AllNodes),
        2 => Just(Address::AllRouters),
        1 => Just(Address::Unspecified),
        1 => any::<u128>().prop_map(Address::Other),
    ]
}

fn any_lifetime() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1_u32..200, 1000_u32..90000, Just(u32::MAX), any::<u32>()]
}

fn any_option() -> impl Strategy<Value = Vec<u8>> {
    let subnet = (0..PREFIXES.len()).prop_map(|number| PREFIXES[number]);
    prop_oneof![
        (subnet.clone(), any::<u8>(), any_lifetime(), any_lifetime(), prop_oneof![Just(64), 0..=128_u8]).prop_map(
            |(subnet, flags, valid, preferred, len)| pio(&format!("{subnet}/{len}"), flags, valid, preferred)
        ),
        (subnet, any::<u8>(), any_lifetime(), 0..=128_u8).prop_map(|(subnet, preference, lifetime, len)| rio(
            &format!("{subnet}/{len}"),
            preference,
            lifetime
        )),
        any::<u32>().prop_map(mtu),
        (1000_u32..2000).prop_map(mtu),
        any_lifetime()
            .prop_map(|lifetime| rdnss(lifetime, &["2001:db8::53", "fe80::53", "2001:db8::54", "2001:db8::55"])),
        proptest::collection::vec(any::<u8>(), 8..24).prop_map(|mut bytes| {
            bytes.truncate(bytes.len() / 8 * 8);
            bytes[1] = bytes.len() as u8 / 8;
            bytes
        }),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        2 => Just(Message::Rs),
        6 => (any::<u16>(), proptest::collection::vec(any_option(), 0..5)).prop_map(|(l, o)| Message::Ra(l, o)),
        1 => (0_u16..3, proptest::collection::vec(any_option(), 0..5)).prop_map(|(l, o)| Message::Ra(l, o)),
        2 => any_address().prop_map(Message::Ns),
        2 => (any::<u8>(), any_address()).prop_map(|(flags, target)| Message::Na(flags, target)),
        1 => (any_address(), any_address()).prop_map(|(target, to)| Message::Redirect(target, to)),
        1 => Just(Message::Data),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Fault::Message(at, byte)),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Fault::Packet(at, byte)),
        1 => any::<usize>().prop_map(Fault::Cut),
    ]
}

/// A packet of the kind that gets in: its source embeds its outer source.
fn consistent() -> impl Strategy<Value = Op> {
    let n = 0..IPV4.len();
    (n.clone(), n, any::<bool>(), prop_oneof![3 => Just(0), 1 => 0..PREFIXES.len()], any_message(), any_fault(), 0..4)
        .prop_map(|(from, to, u, prefix, message, fault, kind)| Op::Receive {
            ends: (from, to),
            source: Address::Isatap(prefix, u, from),
            destination: match kind {
                0 => Address::AllRouters,
                1 => Address::AllNodes,
                _ => Address::Isatap(prefix, u, to),
            },
            message: match message {
                Message::Na(flags, _) => Message::Na(flags, Address::Isatap(prefix, u, from)),
                Message::Ns(_) => Message::Ns(Address::Isatap(prefix, u, to)),
                other => other,
            },
            fault,
        })
}

fn any_command() -> impl Strategy<Value = Command> {
    let n = 0..IPV4.len();
    let some = proptest::collection::vec(n.clone(), 0..5);
    let ttl = proptest::option::of(prop_oneof![Just(0_u64), 1_u64..200, Just(100_000)]);
    prop_oneof![
        4 => some.clone().prop_map(Command::Locators),
        2 => n.clone().prop_map(Command::AddRouter),
        1 => n.clone().prop_map(Command::RemoveRouter),
        3 => (some, ttl).prop_map(|answer| Command::Resolved(Ok(answer))),
        1 => any::<bool>().prop_map(|denied| Command::Resolved(Err(denied))),
        1 => (n, any::<bool>()).prop_map(|(number, allowed)| Command::Default(number, allowed)),
        2 => (1..PREFIXES.len(), any_lifetime()).prop_map(|(number, valid)| Command::Publish(number, valid)),
        1 => (1..PREFIXES.len()).prop_map(Command::Withdraw),
        1 => any::<bool>().prop_map(Command::Forwarding),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let n = 0..IPV4.len();
    prop_oneof![
        10 => consistent(),
        3 => ((n.clone(), n.clone()), any_address(), any_address(), any_message(), any_fault())
            .prop_map(|(ends, source, destination, message, fault)| Op::Receive { ends, source, destination, message, fault }),
        3 => (any_address(), any_address()).prop_map(|(source, destination)| Op::Send { source, destination }),
        1 => (prop_oneof![Just(3_u8), any::<u8>()], 0..14_u8, any::<u16>(), (n.clone(), n), 0..100_usize)
            .prop_map(|(kind, code, mtu, ends, quote)| Op::IcmpV4 { kind, code, mtu, ends, quote }),
        3 => prop_oneof![0..2_000_000_u64, 0..10_000_000_000_u64].prop_map(|micros| Op::Pass(Duration::from_micros(micros))),
        1 => (-10..=10_i64).prop_map(|years| Op::Jump { years }),
        3 => (1..12_u8).prop_map(Op::Timeouts),
        6 => any_command().prop_map(Op::Command),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_host_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(host_node::<Standard>(), &ops, seed);
    }

    #[test]
    fn a_minimal_host_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(host_node::<Minimal>(), &ops, seed);
    }

    #[test]
    fn a_small_host_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(host_node::<Small>(), &ops, seed);
    }

    #[test]
    fn a_router_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(router_node::<Standard>(), &ops, seed);
    }

    #[test]
    fn a_small_router_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(router_node::<Small>(), &ops, seed);
    }

    #[test]
    fn a_minimal_router_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(router_node::<MinimalRouter>(), &ops, seed);
    }

    #[test]
    fn a_minimal_tunnel_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(tunnel_node::<Minimal>(), &ops, seed);
    }

    #[test]
    fn a_configured_tunnel_keeps_the_contract(ops in proptest::collection::vec(any_op(), 1..60), seed: u64) {
        play(tunnel_node::<Small>(), &ops, seed);
    }

    /// The same inputs and the same randomness, the same packets.
    #[test]
    fn what_a_host_does_depends_on_its_inputs_alone(ops in proptest::collection::vec(any_op(), 1..40), seed: u64) {
        prop_assert_eq!(play(host_node::<Small>(), &ops, seed), play(host_node::<Small>(), &ops, seed));
    }
}

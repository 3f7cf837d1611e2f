//! The world: nodes, the networks between them, and one clock.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use isatap_core::packet::LinkId;
use isatap_core::time::Instant;

use super::cloud::{Cloud, Reassembly, fragmentation_needed};
use super::ip::{self, Ipv4, Ipv6};
use super::journey::{Action, Hop};
use super::names::Names;
use super::node::{LabNode, Outbox, Output};
use super::pcap::Pcap;
use super::ping::{Ping, PingId, PingOutcome, Pings};
use super::rng::Rng;

/// The journey's name for the IPv4 network itself.
const CLOUD: &str = "cloud";
/// Things that one node may do at one instant before it counts as stuck.
const BUSY: u32 = 100_000;

/// A node of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// A native IPv6 segment of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanId(usize);

/// A deterministic world in one process: what happens follows from its seed
/// and from what is done to it, on every machine.
///
/// Time stands still while nodes work and jumps to whatever comes next: an
/// arrival or a node's deadline. After every call into a node the world holds
/// the node to the contract of `isatap_core::engine` and panics where it is
/// broken: no deadline survives being due, and [`LabNode::check`] agrees.
#[derive(Debug)]
pub struct World {
    /// The IPv4 network: its conditions, filters and faults.
    pub cloud: Cloud,
    /// The DNS.
    pub names: Names,
    seed: u64,
    now: Instant,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    wakes: BTreeSet<(Instant, NodeId)>,
    nodes: Vec<Slot>,
    by_name: HashMap<String, NodeId>,
    by_ipv4: HashMap<Ipv4Addr, NodeId>,
    lans: Vec<Lan>,
    outputs: VecDeque<(NodeId, Output)>,
    outsider: Rng,
    pings: Pings,
    pcap: Option<Pcap>,
    journey: Option<Vec<Hop>>,
    delivered: u64,
    dropped: u64,
    busy: (Instant, u32),
}

/// A node and what the world knows of it.
struct Slot {
    name: String,
    node: Box<dyn LabNode>,
    entropy: Rng,
    faults: Rng,
    plugged: bool,
    suspended: bool,
    answers_echo: bool,
    /// The node's clock minus the world's, in microseconds.
    clock_ahead: i128,
    /// The latest time that the node was told.
    latest: Instant,
    wake: Option<Instant>,
    addresses: Vec<Ipv4Addr>,
    /// The NAT that the node is behind.
    gateway: Option<NodeId>,
    ports: Vec<(LinkId, LanId)>,
    reassembly: Reassembly,
}

#[derive(Debug)]
struct Lan {
    name: String,
    latency: Duration,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    time: Instant,
    sequence: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// `via`: whoever has the destination, where it is not a gateway.
    Ipv4 {
        via: Option<NodeId>,
        packet: Vec<u8>,
    },
    Ipv6 {
        to: NodeId,
        link: LinkId,
        packet: Vec<u8>,
    },
    Name {
        node: NodeId,
        link: LinkId,
        name: String,
    },
}

impl World {
    /// An empty world, whose journey is kept.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        World {
            cloud: Cloud::default(),
            names: Names::new(),
            seed,
            now: Instant::ZERO,
            queue: BinaryHeap::new(),
            sequence: 0,
            wakes: BTreeSet::new(),
            nodes: Vec::new(),
            by_name: HashMap::new(),
            by_ipv4: HashMap::new(),
            lans: Vec::new(),
            outputs: VecDeque::new(),
            outsider: Rng::fork(seed, "outsider"),
            pings: Pings::default(),
            pcap: None,
            journey: Some(Vec::new()),
            delivered: 0,
            dropped: 0,
            busy: (Instant::ZERO, 0),
        }
    }

    /// An empty world for the test called `name`, which writes the capture
    /// `name-seed.pcap` into the directory `ISATAP_PCAP_DIR` when that
    /// environment variable is set.
    ///
    /// # Panics
    /// The capture cannot be created.
    #[must_use]
    pub fn for_test(name: &str, seed: u64) -> Self {
        let mut world = World::new(seed);
        if let Some(directory) = std::env::var_os("ISATAP_PCAP_DIR") {
            let path = Path::new(&directory).join(format!("{name}-{seed}.pcap"));
            if let Err(error) = world.capture_to(&path) {
                panic!("ISATAP_PCAP_DIR: cannot write {}: {error}", path.display());
            }
        }
        world
    }

    /// The seed that everything follows from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The world's clock, which starts at zero.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// IPv6 packets delivered to programs so far, on all nodes.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Packets dropped so far, by nodes and on the way.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What happened since [`take_journey`](World::take_journey).
    #[must_use]
    pub fn journey(&self) -> &[Hop] {
        self.journey.as_deref().unwrap_or(&[])
    }

    /// What happened since the last call.
    pub fn take_journey(&mut self) -> Vec<Hop> {
        self.journey.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether to keep the journey. Without it long runs need less time and
    /// no memory for it.
    pub fn keep_journey(&mut self, keep: bool) {
        self.journey = keep.then(Vec::new);
    }

    /// Says in the journey that something happened to `node`.
    pub fn note(&mut self, node: &str, text: impl Into<String>) {
        let hop = Hop::event(self.now, node, text.into());
        self.journey.iter_mut().for_each(|journey| journey.push(hop.clone()));
    }

    /// Records every IPv4 packet as it enters the cloud.
    pub fn capture(&mut self, pcap: Pcap) {
        self.pcap = Some(pcap);
    }

    /// Records every IPv4 packet as it enters the cloud into a new file.
    ///
    /// # Errors
    /// Those of creating the file.
    pub fn capture_to(&mut self, path: &Path) -> io::Result<()> {
        let file = std::fs::File::create(path)?;
        self.capture(Pcap::new(Box::new(io::BufWriter::new(file)))?);
        Ok(())
    }

    /// Ends the capture, if there is one.
    ///
    /// # Errors
    /// The first that writing it met.
    pub fn finish_capture(&mut self) -> io::Result<()> {
        self.pcap.take().map_or(Ok(()), Pcap::finish)
    }
}

/// Making and changing the world.
impl World {
    /// Adds a node. It starts with no IPv4 address and on no LAN.
    ///
    /// # Panics
    /// There is a node of that name.
    pub fn add(&mut self, name: &str, node: impl LabNode) -> NodeId {
        assert!(self.find(name).is_none() && name != CLOUD, "two nodes are called {name}");
        let id = NodeId(self.nodes.len());
        self.by_name.insert(name.into(), id);
        self.nodes.push(Slot {
            name: name.into(),
            node: Box::new(node),
            entropy: Rng::fork(self.seed, name),
            faults: Rng::fork(self.seed, &format!("faults of {name}")),
            plugged: true,
            suspended: false,
            answers_echo: true,
            clock_ahead: 0,
            latest: Instant::ZERO,
            wake: None,
            addresses: Vec::new(),
            gateway: None,
            ports: Vec::new(),
            reassembly: Reassembly::default(),
        });
        self.settle(id);
        id
    }

    /// The node called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self, id: NodeId) -> &str {
        self.nodes.get(id.0).map_or("", |slot| &slot.name)
    }

    /// The node, if it is a `T`.
    #[must_use]
    pub fn node<T: LabNode>(&self, id: NodeId) -> Option<&T> {
        let node: &dyn Any = self.nodes.get(id.0)?.node.as_ref();
        node.downcast_ref()
    }

    /// Calls methods of the node itself, if it is a `T`, then carries what it
    /// left in the outbox. The time is the node's own.
    pub fn with_node<T: LabNode, R>(
        &mut self,
        id: NodeId,
        call: impl FnOnce(&mut T, Instant, &mut Outbox) -> R,
    ) -> Option<R> {
        let mut result = None;
        self.touch(id, |node, now, _, out| {
            let any: &mut dyn Any = node;
            if let Some(node) = any.downcast_mut() {
                result = Some(call(node, now, out));
            }
            node.drain(now, out);
        });
        result
    }

    /// Puts another node in a node's place, as after a reboot: same name, same
    /// addresses and LANs.
    pub fn replace(&mut self, id: NodeId, node: impl LabNode) {
        let slot = &mut self.nodes[id.0];
        slot.node = Box::new(node);
        slot.latest = Instant::ZERO;
        slot.reassembly = Reassembly::default();
        let addresses = slot.addresses.clone();
        self.touch(id, |node, now, _, out| node.set_ipv4(now, &addresses, out));
    }

    /// Gives the node these IPv4 addresses, and takes others from it. An
    /// address that another node had moves.
    pub fn set_ipv4(&mut self, id: NodeId, addresses: &[Ipv4Addr]) {
        let before = std::mem::take(&mut self.nodes[id.0].addresses);
        for address in before {
            if self.by_ipv4.get(&address) == Some(&id) {
                self.by_ipv4.remove(&address);
            }
        }
        self.by_ipv4.extend(addresses.iter().map(|address| (*address, id)));
        self.nodes[id.0].addresses = addresses.to_vec();
        self.touch(id, |node, now, _, out| node.set_ipv4(now, addresses, out));
    }

    /// Puts the node behind `gateway`, a [`Nat`](super::Nat): nodes behind the
    /// same one reach each other, all others by it.
    pub fn set_gateway(&mut self, id: NodeId, gateway: NodeId) {
        self.nodes[id.0].gateway = Some(gateway);
    }

    /// The node's IPv4 addresses.
    #[must_use]
    pub fn ipv4(&self, id: NodeId) -> &[Ipv4Addr] {
        self.nodes.get(id.0).map_or(&[], |slot| &slot.addresses)
    }

    /// The node's IPv6 addresses.
    #[must_use]
    pub fn ipv6(&self, id: NodeId) -> Vec<Ipv6Addr> {
        self.nodes.get(id.0).map(|slot| slot.node.addresses()).unwrap_or_default()
    }

    /// Adds a native IPv6 segment, which takes 1 ms and loses nothing.
    pub fn add_lan(&mut self, name: &str) -> LanId {
        self.lans.push(Lan { name: name.into(), latency: Duration::from_millis(1) });
        LanId(self.lans.len() - 1)
    }

    /// The segment called `name`.
    #[must_use]
    pub fn find_lan(&self, name: &str) -> Option<LanId> {
        self.lans.iter().position(|lan| lan.name == name).map(LanId)
    }

    /// The segment called `name`, which is added if there is none.
    pub fn segment(&mut self, name: &str) -> LanId {
        self.find_lan(name).unwrap_or_else(|| self.add_lan(name))
    }

    /// Joins the node's native link `link` to a segment.
    pub fn join(&mut self, id: NodeId, link: LinkId, lan: LanId) {
        self.nodes[id.0].ports.push((link, lan));
    }

    /// Pulls the node's cables, or puts them back: no packet comes or goes,
    /// while its clock goes on.
    pub fn set_plugged(&mut self, id: NodeId, plugged: bool) {
        self.nodes[id.0].plugged = plugged;
        let name = self.nodes[id.0].name.clone();
        self.note(&name, if plugged { "back on the network" } else { "gone from the network" });
    }

    /// Suspends the node, or resumes it: it does nothing and receives nothing,
    /// and finds later that its deadlines have passed.
    pub fn set_suspended(&mut self, id: NodeId, suspended: bool) {
        self.nodes[id.0].suspended = suspended;
        let name = self.nodes[id.0].name.clone();
        self.note(&name, if suspended { "suspended" } else { "resumed" });
        self.settle(id);
    }

    /// Whether the world answers echo requests that the node delivers; it
    /// does unless told otherwise.
    pub fn set_answers_echo(&mut self, id: NodeId, answers: bool) {
        self.nodes[id.0].answers_echo = answers;
    }

    /// The node's own clock.
    #[must_use]
    pub fn clock(&self, id: NodeId) -> Instant {
        self.local(&self.nodes[id.0])
    }

    /// Sets the node's own clock, forward or back.
    pub fn set_clock(&mut self, id: NodeId, clock: Instant) {
        self.nodes[id.0].clock_ahead = i128::from(clock.micros()) - i128::from(self.now.micros());
        self.settle(id);
    }

    /// Randomness for the test itself.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.outsider
    }
}

/// Sending.
impl World {
    /// A program on `from` sends one echo request of 56 bytes to `to`.
    pub fn ping(&mut self, from: NodeId, to: Ipv6Addr) -> PingId {
        self.ping_with(from, Ping::to(to))
    }

    /// A program on `from` sends one echo request.
    pub fn ping_with(&mut self, from: NodeId, ping: Ping) -> PingId {
        let source = ping.source.or_else(|| self.nodes[from.0].node.source_for(&ping.to));
        let id = self.pings.start(self.now, from, &ping, source);
        if let Some(source) = source {
            let (identifier, sequence) = id.on_the_wire();
            let packet = ip::echo_request(source, ping.to, ping.hop_limit, identifier, sequence, ping.size);
            self.send_ipv6(from, ping.link, &packet);
        }
        id
    }

    /// What became of a ping.
    #[must_use]
    pub fn outcome(&self, ping: PingId) -> PingOutcome {
        self.pings.outcome(ping)
    }

    /// A program on `from` sends an IPv6 packet.
    pub fn send_ipv6(&mut self, from: NodeId, link: Option<LinkId>, packet: &[u8]) {
        self.touch(from, |node, now, _, out| node.send_ipv6(now, link, packet, out));
    }

    /// Somebody who is no node sends an IPv4 packet, with whatever source.
    pub fn inject_ipv4(&mut self, packet: &[u8]) {
        self.transmit(None, packet.to_vec());
    }

    /// Hands an IPv4 packet to a node at once, past the cloud.
    pub fn hand_ipv4(&mut self, to: NodeId, packet: &[u8]) {
        self.touch(to, |node, now, _, out| node.receive_ipv4(now, packet, out));
    }

    /// Hands an IPv6 packet to a node's native link at once, past the LAN.
    pub fn hand_ipv6(&mut self, to: NodeId, link: LinkId, packet: &[u8]) {
        self.touch(to, |node, now, _, out| node.receive_ipv6(now, link, packet, out));
    }
}

/// Going on.
impl World {
    /// When something happens next, if anything does.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let queued = self.queue.peek().map(|Reverse(scheduled)| scheduled.time);
        let wake = self.wakes.first().map(|(time, _)| *time);
        queued.into_iter().chain(wake).min().map(|time| time.max(self.now))
    }

    /// Does the next thing; tells when that was.
    ///
    /// # Panics
    /// A node breaks its contract.
    pub fn step(&mut self) -> Option<Instant> {
        let next = self.next()?;
        self.now = next;
        let queued = self.queue.peek().is_some_and(|Reverse(scheduled)| scheduled.time <= next);
        if queued {
            // What arrives at an instant comes before what is due then, so
            // that an answer in time is in time.
            if let Some(Reverse(scheduled)) = self.queue.pop() {
                self.arrive(scheduled.what);
            }
        } else if let Some((_, id)) = self.wakes.pop_first() {
            self.nodes[id.0].wake = None;
            self.wake(id);
        }
        Some(next)
    }

    /// Goes on until the clock shows `end`.
    ///
    /// # Panics
    /// A node breaks its contract.
    pub fn run_until(&mut self, end: Instant) {
        while self.next().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Goes on for `duration`.
    ///
    /// # Panics
    /// A node breaks its contract.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.saturating_add(duration));
    }

    /// Goes on until `done` says yes, for `longest` at most; tells whether it
    /// did.
    ///
    /// # Panics
    /// A node breaks its contract.
    pub fn run_while_not(&mut self, longest: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now.saturating_add(longest);
        loop {
            if done(self) {
                return true;
            }
            if self.next().is_none_or(|next| next > end) {
                self.now = self.now.max(end);
                return false;
            }
            self.step();
        }
    }
}

/// What happens inside.
impl World {
    fn local(&self, slot: &Slot) -> Instant {
        let local = i128::from(self.now.micros()) + slot.clock_ahead;
        Instant::from_micros(u64::try_from(local.max(0)).unwrap_or(u64::MAX))
    }

    /// Calls into a node, carries what it hands back, and sets its alarm.
    fn touch(&mut self, id: NodeId, call: impl FnOnce(&mut dyn LabNode, Instant, &mut Rng, &mut Outbox)) {
        self.call(id, call);
        self.carry();
    }

    fn call(&mut self, id: NodeId, call: impl FnOnce(&mut dyn LabNode, Instant, &mut Rng, &mut Outbox)) {
        self.count_work(id);
        let local = self.local(&self.nodes[id.0]);
        let mut out = Outbox { outputs: Vec::new(), journey: self.journey.is_some() };
        let slot = &mut self.nodes[id.0];
        slot.latest = slot.latest.max(local);
        call(slot.node.as_mut(), local, &mut slot.entropy, &mut out);
        if let Err(wrong) = slot.node.check() {
            panic!("seed {}, {}, {}: {wrong}", self.seed, self.now, slot.name);
        }
        self.outputs.extend(out.outputs.into_iter().map(|output| (id, output)));
        self.settle(id);
    }

    /// A node that always has something more to do at one instant would stop
    /// the clock for ever.
    fn count_work(&mut self, id: NodeId) {
        if self.busy.0 < self.now {
            self.busy = (self.now, 0);
        }
        self.busy.1 += 1;
        let limit = BUSY.saturating_add(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX).saturating_mul(100));
        assert!(self.busy.1 < limit, "seed {}, {}: {} never rests", self.seed, self.now, self.nodes[id.0].name);
    }

    fn wake(&mut self, id: NodeId) {
        self.call(id, |node, now, entropy, out| node.timeout(now, entropy, out));
        let slot = &self.nodes[id.0];
        if let Some(deadline) = slot.node.poll_timeout() {
            assert!(
                deadline > slot.latest,
                "seed {}, {}, {}: a deadline at {deadline} survived being due at {}",
                self.seed,
                self.now,
                slot.name,
                slot.latest
            );
        }
        self.carry();
    }

    /// Sets the node's alarm to what it asks for.
    fn settle(&mut self, id: NodeId) {
        let slot = &self.nodes[id.0];
        let local = self.local(slot);
        let wake = slot.node.poll_timeout().filter(|_| !slot.suspended).map(|deadline| {
            // The machine's time is the latest it was told: a deadline up to
            // there is due even where the clock was set back since.
            if deadline <= slot.latest.max(local) {
                return self.now;
            }
            let world = i128::from(deadline.micros()) - slot.clock_ahead;
            Instant::from_micros(u64::try_from(world.max(0)).unwrap_or(u64::MAX)).max(self.now)
        });
        let slot = &mut self.nodes[id.0];
        if slot.wake != wake {
            if let Some(old) = slot.wake {
                self.wakes.remove(&(old, id));
            }
            if let Some(new) = wake {
                self.wakes.insert((new, id));
            }
            slot.wake = wake;
        }
    }

    fn schedule(&mut self, time: Instant, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled { time, sequence: self.sequence, what }));
    }

    fn log(&mut self, node: Option<NodeId>, action: Action, reason: Option<&str>, packet: &[u8]) {
        if let Some(journey) = &mut self.journey {
            let name = node.map_or(CLOUD, |id| &self.nodes[id.0].name);
            journey.push(Hop::packet(self.now, name, action, reason.map(Into::into), packet));
        }
    }

    fn lose(&mut self, reason: &str, packet: &[u8]) {
        self.dropped += 1;
        self.log(None, Action::Drop, Some(reason), packet);
    }

    /// Carries what nodes have handed back, and what that leads to at once.
    fn carry(&mut self) {
        while let Some((id, output)) = self.outputs.pop_front() {
            match output {
                Output::Ipv4(packet) => {
                    self.log(Some(id), Action::Encapsulate, None, &packet);
                    self.transmit(Some(id), packet);
                }
                Output::Native { link, next_hop, packet } => {
                    self.log(Some(id), Action::Forward, None, &packet);
                    self.transmit_native(id, link, next_hop, packet);
                }
                Output::Deliver { link, packet } => self.deliver(id, link, &packet),
                Output::Resolve { link, name } => {
                    let node = self.nodes[id.0].name.clone();
                    self.note(&node, format!("asks for the name {name}"));
                    let waits = match self.names.answer(&name) {
                        super::names::Answer::NoReply => self.names.patience,
                        _ => self.names.latency,
                    };
                    self.schedule(self.now.saturating_add(waits), What::Name { node: id, link, name });
                }
                Output::Decapsulated { reason, outer } => self.log(Some(id), Action::Decapsulate, reason, &outer),
                Output::Dropped { reason, packet } => {
                    self.dropped += 1;
                    self.log(Some(id), Action::Drop, Some(reason.as_str()), &packet);
                }
                Output::Event(text) => {
                    let node = self.nodes[id.0].name.clone();
                    self.note(&node, text);
                }
            }
        }
    }

    /// A packet reaches the programs on a node.
    fn deliver(&mut self, id: NodeId, link: LinkId, packet: &[u8]) {
        self.delivered += 1;
        self.log(Some(id), Action::Deliver, None, packet);
        self.pings.delivered(self.now, id, packet);
        if !self.nodes[id.0].answers_echo {
            return;
        }
        if let Some(reply) = ip::echo_reply(packet) {
            let link_local = Ipv6::parse(&reply).is_some_and(|reply| reply.destination.is_unicast_link_local());
            self.call(id, |node, now, _, out| node.send_ipv6(now, link_local.then_some(link), &reply, out));
        }
    }

    /// The node that a packet reaches without a gateway: both are behind the
    /// same one, or neither is behind any, or the sender is the gateway.
    fn neighbour(&self, from: Option<NodeId>, destination: Ipv4Addr) -> Option<NodeId> {
        let gateway_of = |id: NodeId| self.nodes[id.0].gateway;
        let owner = self.by_ipv4.get(&destination).copied()?;
        let near = match (gateway_of(owner), from.and_then(gateway_of)) {
            (None, None) => true,
            (Some(of_owner), Some(of_sender)) => of_owner == of_sender,
            (Some(of_owner), None) => from == Some(of_owner),
            (None, Some(_)) => false,
        };
        near.then_some(owner)
    }

    /// The gateway by which a packet leaves, if its destination is no
    /// neighbour.
    fn gateway_to(&self, from: Option<NodeId>, destination: Ipv4Addr) -> Option<NodeId> {
        let gateway = from.and_then(|id| self.nodes[id.0].gateway)?;
        self.neighbour(from, destination).is_none().then_some(gateway)
    }

    /// An IPv4 packet enters the cloud.
    fn transmit(&mut self, from: Option<NodeId>, packet: Vec<u8>) {
        if let Some(pcap) = &mut self.pcap {
            pcap.packet(self.now, &packet);
        }
        let Some(mut header) = Ipv4::parse(&packet) else { return self.lose("malformed", &packet) };
        if from.is_some_and(|id| !self.nodes[id.0].plugged) {
            return self.lose("unplugged", &packet);
        }
        let via = self.gateway_to(from, header.destination);
        let to = via.or_else(|| self.neighbour(from, header.destination));
        let conditions = self.cloud.path(from, to);
        if to.is_none() {
            return self.lose("no-such-address", &packet);
        }
        if self.cloud.filters_out(from, to, &header) {
            return self.lose("filter", &packet);
        }
        if header.ttl <= conditions.hops {
            return self.lose("ttl", &packet);
        }
        if header.len() > conditions.mtu && header.dont_fragment {
            self.lose(if conditions.black_hole { "black-hole" } else { "fragmentation-needed" }, &packet);
            let error = fragmentation_needed(&header, conditions.mtu).filter(|_| !conditions.black_hole);
            if let Some(error) = error {
                self.transmit(None, error);
            }
            return;
        }
        header.ttl -= conditions.hops;
        for part in header.fragments(conditions.mtu) {
            let rng = match from {
                Some(id) => &mut self.nodes[id.0].faults,
                None => &mut self.outsider,
            };
            // One draw for each question, whatever the answers, so that a
            // fault switched on does not move the others.
            let lost = conditions.loss.happens(rng);
            let twice = conditions.duplication.happens(rng);
            let arrival = conditions.arrival(self.now, rng);
            let again = twice.then(|| conditions.arrival(self.now, rng));
            if lost {
                self.lose("loss", &part);
                continue;
            }
            if let Some(again) = again {
                self.schedule(again, What::Ipv4 { via, packet: part.clone() });
            }
            self.schedule(arrival, What::Ipv4 { via, packet: part });
        }
    }

    /// An IPv6 packet goes out of a native link.
    fn transmit_native(&mut self, from: NodeId, link: LinkId, next_hop: Ipv6Addr, packet: Vec<u8>) {
        let slot = &self.nodes[from.0];
        let Some(&(_, lan)) = slot.ports.iter().find(|(port, _)| *port == link) else {
            return self.lose("not-on-a-lan", &packet);
        };
        if !slot.plugged {
            return self.lose("unplugged", &packet);
        }
        let arrival = self.now.saturating_add(self.lans[lan.0].latency);
        let is_there =
            |id: usize| id != from.0 && (next_hop.is_multicast() || self.nodes[id].node.owns_ipv6(&next_hop));
        let receivers: Vec<(NodeId, LinkId)> = (0..self.nodes.len())
            .flat_map(|id| self.nodes[id].ports.iter().map(move |(port, on)| (id, *port, *on)))
            .filter(|(id, _, on)| *on == lan && is_there(*id))
            .map(|(id, port, _)| (NodeId(id), port))
            .collect();
        if receivers.is_empty() {
            return self.lose("no-such-neighbour", &packet);
        }
        for (to, link) in receivers {
            self.schedule(arrival, What::Ipv6 { to, link, packet: packet.clone() });
        }
    }

    fn arrive(&mut self, what: What) {
        match what {
            What::Ipv4 { via, packet } => {
                let Some(header) = Ipv4::parse(&packet) else { return self.lose("malformed", &packet) };
                let fragment = header.is_fragment();
                let Some(to) = via.or_else(|| self.by_ipv4.get(&header.destination).copied()) else {
                    return self.lose("no-such-address", &packet);
                };
                let slot = &mut self.nodes[to.0];
                if !slot.plugged || slot.suspended {
                    return self.lose("unplugged", &packet);
                }
                let whole = if fragment { slot.reassembly.take(self.now, &packet) } else { Some(packet) };
                if let Some(whole) = whole {
                    self.touch(to, |node, now, _, out| node.receive_ipv4(now, &whole, out));
                }
            }
            What::Ipv6 { to, link, packet } => {
                let slot = &self.nodes[to.0];
                if !slot.plugged || slot.suspended {
                    return self.lose("unplugged", &packet);
                }
                self.touch(to, |node, now, _, out| node.receive_ipv6(now, link, &packet, out));
            }
            What::Name { node, link, name } => {
                let answer = self.names.answer(&name);
                let asker = self.nodes[node.0].name.clone();
                self.note(&asker, format!("the name {name} gives {answer}"));
                self.touch(node, |node, now, _, out| node.resolved(now, link, &answer, out));
            }
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("name", &self.name).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

//! The world: nodes, the networks between them, and one clock.

mod making;
mod selection;
mod tcp;
mod traffic;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use isatap_core::packet::LinkId;
use isatap_core::time::Instant;

use super::cloud::{Cloud, Reassembly};
use super::ip;
use super::journey::{Action, CLOUD, Hop};
use super::names::Names;
use super::node::{LabNode, Outbox, Output};
use super::pcap::Pcap;
use super::ping::{Ping, PingId, PingOutcome, Pings};
use super::rng::Rng;
use super::tcp::Programs;

pub use tcp::ConnectionId;

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
    ports: Vec<Port>,
    reassembly: Reassembly,
    /// Those that speak TCP.
    programs: Option<Box<Programs>>,
}

/// A native link of a node, and where it is plugged in.
#[derive(Clone, Copy, Debug)]
struct Port {
    link: LinkId,
    lan: LanId,
    plugged: bool,
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
        self.keep(Hop::event(self.now, node, text.into()));
    }

    pub(super) fn keep(&mut self, hop: Hop) {
        if let Some(journey) = &mut self.journey {
            journey.push(hop);
        }
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
        let now = self.local(&self.nodes[id.0]).max(self.nodes[id.0].latest);
        if self.programs_due(id).is_some_and(|due| due <= now) {
            self.speak(id, |_, _| ());
            return self.carry();
        }
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
        let of_programs = self.programs_due(id);
        let slot = &self.nodes[id.0];
        let local = self.local(slot);
        let deadline = slot.node.poll_timeout().into_iter().chain(of_programs).min();
        let wake = deadline.filter(|_| !slot.suspended).map(|deadline| {
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

    /// What a node sends, and to whom.
    fn log_sent(&mut self, node: NodeId, action: Action, to: &[NodeId], packet: &[u8]) {
        if let Some(journey) = &mut self.journey {
            let name = |id: &NodeId| self.nodes[id.0].name.clone();
            let to = to.iter().map(name).collect();
            journey.push(Hop { to, ..Hop::packet(self.now, &name(&node), action, None, packet) });
        }
    }

    fn lose(&mut self, reason: &str, packet: &[u8]) {
        self.dropped += 1;
        self.log(None, Action::Drop, Some(reason), packet);
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("name", &self.name).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

//! A scenario on its way: what its steps do, and whether what they expect comes.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::time::Instant;

use super::super::ip;
use super::super::journey::{Action, Hop, InnerHeader, shown};
use super::super::ping::{Ping, PingId, PingOutcome};
use super::super::teredo::TeredoClient;
use super::super::world::{NodeId, World};
use super::step::{Deed, DropTable, Expect, PingDeed, QualifiedDeed, SentDeed, SpoofDeed, StepTable};
use super::value::{Pair, Sent};
use super::{NARRATOR, set_name};

/// A scenario on its way.
#[derive(Debug)]
pub struct Run {
    name: String,
    world: World,
    starts: VecDeque<Start>,
    steps: VecDeque<StepTable>,
    end: Instant,
    /// What was sent into the cloud since the last title, and by whom.
    sent: Vec<(String, Sent)>,
    expectations: u32,
    failures: u32,
}

/// When a host gets which IPv4 addresses.
type Start = (Instant, NodeId, Vec<Ipv4Addr>);

impl Run {
    pub(super) fn new(
        name: &str,
        world: World,
        starts: VecDeque<Start>,
        steps: VecDeque<StepTable>,
        end: Instant,
    ) -> Self {
        Run { name: name.into(), world, starts, steps, end, sent: Vec::new(), expectations: 0, failures: 0 }
    }

    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The world, to record it or to take its journey. Expected drops are
    /// looked for in the journey: leave it on.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Expectations judged so far.
    #[must_use]
    pub fn expectations(&self) -> u32 {
        self.expectations
    }

    /// Those that were not met.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Does the next step, or what is left of the time after the last; tells
    /// whether there was something to do.
    pub fn advance(&mut self) -> bool {
        let Some(step) = self.steps.pop_front() else {
            let more = self.world.now() < self.end;
            self.run_until(self.end);
            return more;
        };
        let mut seen = self.world.journey().len();
        // What starts at this very time belongs under the title.
        let at = Instant::ZERO.saturating_add(step.at.0).max(self.world.now());
        self.start_hosts(|start| start < at);
        self.world.run_until(at);
        if let Some(title) = &step.title {
            self.world
                .keep(Hop { figure: step.figure.clone(), ..Hop::event(self.world.now(), NARRATOR, title.clone()) });
            self.sent.clear();
            seen = self.world.journey().len();
        }
        self.run_until(at);
        self.keep_sent(seen);
        seen = self.world.journey().len();
        for deed in step.deeds() {
            self.perform(deed);
        }
        self.keep_sent(seen);
        true
    }

    /// Keeps what was sent since `seen`: whoever shows the journey takes it between two steps.
    fn keep_sent(&mut self, seen: usize) {
        let hops = self.world.journey().iter().skip(seen);
        self.sent.extend(hops.filter_map(|hop| Some((hop.node.clone(), Sent::of(hop)?))));
    }

    /// Runs the whole scenario; tells how many expectations were not met.
    pub fn finish(&mut self) -> u32 {
        while self.advance() {}
        self.failures
    }

    fn run_until(&mut self, end: Instant) {
        self.start_hosts(|start| start <= end);
        self.world.run_until(end);
    }

    /// Gives hosts their addresses whose time comes.
    fn start_hosts(&mut self, comes: impl Fn(Instant) -> bool) {
        while self.starts.front().is_some_and(|(start, _, _)| comes(*start)) {
            let Some((start, id, addresses)) = self.starts.pop_front() else { return };
            self.world.run_until(start);
            let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let node = self.world.name(id).to_string();
            self.world.note(&node, format!("has the IPv4 address {}", text.join(", ")));
            self.world.set_ipv4(id, &addresses);
        }
    }

    fn run_for(&mut self, duration: Duration) {
        self.run_until(self.world.now().saturating_add(duration));
    }

    /// Goes on while something `waits`, for this time at most.
    pub(super) fn wait_while(&mut self, within: Duration, waits: impl Fn(&World) -> bool) {
        let patience = self.world.now().saturating_add(within);
        while waits(&self.world) && self.world.next().is_some_and(|next| next <= patience) {
            let next = self.world.next().unwrap_or(patience);
            self.run_until(next);
        }
    }

    fn perform(&mut self, deed: Deed) {
        let world = &mut self.world;
        match deed {
            Deed::Ping(ping) => self.ping(&ping),
            Deed::Spoof(spoof) => self.spoof(&spoof),
            Deed::Address(deed) => {
                let Some(id) = world.find(&deed.node) else { return };
                let own = world.ipv6(id).into_iter().find(|own| is_same(own, &deed.address));
                let verb = if own.is_some() { "has" } else { "has not" };
                let address = shown(own.unwrap_or(deed.address));
                self.judge(own.is_some() == deed.expect, format!("{} {verb} the address {address}", deed.node));
            }
            Deed::Sent(deed) => self.judge_sent(&deed),
            Deed::Qualified(deed) => self.judge_qualified(&deed),
            Deed::Select(deed) => self.select(&deed),
            Deed::Tcp(deed) => self.tcp(&deed),
            Deed::HangUp(name) => self.with_node(&name, World::hang_up),
            Deed::Unplug(name) => self.with_node(&name, |world, id| world.set_plugged(id, false)),
            Deed::Plug(name) => self.with_node(&name, |world, id| world.set_plugged(id, true)),
            Deed::Lan(deed) => self.with_node(&deed.node, |world, id| {
                if let Some(lan) = world.find_lan(&deed.name) {
                    world.set_lan_plugged(id, lan, deed.plugged);
                }
            }),
            Deed::Suspend(name) => self.with_node(&name, |world, id| world.set_suspended(id, true)),
            Deed::Resume(name) => self.with_node(&name, |world, id| world.set_suspended(id, false)),
            Deed::Ipv4(deed) => {
                let Some(id) = world.find(&deed.node) else { return };
                let text: Vec<String> = deed.addresses.iter().map(ToString::to_string).collect();
                world.note(&deed.node, format!("its IPv4 address is now {}", text.join(", ")));
                world.set_ipv4(id, &deed.addresses);
            }
            Deed::Cloud(table) => world.cloud.conditions = table.over(world.cloud.conditions),
            Deed::Name(table) => set_name(&mut world.names, &table),
        }
    }

    /// Does something to a node. That there is one was checked when the file
    /// was read.
    fn with_node(&mut self, name: &str, act: impl FnOnce(&mut World, NodeId)) {
        if let Some(id) = self.world.find(name) {
            act(&mut self.world, id);
        }
    }

    /// Sends what somebody made up, and gives it time to arrive.
    fn spoof(&mut self, deed: &SpoofDeed) {
        let seen = self.world.journey().len();
        let inner = ip::echo_request(deed.source, deed.destination, deed.hop_limit, 0, 0, 56);
        self.world.inject_ipv4(&ip::protocol41_packet(deed.outer_source, deed.outer_destination, &inner));
        self.run_for(deed.within.0);
        if let Some(drop) = &deed.drop {
            self.judge_drop(drop, seen);
        }
        let is_sent_on = |hop: &&Hop| {
            let same = |inner: &InnerHeader| inner.source == deed.source && inner.destination == deed.destination;
            matches!(hop.action, Action::Encapsulate | Action::Forward) && hop.inner.as_ref().is_some_and(same)
        };
        let hops = self.world.journey().iter().skip(seen).filter(is_sent_on);
        let mut by_node: Vec<(String, u32)> = Vec::new();
        let mut packets = 0;
        for hop in hops {
            packets += u32::from(hop.action == Action::Encapsulate);
            match by_node.iter_mut().find(|(node, _)| *node == hop.node) {
                Some((_, count)) => *count += 1,
                None => by_node.push((hop.node.clone(), 1)),
            }
        }
        let (busiest, rounds) = by_node.into_iter().max_by_key(|(_, count)| *count).unwrap_or_default();
        if let Some(range) = deed.rounds {
            let who =
                if rounds == 0 { "nobody sends it on".into() } else { format!("{busiest} sends it on {rounds}x") };
            self.judge(range.holds(rounds), format!("{who}; expected {range}"));
        }
        if let Some(range) = deed.packets {
            self.judge(range.holds(packets), format!("{packets} tunnel packets come of it; expected {range}"));
        }
    }

    /// Whether the echo requests and replies since `seen` got these outer headers, in order.
    fn judge_outer(&mut self, expected: &[Pair], seen: usize) {
        if expected.is_empty() {
            return;
        }
        let is_echo = |hop: &&Hop| {
            matches!(hop.action, Action::Encapsulate | Action::Translate)
                && hop.inner.as_ref().is_some_and(|inner| matches!(inner.message, "echo-request" | "echo-reply"))
        };
        let found: Vec<Pair> = self.world.journey().iter().skip(seen).filter(is_echo).filter_map(Pair::of).collect();
        let met = found.len() == expected.len() && expected.iter().zip(&found).all(|(one, found)| one.is_met_by(found));
        let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.judge(met, if list.is_empty() { "no tunnel was used".into() } else { format!("outer {list}") });
    }

    /// Whether a node has sent this since the last title, and nothing else.
    fn judge_sent(&mut self, deed: &SentDeed) {
        let found: Vec<&Sent> = self.sent.iter().filter(|(by, _)| *by == deed.by).map(|(_, sent)| sent).collect();
        let met = found.len() == deed.packets.len()
            && deed.packets.iter().zip(&found).all(|(expected, found)| expected.is_met_by(found));
        let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let list = if list.is_empty() { "nothing" } else { &list };
        self.judge(met, format!("{} sent {list}", deed.by));
    }

    /// Whether a Teredo client knows this of its NAT.
    fn judge_qualified(&mut self, deed: &QualifiedDeed) {
        let client = self.world.find(&deed.node).and_then(|id| self.world.node::<TeredoClient>(id));
        let Some(status) = client.map(|client| client.machine().status()) else { return };
        let Some(mapped) = status.mapping else {
            return self.judge(false, format!("{} has not qualified", deed.node));
        };
        let met = status.address.is_some() && deed.nat.is(status.nat) && mapped == deed.mapped.0;
        let text = format!("{} found a {} NAT, which shows it as {mapped}", deed.node, status.nat.as_str());
        self.judge(met, text);
    }

    /// Whether the journey since `seen` has the drop that was expected.
    fn judge_drop(&mut self, expected: &DropTable, seen: usize) {
        let reason = expected.reason.0.as_str();
        let is_it = |hop: &Hop| {
            hop.action == Action::Drop && hop.node == expected.node && hop.reason.as_deref() == Some(reason)
        };
        let met = self.world.journey().iter().skip(seen).any(is_it);
        let verb = if met { "drops" } else { "does not drop" };
        self.judge(met, format!("{} {verb} it: {reason}", expected.node));
    }

    fn ping(&mut self, deed: &PingDeed) {
        let Some(from) = self.world.find(&deed.from) else { return };
        let seen = self.world.journey().len();
        let count = deed.count.unwrap_or(1);
        let mut pings: Vec<PingId> = Vec::new();
        for n in 0..count {
            if n > 0 {
                self.run_for(deed.every.0);
            }
            let Some(to) = self.destination(&deed.to, deed.link_local) else { continue };
            let mut ping = Ping::to(to);
            if let Some(size) = deed.size {
                ping = ping.size(size);
            }
            pings.push(self.world.ping_with(from, ping));
        }
        let waits = |world: &World| pings.iter().any(|ping| world.outcome(*ping) == PingOutcome::Waiting);
        self.wait_while(deed.within.0, waits);
        let outcomes: Vec<PingOutcome> = pings.iter().map(|ping| self.world.outcome(*ping)).collect();
        let wanted = outcomes.iter().filter(|outcome| deed.expect.is(outcome)).count();
        let least = usize::try_from(deed.at_least.unwrap_or(count)).unwrap_or(usize::MAX);
        let found = match (outcomes.as_slice(), count) {
            ([], _) => format!("{} has no such address", deed.to),
            ([one], 1) => describe(one),
            (all, _) => format!("{} of {} got {}", wanted, all.len(), deed.expect.describe()),
        };
        if deed.expect != Expect::Anything {
            let enough = wanted >= least;
            self.judge(enough, format!("{} to {}: {found}", deed.from, deed.to));
        }
        if let Some(drop) = &deed.drop {
            self.judge_drop(drop, seen);
        }
        self.judge_outer(&deed.outer, seen);
    }

    /// The address that a ping to `to` goes to now.
    fn destination(&self, to: &str, link_local: bool) -> Option<Ipv6Addr> {
        if let Ok(address) = to.parse() {
            return Some(address);
        }
        let addresses = self.world.ipv6(self.world.find(to)?);
        addresses.into_iter().find(|address| address.is_unicast_link_local() == link_local)
    }

    pub(super) fn judge(&mut self, met: bool, what: String) {
        self.expectations += 1;
        self.failures += u32::from(!met);
        self.world.note(NARRATOR, format!("{}: {what}", if met { "met" } else { "not met" }));
    }
}

/// Whether an address is the expected one. Of a Teredo address the flags count that are neither
/// random nor ignored: cone, U and G. `TER-1`, `TER-6`
pub(super) fn is_same(own: &Ipv6Addr, expected: &Ipv6Addr) -> bool {
    const UNCERTAIN: u128 = 0x7cff << 48;
    let is_teredo = expected.segments().starts_with(&[0x2001, 0]);
    let mask = if is_teredo { !UNCERTAIN } else { u128::MAX };
    own.to_bits() & mask == expected.to_bits() & mask
}

impl Expect {
    fn is(self, outcome: &PingOutcome) -> bool {
        match self {
            Expect::Reply => outcome.is_reply(),
            Expect::Silence => *outcome == PingOutcome::Waiting,
            Expect::TooBig => matches!(outcome, PingOutcome::Error { kind: 2, .. }),
            Expect::Unreachable => matches!(outcome, PingOutcome::Error { kind: 1, .. }),
            Expect::Anything => true,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Expect::Reply => "a reply",
            Expect::Silence => "no answer",
            Expect::TooBig => "packet too big",
            Expect::Unreachable => "unreachable",
            Expect::Anything => "anything",
        }
    }
}

/// A duration as `20.000 ms`.
pub(super) fn milliseconds(duration: Duration) -> String {
    format!("{}.{:03} ms", duration.as_micros() / 1000, duration.as_micros() % 1000)
}

fn describe(outcome: &PingOutcome) -> String {
    match outcome {
        PingOutcome::Waiting => "no answer".into(),
        PingOutcome::NoSource => "no address to send from".into(),
        PingOutcome::Reply { after, .. } => format!("a reply after {}", milliseconds(*after)),
        PingOutcome::Error { kind: 1, code, .. } => format!("unreachable, code {code}"),
        PingOutcome::Error { kind: 2, value, .. } => format!("packet too big, MTU {value}"),
        PingOutcome::Error { kind, code, .. } => format!("ICMPv6 error {kind}.{code}"),
    }
}

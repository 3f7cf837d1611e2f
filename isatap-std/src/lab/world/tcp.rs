//! Programs on nodes that speak TCP.

use std::net::{IpAddr, SocketAddr};

use isatap_core::time::Instant;

use super::super::journey::Action;
use super::super::node::Output;
use super::super::rng::Rng;
use super::super::tcp::{Answer, ConnectionState, Programs, Served, Spoken, Then};
use super::{NodeId, World};
use crate::portproxy::RuleStatus;
use crate::spec::PortProxy;

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    node: NodeId,
    number: usize,
}

impl World {
    /// A server on `node` takes connections at this port.
    pub fn serve(&mut self, node: NodeId, port: u16, answer: Answer) {
        self.speak(node, |programs, _| programs.serve(port, answer));
        self.carry();
    }

    /// The port proxy of `node` carries connections on by these rules, which are well. The node speaks TCP
    /// from now on, without rules too: where no program listens, it answers with a reset.
    pub fn port_proxy(&mut self, node: NodeId, rules: &[PortProxy]) {
        self.speak(node, |programs, _| rules.iter().for_each(|rule| programs.forward(rule)));
        self.carry();
    }

    /// A client on `node` connects and sends so many bytes.
    pub fn connect(&mut self, node: NodeId, to: SocketAddr, bytes: usize, then: Then) -> ConnectionId {
        // Their number is a prime, so that no buffer's length hides that bytes moved.
        let bytes: Vec<u8> = (0..=250).cycle().take(bytes).collect();
        let number = self.speak(node, |programs, now| programs.connect(now, to, bytes, then));
        self.carry();
        ConnectionId { node, number }
    }

    /// The clients on `node` that keep their connections end them.
    pub fn hang_up(&mut self, node: NodeId) {
        self.speak(node, |programs, _| programs.hang_up());
        self.carry();
    }

    /// What became of a connection.
    #[must_use]
    pub fn connection(&self, connection: ConnectionId) -> ConnectionState {
        let programs = self.programs(connection.node);
        programs.map_or(ConnectionState::Refused, |programs| programs.client(connection.number))
    }

    /// What the servers on `node` have seen, a connection each.
    #[must_use]
    pub fn served(&self, node: NodeId) -> Vec<Served> {
        self.programs(node).map(Programs::served).unwrap_or_default()
    }

    /// What the rules of the port proxy of `node` say of themselves.
    #[must_use]
    pub fn rule_statuses(&self, node: NodeId) -> Vec<RuleStatus> {
        self.programs(node).map(Programs::rule_statuses).unwrap_or_default()
    }

    fn programs(&self, node: NodeId) -> Option<&Programs> {
        self.nodes.get(node.0)?.programs.as_deref()
    }

    /// When the programs of a node have something to do, by its clock.
    pub(super) fn programs_due(&mut self, node: NodeId) -> Option<Instant> {
        let slot = &mut self.nodes[node.0];
        slot.programs.as_mut()?.poll_timeout(slot.latest)
    }

    /// A packet with a TCP segment has come to the programs of a node.
    pub(super) fn hear(&mut self, node: NodeId, packet: &[u8]) {
        self.speak(node, |programs, _| programs.receive(packet));
    }

    /// Calls into the programs of a node, and takes what they hand back.
    pub(super) fn speak<R>(&mut self, id: NodeId, call: impl FnOnce(&mut Programs, Instant) -> R) -> R {
        self.count_work(id);
        let (seed, local) = (self.seed, self.local(&self.nodes[id.0]));
        let slot = &mut self.nodes[id.0];
        slot.latest = slot.latest.max(local);
        let (node, ipv4, now) = (&slot.node, &slot.addresses, slot.latest);
        let programs = slot.programs.get_or_insert_with(|| {
            Box::new(Programs::new(Rng::fork(seed, &format!("TCP of {}", slot.name)).next_u64()))
        });
        let result = call(programs, now);
        let ipv6 = node.addresses().into_iter().map(IpAddr::from);
        let own = ipv4.iter().copied().map(IpAddr::from).chain(ipv6).collect();
        programs.advance(now, own, &|to| match to {
            IpAddr::V4(_) => ipv4.first().copied().map(IpAddr::from),
            IpAddr::V6(to) => node.source_for(&to).map(IpAddr::from),
        });
        for spoken in programs.take_spoken() {
            match spoken {
                Spoken::Event(text) => self.outputs.push_back((id, Output::Event(text))),
                Spoken::Inside(packet) => self.log(Some(id), Action::Deliver, None, &packet),
                Spoken::Packet(packet) if packet.first().is_some_and(|first| first >> 4 == 4) => {
                    self.outputs.push_back((id, Output::Ipv4(Action::Send, packet)));
                }
                Spoken::Packet(packet) => {
                    self.call(id, |node, now, _, out| node.send_ipv6(now, None, &packet, out));
                }
            }
        }
        self.settle(id);
        result
    }
}

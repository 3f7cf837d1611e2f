//! Making a world, and changing it while time goes by.

use std::any::Any;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::packet::LinkId;
use isatap_core::time::Instant;

use super::super::cloud::Reassembly;
use super::super::node::{LabNode, Outbox};
use super::super::rng::Rng;
use super::{CLOUD, Lan, LanId, NodeId, Port, Slot, World};

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
            programs: None,
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
        slot.programs = None;
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

    /// Puts the node behind `gateway`, a [`Nat`](crate::lab::Nat): nodes behind the
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
        self.nodes[id.0].ports.push(Port { link, lan, plugged: true });
    }

    /// Pulls the node's cable to one segment, which it notices if it knows of that, or puts it back.
    pub fn set_lan_plugged(&mut self, id: NodeId, lan: LanId, plugged: bool) {
        let mut links = Vec::new();
        for port in self.nodes[id.0].ports.iter_mut().filter(|port| port.lan == lan) {
            port.plugged = plugged;
            links.push(port.link);
        }
        let (name, lan) = (self.nodes[id.0].name.clone(), self.lans[lan.0].name.clone());
        self.note(&name, if plugged { format!("back on the LAN {lan}") } else { format!("gone from the LAN {lan}") });
        for link in links {
            self.touch(id, |node, now, _, out| node.set_link(now, link, plugged, out));
        }
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

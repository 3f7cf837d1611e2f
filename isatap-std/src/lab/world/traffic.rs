//! What becomes of what nodes hand back: packets on their way, and names asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::packet::LinkId;

use super::super::cloud::fragmentation_needed;
use super::super::ip::{self, Ipv4, Ipv6};
use super::super::journey::Action;
use super::super::names;
use super::super::node::Output;
use super::super::tcp::tcp_of;
use super::{NodeId, Port, What, World};

impl World {
    /// Carries what nodes have handed back, and what that leads to at once.
    pub(super) fn carry(&mut self) {
        while let Some((id, output)) = self.outputs.pop_front() {
            match output {
                Output::Ipv4(action, packet) => {
                    let to = Ipv4::parse(&packet).and_then(|header| self.next_node(Some(id), header.destination));
                    self.log_sent(id, action, to.as_slice(), &packet);
                    self.transmit(Some(id), packet);
                }
                Output::Native { link, next_hop, packet } => {
                    let receivers = self.receivers(id, link, next_hop);
                    let to: Vec<NodeId> = receivers.iter().flatten().map(|(to, _)| *to).collect();
                    self.log_sent(id, Action::Forward, &to, &packet);
                    self.transmit_native(id, link, receivers, packet);
                }
                Output::Deliver { link, packet } => self.deliver(id, link, &packet),
                Output::Resolve { link, name } => {
                    let node = self.nodes[id.0].name.clone();
                    self.note(&node, format!("asks for the name {name}"));
                    let waits = match self.names.answer(&name) {
                        names::DnsAnswer::NoReply => self.names.patience,
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
        if tcp_of(packet).is_some() {
            return self.hear(id, packet);
        }
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

    /// The node that gets a packet next: the gateway, or who has the destination.
    fn next_node(&self, from: Option<NodeId>, destination: Ipv4Addr) -> Option<NodeId> {
        self.gateway_to(from, destination).or_else(|| self.neighbour(from, destination))
    }

    /// An IPv4 packet enters the cloud.
    pub(super) fn transmit(&mut self, from: Option<NodeId>, packet: Vec<u8>) {
        if let Some(pcap) = &mut self.pcap {
            pcap.packet(self.now, &packet);
        }
        let Some(mut header) = Ipv4::parse(&packet) else { return self.lose("malformed", &packet) };
        if from.is_some_and(|id| !self.nodes[id.0].plugged) {
            return self.lose("unplugged", &packet);
        }
        let via = self.gateway_to(from, header.destination);
        let to = self.next_node(from, header.destination);
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

    /// Who gets what goes out of a native link; `None`: it leads nowhere.
    fn receivers(&self, from: NodeId, link: LinkId, next_hop: Ipv6Addr) -> Option<Vec<(NodeId, LinkId)>> {
        let Port { lan, .. } = *self.nodes[from.0].ports.iter().find(|port| port.link == link && port.plugged)?;
        let is_there =
            |id: usize| id != from.0 && (next_hop.is_multicast() || self.nodes[id].node.owns_ipv6(&next_hop));
        let ports = (0..self.nodes.len()).flat_map(|id| self.nodes[id].ports.iter().map(move |port| (id, port)));
        let receivers = ports.filter(|(id, port)| port.lan == lan && port.plugged && is_there(*id));
        Some(receivers.map(|(id, port)| (NodeId(id), port.link)).collect())
    }

    /// An IPv6 packet goes out of a native link.
    fn transmit_native(
        &mut self,
        from: NodeId,
        link: LinkId,
        receivers: Option<Vec<(NodeId, LinkId)>>,
        packet: Vec<u8>,
    ) {
        let slot = &self.nodes[from.0];
        let lan = slot.ports.iter().find(|port| port.link == link).map(|port| port.lan);
        let (Some(lan), Some(receivers)) = (lan, receivers) else { return self.lose("not-on-a-lan", &packet) };
        if !slot.plugged {
            return self.lose("unplugged", &packet);
        }
        let arrival = self.now.saturating_add(self.lans[lan.0].latency);
        if receivers.is_empty() {
            return self.lose("no-such-neighbour", &packet);
        }
        for (to, link) in receivers {
            self.schedule(arrival, What::Ipv6 { to, link, packet: packet.clone() });
        }
    }

    pub(super) fn arrive(&mut self, what: What) {
        match what {
            What::Ipv4 { via, packet } => {
                let Some(header) = Ipv4::parse(&packet) else { return self.lose("malformed", &packet) };
                let (fragment, is_tcp) = (header.is_fragment(), header.protocol == ip::PROTOCOL_TCP);
                let Some(to) = via.or_else(|| self.by_ipv4.get(&header.destination).copied()) else {
                    return self.lose("no-such-address", &packet);
                };
                let slot = &mut self.nodes[to.0];
                if !slot.plugged || slot.suspended {
                    return self.lose("unplugged", &packet);
                }
                let whole = if fragment { slot.reassembly.take(self.now, &packet) } else { Some(packet) };
                let has_programs = slot.programs.is_some();
                match whole {
                    Some(whole) if is_tcp && has_programs => {
                        self.log(Some(to), Action::Deliver, None, &whole);
                        self.hear(to, &whole);
                        self.carry();
                    }
                    Some(whole) => self.touch(to, |node, now, _, out| node.receive_ipv4(now, &whole, out)),
                    None => {}
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
                self.note(&asker, format!("the DNS says of {name}: {answer}"));
                self.touch(node, |node, now, _, out| node.resolved(now, link, &answer, out));
            }
        }
    }
}

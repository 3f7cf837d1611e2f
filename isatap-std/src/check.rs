//! Which outer packets a node would let in, and why not the others.
//!
//! A [`Checker`] is a node as it would be in the middle of its life: it has
//! its IPv4 address, knows its routers and its on-link prefixes. Each packet
//! meets that same node, in the state it was made with: no packet changes
//! what becomes of the next one, so a capture can be judged in any order, and
//! nothing is refused for coming too fast.
//!
//! The answer is that of [`Node::decapsulate`](isatap_core::node::Node), by
//! the code that a running node uses: outer checks, each link by precedence,
//! loop and spoofing checks, ECN, Neighbor Discovery. What an operating
//! system does before (reassembly, its own martian filter) is not repeated: a
//! fragment is dropped with [`DropReason::OuterFragment`], and whoever
//! captures behind the kernel sees the whole datagram. A later fragment of UDP
//! may be any program's, so it counts as for no tunnel; the first one has the
//! port, and counts for its Teredo client.
//!
//! A capture shows what leaves as well: a packet from the node's own address
//! to another one is [`Decision::Sent`], which is neither let in nor dropped.
//! What a capture lacks of a packet, its end or what a network card fills in,
//! counts as right, with a [`Note`].

mod teredo;
mod whole;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use isatap_core::compatible;
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Machine, Verdict};
use isatap_core::error::{ParseErrorKind, TableFull};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::CheckNeighbors;
use isatap_core::isatap::addr::embedded_ipv4;
use isatap_core::link::{Denied, LinkKind, Locator};
use isatap_core::node::{AnyInterface, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::{Flow, Outer};
use isatap_core::sixtofour;
use isatap_core::time::{Expiry, Instant};
use isatap_core::wire::{icmpv6, ipv4, ipv6, protocol};

use crate::capacity::Linux;
use crate::error::Error;
use crate::resolve::Entry;
use crate::spec::{LinkSpec, Tunnel, set_locators};

use teredo::TeredoClient;
pub use whole::Note;
use whole::Whole;

/// The most links that a [`Checker`] has.
pub const MAX_LINKS: usize = 8;

/// One link of the node, and what a running one would have learned. Names are not resolved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Subject {
    /// The link.
    pub link: LinkSpec,
    /// The on-link prefixes of an ISATAP host; link-local is always one.
    pub prefixes: Vec<Ipv6Prefix>,
    /// Where a Teredo client is, as the capture shows it.
    pub mapped: Option<SocketAddrV4>,
}

impl From<LinkSpec> for Subject {
    /// A link that has learned nothing yet.
    fn from(link: LinkSpec) -> Self {
        Self { link, prefixes: Vec::new(), mapped: None }
    }
}

/// What a packet was tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// A link of protocol 41.
    Link(LinkKind),
    /// A Teredo client.
    Teredo,
}

impl Mechanism {
    /// The mechanism's name, as `check` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mechanism::Link(kind) => kind.as_str(),
            Mechanism::Teredo => "teredo",
        }
    }
}

/// A node that judges packets without being changed by them.
pub struct Checker {
    node: Box<CheckedNode>,
    teredo: Vec<TeredoClient>,
    /// The IPv4 addresses of all links.
    own: Vec<Ipv4Addr>,
    /// The same of Teredo clients, of which a NAT may share the address.
    own_ports: Vec<SocketAddrV4>,
    /// IPv6 addresses that the node has, or would have.
    own_inner: Vec<Ipv6Addr>,
}

/// It is copied for each packet, so it holds no more links than there are.
type CheckedNode = Node<Box<AnyInterface<Linux>>, Linux, MAX_LINKS>;

/// What becomes of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// What the node does with it.
    pub decision: Decision,
    /// The link that let it in, and who spoke; `None`: no link did.
    pub admitted: Option<(Mechanism, Admitted)>,
    /// Why it is dropped; `None`: it is not.
    pub reason: Option<DropReason>,
    /// The answer of each link that was asked, in order.
    pub trials: Vec<(Mechanism, Trial)>,
    /// The outer addresses, source first, if there is an IPv4 header.
    pub outer: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The inner source, if it can be read.
    pub inner_source: Option<Ipv6Addr>,
    /// The inner destination, if it can be read.
    pub inner_destination: Option<Ipv6Addr>,
    /// What was taken for granted.
    pub notes: Vec<Note>,
    /// Whether it is dropped because none of the node's tunnels is meant: it is of another
    /// protocol, or to somebody else. An ordinary capture is full of such packets.
    pub is_elsewhere: bool,
}

/// What a node does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// It lets the packet in.
    Accept,
    /// It drops the packet.
    Drop,
    /// It has sent the packet itself.
    Sent,
    /// Too little was captured to say.
    Cut,
}

impl Decision {
    /// The decision as `check` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Decision::Accept => "accept",
            Decision::Drop => "drop",
            Decision::Sent => "sent",
            Decision::Cut => "cut",
        }
    }
}

/// One link's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It lets the packet in.
    Admitted(Admitted),
    /// The outer addresses are not its own.
    NotAddressed,
    /// They are, and the packet breaks a rule.
    Refused(DropReason),
}

impl Trial {
    /// The answer as `check` prints it: `accept`, `not-addressed`, or the
    /// reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Trial::Admitted(_) => "accept",
            Trial::NotAddressed => "not-addressed",
            Trial::Refused(reason) => reason.as_str(),
        }
    }
}

impl Judgement {
    /// Whether the packet is let in.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.decision == Decision::Accept
    }

    /// A judgement without trials.
    fn new(decision: Decision) -> Self {
        Judgement {
            decision,
            admitted: None,
            reason: None,
            trials: Vec::new(),
            outer: None,
            inner_source: None,
            inner_destination: None,
            notes: Vec::new(),
            is_elsewhere: false,
        }
    }

    fn dropped(reason: DropReason) -> Self {
        Judgement { reason: Some(reason), ..Judgement::new(Decision::Drop) }
    }

    /// Of bytes without an IPv4 header. Native IPv6 concerns no tunnel.
    fn of_no_header(packet: &[u8]) -> Self {
        let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let reason = if is_ipv6 { DropReason::NotProtocol41 } else { DropReason::OuterMalformed };
        Judgement { is_elsewhere: is_ipv6, ..Judgement::dropped(reason) }
    }

    /// The same with what the packet says of itself.
    fn about(self, header: &ipv4::Header<'_>, whole: Whole) -> Self {
        let (inner_source, inner_destination) = whole.inner_addresses();
        let outer = Some((header.source(), header.destination()));
        let mut notes = whole.notes;
        let by_isatap = |(link, _): &(Mechanism, Trial)| *link == Mechanism::Link(LinkKind::Isatap);
        if self.decision == Decision::Drop
            && self.trials.iter().any(by_isatap)
            && inner_source == Some(configured::link_local(header.source()))
        {
            notes.push(Note::ConfiguredEnd);
        }
        Judgement { outer, inner_source, inner_destination, notes, ..self }
    }
}

impl Checker {
    /// A node with these links.
    ///
    /// # Errors
    /// More links than [`MAX_LINKS`]; a link that can be on no machine, or whose IPv4
    /// addresses are not given; a Teredo client that no server could qualify; a
    /// Teredo server or relay.
    pub fn new(subjects: &[Subject]) -> Result<Self, Error> {
        let mut node = Box::new(CheckedNode::new(NodeConfig::DEFAULT));
        let mut teredo = Vec::new();
        for subject in subjects {
            match &subject.link {
                LinkSpec::TeredoClient(client) => teredo.push(TeredoClient::new(client, subject.mapped)?),
                _ => add(&mut node, subject)?,
            }
        }
        let tunnels = || subjects.iter().filter(|subject| !subject.link.is_teredo());
        let own = tunnels().flat_map(|subject| subject.link.locals()).collect();
        let own_inner = tunnels().flat_map(addresses).chain(MULTICAST).collect();
        let own_ports = teredo.iter().map(TeredoClient::mapped).collect();
        Ok(Checker { node, teredo, own, own_ports, own_inner })
    }

    /// Judges the bytes of one IPv4 packet that has come in, outer header first.
    #[must_use]
    pub fn judge(&self, packet: &[u8]) -> Judgement {
        match ipv4::Header::parse_quoted(packet) {
            Ok(header) => self.judge_whole(packet, &header).about(&header, Whole::received(packet)),
            Err(_) => Judgement::of_no_header(packet),
        }
    }

    /// Judges an IPv4 packet of `length` bytes that a capture shows, of which it
    /// holds `captured`.
    #[must_use]
    pub fn judge_captured(&self, captured: &[u8], length: usize) -> Judgement {
        let header = match ipv4::Header::parse_quoted(captured) {
            Ok(header) => header,
            Err(error) if error.kind == ParseErrorKind::Truncated && captured.len() < length => {
                return Judgement { notes: vec![Note::Cut], ..Judgement::new(Decision::Cut) };
            }
            Err(_) => return Judgement::of_no_header(captured),
        };
        let whole = Whole::new(captured, length, &header);
        let judgement = if self.is_own(captured, &header) {
            Judgement::new(Decision::Sent)
        } else if whole.is_cut() {
            self.judge_cut(&whole, &header)
        } else {
            self.judge_whole(&whole.bytes, &header)
        };
        judgement.about(&header, whole)
    }

    /// Whether the node has sent the packet.
    fn is_own(&self, packet: &[u8], header: &ipv4::Header<'_>) -> bool {
        if self.own.contains(&header.source()) {
            return !self.own.contains(&header.destination());
        }
        whole::ports(packet, header).is_some_and(|(source, destination)| {
            let is_own = |address, port| self.own_ports.contains(&SocketAddrV4::new(address, port));
            is_own(header.source(), source) && !is_own(header.destination(), destination)
        })
    }

    /// Judges a packet of which the end is missing.
    fn judge_cut(&self, whole: &Whole, header: &ipv4::Header<'_>) -> Judgement {
        let unknown = || Judgement::new(Decision::Cut);
        let as_filled = self.judge_whole(&whole.bytes, header);
        let is_udp = header.protocol() == protocol::UDP && !self.teredo.is_empty();
        let Some(at) = whole.inner().or_else(|| (!is_udp).then_some(header.header_len())) else {
            // Where the datagram would go is known from its ports, which later fragments never have.
            let is_decided = matches!(as_filled.reason, Some(DropReason::NotAddressed | DropReason::OuterFragment));
            let is_known = whole::ports(&whole.bytes[..whole.known], header).is_some()
                || header.fragment_offset() != 0
                || self.own_ports.iter().all(|own| *own.ip() != header.destination());
            return if is_decided && is_known { as_filled } else { unknown() };
        };
        let known = whole.known_of_inner_header(at);
        if known >= ipv6::HEADER_LEN {
            return as_filled;
        }
        if known < whole::DESTINATION {
            // A refusal that is owed to the outer header stands.
            let of_outer = self.judge_whole(&whole.with_any_inner(at), header);
            let is_elsewhere = of_outer.trials.iter().all(|(_, trial)| *trial == Trial::NotAddressed);
            return if !of_outer.is_accepted() && is_elsewhere { of_outer } else { unknown() };
        }
        // Some bytes of the destination are missing: the node's own addresses are tried that fit.
        let judged = self.own_inner.iter().filter_map(|own| whole.to(at, *own));
        let mut judged = judged.map(|packet| self.judge_whole(&packet, header)).chain([as_filled]);
        let Some(first) = judged.next() else { return unknown() };
        if first.is_accepted() { first } else { judged.find(Judgement::is_accepted).unwrap_or(first) }
    }

    /// Judges a packet that is all there.
    fn judge_whole(&self, packet: &[u8], header: &ipv4::Header<'_>) -> Judgement {
        let judgement = self.ask_links(packet, header);
        let is_dropped = judgement.decision == Decision::Drop;
        let is_elsewhere = is_dropped && self.is_elsewhere(packet, header, &judgement.trials);
        Judgement { is_elsewhere, ..judgement }
    }

    /// Whether a packet that no link takes is for none of them.
    fn is_elsewhere(&self, packet: &[u8], header: &ipv4::Header<'_>, trials: &[(Mechanism, Trial)]) -> bool {
        let destination = header.destination();
        match header.protocol() {
            protocol::IPV6 => {
                let is_unasked = trials.iter().all(|(_, trial)| *trial == Trial::NotAddressed);
                is_unasked && !self.own.contains(&destination)
            }
            // A later fragment says nothing of its port: it may be any program's.
            protocol::UDP if !self.teredo.is_empty() => whole::ports(packet, header)
                .is_none_or(|(_, port)| !self.own_ports.contains(&SocketAddrV4::new(destination, port))),
            _ => true,
        }
    }

    fn ask_links(&self, packet: &[u8], header: &ipv4::Header<'_>) -> Judgement {
        if !self.teredo.is_empty() && header.protocol() == protocol::UDP {
            return self.teredo.iter().find_map(|client| client.judge(packet)).unwrap_or_else(|| Judgement {
                trials: vec![(Mechanism::Teredo, Trial::NotAddressed)],
                ..Judgement::dropped(DropReason::NotAddressed)
            });
        }
        let trials = Flow::parse(packet).map_or_else(|_| Vec::new(), |flow| self.trials(&flow));
        let admitted = trials.iter().find_map(|&(kind, trial)| match trial {
            Trial::Admitted(from) => Some((kind, from)),
            _ => None,
        });
        let reason = self.reason(packet);
        let decision = if reason.is_none() { Decision::Accept } else { Decision::Drop };
        Judgement { admitted, reason, trials, ..Judgement::new(decision) }
    }

    fn trials(&self, flow: &Flow) -> Vec<(Mechanism, Trial)> {
        let mut trials = Vec::new();
        for (_, kind, answer) in self.node.datapath().trials(flow) {
            let trial = match answer {
                Ok(from) => Trial::Admitted(from),
                Err(Denied::Refused(reason)) => Trial::Refused(reason),
                Err(_) => Trial::NotAddressed,
            };
            trials.push((Mechanism::Link(kind), trial));
            if answer.is_ok() {
                break;
            }
        }
        trials
    }

    /// What a node in this state does with the packet.
    fn reason(&self, packet: &[u8]) -> Option<DropReason> {
        let mut buffer = [vec![0; HEADROOM], packet.to_vec()].concat();
        let end = buffer.len();
        let mut received = PacketMut::new(&mut buffer, HEADROOM..end).ok()?;
        let verdict = match Outer::pull(&mut received) {
            Ok(outer) => match self.node.datapath().decapsulate(&outer, &mut received) {
                // What would change the node is done to a copy.
                Verdict::Punt { .. } => self.node.clone().decapsulate(NOW, &outer, &mut received),
                decided => decided,
            },
            Err(reason) => Verdict::Drop(reason),
        };
        match verdict {
            // Nobody can say which neighbours a running node has just asked.
            Verdict::Drop(DropReason::NdUnknownTarget) if is_neighbor_advertisement(packet) => None,
            // Of a prefix that is only known to be on-link here, a running host has made an address.
            Verdict::Drop(DropReason::NdUnknownTarget) if self.is_asked(packet) => None,
            Verdict::Drop(reason) => Some(reason),
            Verdict::Answer { reason, .. } => reason,
            _ => None,
        }
    }
}

impl Checker {
    /// Whether a Neighbor Solicitation asks for the address on an on-link prefix that the
    /// outer destination makes.
    fn is_asked(&self, packet: &[u8]) -> bool {
        let Ok(flow) = Flow::parse(packet) else { return false };
        let target = flow.inner_destination;
        let is_on_link = |id: u8| self.node.interface(LinkId(id)).is_some_and(|own| own.link().is_on_link(&target));
        embedded_ipv4(&target) == Some(flow.outer_destination) && (0..u8::MAX).take(MAX_LINKS).any(is_on_link)
    }
}

/// Whether a Neighbor Advertisement is in an outer packet.
fn is_neighbor_advertisement(packet: &[u8]) -> bool {
    let Ok(flow) = Flow::parse(packet) else { return false };
    let inner = flow.inner(packet);
    ipv6::upper_layer(inner).is_ok_and(|upper| {
        upper.protocol == protocol::ICMPV6 && inner.get(upper.offset) == Some(&icmpv6::Message::NEIGHBOR_ADVERTISEMENT)
    })
}

/// The node's time, which stands still.
const NOW: Instant = Instant::from_secs(1);

/// All nodes and all routers of a link.
const MULTICAST: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2)];

/// IPv6 addresses that a node with this link has, as far as they follow from it.
fn addresses(subject: &Subject) -> Vec<Ipv6Addr> {
    use isatap_core::isatap::addr as isatap;
    let of_isatap = |prefixes: &[Ipv6Prefix]| {
        let of_local = |local: &Ipv4Addr| {
            let of_prefixes = prefixes.iter().filter_map(|prefix| isatap::address(prefix, *local));
            let mut addresses: Vec<_> = of_prefixes.collect();
            addresses.extend([isatap::link_local(*local), isatap::other_link_local(*local)]);
            addresses
        };
        subject.link.locals().iter().flat_map(of_local).collect()
    };
    match &subject.link {
        LinkSpec::IsatapHost(_) => of_isatap(&subject.prefixes),
        LinkSpec::IsatapRouter(router) => {
            of_isatap(&router.prefix.iter().map(|own| own.prefix).collect::<Vec<Ipv6Prefix>>())
        }
        LinkSpec::Tunnel(tunnel) => tunnel.address.iter().map(|own| own.0.address).collect(),
        LinkSpec::Compatible(compatible) => compatible.local.iter().map(|local| compatible::address(*local)).collect(),
        LinkSpec::SixRd(sixrd) => {
            let first = |delegated: Ipv6Prefix| Ipv6Addr::from_bits(delegated.address().to_bits() | 1);
            let of_local = sixrd.local.and_then(|local| Some(first(sixrd.domain().ok()?.delegated(local))));
            of_local.into_iter().collect()
        }
        LinkSpec::SixToFour(_) => {
            let own = |local: &Ipv4Addr| [sixtofour::addr::host_router(*local), sixtofour::addr::relay(*local)];
            subject.link.locals().iter().flat_map(own).collect()
        }
        _ => Vec::new(),
    }
}

fn add(node: &mut CheckedNode, subject: &Subject) -> Result<(), Error> {
    let full = |full: TableFull| Error::usage("make such a node", "", full.to_string());
    let mut link = subject.link.clone();
    if link.is_teredo() {
        let error = Error::usage("check", link.device(), format!("a {} is not looked at", link.kind()));
        return Err(error.with_advice("leave it out of the file"));
    }
    link.check_first()?;
    if let LinkSpec::Tunnel(Tunnel { remote: remote @ Entry::Name(_), .. }) = &link {
        let error = Error::usage("check", link.device(), format!("{remote} is a name, and none is looked up"));
        return Err(error.with_advice("name the IPv4 address of the other end: --remote V4, or remote in the file"));
    }
    let locators: Vec<Locator> = link.locals().into_iter().map(Locator::from).collect();
    if locators.is_empty() {
        let error = Error::usage("check", link.device(), "its IPv4 addresses are known only while it runs");
        return Err(error.with_advice("name them: --local V4, or local in the file"));
    }
    if let LinkSpec::IsatapRouter(router) = &mut link {
        // Of the hosts in a capture nobody can be asked; a running router lets no fewer in.
        router.check_neighbors = CheckNeighbors::Off;
    }
    // Whether its kernel forwards, and which other addresses its machine has, is not known here: what
    // is for others is let in.
    let id = node.add(Box::new(link.interface()?), Switches::FORWARDING).map_err(full)?;
    let told = node.with_interface(NOW, id, |interface, cx| {
        link.tell(interface, cx)?;
        set_locators(interface, cx, &locators, Expiry::NEVER).map_err(full)?;
        if let (AnyInterface::IsatapHost(host), LinkSpec::IsatapHost(spec)) = (&mut **interface, &link) {
            spec.addresses().try_for_each(|router| host.add_router(cx, router)).map_err(full)?;
            subject.prefixes.iter().try_for_each(|prefix| host.add_on_link_prefix(cx, *prefix)).map_err(full)?;
        }
        Ok(())
    });
    told.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests;

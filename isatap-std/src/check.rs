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

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::str::FromStr;

use crate::advice;
use isatap_core::capacity::Standard;
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Machine, Verdict};
use isatap_core::error::{ParseErrorKind, TableFull};
use isatap_core::isatap::addr::embedded_ipv4;
use isatap_core::isatap::{CheckNeighbors, HostConfig, HostInterface, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::{Denied, InterfaceAddress, Link as _, LinkKind};
use isatap_core::node::{AnyInterface, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::proto41::Flow;
use isatap_core::sixrd::{self, Domain};
use isatap_core::sixtofour;
use isatap_core::time::{Expiry, Instant};
use isatap_core::wire::{icmpv6, ipv4, ipv6, protocol};

use crate::Error;

use teredo::TeredoClient;
pub use teredo::TeredoOptions;
pub use whole::Note;
use whole::Whole;

/// The most links that a [`Checker`] has.
pub const MAX_LINKS: usize = 8;

/// One link of the node, and what a running one would have learned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkOptions {
    /// An ISATAP host or router.
    Isatap(IsatapOptions),
    /// A configured tunnel.
    Configured {
        /// This end's IPv4 address.
        local: Ipv4Addr,
        /// The other end's.
        remote: Ipv4Addr,
        /// This node's addresses on it.
        addresses: Vec<InterfaceAddress>,
    },
    /// A 6rd customer edge or border relay.
    SixRd(SixRdOptions),
    /// A 6to4 router or relay.
    SixToFour(SixToFourOptions),
    /// A Teredo client.
    Teredo(TeredoOptions),
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

/// A 6rd link of a [`Checker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SixRdOptions {
    /// Whether it is a border relay's; else it is a customer edge's.
    pub border_relay: bool,
    /// The IPv4 address.
    pub local: Ipv4Addr,
    /// The 6rd prefix.
    pub prefix: Ipv6Prefix,
    /// How many upper bits the IPv4 addresses of all customers share.
    pub ipv4_mask_len: u8,
    /// A customer edge's border relays; to a border relay, other tunnel routers, which are no
    /// customers.
    pub relays: Vec<Ipv4Addr>,
}

/// A 6to4 link of a [`Checker`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SixToFourOptions {
    /// Whether it is a relay's; else it is a site's router's.
    pub relay: bool,
    /// The IPv4 addresses.
    pub locals: Vec<Ipv4Addr>,
    /// Whether IPv4 addresses count as public that are not global.
    pub accept_bogons: bool,
}

/// An address with the length of its prefix: `2001:db8::1/64`; without one, 128.
#[derive(Clone, Copy, Debug)]
pub struct AddressWithLength(pub InterfaceAddress);

impl FromStr for AddressWithLength {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = |text: &str| text.parse().map_err(|_| AddressError(advice::not_ipv6(text)));
        // What is left out would be guessed: a device with a /128 reaches nobody.
        let Some((own, length)) = text.split_once('/') else {
            let own: Ipv6Addr = address(text)?;
            let advice = format!("the prefix length is missing: write {own}/64, or {own}/128 for a single address");
            return Err(AddressError(advice));
        };
        let address = address(own)?;
        let length = length.parse().ok().filter(|length| Ipv6Prefix::new(address, *length).is_some());
        let prefix_length = length
            .ok_or_else(|| AddressError(format!("a prefix length is 0 to 128: write {address}/64, for example")))?;
        Ok(AddressWithLength(InterfaceAddress { address, prefix_length }))
    }
}

/// Why a text is no [`AddressWithLength`], and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

/// An ISATAP link of a [`Checker`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IsatapOptions {
    /// Whether it is an advertising router's.
    pub router: bool,
    /// The locators.
    pub locals: Vec<Ipv4Addr>,
    /// The potential router list.
    pub routers: Vec<Ipv4Addr>,
    /// The on-link prefixes; link-local is always one.
    pub prefixes: Vec<Ipv6Prefix>,
    /// The site's IPv4 prefixes (`SEC-2`); none: not checked.
    pub members: Vec<Ipv4Prefix>,
    /// Other tunnel routers, as a router knows them (`SEC-4`).
    pub known_routers: Vec<Ipv4Addr>,
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
type CheckedNode = Node<Box<AnyInterface<Standard>>, Standard, MAX_LINKS>;

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
    /// More links than [`MAX_LINKS`], or more of something than a node of
    /// standard capacity holds; an ISATAP link without a usable locator; a
    /// Teredo client that no server could qualify.
    pub fn new(links: &[LinkOptions]) -> Result<Self, Error> {
        let mut node = Box::new(CheckedNode::new(NodeConfig::DEFAULT));
        let mut teredo = Vec::new();
        for options in links {
            match options {
                LinkOptions::Teredo(options) => teredo.push(TeredoClient::new(options)?),
                options => add(&mut node, options)?,
            }
        }
        let own = links.iter().flat_map(LinkOptions::locals).collect();
        let own_inner = links.iter().flat_map(LinkOptions::addresses).chain(MULTICAST).collect();
        let own_ports = links.iter().filter_map(|options| match options {
            LinkOptions::Teredo(options) => Some(options.local),
            _ => None,
        });
        Ok(Checker { node, teredo, own, own_ports: own_ports.collect(), own_inner })
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
        let mut buffer = vec![0; HEADROOM + packet.len()];
        buffer[HEADROOM..].copy_from_slice(packet);
        let end = buffer.len();
        let Ok(mut received) = PacketMut::new(&mut buffer, HEADROOM..end) else { return Some(DropReason::TooShort) };
        match self.node.clone().decapsulate(NOW, &mut received) {
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
        let is_on_link = |id: u8| self.node.interface(LinkId(id)).is_some_and(|link| link.is_on_link(&target));
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

impl LinkOptions {
    /// The IPv4 addresses that are the node's alone.
    fn locals(&self) -> Vec<Ipv4Addr> {
        match self {
            LinkOptions::Isatap(options) => options.locals.clone(),
            LinkOptions::Configured { local, .. } => vec![*local],
            LinkOptions::SixRd(options) => vec![options.local],
            LinkOptions::SixToFour(options) => options.locals.clone(),
            LinkOptions::Teredo(_) => Vec::new(),
        }
    }

    /// IPv6 addresses that a node with this link has, as far as they follow from it.
    fn addresses(&self) -> Vec<Ipv6Addr> {
        use isatap_core::isatap::addr as isatap;
        match self {
            LinkOptions::Isatap(options) => {
                let of_local = |local: &Ipv4Addr| {
                    let of_prefixes = options.prefixes.iter().filter_map(|prefix| isatap::address(prefix, *local));
                    let mut addresses: Vec<_> = of_prefixes.collect();
                    addresses.extend([isatap::link_local(*local), isatap::other_link_local(*local)]);
                    addresses
                };
                options.locals.iter().flat_map(of_local).collect()
            }
            LinkOptions::Configured { addresses, .. } => addresses.iter().map(|own| own.address).collect(),
            LinkOptions::SixRd(options) => {
                let domain = Domain::around(options.prefix, options.ipv4_mask_len, options.local).ok();
                let first =
                    |domain: Domain| Ipv6Addr::from_bits(domain.delegated(options.local).address().to_bits() | 1);
                domain.map(first).into_iter().collect()
            }
            LinkOptions::SixToFour(options) => {
                let own = |local: &Ipv4Addr| [sixtofour::addr::host_router(*local), sixtofour::addr::relay(*local)];
                options.locals.iter().flat_map(own).collect()
            }
            LinkOptions::Teredo(_) => Vec::new(),
        }
    }
}

fn add(node: &mut CheckedNode, options: &LinkOptions) -> Result<(), Error> {
    let full = |full: TableFull| Error::usage("make such a node", "", full.to_string());
    match options {
        LinkOptions::Isatap(options) => add_isatap(node, options),
        LinkOptions::Configured { local, remote, addresses } => {
            // Whether its kernel forwards is not known: what a router would take is let in.
            let tunnel = configured::Interface::new(configured::Config::new(*local, *remote));
            let id = node.add(Box::new(AnyInterface::Configured(tunnel)), Switches::FORWARDING).map_err(full)?;
            let told = node.with_interface(NOW, id, |interface, cx| match &mut **interface {
                AnyInterface::Configured(tunnel) => {
                    addresses.iter().try_for_each(|address| tunnel.add_address(cx, *address))
                }
                _ => Ok(()),
            });
            told.unwrap_or(Ok(())).map_err(full)
        }
        LinkOptions::SixRd(options) => add_sixrd(node, options),
        LinkOptions::SixToFour(options) => add_sixtofour(node, options),
        // No link of a node's.
        LinkOptions::Teredo(_) => Ok(()),
    }
}

fn add_sixrd(node: &mut CheckedNode, options: &SixRdOptions) -> Result<(), Error> {
    let domain = |why: String| Error::usage("make a 6rd domain of", options.prefix, why);
    let interface = if options.border_relay {
        let around = Domain::around(options.prefix, options.ipv4_mask_len, options.local);
        let config = sixrd::RelayConfig::new(around.map_err(|error| domain(error.to_string()))?);
        AnyInterface::SixRdRelay(sixrd::RelayInterface::new(config))
    } else {
        AnyInterface::SixRdEdge(sixrd::EdgeInterface::new(sixrd::EdgeConfig::DEFAULT))
    };
    let full = |full: TableFull| Error::usage("make such a node", "", full.to_string());
    let id = node.add(Box::new(interface), Switches::FORWARDING).map_err(full)?;
    let locators = [options.local.into()];
    let told = node.with_interface(NOW, id, |interface, cx| match &mut **interface {
        AnyInterface::SixRdEdge(edge) => {
            let relays = options.relays.iter().copied();
            edge.configure(cx, options.prefix, options.ipv4_mask_len, relays)
                .map_err(|error| domain(error.to_string()))?;
            edge.set_locators(cx, &locators, Expiry::NEVER).map_err(full)?;
            Ok(edge.link().locator().is_some())
        }
        AnyInterface::SixRdRelay(relay) => {
            relay.set_known_routers(&options.relays).map_err(full)?;
            relay.set_locators(cx, &locators).map_err(full)?;
            Ok(relay.link().locator().is_some())
        }
        _ => Ok(false),
    });
    match told.unwrap_or(Ok(false))? {
        true => Ok(()),
        false => Err(Error::usage("use the local address", options.local, "it can be no host's")),
    }
}

fn add_sixtofour(node: &mut CheckedNode, options: &SixToFourOptions) -> Result<(), Error> {
    let full = |full: TableFull| Error::usage("make such a node", "", full.to_string());
    let interface = if options.relay {
        let mut config = sixtofour::RelayConfig::DEFAULT;
        config.accept_bogons = options.accept_bogons;
        AnyInterface::SixToFourRelay(sixtofour::RelayInterface::new(config))
    } else {
        let mut config = sixtofour::RouterConfig::DEFAULT;
        config.accept_bogons = options.accept_bogons;
        AnyInterface::SixToFourRouter(sixtofour::RouterInterface::new(config))
    };
    let id = node.add(Box::new(interface), Switches::FORWARDING).map_err(full)?;
    let locators: Vec<_> = options.locals.iter().map(|&local| local.into()).collect();
    let told = node.with_interface(NOW, id, |interface, cx| match &mut **interface {
        AnyInterface::SixToFourRouter(router) => {
            router.set_locators(cx, &locators, Expiry::NEVER).map(|()| router.link().locators().len())
        }
        AnyInterface::SixToFourRelay(relay) => {
            relay.set_locators(cx, &locators).map(|()| relay.link().locators().len())
        }
        _ => Ok(0),
    });
    let used = told.unwrap_or(Ok(0)).map_err(full)?;
    if used < locators.len() || used == 0 {
        let given = options.locals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let error = Error::usage("use the local address", given, "a 6to4 site needs public IPv4 addresses");
        return Err(error.with_advice("add --accept-bogons in a lab with private or documentation addresses"));
    }
    Ok(())
}

fn add_isatap(node: &mut CheckedNode, options: &IsatapOptions) -> Result<(), Error> {
    let full = |full: TableFull| Error::usage("make such a node", "", full.to_string());
    let locators: Vec<_> = options.locals.iter().map(|&local| local.into()).collect();
    let (interface, switches) = if options.router {
        let mut config = RouterConfig::DEFAULT;
        // Of the hosts in a capture nobody can be asked; a running router lets no fewer in.
        config.check_neighbors = CheckNeighbors::Off;
        (AnyInterface::IsatapRouter(RouterInterface::new(config)), Switches::FORWARDING)
    } else {
        let mut config = HostConfig::DEFAULT;
        config.resolve = false;
        // Which other addresses its machine has is not known here, so what is for others is let in.
        (AnyInterface::IsatapHost(HostInterface::new(config)), Switches::FORWARDING)
    };
    let id = node.add(Box::new(interface), switches).map_err(full)?;
    let told = node.with_interface(NOW, id, |interface, cx| match &mut **interface {
        AnyInterface::IsatapHost(host) => {
            host.set_locators(cx, &locators)?;
            options.routers.iter().try_for_each(|router| host.add_router(cx, *router))?;
            options.prefixes.iter().try_for_each(|prefix| host.add_on_link_prefix(cx, *prefix))?;
            options.members.iter().try_for_each(|member| host.link_mut().add_member(*member))?;
            Ok(host.link().locators().len())
        }
        AnyInterface::IsatapRouter(router) => {
            router.set_locators(cx, &locators)?;
            options.routers.iter().try_for_each(|other| router.add_trusted_router(*other))?;
            router.set_known_routers(&options.known_routers)?;
            let mut published = options.prefixes.iter().copied().map(PublishedPrefix::new);
            published.try_for_each(|prefix| router.publish(cx, prefix))?;
            options.members.iter().try_for_each(|member| router.link_mut().add_member(*member))?;
            Ok(router.link().locators().len())
        }
        _ => Ok(0),
    });
    let used = told.unwrap_or(Ok(0)).map_err(full)?;
    if used < locators.len() || used == 0 {
        let given = options.locals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = "an ISATAP link needs IPv4 addresses that can be a host's";
        return Err(Error::usage("use the local address", given, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Which packets a client, a server and a relay let in: one pure function a
//! role, whose checks stand in the order of the RFC.
//!
//! Each gives the case that the packet is, or the [`DropReason`] of the first
//! rule that it breaks. What the case does is the machine's.

mod plain;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

pub use self::plain::{data, is_trusted};
pub(super) use self::plain::{is_mapped, is_solicitation};
use super::addr::{Address, OBSOLETE_PREFIX, PREFIX, SERVER_PORT};
use super::packet::{self, ALL_NODES, ALL_ROUTERS, DISCOVERY_GROUP, Datagram, KnownTrailers, is_bubble};
use super::peer::Peer;
use crate::drop_reason::DropReason;
use crate::error::{ParseError, ParseErrorKind};
use crate::packet::PacketMut;
use crate::prefix::special::{Kinds, has_ipv4};
use crate::prefix::{is_bogon, is_refused_inner_source};
use crate::proto41::Outer;
use crate::proto41::underlay::{Locator, may_send_to};
use crate::wire::icmpv6::Message as Icmpv6;
use crate::wire::{ipv6, protocol};

/// Both ends of a UDP datagram that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Who sent it, as seen here: the UDP source.
    pub from: SocketAddrV4,
    /// Where it arrived: the UDP destination.
    pub to: SocketAddrV4,
}

impl Path {
    /// The path of a packet that came behind this header.
    ///
    /// # Errors
    /// It is of protocol 41.
    pub fn of(outer: &Outer) -> Result<Path, DropReason> {
        let (from, to) = outer.ports.ok_or(DropReason::TeredoMalformed)?;
        Ok(Path { from: SocketAddrV4::new(outer.source, from), to: SocketAddrV4::new(outer.destination, to) })
    }
}

/// A payload, taken apart and with its IPv6 header read.
///
/// # Errors
/// As a [`DropReason`], what [`Datagram::parse`] found.
#[inline]
pub fn parse<'a>(payload: &'a [u8]) -> Result<(Datagram<'a>, ipv6::Header<'a>), DropReason> {
    let reason = |error: ParseError| match error.kind {
        ParseErrorKind::Version => DropReason::InnerVersion,
        _ => DropReason::TeredoMalformed,
    };
    Datagram::parse_with_header(payload).map_err(reason)
}

/// Whether an IPv4 address that was taken out of an IPv6 address, or out of
/// an origin indication, may be sent to.
///
/// `TER-40 [RFC 4380 §5.2.4]`: it is a global unicast address. Beyond the
/// RFC's list 100.64/10 and 240/4 are refused.
#[inline]
#[must_use]
pub const fn is_global_unicast(address: Ipv4Addr) -> bool {
    !has_ipv4::<{ Kinds::NEVER_UNICAST.union(Kinds::AMBIGUOUS).union(Kinds::RELAY).bits() }>(address)
}

/// The same. `accept_bogons`, for labs: private addresses and 100.64/10 count
/// as global ones, which documentation addresses do anyway; never loopback,
/// 169.254/16, multicast, 0/8 or 240/4.
#[inline]
#[must_use]
pub const fn is_usable(address: Ipv4Addr, accept_bogons: bool) -> bool {
    is_global_unicast(address) || (accept_bogons && is_bogon(address))
}

/// Where a node at these IPv4 addresses may send.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// The node's own.
    pub own: &'a [Locator],
    /// See [`is_usable`].
    pub accept_bogons: bool,
}

impl Reach<'_> {
    /// Whether a mapped address and port may be sent to: [`is_usable`], a port,
    /// and neither this node's own address nor the broadcast address of one of
    /// its subnets. `TER-40`, `TER-4`, `TUN-4`
    #[inline]
    #[must_use]
    pub fn may_send_to(&self, mapping: SocketAddrV4) -> bool {
        is_usable(*mapping.ip(), self.accept_bogons) && self.may_send_to_alternate(mapping)
    }

    /// The same of a server, which may be this very machine. `TER-93`
    #[inline]
    #[must_use]
    pub fn may_ask(&self, server: Ipv4Addr) -> bool {
        is_usable(server, self.accept_bogons) && !self.own.iter().any(|own| own.is_broadcast(server))
    }

    /// Whether a client may be sent to, and asked by its server.
    #[inline]
    #[must_use]
    pub fn may_reach(&self, client: &Address) -> bool {
        self.may_send_to(embedded_mapping(client)) && self.may_ask(client.server)
    }

    /// Whether an alternate address may be sent to: it may be private, but is
    /// no loopback, group, broadcast or own address. `TER-84 [RFC 6081
    /// §5.6.4.2]`
    #[inline]
    #[must_use]
    pub fn may_send_to_alternate(&self, alternate: SocketAddrV4) -> bool {
        alternate.port() != 0 && may_send_to(*alternate.ip(), self.own)
    }
}

/// Where a Teredo address says that its client can be reached.
#[inline]
#[must_use]
pub fn embedded_mapping(address: &Address) -> SocketAddrV4 {
    SocketAddrV4::new(address.client, address.port)
}

/// Whether an IPv6 address can belong to a node of the native Internet.
#[must_use]
pub fn is_native_global(address: &Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    // 2000::/3, which is all that has been given out, without Teredo. TER-7:
    // nor is there anything native under the prefix of before.
    first >> 13 == 1 && !PREFIX.contains(address) && !OBSOLETE_PREFIX.contains(address)
}

/// The upper layer of an inner packet, with the rules that hold for every
/// role.
///
/// `TER-43 [RFC 5095 §3]`: a routing header that asks for forwarding is
/// refused. `TUN-16` of the inner source.
fn upper_layer(header: &ipv6::Header<'_>) -> Result<ipv6::UpperLayer, DropReason> {
    if is_refused_inner_source(&header.source()) || header.source().is_unspecified() {
        return Err(DropReason::InnerSourceRefused);
    }
    header.upper_layer()
}

/// What a client knows when it judges a packet.
#[derive(Clone, Copy, Debug)]
pub struct ClientView<'a> {
    /// The server and its secondary address.
    pub servers: [Ipv4Addr; 2],
    /// The own address, once qualified.
    pub address: Option<Ipv6Addr>,
    /// The entry of the packet's inner source.
    pub peer: Option<&'a Peer>,
    /// The link-local source of the bubble that asked that peer where it is.
    /// `TER-102`
    pub secret_source: Option<Ipv6Addr>,
    /// Whether a connectivity test of that peer is under way.
    pub testing: bool,
    /// Where local discovery has heard that peer.
    pub local: Option<SocketAddrV4>,
    /// Whether local discovery is used.
    pub discovery: bool,
    /// Where packets may go.
    pub reach: Reach<'a>,
}

/// What a packet is to a client. [RFC 4380 §5.2.3, RFC 6081 §5.2.4.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCase {
    /// A Router Advertisement of a server, yet to be judged by
    /// [`qualify`](super::qualify).
    Advertisement,
    /// A bubble that came by the server: answer it, trust nobody.
    IndirectBubble,
    /// Case 1: from where the peer is trusted.
    Trusted,
    /// Case 2: the answer to a connectivity test.
    TestReply,
    /// Case 3: from where the source address says.
    Mapped,
    /// RFC 6081: a direct bubble from elsewhere that repeats our nonce.
    NonceBubble,
    /// `TER-102`: a direct bubble to the secret address that our bubble came
    /// from.
    SecretBubble,
    /// Case 4: a bubble of local discovery.
    Discovery,
    /// Case 5: from where local discovery has heard the peer.
    Local,
    /// Case 6: a native source that has yet to pass the connectivity test.
    Untested,
}

/// `TER-13`, `TER-14`, `TER-39`, section 4.5 in its order.
///
/// # Errors
/// The first rule that the packet breaks.
pub fn client(
    view: &ClientView<'_>,
    path: Path,
    datagram: &Datagram<'_>,
    header: &ipv6::Header<'_>,
    trailers: &KnownTrailers<'_>,
) -> Result<ClientCase, DropReason> {
    let (source, destination) = (header.source(), header.destination());
    let from_server = path.from.port() == SERVER_PORT && view.servers.contains(path.from.ip());
    let bubble = is_bubble(header);
    let upper = upper_layer(header)?;
    let icmpv6 = (upper.protocol == protocol::ICMPV6 && !upper.fragment)
        .then(|| upper.of(header))
        .flatten()
        .filter(|message| message.len() >= 8);
    let icmpv6_type = icmpv6.and_then(|message| message.first().copied());

    // Step 0, advertisements: their destination is link-local.
    if icmpv6_type == Some(Icmpv6::ROUTER_ADVERTISEMENT) {
        return if from_server { Ok(ClientCase::Advertisement) } else { Err(DropReason::TeredoAdvertisement) };
    }
    // Case 4. What else arrives at the group is for nobody.
    if *path.to.ip() == DISCOVERY_GROUP {
        return discovery(view, path, header);
    }
    // TER-14 [RFC 4380 §5.2.3]: the own address, or the source of a bubble of
    // our own.
    let address = view.address.ok_or(DropReason::TeredoUnqualified)?;
    let teredo = Address::from_ipv6(&source);
    if destination != address {
        let answers = bubble && !from_server && teredo.is_some() && view.secret_source == Some(destination);
        // TER-40: the answer goes to there.
        return match answers && view.reach.may_send_to_alternate(path.from) {
            true => Ok(ClientCase::SecretBubble),
            false => Err(DropReason::TeredoDestination),
        };
    }
    if source == address {
        return Err(DropReason::OwnSource);
    }
    // TER-96: a bubble from the server is of a third party, and its source may
    // be link-local. Some servers omit the origin of a Teredo source.
    if from_server && bubble && (datagram.origin().is_some() || teredo.is_some()) {
        return Ok(ClientCase::IndirectBubble);
    }
    // From here on nothing link-local comes in.
    if source.is_unicast_link_local() {
        return Err(DropReason::InnerSourceRefused);
    }
    if from_server && datagram.origin().is_some() {
        return match teredo {
            Some(_) => Err(DropReason::TeredoMapping),
            None if is_native_global(&source) => Ok(ClientCase::Untested),
            None => Err(DropReason::InnerSourceRefused),
        };
    }
    // Whoever is believed at some address will be sent to there. Private
    // ones are those of neighbours.
    if !view.reach.may_send_to_alternate(path.from) {
        return Err(DropReason::OuterSourceRefused);
    }
    if let Some(peer) = view.peer {
        // Case 1.
        if peer.is_trusted_at(path.from) {
            return Ok(ClientCase::Trusted);
        }
        // Case 2: an echo reply and nothing else, of a running test.
        // TER-97: while one runs, also of a peer that is trusted elsewhere.
        if view.testing && icmpv6_type == Some(Icmpv6::ECHO_REPLY) {
            let data = icmpv6.and_then(|message| message.get(8..)).unwrap_or(&[]);
            let valid = icmpv6.is_some_and(|message| Icmpv6::parse(message, &source, &destination).is_ok());
            // Zero is no secret: none has been drawn yet.
            if valid && data == peer.test_nonce() && peer.test_nonce() != [0; 8] {
                return Ok(ClientCase::TestReply);
            }
        }
    }
    match teredo {
        Some(teredo) if embedded_mapping(&teredo) == path.from => {
            // TER-40 before anything is sent there, TER-4 of port 0.
            if view.reach.may_send_to(path.from) { Ok(ClientCase::Mapped) } else { Err(DropReason::TeredoEmbedded) }
        }
        Some(_) => {
            // TER-71 [RFC 6081 §5.2.4.4]
            let nonce = view.peer.map_or([0; 4], Peer::nonce_sent);
            if bubble && nonce != [0; 4] && trailers.nonce == Some(nonce) {
                return Ok(ClientCase::NonceBubble);
            }
            // Case 5.
            if view.discovery && view.local == Some(path.from) {
                return Ok(ClientCase::Local);
            }
            // TER-39
            Err(DropReason::TeredoMapping)
        }
        // Case 6.
        None if is_native_global(&source) => Ok(ClientCase::Untested),
        None => Err(DropReason::InnerSourceRefused),
    }
}

/// `TER-50 [RFC 4380 §5.2.8]`
fn discovery(view: &ClientView<'_>, path: Path, header: &ipv6::Header<'_>) -> Result<ClientCase, DropReason> {
    let refused = DropReason::TeredoDiscovery;
    let near = |own: &Locator| own.subnet_length < 32 && own.is_near(*path.from.ip());
    let source = Address::from_ipv6(&header.source()).ok_or(refused)?;
    let mapped = view.address.as_ref().and_then(Address::from_ipv6).ok_or(DropReason::TeredoUnqualified)?;
    let ok = view.discovery
        && is_bubble(header)
        && header.destination() == ALL_NODES
        && Some(header.source()) != view.address
        && is_usable(source.client, view.reach.accept_bogons)
        && source.port != 0
        // A neighbour is behind the same NAT.
        && source.client == mapped.client
        && view.reach.own.iter().any(near)
        && view.reach.may_send_to_alternate(path.from);
    if ok { Ok(ClientCase::Discovery) } else { Err(refused) }
}

/// What a server knows when it judges a packet.
#[derive(Clone, Copy, Debug)]
pub struct ServerView<'a> {
    /// The primary and the secondary address.
    pub addresses: [Ipv4Addr; 2],
    /// Other servers.
    pub known_servers: &'a [Ipv4Addr],
    /// `TER-99`: a bubble is accepted from another port than its source says.
    pub accept_symmetric_bubbles: bool,
    /// Where packets may go.
    pub reach: Reach<'a>,
    /// `TER-7`: addresses of the old prefix are those of clients, too.
    pub accept_obsolete_prefix: bool,
}

impl ServerView<'_> {
    /// The client that has an address, if this server reads it so.
    #[must_use]
    pub fn client(&self, address: &Ipv6Addr) -> Option<Address> {
        let obsolete = || Address::from_obsolete_ipv6(address).filter(|_| self.accept_obsolete_prefix);
        Address::from_ipv6(address).or_else(obsolete)
    }

    /// A solicitation that [is one at a glance](is_solicitation).
    ///
    /// # Errors
    /// What [`server`] says of its UDP source.
    #[inline]
    pub(super) fn solicitation(&self, from: SocketAddrV4, source: &Ipv6Addr) -> Result<ServerCase, DropReason> {
        self.is_no_server(from)?;
        self.may_answer(from)?;
        Ok(ServerCase::Solicitation { cone: super::addr::is_cone(source) })
    }

    fn is_no_server(&self, from: SocketAddrV4) -> Result<(), DropReason> {
        if self.is_server(from) { Err(DropReason::TeredoServerLoop) } else { Ok(()) }
    }

    fn may_answer(&self, from: SocketAddrV4) -> Result<(), DropReason> {
        let may = self.reach.may_ask(*from.ip()) && from.port() != 0;
        if may { Ok(()) } else { Err(DropReason::OuterSourceRefused) }
    }

    /// Whether a server listens there: this one or a known one. `TER-63`
    #[must_use]
    pub fn is_server(&self, endpoint: SocketAddrV4) -> bool {
        let address = endpoint.ip();
        endpoint.port() == SERVER_PORT && (self.addresses.contains(address) || self.known_servers.contains(address))
    }
}

/// What a packet is to a server. [RFC 4380 §5.3.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCase {
    /// Rule 4: a solicitation to answer.
    Solicitation {
        /// From the other address. `TER-3`
        cone: bool,
    },
    /// Rule 5: from a client, to be forwarded wherever it goes.
    FromClient,
    /// Rule 6: from a stranger, to a client of this server.
    ToClient,
}

/// The longest ICMPv6 payload that a server carries. `TER-64`
pub const LONGEST_ICMPV6: u16 = 88;

/// `TER-60`, `TER-63` in their order.
///
/// # Errors
/// The first rule that the packet breaks.
#[inline]
pub fn server(view: &ServerView<'_>, from: SocketAddrV4, header: &ipv6::Header<'_>) -> Result<ServerCase, DropReason> {
    // TER-63: first of all, whatever the packet is.
    view.is_no_server(from)?;
    // (2) [RFC 4380 §5.3.1]
    let (source, destination) = (header.source(), header.destination());
    let upper = upper_layer(header)?;
    let icmpv6 = upper.protocol == protocol::ICMPV6 && !upper.fragment;
    // TER-64: small, so that nobody uses a server as a relay.
    let carried = is_bubble(header) || (icmpv6 && header.payload_length() <= LONGEST_ICMPV6);
    if !carried {
        return Err(DropReason::TeredoNotForServer);
    }
    // (3)
    view.may_answer(from)?;
    // (4) TER-5: whatever the link-local source is, only the cone bit counts.
    let icmpv6_type = upper.of(header).and_then(<[u8]>::first).copied().filter(|_| icmpv6);
    if source.is_unicast_link_local() && destination == ALL_ROUTERS && icmpv6_type == Some(Icmpv6::ROUTER_SOLICITATION)
    {
        return Ok(ServerCase::Solicitation { cone: super::addr::is_cone(&source) });
    }
    match view.client(&source) {
        // (5)
        Some(client) if embedded_mapping(&client) == from => Ok(ServerCase::FromClient),
        // TER-99
        Some(client) if view.accept_symmetric_bubbles && is_bubble(header) && client.client == *from.ip() => {
            Ok(ServerCase::FromClient)
        }
        // (7)
        Some(_) => Err(DropReason::TeredoMapping),
        // (6)
        None => match view.client(&destination) {
            Some(client) if client.server == view.addresses[0] => Ok(ServerCase::ToClient),
            _ => Err(DropReason::TeredoNotOurClient),
        },
    }
}

/// What a packet is to a relay. [RFC 4380 §5.4.2]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayCase {
    /// From a known peer, at the mapping that its address says.
    Mapped,
    /// `TER-102`: a bubble to the unguessable address of ours, from a known
    /// peer that sits behind a symmetric NAT.
    HashedBubble,
}

/// `TER-91` and `TER-102`, in the RFC's order: the source first, and only then
/// the destination, which is the machine's to look at.
///
/// `bubble_source`: the source of the relay's bubbles to this peer.
/// # Errors
/// The first rule that the packet breaks.
pub fn relay(
    peer: Option<&Peer>,
    bubble_source: Option<&Ipv6Addr>,
    from: SocketAddrV4,
    header: &ipv6::Header<'_>,
    reach: Reach<'_>,
) -> Result<RelayCase, DropReason> {
    upper_layer(header)?;
    let source = Address::from_ipv6(&header.source()).ok_or(DropReason::TeredoMapping)?;
    if embedded_mapping(&source) == from {
        if !reach.may_send_to(from) {
            return Err(DropReason::TeredoEmbedded);
        }
        return peer.map(|_| RelayCase::Mapped).ok_or(DropReason::TeredoNotServed);
    }
    // Once it is trusted there, all its packets come from there.
    if peer.is_some_and(|peer| peer.is_trusted_at(from)) {
        return Ok(RelayCase::Mapped);
    }
    let hashed =
        peer.is_some() && is_bubble(header) && bubble_source == Some(&header.destination()) && reach.may_send_to(from);
    if hashed { Ok(RelayCase::HashedBubble) } else { Err(DropReason::TeredoMapping) }
}

/// What is asked of a packet from the inside.
pub(super) struct Outgoing {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) next_header: u8,
    /// It is no longer than the link allows. See [`packet::MTU`].
    pub(super) fits: bool,
}

/// A packet from the inside, if it can be carried: it is whole, and has no routing
/// header that would not be let in.
///
/// # Errors
/// [`DropReason::NotIpv6`], or as [`ipv6::upper_layer`].
#[inline]
pub(super) fn outgoing(packet: &PacketMut<'_>) -> Result<Outgoing, DropReason> {
    let bytes = packet.as_slice();
    let header = match plain::data(bytes) {
        Some(header) => header,
        None => judge_outgoing(bytes)?,
    };
    let (source, destination, next_header) = (header.source(), header.destination(), header.next_header());
    Ok(Outgoing { source, destination, next_header, fits: fits(packet) })
}

/// The rules one by one.
fn judge_outgoing(packet: &[u8]) -> Result<ipv6::Header<'_>, DropReason> {
    let header = ipv6::Header::of_whole(packet).ok_or(DropReason::NotIpv6)?;
    // TER-43
    header.upper_layer()?;
    Ok(header)
}

/// See [`Outgoing::fits`].
fn fits(packet: &PacketMut<'_>) -> bool {
    let len = match packet.segment_size() {
        // What counts is a segment, of which the headers are not known here.
        Some(size) => usize::from(size.get()),
        None => packet.len(),
    };
    len <= usize::from(packet::MTU)
}

#[cfg(test)]
mod tests;

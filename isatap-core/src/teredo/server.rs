//! A Teredo server: tells clients how their NAT shows them, and carries
//! bubbles and echo packets to them. [RFC 4380 §5.3]
//!
//! It keeps nothing of a client. Each packet makes at most one, which leaves
//! in the buffer that it came in; no packet makes more than twice its
//! own length.
//!
//! What it cannot do: it needs two public IPv4 addresses, of which clients
//! must reach both at port 3544. It carries no data: beside it a relay must
//! serve `2001::/32`. It believes what the IPv4 network says of a packet's
//! source, like every server.

mod advertisement;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use self::advertisement::Advertisement;
use super::addr::{SERVER_PORT, server_link_local};
use super::authentication::{self, Authenticator, Open, Sealed};
use super::ingress::{self, Path, Reach, ServerCase, ServerView};
use super::packet::{self, ORIGIN_LEN, is_bubble};
use crate::drop_reason::{Counters, DropReason};
use crate::engine::limit::Limits;
use crate::engine::{Admitted, Entropy, Event, Machine, Transmit, Verdict, Via, draw_key};
use crate::error::EmitError;
use crate::interface::neighbor_discovery_behind;
use crate::link::Locator;
use crate::nd::validate;
use crate::packet::{LinkId, PacketMut};
use crate::proto41::Outer;
use crate::time::Instant;
use crate::wire::{icmpv6, ipv6};

/// Other servers that one server knows at most.
pub const KNOWN_SERVERS: usize = 8;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The address that clients are told, and that is in theirs.
    pub primary: Ipv4Addr,
    /// The other one, from which clients with the cone bit are answered.
    pub secondary: Ipv4Addr,
    /// Prefix length of the subnet that both are on, to know its broadcast
    /// address (`TUN-4`); 32 when not known.
    pub subnet_length: u8,
    /// Other servers, to which nothing is sent and from which nothing is
    /// taken; unused places are 0.0.0.0.
    pub known_servers: [Ipv4Addr; KNOWN_SERVERS],
    /// Accepts bubbles of clients behind symmetric NATs of other servers.
    /// `TER-99`: against the letter of RFC 4380 §5.3.1, off.
    pub accept_symmetric_bubbles: bool,
    /// Counts private IPv4 addresses as global ones, for labs: see
    /// [`is_usable`](ingress::is_usable).
    pub accept_bogons: bool,
    /// Carries packets of and to clients that have an address of the prefix
    /// that Windows XP used before RFC 4380, as if it were of the new one.
    /// `TER-7`: it is advertised to nobody, so off; such a client has it from
    /// elsewhere.
    pub accept_obsolete_prefix: bool,
    /// Retransmission time that clients are told, in ms.
    pub retrans_timer: u32,
}

impl ServerConfig {
    /// A server at `primary` and the address behind it.
    #[must_use]
    pub const fn new(primary: Ipv4Addr) -> Self {
        ServerConfig {
            primary,
            secondary: Ipv4Addr::from_bits(primary.to_bits().wrapping_add(1)),
            subnet_length: 32,
            known_servers: [Ipv4Addr::UNSPECIFIED; KNOWN_SERVERS],
            accept_symmetric_bubbles: false,
            accept_bogons: false,
            accept_obsolete_prefix: false,
            retrans_timer: 2000,
        }
    }
}

/// A server.
#[derive(Clone)]
pub struct Server<A = Open> {
    config: ServerConfig,
    /// Both addresses.
    own: [Locator; 2],
    authenticator: A,
    link: LinkId,
    /// Made for the first client that asks.
    advertisement: Option<Advertisement>,
    answers: Limits<8192>,
    forwards: Limits<4096>,
    counters: Counters<u64>,
    now: Instant,
    seeded: bool,
    identification: u16,
}

/// Router Advertisements to one source: a second, and at once. `TER-66`: so
/// much can be made to arrive at who did not ask, with a forged source. All
/// buckets together let 65,536 a second through: a flood that comes from
/// everywhere does not fill them.
const ANSWERS: (u16, u16) = (8, 12);
/// Packets carried from one source, which may be a relay's: a second, and at
/// once.
const FORWARDS: (u16, u16) = (100, 400);

impl Server<Open> {
    /// A server for everybody.
    #[must_use]
    pub const fn new(config: ServerConfig, link: LinkId) -> Self {
        Server::with_authenticator(config, link, Open)
    }
}

impl<A> Server<A> {
    /// A server for the clients that `authenticator` knows.
    #[must_use]
    pub const fn with_authenticator(config: ServerConfig, link: LinkId, authenticator: A) -> Self {
        let ServerConfig { primary, secondary, subnet_length, .. } = config;
        Server {
            config,
            own: [Locator { address: primary, subnet_length }, Locator { address: secondary, subnet_length }],
            authenticator,
            link,
            advertisement: None,
            answers: Limits::new(ANSWERS),
            forwards: Limits::new(FORWARDS),
            counters: Counters::ZERO,
            now: Instant::ZERO,
            seeded: false,
            identification: 0,
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<u64> {
        &self.counters
    }

    /// Its link-local address: the source of its advertisements.
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        server_link_local(self.config.primary)
    }
}

impl<A: Authenticator> Server<A> {
    fn judge(&mut self, path: Path, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        // Both addresses, and only this port.
        let ours = [self.config.primary, self.config.secondary];
        if path.to.port() != SERVER_PORT || !ours.contains(path.to.ip()) {
            return Err(DropReason::NotAddressed);
        }
        let (datagram, header) = ingress::parse(packet.as_slice())?;
        let view = self.view();
        let is_plain = ingress::is_solicitation(&header);
        // TER-60, TER-63
        let case = match is_plain {
            true => view.solicitation(path.from, &header.source())?,
            false => ingress::server(&view, path.from, &header)?,
        };
        match case {
            ServerCase::Solicitation { cone } => {
                if !is_plain {
                    let received = neighbor_discovery_behind(&header).ok_or(DropReason::NdMalformed)?;
                    // TER-103: Windows sends a source link-layer option: valid.
                    validate::router_solicitation(&received)?;
                }
                let sealed = self.solicitation(&datagram)?;
                self.advertise(path, cone, header.source(), sealed, packet)
            }
            ServerCase::FromClient | ServerCase::ToClient => {
                let inner = Inner::of(&datagram, &header);
                self.carry(path, &inner, packet)
            }
        }
    }

    fn view(&self) -> ServerView<'_> {
        ServerView {
            addresses: [self.config.primary, self.config.secondary],
            known_servers: &self.config.known_servers,
            accept_symmetric_bubbles: self.config.accept_symmetric_bubbles,
            reach: Reach { own: &self.own, accept_bogons: self.config.accept_bogons },
            accept_obsolete_prefix: self.config.accept_obsolete_prefix,
        }
    }

    /// Who vouches for a solicitation; gives the authentication header of its answer.
    #[inline(always)]
    fn solicitation(&self, datagram: &packet::Datagram<'_>) -> Result<Option<Sealed>, DropReason> {
        let refused = DropReason::TeredoAuthentication;
        let header = datagram.authentication();
        if self.authenticator.is_required() {
            // TER-60 (4): MUST drop what lacks a valid header.
            let header = header.ok_or(refused)?;
            if header.confirmation != 0 || !authentication::is_valid(&self.authenticator, &header, &[], datagram.ipv6())
            {
                return Err(refused);
            }
        }
        // TER-62 [RFC 4380 §5.3.2]: identifier and nonce are repeated.
        match header {
            Some(header) => Ok(Some(Sealed::of(header.client_id, header.nonce, 0).ok_or(refused)?)),
            None => Ok(None),
        }
    }

    /// `TER-62 [RFC 4380 §5.3.2]`
    fn advertise(
        &mut self,
        path: Path,
        cone: bool,
        destination: Ipv6Addr,
        mut sealed: Option<Sealed>,
        packet: &mut PacketMut<'_>,
    ) -> Result<Verdict, DropReason> {
        // TER-66: no amplifier, and no help for a flood from a forged source.
        if !self.answers.take(self.now, &path.from.ip().to_ipv6_mapped()) {
            return Err(DropReason::RateLimited);
        }
        let config = &self.config;
        let bytes = self.advertisement.get_or_insert_with(|| Advertisement::new(config)).to(&destination);
        let origin = packet::origin_bytes(path.from);
        if let Some(sealed) = &mut sealed {
            sealed.seal(&self.authenticator, &origin, &bytes);
        }
        packet
            .write_with(|writer| {
                if let Some(sealed) = &sealed {
                    sealed.emit(writer);
                }
                writer.array(origin);
                writer.array(bytes);
            })
            .map_err(|_| DropReason::NoHeadroom)?;
        // The other address answers a client that thinks itself behind a cone
        // NAT: only then does the answer arrive.
        let from = match (cone, *path.to.ip() == self.config.primary) {
            (true, true) | (false, false) => self.config.secondary,
            (true, false) | (false, true) => self.config.primary,
        };
        let outer = self.outer(from, path.from);
        Ok(Verdict::Answer { via: Via::Tunnel { link: self.link, outer }, reason: None })
    }

    /// `TER-61 [RFC 4380 §5.3.1]`: a packet that passed the checks goes where
    /// its destination says.
    fn carry(&mut self, path: Path, inner: &Inner, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        let Inner { start, end, destination, hop_limit, bubble } = *inner;
        if !self.forwards.take(self.now, &path.from.ip().to_ipv6_mapped()) {
            return Err(DropReason::RateLimited);
        }
        if destination == self.link_local() {
            return self.answer_echo(path, inner, packet);
        }
        // Not of global scope: never forwarded.
        if destination.is_multicast()
            || destination.is_unicast_link_local()
            || destination.is_loopback()
            || destination.is_unspecified()
        {
            return Err(DropReason::Scope);
        }
        let view = self.view();
        let client = view.client(&destination);
        let mapping = client.as_ref().map(ingress::embedded_mapping);
        if let Some(mapping) = mapping {
            // TER-40, TUN-4
            if !view.reach.may_ask(*mapping.ip()) || mapping.port() == 0 {
                return Err(DropReason::TeredoEmbedded);
            }
            // TER-63: never to itself, nor to a server that would carry it on.
            if view.is_server(mapping) {
                return Err(DropReason::TeredoServerLoop);
            }
        } else if !ingress::is_native_global(&destination) {
            return Err(DropReason::Scope);
        }
        // TER-65: bubbles as they are, whatever their hop limit.
        if !bubble && hop_limit <= 1 {
            return Err(DropReason::HopLimit);
        }
        packet.pull_front(start);
        if !bubble && let Some(header) = packet.as_mut_slice().first_chunk_mut() {
            ipv6::set_hop_limit(header, hop_limit.saturating_sub(1));
        }
        let Some(mapping) = mapping else {
            packet.truncate(end.saturating_sub(start));
            return Ok(Verdict::Deliver { link: self.link, from: Admitted::Host });
        };
        // TER-61: the trailers stay where they are; the client of this server
        // is told where the packet came from.
        let ours = client.is_some_and(|client| client.server == self.config.primary);
        if ours {
            packet::push_origin(packet, path.from).map_err(|_| DropReason::NoHeadroom)?;
        }
        let outer = self.outer(self.config.primary, mapping);
        Ok(Verdict::Tunnel { link: self.link, outer })
    }

    /// An echo request to the server itself.
    fn answer_echo(&mut self, path: Path, inner: &Inner, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        packet.pull_front(inner.start);
        packet.truncate(inner.end.saturating_sub(inner.start));
        icmpv6::echo_reply_in_place(packet).map_err(|_| DropReason::TeredoNotForServer)?;
        let outer = self.outer(*path.to.ip(), path.from);
        Ok(Verdict::Answer { via: Via::Tunnel { link: self.link, outer }, reason: None })
    }

    fn outer(&mut self, from: Ipv4Addr, to: SocketAddrV4) -> Outer {
        self.identification = self.identification.wrapping_add(1);
        outer(SocketAddrV4::new(from, SERVER_PORT), to, self.identification)
    }
}

/// What is asked of a packet that is carried, so that its buffer is free again.
struct Inner {
    start: usize,
    end: usize,
    destination: Ipv6Addr,
    hop_limit: u8,
    bubble: bool,
}

impl Inner {
    fn of(datagram: &packet::Datagram<'_>, header: &ipv6::Header<'_>) -> Self {
        let range = datagram.inner_range();
        Inner {
            start: range.start,
            end: range.end,
            destination: header.destination(),
            hop_limit: header.hop_limit(),
            bubble: is_bubble(header),
        }
    }
}

/// The outer header of every Teredo packet.
///
/// `TER-104 [RFC 9601]`: DSCP and ECN are zero, since no congestion mark would
/// be carried in. DF is clear: `[RFC 4380 §5.1.2]`.
pub(super) const fn outer(from: SocketAddrV4, to: SocketAddrV4, identification: u16) -> Outer {
    Outer { identification, ..Outer::udp(from, to) }
}

impl<A: Authenticator> Machine for Server<A> {
    /// A server sends nothing of its host's: that is a relay's.
    fn encapsulate(&mut self, now: Instant, _packet: &mut PacketMut<'_>) -> Verdict {
        self.now = self.now.max(now);
        self.counters.settle(Err(DropReason::NoRoute))
    }

    /// [`Verdict::Answer`] and [`Verdict::Tunnel`]: send what the buffer
    /// holds. [`Verdict::Deliver`]: an IPv6 packet for the native Internet.
    fn decapsulate(&mut self, now: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        self.now = self.now.max(now);
        let result = Path::of(outer).and_then(|path| self.judge(path, packet));
        self.counters.settle(result)
    }

    fn refused(&mut self, now: Instant, reason: DropReason) -> Verdict {
        self.now = self.now.max(now);
        self.counters.settle(Err(reason))
    }

    fn handle_icmpv4(&mut self, _now: Instant, _message: &mut PacketMut<'_>) -> Verdict {
        self.counters.settle(Err(DropReason::IcmpV4Ignored))
    }

    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.now = self.now.max(now);
        if !self.seeded {
            self.seeded = true;
            self.answers.rekey(draw_key(entropy));
            self.forwards.rekey(draw_key(entropy));
        }
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        out.clear();
        Ok(None)
    }

    fn poll_event(&mut self) -> Option<Event> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // Once, for its secret.
        (!self.seeded).then_some(self.now)
    }
}

const _: () = assert!(ORIGIN_LEN + advertisement::LEN < 117);

#[cfg(test)]
mod tests;

//! A Teredo relay: between the native IPv6 Internet and Teredo clients.
//! [RFC 4380 §5.4]
//!
//! ```text
//! encapsulate native ─ reachable peer ─▶ Tunnel
//!                    ╰ another ─ bubble by its server ─▶ Hold ─▶ Released ─▶ encapsulate again
//! decapsulate Teredo ─ from where its address says ─▶ Deliver, if its destination is served
//! ```
//!
//! What it serves says what it is: the whole Internet, a site, or one host
//! that has native IPv6 itself (a host-specific relay: `TER-94`).
//!
//! The caller routes `2001::/32` to it, and announces that as far as it
//! serves (`TER-92`). Beside a server it listens on a port of its own, as
//! miredo's does: one process may run both (`TER-93`).
//!
//! # What it cannot do
//!
//! It believes the IPv4 network: who can forge the IPv4 source of a client's
//! mapping can send as that client. Any IPv6 host can make it send four
//! bubbles to a server of its choice; how often is limited, and no /64 takes
//! the share of another (`TER-107`). Who has many /64s has many shares.

mod waits;

use core::net::{Ipv6Addr, SocketAddrV4};

pub use self::waits::Wait;
use self::waits::{List, State, Waits};
use super::addr::{Address, Flags, SERVER_PORT};
use super::carried::{self, Known, Last};
use super::ingress::{self, Outgoing, Path, Reach, RelayCase, is_native_global};
use super::packet::{Bubble, is_bubble};
use super::peer::{BUBBLE_INTERVAL, Peer, PeerTable, secret_source};
use super::server::outer;
use crate::capacity::{Array, Row, Storage};
use crate::drop_reason::{Counters, DropReason};
use crate::engine::limit::{Limits, Rate, Shares, TokenBucket};
use crate::engine::{Admits, Admitted, Carried, Entropy, Event, Machine, Sends, Transmit, Verdict, Via, draw_key};
use crate::error::EmitError;
use crate::link::Locator;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::{Ipv6Prefix, halves};
use crate::proto41::Outer;
use crate::time::{Expiry, Instant};
use crate::wire::icmpv6;

/// Prefixes that one relay serves at most.
pub const SERVED: usize = 8;

/// How a relay behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayConfig {
    /// The IPv4 address that it sends from.
    pub locator: Locator,
    /// Its UDP port, which the caller has opened.
    pub port: u16,
    /// The native destinations that it forwards to, and the native sources
    /// that it forwards from; unused places are `None`.
    pub served: [Option<Ipv6Prefix>; SERVED],
    /// Its own IPv6 address, from which "packet too big" is answered; `None`:
    /// the kernel above does that.
    pub address: Option<Ipv6Addr>,
    /// It sits behind a NAT that is no cone, and bubbles directly too.
    pub behind_nat: bool,
    /// Sends to clients whose address says cone without asking first. RFC 5991
    /// §3.2: off.
    pub trust_cone: bool,
    /// Takes a bubble to the secret address of its own bubble from wherever
    /// it comes, so that clients behind symmetric NATs reach it. `TER-102`:
    /// beyond RFC 4380 §5.4.2, and what miredo does; on.
    pub accept_symmetric: bool,
    /// Counts private IPv4 addresses as global ones, for labs: see
    /// [`is_usable`](ingress::is_usable).
    pub accept_bogons: bool,
}

impl RelayConfig {
    /// A relay between all native addresses and all clients.
    #[must_use]
    pub const fn new(locator: Locator, port: u16) -> Self {
        let mut served = [None; SERVED];
        served[0] = Some(Ipv6Prefix::DEFAULT);
        RelayConfig {
            locator,
            port,
            served,
            address: None,
            behind_nat: false,
            trust_cone: false,
            accept_symmetric: true,
            accept_bogons: false,
        }
    }

    /// A host-specific relay: for this host's own addresses, at most
    /// [`SERVED`]. `TER-94`
    #[must_use]
    pub fn host_specific(locator: Locator, port: u16, addresses: &[Ipv6Addr]) -> Self {
        let mut config = RelayConfig { served: [None; SERVED], ..RelayConfig::new(locator, port) };
        for (place, address) in config.served.iter_mut().zip(addresses) {
            *place = Ipv6Prefix::new(*address, 128);
        }
        config
    }

    /// Where packets come from and go to.
    fn local(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.locator.address, self.port)
    }

    fn reach(&self) -> Reach<'_> {
        Reach { own: core::slice::from_ref(&self.locator), accept_bogons: self.accept_bogons }
    }

    fn serves(&self, address: &Ipv6Addr) -> bool {
        is_native_global(address) && self.served.iter().flatten().any(|prefix| prefix.contains(address))
    }
}

/// New peers that one /64 of native hosts may cause: a second, and at once.
/// `TER-107`
const BY_SOURCE: (u16, u16) = (50, 100);
/// The same, of all of them.
const IN_ALL: Rate = Rate::new(2000, 4000);
/// Bubbles to one server in 2.5 s, of all /64s in fair shares. `TER-107`:
/// somebody else chooses where that is, and a server of ours carries no more
/// than that for a relay.
const TO_SERVER: u16 = 200;
/// Bubbles to one silent peer: the first and three repeats.
const ATTEMPTS: u8 = 4;

/// A relay. `P` holds the peers, `Q` those that are being asked.
#[derive(Clone)]
pub struct Relay<P = [Peer; 256], Q = [Wait; 64]> {
    config: RelayConfig,
    link: LinkId,
    peers: PeerTable<P>,
    waits: Waits<Q>,
    by_source: Limits<1024>,
    to_server: Shares<256, 1024>,
    in_all: TokenBucket,
    key: [u64; 2],
    counters: Counters<u64>,
    now: Instant,
    seeded: bool,
    identification: u16,
    last: Last,
}

impl<P: Array<Peer>, const W: usize> Relay<P, [Wait; W]> {
    /// A relay with its tables inside.
    #[must_use]
    pub const fn new(config: RelayConfig, link: LinkId) -> Self {
        Relay::with_tables(config, link, PeerTable::new(), [Wait::EMPTY; W])
    }
}

impl<P, Q> Relay<P, Q> {
    /// A relay with tables in memory of the caller's; at most 65,536 rows of
    /// `waits` are used.
    #[must_use]
    pub const fn with_tables(config: RelayConfig, link: LinkId, peers: PeerTable<P>, waits: Q) -> Self {
        Relay {
            config,
            link,
            peers,
            waits: Waits::new(waits),
            by_source: Limits::new(BY_SOURCE),
            to_server: Shares::new(TO_SERVER),
            in_all: TokenBucket::FULL,
            key: [0; 2],
            counters: Counters::ZERO,
            now: Instant::ZERO,
            seeded: false,
            identification: 0,
            last: Last::Seen,
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<u64> {
        &self.counters
    }

    /// The peers.
    #[must_use]
    pub fn peers(&self) -> &PeerTable<P> {
        &self.peers
    }

    /// The source of the bubbles to a peer: link-local, and a secret that only
    /// who gets the bubble knows. `TER-94`, `TER-102`
    #[must_use]
    fn bubble_source(&self, peer: &Ipv6Addr) -> Ipv6Addr {
        secret_source(self.key, peer)
    }
}

impl<P: Storage<Peer>, Q: Storage<Wait>> Relay<P, Q> {
    fn clamp(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// A packet of a native host to a client. `TER-90 [RFC 4380 §5.4.1]`
    fn send(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        let Outgoing { source, destination, next_header, fits } = ingress::outgoing(packet)?;
        let is_served = self.config.serves(&source);
        let place = self.peers.place(&destination);
        // (1), of most packets. Only clients that may be reached are peers.
        if let Some(place) = place
            && let Some(peer) = self.peers.at_mut(place)
            && is_served
            && fits
            && peer.is_reachable(now)
        {
            self.last = Last::Sent(Known { place, end: source, before: peer.sent(), next_header });
            peer.note_sent(now);
            let to = peer.mapping();
            return Ok(self.tunnel(to));
        }
        let client = Address::from_ipv6(&destination).ok_or(DropReason::NoRoute)?;
        // What comes back would not be forwarded to others.
        if !is_served {
            return Err(DropReason::TeredoNotServed);
        }
        let mapping = ingress::embedded_mapping(&client);
        if !self.config.reach().may_reach(&client) {
            return Err(DropReason::TeredoEmbedded);
        }
        if !fits {
            return self.too_big(packet);
        }
        // (2), which RFC 5991 §3.2 wants treated as (3).
        if self.config.trust_cone && client.flags.contains(Flags::CONE) {
            let peer = self.peers.find_or_insert_asked(now, &destination).map_err(|_| DropReason::TableFull)?;
            let before = peer.settled_at();
            peer.trust(now, mapping, false);
            peer.note_sent(now);
            self.peers.note_change_of(&destination, before);
            return Ok(self.tunnel(mapping));
        }
        // (3)
        self.wait_for(now, &source, &destination)
    }

    fn wait_for(&mut self, now: Instant, source: &Ipv6Addr, peer: &Ipv6Addr) -> Result<Verdict, DropReason> {
        let known = self.peers.find(peer);
        let running = known.and_then(|known| self.waits.of(u32::from_be_bytes(known.nonce_sent()), peer));
        let row = match running {
            Some(row) => row,
            None => {
                // TER-107, TER-45: a client that did not answer is left alone.
                if known.is_some_and(|known| !known.may_get_answer(now)) {
                    return Err(DropReason::TeredoNoAnswer);
                }
                // Before a peer makes room for one that cannot be asked.
                let (subnet, _) = halves(source);
                if !self.waits.has_room() || !self.waits.may_hold(subnet) {
                    return Err(DropReason::TableFull);
                }
                let server = server_of(peer);
                let subnet_address = Ipv6Prefix::subnet_of(source).address();
                if !self.to_server.has(now, server, subnet)
                    || !self.by_source.take(now, &subnet_address)
                    || !self.in_all.take(now, IN_ALL)
                    || !self.to_server.take(now, server, subnet)
                {
                    return Err(DropReason::RateLimited);
                }
                let entry = self.peers.find_or_insert_asked(now, peer).map_err(|_| DropReason::TableFull)?;
                let row = self.waits.begin(*peer, subnet).ok_or(DropReason::TableFull)?;
                let before = entry.settled_at();
                entry.set_settled(false);
                entry.ask();
                entry.note_bubble(now);
                // A relay needs no nonce of its own: the place holds the row.
                entry.set_nonce_sent(row.to_be_bytes());
                self.peers.note_change_of(peer, before);
                row
            }
        };
        if !self.waits.hold(row) {
            return Err(DropReason::TableFull);
        }
        let ticket = self.waits.ticket(row).ok_or(DropReason::TableFull)?;
        Ok(Verdict::Hold { ticket })
    }

    /// `NDP-60`: the sender is told, where nobody else does.
    fn too_big(&mut self, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        let reason = DropReason::PacketTooBig;
        let address = self.config.address.ok_or(reason)?;
        let kind = icmpv6::ErrorKind::PacketTooBig { mtu: u32::from(super::packet::MTU) };
        icmpv6::error_in_place(packet, address, kind).map_err(|_| reason)?;
        Ok(Verdict::Answer { via: Via::Host { link: self.link }, reason: Some(reason) })
    }

    fn tunnel(&mut self, to: SocketAddrV4) -> Verdict {
        Verdict::Tunnel { link: self.link, outer: self.outer(to) }
    }

    fn outer(&mut self, to: SocketAddrV4) -> Outer {
        self.identification = self.identification.wrapping_add(1);
        outer(self.config.local(), to, self.identification)
    }

    /// Whether [`receive`](Self::receive) would do no more with a payload that came to its
    /// port than note when its peer was heard, and deliver it as it is: that is
    /// then done. The short way of most packets.
    #[inline]
    fn is_settled_data(&mut self, now: Instant, from: SocketAddrV4, payload: &[u8]) -> bool {
        let Some(header) = ingress::data(payload) else { return false };
        // What is served is no secret source, which would say something of the peer.
        if !self.config.serves(&header.destination()) {
            return false;
        }
        // Who is trusted there may be sent to there.
        let Some(place) = self.peers.place(&header.source()) else { return false };
        match self.peers.at_mut(place) {
            Some(peer) if peer.is_settled() && peer.is_trusted_at(from) => {
                let (end, next_header) = (header.destination(), header.next_header());
                self.last = Last::Came(Known { place, end, before: peer.received(), next_header });
                peer.note_received(now);
                true
            }
            _ => false,
        }
    }

    /// What arrived at the relay's port: for the native side, or for this
    /// host. `TER-91 [RFC 4380 §5.4.2]`
    fn receive(&mut self, now: Instant, path: Path, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        if path.to.port() != self.config.port {
            return Err(DropReason::NotAddressed);
        }
        if self.is_settled_data(now, path.from, packet.as_slice()) {
            return Ok(Verdict::Deliver { link: self.link, from: Admitted::Remote });
        }
        let (datagram, header) = ingress::parse(packet.as_slice())?;
        let (source, destination) = (header.source(), header.destination());
        let bubble = is_bubble(&header);
        let secret = self.bubble_source(&source);
        let ours = Some(&secret).filter(|_| self.config.accept_symmetric);
        let inner = datagram.inner_range();
        let place = self.peers.place(&source);
        let (peer, reach) = (place.and_then(|place| self.peers.at(place)), self.config.reach());
        let case = ingress::relay(peer, ours, path.from, &header, reach)?;
        let peer = place.and_then(|place| self.peers.at_mut(place)).ok_or(DropReason::TeredoNotServed)?;
        let before = peer.settled_at();
        match case {
            // TER-95: any packet of the peer answers. Who repeats the
            // secret is verified.
            RelayCase::Mapped => peer.trust(now, path.from, destination == secret),
            RelayCase::HashedBubble => peer.trust(now, path.from, true),
        }
        let row = self.waits.of(u32::from_be_bytes(peer.nonce_sent()), &source);
        peer.set_settled(row.is_none());
        if let Some(row) = row {
            self.waits.put(row, State::Ended(Ok(())));
        }
        self.peers.note_change_of(&source, before);
        // Only now the destination: the answer to our bubble comes to its
        // source, which is nobody's.
        if bubble {
            return Ok(Verdict::Consumed { link: self.link });
        }
        if !self.config.serves(&destination) {
            return Err(DropReason::TeredoNotServed);
        }
        packet.pull_front(inner.start);
        packet.truncate(inner.end.saturating_sub(inner.start));
        Ok(Verdict::Deliver { link: self.link, from: Admitted::Remote })
    }
}

impl<P: Storage<Peer>, Q: Storage<Wait>> Machine for Relay<P, Q> {
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.clamp(now);
        self.last = Last::Seen;
        let result = self.send(now, packet);
        self.counters.settle(result)
    }

    fn decapsulate(&mut self, now: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.clamp(now);
        self.last = Last::Seen;
        let result = Path::of(outer).and_then(|path| self.receive(now, path, packet));
        self.counters.settle(result)
    }

    fn generation(&self) -> u32 {
        self.peers.changes()
    }

    fn poll_void(&mut self) -> Option<Ipv6Addr> {
        self.peers.next_void()
    }

    fn last_sends(&self) -> Option<Sends> {
        self.last.sends(&self.peers, self.link, self.config.local())
    }

    fn last_admits(&self) -> Option<Admits> {
        self.last.admits(&self.peers, self.link, self.config.local())
    }

    fn carried(&mut self, now: Instant, carried: &Carried) -> Option<Expiry> {
        let now = self.clamp(now);
        carried::note(&mut self.peers, &mut self.counters, now, carried)
    }

    fn refused(&mut self, now: Instant, reason: DropReason) -> Verdict {
        self.clamp(now);
        self.counters.settle(Err(reason))
    }

    fn handle_icmpv4(&mut self, now: Instant, _message: &mut PacketMut<'_>) -> Verdict {
        self.clamp(now);
        self.counters.settle(Err(DropReason::IcmpV4Ignored))
    }

    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let now = self.clamp(now);
        if !self.seeded {
            self.seeded = true;
            self.peers.rekey(draw_key(entropy));
            self.by_source.rekey(draw_key(entropy));
            self.to_server.rekey([draw_key(entropy), draw_key(entropy)]);
            self.waits.rekey(draw_key(entropy));
            self.key = draw_key(entropy);
        }
        // In the order of their deadlines; each leaves the list.
        let next = now.saturating_add(BUBBLE_INTERVAL);
        while let Some(row) = self.waits.first(List::Waiting) {
            let Some(wait) = self.waits.get_mut(row) else { break };
            let State::Waiting(until) = wait.state else { break };
            if until > now {
                break;
            }
            let (address, subnet) = (wait.address, wait.subnet);
            let again = wait.attempts < ATTEMPTS;
            wait.attempts = wait.attempts.saturating_add(1);
            let state = match self.peers.find_mut(&address) {
                Some(peer) if again && peer.may_get_answer(now) => {
                    if self.to_server.take(now, server_of(&address), subnet) {
                        peer.note_bubble(now);
                        State::Sending { direct: false }
                    } else {
                        // TER-107: a repeat that its /64 has no share for is as good as lost.
                        State::Waiting(next)
                    }
                }
                peer => {
                    // TER-90, TER-107: the queue goes. The entry stays as what
                    // it is, a memory that this client did not answer, and is
                    // the first to be forgotten.
                    if let Some(peer) = peer {
                        peer.give_up();
                    }
                    State::Ended(Err(DropReason::TeredoNoAnswer))
                }
            };
            self.waits.put(row, state);
        }
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        out.clear();
        while let Some(row) = self.waits.first(List::Sending) {
            let Some(&Wait { address, state: State::Sending { direct }, .. }) = self.waits.get(row) else { break };
            let mut sent = None;
            if let Some(client) = Address::from_ipv6(&address) {
                let to = match direct {
                    true => ingress::embedded_mapping(&client),
                    false => SocketAddrV4::new(client.server, SERVER_PORT),
                };
                let bubble = Bubble::new(self.bubble_source(&address), address);
                out.write_with(|writer| bubble.emit(writer))?;
                sent = Some(Transmit::tunnel(self.link, self.outer(to)));
            }
            if !direct && self.config.behind_nat {
                if let Some(wait) = self.waits.get_mut(row) {
                    wait.state = State::Sending { direct: true };
                }
            } else {
                self.waits.put(row, State::Waiting(self.now.saturating_add(BUBBLE_INTERVAL)));
            }
            if sent.is_some() {
                return Ok(sent);
            }
        }
        out.clear();
        Ok(None)
    }

    fn poll_event(&mut self) -> Option<Event> {
        while let Some(row) = self.waits.first(List::Ended) {
            let ended = self.waits.get(row).filter(|wait| wait.has_packets()).map(|wait| wait.state);
            let ticket = self.waits.ticket(row);
            self.waits.release(row);
            if let (Some(ticket), Some(State::Ended(end))) = (ticket, ended) {
                return Some(Event::of_wait(self.link, ticket, end));
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let has = |list| self.waits.first(list).is_some();
        if !self.seeded || has(List::Sending) || has(List::Ended) {
            return Some(self.now);
        }
        match self.waits.get(self.waits.first(List::Waiting)?)?.state {
            State::Waiting(until) => Some(until),
            _ => None,
        }
    }
}

/// The server in a client's address.
fn server_of(client: &Ipv6Addr) -> u32 {
    Address::from_ipv6(client).map_or(0, |client| client.server.to_bits())
}

#[cfg(test)]
mod tests;

//! A Teredo client: an IPv6 host behind a NAT. [RFC 4380 §5.2, RFC 5991, 6081]
//!
//! ```text
//! encapsulate ─ reachable peer ──────────────────────▶ Tunnel
//!             ╰ another ─ a session begins ──────────▶ Hold ─▶ Released ─▶ encapsulate again
//!                         bubbles, connectivity test       ╰─▶ Abandoned
//! handle_datagram ─ ingress::client, case by case ───▶ Deliver, Consumed, Hold
//! ```
//!
//! The machine is one of its own and not an interface of a
//! [`Node`](crate::node): a node's datapath is made of links that speak
//! protocol 41 and decide without changing, while every Teredo packet changes
//! its peer. Beside a node it takes what the node's routes (or the kernel's)
//! give it: `2001::/32` and, where there is nothing better, `::/0`.
//!
//! # What it cannot do
//!
//! Two clients behind symmetric NATs reach each other only in the pairs that
//! RFC 6081 §3 lists. Native hosts are reached only where a relay near them
//! announces `2001::/32`. The own address shows the NAT's address and port.
//! What the NAT and the networks between see, they can forge. The refresh
//! interval is configured: the optional test of RFC 4380 §5.2.7, which needs a
//! second port, is left out.

mod receive;
mod session;
mod transmit;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::time::Duration;

use self::session::{Due, End, Session, Targets, Work};
use super::addr::{Address, Flags, OBSOLETE_PREFIX, PREFIX};
use super::authentication::{Authenticator, Open};
use super::ingress::{self, is_usable, may_send_to};
use super::limit::Bucket;
use super::peer::{BUBBLE_INTERVAL, Peer, PeerTable, VALIDITY};
use super::qualify::{NatKind, Outcome, Qualification, QualifyConfig, Stage};
use super::server::{draw_key, outer};
use crate::capacity::Storage;
use crate::drop_reason::{Counters, DropReason};
use crate::engine::{Change, Entropy, Event, LearnedAddress, Machine, Transmit, Verdict, uniform};
use crate::error::EmitError;
use crate::link::Locator;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::proto41::{self, Outer};
use crate::route::{Origin, Route};
use crate::time::{Expiry, Instant};
use crate::wire::ipv6;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Servers, and how to qualify.
    pub qualify: QualifyConfig,
    /// The service port: the caller has opened it. Several clients behind one
    /// NAT need different ones.
    pub port: u16,
    /// Sends to peers whose address says cone without asking first. RFC 5991
    /// §3.2: off.
    pub trust_cone: bool,
    /// Ports of one's own for peers, behind a NAT that keeps port numbers.
    /// [RFC 6081 §5.4]
    pub port_preserving: bool,
    /// Guesses the next port of a NAT that counts. [RFC 6081 §5.5]
    pub sequential_ports: bool,
    /// Tells peers the local address too, so that those behind the same NAT
    /// find it. [RFC 6081 §5.6]
    pub hairpinning: bool,
    /// Asks silent peers for a sign of life before the server is troubled.
    /// [RFC 6081 §5.7]
    pub server_load_reduction: bool,
    /// Looks for peers on the local network. RFC 4380 §5.2.8: shows this host
    /// to its neighbours, so off (`TER-52`).
    pub local_discovery: bool,
    /// Holds answers to bubbles back for 2 s after whatever was sent, by the
    /// letter of RFC 4380 §5.2.6. `TER-98`
    pub strict_bubble_timer: bool,
}

impl ClientConfig {
    /// All that helps to connect, and nothing that tells the neighbours.
    #[must_use]
    pub const fn new(server: Ipv4Addr, port: u16) -> Self {
        ClientConfig {
            qualify: QualifyConfig::new(server),
            port,
            trust_cone: false,
            port_preserving: true,
            sequential_ports: true,
            hairpinning: true,
            server_load_reduction: true,
            local_discovery: false,
            strict_bubble_timer: false,
        }
    }
}

/// What a client knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it is.
    pub stage: Stage,
    /// The NAT's kind.
    pub nat: NatKind,
    /// Whether the NAT keeps port numbers. `TER-75`
    pub port_preserving: bool,
    /// How the NAT shows the service port.
    pub mapping: Option<SocketAddrV4>,
    /// The own address.
    pub address: Option<Ipv6Addr>,
    /// When a valid packet of the server came last.
    pub server_heard: Instant,
    /// When the server is asked again, while the client is off-line.
    pub next_attempt: Option<Instant>,
    /// Peers with whom something is under way.
    pub sessions: usize,
}

/// Peers that were heard on the local network, at most. [RFC 4380 §5.2.8]
const LOCAL_PEERS: usize = 8;
/// How long they count. [RFC 4380 §5.2.4]
const LOCAL_LIFETIME: Duration = Duration::from_secs(600);
/// Bubbles to who is no Teredo peer, that wait to be written or counted.
const ANSWERS: usize = 8;
/// Retries of bubbles and of the test: three after the first.
const ATTEMPTS: u8 = 4;
/// [RFC 6081 §5.7]
const SOLICITATIONS: u8 = 3;
/// [RFC 6081 §5.4]
const PORT_REFRESH: Duration = Duration::from_secs(30);
/// [RFC 6081 §5.4]
const PORT_REFRESHES: u8 = 20;
/// How long a client behind a symmetric NAT gives its primary port before it
/// uses ports of its own. Bubbles of two ports at once would leave the peer
/// with one of them, and this client with the other.
const PRIMARY_FIRST: Duration = Duration::from_millis(500);
/// How long data waits for the nonce of a peer that is trusted already:
/// [`PRIMARY_FIRST`] there, an echo test, and the way.
const CONFIRM: Duration = Duration::from_millis(1500);
/// Connectivity tests that others cause: a second, and at once. `TER-41`
const TESTS: (u16, u16) = (4, 8);
/// Answers to bubbles: a second, and at once. `TER-98`
const BUBBLES: (u16, u16) = (50, 100);

/// A peer of local discovery.
#[derive(Clone, Copy, Debug)]
struct LocalPeer {
    address: Ipv6Addr,
    at: SocketAddrV4,
    heard: Expiry,
}

/// A bubble to the address that a relay or a neighbour used for its own.
#[derive(Clone, Copy, Debug)]
struct Answer {
    destination: Ipv6Addr,
    to: SocketAddrV4,
    wanted: bool,
    count: u8,
    since: Instant,
}

const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// A client. `S` holds the peers; `N` says with how many something can be
/// under way at a time.
#[derive(Clone)]
pub struct Client<S = [Peer; 64], A = Open, const N: usize = 16> {
    config: ClientConfig,
    authenticator: A,
    link: LinkId,
    locator: Option<Locator>,
    qualification: Qualification,
    address: Option<Ipv6Addr>,
    /// An address is to be made of what was learned.
    form_address: bool,
    told_address: Option<Ipv6Addr>,
    told_route: bool,
    /// What a port mapping protocol has got from the NAT. `TER-72`
    port_mapping: Option<SocketAddrV4>,
    peers: PeerTable<S>,
    sessions: [Session; N],
    answers: [Answer; ANSWERS],
    local: [LocalPeer; LOCAL_PEERS],
    discover_at: Expiry,
    discover: bool,
    tests: Bucket,
    bubbles: Bucket,
    counters: Counters<u64>,
    now: Instant,
    seeded: bool,
    identification: u16,
}

impl<S: crate::capacity::Array<Peer>, const N: usize> Client<S, Open, N> {
    /// A client without IPv4 address: [`set_locator`](Self::set_locator)
    /// starts it.
    #[must_use]
    pub const fn new(config: ClientConfig, link: LinkId) -> Self {
        Client::with_parts(config, link, Open, PeerTable::new())
    }
}

impl<S, A, const N: usize> Client<S, A, N> {
    /// A client with secure qualification, or with peers in memory of the
    /// caller's.
    #[must_use]
    pub const fn with_parts(config: ClientConfig, link: LinkId, authenticator: A, peers: PeerTable<S>) -> Self {
        Client {
            config,
            authenticator,
            link,
            locator: None,
            qualification: Qualification::new(),
            address: None,
            form_address: false,
            told_address: None,
            told_route: false,
            port_mapping: None,
            peers,
            sessions: [Session::FREE; N],
            answers: [Answer {
                destination: Ipv6Addr::UNSPECIFIED,
                to: NOWHERE,
                wanted: false,
                count: 0,
                since: Instant::ZERO,
            }; ANSWERS],
            local: [LocalPeer { address: Ipv6Addr::UNSPECIFIED, at: NOWHERE, heard: Expiry::at(Instant::ZERO) };
                LOCAL_PEERS],
            discover_at: Expiry::NEVER,
            discover: false,
            tests: Bucket::FULL,
            bubbles: Bucket::FULL,
            counters: Counters::ZERO,
            now: Instant::ZERO,
            seeded: false,
            identification: 0,
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The own address, once qualified.
    #[must_use]
    pub fn address(&self) -> Option<Ipv6Addr> {
        self.address
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<u64> {
        &self.counters
    }

    /// The peers.
    #[must_use]
    pub fn peers(&self) -> &PeerTable<S> {
        &self.peers
    }

    /// What the client knows of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            stage: self.qualification.stage(),
            nat: self.qualification.nat(),
            port_preserving: self.is_port_preserving(),
            mapping: self.qualification.mapping(),
            address: self.address,
            server_heard: self.qualification.last_heard(),
            next_attempt: match self.qualification.stage() {
                Stage::Offline(_) => self.qualification.deadline().instant(),
                _ => None,
            },
            sessions: self.sessions.iter().filter(|session| session.work != Work::Idle).count(),
        }
    }

    /// `TER-75 [RFC 6081 §5.4.2]`: what the first server saw is the local port.
    fn is_port_preserving(&self) -> bool {
        self.qualification.mapping().is_some_and(|mapping| mapping.port() == self.config.port)
    }

    fn is_symmetric(&self) -> bool {
        self.qualification.nat() == NatKind::Symmetric
    }

    /// Whether the NAT keeps ports, and ports of one's own help. RFC 6081 §5.4
    fn uses_random_ports(&self) -> bool {
        self.is_symmetric() && self.is_port_preserving() && self.config.port_preserving
    }

    /// Whether the NAT may count ports, and a guess may help. RFC 6081 §5.5
    fn guesses_ports(&self) -> bool {
        self.is_symmetric() && !self.is_port_preserving() && self.config.sequential_ports
    }

    fn locators(&self) -> &[Locator] {
        self.locator.as_slice()
    }
}

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// The IPv4 address that the client sends from; `None`: there is none.
    /// May change at any time: the client then begins anew, and what was held
    /// is abandoned.
    pub fn set_locator(&mut self, now: Instant, locator: Option<Locator>) {
        let now = self.clamp(now);
        if self.locator == locator {
            return;
        }
        self.locator = locator;
        self.port_mapping = None;
        self.forget(DropReason::NoLocator);
        match locator {
            Some(_) => self.qualification.start(now, &self.config.qualify),
            None => self.qualification.stop(),
        }
    }

    /// Other servers: the name that stands for them leads elsewhere. The client
    /// begins anew, and what was held is abandoned. `secondary` as in
    /// [`QualifyConfig::secondary`].
    pub fn set_servers(&mut self, now: Instant, server: Ipv4Addr, secondary: Option<Ipv4Addr>) {
        let qualify = &mut self.config.qualify;
        if (qualify.server, qualify.secondary) != (server, secondary) {
            (qualify.server, qualify.secondary) = (server, secondary);
            self.restart(now);
        }
    }

    /// Begins anew, as after the network changed.
    pub fn restart(&mut self, now: Instant) {
        let now = self.clamp(now);
        if self.locator.is_some() {
            self.forget(DropReason::TeredoUnqualified);
            self.qualification.start(now, &self.config.qualify);
        }
    }

    /// What a port mapping protocol (UPnP, PCP) has got from the NAT for the
    /// service port; `None`: nothing, or no longer. `TER-72 [RFC 6081 §5.3]`
    pub fn port_mapped(&mut self, mapping: Option<SocketAddrV4>) {
        // TER-73: behind a single NAT it is what the server sees anyway.
        let seen = self.qualification.mapping();
        self.port_mapping = mapping.filter(|mapping| mapping.port() != 0 && Some(*mapping) != seen);
    }

    /// The caller could not open a port that it was told to.
    pub fn port_failed(&mut self, now: Instant, port: u16) {
        self.clamp(now);
        for session in self.sessions.iter_mut().filter(|session| session.own_port == port && port != 0) {
            session.close_port();
            session.told_port = 0;
        }
    }

    fn clamp(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.count(reason);
        Verdict::Drop(reason)
    }

    /// The mapping is gone: no address, no peer, nothing under way.
    fn forget(&mut self, reason: DropReason) {
        self.address = None;
        self.form_address = false;
        self.peers.clear();
        for session in &mut self.sessions {
            session.finish(End::Abandoned(reason));
            session.close_port();
            session.due = Due::empty();
            session.targets = Targets::empty();
        }
        for answer in &mut self.answers {
            answer.wanted = false;
        }
        self.discover = false;
        self.discover_at = Expiry::NEVER;
    }

    /// A packet from the inside. Section 4.6 in its order. [RFC 4380 §5.2.4]
    fn send(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        let header = ingress::outgoing(packet.as_slice())?;
        let (source, destination) = (header.source(), header.destination());
        // F7: no routing header goes out that would not be let in.
        ipv6::upper_layer(packet.as_slice())?;
        let address = self.address.ok_or(DropReason::TeredoUnqualified)?;
        if source != address {
            return Err(DropReason::SourceUnusable);
        }
        if destination.is_multicast() {
            return Err(DropReason::Multicast);
        }
        if !ingress::fits(packet) {
            return Err(DropReason::PacketTooBig);
        }
        if destination == address || destination.is_unspecified() || destination.is_loopback() {
            return Err(DropReason::DestinationRefused);
        }
        // Case 1.
        let mut idle = false;
        if let Some(peer) = self.peers.find_mut(&destination) {
            if peer.is_reachable(now) {
                peer.note_sent(now);
                let (mapping, direct) = (peer.mapping(), peer.direct());
                return self.tunnel(&destination, mapping, direct, packet);
            }
            // TER-85: silent in both directions.
            idle = peer.is_trusted() && !peer.was_sent_within(now, VALIDITY) && peer.nonce_received() != [0; 4];
        }
        let teredo = Address::from_ipv6(&destination);
        let Some(teredo) = teredo else {
            // TER-7: an address of the old prefix is no peer, and no native
            // host.
            if !ingress::is_native_global(&destination) || OBSOLETE_PREFIX.contains(&destination) {
                return Err(DropReason::NextHopUnresolvable);
            }
            // Case 2.
            return self.wait_for(now, &destination, Work::Test);
        };
        // Case 3.
        if self.local_peer(now, &destination).is_some() {
            return self.wait_for(now, &destination, Work::Local);
        }
        // TER-40, TER-4: where its mapping and its server are.
        let mapping = ingress::embedded_mapping(&teredo);
        let bogons = self.config.qualify.accept_bogons;
        if !may_send_to(mapping, self.locators(), bogons) || !is_usable(teredo.server, bogons) {
            return Err(DropReason::TeredoEmbedded);
        }
        // Case 4, which RFC 5991 §3.2 wants treated as case 5.
        if self.config.trust_cone && teredo.flags.contains(Flags::CONE) {
            let peer = self.peers.find_or_insert(now, &destination).map_err(|_| DropReason::TableFull)?;
            peer.note_sent(now);
            return self.tunnel(&destination, mapping, (false, false), packet);
        }
        // TER-85
        if idle && self.config.server_load_reduction {
            return self.wait_for(now, &destination, Work::Solicit);
        }
        // Case 5.
        self.wait_for(now, &destination, Work::Bubbles)
    }

    /// Sends a data packet: from the port that the mapping was learned on.
    fn tunnel(
        &mut self,
        peer: &Ipv6Addr,
        mapping: SocketAddrV4,
        direct: (bool, bool),
        packet: &mut PacketMut<'_>,
    ) -> Result<Verdict, DropReason> {
        // TER-101 [RFC 6081 §6.3]
        let port = match direct {
            (false, true) => self.session(peer).map(|session| session.own_port).filter(|port| *port != 0),
            _ => None,
        };
        let outer = self.outer(port.unwrap_or(self.config.port), mapping);
        proto41::encapsulate(packet, &outer).map_err(|_| DropReason::NoHeadroom)?;
        Ok(Verdict::Tunnel { link: self.link, outer })
    }

    fn outer(&mut self, port: u16, to: SocketAddrV4) -> Outer {
        self.identification = self.identification.wrapping_add(1);
        let from = self.locator.map_or(Ipv4Addr::UNSPECIFIED, |locator| locator.address);
        outer(SocketAddrV4::new(from, port), to, self.identification)
    }

    /// A packet from the inside waits until the peer is reachable.
    fn wait_for(&mut self, now: Instant, peer: &Ipv6Addr, work: Work) -> Result<Verdict, DropReason> {
        let row = self.session_for(now, peer, true)?;
        let entry = self.peers.find_or_insert(now, peer).map_err(|_| DropReason::TableFull)?;
        let Some(session) = self.sessions.get_mut(row) else { return Err(DropReason::TableFull) };
        if session.work == Work::Idle {
            // TER-45: four times in 300 s without an answer are enough. That is
            // a rule for bubbles: a native host may be asked for again.
            if work != Work::Test && !entry.may_get_answer(now) {
                return Err(DropReason::TeredoNoAnswer);
            }
            entry.ask();
            // TER-45: not within 2 s of what was sent last.
            let begins = if entry.may_get_bubble(now) { now } else { now.saturating_add(BUBBLE_INTERVAL) };
            session.work = work;
            session.attempts = 0;
            session.deadline = Expiry::at(begins);
        }
        let ticket = session.hold(now, row, false).ok_or(DropReason::TableFull)?;
        self.attempt(now, row);
        Ok(Verdict::Hold { ticket })
    }

    /// Sends once more what a session's work wants, if that is due; or gives
    /// up.
    fn attempt(&mut self, now: Instant, row: usize) {
        let symmetric = self.is_symmetric();
        let preserving = self.uses_random_ports();
        let behind_cone = self.qualification.nat() == NatKind::Cone;
        let Some(session) = self.sessions.get_mut(row).filter(|session| session.deadline.is_due(now)) else { return };
        session.deadline = Expiry::NEVER;
        if session.work == Work::Confirm {
            // A peer without RFC 6081 has no nonce to tell.
            session.finish(End::Released);
            return;
        }
        let limit = if session.work == Work::Solicit { SOLICITATIONS } else { ATTEMPTS };
        if session.work == Work::Solicit && session.attempts >= limit {
            // TER-85: as a new connection.
            session.work = Work::Bubbles;
            session.attempts = 0;
        }
        let entry = self.peers.find_mut(&session.address).filter(|_| session.work != Work::Idle);
        let may = |entry: &&mut Peer| session.work == Work::Test || entry.may_get_answer(now);
        let Some(entry) = entry.filter(may).filter(|_| session.attempts < ATTEMPTS) else {
            session.finish(End::Abandoned(DropReason::TeredoNoAnswer));
            session.close_port();
            return;
        };
        session.attempts = session.attempts.saturating_add(1);
        session.deadline = Expiry::at(now.saturating_add(BUBBLE_INTERVAL));
        match session.work {
            // A question to a known peer, which RFC 6081 §5.7 limits itself.
            Work::Solicit => entry.note_sent(now),
            _ => entry.note_bubble(now),
        }
        match session.work {
            Work::Idle | Work::Confirm => {}
            Work::Test => session.due.insert(Due::DRAW | Due::ECHO),
            Work::Local => session.due.insert(Due::LOCAL | Due::LOCAL_GROUP),
            Work::Solicit => session.due.insert(Due::SOLICIT),
            Work::Bubbles => {
                session.due.insert(Due::DRAW | Due::INDIRECT);
                // A direct one opens our NAT for the answer; a cone NAT is open.
                if !behind_cone {
                    session.targets.insert(Targets::EMBEDDED);
                }
                if session.peer_port != 0 && (preserving || !symmetric) {
                    session.targets.insert(Targets::RANDOM);
                }
            }
        }
    }

    /// The row of a peer.
    fn session(&self, peer: &Ipv6Addr) -> Option<&Session> {
        self.sessions.iter().find(|session| session.address == *peer && !session.is_free())
    }

    fn session_mut(&mut self, peer: &Ipv6Addr) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.address == *peer && !session.is_free())
    }

    /// The row of a peer, or one that is made for it. What outsiders begin
    /// takes no more than half of the rows, and no row from anybody.
    fn session_for(&mut self, now: Instant, peer: &Ipv6Addr, own: bool) -> Result<usize, DropReason> {
        if let Some(row) = self.sessions.iter().position(|session| session.address == *peer && !session.is_free()) {
            return Ok(row);
        }
        let outsiders = self.sessions.iter().filter(|session| session.is_outsiders()).count();
        if !own && outsiders.saturating_mul(2) >= N {
            return Err(DropReason::RateLimited);
        }
        let idle = self.sessions.iter().enumerate().filter(|(_, session)| session.is_idle());
        let row = idle.min_by_key(|(_, session)| (!session.is_free(), session.last_use())).map(|(row, _)| row);
        let row = row.ok_or(DropReason::TableFull)?;
        if let Some(session) = self.sessions.get_mut(row) {
            session.claim(now, *peer);
        }
        Ok(row)
    }

    fn local_peer(&self, now: Instant, peer: &Ipv6Addr) -> Option<SocketAddrV4> {
        let found = self.local.iter().find(|local| local.address == *peer && !local.heard.is_due(now));
        found.map(|local| local.at).filter(|_| self.config.local_discovery)
    }

    /// The mapping was learned, or is another one.
    fn take_mapping(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::None => {}
            Outcome::Qualified | Outcome::Moved => {
                // TER-36: the old address is invalid at once.
                if outcome == Outcome::Moved || self.address.is_some() {
                    self.forget(DropReason::TeredoUnqualified);
                }
                self.form_address = true;
                // TER-73: a single NAT needs no other mapping.
                if self.port_mapping.is_some() && self.port_mapping == self.qualification.mapping() {
                    self.port_mapping = None;
                }
            }
            Outcome::Lost => self.forget(DropReason::TeredoUnqualified),
        }
    }

    /// `TER-2 [RFC 5991 §3.1]`: 12 random bits for each address formed.
    fn form_address(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.form_address = false;
        let Some(mapping) = self.qualification.mapping() else { return };
        let mut random = [0; 2];
        entropy.fill(&mut random);
        let mut flags = Flags::from_random(u16::from_be_bytes(random));
        flags.set(Flags::CONE, self.qualification.nat() == NatKind::Cone);
        let address =
            Address { server: self.qualification.server(), flags, port: mapping.port(), client: *mapping.ip() };
        self.address = Some(address.to_ipv6());
        if self.config.local_discovery {
            self.discover_at = Expiry::at(now);
        }
    }

    /// Draws what a session's packets need.
    fn draw(&mut self, now: Instant, row: usize, entropy: &mut dyn Entropy) {
        let (random_ports, guesses) = (self.uses_random_ports(), self.guesses_ports());
        let service_port = self.config.port;
        let Some(session) = self.sessions.get_mut(row) else { return };
        session.due.remove(Due::DRAW);
        let Some(peer) = self.peers.find_mut(&session.address) else {
            session.due = Due::empty();
            session.targets = Targets::empty();
            return;
        };
        let trusted = peer.is_trusted();
        let direct = session.targets.intersects(Targets::RANDOM | Targets::FROM_RANDOM);
        let indirect = session.due.contains(Due::INDIRECT);
        let wants_port = (random_ports && (indirect || direct)) || (guesses && indirect);
        if wants_port && !trusted && session.own_port == 0 {
            // TER-76 [RFC 6081 §5.4.4.2]
            session.own_port = draw_port(entropy, service_port);
        }
        if guesses
            && session.due.contains(Due::INDIRECT)
            && !trusted
            && session.predicted == 0
            && session.echo.count < 2
        {
            // TER-80 [RFC 6081 §5.5.4.1]: instead of the indirect bubble.
            session.due.remove(Due::INDIRECT);
            if session.echo.until == Expiry::NEVER {
                let mut nonces = [0; 16];
                entropy.fill(&mut nonces);
                let [a, b, c, d, e, f, g, h, second @ ..] = nonces;
                session.echo.nonces = [[a, b, c, d, e, f, g, h], second];
                session.echo.ports = [0; 2];
                session.echo.count = session.echo.count.saturating_add(1);
                let wait = Duration::from_secs(u64::from(session.echo.count));
                session.echo.until = Expiry::at(now.saturating_add(wait));
                session.due.insert(Due::PROBE_LOWER | Due::PROBE_PEER | Due::PROBE_UPPER);
            }
        }
        if session.due.contains(Due::INDIRECT) {
            // TER-70: a new one for each, never zero. F5, F20: a peer that is
            // trusted keeps what it was trusted for.
            let mut nonce = [0; 4];
            entropy.fill(&mut nonce);
            let [a, b, c, d] = nonce;
            peer.set_nonce_sent(if nonce == [0; 4] { [1, 0, 0, 0] } else { [a, b, c, d] });
        }
        if session.due.contains(Due::ECHO) {
            // TER-97: provisional from here on. Not so a peer that is being
            // heard: else anybody could stop its packets by a forged one. The
            // answer moves it all the same, if a relay has changed.
            let mut nonce = [0; 8];
            entropy.fill(&mut nonce);
            if peer.is_reachable(now) { peer.set_test_nonce(nonce) } else { peer.begin_test(nonce) }
        }
    }

    /// A session's other deadlines: the echo test and the refresh of ports.
    fn ports_due(&mut self, now: Instant, row: usize) {
        let preserving = self.uses_random_ports();
        let Some(session) = self.sessions.get_mut(row) else { return };
        if session.later.is_due(now) {
            session.later = Expiry::NEVER;
            let trusted = self.peers.find(&session.address).is_none_or(Peer::is_trusted);
            if !trusted {
                // Who began has sent its indirect bubble.
                if session.work == Work::Idle {
                    session.due.insert(Due::DRAW | Due::INDIRECT);
                }
                // RFC 6081 §5.4.4.3 is silent about a peer that is behind no
                // symmetric NAT. What it sends to the random port comes in only
                // if something went out there before. Not so to a peer with a
                // random port: the NAT would then keep our port for this
                // destination, and not for that one.
                if preserving && session.peer_port == 0 {
                    session.due.insert(Due::DRAW);
                    session.targets.insert(Targets::FROM_RANDOM);
                }
            }
        }
        if session.echo.until.is_due(now) {
            session.echo.until = Expiry::NEVER;
            // TER-82: with a second failure the bubble goes anyway.
            session.due.insert(Due::DRAW | Due::INDIRECT);
        }
        if session.refresh_at.is_due(now) {
            // TER-75 [RFC 6081 §5.4.3]
            let sent = self.peers.find(&session.address).is_some_and(|peer| peer.was_sent_within(now, PORT_REFRESH));
            session.refreshes = if sent { 0 } else { session.refreshes.saturating_add(1) };
            if session.refreshes > PORT_REFRESHES || self.peers.find(&session.address).is_none() {
                session.close_port();
            } else {
                session.refresh_at = Expiry::at(now.saturating_add(PORT_REFRESH));
                if !sent {
                    session.targets.insert(Targets::MAPPING);
                }
            }
        }
    }

    /// Local discovery. `[RFC 4380 §5.2.8]`: 200 to 300 s apart.
    fn discover(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.discover_at.is_due(now) {
            self.discover = true;
            let wait = uniform(entropy, Duration::from_secs(200), Duration::from_secs(300));
            self.discover_at = Expiry::at(now.saturating_add(wait));
        }
    }

    fn has_packet(&self) -> bool {
        self.qualification.wanted(&self.config.qualify).is_some()
            || self.discover
            || self.answers.iter().any(|answer| answer.wanted)
            || self.sessions.iter().any(Session::has_packet)
    }

    fn has_event(&self) -> bool {
        self.told_address != self.address
            || self.told_route != self.address.is_some()
            || self.sessions.iter().any(Session::has_event)
    }
}

/// An ephemeral port that is not the service port. [RFC 6335 §6]
fn draw_port(entropy: &mut dyn Entropy, other_than: u16) -> u16 {
    let mut drawn = [0; 2];
    entropy.fill(&mut drawn);
    let port = u16::from_be_bytes(drawn) | 0xc000;
    if port == other_than { port ^ 1 } else { port }
}

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Machine for Client<S, A, N> {
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.clamp(now);
        self.counters.entered = self.counters.entered.wrapping_add(1);
        match self.send(now, packet) {
            Ok(verdict) => {
                let counter = match verdict {
                    Verdict::Tunnel { .. } => &mut self.counters.tunnelled,
                    _ => &mut self.counters.consumed,
                };
                *counter = counter.wrapping_add(1);
                verdict
            }
            Err(reason) => self.drop(reason),
        }
    }

    fn decapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        match ingress::take_udp(packet) {
            Ok(path) => self.handle_datagram(now, path, packet),
            Err(reason) => {
                self.counters.entered = self.counters.entered.wrapping_add(1);
                self.drop(reason)
            }
        }
    }

    /// F5: nobody's word ends a test or moves a peer, so nothing is done.
    fn handle_icmpv4(&mut self, now: Instant, _message: &mut PacketMut<'_>) -> Verdict {
        self.clamp(now);
        self.counters.entered = self.counters.entered.wrapping_add(1);
        self.drop(DropReason::IcmpV4Ignored)
    }

    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let now = self.clamp(now);
        if !self.seeded {
            self.seeded = true;
            self.peers.rekey(draw_key(entropy));
        }
        let outcome = self.qualification.handle_timeout(now, &self.config.qualify, entropy);
        self.take_mapping(outcome);
        if self.form_address {
            self.form_address(now, entropy);
        }
        self.discover(now, entropy);
        for row in 0..N {
            self.attempt(now, row);
            self.ports_due(now, row);
            if self.sessions.get(row).is_some_and(|session| session.due.contains(Due::DRAW)) {
                self.draw(now, row, entropy);
            }
        }
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        self.write_next(out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        let link = self.link;
        if self.told_route && self.address.is_none() {
            self.told_route = false;
            return Some(Event::Route { change: Change::Removed, route: default_route(link) });
        }
        if self.told_address != self.address
            && let Some(old) = self.told_address.take()
        {
            return Some(Event::Address { link, change: Change::Removed, address: learned(old) });
        }
        if let Some(new) = self.address.filter(|_| self.told_address.is_none()) {
            self.told_address = Some(new);
            return Some(Event::Address { link, change: Change::Added, address: learned(new) });
        }
        if self.address.is_some() && !self.told_route {
            self.told_route = true;
            return Some(Event::Route { change: Change::Added, route: default_route(link) });
        }
        for (row, session) in self.sessions.iter_mut().enumerate() {
            if session.told_port != session.own_port {
                if session.told_port != 0 {
                    let port = core::mem::take(&mut session.told_port);
                    return Some(Event::ClosePort { link, port });
                }
                session.told_port = session.own_port;
                return Some(Event::OpenPort { link, port: session.own_port });
            }
            for inbound in [false, true] {
                let ticket = session.ticket(row, inbound);
                let queue = if inbound { &mut session.inbound } else { &mut session.outbound };
                match queue.end.take() {
                    Some(End::Released) => return Some(Event::Released { link, ticket }),
                    Some(End::Abandoned(reason)) => return Some(Event::Abandoned { link, ticket, reason }),
                    None => {}
                }
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let draws = self.sessions.iter().any(|session| session.due.contains(Due::DRAW));
        if !self.seeded || self.form_address || draws || self.has_packet() || self.has_event() {
            return Some(self.now);
        }
        let sessions = self.sessions.iter().map(Session::next).min().unwrap_or(Expiry::NEVER);
        self.qualification.deadline().min(self.discover_at).min(sessions).instant()
    }
}

/// The own address: every Teredo address is on-link.
fn learned(address: Ipv6Addr) -> LearnedAddress {
    LearnedAddress {
        address,
        prefix_length: PREFIX.length(),
        preferred_until: Expiry::NEVER,
        valid_until: Expiry::NEVER,
    }
}

/// Native hosts are reached over the link too, each as its own next hop.
fn default_route(link: LinkId) -> Route {
    Route::on_link(Ipv6Prefix::DEFAULT, link, Origin::Automatic)
}

#[cfg(test)]
mod tests;

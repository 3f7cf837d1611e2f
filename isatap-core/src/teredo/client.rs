//! A Teredo client: an IPv6 host behind a NAT. [RFC 4380 §5.2, RFC 5991, 6081]
//!
//! ```text
//! encapsulate ─ reachable peer ──────────────────────▶ Tunnel
//!             ╰ another ─ a session begins ──────────▶ Hold ─▶ Released ─▶ encapsulate again
//!                         bubbles, connectivity test       ╰─▶ Abandoned
//! decapsulate ─ ingress::client, case by case ───────▶ Deliver, Consumed, Hold
//! ```
//!
//! The machine is one of its own and not an interface of a
//! [`Node`](crate::node): a node's datapath is made of links that speak
//! protocol 41 and decide without changing, while every Teredo packet changes
//! its peer. Beside a node it takes what the node's routes (or the kernel's)
//! give it: `2001::/32` and, where there is nothing better, `::/0`.
//!
//! # What is sent when
//!
//! Direct bubbles repeat the nonce of the peer's last indirect bubble. A
//! question ends with the first answer.
//!
//! | when | what | to |
//! |---|---|---|
//! | no address, or the server silent for 75 to 100 % of the refresh interval | solicitation, 3 times, 4 s apart | server; secondary server |
//! | a packet to a native host | echo request, 4 times, 2 s apart | server |
//! | a packet to a peer | indirect bubble with a new nonce and, unless behind a cone NAT, direct bubble; 4 times, 2 s apart | peer's server; mapping in the peer's address |
//! | a packet to a trusted peer, silent for 30 s | direct bubble that asks for a sign of life, 3 times, 2 s apart; then as before | where the peer is trusted |
//! | a packet to a neighbour of local discovery | bubble and discovery bubble, 4 times, 2 s apart | neighbour; 224.0.0.253 |
//! | an indirect bubble of a peer | direct bubbles; behind a symmetric NAT an indirect one too | mapping in its address, its random port, its alternate addresses; or where it is trusted |
//! | an indirect bubble of a relay | direct bubble, and echo request if its source is native | origin of the bubble; server |
//! | a packet of a native host that is not trusted | echo request | server |
//! | a direct bubble that asks for a sign of life | direct bubble that is one | where the peer is trusted |
//! | an answer from elsewhere without nonce (`TER-102`) | indirect bubble from a secret link-local address | peer's server |
//! | behind a symmetric NAT that keeps ports | the bubbles of a packet with the Random Port trailer, from a random port too | as above |
//! | behind one that counts ports | echo test: solicitation, direct bubble, solicitation from a random port; then the indirect bubble with the port guessed | server; peer; secondary server |
//! | a random port unused for 30 s, 20 times | direct bubble | where the peer is trusted |
//! | local discovery, each 200 to 300 s | discovery bubble | 224.0.0.253 |
//!
//! # Which pairs of NATs meet
//!
//! RFC 6081 §3, from the row to the column (`TER-105`). `+`: RFC 4380 is
//! enough; `S`: symmetric NAT support (§5.2); `U`: with a port mapping protocol
//! (§5.3); `P`: with random ports (§5.4); `Q`: with those and the echo test
//! (§5.5); `-`: never.
//!
//! | from \ to | cone | address-restricted | port-restricted | opened, port-restricted | opened, symmetric | port-preserving symmetric | sequential symmetric | port-symmetric | address-symmetric |
//! |---|---|---|---|---|---|---|---|---|---|
//! | cone | + | + | + | + | S | S | S | S | S |
//! | address-restricted | + | + | + | + | S | S | S | S | - |
//! | port-restricted | + | + | + | + | - | P | Q | - | - |
//! | opened, port-restricted | + | + | + | + | U | - | - | - | - |
//! | opened, symmetric | S | S | - | U | U | - | - | - | - |
//! | port-preserving symmetric | S | S | P | - | - | P | Q | - | - |
//! | sequential symmetric | S | S | Q | - | - | - | - | - | - |
//! | port-symmetric | S | S | - | - | - | - | - | - | - |
//! | address-symmetric | S | - | - | - | - | - | - | - | - |
//!
//! # What it cannot do
//!
//! Native hosts are reached only where a relay near them announces
//! `2001::/32`. The own address shows the NAT's address and port. What the NAT
//! and the networks between see, they can forge.

mod answer;
mod config;
mod draw;
mod machine;
mod receive;
mod send;
mod session;
mod transmit;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use heapless::Vec;

pub use self::config::{ClientConfig, Status};
use self::session::{Ask, Due, EchoTest, Guess, How, OwnPort, Queue, Session, Targets, Work};
use super::authentication::{Authenticator, Open};
use super::carried::Last;
use super::ingress::Reach;
use super::interval::Determination;
use super::peer::{Peer, PeerTable};
use super::qualify::{NatKind, Qualification, Stage};
use crate::capacity::Storage;
use crate::drop_reason::{Counters, DropReason};
use crate::engine::limit::{Rate, TokenBucket};
use crate::link::Locator;
use crate::packet::LinkId;
use crate::time::{Duration, Expiry, Instant};

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
/// How long a port of one's own waits for a peer to be heard on it: all repeats of the peer's
/// bubbles, and the tests of the next port.
const PORT_TRIAL: Duration = Duration::from_secs(12);
/// How long a client behind a symmetric NAT gives its primary port before it
/// uses ports of its own. Bubbles of two ports at once would leave the peer
/// with one of them, and this client with the other.
const PRIMARY_FIRST: Duration = Duration::from_millis(500);
/// How long data waits for the nonce of a peer that is trusted already:
/// [`PRIMARY_FIRST`] there, an echo test, and the way.
const CONFIRM: Duration = Duration::from_millis(1500);
/// Connectivity tests that others cause: a second, and at once. `TER-41`
const TESTS: Rate = Rate::new(4, 8);
/// Answers to bubbles: a second, and at once. `TER-98`
const BUBBLES: Rate = Rate::new(50, 100);

/// A peer of local discovery.
#[derive(Clone, Copy, Debug)]
struct LocalPeer {
    address: Ipv6Addr,
    at: SocketAddrV4,
    heard: Expiry,
}

/// A bubble to the address that a relay or a neighbour used for its own.
#[derive(Clone, Copy, Debug)]
struct OwedBubble {
    destination: Ipv6Addr,
    to: SocketAddrV4,
    wanted: bool,
    count: u8,
    since: Instant,
}

/// What the caller was told to have: the default route stands on the address. RTE-14
#[derive(Clone, Copy, Debug)]
enum Announced {
    Nothing,
    Address(Ipv6Addr),
    AddressAndRoute(Ipv6Addr),
}

/// The own address.
#[derive(Clone, Copy, Debug)]
enum Own {
    None,
    /// To be formed of what was learned.
    Wanted,
    Formed(Ipv6Addr),
}

/// What a port mapping protocol has got from the NAT. `TER-72`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Nothing,
    /// What the server sees. `TER-73`
    Mapping,
    Other(SocketAddrV4),
}

/// A client. `S` holds the peers; `N` says with how many something can be
/// under way at a time.
#[derive(Clone)]
pub struct Client<S = [Peer; 64], A = Open, const N: usize = 16> {
    config: ClientConfig,
    authenticator: A,
    link: LinkId,
    locator: Option<Locator>,
    qualification: Qualification,
    determination: Determination,
    own: Own,
    announced: Announced,
    opened: Opened,
    peers: PeerTable<S>,
    sessions: [Session; N],
    answers: Vec<OwedBubble, ANSWERS>,
    local: Vec<LocalPeer, LOCAL_PEERS>,
    discover_at: Expiry,
    discover: bool,
    tests: TokenBucket,
    bubbles: TokenBucket,
    counters: Counters<u64>,
    now: Instant,
    seeded: bool,
    identification: u16,
    last: Last,
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
            determination: Determination::new(),
            own: Own::None,
            announced: Announced::Nothing,
            opened: Opened::Nothing,
            peers,
            sessions: [Session::FREE; N],
            answers: Vec::new(),
            local: Vec::new(),
            discover_at: Expiry::NEVER,
            discover: false,
            tests: TokenBucket::FULL,
            bubbles: TokenBucket::FULL,
            counters: Counters::ZERO,
            now: Instant::ZERO,
            seeded: false,
            identification: 0,
            last: Last::Seen,
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
        match self.own {
            Own::Formed(address) => Some(address),
            Own::None | Own::Wanted => None,
        }
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
            nat: if self.is_without_nat() { NatKind::None } else { self.qualification.nat() },
            port_preserving: self.is_port_preserving(),
            mapping: self.qualification.mapping(),
            address: self.address(),
            server_heard: self.qualification.last_heard(),
            next_attempt: match self.qualification.stage() {
                Stage::Offline(_) => self.qualification.deadline().instant(),
                _ => None,
            },
            refresh_interval: self.refresh_interval(),
            sessions: self.sessions.iter().filter(|session| session.work != Work::Idle).count(),
        }
    }

    fn refresh_interval(&self) -> Duration {
        self.determination.interval().unwrap_or(self.config.qualify.refresh_interval)
    }

    /// `TER-75 [RFC 6081 §5.4.2]`: what the first server saw is the local port.
    fn is_port_preserving(&self) -> bool {
        self.qualification.mapping().is_some_and(|mapping| mapping.port() == self.config.port)
    }

    fn is_without_nat(&self) -> bool {
        let own = self.locator.map(|own| SocketAddrV4::new(own.address, self.config.port));
        own.is_some() && self.qualification.mapping() == own
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

    /// Whether packets to a peer behind a symmetric NAT go where its address
    /// says: ports are opened on both sides, and what others see of this
    /// client's packets is no help. `TER-74 [RFC 6081 §5.3.4]`
    fn trusts_opened_ports(&self) -> bool {
        self.is_symmetric() && self.opened == Opened::Mapping
    }

    fn reach(&self) -> Reach<'_> {
        Reach { own: self.locator.as_slice(), accept_bogons: self.config.qualify.accept_bogons }
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
        self.opened = Opened::Nothing;
        self.determination.renew();
        self.forget(DropReason::NoLocator);
        match locator {
            Some(_) => self.qualification.start(now, &self.config.qualify),
            None => self.qualification.stop(),
        }
    }

    /// Other servers: the name that stands for them leads elsewhere. The client
    /// begins anew, and what was held is abandoned. `secondary` as in
    /// [`QualifyConfig::secondary`](super::qualify::QualifyConfig::secondary).
    pub fn set_servers(&mut self, now: Instant, server: Ipv4Addr, secondary: Option<Ipv4Addr>) {
        let qualify = &mut self.config.qualify;
        if (qualify.server, qualify.secondary) != (server, secondary) {
            (qualify.server, qualify.secondary) = (server, secondary);
            self.restart(now);
        }
    }

    /// Asks the server now, whatever the timers say: for an administrator who
    /// has changed something. An address is kept while it answers.
    pub fn ask_server(&mut self, now: Instant) {
        let now = self.clamp(now);
        if self.locator.is_some() {
            self.qualification.ask_now(now);
        }
    }

    /// Begins anew, as after the network changed.
    pub fn restart(&mut self, now: Instant) {
        let now = self.clamp(now);
        if self.locator.is_some() {
            self.determination.renew();
            self.forget(DropReason::TeredoUnqualified);
            self.qualification.start(now, &self.config.qualify);
        }
    }

    /// What a port mapping protocol (UPnP, PCP) has got from the NAT for the
    /// service port; `None`: nothing, or no longer. `TER-72 [RFC 6081 §5.3]`
    pub fn port_mapped(&mut self, mapping: Option<SocketAddrV4>) {
        self.opened = mapping.filter(|mapping| mapping.port() != 0).map_or(Opened::Nothing, Opened::Other);
        self.compare_mappings();
    }

    /// `TER-73 [RFC 6081 §5.3.5]`: behind a single NAT what was opened is what
    /// the server sees, and no other address.
    fn compare_mappings(&mut self) {
        if let Opened::Other(mapping) = self.opened
            && self.qualification.mapping() == Some(mapping)
        {
            self.opened = Opened::Mapping;
        }
    }

    /// The caller could not open a port that it was told to.
    pub fn port_failed(&mut self, now: Instant, port: u16) {
        self.clamp(now);
        if port == 0 {
            return;
        }
        if self.determination.port() == port {
            self.determination.finish();
            self.determination.told_port = 0;
        }
        for session in self.sessions.iter_mut().filter(|session| session.own_port() == port) {
            session.close_port();
            session.told_port = 0;
        }
    }

    fn clamp(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// The mapping is gone: no address, nobody believed, nothing under way.
    fn forget(&mut self, reason: DropReason) {
        self.own = Own::None;
        self.determination.stop();
        self.peers.distrust_all();
        for session in &mut self.sessions {
            session.finish(Err(reason));
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
}

#[cfg(test)]
mod tests;

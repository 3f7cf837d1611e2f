//! The TCP of one node: smoltcp's, and which program has which socket.
//!
//! Which addresses are the node's, and where packets go, is the node's business: the stack takes every
//! address for its own and hands out what it sends.

mod segment;
mod system;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use isatap_core::time::Instant;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpListenEndpoint};

use self::segment::Segment;
pub(in super::super) use self::segment::tcp_of;
use self::wire::Wire;
use super::{Spoken, User};
use crate::portproxy::{Opened, Ready};

/// Bytes that a socket holds each way.
const BUFFER: usize = 16 * 1024;
/// The first port that a node connects from.
const FIRST_PORT: u16 = 40_000;

/// A node's TCP.
pub(super) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    users: BTreeMap<SocketHandle, User>,
    /// Where programs listen, and which.
    listeners: Vec<(SocketAddr, User)>,
    /// Sockets that are to connect, to where, and from which port.
    dialled: Vec<(SocketHandle, SocketAddr, u16)>,
    /// Those to where no address of the node leads.
    lost: BTreeSet<SocketHandle>,
    /// Whom the port proxy has for clients; a socket that was reset has forgotten it.
    clients: BTreeMap<SocketHandle, IpAddr>,
    /// What the last segment to each socket acknowledged.
    acknowledged: BTreeMap<SocketHandle, u32>,
    next_port: u16,
    /// A program has done something since that was asked.
    is_changed: bool,
}

/// What a socket is to its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Connecting,
    Open,
    /// Both directions have ended.
    Over,
    /// It was reset, or never came to be.
    Broken,
}

impl Stack {
    pub(super) fn new(seed: u64) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        interface.set_any_ip(true);
        Stack {
            interface,
            sockets: SocketSet::new(Vec::new()),
            wire,
            users: BTreeMap::new(),
            listeners: Vec::new(),
            dialled: Vec::new(),
            lost: BTreeSet::new(),
            clients: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            next_port: FIRST_PORT,
            is_changed: false,
        }
    }

    /// The node's addresses are these: what goes there never leaves it.
    pub(super) fn set_own(&mut self, own: Vec<IpAddr>) {
        self.wire.own = own;
    }

    /// A program listens there; at an unspecified address at all of that version.
    pub(super) fn listen(&mut self, at: SocketAddr, user: User) {
        self.listeners.push((at, user));
    }

    /// A packet with a TCP segment has come.
    pub(super) fn receive(&mut self, packet: &[u8]) {
        self.wire.incoming.push_back(packet.to_vec());
    }

    /// What was sent and told since the last call.
    pub(super) fn take_spoken(&mut self) -> Vec<Spoken> {
        std::mem::take(&mut self.wire.spoken)
    }

    pub(super) fn tell(&mut self, text: String) {
        self.wire.spoken.push(Spoken::Event(text));
    }

    pub(super) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let due = self.interface.poll_at(time(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(due.total_micros()).unwrap_or(0)))
    }

    /// Takes what has come and sends what is due. `source`: from which address a destination is reached.
    pub(super) fn poll(&mut self, now: Instant, source: &dyn Fn(IpAddr) -> Option<IpAddr>) {
        for (handle, to, port) in std::mem::take(&mut self.dialled) {
            let source = if self.is_own(to.ip()) { Some(to.ip()) } else { source(to.ip()) };
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            let local = |source: IpAddr| IpListenEndpoint { addr: Some(source.into()), port };
            let begun =
                source.map(|source| socket.connect(self.interface.context(), IpEndpoint::from(to), local(source)));
            if !matches!(begun, Some(Ok(()))) {
                self.lost.insert(handle);
            }
        }
        loop {
            let segment = self.wire.incoming.front().and_then(|packet| Segment::of(packet));
            if segment.as_ref().is_some_and(|segment| self.is_repeated(segment)) {
                self.wire.incoming.pop_front();
                continue;
            }
            let opened = segment.and_then(|segment| self.open(&segment));
            let was = self.interface.poll_ingress_single(time(now), &mut self.wire, &mut self.sockets);
            if let Some(handle) = opened.filter(|handle| self.socket(*handle).state() == State::Listen) {
                self.remove(handle);
            }
            while self.interface.poll_egress(time(now), &mut self.wire, &mut self.sockets) != PollResult::None {}
            if was == PollIngressSingleResult::None {
                break;
            }
        }
        let is_closed = |handle: &SocketHandle| {
            !self.users.contains_key(handle) && self.sockets.get::<Socket<'_>>(*handle).state() == State::Closed
        };
        let closed: Vec<SocketHandle> = self.sockets.iter().map(|(handle, _)| handle).filter(is_closed).collect();
        closed.into_iter().for_each(|handle| self.remove(handle));
    }

    /// Whether a segment says nothing but what the one before it said, to a socket whose end alone is on the
    /// way. By three of these smoltcp 0.14 forgets that it has to send an end again which was lost.
    fn is_repeated(&mut self, segment: &Segment) -> bool {
        let Some(handle) = self.find(segment) else { return false };
        let before = self.acknowledged.insert(handle, segment.acknowledged);
        let socket = self.socket(handle);
        let has_ended = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
        segment.is_bare && has_ended && socket.send_queue() == 0 && before == Some(segment.acknowledged)
    }

    /// The socket that has this client.
    fn find(&self, segment: &Segment) -> Option<SocketHandle> {
        let (local, remote) = (Some(segment.to.into()), Some(segment.from.into()));
        let mut sockets = self.sockets.iter().map(|(handle, _)| (handle, self.socket(handle)));
        let found = sockets.find(|(_, socket)| socket.local_endpoint() == local && socket.remote_endpoint() == remote);
        found.map(|(handle, _)| handle)
    }

    /// A socket for what a SYN asks for. Only then, so that there is one for each client; `None`: nobody
    /// listens there, or the client has one.
    fn open(&mut self, segment: &Segment) -> Option<SocketHandle> {
        if !segment.is_syn || self.find(segment).is_some() {
            return None;
        }
        let at = |place: SocketAddr| place.port() == segment.to.port() && place.is_ipv4() == segment.to.is_ipv4();
        let of = |is_here: fn(IpAddr, IpAddr) -> bool| {
            let mut listeners = self.listeners.iter();
            listeners.find(|(place, _)| at(*place) && is_here(place.ip(), segment.to.ip()))
        };
        // PPX-9: one address before all.
        let (_, user) = *of(|place, to| place == to).or_else(|| of(|place, _| place.is_unspecified()))?;
        let handle = self.add(user);
        self.sockets.get_mut::<Socket<'_>>(handle).listen(IpEndpoint::from(segment.to)).ok()?;
        Some(handle)
    }

    fn add(&mut self, user: User) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let handle = self.sockets.add(socket);
        self.users.insert(handle, user);
        handle
    }

    fn remove(&mut self, handle: SocketHandle) {
        self.users.remove(&handle);
        self.lost.remove(&handle);
        self.clients.remove(&handle);
        self.acknowledged.remove(&handle);
        self.sockets.remove(handle);
    }

    /// Begins to connect, when it is polled next. Our own end as well, where that is on this node.
    pub(super) fn dial(&mut self, to: SocketAddr, user: User) -> Opened<SocketHandle> {
        let handle = self.add(user);
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        self.dialled.push((handle, to, port));
        self.is_changed = true;
        Opened { stream: handle, own: self.is_own(to.ip()).then(|| SocketAddr::new(to.ip(), port)) }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.wire.is_own(address)
    }

    /// The sockets and whose they are.
    pub(super) fn users(&self) -> Vec<(SocketHandle, User)> {
        self.users.iter().map(|(handle, user)| (*handle, *user)).collect()
    }

    /// Gives a socket to another program.
    pub(super) fn give(&mut self, handle: SocketHandle, user: User) {
        self.users.insert(handle, user);
    }

    /// Whether a program has done something since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    fn socket(&self, handle: SocketHandle) -> &Socket<'static> {
        self.sockets.get(handle)
    }

    /// The far end.
    pub(super) fn remote(&self, handle: SocketHandle) -> Option<SocketAddr> {
        self.socket(handle).remote_endpoint().map(SocketAddr::from)
    }

    /// The near end.
    pub(super) fn local(&self, handle: SocketHandle) -> Option<SocketAddr> {
        self.socket(handle).local_endpoint().map(SocketAddr::from)
    }

    /// What has become of a socket.
    pub(super) fn is(&mut self, handle: SocketHandle) -> Is {
        if self.dialled.iter().any(|(dialled, _, _)| *dialled == handle) {
            return Is::Connecting;
        }
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        match socket.state() {
            State::Listen | State::SynSent | State::SynReceived => Is::Connecting,
            // What came before the end may still be read.
            State::Closed if socket.peek(1) == Err(RecvError::InvalidState) => Is::Broken,
            State::Closed | State::TimeWait => Is::Over,
            _ => Is::Open,
        }
    }

    /// What the port proxy is told of a socket. It is told again and again; nothing is lost by that.
    pub(super) fn ready(&mut self, handle: SocketHandle) -> Ready {
        let is = self.is(handle);
        let socket = self.socket(handle);
        let is_error = is == Is::Broken;
        let ends =
            is != Is::Connecting && !matches!(socket.state(), State::Established | State::FinWait1 | State::FinWait2);
        Ready { readable: ends || socket.can_recv(), writable: is_error || socket.can_send(), ends, is_error }
    }

    /// Bytes that the peer has not acknowledged.
    pub(super) fn unacknowledged(&self, handle: SocketHandle) -> usize {
        self.socket(handle).send_queue()
    }
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX))
}

//! The TCP of one node: smoltcp's, and which program has which socket.
//!
//! Which addresses are the node's, and where packets go, is the node's business: the stack takes every
//! address for its own and hands out what it sends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use isatap_core::time::Instant;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpListenEndpoint};

use super::super::ip::{Ipv4, Ipv6, PROTOCOL_TCP};
use super::{Spoken, User};
use crate::portproxy::{Cut, End, Id, Opened, Ready, Refusal, Rule, System, Taken};
use crate::resolve::Name;
use crate::spec::{Family, ZonedAddress};

/// What every link carries, so that no segment is too big anywhere.
const MTU: usize = 1280;
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

impl System for Stack {
    type Stream = SocketHandle;
    type Piece = Infallible;

    fn has_room(&mut self, _rule: &Rule, _client: &SocketHandle, _now: Instant) -> bool {
        true
    }

    fn watch(&mut self, id: Id, client: &SocketHandle) -> Result<(), Refusal> {
        self.give(*client, User::Proxy(id, false));
        Ok(())
    }

    fn place(&self, address: &ZonedAddress, port: u16) -> Result<SocketAddr, Refusal> {
        Ok(SocketAddr::new(address.address, port))
    }

    fn addresses(&mut self, _name: &Name, _family: Family, _id: Id, _now: Instant) -> Option<Vec<IpAddr>> {
        // Scenarios with a name for a target are refused.
        Some(Vec::new())
    }

    fn connect(
        &mut self,
        _rule: &Rule,
        id: Id,
        to: SocketAddr,
        _now: Instant,
    ) -> Result<Opened<SocketHandle>, Refusal> {
        Ok(self.dial(to, User::Proxy(id, true)))
    }

    fn connected(&mut self, server: &SocketHandle) -> Result<(), Refusal> {
        match self.is(*server) {
            Is::Broken if self.lost.contains(server) => Err(Refusal::Unreachable),
            Is::Broken => Err(Refusal::Target),
            _ => Ok(()),
        }
    }

    fn ends(&self, client: &SocketHandle) -> io::Result<(SocketAddr, SocketAddr)> {
        self.remote(*client).zip(self.local(*client)).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn read(&mut self, from: &SocketHandle, buffer: &mut [u8]) -> io::Result<usize> {
        match self.sockets.get_mut::<Socket<'_>>(*from).recv_slice(buffer) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            Ok(count) => {
                self.is_changed = true;
                Ok(count)
            }
            Err(RecvError::Finished) => Ok(0),
            Err(RecvError::InvalidState) => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    fn write(&mut self, to: &SocketHandle, bytes: &[u8]) -> io::Result<usize> {
        match self.sockets.get_mut::<Socket<'_>>(*to).send_slice(bytes) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            Ok(count) => {
                self.is_changed = true;
                Ok(count)
            }
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn shutdown(&mut self, stream: &SocketHandle) -> io::Result<()> {
        self.sockets.get_mut::<Socket<'_>>(*stream).close();
        self.is_changed = true;
        Ok(())
    }

    fn take(&mut self, _from: &SocketHandle) -> io::Result<Taken<Infallible>> {
        Ok(Taken::Never)
    }

    fn give(&mut self, piece: &Infallible, _left: usize, _to: &SocketHandle) -> io::Result<usize> {
        match *piece {}
    }

    fn recycle(&mut self, piece: Infallible) {
        match piece {}
    }

    fn queued(&self, stream: &SocketHandle) -> u64 {
        self.unacknowledged(*stream) as u64
    }

    fn close(&mut self, stream: SocketHandle) {
        self.sockets.get_mut::<Socket<'_>>(stream).close();
        self.users.remove(&stream);
        self.is_changed = true;
    }

    fn reset(&mut self, stream: SocketHandle) {
        self.is_changed = true;
        self.dialled.retain(|(handle, _, _)| *handle != stream);
        let socket = self.sockets.get_mut::<Socket<'_>>(stream);
        if socket.state() == State::SynSent {
            // Nobody has answered, so there is nobody to tell.
            return self.remove(stream);
        }
        socket.abort();
        self.users.remove(&stream);
    }

    fn ended(&mut self, rule: &Rule, client: SocketAddr, end: End) {
        let at = &rule.spec.listen;
        match end {
            End::Over => {}
            End::Cut(Cut::Idle) => self.tell(format!("{at}: resets {} and its target, which were idle", client.ip())),
            End::Cut(_) => self.tell(format!("{at}: {} or its target has reset, so both are", client.ip())),
            End::Refused(why) => self.tell(format!("{at}: resets {}: {}", client.ip(), why.as_str())),
        }
    }
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX))
}

/// What is looked at in a segment that has come.
struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    acknowledged: u32,
    is_syn: bool,
    /// It acknowledges, and does nothing else.
    is_bare: bool,
}

impl Segment {
    fn of(packet: &[u8]) -> Option<Self> {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const RST: u8 = 4;
        const ACK: u8 = 16;
        let (source, destination, segment) = tcp_of(packet)?;
        let port = |at: usize| Some(u16::from_be_bytes(*segment.get(at..)?.first_chunk()?));
        let flags = *segment.get(13)? & (FIN | SYN | RST | ACK);
        let header = usize::from(*segment.get(12)? >> 4) * 4;
        Some(Segment {
            from: SocketAddr::new(source, port(0)?),
            to: SocketAddr::new(destination, port(2)?),
            acknowledged: u32::from_be_bytes(*segment.get(8..)?.first_chunk()?),
            is_syn: flags == SYN,
            is_bare: flags == ACK && segment.len() == header,
        })
    }
}

/// Source, destination and TCP segment of a packet, if it has one.
pub(in super::super) fn tcp_of(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    if let Some(packet) = Ipv6::parse(packet) {
        return (packet.next_header == PROTOCOL_TCP).then_some((
            packet.source.into(),
            packet.destination.into(),
            packet.payload,
        ));
    }
    let packet = Ipv4::parse(packet)?;
    (packet.protocol == PROTOCOL_TCP).then_some((packet.source.into(), packet.destination.into(), packet.payload))
}

/// What has come and is not taken yet, and what was sent.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    spoken: Vec<Spoken>,
    own: Vec<IpAddr>,
}

impl Wire {
    fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.own.contains(&address)
    }
}

/// A packet that has come.
struct Arrived(Vec<u8>);

/// Room for one to send.
struct Sent<'a>(&'a mut Wire);

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Arrived, Sent<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Arrived(packet), Sent(self)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Sent<'_>> {
        Some(Sent(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        let Sent(wire) = self;
        if tcp_of(&packet).is_some_and(|(_, destination, _)| wire.is_own(destination)) {
            wire.incoming.push_back(packet.clone());
            wire.spoken.push(Spoken::Inside(packet));
        } else {
            wire.spoken.push(Spoken::Packet(packet));
        }
        result
    }
}

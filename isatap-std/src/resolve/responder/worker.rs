//! The thread of a responder: datagrams, timers, WINS servers.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::links::{Check, Link, Step};
use super::server::Server;
use super::{Holding, LinkReport, ResponderSettings, Shared, lock};
use crate::resolve::NameService;
use crate::resolve::client::random_id;
use crate::resolve::discard::Discard;
use crate::resolve::interfaces::interfaces;
use crate::resolve::link_socket::{Arrival, LinkSocket};
use crate::resolve::llmnr::{self, Asked, Query, check, claim, jitter};
use crate::resolve::lookup::NAME;
use crate::resolve::message::{WireName, wire_name};
use crate::resolve::netbios::{self, Claim, NetbiosName, Saying, Verdict};
use crate::waker::Waker;

/// Datagrams of one socket in one turn.
const BATCH: usize = 64;
/// Answers that wait for their turn (NAM-22); more go out at once.
const MOST_WAITING: usize = 256;
/// How long the end waits for a server that the name is given back to; twice.
const FAREWELL: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    settings: ResponderSettings,
    name: WireName,
    listen: Option<Arc<LinkSocket>>,
    check: Option<Arc<LinkSocket>>,
    names: Option<Arc<LinkSocket>>,
    control: UnixStream,
    links: Vec<Link>,
    servers: Vec<Server>,
    waiting: Vec<Waiting>,
    shared: Arc<Mutex<Shared>>,
    waker: Waker,
}

/// An answer that waits, so that those of several responders do not collide.
struct Waiting {
    due: Instant,
    bytes: Vec<u8>,
    to: SocketAddrV4,
    from: Ipv4Addr,
    interface: u32,
}

/// Which socket a datagram came by.
#[derive(Clone, Copy)]
enum Door {
    Listen,
    Check,
    Names,
}

impl Worker {
    /// The sockets: LLMNR's port, the one for its checks, NetBIOS's port.
    pub(super) fn new(
        settings: ResponderSettings,
        [listen, check, names]: [Option<Arc<LinkSocket>>; 3],
        control: UnixStream,
        shared: Arc<Mutex<Shared>>,
        waker: Waker,
    ) -> Self {
        let now = Instant::now();
        let servers = settings.wins.iter().map(|address| Server::new(*address, now)).collect();
        let name = wire_name(&super::router_name());
        Self {
            settings,
            name,
            listen,
            check,
            names,
            control,
            links: Vec::new(),
            servers,
            waiting: Vec::new(),
            shared,
            waker,
        }
    }

    /// Finds the links, and has those who ask by TCP find them.
    pub(super) fn begin(&mut self) {
        self.follow_links();
        self.tell();
    }

    pub(super) fn run(mut self) {
        loop {
            self.do_what_is_due();
            self.tell();
            match self.wait() {
                Ok(true) => {}
                Ok(false) => break,
                // It would spin otherwise.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        self.release();
        // Who takes over the socket listens where it has addresses.
        let links = std::mem::take(&mut self.links);
        self.follow_groups(&links);
    }

    /// The links as they are now; those that are the same go on.
    fn follow_links(&mut self) {
        // What cannot be read now is read at the next change.
        let Ok(interfaces) = interfaces() else { return };
        let mut links = Vec::new();
        for interface in interfaces {
            let Ok(Some(link)) = Link::of(interface, &self.settings.addresses, &self.settings.services) else {
                continue;
            };
            let known = self.links.iter().position(|known| known.is(&link)).map(|at| self.links.swap_remove(at));
            links.push(known.unwrap_or(link));
        }
        let before = std::mem::replace(&mut self.links, links);
        self.follow_groups(&before);
        let now = Instant::now();
        self.servers.iter_mut().for_each(|server| server.hurry(now));
    }

    /// Listens on the links that there are, and on no others: the kernel counts them.
    fn follow_groups(&mut self, gone: &[Link]) {
        let Some(listen) = &self.listen else { return };
        let is_there = |index| self.links.iter().any(|link| link.llmnr.is_some() && link.interface.index == index);
        for link in gone.iter().filter(|link| link.llmnr.is_some() && !is_there(link.interface.index)) {
            // An interface that was deleted took it along.
            let _ = listen.leave(llmnr::GROUP, link.interface.index);
        }
        for link in &mut self.links {
            let Some(state) = &mut link.llmnr else { continue };
            match listen.join(llmnr::GROUP, link.interface.index) {
                Ok(()) if state.holding == Holding::Failing => {
                    if let Ok(again) = Check::begin(Instant::now(), NameService::Llmnr) {
                        *state = again;
                    }
                }
                Ok(()) => {}
                Err(_) => state.fail(),
            }
        }
    }

    /// Waits and hears; whether to go on.
    fn wait(&mut self) -> io::Result<bool> {
        let checks = self.links.iter().flat_map(|link| [&link.llmnr, &link.netbios]).flatten();
        let due = checks.filter_map(Check::deadline);
        let due = due.chain(self.servers.iter().map(|server| server.due));
        let due = due.chain(self.waiting.iter().map(|waiting| waiting.due)).min();
        let timeout = due.map_or(PollTimeout::NONE, |due| {
            // Whole milliseconds: one more, or it would be asked in vain.
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let doors = [(Door::Listen, &self.listen), (Door::Check, &self.check), (Door::Names, &self.names)];
        let open = || doors.iter().filter_map(|(door, socket)| Some((*door, socket.as_ref()?)));
        let mut fds = vec![PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        fds.extend(open().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut is_ready = fds.iter().map(|fd| fd.any().unwrap_or_default());
        let is_told = is_ready.next().unwrap_or_default();
        let ready: Vec<Door> =
            open().zip(is_ready).filter(|(_, is_ready)| *is_ready).map(|((door, _), _)| door).collect();
        if is_told {
            match self.control.read(&mut [0; 64]) {
                Ok(0) => return Ok(false),
                Ok(_) => self.follow_links(),
                Err(_) => {}
            }
        }
        for door in ready {
            self.hear(door);
        }
        Ok(true)
    }

    fn socket(&self, door: Door) -> Option<&LinkSocket> {
        match door {
            Door::Listen => self.listen.as_deref(),
            Door::Check => self.check.as_deref(),
            Door::Names => self.names.as_deref(),
        }
    }

    fn hear(&mut self, door: Door) {
        let mut buffer = vec![0; usize::from(llmnr::LARGEST)];
        for _ in 0..BATCH {
            // An error is about something that was sent: it is told once, and gone.
            let received = self.socket(door).map(|socket| socket.receive_waiting(&mut buffer));
            let Some(Ok(Some(arrival))) = received else { return };
            let bytes = buffer.get(..arrival.length).unwrap_or_default();
            let heard = match door {
                Door::Listen => self.asked(&arrival, bytes, Instant::now()),
                Door::Check => self.claimed(&arrival, bytes),
                Door::Names => self.named(&arrival, bytes),
            };
            if let Err(reason) = heard {
                lock(&self.shared).discard(reason);
            }
        }
    }

    /// The link by which something came. `None`: it comes from ourselves, or by an interface that is
    /// none of the router's.
    fn link(&mut self, arrival: &Arrival) -> Result<Option<&mut Link>, Discard> {
        let from = *arrival.from.ip();
        let link = self.links.iter_mut().find(|link| link.interface.index == arrival.interface);
        match link.filter(|link| !link.interface.has(from)) {
            Some(link) if link.interface.is_on_link(from) => Ok(Some(link)),
            Some(_) => Err(Discard::OffLink),
            None => Ok(None),
        }
    }

    /// A query by LLMNR.
    fn asked(&mut self, arrival: &Arrival, bytes: &[u8], now: Instant) -> Result<(), Discard> {
        let name = self.name.clone();
        let Some(link) = self.link(arrival)? else { return Ok(()) };
        // Unicast queries, and those to other groups, must be discarded.
        if arrival.to != llmnr::GROUP {
            return Err(Discard::WrongDestination);
        }
        let Some(query) = Query::read(bytes, &name)? else { return Ok(()) };
        let Some(state) = &mut link.llmnr else { return Ok(()) };
        if query.asked == Asked::Conflict {
            if state.holding == Holding::Held
                && let Ok(again) = Check::begin(now, NameService::Llmnr)
            {
                *state = again;
            }
            return Ok(());
        }
        if !matches!(state.holding, Holding::Held | Holding::Checking) {
            return Ok(());
        }
        let answer = query.answer(&link.addresses, state.holding == Holding::Checking);
        let bytes = answer.map_err(|_| Discard::Malformed)?.as_dgram_slice().to_vec();
        let (from, interface) = (link.address(), link.interface.index);
        let wait = if self.waiting.len() < MOST_WAITING { jitter().unwrap_or_default() } else { Duration::ZERO };
        self.waiting.push(Waiting { due: now + wait, bytes, to: arrival.from, from, interface });
        Ok(())
    }

    /// An answer to our own question whether somebody has the name.
    fn claimed(&mut self, arrival: &Arrival, bytes: &[u8]) -> Result<(), Discard> {
        let (name, now) = (self.name.clone(), Instant::now());
        let Some(link) = self.link(arrival)? else { return Ok(()) };
        if arrival.from.port() != llmnr::PORT {
            return Err(Discard::WrongPort);
        }
        let own = link.address();
        let Some(state) = &mut link.llmnr else { return Ok(()) };
        let is_tentative = claim(bytes, state.id, &name)?;
        // Of two that check at the same time the one with the lower address wins.
        let is_theirs = !is_tentative || *arrival.from.ip() < own;
        if state.holding == Holding::Checking && is_theirs {
            state.lose(now, *arrival.from.ip());
        }
        Ok(())
    }

    /// Something of NetBIOS.
    fn named(&mut self, arrival: &Arrival, bytes: &[u8]) -> Result<(), Discard> {
        let (from, now) = (*arrival.from.ip(), Instant::now());
        let is_response = bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
        let is_hybrid = !self.servers.is_empty();
        if is_response && arrival.from.port() == netbios::PORT {
            let claim = Claim { name: netbios_name(), address: self.first_address(), is_hybrid };
            let server = self.servers.iter_mut().find(|server| server.address == from);
            // A server may be a machine of the link too, and object as such.
            if server.is_some_and(|server| server.hear(now, &claim, bytes)) {
                return Ok(());
            }
        }
        let Some(link) = self.link(arrival)? else { return Ok(()) };
        let claim = Claim { name: netbios_name(), address: link.address(), is_hybrid };
        let (own, interface) = (link.address(), link.interface.index);
        let Some(state) = &mut link.netbios else { return Ok(()) };
        if is_response {
            if arrival.from.port() != netbios::PORT {
                return Err(Discard::WrongPort);
            }
            return match claim.verdict(bytes, state.id)? {
                Verdict::Refused if state.holding == Holding::Checking => {
                    state.lose(now, from);
                    Ok(())
                }
                // Only a server may say so.
                Verdict::Failed => Err(Discard::ErrorCode),
                _ => Ok(()),
            };
        }
        if state.holding != Holding::Held {
            return Ok(());
        }
        if let (Some(answer), Some(names)) = (claim.answer(bytes)?, &self.names)
            && names.send(&answer, arrival.from, own, interface).is_ok()
        {
            lock(&self.shared).answered();
        }
        Ok(())
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        let is_hybrid = !self.servers.is_empty();
        for link in &mut self.links {
            let (from, index) = (link.address(), link.interface.index);
            if let (Some(state), Some(socket)) = (&mut link.llmnr, &self.check)
                && let Ok(Some(Step::Ask)) = state.step(now)
                && let Ok(question) = check(state.id, &self.name)
                && socket.send(&question, SocketAddrV4::new(llmnr::GROUP, llmnr::PORT), from, index).is_err()
            {
                state.unsent(now);
            }
            if let (Some(state), Some(names)) = (&mut link.netbios, &self.names)
                && let Ok(Some(step)) = state.step(now)
            {
                let claim = Claim { name: netbios_name(), address: from, is_hybrid };
                let saying = if step == Step::Ask { Saying::Register } else { Saying::Overwrite };
                let bytes = claim.say(state.id, saying, true);
                let mut is_sent = false;
                for (from, to) in link.interface.broadcasts() {
                    is_sent |= names.send(&bytes, SocketAddrV4::new(to, netbios::PORT), from, index).is_ok();
                }
                if step == Step::Ask && !is_sent {
                    state.unsent(now);
                }
            }
        }
        let claim = Claim { name: netbios_name(), address: self.first_address(), is_hybrid };
        for server in &mut self.servers {
            if let (Some(saying), Some(names)) = (server.step(now), &self.names) {
                server.send(names, &claim, saying);
            }
        }
        for at in (0..self.waiting.len()).rev() {
            if self.waiting.get(at).is_some_and(|waiting| waiting.due > now) {
                continue;
            }
            let waiting = self.waiting.swap_remove(at);
            let sent = self
                .listen
                .as_ref()
                .map(|socket| socket.send(&waiting.bytes, waiting.to, waiting.from, waiting.interface));
            if matches!(sent, Some(Ok(()))) {
                lock(&self.shared).answered();
            }
        }
    }

    fn first_address(&self) -> Ipv4Addr {
        self.settings.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Says what has changed.
    fn tell(&mut self) {
        let report = |link: &Link| {
            let of = |service, check: &Option<Check>| {
                let holding = check.as_ref()?.holding;
                Some(LinkReport { interface: link.interface.name.clone(), service, holding })
            };
            [of(NameService::Llmnr, &link.llmnr), of(NameService::Netbios, &link.netbios)].into_iter().flatten()
        };
        let links: Vec<LinkReport> = self.links.iter().flat_map(report).collect();
        let wins: Vec<(Ipv4Addr, Holding)> =
            self.servers.iter().map(|server| (server.address, server.holding)).collect();
        let mut shared = lock(&self.shared);
        shared.links.clone_from(&self.links);
        if shared.report.links != links || shared.report.wins != wins {
            (shared.report.links, shared.report.wins) = (links, wins);
            self.waker.wake();
        }
    }

    /// The end: what is registered is given back.
    fn release(&mut self) {
        let Some(names) = &self.names else { return };
        let is_hybrid = !self.servers.is_empty();
        let id = random_id().unwrap_or_default();
        for link in &self.links {
            let (Some(state), from) = (&link.netbios, link.address()) else { continue };
            if state.holding != Holding::Held {
                continue;
            }
            let bytes = Claim { name: netbios_name(), address: from, is_hybrid }.say(id, Saying::Release, true);
            for (from, to) in link.interface.broadcasts() {
                let _ = names.send(&bytes, SocketAddrV4::new(to, netbios::PORT), from, link.interface.index);
            }
        }
        let claim = Claim { name: netbios_name(), address: self.first_address(), is_hybrid };
        let mut registered: Vec<&mut Server> =
            self.servers.iter_mut().filter(|server| server.holding == Holding::Held).collect();
        let mut buffer = [0; 1024];
        for _ in 0..2 {
            registered.iter_mut().for_each(|server| server.send(names, &claim, Saying::Release));
            let until = Instant::now() + FAREWELL;
            while !registered.is_empty() {
                let Ok(Some(arrival)) = names.receive(&mut buffer, until) else { break };
                let bytes = buffer.get(..arrival.length).unwrap_or_default();
                registered.retain(|server| server.address != *arrival.from.ip() || !server.released(&claim, bytes));
            }
        }
    }
}

impl Drop for Worker {
    /// However it ends, its owner is told: the waker goes after this.
    fn drop(&mut self) {
        lock(&self.shared).report.is_stopped = true;
    }
}

fn netbios_name() -> NetbiosName {
    NetbiosName::new(NAME, 0).expect("six letters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::interfaces::{Interface, InterfaceAddress};

    #[test]
    fn nam_22_each_answer_waits_for_a_random_part_of_a_tenth_of_a_second() {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let own = InterfaceAddress { address, mask: Ipv4Addr::new(255, 255, 255, 0), broadcast: None };
        let interface = Interface { name: "eth0".to_owned(), index: 2, is_multicast: true, addresses: vec![own] };
        let settings = ResponderSettings::new(vec![address], vec![NameService::Llmnr]);
        let link = Link::of(interface, &settings.addresses, &settings.services).unwrap();
        let (waker, _news) = Waker::pair().unwrap();
        let (_control, of_worker) = UnixStream::pair().unwrap();
        let mut worker = Worker::new(settings, [None, None, None], of_worker, Arc::default(), waker);
        worker.links.extend(link);
        let question = check(1, &worker.name).unwrap();
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 40000);
        let arrival = Arrival { length: question.len(), from, interface: 2, to: llmnr::GROUP };
        let now = Instant::now();
        for _ in 0..24 {
            worker.asked(&arrival, &question, now).unwrap();
        }
        let waits: Vec<Duration> = worker.waiting.iter().map(|waiting| waiting.due - now).collect();
        assert_eq!(waits.len(), 24);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(100)), "{waits:?}");
        // Of 24 all are in one half once in 2^23 runs.
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(50)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(50)), "{waits:?}");
    }
}

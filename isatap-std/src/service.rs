//! A node of the core on this machine: its links with their devices, what each link's role
//! asks of the system, and the loop that turns it all.
//!
//! One process, one set of raw sockets, as many links as the machine holds. The way in is
//! [`run`](crate::run).

mod ends;
#[cfg(feature = "control")]
pub mod evidence;
mod lan;
mod locators;
mod native;
mod plan;
mod role;
pub mod status;

pub use crate::capacity::Linux;
pub use locators::LocatorSource;

pub(crate) use role::{FixedRole, HostRole, Role};

use self::ends::{Claims, EndsAt};
use self::locators::Found;
#[cfg(feature = "control")]
use crate::control::{self, Server};
use crate::driver::attachment::Attachment;
use crate::driver::{Driver, Token};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::netlink::{Netlink, sysctl};
use crate::proto41_socket::Proto41Socket;
use crate::runtime_dir::{Claim, RuntimeDir};
use crate::signal::{Request, Signals};
use isatap_core::datapath::Switches;
use isatap_core::engine::{Entropy as _, Event};
use isatap_core::isatap::addr::{Dotted, embedded_ipv4};
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Links of a node, the native one included.
pub(crate) const LINKS: usize = 16;

const _: () = assert!(LINKS == crate::spec::MOST_LINKS + 1, "as many as the checks of a file count");

/// Each interface has its tables in memory of its own, so that a node pays for those that it
/// has, and not for those that it may have.
pub(crate) type Machine = isatap_core::node::Node<Box<AnyInterface<Linux>>, Linux, LINKS>;

// It is built on a stack, in unoptimised builds in several copies, and threads have 2 MiB.
const _: () = assert!(size_of::<Machine>() <= 64 << 10 && size_of::<AnyInterface<Linux>>() <= 64 << 10);

/// Something that who runs a node may want to see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A device carries its first address and can be used.
    Up {
        /// The device.
        device: String,
        /// Its first link-local address; where there is none, its first address.
        address: Ipv6Addr,
        /// Its MTU in bytes.
        mtu: u16,
    },
    /// Something went as it should; for logs.
    Info(String),
    /// Something does not work and may work later; the node goes on.
    Warning(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Up { device, address, mtu } => write!(f, "{device} up: {} mtu {mtu}", Dotted(*address)),
            Notice::Info(text) | Notice::Warning(text) => f.write_str(text),
        }
    }
}

/// Who is told of [`Notice`]s.
pub(crate) type Observer = Box<dyn FnMut(&Notice) + Send>;

/// A node of the core on this machine.
pub(crate) struct Node {
    driver: Driver<Machine>,
    netlink: Netlink,
    links: Vec<Link>,
    lans: Vec<lan::Lan>,
    native: LinkId,
    claims: Claims,
    observer: Observer,
    #[cfg(feature = "control")]
    server: Server,
}

/// One tunnel link.
struct Link {
    attachment: Attachment,
    role: Role,
    is_told: bool,
    // Dropped with the link: the socket goes.
    _claim: Option<Claim>,
    #[cfg(feature = "control")]
    listener: Option<control::Listener>,
}

/// What a link is to be.
struct LinkPlan<'a> {
    device: &'a str,
    metric: u32,
    interface: AnyInterface<Linux>,
    switches: Switches,
    role: Role,
    ends: EndsAt,
}

// The owner's descriptors: three for each link, then those of clients.
const PER_LINK: u32 = 4;
const MONITOR: u32 = 0;
const RESOLVER: u32 = 1;
#[cfg(feature = "control")]
const LISTENER: u32 = 2;
/// Then those of LANs.
const FIRST_LAN: u32 = 1 << 12;
#[cfg(feature = "control")]
const FIRST_CLIENT: u32 = 1 << 16;
const SIGNALS: Token = Token(u32::MAX);

impl Node {
    /// Opens the sockets, without links.
    pub(crate) fn open(socket: &crate::proto41_socket::Options, observer: Observer) -> Result<Self, Error> {
        let mut seed = [0; 16];
        OsEntropy::open()?.fill(&mut seed);
        let mut config = NodeConfig::DEFAULT;
        let halves: [u64; 2] = std::array::from_fn(|half| {
            u64::from_ne_bytes(std::array::from_fn(|byte| seed.get(half * 8 + byte).copied().unwrap_or_default()))
        });
        config.identification_seed = Some(halves);
        let mut machine = Box::new(Machine::new(config));
        let native = native::add(&mut machine)?;
        let driver = Driver::new(machine, Proto41Socket::open(socket)?)?;
        Ok(Self {
            driver,
            netlink: Netlink::open()?,
            links: Vec::new(),
            lans: Vec::new(),
            native,
            claims: Claims::default(),
            observer,
            #[cfg(feature = "control")]
            server: Server::default(),
        })
    }

    pub(crate) fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// After the last link was added.
    pub(crate) fn ready(&mut self) -> Result<(), Error> {
        self.learn_native()?;
        self.refresh_lans()?;
        self.settle()
    }

    pub(crate) fn driver_mut(&mut self) -> &mut Driver<Machine> {
        &mut self.driver
    }

    fn add(&mut self, plan: LinkPlan<'_>, runtime: Option<&RuntimeDir>) -> Result<LinkId, Error> {
        let LinkPlan { device, metric, interface, switches, role, ends } = plan;
        // Whoever has the claim may clean up; so it comes before anything is made.
        let claim = runtime.map(|runtime| runtime.claim(device)).transpose()?;
        let full = |error: isatap_core::error::TableFull| {
            Error::usage("add a link for", device, error.to_string()).with_advice("run a second process")
        };
        let id = self.driver.machine_mut().add(Box::new(interface), switches).map_err(full)?;
        if let Some(runtime) = runtime {
            let found = role.find(&self.netlink)?;
            let addresses = (role.locators().fixed(), found.locators.as_slice());
            self.claims.start(id, device, runtime, ends, addresses)?;
        }
        let (mut attachment, tun) = Attachment::open(&self.netlink, id, device, metric)?;
        if role.is_host() {
            sysctl::be_a_host(device)?;
        }
        if role.follows_routes() {
            attachment.follow_ipv4_routes()?;
        }
        self.driver.attach(id, tun)?;
        let base = self.links.len().try_into().unwrap_or(u32::MAX / PER_LINK) * PER_LINK;
        self.driver.watch(attachment.as_fd(), Token(base + MONITOR))?;
        if let Some(fd) = role.resolver_fd() {
            self.driver.watch(fd, Token(base + RESOLVER))?;
        }
        #[cfg(feature = "control")]
        let listener = claim.as_ref().map(control::Listener::open).transpose()?;
        #[cfg(feature = "control")]
        if let Some(listener) = &listener {
            self.driver.watch_edge(listener.as_fd(), Token(base + LISTENER))?;
        }
        self.links.push(Link {
            attachment,
            role,
            is_told: false,
            _claim: claim,
            #[cfg(feature = "control")]
            listener,
        });
        let at = self.links.len() - 1;
        self.with_link(at, |link, env| link.role.start(env))?;
        self.mirror(at)?;
        self.refresh(at)?;
        Ok(id)
    }

    /// Waits at most `timeout` for something to do, and does it.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> Result<Turned, Error> {
        let tokens = self.driver.turn(timeout, self.deadline())?;
        if let Some(error) = self.driver.take_capture_error() {
            self.notice(&Notice::Warning(error.to_string()));
        }
        let mut turned = Turned::default();
        for token in tokens {
            if token == SIGNALS {
                turned.signalled = true;
                continue;
            }
            #[cfg(feature = "control")]
            if let Some(client) = token.0.checked_sub(FIRST_CLIENT) {
                self.answer(client);
                continue;
            }
            if let Some(ready) = token.0.checked_sub(FIRST_LAN) {
                self.lan_ready(ready)?;
                continue;
            }
            let Ok(at) = usize::try_from(token.0 / PER_LINK) else { continue };
            match token.0 % PER_LINK {
                MONITOR => self.changed(at)?,
                RESOLVER => self.with_link(at, |link, env| link.role.resolved(env))?,
                #[cfg(feature = "control")]
                LISTENER => self.accept(at),
                _ => {}
            }
        }
        let now = self.driver.now();
        for at in 0..self.links.len() {
            if self.links.get(at).and_then(|link| link.role.deadline()).is_some_and(|due| due <= now) {
                self.with_link(at, |link, env| link.role.handle_timeout(env))?;
            }
            if self.links.get(at).and_then(|link| link.attachment.deadline()).is_some_and(|due| due <= now) {
                self.repair(at, now);
            }
            if self.links.get(at).is_some_and(|link| self.claims.is_due(now, link.attachment.link())) {
                self.refresh(at)?;
            }
        }
        #[cfg(feature = "control")]
        if self.server.expire(now) {
            (0..self.links.len()).for_each(|at| self.accept(at));
        }
        self.lan_timeouts(now)?;
        self.settle()?;
        // All of that may have set a deadline, and a loop of several waits on our descriptor.
        self.driver.rearm(self.deadline())?;
        Ok(turned)
    }

    /// The earliest deadline that is not the machine's.
    fn deadline(&self) -> Option<Instant> {
        let of_links = self.links.iter().flat_map(|link| [link.role.deadline(), link.attachment.deadline()]);
        let others = of_links.chain(self.lans.iter().map(lan::Lan::deadline)).chain([self.claims.deadline()]);
        #[cfg(feature = "control")]
        let others = others.chain([self.server.deadline()]);
        others.flatten().min()
    }

    /// Turns until a signal asks for something.
    pub(crate) fn run_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        self.driver.watch(signals.as_fd(), SIGNALS)?;
        let result = loop {
            match self.turn(None) {
                Ok(turned) if turned.signalled => {
                    if let Some(request) = signals.take() {
                        break Ok(request);
                    }
                }
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        self.driver.unwatch(signals.as_fd());
        result
    }

    /// Carries out what the machine tells, until it has nothing more to tell.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        while let Some(event) = self.driver.poll_event() {
            if event == Event::IdentificationsRepeated {
                self.notice(&Notice::Warning(
                    "more packets that may be fragmented go to one IPv4 address than there are Identifications: \
                     where fragments are lost, others may be joined; leave path MTU discovery on if you can"
                        .to_owned(),
                ));
            }
            let now = self.driver.now();
            for at in 0..self.links.len() {
                let Some(link) = self.links.get_mut(at) else { continue };
                if let Err(error) = link.attachment.apply(&self.netlink, now, &event) {
                    self.notice(&Notice::Warning(error.to_string()));
                }
                if concerns(&event) == self.links.get(at).map(|link| link.attachment.link()) {
                    self.with_link(at, |link, env| link.role.event(env, &event))?;
                }
            }
            self.lan_event(now, &event)?;
        }
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else { continue };
            let addresses = link.attachment.addresses();
            let first = addresses.iter().find(|address| address.address.is_unicast_link_local());
            let first = first.or_else(|| addresses.first());
            if let (false, Some(first)) = (link.is_told, first) {
                let address = first.address;
                link.is_told = true;
                let (device, mtu) = (link.attachment.name().to_owned(), link.attachment.mtu());
                self.notice(&Notice::Up { device, address, mtu });
            }
        }
        Ok(())
    }

    /// The system has changed, by other hands.
    fn changed(&mut self, at: usize) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let changes = link.attachment.changes(&self.netlink)?;
        link.role.device_is(link.attachment.name());
        if changes.lost {
            link.attachment.note_loss(self.driver.now());
        }
        if changes.came_up {
            for error in link.attachment.restore(&self.netlink, self.driver.now()) {
                self.notice(&Notice::Warning(error.to_string()));
            }
        }
        if changes.routes || changes.came_up {
            self.mirror(at)?;
        }
        if changes.ipv4 {
            self.refresh(at)?;
        }
        if changes.switches {
            self.with_link(at, |link, env| link.role.switches_changed(env))?;
        }
        // One link looks for all.
        if changes.native && at == 0 {
            self.learn_native()?;
        }
        if (changes.native || changes.ipv4) && at == 0 {
            self.refresh_lans()?;
        }
        Ok(())
    }

    /// Puts back what another hand took from a device.
    fn repair(&mut self, at: usize, now: Instant) {
        let Some(link) = self.links.get_mut(at) else { return };
        let device = link.attachment.name().to_owned();
        match link.attachment.repair(&self.netlink, now) {
            Ok(0) => {}
            Ok(count) => self.notice(&Notice::Warning(format!(
                "another hand took {count} of the addresses and routes of {device}: they are back"
            ))),
            Err(error) => self.notice(&Notice::Warning(error.to_string())),
        }
    }

    /// The locators may be others now.
    fn refresh(&mut self, at: usize) -> Result<(), Error> {
        self.with_link(at, |link, env| link.role.refresh(env))
    }

    /// Tells the machine of the routes that other hands have put on a device.
    fn mirror(&mut self, at: usize) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let (removed, added) = link.attachment.mirror(&self.netlink, self.driver.now())?;
        let machine = self.driver.machine_mut();
        for key in &removed {
            machine.remove_route(key);
        }
        for route in added {
            if let Err(full) = machine.insert_route(route) {
                (self.observer)(&Notice::Warning(format!("cannot use the route {route}: {full}")));
            }
        }
        Ok(())
    }

    fn with_link(
        &mut self,
        at: usize,
        work: impl FnOnce(&mut Link, &mut Environment<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let now = self.driver.now();
        let mut env = Environment {
            now,
            id: link.attachment.link(),
            machine: self.driver.machine_mut(),
            netlink: &self.netlink,
            claims: &mut self.claims,
            observer: &mut self.observer,
        };
        work(link, &mut env)
    }

    /// Asks now whom one link would ask in time; whom that is, or why there is nobody.
    fn solicit(&mut self, at: usize) -> Result<Vec<Ipv4Addr>, &'static str> {
        let mut asked = Err("there is no such link");
        self.with_link(at, |link, env| {
            asked = link.role.solicit(env);
            Ok(())
        })
        .map_or(Err("it failed"), |()| asked)
    }

    /// The same for all links that have somebody to ask.
    pub(crate) fn solicit_all(&mut self) {
        for at in 0..self.links.len() {
            let Ok(asked) = self.solicit(at) else { continue };
            let device = self.links.get(at).map(|link| link.attachment.name().to_owned()).unwrap_or_default();
            let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
            let asked = if asked.is_empty() { "for names".to_owned() } else { asked.join(", ") };
            self.notice(&Notice::Info(format!("{device} asks now: {asked}")));
        }
    }

    pub(crate) fn notice(&mut self, notice: &Notice) {
        (self.observer)(notice);
    }

    /// The machine, to be told something about a link.
    pub(crate) fn with_interface<R>(
        &mut self,
        id: LinkId,
        tell: impl FnOnce(&mut AnyInterface<Linux>, &mut isatap_core::interface::Context<'_, Linux>) -> R,
    ) -> Option<R> {
        let now = self.driver.now();
        self.driver.machine_mut().with_interface(now, id, |interface, cx| tell(interface, cx))
    }

    /// The machine's interface of a link.
    fn interface(&self, id: LinkId) -> Option<&AnyInterface<Linux>> {
        self.driver.machine().interface(id).map(|interface| &**interface)
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = status::Status> + '_ {
        (0..self.links.len()).filter_map(|at| self.status(at))
    }

    /// The interface indices of the links' devices.
    pub(crate) fn devices(&self) -> impl Iterator<Item = u32> + '_ {
        self.links.iter().map(|link| link.attachment.index())
    }

    fn attachment(&self, id: LinkId) -> Option<&Attachment> {
        self.links.iter().map(|link| &link.attachment).find(|attachment| attachment.link() == id)
    }
}

#[cfg(feature = "control")]
impl Node {
    fn accept(&mut self, at: usize) {
        let Some(listener) = self.links.get(at).and_then(|link| link.listener.as_ref()) else { return };
        loop {
            match self.server.accept(self.driver.now(), listener, at) {
                // Not watched is not answered: the client runs into its own time limit.
                Ok(Some((client, fd))) => drop(self.driver.watch(fd, Token(FIRST_CLIENT + client))),
                Ok(None) => return,
                Err(error) => return (self.observer)(&Notice::Warning(error.to_string())),
            }
        }
    }

    fn answer(&mut self, client: u32) {
        let Some((at, request)) = self.server.read(client) else { return };
        let answer = match request {
            Ok(control::Request::Status) => serde_json::to_value(self.status(at)).unwrap_or_default(),
            Ok(control::Request::Evidence) => serde_json::to_value(self.evidence(at)).unwrap_or_default(),
            Ok(control::Request::Solicit) => control::solicited(self.solicit(at)),
            Err(why) => serde_json::json!({ "error": why }),
        };
        self.server.answer(client, &answer);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.withdraw_lans();
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

/// What a turn came upon that is the caller's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turned {
    signalled: bool,
}

/// What a role works with.
pub(crate) struct Environment<'n> {
    pub(crate) now: Instant,
    pub(crate) id: LinkId,
    pub(crate) machine: &'n mut Machine,
    pub(crate) netlink: &'n Netlink,
    claims: &'n mut Claims,
    observer: &'n mut Observer,
}

impl Environment<'_> {
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        (self.observer)(&Notice::Warning(text.into()));
    }

    /// Without the locators whose packets another daemon takes.
    fn claim(&mut self, mut found: Found) -> Found {
        for warning in self.claims.follow(self.now, self.id, &mut found.locators) {
            self.warn(warning);
        }
        found
    }

    /// Whether another daemon has ends that this link would have, which was told.
    fn lacks_ends(&self) -> bool {
        self.claims.lacks(self.id)
    }

    pub(crate) fn info(&mut self, text: impl Into<String>) {
        (self.observer)(&Notice::Info(text.into()));
    }

    /// The machine's interface of this link, to be told something.
    pub(crate) fn tell<R>(
        &mut self,
        tell: impl FnOnce(&mut AnyInterface<Linux>, &mut isatap_core::interface::Context<'_, Linux>) -> R,
    ) -> Option<R> {
        self.machine.with_interface(self.now, self.id, |interface, cx| tell(interface, cx))
    }
}

fn concerns(event: &Event) -> Option<LinkId> {
    match event {
        Event::ResolveRouters { link }
        | Event::ResolveRelay { link }
        | Event::RelayProbed { link, .. }
        | Event::Delegation { link, .. }
        | Event::Address { link, .. }
        | Event::Mtu { link, .. }
        | Event::DnsServers { link }
        | Event::SearchDomains { link }
        | Event::Router { link, .. }
        | Event::LifetimeTooShort { link, .. }
        | Event::TableFull { link, .. } => Some(*link),
        Event::Route { route, .. } => Some(route.link),
        _ => None,
    }
}

/// An ISATAP address with its IPv4 address dotted, any other as usual.
pub(crate) fn dotted(address: &Ipv6Addr) -> String {
    if embedded_ipv4(address).is_some() { Dotted(*address).to_string() } else { address.to_string() }
}

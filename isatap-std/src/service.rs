//! Links on this machine: a machine of the core, its sockets, and for each link a device, a
//! role and a place to be asked.
//!
//! `Service` is written once, for the two that there are: `proto41`, any number of links with one
//! set of raw sockets, and `teredo`, one link with UDP sockets of its own. What the two do not
//! share is their `Role`s' and, for what links do together, their `Common`'s.
//!
//! ```text
//! Run ─▶ one Poller ─▶ Service<Proto41Role>   links: ISATAP, configured, 6to4, 6rd; LANs
//!                  └─▶ Service<ClientRole>, Service<ServerRole>, Service<RelayRole>
//! Service ─▶ Driver (packets, time) · Attachment (addresses, routes) · Role · control socket
//! ```
//!
//! The way in is [`run`](crate::run), the loop around them.

mod contested;
mod elsewhere;
#[cfg(feature = "control")]
pub mod evidence;
mod forwarding;
mod hooks;
mod link_event;
mod member;
mod observer;
mod proto41;
mod question;
mod role;
pub mod status;
mod teredo;
mod waiting;

pub use self::hooks::Hooks;
pub use self::link_event::LinkEvent;
pub use crate::capacity::Linux;
pub(crate) use crate::locators::LocatorSource;
pub(crate) use member::Member;
pub(crate) use observer::Observer;
pub(crate) use proto41::{LAST_WORDS, LastWords, Proto41Role, check_here, check_ports};
#[cfg(feature = "file")]
pub(crate) use teredo::check_ports as check_ports_of_teredo;
#[cfg(all(feature = "file", feature = "control"))]
pub(crate) use teredo::ports as ports_of_teredo;
pub(crate) use teredo::{Surroundings, missing as missing_for_teredo, open as open_teredo, secrets as secrets_of};
pub(crate) use waiting::{News, Waiting};

use self::role::{Common, Environment, Role, SolicitedBy, View};
use self::status::KernelPathStatus;
#[cfg(feature = "control")]
use crate::control::{self, Server};
use crate::device::Binding;
use crate::driver::attachment::Attachment;
use crate::driver::{Driver, OuterSocket as _, Source, Token, Watcher, is_deleted};
use crate::error::Error;
use crate::locators::Found;
use crate::netlink::{Netlink, sysctl};
use crate::runtime_dir::Claim;
use crate::spec::LinkSpec;
use crate::told::Told;
use isatap_core::engine::Event;
use isatap_core::isatap::addr::{Dotted, embedded_ipv4};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::time::Instant;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;

/// Something that who runs links may want to see.
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
    /// Something happened to a link; for logs.
    Link {
        /// The device.
        device: String,
        /// What happened.
        event: LinkEvent,
    },
    /// Something went as it should; for logs.
    Info(String),
    /// Something does not work and may work later; the links go on.
    Warning(String),
    /// What a warning was about works now.
    Mended(String),
    /// A rule of the port proxy began, changed or ended; for logs that show who opened what.
    Rule(String),
}

impl From<Told> for Notice {
    fn from(told: Told) -> Self {
        match told {
            Told::Done(text) => Notice::Info(text),
            Told::Failed(text) => Notice::Warning(text),
            Told::Mended(text) => Notice::Mended(text),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Up { device, address, mtu } => write!(f, "{device} up: {} mtu {mtu}", Dotted(*address)),
            Notice::Link { device, event } => write!(f, "{device}: {event}"),
            Notice::Info(text) | Notice::Warning(text) | Notice::Mended(text) | Notice::Rule(text) => f.write_str(text),
        }
    }
}

/// A machine of the core with its sockets, and its links with their devices.
pub(crate) struct Service<R: Role> {
    driver: Driver<R::Machine, R::Socket>,
    netlink: Netlink,
    links: Vec<Running<R>>,
    /// Whose devices another program has deleted; see [`Member::take_deleted`].
    deleted: Vec<LinkId>,
    common: R::Common,
    observer: Observer,
    #[cfg(feature = "control")]
    server: Server,
}

/// One link, as it runs.
struct Running<R> {
    attachment: Attachment,
    role: R,
    found: Found,
    binding: Binding,
    /// The address that it was told to be up with.
    told: Option<Ipv6Addr>,
    // Dropped with the link: the socket goes.
    _claim: Option<Claim>,
    #[cfg(feature = "control")]
    listener: Option<control::Listener>,
}

// The owner's descriptors: of a link, of a LAN (whose numbers are no link's), of clients.
const LAN_MONITOR: u32 = 0;
const LAN_SOLICITATIONS: u32 = 1;
const MONITOR: u32 = 0;
#[cfg(feature = "control")]
const LISTENER: u32 = 1;
const FIRST_OF_ROLE: u32 = 2;
const FULL_TABLE: u32 = 16;
#[cfg(feature = "control")]
const FIRST_CLIENT: u32 = 1 << 16;

/// The token of a link's descriptor.
fn token(link: LinkId, what: u32) -> Token {
    Token(u32::from(link.0) << 8 | what)
}

impl<R: Role> Service<R> {
    /// Without links.
    fn new(
        machine: Box<R::Machine>,
        socket: R::Socket,
        common: R::Common,
        watcher: Watcher,
        observer: Observer,
    ) -> Result<Self, Error> {
        Ok(Self {
            driver: Driver::new(machine, socket, watcher)?,
            netlink: Netlink::open()?,
            links: Vec::new(),
            deleted: Vec::new(),
            common,
            observer,
            #[cfg(feature = "control")]
            server: Server::default(),
        })
    }

    /// Makes the device of a link that the machine has, and lets the role begin. Whoever has the
    /// claim may clean up, so that comes first.
    fn attach(&mut self, id: LinkId, link: &LinkSpec, role: R, claim: Option<Claim>) -> Result<(), Error> {
        let (device, metric) = (link.device(), link.metric());
        #[cfg(feature = "control")]
        let listener = claim.as_ref().map(control::Listener::open).transpose()?;
        let (mut attachment, tun) = Attachment::open(&self.netlink, id, device, metric)?;
        if role.is_host() {
            sysctl::be_a_host(device)?;
        }
        attachment.follow_ipv6_routes(vec![Ipv6Prefix::DEFAULT]);
        if link.full_table() {
            attachment.follow_full_table()?;
        }
        if *role.locators() == LocatorSource::TowardRouter {
            attachment.follow_ipv4_routes()?;
        }
        self.driver.attach(id, tun)?;
        // From here on the claim goes with the device, and after it.
        self.links.push(Running {
            attachment,
            role,
            found: Found::default(),
            binding: link.binding(),
            told: None,
            #[cfg(feature = "control")]
            listener,
            _claim: claim,
        });
        let at = self.links.len() - 1;
        self.with(at, |role, env| {
            env.link_event(LinkEvent::Started { role: role.name().to_owned() });
            Ok(())
        })?;
        self.watch(at)?;
        self.with(at, |role, env| role.start(env))?;
        self.with(at, |role, env| role.mirror(env))?;
        self.with(at, |role, env| role.refresh(env))
    }

    fn watch(&self, at: usize) -> Result<(), Error> {
        let Some(link) = self.links.get(at) else { return Ok(()) };
        let source = |what| Source::Owner(token(link.attachment.link(), what));
        let watcher = self.driver.watcher();
        watcher.watch(link.attachment.as_fd(), source(MONITOR))?;
        for (fd, what) in link.role.descriptors().into_iter().zip(FIRST_OF_ROLE..) {
            fd.map_or(Ok(()), |fd| watcher.watch(fd, source(what)))?;
        }
        if let Some(table) = link.attachment.full_table() {
            watcher.watch(table.as_fd(), source(FULL_TABLE))?;
        }
        #[cfg(feature = "control")]
        if let Some(listener) = &link.listener {
            watcher.watch_edge(listener.as_fd(), source(LISTENER))?;
        }
        Ok(())
    }

    /// Takes the device of a link away.
    fn detach(&mut self, id: LinkId) {
        #[cfg(feature = "control")]
        self.server.forget(id);
        self.driver.detach(id);
        let ended: Vec<Running<R>> = self.links.extract_if(.., |link| link.attachment.link() == id).collect();
        self.tell_ended(&ended);
    }

    fn at(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|link| link.attachment.link() == id)
    }

    fn attachment(&self, id: LinkId) -> Option<&Attachment> {
        self.links.iter().map(|link| &link.attachment).find(|attachment| attachment.link() == id)
    }

    fn notice(&self, notice: &Notice) {
        self.observer.notice(None, notice);
    }

    fn tell_ended(&self, links: &[Running<R>]) {
        links.iter().for_each(|link| self.observer.link(link.attachment.name(), LinkEvent::Ended));
    }

    /// Lets a role do something.
    fn with(
        &mut self,
        at: usize,
        work: impl FnOnce(&mut R, &mut Environment<'_, R>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let mut env = Environment {
            now: self.driver.now(),
            id: link.attachment.link(),
            driver: &mut self.driver,
            attachment: &mut link.attachment,
            found: &mut link.found,
            binding: &link.binding,
            netlink: &self.netlink,
            common: &mut self.common,
            observer: &self.observer,
        };
        work(&mut link.role, &mut env)
    }

    /// Carries out what the machine tells, until it has nothing more to tell.
    fn settle(&mut self) -> Result<(), Error> {
        while let Some(event) = self.driver.poll_event() {
            let now = self.driver.now();
            if let Some(at) = concerns(&event).and_then(|id| self.at(id)) {
                self.with(at, |role, env| {
                    env.apply(&role.adapt(event));
                    role.event(env, &event)
                })?;
            }
            R::Common::event(self, now, &event)?;
        }
        for at in 0..self.links.len() {
            self.with(at, |role, env| {
                role.settled(env);
                Ok(())
            })?;
            self.tell_up(at);
        }
        self.driver.follow();
        Ok(())
    }

    /// Tells of the first address of a device, and of the next one when that is gone.
    fn tell_up(&mut self, at: usize) {
        let Some(link) = self.links.get_mut(at) else { return };
        let addresses = || link.attachment.addresses().iter().map(|own| own.address);
        let known = link.role.address(self.driver.machine());
        let is_told = link.told.is_some_and(|told| addresses().chain(known).any(|own| own == told));
        // One that cannot send is not up, though a configured tunnel has addresses of its own.
        if link.found.missing.is_some() {
            if link.told.take().is_some() {
                self.observer.link(link.attachment.name(), LinkEvent::Down);
            }
            return;
        }
        if is_told {
            return;
        }
        let first = addresses().find(Ipv6Addr::is_unicast_link_local).or_else(|| addresses().next());
        link.told = known.or(first);
        if let Some(address) = link.told {
            let (device, mtu) = (link.attachment.name().to_owned(), link.attachment.mtu());
            self.notice(&Notice::Up { device, address, mtu });
        }
    }

    /// The system has changed, by other programs.
    fn changed(&mut self, at: usize) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let changes = match link.attachment.changes(&self.netlink) {
            Err(error) if is_deleted(error.raw_os_error()) => {
                self.deleted.push(link.attachment.link());
                return Ok(());
            }
            changes => changes?,
        };
        let now = self.driver.now();
        if changes.lost {
            link.attachment.note_loss(now);
        }
        if changes.came_up {
            for error in link.attachment.restore(&self.netlink, now) {
                self.observer.notice(Some(link.attachment.name()), &Notice::Warning(error.to_string()));
            }
        }
        if changes.routes || changes.came_up {
            self.with(at, |role, env| role.mirror(env))?;
        }
        if changes.native || changes.followed || changes.ipv4 {
            self.with(at, |role, env| role.look_elsewhere(env))?;
        }
        if changes.ipv4 {
            self.with(at, |role, env| role.refresh(env))?;
        }
        if changes.switches {
            self.with(at, |role, env| {
                role.switches_changed(env);
                Ok(())
            })?;
        }
        // One link looks for all.
        if at == 0 { R::Common::changed(self, changes) } else { Ok(()) }
    }

    /// See [`Role::solicit`].
    fn solicit_one(&mut self, at: usize, by: SolicitedBy) -> Result<Vec<Ipv4Addr>, &'static str> {
        let mut asked = Err("there is no such link");
        let done = self.with(at, |role, env| {
            asked = role.solicit(env, by);
            Ok(())
        });
        done.map_or(Err("it failed"), |()| asked)
    }

    /// What one link says of itself.
    fn status(&self, at: usize) -> Option<status::Status> {
        let link = self.links.get(at)?;
        let mut status = status::Status::of_attachment(self.driver.now(), &link.attachment, link.role.name());
        status.count(R::counters(&self.driver, link.attachment.link())?, self.driver.unclaimed());
        let socket = self.driver.socket();
        status.io = status::io_counters(&self.driver.counters(), &socket.counters(), socket.receive_drops());
        #[cfg(feature = "control")]
        self.server.count(&mut status.io);
        status.locators = link.found.locators.iter().map(|locator| locator.address).collect();
        status.underlay_mtu = link.found.mtu;
        status.waiting = link.found.missing.as_ref().map(|missing| missing.what.clone());
        let id = link.attachment.link();
        status.kernel_path = KernelPathStatus::of(self.driver.shortcut(), id, self.driver.carried(id));
        self.observer.describe(&mut status);
        link.role.describe(&self.view(link), &mut status);
        if let Some(outer) = &mut status.outer {
            outer.bind(&link.binding);
        }
        Some(status)
    }

    fn view<'n>(&'n self, link: &'n Running<R>) -> View<'n, R> {
        View {
            now: self.driver.now(),
            id: link.attachment.link(),
            machine: self.driver.machine(),
            common: &self.common,
        }
    }
}

impl<R: Role> Drop for Service<R> {
    fn drop(&mut self) {
        self.common.withdraw(&self.netlink);
        self.tell_ended(&self.links);
    }
}

/// Puts back what another program took from a device, when that is due.
fn repair(attachment: &mut Attachment, netlink: &Netlink, now: Instant) -> Option<Notice> {
    attachment.deadline().filter(|due| *due <= now)?;
    match attachment.repair(netlink, now) {
        Ok(0) => None,
        Ok(count) => Some(Notice::Warning(format!(
            "another program took {count} of the addresses and routes of {}: they are back",
            attachment.name()
        ))),
        Err(error) => Some(Notice::Warning(error.to_string())),
    }
}

/// The link that an event is of.
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
        | Event::OpenPort { link, .. }
        | Event::ClosePort { link, .. }
        | Event::TableFull { link, .. } => Some(*link),
        Event::Route { route, .. } => Some(route.link),
        _ => None,
    }
}

/// An ISATAP address with its IPv4 address dotted, any other as usual.
pub(crate) fn dotted(address: &Ipv6Addr) -> String {
    if embedded_ipv4(address).is_some() { Dotted(*address).to_string() } else { address.to_string() }
}

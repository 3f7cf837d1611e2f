//! What client, server and relay have in common: the device, the sockets, the loop.

#[cfg(feature = "control")]
use crate::control;
use crate::driver::attachment::Attachment;
use crate::driver::{Driver, Token};
use crate::error::Error;
use crate::netlink::Netlink;
#[cfg(feature = "control")]
use crate::node::evidence::{Evidence, Names};
use crate::node::status::{Packets, RouteStatus, Status, io_counters};
use crate::node::{Notice, Observer};
use crate::runtime_dir::{Claim, RuntimeDir};
use crate::spec::{DEFAULT_METRIC, Link};
use crate::udp_socket::UdpSocket;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Change, Event, Machine};
use isatap_core::packet::LinkId;
use isatap_core::route::{Origin, Route};
use isatap_core::teredo::addr::PREFIX;
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The only link of a Teredo node.
pub(super) const LINK: LinkId = LinkId(0);

/// The default route yields to every other: Teredo is for who has nothing better. The
/// kernel's last number stands for "no route".
const LAST_METRIC: u32 = u32::MAX - 1;

/// What a role asks of the system beside a device, and what it says of itself.
pub(super) trait Role: Send {
    type Machine: Send + Machine;

    /// The name of the role in `status`.
    const NAME: &'static str;

    fn counters(machine: &Self::Machine) -> &Counters<u64>;

    /// The address that it is known by, once it can be used.
    fn address(&self, machine: &Self::Machine) -> Option<Ipv6Addr>;

    /// Adds what is the role's own.
    fn describe(&self, now: Instant, machine: &Self::Machine, status: &mut Status);

    /// Once, when the device is there.
    fn start(&mut self, env: &mut Environment<'_, Self::Machine>) -> Result<(), Error>;

    /// IPv4 addresses, links or routes of the system are others.
    fn refresh(&mut self, env: &mut Environment<'_, Self::Machine>) -> Result<(), Error>;

    /// After each turn.
    fn turned(&mut self, _: &mut Environment<'_, Self::Machine>) -> Result<(), Error> {
        Ok(())
    }

    fn resolver_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn resolved(&mut self, _: &mut Environment<'_, Self::Machine>) -> Result<(), Error> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: &mut Environment<'_, Self::Machine>) -> Result<(), Error> {
        Ok(())
    }

    /// The kernel has told that a switch of a device's is another.
    fn switches_changed(&mut self, _: &mut Environment<'_, Self::Machine>) {}

    fn mapper_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn mapped(&mut self, _: &mut Environment<'_, Self::Machine>) -> Result<(), Error> {
        Ok(())
    }

    /// Asks now whom it would ask in time; whom that is, or why there is nobody.
    fn solicit(&mut self, _: &mut Environment<'_, Self::Machine>) -> Result<Vec<Ipv4Addr>, &'static str> {
        Err("it has nobody to ask")
    }

    /// The IPv4 addresses that it needs, when it needs certain ones.
    #[cfg(feature = "control")]
    fn wanted_locators(&self) -> &[Ipv4Addr];

    /// How the name of the server went; `None`: there is no name.
    #[cfg(feature = "control")]
    fn names(&self) -> Option<Names> {
        None
    }

    /// Where the machine's further ports listen.
    fn port(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)
    }

    fn port_failed(_: &mut Self::Machine, _: Instant, _: u16) {}
}

/// A running client, server or relay, for a loop that runs several. Readable when
/// [`turn`](Self::turn) has something to do.
pub(crate) trait Member: AsFd + Send {
    /// Waits at most `timeout` for something to do, and does it.
    ///
    /// # Errors
    ///
    /// Somebody deleted the device.
    fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error>;

    /// Asks now whom it would ask in time, if there is anybody.
    fn solicit(&mut self);

    fn status(&self) -> Status;

    /// The interface index of the device.
    fn device(&self) -> u32;
}

impl<R: Role> Member for Node<R> {
    fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        Node::turn(self, timeout)
    }

    fn solicit(&mut self) {
        let Ok(asked) = Node::solicit(self) else { return };
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let asked = if asked.is_empty() { "for names".to_owned() } else { asked.join(", ") };
        (self.observer)(&Notice::Info(format!("{} asks now: {asked}", self.attachment.name())));
    }

    fn status(&self) -> Status {
        Node::status(self)
    }

    fn device(&self) -> u32 {
        self.attachment.index()
    }
}

/// What a role works with.
pub(super) struct Environment<'n, M> {
    pub(super) now: Instant,
    pub(super) driver: &'n mut Driver<M, UdpSocket>,
    pub(super) attachment: &'n mut Attachment,
    pub(super) netlink: &'n Netlink,
    observer: &'n mut Observer,
}

impl<M> Environment<'_, M> {
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        (self.observer)(&Notice::Warning(text.into()));
    }

    pub(super) fn info(&mut self, text: impl Into<String>) {
        (self.observer)(&Notice::Info(text.into()));
    }

    /// Does to the device what an event says; what the kernel refuses is a warning.
    pub(super) fn apply(&mut self, event: &Event) {
        if let Err(error) = self.attachment.apply(self.netlink, self.now, event) {
            self.warn(error.to_string());
        }
    }

    /// Every Teredo address is a neighbour on the device, or no longer.
    pub(super) fn route_teredo(&mut self, change: Change) {
        let route = Route::on_link(PREFIX, LINK, Origin::Automatic);
        self.apply(&Event::Route { change, route });
    }
}

/// A machine of the core with its device; see [`super`].
pub(super) struct Node<R: Role> {
    driver: Driver<R::Machine, UdpSocket>,
    attachment: Attachment,
    netlink: Netlink,
    role: R,
    observer: Observer,
    told: Option<Ipv6Addr>,
    // Dropped with the node: the socket goes.
    _claim: Option<Claim>,
    #[cfg(feature = "control")]
    listener: Option<control::Listener>,
    #[cfg(feature = "control")]
    server: control::Server,
}

const MONITOR: Token = Token(0);
const RESOLVER: Token = Token(1);
const MAPPER: Token = Token(2);
#[cfg(feature = "control")]
const LISTENER: Token = Token(3);
#[cfg(feature = "control")]
const FIRST_CLIENT: u32 = 1 << 16;

impl<R: Role> Node<R> {
    pub(super) fn open(
        link: &Link,
        runtime: Option<&RuntimeDir>,
        role: R,
        machine: Box<R::Machine>,
        socket: UdpSocket,
        observer: Observer,
    ) -> Result<Self, Error> {
        // Whoever has the claim may clean up; so it comes before anything is made.
        let claim = runtime.map(|runtime| runtime.claim(link.device())).transpose()?;
        let netlink = Netlink::open()?;
        let mut driver = Driver::new(machine, socket)?;
        if let Some(path) = link.pcap() {
            driver.record(path)?;
        }
        let (mut attachment, tun) = Attachment::open(&netlink, LINK, link.device(), link.metric())?;
        attachment.follow_ipv4_routes()?;
        driver.attach(LINK, tun)?;
        driver.watch(attachment.as_fd(), MONITOR)?;
        if let Some(fd) = role.resolver_fd() {
            driver.watch(fd, RESOLVER)?;
        }
        if let Some(fd) = role.mapper_fd() {
            driver.watch(fd, MAPPER)?;
        }
        #[cfg(feature = "control")]
        let listener = claim.as_ref().map(control::Listener::open).transpose()?;
        #[cfg(feature = "control")]
        if let Some(listener) = &listener {
            driver.watch_edge(listener.as_fd(), LISTENER)?;
        }
        let mut node = Self {
            driver,
            attachment,
            netlink,
            role,
            observer,
            told: None,
            _claim: claim,
            #[cfg(feature = "control")]
            listener,
            #[cfg(feature = "control")]
            server: control::Server::default(),
        };
        node.with_role(R::start)?;
        node.settle()?;
        Ok(node)
    }

    pub(super) fn address(&self) -> Option<Ipv6Addr> {
        self.role.address(self.driver.machine())
    }

    /// Waits at most `timeout` for something to do, and does it.
    fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        let tokens = self.driver.turn(timeout, self.deadline())?;
        if let Some(error) = self.driver.take_capture_error() {
            (self.observer)(&Notice::Warning(error.to_string()));
        }
        for token in tokens {
            match token {
                MONITOR => self.changed()?,
                RESOLVER => self.with_role(R::resolved)?,
                MAPPER => self.with_role(R::mapped)?,
                #[cfg(feature = "control")]
                LISTENER => self.accept(),
                #[cfg(feature = "control")]
                Token(number) => {
                    if let Some(client) = number.checked_sub(FIRST_CLIENT) {
                        self.answer(client);
                    }
                }
                #[cfg(not(feature = "control"))]
                _ => {}
            }
        }
        let now = self.driver.now();
        if self.role.deadline().is_some_and(|due| due <= now) {
            self.with_role(R::handle_timeout)?;
        }
        if self.attachment.deadline().is_some_and(|due| due <= now) {
            self.repair(now);
        }
        #[cfg(feature = "control")]
        if self.server.expire(now) {
            self.accept();
        }
        self.settle()?;
        // All of that may have set a deadline, and a loop of several waits on our descriptor.
        self.driver.rearm(self.deadline())
    }

    /// The earliest deadline that is not the machine's.
    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.role.deadline(), self.attachment.deadline()].into_iter();
        #[cfg(feature = "control")]
        let deadlines = deadlines.chain([self.server.deadline()]);
        deadlines.flatten().min()
    }

    /// Puts back what another program took from the device.
    fn repair(&mut self, now: Instant) {
        let device = self.attachment.name().to_owned();
        match self.attachment.repair(&self.netlink, now) {
            Ok(0) => {}
            Ok(count) => (self.observer)(&Notice::Warning(format!(
                "another program took {count} of the addresses and routes of {device}: they are back"
            ))),
            Err(error) => (self.observer)(&Notice::Warning(error.to_string())),
        }
    }

    /// See [`Role::solicit`].
    fn solicit(&mut self) -> Result<Vec<Ipv4Addr>, &'static str> {
        let mut asked = Err("it failed");
        let _ = self.with_role(|role, env| {
            asked = role.solicit(env);
            Ok(())
        });
        asked
    }

    fn with_role(
        &mut self,
        work: impl FnOnce(&mut R, &mut Environment<'_, R::Machine>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut env = Environment {
            now: self.driver.now(),
            driver: &mut self.driver,
            attachment: &mut self.attachment,
            netlink: &self.netlink,
            observer: &mut self.observer,
        };
        work(&mut self.role, &mut env)
    }

    /// Carries out what the machine tells, until it has nothing more to tell.
    fn settle(&mut self) -> Result<(), Error> {
        let own = self.address().filter(|address| !address.is_unicast_link_local());
        self.driver.answer_from(own);
        while let Some(event) = self.driver.poll_event() {
            self.event(&event)?;
        }
        self.with_role(R::turned)?;
        let address = self.address();
        if let Some(address) = address.filter(|_| address != self.told) {
            let (device, mtu) = (self.attachment.name().to_owned(), self.attachment.mtu());
            (self.observer)(&Notice::Up { device, address, mtu });
        }
        self.told = address;
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::OpenPort { port, .. } => {
                if let Err(error) = self.driver.socket_mut().open(self.role.port(*port)) {
                    (self.observer)(&Notice::Warning(error.to_string()));
                    let now = self.driver.now();
                    R::port_failed(self.driver.machine_mut(), now, *port);
                }
            }
            Event::ClosePort { port, .. } => self.driver.socket_mut().close(*port),
            Event::Address { change, address, .. } => {
                self.with_role(|_, env| {
                    env.apply(event);
                    env.route_teredo(*change);
                    env.info(format!("address {}/{} {change}", address.address, address.prefix_length));
                    Ok(())
                })?;
            }
            Event::Route { change, route } => {
                let metric = LAST_METRIC - DEFAULT_METRIC;
                let route = Route { metric, ..*route };
                self.with_role(|_, env| {
                    env.apply(&Event::Route { change: *change, route });
                    env.info(format!("route {route} {change}"));
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The system has changed, by other hands.
    fn changed(&mut self) -> Result<(), Error> {
        let changes = self.attachment.changes(&self.netlink)?;
        if changes.lost {
            self.attachment.note_loss(self.driver.now());
        }
        if changes.came_up {
            for error in self.attachment.restore(&self.netlink, self.driver.now()) {
                (self.observer)(&Notice::Warning(error.to_string()));
            }
        }
        if changes.ipv4 {
            self.with_role(R::refresh)?;
        }
        if changes.switches {
            self.with_role(|role, env| {
                role.switches_changed(env);
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn status(&self) -> Status {
        let now = self.driver.now();
        let machine = self.driver.machine();
        let mut status = Status::of_attachment(now, &self.attachment, R::NAME);
        let counters = R::counters(machine);
        status.counters = counters.dropped().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect();
        status.routes = self.attachment.routes().iter().map(|route| RouteStatus::of(now, route)).collect();
        status.packets = Packets::of(counters);
        status.io = io_counters(&self.driver.counters(), &self.driver.socket().counters(), None);
        #[cfg(feature = "control")]
        self.server.count(&mut status.io);
        self.role.describe(now, machine, &mut status);
        status
    }
}

#[cfg(feature = "control")]
impl<R: Role> Node<R> {
    fn accept(&mut self) {
        let Some(listener) = self.listener.as_ref() else { return };
        loop {
            match self.server.accept(self.driver.now(), listener, 0) {
                // Not watched is not answered: the client runs into its own time limit.
                Ok(Some((client, fd))) => drop(self.driver.watch(fd, Token(FIRST_CLIENT + client))),
                Ok(None) => return,
                Err(error) => return (self.observer)(&Notice::Warning(error.to_string())),
            }
        }
    }

    /// What it tells the doctor.
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::of_driver(self.status(), self.driver.now(), self.driver.heard());
        evidence.wanted_locators = self.role.wanted_locators().to_vec();
        evidence.names = self.role.names();
        evidence
    }

    fn answer(&mut self, client: u32) {
        let Some((_, request)) = self.server.read(client) else { return };
        let answer = match request {
            Ok(control::Request::Status) => serde_json::to_value(self.status()).unwrap_or_default(),
            Ok(control::Request::Evidence) => serde_json::to_value(self.evidence()).unwrap_or_default(),
            Ok(control::Request::Solicit) => control::solicited(self.solicit()),
            Err(why) => serde_json::json!({ "error": why }),
        };
        self.server.answer(client, &answer);
    }
}

impl<R: Role> AsFd for Node<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
    }
}

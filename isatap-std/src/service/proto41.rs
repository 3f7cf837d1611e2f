//! Links that speak protocol 41: as many as a machine holds, with one set of raw sockets, and
//! the LANs behind them.

mod answers;
mod ends;
mod fixed;
mod holdings;
mod host;
mod kept;
mod lan;
mod lease;
mod leave;
mod native;
mod plan;
mod remote;
mod status;
mod upstream;

use self::ends::Claims;
use self::fixed::FixedRole;
use self::host::HostRole;
use self::kept::Kept;
pub(crate) use self::lan::LAST_WORDS;
use self::lan::Lan;
pub(crate) use self::leave::LastWords;
pub(crate) use self::plan::{check_here, check_ports};
use self::upstream::Upstream;
use super::role::{self, SolicitedBy, View};
use super::{LinkEvent, Linux, LocatorSource, Notice, Observer, Service};
use crate::device::Binding;
use crate::driver::attachment::Changes;
use crate::driver::{Driver, Watcher};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::netlink::Netlink;
use crate::proto41_socket::Proto41Socket;
use crate::resolve::Ending;
use crate::spec::{LinkSpec, PublishedRoute};
use isatap_core::capacity::Row as _;
use isatap_core::datapath::{Decision, Decisions, Switches};
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Entropy as _, Event, Machine as _};
use isatap_core::interface::{Context, Interface as _};
use isatap_core::link::Locator;
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::route::Change;
use isatap_core::time::Instant;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Links of a node, the native one included.
pub(crate) const LINKS: usize = 16;

const _: () = assert!(LINKS == crate::spec::MOST_LINKS + 1, "as many as the checks of a file count");

/// Each interface has its tables in memory of its own, so that a node pays for those that it
/// has, and not for those that it may have.
pub(crate) type Machine = isatap_core::node::Node<Box<AnyInterface<Linux>>, Linux, LINKS, Table>;

/// Decisions about flows.
pub(crate) type Table = Decisions<Box<[Decision]>>;

/// Flows that are remembered: some hundred kilobytes.
const FLOWS: usize = 4096;

const _: () = assert!(FLOWS * size_of::<Decision>() <= 384 << 10, "as the changelog says");

// It is built on a stack, in unoptimised builds in several copies, and threads have 2 MiB.
const _: () = assert!(size_of::<Machine>() <= 64 << 10 && size_of::<AnyInterface<Linux>>() <= 64 << 10);

/// The role of a link.
#[derive(Debug)]
pub(crate) enum Proto41Role {
    Host(Box<HostRole>),
    Fixed(Box<FixedRole>),
}

/// What the links have in common.
pub(crate) struct Site {
    native: LinkId,
    /// Whether it forwards.
    native_forwards: bool,
    /// The device of a native global address; `None`: there is none.
    native_by: Option<String>,
    lans: Vec<Lan>,
    claims: Claims,
    kept: Kept,
    upstream: Upstream,
    /// Those of routers that are gone, until they have given back their names.
    ending: Vec<Ending>,
}

type Environment<'n> = role::Environment<'n, Proto41Role>;

impl Service<Proto41Role> {
    /// Opens the sockets, without links.
    pub(crate) fn open(watcher: Watcher, observer: Observer) -> Result<Self, Error> {
        let mut seed = [0; 16];
        OsEntropy::open()?.fill(&mut seed);
        let mut config = NodeConfig::DEFAULT;
        let halves: [u64; 2] = std::array::from_fn(|half| {
            u64::from_ne_bytes(std::array::from_fn(|byte| seed.get(half * 8 + byte).copied().unwrap_or_default()))
        });
        config.identification_seed = Some(halves);
        let decisions = Decisions::with_storage(vec![Decision::EMPTY; FLOWS].into());
        let mut machine = Box::new(Machine::with_decisions(config, decisions));
        // The table draws its secret then, and remembers nothing before.
        machine.handle_timeout(watcher.clock().now(), &mut OsEntropy::open()?);
        let native = native::add(&mut machine)?;
        let common = Site {
            native,
            native_forwards: Switches::DEFAULT.forwarding,
            native_by: None,
            lans: Vec::new(),
            claims: Claims::default(),
            kept: Kept::default(),
            upstream: Upstream::default(),
            ending: Vec::new(),
        };
        let socket = Proto41Socket::open()?;
        Self::new(machine, socket, common, watcher, observer)
    }

    /// After links were added or removed: packets are offered to them in this order, those among them that have
    /// no device at the moment keep what is theirs alone, and these routes are published, while the kernel has them.
    pub(crate) fn settle_in(
        &mut self,
        in_order: &[(Option<LinkId>, &LinkSpec)],
        published: &[PublishedRoute],
    ) -> Result<(), Error> {
        let ids: Vec<LinkId> = in_order.iter().filter_map(|(id, _)| *id).collect();
        self.driver.machine_mut().set_order(&ids);
        self.common.kept = Kept::of(in_order);
        self.reserve()?;
        self.follow_routes(published)?;
        self.learn_native()?;
        self.refresh_lans()?;
        self.settle()
    }

    /// Records outer packets into this file. One that it records into already goes on: this
    /// process may not be able to open it any more.
    pub(crate) fn record(&mut self, path: &Path, recorded: &mut Vec<PathBuf>) -> Result<(), Error> {
        if self.driver.recording() == Some(path) { Ok(()) } else { self.driver.record_on(path, recorded) }
    }

    /// The file that it records into.
    pub(crate) fn recording(&self) -> Option<&Path> {
        self.driver.recording()
    }

    pub(crate) fn stop_recording(&mut self) {
        self.driver.stop_recording();
    }

    /// The machine, to be told something about a link.
    fn with_interface<R>(
        &mut self,
        id: LinkId,
        tell: impl FnOnce(&mut AnyInterface<Linux>, &mut Context<'_, Linux>) -> R,
    ) -> Option<R> {
        tell_interface(&mut self.driver, id, tell)
    }

    /// The machine's interface of a link.
    fn interface(&self, id: LinkId) -> Option<&AnyInterface<Linux>> {
        self.driver.machine().interface(id).map(|interface| &**interface)
    }
}

fn tell_interface<R>(
    driver: &mut Driver<Machine>,
    id: LinkId,
    tell: impl FnOnce(&mut AnyInterface<Linux>, &mut Context<'_, Linux>) -> R,
) -> Option<R> {
    let now = driver.now();
    driver.machine_mut().with_interface(now, id, |interface, cx| tell(interface, cx))
}

impl Proto41Role {
    /// Whether packets are forwarded between its device and native links, as far as is known.
    fn forwards(&self) -> bool {
        match self {
            Proto41Role::Host(_) => false,
            Proto41Role::Fixed(fixed) => fixed.forwards(),
        }
    }

    /// What it starts with; a name has brought no router yet.
    fn find(&self, netlink: &Netlink, binding: &Binding) -> Result<super::Found, Error> {
        let router = match self {
            Proto41Role::Host(host) => host.routers.first().copied(),
            Proto41Role::Fixed(_) => None,
        };
        role::Role::locators(self).find(netlink, router, binding)
    }
}

impl role::Role for Proto41Role {
    type Machine = Machine;
    type Socket = Proto41Socket;
    type Common = Site;

    fn counters(driver: &Driver<Machine>, id: LinkId) -> Option<&Counters<u64>> {
        driver.counters_of(id)
    }

    fn name(&self) -> &'static str {
        match self {
            Proto41Role::Host(_) => "isatap-host",
            Proto41Role::Fixed(fixed) => fixed.name,
        }
    }

    fn locators(&self) -> &LocatorSource {
        match self {
            Proto41Role::Host(host) => &host.locators,
            Proto41Role::Fixed(fixed) => &fixed.locators,
        }
    }

    fn is_host(&self) -> bool {
        match self {
            Proto41Role::Host(_) => true,
            Proto41Role::Fixed(fixed) => fixed.is_host,
        }
    }

    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        match self {
            Proto41Role::Host(host) => [host.names.as_ref().map(AsFd::as_fd), None, None],
            // No link has two of a place: each is of another role.
            Proto41Role::Fixed(fixed) => {
                let remote = fixed.remote.as_ref().map(AsFd::as_fd);
                let responder = fixed.responder.as_ref().map(AsFd::as_fd);
                let relay = fixed.relay.as_ref().map(AsFd::as_fd);
                [relay.or(remote), fixed.lease.as_ref().map(AsFd::as_fd).or(responder), None]
            }
        }
    }

    fn ready(&mut self, env: &mut Environment<'_>, what: usize) -> Result<(), Error> {
        match (self, what) {
            (Proto41Role::Host(host), _) => host.resolved(env),
            (Proto41Role::Fixed(fixed), 1) if fixed.responder.is_some() => {
                fixed.responder_told(env);
                Ok(())
            }
            (Proto41Role::Fixed(fixed), 0) => fixed.resolved(env),
            (Proto41Role::Fixed(fixed), _) => fixed.follow_lease(env),
        }
    }

    fn start(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Proto41Role::Host(host) => host.start(env),
            Proto41Role::Fixed(fixed) => {
                fixed.check_forwarding(env);
                fixed.read_lease(env);
                fixed.ask_remote(env);
                fixed.tell_broker(env);
            }
        }
        Ok(())
    }

    fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Proto41Role::Host(host) => host.refresh(env),
            Proto41Role::Fixed(fixed) => fixed.refresh(env),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Proto41Role::Host(host) => host.names.as_ref()?.deadline(),
            Proto41Role::Fixed(fixed) => fixed.deadline(),
        }
    }

    fn handle_timeout(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Proto41Role::Host(host) => host.handle_timeout(env),
            Proto41Role::Fixed(fixed) => fixed.handle_timeout(env),
        }
    }

    fn switches_changed(&mut self, env: &mut Environment<'_>) {
        if let Proto41Role::Fixed(fixed) = self {
            fixed.check_forwarding(env);
        }
    }

    fn settled(&mut self, env: &mut Environment<'_>) {
        let Proto41Role::Fixed(fixed) = self else { return };
        let reachability = match env.driver.machine().interface(env.id).map(|interface| &**interface) {
            Some(AnyInterface::Configured(tunnel)) => tunnel.remote_reachability(),
            _ => return,
        };
        if let Some(counters) = env.driver.counters_of(env.id) {
            fixed.answers.follow(env.now, counters, reachability);
        }
        if let Some((updater, is_silent)) = fixed.updater.as_ref().zip(fixed.answers.take_news(env.now)) {
            updater.other_end(is_silent);
        }
    }

    /// Tells the machine of the routes that other programs have put on the device.
    fn mirror(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let mut tables = env.driver.machine().datapath().full_table().clone();
        if let Some(followed) = env.attachment.full_table_mut() {
            let errors = followed.take_errors();
            tables.insert(followed.table().clone());
            env.driver.machine_mut().set_full_table(tables);
            errors.into_iter().for_each(|error| env.warn(error.to_string()));
            return Ok(());
        }
        // The number may have been that of a link with one.
        if tables.remove(env.id) {
            env.driver.machine_mut().set_full_table(tables);
        }
        let (removed, added) = env.attachment.mirror(env.netlink, env.now)?;
        let machine = env.driver.machine_mut();
        for key in &removed {
            machine.remove_route(key);
        }
        for route in added {
            if let Err(full) = env.driver.machine_mut().insert_route(route) {
                env.warn(format!("cannot use the route {route}: {full}"));
            }
        }
        Ok(())
    }

    fn event(&mut self, env: &mut Environment<'_>, event: &Event) -> Result<(), Error> {
        match (event, self) {
            (Event::ResolveRouters { .. }, Proto41Role::Host(host)) => host.must_ask(env),
            (Event::ResolveRelay { .. }, Proto41Role::Fixed(fixed)) => fixed.ask(env),
            (Event::Router { change, address, .. }, _) => env.link_event(match change {
                Change::Removed => LinkEvent::RouterLost { router: *address },
                _ => LinkEvent::RouterFound { router: *address },
            }),
            (Event::RelayProbed { address, reachable, .. }, _) => {
                let relay = *address;
                env.link_event(match reachable {
                    true => LinkEvent::RelayFound { relay },
                    false => LinkEvent::RelayLost { relay },
                });
            }
            (Event::Delegation { change, delegation, .. }, _) => {
                env.link_event(LinkEvent::of_delegation(*change, delegation));
            }
            (Event::LifetimeTooShort { address, .. }, _) => env.warn(format!(
                "the lifetimes of router {address} are shorter than the interval at which it may be asked: \
                 addresses and routes will lapse; raise them there, or lower --min-router-solicit-interval"
            )),
            (Event::TableFull { table, .. }, _) => env.warn(status::no_room(env.driver.machine(), env.id, *table)),
            (Event::DnsServers { .. } | Event::SearchDomains { .. }, _) => {
                env.link_event(LinkEvent::DnsChanged);
            }
            _ => {}
        }
        Ok(())
    }

    fn solicit(&mut self, env: &mut Environment<'_>, by: SolicitedBy) -> Result<Vec<Ipv4Addr>, &'static str> {
        match self {
            Proto41Role::Host(host) => host.solicit(env),
            Proto41Role::Fixed(fixed) => fixed.solicit(env, by),
        }
    }

    fn describe(&self, view: &View<'_, Self>, status: &mut super::status::Status) {
        status::describe(self, view, status);
    }

    #[cfg(feature = "control")]
    fn testify(&self, view: &View<'_, Self>, evidence: &mut super::evidence::Evidence) {
        status::testify(self, view, evidence);
    }
}

impl role::Common<Proto41Role> for Site {
    fn deadline(&self) -> Option<Instant> {
        self.lans.iter().map(Lan::deadline).chain([self.claims.deadline()]).flatten().min()
    }

    fn follow(&mut self, now: Instant, id: LinkId, locators: &mut Vec<Locator>) -> Vec<String> {
        self.claims.follow(now, id, locators)
    }

    fn ready(service: &mut Service<Proto41Role>, lan: LinkId, what: u32) -> Result<(), Error> {
        service.lan_ready(lan, what)
    }

    fn changed(service: &mut Service<Proto41Role>, changes: Changes) -> Result<(), Error> {
        if changes.native {
            service.learn_native()?;
        }
        if changes.ipv4 {
            service.reserve()?;
        }
        if changes.followed || changes.ipv4 {
            service.look_upstream()?;
        }
        if changes.native || changes.ipv4 { service.refresh_lans() } else { Ok(()) }
    }

    fn handle_timeout(service: &mut Service<Proto41Role>, now: Instant) -> Result<(), Error> {
        for at in 0..service.links.len() {
            if service.links.get(at).is_some_and(|link| service.common.claims.is_due(now, link.attachment.link())) {
                service.with(at, role::Role::refresh)?;
            }
        }
        service.lan_timeouts(now);
        Ok(())
    }

    fn event(service: &mut Service<Proto41Role>, now: Instant, event: &Event) -> Result<(), Error> {
        if *event == Event::IdentificationsRepeated {
            service.notice(&Notice::Warning(
                "more packets that may be fragmented go to one IPv4 address than there are Identifications: \
                 where fragments are lost, others may be joined; leave path MTU discovery on if you can"
                    .to_owned(),
            ));
        }
        service.lan_event(now, event);
        Ok(())
    }

    fn withdraw(&mut self, netlink: &Netlink) {
        self.withdraw_lans(netlink);
    }
}

impl Environment<'_> {
    /// Whether another daemon has ends that this link would have, which was told.
    fn lacks_ends(&self) -> bool {
        self.common.claims.lacks(self.id)
    }

    /// The machine's interface of this link.
    fn interface(&self) -> Option<&AnyInterface<Linux>> {
        self.driver.machine().interface(self.id).map(|interface| &**interface)
    }

    /// The machine's interface of this link, to be told something: no decision holds any more. What is only looked at is
    /// [`interface`](Self::interface).
    fn tell<R>(&mut self, tell: impl FnOnce(&mut AnyInterface<Linux>, &mut Context<'_, Linux>) -> R) -> Option<R> {
        tell_interface(self.driver, self.id, tell)
    }

    /// The way of its packets, as it was found last. TUN-32: the MTU of that device is the ceiling of every path MTU,
    /// and gives the link its own. ISA-55: hosts of a router are told of another one.
    fn set_way(&mut self) {
        let (mtu, way) = (self.found.mtu, self.binding.on(self.found.interface).way());
        self.tell(|interface, cx| {
            let underlay = interface.link_mut().underlay_mut();
            let before = underlay.policy.ipv6_mtu();
            underlay.set_way(way);
            if let Some(mtu) = mtu {
                underlay.set_interface_mtu(mtu);
            }
            let is_another = underlay.policy.ipv6_mtu() != before;
            if let (AnyInterface::IsatapRouter(router), true) = (interface, is_another) {
                router.advertise_again(cx.now);
            }
        });
    }
}

fn list(locators: &[Locator]) -> String {
    locators.iter().map(|locator| locator.address.to_string()).collect::<Vec<_>>().join(", ")
}

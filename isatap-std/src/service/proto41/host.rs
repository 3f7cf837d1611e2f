//! What a link's role asks of the system beside a device: names, locators, a forwarding
//! kernel.

use super::locators::{Found, LocatorSource};
use super::status::refused;
use super::{Environment, Linux, dotted};
use crate::error::Error;
use crate::netlink::{Netlink, sysctl};
use crate::resolve::{Answer, Failure, Resolver, Settings, Source};
use crate::spec::set_locators;
use isatap_core::engine::Event;
use isatap_core::error::{Table, TableFull};
use isatap_core::interface::Context;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{self, HostInterface};
use isatap_core::link::Locator;
use isatap_core::node::AnyInterface;
use isatap_core::proto41::mtu::MtuMode;
use isatap_core::route::Change;
use isatap_core::time::{Expiry, Instant};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The role of a link.
#[derive(Debug)]
pub(crate) enum Role {
    Host(Box<HostRole>),
    Fixed(FixedRole),
}

/// An ISATAP host: follows its locators and resolves its routers' names.
#[derive(Debug)]
pub(crate) struct HostRole {
    pub(crate) locators: LocatorSource,
    /// Potential routers given by address.
    pub(crate) routers: Vec<Ipv4Addr>,
    /// For those given by name.
    pub(crate) resolver: Option<Resolver>,
    /// What that resolver was told.
    pub(crate) settings: Option<Settings>,
    pub(crate) found: Found,
    /// What the names brought last.
    pub(crate) answer: Option<Result<Answer, Failure>>,
    /// The machine waits for an answer.
    asked: bool,
    search: Search,
}

/// The search for a first router while there is no locator, for which the machine does not
/// ask: without a router nobody knows which locator leads to it.
#[derive(Debug, Default)]
struct Search {
    at: Option<Instant>,
    failures: u32,
}

/// A link whose IPv4 addresses are given: follows their presence, the MTU underneath, and
/// the kernel's forwarding.
#[derive(Debug)]
pub(crate) struct FixedRole {
    /// In `status`.
    name: &'static str,
    pub(crate) locators: LocatorSource,
    pub(crate) found: Found,
    /// Until when the locators are known to be ours.
    until: Expiry,
    device: String,
    /// Whether the role is nothing without forwarding.
    is_router: bool,
    /// Whether the role never forwards, whatever the kernel does.
    is_host: bool,
    forwards: Option<bool>,
    /// For a relay that is given by name.
    relay: Option<Resolver>,
    /// Of 6to4: no address can be made of those that there are.
    unusable: bool,
}

/// The first wait after names brought nothing; doubled each time, as the core does it.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(600);

impl Role {
    /// The name of the role in `status`.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Role::Host(_) => "isatap-host",
            Role::Fixed(fixed) => fixed.name,
        }
    }

    pub(crate) fn follows_routes(&self) -> bool {
        matches!(self, Role::Host(host) if host.locators == LocatorSource::TowardRouter)
    }

    /// Whether packets are forwarded between its device and native links, as far as is known.
    pub(crate) fn forwards(&self) -> bool {
        match self {
            Role::Host(_) => false,
            Role::Fixed(fixed) => fixed.is_router || fixed.forwards == Some(true),
        }
    }

    /// Whether it serves its own machine alone: the core lets in what is for that one, and
    /// the kernel is told that the device is a host's.
    pub(crate) fn is_host(&self) -> bool {
        match self {
            Role::Host(_) => true,
            Role::Fixed(fixed) => fixed.is_host,
        }
    }

    pub(super) fn locators(&self) -> &LocatorSource {
        match self {
            Role::Host(host) => &host.locators,
            Role::Fixed(fixed) => &fixed.locators,
        }
    }

    /// What it starts with; a name has brought no router yet.
    pub(super) fn find(&self, netlink: &Netlink) -> Result<Found, Error> {
        let router = match self {
            Role::Host(host) => host.routers.first().copied(),
            Role::Fixed(_) => None,
        };
        self.locators().find(netlink, router)
    }

    /// Its IPv4 addresses, and the MTU underneath.
    pub(crate) fn found(&self) -> &Found {
        match self {
            Role::Host(host) => &host.found,
            Role::Fixed(fixed) => &fixed.found,
        }
    }

    pub(crate) fn resolver_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Role::Host(host) => host.resolver.as_ref().map(AsFd::as_fd),
            Role::Fixed(fixed) => fixed.relay.as_ref().map(AsFd::as_fd),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Role::Host(host) => host.search.at,
            Role::Fixed(_) => None,
        }
    }

    /// The name of the device, which another hand may change.
    pub(crate) fn device_is(&mut self, name: &str) {
        if let Role::Fixed(fixed) = self
            && fixed.device != name
        {
            name.clone_into(&mut fixed.device);
        }
    }

    /// Once, when the device is there.
    pub(crate) fn start(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Role::Host(host) => host.start(env),
            Role::Fixed(fixed) => fixed.check_forwarding(env),
        }
        Ok(())
    }

    /// IPv4 addresses, links or routes of the system are others.
    pub(crate) fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Role::Host(host) => host.refresh(env),
            Role::Fixed(fixed) => fixed.refresh(env),
        }
    }

    pub(crate) fn resolved(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Role::Host(host) => host.resolved(env),
            Role::Fixed(fixed) => {
                fixed.resolved(env);
                Ok(())
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match self {
            Role::Host(host) => {
                host.search.at = None;
                host.refresh(env)
            }
            Role::Fixed(_) => Ok(()),
        }
    }

    /// The kernel has told that a switch of a device's is another.
    pub(crate) fn switches_changed(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        if let Role::Fixed(fixed) = self {
            fixed.check_forwarding(env);
        }
        Ok(())
    }

    /// Asks now whom it would ask in time; whom that is, or why there is nobody.
    pub(crate) fn solicit(&mut self, env: &mut Environment<'_>) -> Result<Vec<Ipv4Addr>, &'static str> {
        match self {
            Role::Host(role) => role.solicit(env),
            Role::Fixed(fixed) => fixed.solicit(env),
        }
    }

    /// Something that the machine tells and that is not the device's.
    pub(crate) fn event(&mut self, env: &mut Environment<'_>, event: &Event) -> Result<(), Error> {
        match event {
            Event::ResolveRouters { .. } => {
                if let Role::Host(host) = self {
                    host.asked = true;
                    host.ask();
                }
            }
            Event::ResolveRelay { .. } => {
                if let Role::Fixed(fixed) = self {
                    fixed.ask();
                }
            }
            Event::Router { change, address, .. } => env.info(match change {
                Change::Removed => format!("router {address} is gone"),
                _ => format!("router {address} answers"),
            }),
            Event::RelayProbed { address, reachable: true, .. } => env.info(format!("relay {address} answers")),
            Event::RelayProbed { address, .. } => env.warn(format!("relay {address} does not answer")),
            Event::Delegation { change, delegation, .. } => {
                env.info(format!("prefix {} for LANs {change}", delegation.prefix));
            }
            Event::LifetimeTooShort { address, .. } => env.warn(format!(
                "the lifetimes of router {address} are shorter than the interval at which it may be asked: \
                 addresses and routes will lapse; raise them there, or lower --min-router-solicit-interval"
            )),
            Event::TableFull { table, .. } => env.warn(no_room(env, *table)),
            Event::DnsServers { .. } | Event::SearchDomains { .. } => {
                env.info("DNS configuration learned; it is shown by status and not applied");
            }
            Event::Address { change, address, .. } => {
                env.info(format!("address {}/{} {change}", dotted(&address.address), address.prefix_length));
            }
            Event::Route { change, route } => env.info(format!("route {route} {change}")),
            _ => {}
        }
        Ok(())
    }
}

impl HostRole {
    pub(crate) fn new(locators: LocatorSource, routers: Vec<Ipv4Addr>, names: Option<(Settings, Resolver)>) -> Self {
        let (settings, resolver) = names.unzip();
        Self {
            locators,
            routers,
            resolver,
            settings,
            found: Found::default(),
            answer: None,
            asked: false,
            search: Search::default(),
        }
    }

    /// Where a router of the list came from, for people.
    pub(crate) fn source(&self, router: Ipv4Addr) -> Option<&Source> {
        let answer = self.answer.as_ref()?.as_ref().ok()?;
        let at = answer.addresses.iter().position(|address| *address == router)?;
        answer.address_sources.get(at)
    }

    fn start(&mut self, env: &mut Environment<'_>) {
        for router in self.routers.clone() {
            let told = host(env, |host, cx| host.add_router(cx, router));
            if let Some(Err(full)) = told {
                env.warn(format!("router {router} is not used: {full}"));
            }
        }
        if let LocatorSource::Device(name) = &self.locators
            && self.locators.find(env.netlink, None).is_ok_and(|found| found.locators.is_empty())
        {
            env.warn(format!("{name} has no IPv4 address to send from: waiting for one; see: ip -4 address"));
        }
    }

    /// All routers, and the names for their addresses.
    fn solicit(&mut self, env: &mut Environment<'_>) -> Result<Vec<Ipv4Addr>, &'static str> {
        let asked = host(env, |host, cx| {
            host.solicit_routers(cx);
            host.link().potential_routers().iter().map(|row| row.address()).collect()
        });
        // Without a locator the machine asks for no names.
        if self.found.locators.is_empty() {
            self.ask();
        }
        Ok(asked.unwrap_or_default())
    }

    fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let router = self.first_router(env);
        let found = env.claim(self.locators.find(env.netlink, router)?);
        if found.mtu != self.found.mtu {
            set_underlay_mtu(env, found.mtu);
        }
        if found.locators != self.found.locators {
            let told = host(env, |host, cx| host.set_locators(cx, &found.locators));
            if let Some(Err(full)) = told {
                env.warn(format!("not every IPv4 address is used: {full}"));
            }
            env.info(match found.locators.as_slice() {
                [] => "no IPv4 address to send from".to_owned(),
                locators => format!("sends from {}", list(locators)),
            });
        }
        let toward = self.locators == LocatorSource::TowardRouter;
        if toward && found.locators.is_empty() && router.is_none() && self.search.at.is_none() {
            self.ask();
        }
        self.found = found;
        Ok(())
    }

    /// The first of the list: those by address, then those by name.
    fn first_router(&self, env: &mut Environment<'_>) -> Option<Ipv4Addr> {
        let listed = host(env, |host, _| host.link().potential_routers().iter().map(|row| row.address()).next());
        let answered = || self.answer.as_ref()?.as_ref().ok()?.addresses.first().copied();
        listed.flatten().or_else(answered)
    }

    fn ask(&mut self) {
        let own: Vec<Ipv4Addr> = self.found.locators.iter().map(|locator| locator.address).collect();
        if let Some(resolver) = &mut self.resolver {
            // An answer that is under way already serves as well.
            let _ = resolver.request(&own);
        }
    }

    fn resolved(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let Some(outcome) = self.resolver.as_mut().and_then(Resolver::try_recv) else { return Ok(()) };
        self.tell(env, &outcome);
        let failed = outcome.is_err();
        self.answer = Some(outcome);
        if std::mem::take(&mut self.asked) {
            let answer = match self.answer.as_ref() {
                Some(Ok(answer)) => Ok(isatap::Answer { addresses: &answer.addresses, ttl: answer.ttl }),
                Some(Err(failure)) => Err((*failure).into()),
                None => return Ok(()),
            };
            let told = host(env, |host, cx| host.routers_resolved(cx, answer));
            if let Some(Err(full)) = told {
                env.warn(format!("not every address of the names is used: {full}"));
            }
        } else if failed {
            // The machine did not ask, so it does not count the retries either.
            let wait = FIRST_RETRY.saturating_mul(1 << self.search.failures.min(16)).min(LAST_RETRY);
            self.search.failures += 1;
            self.search.at = Some(env.now.saturating_add(wait));
        }
        if !failed {
            self.search = Search::default();
        }
        self.refresh(env)
    }

    fn tell(&self, env: &mut Environment<'_>, outcome: &Result<Answer, Failure>) {
        // NAM-9: told when it changes, and not louder than it deserves.
        let same = match (self.answer.as_ref(), outcome) {
            (Some(Ok(before)), Ok(answer)) => before.addresses == answer.addresses,
            (Some(Err(before)), Err(failure)) => before == failure,
            _ => false,
        };
        if same {
            return;
        }
        match outcome {
            Ok(answer) => {
                let sources: Vec<String> = answer.sources.iter().map(ToString::to_string).collect();
                env.info(format!("potential routers {:?} by {}", answer.addresses, sources.join(", ")));
            }
            Err(failure) => {
                if self.answer.is_none() && failure.is_routine() {
                    // Whoever has just started this waits for something that does not come.
                    let names = self.settings.as_ref().map(|settings| settings.routers.as_slice()).unwrap_or_default();
                    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                    let names = if names.is_empty() { "isatap".to_owned() } else { names.join(", ") };
                    env.warn(format!("no router yet: {names}: {failure}; it is looked up again; see isatap doctor"));
                    return;
                }
                let hint = failure.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                let text = format!("no potential router by name: {failure}{hint}");
                if failure.is_routine() { env.info(text) } else { env.warn(text) }
            }
        }
    }
}

impl FixedRole {
    /// One that forwards: it warns while the kernel does not.
    pub(crate) fn router(name: &'static str, locators: LocatorSource, device: String) -> Self {
        Self { is_router: true, ..Self::end(name, locators, device) }
    }

    /// One that serves its own machine alone.
    pub(crate) fn host(name: &'static str, locators: LocatorSource, device: String) -> Self {
        Self { is_host: true, ..Self::end(name, locators, device) }
    }

    /// One that may forward or not.
    pub(crate) fn end(name: &'static str, locators: LocatorSource, device: String) -> Self {
        Self {
            name,
            locators,
            found: Found::default(),
            until: Expiry::NEVER,
            device,
            is_router: false,
            is_host: false,
            forwards: None,
            relay: None,
            unusable: false,
        }
    }

    /// The same with a resolver that knows the name of its relay.
    pub(crate) fn with_relay(self, relay: Option<Resolver>) -> Self {
        Self { relay, ..self }
    }

    fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let found = env.claim(self.locators.find(env.netlink, None)?);
        if found.mtu != self.found.mtu {
            set_underlay_mtu(env, found.mtu);
        }
        // S64-37, S6R-8: a lease is prolonged from time to time.
        let until = found.valid.map_or(Expiry::NEVER, |valid| Expiry::at(env.now.saturating_add(valid)));
        let changed = found.locators != self.found.locators;
        if changed || is_another_time(self.until, until) {
            self.until = until;
            let told = env.tell(|interface, cx| set_locators(interface, cx, &found.locators, until));
            if let Some(Err(full)) = told {
                env.warn(format!("not every IPv4 address is used: {full}"));
            }
            if changed && found.locators.is_empty() && !env.lacks_ends() {
                env.warn("the IPv4 address is gone: nothing is sent or answered until it is back");
            }
        }
        self.tell_unusable(env, &found.locators);
        self.found = found;
        Ok(())
    }

    /// S64-1: without a public IPv4 address 6to4 says nothing at all, which is to be told.
    fn tell_unusable(&mut self, env: &mut Environment<'_>, found: &[Locator]) {
        let unusable = env.tell(|interface, _| match interface {
            AnyInterface::SixToFourRouter(router) => router.link().locators().is_empty() && !router.is_resting(),
            AnyInterface::SixToFourRelay(relay) => relay.link().locators().is_empty(),
            _ => false,
        });
        let before = std::mem::replace(&mut self.unusable, unusable.unwrap_or_default());
        if self.unusable && !before && !env.lacks_ends() {
            let there = if found.is_empty() { "none".to_owned() } else { format!("only {}", list(found)) };
            env.warn(format!(
                "6to4 needs a public IPv4 address, and this machine has {there}: nothing is sent; behind a NAT use isatap \
                 teredo client, and --accept-bogons in a lab"
            ));
        }
    }

    /// NDP-67, RTE-7: a router that does not forward must not offer itself; on Linux the
    /// kernel forwards, when it is told to for all devices.
    fn check_forwarding(&mut self, env: &mut Environment<'_>) {
        if self.is_host {
            return;
        }
        let forwards = sysctl::is_router(&self.device);
        if self.forwards == Some(forwards) {
            return;
        }
        if self.is_router && !forwards {
            env.warn(format!(
                "the kernel does not forward IPv6, so this is no router: \
                 sysctl -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.{}.forwarding=1",
                self.device
            ));
        } else if self.forwards.is_some() {
            env.info(if forwards { "the kernel forwards IPv6 now" } else { "the kernel no longer forwards IPv6" });
        }
        self.forwards = Some(forwards);
        if let Some(switches) = env.machine.switches_mut(env.id) {
            switches.forwarding = forwards;
        }
        // NDP-67: hosts are not to find it out by their lost packets.
        env.tell(|interface, cx| {
            if let AnyInterface::IsatapRouter(router) = interface {
                router.advertise_again(cx.now);
            }
        });
    }

    fn solicit(&mut self, env: &mut Environment<'_>) -> Result<Vec<Ipv4Addr>, &'static str> {
        self.ask();
        let relay = env.tell(|interface, cx| match interface {
            AnyInterface::SixRdEdge(edge) => {
                edge.probe_relay(cx.now);
                edge.link().relay()
            }
            AnyInterface::SixToFourRouter(router) => router.probe_relay(cx.now),
            _ => None,
        });
        match relay.flatten() {
            Some(relay) => Ok(vec![relay]),
            None if self.relay.is_some() => Ok(Vec::new()),
            None => Err("it has nobody to ask"),
        }
    }

    fn ask(&mut self) {
        let own: Vec<Ipv4Addr> = self.found.locators.iter().map(|locator| locator.address).collect();
        if let Some(relay) = &mut self.relay {
            // An answer that is under way already serves as well.
            let _ = relay.request(&own);
        }
    }

    fn resolved(&mut self, env: &mut Environment<'_>) {
        let Some(outcome) = self.relay.as_mut().and_then(Resolver::try_recv) else { return };
        let (addresses, ttl) = match &outcome {
            Ok(answer) => (answer.addresses.as_slice(), answer.ttl),
            Err(failure) => {
                env.warn(format!("no relay by name: {failure}; it is asked for again"));
                (&[][..], None)
            }
        };
        let told = env.tell(|interface, cx| match interface {
            AnyInterface::SixToFourRouter(router) => router.relay_resolved(cx, addresses, ttl),
            _ => Ok(()),
        });
        if let Some(Err(full)) = told {
            env.warn(format!("the relay is not used: {full}"));
        }
    }
}

/// Which table is full, and who asked for more.
fn no_room(env: &Environment<'_>, table: Table) -> String {
    let of_it = env.machine.refusals().iter().filter(|refusal| refusal.link == env.id && refusal.table == table);
    let refused: Vec<String> = refused(of_it).iter().map(ToString::to_string).collect();
    let refused = if refused.is_empty() { "the rest".to_owned() } else { refused.join(", ") };
    format!("{}: {refused} not used", TableFull::new(table))
}

/// Lifetimes of addresses are whole seconds in the kernel.
fn is_another_time(before: Expiry, now: Expiry) -> bool {
    match (before.instant(), now.instant()) {
        (Some(before), Some(now)) => {
            let (early, late) = (before.min(now), before.max(now));
            late.saturating_duration_since(early) > Duration::from_secs(2)
        }
        (before, now) => before != now,
    }
}

fn host<R>(
    env: &mut Environment<'_>,
    tell: impl FnOnce(&mut HostInterface<Linux>, &mut Context<'_, Linux>) -> R,
) -> Option<R> {
    env.tell(|interface, cx| match interface {
        AnyInterface::IsatapHost(host) => Some(tell(host, cx)),
        _ => None,
    })?
}

/// TUN-32: the ceiling of every path MTU; a static MTU has none.
fn set_underlay_mtu(env: &mut Environment<'_>, mtu: Option<u16>) {
    env.tell(|interface, _| {
        let policy = &mut interface.link_mut().underlay_mut().policy;
        if let (MtuMode::Dynamic { .. }, Some(interface)) = (policy.mtu, mtu) {
            policy.mtu = MtuMode::Dynamic { interface };
        }
    });
}

fn list(locators: &[Locator]) -> String {
    locators.iter().map(|locator| locator.address.to_string()).collect::<Vec<_>>().join(", ")
}

//! A link whose IPv4 addresses are given: follows their presence, the MTU underneath, and the
//! kernel's forwarding.

use super::answers::Answers;
use super::holdings::Holdings;
use super::lease::DhcpDomain;
use super::remote::NamedRemote;
use super::{Environment, list};
use crate::broker::Updater;
use crate::error::Error;
use crate::netlink::sysctl;
use crate::resolve::Responder;
use crate::service::forwarding::Forwarding;
use crate::service::question::Question;
use crate::service::role::SolicitedBy;
use crate::service::{Linux, LocatorSource};
use crate::spec::set_locators;
use isatap_core::interface::Interface as _;
use isatap_core::node::AnyInterface;
use isatap_core::time::{Expiry, Instant};
use std::net::Ipv4Addr;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(crate) struct FixedRole {
    /// In `status`.
    pub(super) name: &'static str,
    pub(super) locators: LocatorSource,
    /// Until when the locators are known to be ours.
    until: Expiry,
    /// Whether the role is nothing without forwarding.
    is_router: bool,
    /// Whether the role never forwards, whatever the kernel does.
    pub(super) is_host: bool,
    forwarding: Forwarding,
    /// Whether hosts are offered a default route while the kernel has one.
    pub(super) follows_default: bool,
    /// Whether the kernel had one at the last look; `None`: there was none.
    pub(super) leads_on: Option<bool>,
    /// For a relay that is given by name.
    pub(super) relay: Option<Question>,
    /// Of a 6rd edge whose domain comes by DHCP.
    pub(super) lease: Option<DhcpDomain>,
    /// Of an ISATAP router that answers to its name.
    pub(super) responder: Option<Responder>,
    /// What was told of it.
    holdings: Holdings,
    /// Of a configured tunnel whose other end is given by name.
    pub(super) remote: Option<NamedRemote>,
    /// Of a configured tunnel whose broker is told of its address.
    pub(super) updater: Option<Updater>,
    /// Of 6to4: no address can be made of those that there are.
    is_unusable: bool,
    /// Of a configured tunnel: whether its other end answers.
    pub(super) answers: Answers,
}

impl FixedRole {
    /// One that forwards: it warns while the kernel does not.
    pub(super) fn router(name: &'static str, locators: LocatorSource) -> Self {
        Self { is_router: true, ..Self::end(name, locators) }
    }

    /// One that serves its own machine alone.
    pub(super) fn host(name: &'static str, locators: LocatorSource) -> Self {
        Self { is_host: true, ..Self::end(name, locators) }
    }

    /// One that may forward or not.
    pub(super) fn end(name: &'static str, locators: LocatorSource) -> Self {
        Self {
            name,
            locators,
            until: Expiry::NEVER,
            is_router: false,
            is_host: false,
            forwarding: Forwarding::default(),
            follows_default: false,
            leads_on: None,
            relay: None,
            lease: None,
            responder: None,
            holdings: Holdings::default(),
            remote: None,
            updater: None,
            is_unusable: false,
            answers: Answers::default(),
        }
    }

    /// The same, where hosts are offered a default route while the kernel has one.
    pub(super) fn following(self, follows_default: bool) -> Self {
        Self { follows_default, ..self }
    }

    /// The same with the name of its relay.
    pub(super) fn with_relay(self, relay: Option<Question>) -> Self {
        Self { relay, ..self }
    }

    /// The same with a domain that comes by DHCP.
    pub(super) fn with_lease(self, lease: Option<DhcpDomain>) -> Self {
        Self { lease, ..self }
    }

    /// The same with the name of the other end.
    pub(super) fn with_remote(self, remote: Option<NamedRemote>) -> Self {
        Self { remote, ..self }
    }

    /// The same with a broker that is told of its address.
    pub(super) fn with_updater(self, updater: Option<Updater>) -> Self {
        Self { updater, ..self }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let lease = self.lease.as_ref().and_then(DhcpDomain::deadline);
        let names = self.relay.iter().chain(self.remote.as_ref().map(NamedRemote::names));
        lease.into_iter().chain(names.filter_map(Question::deadline)).min()
    }

    pub(super) fn handle_timeout(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let (relay, remote) = (self.relay.as_mut(), self.remote.as_mut().map(NamedRemote::names_mut));
        // NAM-6; no link has both.
        if relay.into_iter().chain(remote).any(|names| names.is_reconfigured(env.now) || names.ends_wait(env.now)) {
            self.ask(env);
        }
        self.follow_lease(env)
    }

    /// Reads the lease; whether it says something else than before.
    pub(super) fn read_lease(&mut self, env: &mut Environment<'_>) -> bool {
        self.lease.as_mut().is_some_and(|lease| lease.follow(env))
    }

    pub(super) fn follow_lease(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        if self.read_lease(env) { self.refresh(env) } else { Ok(()) }
    }

    /// The same with what answers to its name.
    pub(super) fn with_responder(self, responder: Option<Responder>) -> Self {
        Self { responder, ..self }
    }

    pub(super) fn forwards(&self) -> bool {
        self.is_router || self.forwarding.is_on() == Some(true)
    }

    pub(super) fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        if let Some(responder) = &self.responder {
            responder.refresh();
        }
        let peer = env.interface().and_then(peer);
        let before = env.find(&self.locators, peer)?;
        if (env.found.mtu, env.found.interface) != (before.mtu, before.interface) {
            env.set_way();
        }
        // S64-37, S6R-8: a lease is prolonged from time to time.
        let of_lease = self.lease.as_ref().and_then(|lease| lease.valid(env.now));
        let valid = env.found.valid.into_iter().chain(of_lease).min();
        let until = valid.map_or(Expiry::NEVER, |valid| Expiry::at(env.now.saturating_add(valid)));
        let locators = env.found.locators.clone();
        if locators != before.locators || is_another_time(self.until, until) {
            self.until = until;
            let told = env.tell(|interface, cx| set_locators(interface, cx, &locators, until));
            if let Some(Err(full)) = told {
                env.warn(format!("not every IPv4 address is used: {full}"));
            }
        }
        self.tell_unusable(env);
        self.tell_broker(env);
        Ok(())
    }

    /// The tunnel's address, where somebody has to know it.
    pub(super) fn tell_broker(&self, env: &Environment<'_>) {
        if let Some(updater) = &self.updater {
            updater.follow(env.found.locators.first().map(|locator| locator.address));
        }
    }

    /// S64-1: without a public IPv4 address 6to4 says nothing at all, which is to be told.
    fn tell_unusable(&mut self, env: &mut Environment<'_>) {
        let is_unusable = match env.interface() {
            Some(AnyInterface::SixToFourRouter(router)) => router.link().locators().is_empty() && !router.is_resting(),
            Some(AnyInterface::SixToFourRelay(relay)) => relay.link().locators().is_empty(),
            _ => false,
        };
        let before = std::mem::replace(&mut self.is_unusable, is_unusable);
        if self.is_unusable && !before && !env.lacks_ends() {
            let there = match env.found.locators.as_slice() {
                [] => "none".to_owned(),
                found => format!("only {}", list(found)),
            };
            env.warn(format!(
                "6to4 needs a public IPv4 address, and this machine has {there}: nothing is sent; behind a NAT use isatap \
                 teredo client, and --accept-bogons in a lab"
            ));
        }
    }

    /// NDP-67, RTE-7: a router that does not forward must not offer itself; on Linux the
    /// kernel forwards, when it is told to for all devices.
    pub(super) fn check_forwarding(&mut self, env: &mut Environment<'_>) {
        if self.is_host {
            return;
        }
        let device = env.attachment.name();
        // One that was deleted says nothing.
        let Some(forwards) = sysctl::is_router_if_there(device) else { return };
        let without = self.is_router.then_some(("this is no router", Some(device)));
        let Some(news) = self.forwarding.follow(forwards, without) else { return };
        if let Some(notice) = &news.notice {
            env.notice(notice);
        }
        if let Some(switches) = env.driver.machine_mut().switches_mut(env.id) {
            switches.forwarding = forwards;
        }
        // NDP-67: hosts are not to find it out by their lost packets.
        env.tell(|interface, cx| {
            if let AnyInterface::IsatapRouter(router) = interface {
                router.advertise_again(cx.now);
            }
        });
    }

    pub(super) fn solicit(
        &mut self,
        env: &mut Environment<'_>,
        by: SolicitedBy,
    ) -> Result<Vec<Ipv4Addr>, &'static str> {
        self.ask(env);
        let updater = self.updater.as_ref().filter(|_| by == SolicitedBy::Person);
        updater.iter().for_each(|updater| updater.ask());
        let has_updater = updater.is_some();
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
            None if self.relay.is_some() || self.remote.is_some() || has_updater => Ok(Vec::new()),
            None => Err("it has nobody to ask"),
        }
    }

    pub(super) fn ask(&mut self, env: &mut Environment<'_>) {
        if let Some(relay) = &mut self.relay {
            relay.ask(&env.found.locators);
        }
        self.ask_remote(env);
    }

    /// Says where the name is this router's, and where it is not.
    pub(super) fn responder_told(&mut self, env: &mut Environment<'_>) {
        let Some(responder) = &mut self.responder else { return };
        for notice in self.holdings.follow(&responder.take_news()) {
            env.notice(&notice);
        }
    }

    pub(super) fn ask_remote(&mut self, env: &mut Environment<'_>) {
        if let Some(remote) = &mut self.remote {
            remote.ask(env);
        }
    }

    pub(super) fn resolved(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        if self.remote.as_mut().is_some_and(|remote| remote.take(env)) {
            return self.refresh(env);
        }
        let Some(relay) = &mut self.relay else { return Ok(()) };
        let Some((outcome, _)) = relay.take(env.now) else { return Ok(()) };
        relay.take_conflicts(env.now).into_iter().for_each(|conflict| env.warn(conflict));
        let (addresses, ttl) = match &outcome {
            Ok(answer) => (answer.addresses.as_slice(), answer.ttl),
            Err(failure) => {
                env.warn(format!("no relay by name: {failure}; it is asked for again"));
                (&[][..], None)
            }
        };
        let told = env.tell(|interface, cx| match interface {
            AnyInterface::SixToFourRouter(router) => router.relay_resolved(cx, addresses, ttl.map(Into::into)),
            _ => Ok(()),
        });
        if let Some(Err(full)) = told {
            env.warn(format!("the relay is not used: {full}"));
        }
        Ok(())
    }
}

/// Whom most packets go to: the other end, or the first relay.
fn peer(interface: &AnyInterface<Linux>) -> Option<Ipv4Addr> {
    match interface {
        AnyInterface::Configured(tunnel) => tunnel.link().remote(),
        AnyInterface::SixRdEdge(edge) => edge.link().relay(),
        AnyInterface::SixToFourRouter(router) => router.relay(),
        _ => None,
    }
}

/// Lifetimes of addresses are whole seconds in the kernel.
fn is_another_time(before: Expiry, now: Expiry) -> bool {
    match (before.instant(), now.instant()) {
        (Some(before), Some(now)) => {
            let (early, late) = (before.min(now), before.max(now));
            late > early + Duration::from_secs(2)
        }
        (before, now) => before != now,
    }
}

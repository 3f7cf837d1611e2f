//! How a link begins that a [`spec`](crate::spec) describes, and how it ends.

use super::ends::EndsAt;
use super::fixed::FixedRole;
use super::host::HostRole;
use super::lease::DhcpDomain;
use super::remote::NamedRemote;
use super::{LocatorSource, Notice, Observer, Proto41Role, Service};
use crate::broker::{Calls, Credentials, Updater};
use crate::device::Binding;
use crate::error::Error;
use crate::netlink::Netlink;
use crate::resolve::{Ending, Entry, NameService, Responder, ResponderSettings};
use crate::runtime_dir::{Ends, RuntimeDir};
use crate::service::question::Question;
use crate::service::role::Role as _;
use crate::spec::{LinkSpec, SixRdRole, SixToFour, SixToFourRole};
use isatap_core::datapath::Switches;
use isatap_core::isatap::OfferDefault;
use isatap_core::packet::LinkId;
use isatap_core::sixtofour::addr::ANYCAST_RELAY;
use isatap_core::sixtofour::ingress;
use std::sync::PoisonError;

impl Service<Proto41Role> {
    /// Makes a link and its device, and its LANs. With a folder, this process becomes the daemon
    /// of the device, and answers there. Call [`settle_in`](Self::settle_in) after the last one.
    ///
    /// # Errors
    ///
    /// A usage error for what makes no sense on this machine; the kernel's refusal. Nothing is
    /// left of the link then.
    pub(crate) fn add_link(
        &mut self,
        link: &LinkSpec,
        (calls, credentials): (&Calls, &Credentials),
        runtime: Option<&RuntimeDir>,
    ) -> Result<LinkId, Error> {
        link.check_first()?;
        let interface = link.interface()?;
        for warning in link.warnings() {
            self.observer.notice(Some(link.device()), &Notice::Warning(format!("{}: {warning}", link.device())));
        }
        let locators = check_here(link, &self.netlink, runtime)?;
        let updater = updater(link, calls, credentials, &self.observer)?;
        let (switches, role) = role(link, locators, updater, &mut self.common.ending)?;
        // Whoever has the claim may clean up; so it comes before anything is made.
        let claim = runtime.map(|runtime| runtime.claim(link.device())).transpose()?;
        let full = |error: isatap_core::error::TableFull| {
            Error::usage("add a link for", link.device(), error.to_string()).with_advice("run a second process")
        };
        let id = self.driver.machine_mut().add(Box::new(interface), switches).map_err(full)?;
        let begin = || {
            if let Some(runtime) = runtime {
                let binding = link.binding();
                let found = role.find(&self.netlink, &binding)?;
                let addresses = (role.locators().fixed(), found.locators.as_slice());
                let devices = (link.device(), binding.device.as_deref());
                self.common.claims.start(id, devices, runtime, ends(link, &role), addresses)?;
            }
            self.attach(id, link, role, claim)?;
            self.with_interface(id, |interface, cx| link.tell(interface, cx)).unwrap_or(Ok(()))?;
            self.add_lans(id, link.lans(), runtime)
        };
        match begin() {
            Ok(()) => Ok(id),
            Err(error) => self.remove_link(id).and(Err(error)),
        }
    }

    /// Takes a link away, and LANs that have no other. What is said to their hosts was said
    /// before: see [`take_leave`](Self::take_leave).
    ///
    /// # Errors
    ///
    /// What the others meet, as in any round.
    pub(crate) fn remove_link(&mut self, id: LinkId) -> Result<(), Error> {
        // What is still told after the end is nobody's.
        self.leave_lans(&[id]);
        self.drop_lans();
        self.end_responder(id);
        self.detach(id);
        self.common.claims.end(id);
        self.driver.machine_mut().remove(id);
        // Its number is free when all is told.
        self.settle()
    }

    /// Why packets of a link that was added cannot go the shorter way of the others, once.
    pub(crate) fn take_shortcut_error(&mut self) -> Option<Error> {
        self.driver.take_shortcut_error()
    }

    /// What answers to the name of a router ends by itself: its last words take longer than packets can wait.
    fn end_responder(&mut self, id: LinkId) {
        self.common.ending.retain(|ending| !ending.is_over());
        let role = self.at(id).and_then(|at| self.links.get_mut(at)).map(|link| &mut link.role);
        if let Some(Proto41Role::Fixed(fixed)) = role {
            self.common.ending.extend(fixed.responder.take().map(Responder::end));
        }
    }
}

/// Whether the IPv4 addresses of a link make sense on this machine; where they come from.
///
/// # Errors
///
/// A usage error: the anycast address is not this machine's, or the device carries no IPv4 to anybody.
pub(crate) fn check_here(
    link: &LinkSpec,
    netlink: &Netlink,
    runtime: Option<&RuntimeDir>,
) -> Result<LocatorSource, Error> {
    if let LinkSpec::SixToFour(sixtofour) = link
        && sixtofour.anycast
    {
        // S64-31
        LocatorSource::Fixed(vec![ANYCAST_RELAY])
            .require(netlink)
            .map_err(|error| error.with_advice(SixToFour::ANYCAST_ADVICE))?;
    }
    let locators = locators(link);
    locators.check(netlink)?;
    check_binding(&link.binding(), netlink, runtime)?;
    Ok(locators)
}

/// A device that is not there may come later.
fn check_binding(binding: &Binding, netlink: &Netlink, runtime: Option<&RuntimeDir>) -> Result<(), Error> {
    let Some(device) = &binding.device else { return Ok(()) };
    let why = if netlink.links()?.iter().any(|link| link.name == *device && link.is_loopback) {
        "it is the loopback device, and leads to nobody else"
    } else if runtime.is_some_and(|runtime| runtime.devices().contains(device)) {
        "it is a tunnel's, and carries IPv6 alone"
    } else {
        return Ok(());
    };
    Err(Error::usage("bind to the device", device, why).with_advice(Binding::INSTEAD))
}

/// Whether the ports are free that a link needs beside those which the links `running` have, and those that ended on this
/// service.
///
/// # Errors
///
/// One is taken, or this process may not open it any more.
pub(crate) fn check_ports<'l>(
    link: &LinkSpec,
    running: impl Iterator<Item = &'l LinkSpec>,
    service: Option<&Service<Proto41Role>>,
) -> Result<(), Error> {
    let held: Vec<NameService> = running.flat_map(LinkSpec::answer_by).copied().collect();
    let lacking = link.answer_by().iter().filter(|service| !held.contains(service));
    let ending = service.map_or(&[][..], |service| &service.common.ending);
    Responder::check_free(&lacking.copied().collect::<Vec<_>>(), ending)
}

/// Where the IPv4 addresses of a link come from.
fn locators(link: &LinkSpec) -> LocatorSource {
    match link {
        LinkSpec::IsatapHost(host) if host.local.is_empty() && host.via.is_none() => LocatorSource::TowardRouter,
        link => match (link.via(), link.locals()) {
            (Some(device), _) => LocatorSource::Device(device.to_owned()),
            (None, locals) if locals.is_empty() => LocatorSource::All,
            (None, locals) => LocatorSource::Fixed(locals),
        },
    }
}

/// Who calls the broker of a link; `None`: there is none to call.
fn updater(
    link: &LinkSpec,
    calls: &Calls,
    credentials: &Credentials,
    observer: &Observer,
) -> Result<Option<Updater>, Error> {
    let LinkSpec::Tunnel(tunnel) = link else { return Ok(None) };
    let device = link.device();
    let begin = |url| calls.begin(device, url, credentials, &link.binding(), observer.teller(Some(device)));
    tunnel.update_url.as_ref().map(begin).transpose()
}

/// What the link asks of the system, and whether it forwards.
fn role(
    link: &LinkSpec,
    locators: LocatorSource,
    updater: Option<Updater>,
    ending: &mut Vec<Ending>,
) -> Result<(Switches, Proto41Role), Error> {
    let lease = link.dhcp_lease().map(|path| DhcpDomain::open(path, link.via())).transpose()?;
    let router = FixedRole::router(link.role(), locators.clone());
    let end = FixedRole::end(link.role(), locators.clone());
    let host = FixedRole::host(link.role(), locators.clone());
    let (switches, role) = match link {
        LinkSpec::IsatapHost(host) => {
            let names = host.resolves().then(|| Question::new(host.settings())).transpose()?;
            let role = HostRole::new(locators, host.addresses().collect(), host.router_nodefault.clone(), names);
            return Ok((Switches::DEFAULT, Proto41Role::Host(Box::new(role))));
        }
        LinkSpec::IsatapRouter(spec) => {
            let mut settings = ResponderSettings::new(spec.local.clone(), spec.answer_by.clone());
            settings.wins.clone_from(&spec.wins);
            let start = || Responder::start_after(settings, ending);
            let responder = (!spec.answer_by.is_empty()).then(start).transpose()?;
            let follows_default = spec.offers_default() == OfferDefault::Auto;
            (Switches::FORWARDING, router.following(follows_default).with_responder(responder))
        }
        LinkSpec::SixRd(sixrd) if sixrd.role == SixRdRole::CustomerEdge && sixrd.lan.is_empty() => {
            (Switches::DEFAULT, end.with_lease(lease))
        }
        LinkSpec::SixRd(sixrd) if sixrd.role == SixRdRole::CustomerEdge => {
            (Switches::FORWARDING, router.with_lease(lease))
        }
        LinkSpec::SixRd(_) => (Switches::FORWARDING, router),
        LinkSpec::SixToFour(sixtofour) => {
            let (switches, role) = match sixtofour.role {
                SixToFourRole::Relay | SixToFourRole::Router => (Switches::FORWARDING, router),
                SixToFourRole::HostRouter => (Switches::DEFAULT, host),
            };
            let relay = sixtofour.settings().map(Question::new).transpose()?;
            (switches, role.with_relay(relay))
        }
        LinkSpec::Tunnel(tunnel) => {
            let remote = NamedRemote::of(&tunnel.remote)?;
            let (switches, role) = match tunnel.lan.as_slice() {
                [] => (Switches::DEFAULT, end),
                _ => (Switches::FORWARDING, router),
            };
            (switches, role.with_remote(remote).with_updater(updater))
        }
        LinkSpec::Compatible(_) => (Switches::DEFAULT, host),
        _ => (Switches::DEFAULT, end),
    };
    Ok((switches, Proto41Role::Fixed(Box::new(role))))
}

/// The tunnel ends that the link has by an address of its own.
fn ends(link: &LinkSpec, role: &Proto41Role) -> EndsAt {
    match link {
        LinkSpec::Tunnel(tunnel) => {
            let given = match tunnel.remote {
                Entry::Address(remote) => Some(remote),
                Entry::Name(_) => None,
            };
            let by_name = match role {
                Proto41Role::Fixed(fixed) => fixed.remote.as_ref().map(NamedRemote::known),
                Proto41Role::Host(_) => None,
            };
            Box::new(move |local| {
                let now = by_name.as_ref().and_then(|known| *known.lock().unwrap_or_else(PoisonError::into_inner));
                given.or(now).map(|remote| Ends::Configured { local, remote })
            })
        }
        LinkSpec::Compatible(_) => Box::new(|local| Some(Ends::Compatible { local })),
        LinkSpec::SixRd(sixrd) => {
            let given = sixrd.prefix.map(|prefix| (prefix, sixrd.v4_mask_len));
            let by_dhcp = match role {
                Proto41Role::Fixed(fixed) => fixed.lease.as_ref().map(DhcpDomain::known),
                Proto41Role::Host(_) => None,
            };
            Box::new(move |local| {
                let now = by_dhcp.as_ref().and_then(|known| *known.lock().unwrap_or_else(PoisonError::into_inner));
                given.or(now).map(|(prefix, ipv4_mask_len)| Ends::SixRd { local, prefix, ipv4_mask_len })
            })
        }
        LinkSpec::SixToFour(sixtofour) => {
            let (anycast, accept_bogons) = (sixtofour.anycast, sixtofour.accept_bogons);
            Box::new(move |local| {
                let is_anycast = anycast && local == ANYCAST_RELAY;
                (is_anycast || ingress::locator(local, accept_bogons)).then_some(Ends::SixToFour { local })
            })
        }
        _ => Box::new(|local| Some(Ends::Isatap { local })),
    }
}

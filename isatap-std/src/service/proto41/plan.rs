//! How a node gets the link that a [`spec`](crate::spec) describes.

use super::ends::EndsAt;
use super::{FixedRole, HostRole, LinkPlan, LocatorSource, Node, Notice, Role};
use crate::error::Error;
use crate::resolve::{Entry, Resolver, Settings};
use crate::runtime_dir::{Ends, RuntimeDir};
use crate::spec::{IsatapHost, Link, SixRdRole, SixToFourRole};
use isatap_core::datapath::Switches;
use isatap_core::packet::LinkId;
use isatap_core::sixtofour::addr::ANYCAST_RELAY;
use isatap_core::sixtofour::ingress;

impl Node {
    /// Makes a link and its device, and its LANs. With a folder, this process becomes the daemon
    /// of the device, and answers there.
    ///
    /// # Errors
    ///
    /// A usage error for what makes no sense on this machine; the kernel's refusal.
    pub(crate) fn add_link(&mut self, link: &Link, runtime: Option<&RuntimeDir>) -> Result<LinkId, Error> {
        link.check_first()?;
        let interface = link.interface()?;
        for warning in link.warnings() {
            self.notice(&Notice::Warning(format!("{}: {warning}", link.device())));
        }
        if let Link::SixToFour(sixtofour) = link
            && sixtofour.anycast
        {
            // S64-31
            LocatorSource::Fixed(vec![ANYCAST_RELAY]).check(self.netlink()).map_err(|error| {
                error.with_advice(format!(
                    "add it first: ip address add {ANYCAST_RELAY}/32 dev lo; or leave anycast out"
                ))
            })?;
        }
        let locators = locators(link);
        locators.check(self.netlink())?;
        let (switches, role) = role(link, locators)?;
        let (device, metric, ends) = (link.device(), link.metric(), ends(link));
        let id = self.add(LinkPlan { device, metric, interface, switches, role, ends }, runtime)?;
        self.with_interface(id, |interface, cx| link.tell(interface, cx)).unwrap_or(Ok(()))?;
        if let Link::IsatapRouter(router) = link {
            router.advertise_route.iter().try_for_each(|route| self.publish_route(*route))?;
        }
        self.add_lans(id, link.lans(), runtime)?;
        Ok(id)
    }
}

/// Where the IPv4 addresses of a link come from.
fn locators(link: &Link) -> LocatorSource {
    match link {
        Link::IsatapHost(IsatapHost { via: Some(device), .. }) => LocatorSource::Device(device.clone()),
        Link::IsatapHost(host) if host.local.is_empty() => LocatorSource::TowardRouter,
        link => match link.locals() {
            locals if locals.is_empty() => LocatorSource::All,
            locals => LocatorSource::Fixed(locals),
        },
    }
}

/// What the link asks of the system, and whether it forwards.
fn role(link: &Link, locators: LocatorSource) -> Result<(Switches, Role), Error> {
    let device = link.device().to_owned();
    let (switches, role) = match link {
        Link::IsatapHost(host) => {
            let settings = Settings { routers: host.names().cloned().collect(), ..Settings::default() };
            let names = host.resolves().then(|| Ok((settings.clone(), resolver(settings)?))).transpose()?;
            let role = HostRole::new(locators, host.addresses().collect(), names);
            return Ok((Switches::DEFAULT, Role::Host(Box::new(role))));
        }
        Link::IsatapRouter(_) => (Switches::FORWARDING, FixedRole::router("isatap-router", locators, device)),
        Link::SixRd(sixrd) => match sixrd.role {
            SixRdRole::BorderRelay => (Switches::FORWARDING, FixedRole::router("6rd-br", locators, device)),
            SixRdRole::CustomerEdge if sixrd.lan.is_empty() => {
                (Switches::DEFAULT, FixedRole::end("6rd-ce", locators, device))
            }
            SixRdRole::CustomerEdge => (Switches::FORWARDING, FixedRole::router("6rd-ce", locators, device)),
        },
        Link::SixToFour(sixtofour) => {
            let (switches, role) = match sixtofour.role {
                SixToFourRole::Relay => (Switches::FORWARDING, FixedRole::router("6to4-relay", locators, device)),
                SixToFourRole::Router => (Switches::FORWARDING, FixedRole::router("6to4-router", locators, device)),
                SixToFourRole::HostRouter => (Switches::DEFAULT, FixedRole::host("6to4-host-router", locators, device)),
            };
            let relay = match &sixtofour.relay {
                Some(name @ Entry::Name(_)) => {
                    Some(resolver(Settings { routers: vec![name.clone()], ..Settings::default() })?)
                }
                _ => None,
            };
            (switches, role.with_relay(relay))
        }
        _ => (Switches::DEFAULT, FixedRole::end("configured", locators, device)),
    };
    Ok((switches, Role::Fixed(role)))
}

/// The tunnel ends that the link has by an address of its own.
fn ends(link: &Link) -> EndsAt {
    match link {
        Link::Tunnel(tunnel) => {
            let remote = tunnel.remote;
            Box::new(move |local| Some(Ends::Configured { local, remote }))
        }
        Link::SixRd(sixrd) => {
            let (prefix, ipv4_mask_len) = (sixrd.prefix, sixrd.v4_mask_len);
            Box::new(move |local| Some(Ends::SixRd { local, prefix, ipv4_mask_len }))
        }
        Link::SixToFour(sixtofour) => {
            let (anycast, accept_bogons) = (sixtofour.anycast, sixtofour.accept_bogons);
            Box::new(move |local| {
                let is_anycast = anycast && local == ANYCAST_RELAY;
                (is_anycast || ingress::locator(local, accept_bogons)).then_some(Ends::SixToFour { local })
            })
        }
        _ => Box::new(|local| Some(Ends::Isatap { local })),
    }
}

fn resolver(settings: Settings) -> Result<Resolver, Error> {
    Resolver::new(settings).map_err(|error| Error::refused("start", "the resolver's thread", error))
}

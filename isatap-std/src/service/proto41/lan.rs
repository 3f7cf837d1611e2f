//! The LANs of a node: native devices that get a /64 of what a tunnel delegates, and whose
//! hosts are told by Router Advertisements. See [`LanOptions`].

use super::{Linux, Notice, Proto41Role, Service, Site};
use crate::driver::Source;
use crate::driver::attachment::Attachment;
use crate::error::Error;
use crate::nd_socket::NdSocket;
use crate::netlink::{Netlink, sysctl};
use crate::runtime_dir::{Claim, RuntimeDir};
use crate::service::forwarding::Forwarding;
use crate::service::{LAN_MONITOR, LAN_SOLICITATIONS, repair, token};
use crate::spec::{LanOptions, fits};
use isatap_core::datapath::Switches;
use isatap_core::engine::{Delegation, Event};
use isatap_core::lan::{Config, LanInterface};
use isatap_core::link::NativeLink;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::route::Change;
use isatap_core::time::Instant;
use std::fmt;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::time::Duration;

/// A LAN of a service.
pub(crate) struct Lan {
    /// The link of the machine.
    id: LinkId,
    options: LanOptions,
    /// Whose prefixes it has a /64 of.
    tunnels: Vec<LinkId>,
    /// The device as it is served; `None`: it cannot be now.
    served: Option<Served>,
    /// Why it cannot be.
    problem: Option<Problem>,
    // Keeps other daemons off the device.
    _claim: Option<Claim>,
}

/// A device that is served.
struct Served {
    place: Place,
    attachment: Attachment,
    forwarding: Forwarding,
    /// Why there is no prefix although one is delegated.
    no_room: Option<Problem>,
}

/// What a router needs of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    index: u32,
    link_local: Ipv6Addr,
    subnet: u16,
}

/// Why a device cannot be served, or gets no prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    text: String,
    /// What to do; `None`: it mends itself.
    fix: Option<String>,
}

impl Problem {
    fn new(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { text: text.into(), fix: Some(fix.into()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.fix.as_ref().map_or(Ok(()), |fix| write!(f, "; {fix}"))
    }
}

/// How long to wait for the last words to a LAN: multicast advertisements are 3 seconds apart
/// (RFC 4861 §6.2.6).
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(4);
/// The kernel's `IN6_ADDR_GEN_MODE_NONE`.
const ADDR_GEN_MODE_NONE: i64 = 1;
/// The core sends nothing but advertisements there; the kernel forwards.
const MTU: u16 = 1500;

impl Place {
    fn find(netlink: &Netlink, options: &LanOptions) -> Result<Result<Self, Problem>, Error> {
        let device = &options.device;
        let cannot = |text: String, fix: String| Ok(Err(Problem::new(text, fix)));
        let Some(link) = netlink.links()?.into_iter().find(|link| link.name == *device) else {
            return cannot(format!("there is no device {device}"), "see: ip link".into());
        };
        if !link.is_up {
            return cannot(format!("{device} is switched off"), format!("ip link set {device} up"));
        }
        if sysctl::ipv6(device, "disable_ipv6").is_ok_and(|value| value != 0) {
            let fix = format!("sysctl -w net.ipv6.conf.{device}.disable_ipv6=0");
            return cannot(format!("IPv6 is switched off on {device}"), fix);
        }
        // S64-2
        let Some(subnet) = options.subnet.or_else(|| u16::try_from(link.index).ok().filter(|index| *index != 0)) else {
            let text = format!("the interface of {device} has the number {}, which is no subnet", link.index);
            return cannot(text, format!("name a subnet, as {device}:1"));
        };
        let Some(link_local) = netlink.link_local(link.index)? else {
            if netlink.has_duplicate_link_local(link.index)? {
                let text = format!("the link-local address of {device} is another machine's as well");
                let fix = format!(
                    "give one of both another MAC address; then: ip link set {device} down && ip link set {device} up"
                );
                return cannot(text, fix);
            }
            if sysctl::ipv6(device, "addr_gen_mode").is_ok_and(|mode| mode == ADDR_GEN_MODE_NONE) {
                let text = format!("{device} has no link-local address, and the kernel is told to make none");
                return cannot(text, format!("sysctl -w net.ipv6.conf.{device}.addr_gen_mode=0"));
            }
            return Ok(Err(Problem { text: format!("{device} has no link-local address yet"), fix: None }));
        };
        Ok(Ok(Place { index: link.index, link_local, subnet }))
    }
}

impl Lan {
    /// When there is something to do that nothing else tells.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.served.as_ref()?.attachment.deadline()
    }

    /// What `status` says of it, without what the machine knows.
    pub(super) fn facts(&self) -> Facts<'_> {
        let served = self.served.as_ref();
        Facts {
            id: self.id,
            device: &self.options.device,
            subnet: served.map(|served| served.place.subnet).or(self.options.subnet),
            link_local: served.map(|served| served.place.link_local),
            problem: match served {
                Some(served) => served.no_room.as_ref(),
                None => self.problem.as_ref(),
            }
            .map(|problem| (problem.text.as_str(), problem.fix.as_deref())),
        }
    }
}

/// See [`Lan::facts`].
pub(super) struct Facts<'l> {
    pub(super) id: LinkId,
    pub(super) device: &'l str,
    pub(super) subnet: Option<u16>,
    pub(super) link_local: Option<Ipv6Addr>,
    /// What is wrong, and what to do.
    pub(super) problem: Option<(&'l str, Option<&'l str>)>,
}

impl Site {
    /// The LANs of a tunnel.
    pub(super) fn lans_of(&self, tunnel: LinkId) -> impl Iterator<Item = &Lan> {
        self.lans.iter().filter(move |lan| lan.tunnels.contains(&tunnel))
    }

    /// Takes off the devices what is there.
    pub(super) fn withdraw_lans(&mut self, netlink: &Netlink) {
        for served in self.lans.iter_mut().filter_map(|lan| lan.served.as_mut()) {
            // Nobody is left to be told.
            let _ = served.attachment.withdraw(netlink);
        }
    }
}

impl Service<Proto41Role> {
    /// Gives LANs to a tunnel. One that another tunnel has already gets a prefix of both.
    pub(super) fn add_lans(
        &mut self,
        tunnel: LinkId,
        lans: &[LanOptions],
        runtime: Option<&RuntimeDir>,
    ) -> Result<(), Error> {
        for options in lans {
            let refused = |why: String| Error::usage("give a prefix to the LAN", options, why);
            if let Some(lan) = self.common.lans.iter_mut().find(|lan| lan.options.device == options.device) {
                if lan.options.subnet != options.subnet {
                    let why = format!("another tunnel has it as {}", lan.options);
                    return Err(refused(why).with_advice("write the same at both"));
                }
                lan.tunnels.push(tunnel);
                continue;
            }
            let claim = runtime.map(|runtime| runtime.claim(&options.device)).transpose()?;
            let nothing = Box::new(AnyInterface::Native(NativeLink::new(MTU)));
            let id = self
                .driver
                .machine_mut()
                .add(nothing, Switches::FORWARDING)
                .map_err(|full| refused(full.to_string()).with_advice("run a second process"))?;
            self.common.lans.push(Lan {
                id,
                options: options.clone(),
                tunnels: vec![tunnel],
                served: None,
                problem: None,
                _claim: claim,
            });
        }
        Ok(())
    }

    /// Devices may have come, gone or changed.
    pub(super) fn refresh_lans(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.each_lan(|service, lan| {
            // At the end there is nothing to serve.
            if outcome.is_ok() && !lan.tunnels.is_empty() {
                outcome = service.refresh_lan(lan);
            }
        });
        outcome
    }

    fn refresh_lan(&mut self, lan: &mut Lan) -> Result<(), Error> {
        let found = Place::find(&self.netlink, &lan.options)?;
        if found.as_ref().ok() == lan.served.as_ref().map(|served| &served.place) && lan.served.is_some() {
            // A tunnel may have come.
            self.check_lan_forwarding(lan);
            return Ok(());
        }
        self.close(lan);
        let opened = found.and_then(|place| {
            self.open_lan(lan, place).map_err(|error| Problem::new(error.to_string(), "restart the daemon"))
        });
        if let Err(problem) = &opened
            && lan.problem.as_ref() != Some(problem)
        {
            let text = format!("no router for the LAN of {}: {problem}", lan.options.device);
            self.notice(&if problem.fix.is_none() { Notice::Info(text) } else { Notice::Warning(text) });
        }
        lan.problem = opened.err();
        Ok(())
    }

    fn open_lan(&mut self, lan: &mut Lan, place: Place) -> Result<(), Error> {
        let device = &lan.options.device;
        let now = self.driver.now();
        let full = |full: isatap_core::error::TableFull| Error::usage("serve the LAN", device, full.to_string());
        let mut interface = LanInterface::<Linux>::new(Config::new(place.link_local, place.subnet)).map_err(full)?;
        interface.start(now);
        let socket = NdSocket::open(device, place.index)?;
        let attachment = Attachment::adopt(&self.netlink, lan.id, device)?;
        self.driver.watcher().watch(attachment.as_fd(), Source::Owner(token(lan.id, LAN_MONITOR)))?;
        self.driver.attach_lan(lan.id, socket, token(lan.id, LAN_SOLICITATIONS))?;
        self.with_interface(lan.id, |slot, _| *slot = AnyInterface::Lan(interface));
        let text = format!("router of the LAN of {device}: {}", place.link_local);
        let was_warned = lan.problem.as_ref().is_some_and(|problem| problem.fix.is_some());
        self.notice(&if was_warned { Notice::Mended(text) } else { Notice::Info(text) });
        lan.served = Some(Served { place, attachment, forwarding: Forwarding::default(), no_room: None });
        self.check_lan_forwarding(lan);
        for tunnel in lan.tunnels.clone() {
            let delegation = self.interface(tunnel).and_then(|interface| match interface {
                AnyInterface::SixToFourRouter(router) => router.delegation(),
                AnyInterface::SixRdEdge(edge) => edge.delegation(),
                AnyInterface::Configured(tunnel) => tunnel.delegation(),
                _ => None,
            });
            self.delegate(lan, tunnel, delegation);
        }
        Ok(())
    }

    /// Serves a LAN no longer: without a word, since its device cannot carry one.
    fn close(&mut self, lan: &mut Lan) {
        let Some(mut served) = lan.served.take() else { return };
        for tunnel in lan.tunnels.clone() {
            self.delegate(lan, tunnel, None);
        }
        self.driver.detach_lan(lan.id);
        self.with_interface(lan.id, |slot, _| *slot = AnyInterface::Native(NativeLink::new(MTU)));
        // Most often the device is gone or down, and what was on it as well.
        let _ = served.attachment.withdraw(&self.netlink);
    }

    /// Tells a LAN what a tunnel has for it.
    fn delegate(&mut self, lan: &mut Lan, tunnel: LinkId, given: Option<Delegation>) {
        let told = self.with_interface(lan.id, |interface, cx| match interface {
            AnyInterface::Lan(lan) => lan.delegate(cx, tunnel, given),
            _ => Ok(()),
        });
        let device = &lan.options.device;
        if let Some(Err(full)) = told {
            self.notice(&Notice::Warning(format!("not every prefix is used on {device}: {full}")));
        }
        let Some(served) = &mut lan.served else { return };
        let why =
            given.and_then(|given| Some((given.prefix, fits(Some(served.place.subnet), given.prefix.length()).err()?)));
        let no_room = why.map(|(prefix, why)| {
            Problem::new(
                format!("{device} gets no prefix of {prefix}: {why}"),
                format!("name a subnet that fits, as {device}:1"),
            )
        });
        if let Some(problem) = no_room.as_ref().filter(|problem| served.no_room.as_ref() != Some(problem)) {
            self.notice(&Notice::Warning(problem.to_string()));
        }
        served.no_room = no_room;
    }

    /// Carries out on the LANs what the machine tells.
    pub(super) fn lan_event(&mut self, now: Instant, event: &Event) {
        self.each_lan(|service, lan| {
            let (device, id) = (&lan.options.device, lan.id);
            if let Some(served) = &mut lan.served {
                // That a device is gone is found out, and told, once.
                if let Err(error) = served.attachment.apply(&service.netlink, now, event)
                    && !matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EBADFD))
                {
                    service.notice(&Notice::Warning(error.to_string()));
                }
                match event {
                    Event::Address { link, change, address }
                        if *link == id && !address.address.is_unicast_link_local() =>
                    {
                        service.notice(&Notice::Info(format!("address {} of {device} {change}", address.address)));
                    }
                    // NDP-67, S64-34: whether there is a way on is what makes a default router.
                    Event::Route { change: Change::Added | Change::Removed, route }
                        if route.prefix.is_default() && route.link != id =>
                    {
                        service.advertise_soon(id);
                    }
                    _ => {}
                }
            }
            if let Event::Delegation { link, change, delegation } = event
                && lan.tunnels.contains(link)
            {
                service.delegate(lan, *link, Some(*delegation).filter(|_| *change != Change::Removed));
            }
        });
    }

    /// A descriptor of a LAN is readable.
    pub(super) fn lan_ready(&mut self, id: LinkId, what: u32) -> Result<(), Error> {
        let Some(lan) = self.common.lans.iter_mut().find(|lan| lan.id == id) else { return Ok(()) };
        if what == LAN_SOLICITATIONS {
            self.driver.hear_lan(id);
            return Ok(());
        }
        let mut switches = false;
        if let Some(served) = &mut lan.served {
            // A device that was deleted is found out below.
            let changes = served.attachment.changes(&self.netlink).unwrap_or_default();
            if changes.lost {
                served.attachment.note_loss(self.driver.now());
            }
            switches = changes.switches;
        }
        if switches {
            self.each_lan(Self::check_lan_forwarding);
        }
        self.refresh_lans()
    }

    /// Does what is due on the LANs.
    pub(super) fn lan_timeouts(&mut self, now: Instant) {
        self.each_lan(|service, lan| {
            let Some(served) = &mut lan.served else { return };
            let repaired = repair(&mut served.attachment, &service.netlink, now);
            repaired.into_iter().for_each(|notice| service.notice(&notice));
        });
    }

    /// NDP-67: without the kernel's forwarding this is no default router. On the device of the
    /// LAN too, or its neighbour advertisements would say so; and from the tunnels, by which
    /// everything returns.
    fn check_lan_forwarding(&mut self, lan: &mut Lan) {
        let Some(served) = &mut lan.served else { return };
        let device = lan.options.device.as_str();
        let tunnels = lan.tunnels.iter().filter_map(|tunnel| self.attachment(*tunnel));
        let mut devices = std::iter::once(device).chain(tunnels.map(Attachment::name));
        // One that is gone says nothing: it comes again, or what it is for ends.
        let all = devices.try_fold(true, |all, device| Some(sysctl::is_router_if_there(device)? && all));
        let Some(forwards) = all else { return };
        let consequence = format!("the hosts of {device} hear of no default router");
        let Some(news) = served.forwarding.follow(forwards, Some((&consequence, Some(device)))) else { return };
        news.notice.iter().for_each(|notice| self.notice(notice));
        if let Some(switches) = self.driver.machine_mut().switches_mut(lan.id) {
            switches.forwarding = forwards;
        }
        if news.is_change {
            self.advertise_soon(lan.id);
        }
    }

    /// What is advertised on LANs has changed.
    pub(super) fn advertise_on_lans(&mut self) {
        for id in self.common.lans.iter().map(|lan| lan.id).collect::<Vec<_>>() {
            self.advertise_soon(id);
        }
    }

    fn advertise_soon(&mut self, id: LinkId) {
        self.with_interface(id, |interface, cx| {
            if let AnyInterface::Lan(lan) = interface {
                lan.start(cx.now);
            }
        });
    }

    /// Tunnels are to go: hosts hear that their prefixes are not to be used any more and, where
    /// no tunnel is left, that the router goes (NDP-42). Which LANs are to say so, and how many
    /// packets each has sent.
    pub(super) fn leave_lans(&mut self, gone: &[LinkId]) -> Vec<(LinkId, u64)> {
        let mut waits = Vec::new();
        self.each_lan(|service, lan| {
            let (left, kept) = lan.tunnels.iter().partition(|tunnel| gone.contains(tunnel));
            lan.tunnels = kept;
            let left: Vec<LinkId> = left;
            left.iter().for_each(|tunnel| service.delegate(lan, *tunnel, None));
            if left.is_empty() || !lan.tunnels.is_empty() || lan.served.is_none() {
                return;
            }
            service.with_interface(lan.id, |interface, cx| {
                if let AnyInterface::Lan(lan) = interface {
                    lan.stop(cx.now);
                }
            });
            let sent = service.driver.lan_packets(lan.id);
            if sent > 0 {
                waits.push((lan.id, sent));
            }
        });
        waits
    }

    /// Serves LANs without tunnels no more.
    pub(super) fn drop_lans(&mut self) {
        self.each_lan(|service, lan| {
            if lan.tunnels.is_empty() {
                service.close(lan);
                service.driver.machine_mut().remove(lan.id);
            }
        });
        self.common.lans.retain(|lan| !lan.tunnels.is_empty());
    }

    fn each_lan(&mut self, mut work: impl FnMut(&mut Self, &mut Lan)) {
        let mut lans = std::mem::take(&mut self.common.lans);
        lans.iter_mut().for_each(|lan| work(self, lan));
        self.common.lans = lans;
    }
}

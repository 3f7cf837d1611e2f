//! The LANs of a node: native devices that get a /64 of what a tunnel delegates, and whose
//! hosts are told by Router Advertisements. See [`LanOptions`].

use super::{FIRST_LAN, Linux, Node, Notice};
use crate::driver::Token;
use crate::driver::attachment::Attachment;
use crate::error::Error;
use crate::nd_socket::NdSocket;
use crate::netlink::{Netlink, sysctl};
use crate::runtime_dir::{Claim, RuntimeDir};
use crate::signal::{Request, Signals};
use crate::spec::{LanOptions, fits};
use isatap_core::datapath::Switches;
use isatap_core::engine::{Delegation, Event};
use isatap_core::interface::Interface as _;
use isatap_core::lan::{Config, Interface};
use isatap_core::link::NativeLink;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::route::Change;
use isatap_core::time::Instant;
use std::fmt;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::time::Duration;

/// A LAN of a node.
pub(crate) struct Lan {
    /// The link of the machine.
    id: LinkId,
    /// Its place among the LANs.
    number: u32,
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
    forwards: Option<bool>,
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

/// What a LAN's descriptors are, in a token.
const MONITOR: u32 = 0;
const SOLICITATIONS: u32 = 1;
const PER_LAN: u32 = 2;

/// How long the end of a node waits for its last words: multicast advertisements are 3
/// seconds apart (RFC 4861 §6.2.6).
const LAST_WORDS: Duration = Duration::from_secs(4);
/// The kernel's `IN6_ADDR_GEN_MODE_NONE`.
const ADDR_GEN_MODE_NONE: i64 = 1;
/// The core sends nothing but advertisements there; the kernel forwards.
const MTU: u16 = 1500;

impl Place {
    fn find(netlink: &Netlink, options: &LanOptions) -> Result<Result<Self, Problem>, Error> {
        let device = &options.device;
        let cannot = |text: String, fix: String| Ok(Err(Problem::new(text, fix)));
        let Some(link) = netlink.links()?.into_iter().find(|link| link.name == *device) else {
            return cannot(format!("the device {device} is gone"), "see: ip link".into());
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

    fn token(&self, what: u32) -> Token {
        Token(FIRST_LAN + self.number * PER_LAN + what)
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

impl Node {
    /// Gives LANs to a tunnel. One that another tunnel has already gets a prefix of both.
    pub(crate) fn add_lans(
        &mut self,
        tunnel: LinkId,
        lans: &[LanOptions],
        runtime: Option<&RuntimeDir>,
    ) -> Result<(), Error> {
        for options in lans {
            let refused = |why: String| Error::usage("give a prefix to the LAN", options, why);
            if let Some(lan) = self.lans.iter_mut().find(|lan| lan.options.device == options.device) {
                if lan.options.subnet != options.subnet {
                    let why = format!("another tunnel has it as {}", lan.options);
                    return Err(refused(why).with_advice("write the same at both"));
                }
                lan.tunnels.push(tunnel);
                continue;
            }
            self.netlink.link(&options.device)?;
            let claim = runtime.map(|runtime| runtime.claim(&options.device)).transpose()?;
            let number = self.lans.len().try_into().unwrap_or(u32::MAX);
            let nothing = Box::new(AnyInterface::Native(NativeLink::new(MTU)));
            let id = self
                .driver
                .machine_mut()
                .add(nothing, Switches::FORWARDING)
                .map_err(|full| refused(full.to_string()).with_advice("run a second process"))?;
            self.lans.push(Lan {
                id,
                number,
                options: options.clone(),
                tunnels: vec![tunnel],
                served: None,
                problem: None,
                _claim: claim,
            });
        }
        Ok(())
    }

    /// The LANs of a tunnel.
    pub(super) fn lans_of(&self, tunnel: LinkId) -> impl Iterator<Item = &Lan> {
        self.lans.iter().filter(move |lan| lan.tunnels.contains(&tunnel))
    }

    /// Devices may have come, gone or changed.
    pub(super) fn refresh_lans(&mut self) -> Result<(), Error> {
        self.each_lan(|node, lan| {
            // At the end there is nothing to serve.
            if lan.tunnels.is_empty() {
                return Ok(());
            }
            let found = Place::find(&node.netlink, &lan.options)?;
            if found.as_ref().ok() == lan.served.as_ref().map(|served| &served.place) && lan.served.is_some() {
                return Ok(());
            }
            node.close(lan);
            let opened = found.and_then(|place| {
                node.open_lan(lan, place).map_err(|error| Problem::new(error.to_string(), "restart the daemon"))
            });
            match opened {
                Ok(()) => lan.problem = None,
                Err(problem) => {
                    if lan.problem.as_ref() != Some(&problem) {
                        let text = format!("no router for the LAN of {}: {problem}", lan.options.device);
                        let is_routine = problem.fix.is_none();
                        node.notice(&if is_routine { Notice::Info(text) } else { Notice::Warning(text) });
                    }
                    lan.problem = Some(problem);
                }
            }
            Ok(())
        })
    }

    fn open_lan(&mut self, lan: &mut Lan, place: Place) -> Result<(), Error> {
        let device = &lan.options.device;
        let now = self.driver.now();
        let full = |full: isatap_core::error::TableFull| Error::usage("serve the LAN", device, full.to_string());
        let mut interface = Interface::<Linux>::new(Config::new(place.link_local, place.subnet)).map_err(full)?;
        interface.start(now);
        let socket = NdSocket::open(device, place.index)?;
        let attachment = Attachment::adopt(&self.netlink, lan.id, device)?;
        self.driver.watch(attachment.as_fd(), lan.token(MONITOR))?;
        self.driver.attach_lan(lan.id, socket, lan.token(SOLICITATIONS))?;
        self.with_interface(lan.id, |slot, _| *slot = AnyInterface::Lan(interface));
        self.notice(&Notice::Info(format!("router of the LAN of {device}: {}", place.link_local)));
        lan.served = Some(Served { place, attachment, forwards: None, no_room: None });
        self.check_lan_forwarding(lan);
        for tunnel in lan.tunnels.clone() {
            let delegation = self.interface(tunnel).and_then(|interface| match interface {
                AnyInterface::SixToFourRouter(router) => router.delegation(),
                AnyInterface::SixRdEdge(edge) => edge.delegation(),
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
        let told = self.with_interface(lan.id, |interface, cx| interface.control_mut().delegate(cx, tunnel, given));
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
            (self.observer)(&Notice::Warning(problem.to_string()));
        }
        served.no_room = no_room;
    }

    /// Carries out on the LANs what the machine tells.
    pub(super) fn lan_event(&mut self, now: Instant, event: &Event) -> Result<(), Error> {
        self.each_lan(|node, lan| {
            let (device, id) = (&lan.options.device, lan.id);
            if let Some(served) = &mut lan.served {
                if let Err(error) = served.attachment.apply(&node.netlink, now, event) {
                    node.notice(&Notice::Warning(error.to_string()));
                }
                match event {
                    Event::Address { link, change, address }
                        if *link == id && !address.address.is_unicast_link_local() =>
                    {
                        node.notice(&Notice::Info(format!("address {} of {device} {change}", address.address)));
                    }
                    // NDP-67, S64-34: whether there is a way on is what makes a default router.
                    Event::Route { change: Change::Added | Change::Removed, route }
                        if route.prefix.is_default() && route.link != id =>
                    {
                        node.advertise_soon(id);
                    }
                    _ => {}
                }
            }
            if let Event::Delegation { link, change, delegation } = event
                && lan.tunnels.contains(link)
            {
                node.delegate(lan, *link, Some(*delegation).filter(|_| *change != Change::Removed));
            }
            Ok(())
        })
    }

    /// What a descriptor of a LAN's has: `ready` counts from [`FIRST_LAN`].
    pub(super) fn lan_ready(&mut self, ready: u32) -> Result<(), Error> {
        let at = usize::try_from(ready / PER_LAN).unwrap_or(usize::MAX);
        let Some(lan) = self.lans.get_mut(at) else { return Ok(()) };
        if ready % PER_LAN == SOLICITATIONS {
            self.driver.hear_lan(lan.id);
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
            self.each_lan(|node, lan| {
                node.check_lan_forwarding(lan);
                Ok(())
            })?;
        }
        self.refresh_lans()
    }

    /// Does what is due on the LANs.
    pub(super) fn lan_timeouts(&mut self, now: Instant) -> Result<(), Error> {
        self.each_lan(|node, lan| {
            let device = &lan.options.device;
            let Some(served) = &mut lan.served else { return Ok(()) };
            if served.attachment.deadline().is_some_and(|due| due <= now) {
                match served.attachment.repair(&node.netlink, now) {
                    Ok(0) => {}
                    Ok(count) => node.notice(&Notice::Warning(format!(
                        "another hand took {count} of the addresses and routes of {device}: they are back"
                    ))),
                    Err(error) => node.notice(&Notice::Warning(error.to_string())),
                }
            }
            Ok(())
        })
    }

    /// NDP-67: without the kernel's forwarding this is no default router. On the device of the
    /// LAN too, or its neighbour advertisements would say so; and from the tunnels, by which
    /// everything returns.
    fn check_lan_forwarding(&mut self, lan: &mut Lan) {
        let Some(served) = &mut lan.served else { return };
        let device = &lan.options.device;
        let mut tunnels = lan.tunnels.iter().filter_map(|tunnel| self.attachment(*tunnel));
        let forwards = sysctl::is_router(device) && tunnels.all(|tunnel| sysctl::is_router(tunnel.name()));
        if served.forwards == Some(forwards) {
            return;
        }
        let is_change = served.forwards.replace(forwards).is_some();
        if !forwards {
            self.notice(&Notice::Warning(format!(
                "the kernel does not forward IPv6, so the hosts of {device} hear of no default router: \
                 sysctl -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.{device}.forwarding=1"
            )));
        }
        if let Some(switches) = self.driver.machine_mut().switches_mut(lan.id) {
            switches.forwarding = forwards;
        }
        if is_change {
            self.advertise_soon(lan.id);
        }
    }

    fn advertise_soon(&mut self, id: LinkId) {
        self.with_interface(id, |interface, cx| {
            if let AnyInterface::Lan(lan) = interface {
                lan.start(cx.now);
            }
        });
    }

    /// The end: hosts hear that the prefixes are not to be used any more and that the router
    /// goes (NDP-42), which takes 4 seconds at most; a second signal spares them. Without LANs
    /// it takes no time. What was asked for meanwhile is put back, for the caller to take: this
    /// may be the end before a new beginning.
    pub(crate) fn finish(&mut self, signals: &mut Signals) -> Result<(), Error> {
        let mut waits = Vec::new();
        self.each_lan(|node, lan| {
            if lan.served.is_none() {
                return Ok(());
            }
            for tunnel in std::mem::take(&mut lan.tunnels) {
                node.delegate(lan, tunnel, None);
            }
            node.with_interface(lan.id, |interface, cx| {
                if let AnyInterface::Lan(lan) = interface {
                    lan.stop(cx.now);
                }
            });
            let sent = node.driver.lan_packets(lan.id);
            if sent > 0 {
                waits.push((lan.id, sent));
            }
            Ok(())
        })?;
        let end = self.driver.now().saturating_add(LAST_WORDS);
        self.driver.watch(signals.as_fd(), super::SIGNALS)?;
        let mut asked = Vec::new();
        let mut outcome = Ok(());
        while waits.iter().any(|(id, sent)| self.driver.lan_packets(*id) == *sent) {
            let left = end.saturating_duration_since(self.driver.now());
            if left.is_zero() || asked.contains(&Request::Stop) {
                break;
            }
            match self.turn(Some(left)) {
                Ok(turned) if turned.signalled => asked.extend(signals.take()),
                Ok(_) => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.driver.unwatch(signals.as_fd());
        for request in asked {
            signals.put_back(request);
        }
        outcome
    }

    /// Takes off the devices what is there.
    pub(super) fn withdraw_lans(&mut self) {
        for lan in &mut self.lans {
            if let Some(served) = &mut lan.served {
                // Nobody is left to be told.
                let _ = served.attachment.withdraw(&self.netlink);
            }
        }
    }

    fn each_lan(&mut self, mut work: impl FnMut(&mut Self, &mut Lan) -> Result<(), Error>) -> Result<(), Error> {
        let mut lans = std::mem::take(&mut self.lans);
        let result = lans.iter_mut().try_for_each(|lan| work(self, lan));
        self.lans = lans;
        result
    }
}

//! What the loop asks of the links of one machine.

use super::status::Status;
use super::{LinkEvent, Notice, Observer, Service};
use crate::device::Binding;
use crate::driver::attachment::{Attachment, Changes};
use crate::driver::{Driver, OuterSocket};
use crate::error::Error;
use crate::locators::{Found, LocatorSource};
use crate::netlink::Netlink;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Event, Machine};
use isatap_core::link::Locator;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// Who wants all to be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SolicitedBy {
    /// By the control socket, about one link.
    Person,
    /// The same for an examination: it is no reason to ask whom a question annoys.
    #[cfg_attr(not(feature = "control"), expect(dead_code, reason = "nobody can ask"))]
    Doctor,
    /// A signal, which comes of a reload too: it is no reason to ask whom a question annoys.
    Signal,
}

/// What a link asks of the system beside its device, and what it says of itself.
pub(crate) trait Role: Sized + Send {
    type Machine: Machine + Send;
    type Socket: OuterSocket + Send;
    /// What the links of a machine have in common.
    type Common: Common<Self>;

    /// What became of the packets of one link.
    fn counters(driver: &Driver<Self::Machine, Self::Socket>, id: LinkId) -> Option<&Counters<u64>>;

    /// The name of the role in `status`.
    fn name(&self) -> &'static str;

    /// Where the IPv4 addresses come from.
    fn locators(&self) -> &LocatorSource;

    /// Whether it serves its own machine alone: the core lets in what is for that one, and
    /// the kernel is told that the device is a host's.
    fn is_host(&self) -> bool {
        false
    }

    /// The address that it is known by, where its device has none.
    fn address(&self, _: &Self::Machine) -> Option<Ipv6Addr> {
        None
    }

    /// Threads that answer: see [`ready`](Self::ready).
    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        [None, None, None]
    }

    /// One of the [`descriptors`](Self::descriptors) is readable.
    fn ready(&mut self, _: &mut Environment<'_, Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Once, when the device is there.
    fn start(&mut self, env: &mut Environment<'_, Self>) -> Result<(), Error>;

    /// IPv4 addresses, links or routes of the system are others.
    fn refresh(&mut self, env: &mut Environment<'_, Self>) -> Result<(), Error>;

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: &mut Environment<'_, Self>) -> Result<(), Error> {
        Ok(())
    }

    /// IPv6 addresses, default routes or links of the system are others: see
    /// [`elsewhere`](super::elsewhere).
    fn look_elsewhere(&mut self, _: &mut Environment<'_, Self>) -> Result<(), Error> {
        Ok(())
    }

    /// The kernel has told that a switch of a device's is another.
    fn switches_changed(&mut self, _: &mut Environment<'_, Self>) {}

    /// Routes that other programs have put on the device are others.
    fn mirror(&mut self, _: &mut Environment<'_, Self>) -> Result<(), Error> {
        Ok(())
    }

    /// An event as the device is to carry it out.
    fn adapt(&self, event: Event) -> Event {
        event
    }

    /// Something that the machine tells of this link; the device has done its part.
    fn event(&mut self, env: &mut Environment<'_, Self>, event: &Event) -> Result<(), Error>;

    /// After the events of each round.
    fn settled(&mut self, _: &mut Environment<'_, Self>) {}

    /// Asks now whom it would ask in time; whom that is, or why there is nobody.
    fn solicit(&mut self, _: &mut Environment<'_, Self>, _: SolicitedBy) -> Result<Vec<Ipv4Addr>, &'static str> {
        Err("it has nobody to ask")
    }

    /// Adds what is the role's own.
    fn describe(&self, view: &View<'_, Self>, status: &mut Status);

    /// The same, for the doctor.
    #[cfg(feature = "control")]
    fn testify(&self, _: &View<'_, Self>, _: &mut super::evidence::Evidence) {}
}

/// What the links of one machine have in common, and do together.
pub(crate) trait Common<R: Role>: Sized + Send {
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Removes the locators from a list that the link is not to use; warnings about what is new.
    fn follow(&mut self, _: Instant, _: LinkId, _: &mut Vec<Locator>) -> Vec<String> {
        Vec::new()
    }

    /// A descriptor is readable that is no link's: what its token says.
    fn ready(_: &mut Service<R>, _: LinkId, _: u32) -> Result<(), Error> {
        Ok(())
    }

    /// The system has changed, by other programs.
    fn changed(_: &mut Service<R>, _: Changes) -> Result<(), Error> {
        Ok(())
    }

    fn handle_timeout(_: &mut Service<R>, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    /// Something that the machine tells.
    fn event(_: &mut Service<R>, _: Instant, _: &Event) -> Result<(), Error> {
        Ok(())
    }

    /// The end: what is on devices that stay is taken off.
    fn withdraw(&mut self, _: &Netlink) {}
}

/// Links that have nothing in common.
impl<R: Role> Common<R> for () {}

/// What a role works with.
pub(crate) struct Environment<'n, R: Role> {
    pub(super) now: Instant,
    pub(super) id: LinkId,
    pub(super) driver: &'n mut Driver<R::Machine, R::Socket>,
    pub(super) attachment: &'n mut Attachment,
    /// The IPv4 addresses that the link sends from, as they were found last.
    pub(super) found: &'n mut Found,
    pub(super) binding: &'n Binding,
    pub(super) netlink: &'n Netlink,
    pub(super) common: &'n mut R::Common,
    pub(super) observer: &'n Observer,
}

impl<R: Role> Environment<'_, R> {
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.notice(&Notice::Warning(text.into()));
    }

    pub(super) fn info(&mut self, text: impl Into<String>) {
        self.notice(&Notice::Info(text.into()));
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        self.observer.notice(Some(self.attachment.name()), notice);
    }

    pub(super) fn link_event(&mut self, event: LinkEvent) {
        self.observer.link(self.attachment.name(), event);
    }

    /// Finds the IPv4 addresses anew; gives what was found before.
    pub(super) fn find(&mut self, source: &LocatorSource, router: Option<Ipv4Addr>) -> Result<Found, Error> {
        let mut found = source.find(self.netlink, router, self.binding)?;
        self.driver.bind(self.id, self.binding.on(found.interface));
        for warning in self.common.follow(self.now, self.id, &mut found.locators) {
            self.warn(warning);
        }
        self.driver.expect(self.id, found.locators.iter().map(|locator| locator.address).collect());
        if found.locators != self.found.locators {
            let locators = found.locators.iter().map(|locator| locator.address).collect();
            self.link_event(LinkEvent::LocatorsChanged { locators });
        }
        let before = std::mem::replace(self.found, found);
        let device = self.attachment.name();
        match (&self.found.missing, &before.missing) {
            (Some(missing), before) if before.as_ref() != Some(missing) => {
                let text = format!(
                    "{device} waits for {}: nothing is sent or answered until then; see: {}",
                    missing.what, missing.see
                );
                self.warn(text);
            }
            (None, Some(_)) if !self.found.locators.is_empty() => {
                let addresses: Vec<_> = self.found.locators.iter().map(|locator| locator.address).collect();
                // Who watches has heard of the addresses.
                self.observer.log(&Notice::Mended(format!("{device} sends from {}", crate::spec::list(&addresses))));
            }
            _ => {}
        }
        Ok(before)
    }

    /// Does to the device what an event says, and tells of it; what the kernel refuses is a warning.
    pub(super) fn apply(&mut self, event: &Event) {
        if let Err(error) = self.attachment.apply(self.netlink, self.now, event) {
            self.warn(error.to_string());
        }
        match event {
            Event::Address { change, address, .. } => {
                self.link_event(LinkEvent::of_address(self.now, *change, address));
            }
            Event::Route { change, route } => self.link_event(LinkEvent::of_route(self.now, *change, route)),
            Event::Mtu { mtu, .. } => self.link_event(LinkEvent::MtuChanged { mtu: *mtu }),
            _ => {}
        }
    }
}

/// What a role speaks of.
pub(crate) struct View<'n, R: Role> {
    pub(super) now: Instant,
    pub(super) id: LinkId,
    pub(super) machine: &'n R::Machine,
    pub(super) common: &'n R::Common,
}

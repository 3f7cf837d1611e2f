//! A shorter way for packets whose decision is known: the kernel's, which carries them out itself.
//!
//! The driver tells of decisions that served more than one packet, and when they hold no more; it
//! hears what went by them. So counters are true, and neighbours that are used stay known.

use super::outbound::Outgoing;
use super::{Device, Driver, OuterSocket, Source};
use crate::error::Error;
use crate::proto41_socket::Bound;
use isatap_core::engine::{Admits, Carried, Machine, Sends};
use isatap_core::packet::LinkId;
use isatap_core::time::{Expiry, Instant};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// What carries packets instead of the driver.
pub trait Shortcut: fmt::Debug + Send {
    /// Packets with these addresses from the device of `from` go so. A flow that is not known [already](Sends::again) is
    /// told of for the sake of what is carried already.
    fn sends(&mut self, now: Instant, from: LinkId, sends: &Sends, bound: Bound);

    /// Packets with these addresses come in by the device of this interface index; 0: by any.
    fn admits(&mut self, now: Instant, interface: u32, admits: &Admits);

    /// Only what is told while this is the number holds; 0: nothing does, and nothing is to be carried.
    fn follow(&mut self, generation: u64);

    /// Nothing holds any more that was told of packets to this inner address and from it.
    fn forget(&mut self, peer: Ipv6Addr);

    /// From now on this device is that of `link`; `None`: there is none.
    ///
    /// # Errors
    ///
    /// Its packets cannot be carried.
    fn follow_device(&mut self, now: Instant, link: LinkId, device: Option<&str>) -> Result<(), Error>;

    /// Packets for `link`, which has a device, are going to come to these addresses of this machine's alone: what takes long
    /// for that is to be done now.
    fn expect(&mut self, now: Instant, link: LinkId, addresses: &[Ipv4Addr]);

    /// When [`collect`](Self::collect) has something to do.
    fn deadline(&self) -> Option<Instant>;

    /// Does what is due, and tells what went by a part of the rows since it was asked last. Hears until when such decisions
    /// hold by now; `None`: as was told.
    fn collect(&mut self, now: Instant, carried: &mut dyn FnMut(Carried) -> Option<Expiry>);

    /// Tells what went by all of them.
    fn collect_all(&mut self, now: Instant, carried: &mut dyn FnMut(Carried) -> Option<Expiry>);

    /// What is readable when something has happened for it to [hear](Self::hear) of.
    fn news(&self) -> Vec<BorrowedFd<'_>>;

    /// Looks what has happened.
    fn hear(&mut self, now: Instant);

    /// Why it carries nothing of a link at the moment.
    fn obstacle(&self, link: LinkId) -> Option<&str>;

    /// How many decisions it has.
    fn rows(&self) -> usize;
}

/// The driver's side of it.
#[derive(Debug, Default)]
pub(super) struct Shorter {
    way: Option<Box<dyn Shortcut>>,
    /// Counts what decisions depend on besides the machine: how links are bound to devices.
    epoch: u32,
    /// Why there is no such way.
    why_not: Option<String>,
    /// Why packets of a device cannot be carried, until that was told.
    error: Option<Error>,
}

/// What went the shorter way, of one link. A super-packet counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriage {
    /// Packets from its device.
    pub sent: u64,
    /// Packets to its device.
    pub received: u64,
}

impl Shorter {
    /// Something has changed that decisions depend on and that is not the machine's own.
    pub(super) fn begin_anew(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.way.iter_mut().for_each(|way| way.hear(now));
    }

    /// A device is that of `link` from now on.
    pub(super) fn follow_device(&mut self, now: Instant, link: LinkId, device: Option<&str>) {
        if let Some(Err(error)) = self.way.as_mut().map(|way| way.follow_device(now, link, device)) {
            self.error = Some(error);
        }
    }

    /// What the shorter way may be told of the packet that was encapsulated last.
    #[inline]
    pub(super) fn known(&self, machine: &impl Machine) -> Option<Sends> {
        self.way.as_ref().and_then(|_| machine.last_sends())
    }

    /// Such a packet from the device of `from` was sent.
    pub(super) fn sent(&mut self, now: Instant, from: LinkId, sends: &Sends, bound: Bound) {
        if let Some(way) = &mut self.way {
            way.sends(now, from, sends, bound);
        }
    }

    /// A packet by the device of this interface index was delivered.
    #[inline]
    pub(super) fn delivered(&mut self, now: Instant, interface: u32, machine: &impl Machine) {
        if let Some(way) = &mut self.way
            && let Some(admits) = machine.last_admits()
        {
            way.admits(now, interface, &admits);
        }
    }

    /// What a call of the machine's has voided goes before what it tells comes: there, and of `outgoing`.
    #[inline]
    pub(super) fn heed(&mut self, machine: &mut impl Machine, outgoing: &mut [Outgoing]) {
        while let Some(peer) = machine.poll_void() {
            outgoing.iter_mut().for_each(|sent| sent.forget(peer));
            self.way.iter_mut().for_each(|way| way.forget(peer));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.way.as_ref().and_then(|way| way.deadline())
    }
}

impl<M: Machine, S: OuterSocket, D: Device> Driver<M, S, D> {
    /// Has packets of known flows carried by `way`.
    ///
    /// # Errors
    ///
    /// It cannot carry those of a device that there is; out of descriptors. Then all is as it was.
    pub fn shorten(&mut self, mut way: Box<dyn Shortcut>) -> Result<(), Error> {
        let now = self.clock.now();
        for port in &self.out.ports {
            way.follow_device(now, port.link, Some(port.device.name()))?;
            way.expect(now, port.link, &port.addresses);
        }
        way.news().into_iter().try_for_each(|news| self.watcher.watch(news, Source::Shortcut))?;
        self.shorter = Shorter { way: Some(way), ..Shorter::default() };
        self.follow();
        Ok(())
    }

    /// Says why there is no shorter way.
    pub fn do_not_shorten(&mut self, why_not: String) {
        self.shorter = Shorter { why_not: Some(why_not), ..Shorter::default() };
    }

    /// The shorter way, or why there is none; `None`: nobody wants one.
    pub fn shortcut(&self) -> Option<Result<&dyn Shortcut, &str>> {
        let why_not = self.shorter.why_not.as_deref().map(Err);
        self.shorter.way.as_deref().map(Ok).or(why_not)
    }

    /// What of a link's packets went the shorter way.
    pub fn carried(&self, link: LinkId) -> Carriage {
        self.out.ports.iter().find(|port| port.link == link).map(|port| port.carried).unwrap_or_default()
    }

    /// Why packets of a device cannot go the shorter way, once.
    pub fn take_shortcut_error(&mut self) -> Option<Error> {
        self.shorter.error.take()
    }

    /// Tells the shorter way which decisions hold, after anything may have changed. None do while packets are
    /// recorded: all are to be seen.
    pub fn follow(&mut self) {
        self.shorter.heed(&mut *self.machine, &mut self.outgoing);
        let Some(way) = &mut self.shorter.way else { return };
        let generation = (u64::from(self.shorter.epoch) + 1) << 32 | u64::from(self.machine.generation());
        way.follow(if self.out.tap.is_some() { 0 } else { generation });
    }

    /// Outer packets for `link` come to these addresses from now on.
    pub fn expect(&mut self, link: LinkId, addresses: Vec<Ipv4Addr>) {
        let now = self.clock.now();
        let Some(port) = self.out.ports.iter_mut().find(|port| port.link == link) else { return };
        if port.addresses != addresses {
            self.shorter.way.iter_mut().for_each(|way| way.expect(now, link, &addresses));
            port.addresses = addresses;
        }
    }

    /// Does what is due for the shorter way, and counts what went it.
    pub(super) fn count_when_due(&mut self, now: Instant) {
        if self.shorter.deadline().is_some_and(|due| due <= now) {
            self.count(now, |way, now, each| way.collect(now, each));
        }
    }

    /// Counts all that went the shorter way.
    pub(super) fn count_carried(&mut self) {
        self.count(self.clock.now(), |way, now, each| way.collect_all(now, each));
    }

    fn count(
        &mut self,
        now: Instant,
        collect: impl FnOnce(&mut dyn Shortcut, Instant, &mut dyn FnMut(Carried) -> Option<Expiry>),
    ) {
        let Self { shorter: Shorter { way: Some(way), .. }, machine, out, .. } = self else { return };
        collect(&mut **way, now, &mut |part| {
            let until = machine.carried(now, &part);
            let port = out.ports.iter_mut().find(|port| port.link == part.device)?;
            let (by_kind, total) = match part.destination {
                Some(_) => (&mut port.counters.tunnelled, &mut port.carried.sent),
                None => (&mut port.counters.delivered, &mut port.carried.received),
            };
            *by_kind += part.packets;
            *total += part.packets;
            port.counters.entered += part.packets;
            until
        });
    }
}

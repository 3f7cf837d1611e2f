//! The kernel's path: decisions of a [driver](crate::driver) mirrored into the kernel, whose
//! programs encapsulate and decapsulate what user space has decided about before.
//!
//! ```text
//! TUN ─▶ program: row? ──yes──▶ device underneath        user space sees the first packets of a
//!                  ╰──no──▶ user space decides ─▶ row    flow, one in 5 seconds afterwards, and
//! device underneath ─▶ program: row? ──yes──▶ TUN        whatever is not plain
//!                               ╰──no──▶ IPv4 ─▶ socket ─▶ user space decides ─▶ row
//! ```
//!
//! # What is sure
//!
//! - A row is for exactly the addresses, and the device, that the decision was for: nothing comes in
//!   that user space did not let in. What depends on other bytes of a packet the programs look at,
//!   or leave to user space: `kernel-program` says what.
//! - A row holds as long as the decision: until links, routes or neighbours change, for which it is
//!   enough to write one number, and no longer than its neighbour's answer (SEC-1).
//! - A row is good for 10 seconds, and after 5 one packet in a second goes to user space, which
//!   writes it anew. So a rule of the firewall that comes later is heeded within 10 seconds, and a
//!   daemon that hangs forwards no longer than that; another route by another device within 20.
//! - The programs are attached by links of this process (tcx, Linux 6.6): whatever ends it,
//!   nothing forwards any more.
//! - What went by a row is counted once a second, and notes that the neighbour is used (NDP-50).
//!
//! # What it cannot do
//!
//! - Outer packets that the programs carry pass neither the firewall of IPv4 nor conntrack; those of a
//!   flow that stay in user space do, and inner packets pass the firewall of IPv6 as ever. So while
//!   there are rules that outer packets would pass, all stay in user space, unless somebody wants it
//!   otherwise ([`Require`](crate::spec::KernelPath::Require)). The same holds, always, while IPsec has
//!   policies, and while packets are recorded. Of nftables it is heard at once, else it is looked at once a second.
//! - Queues and filters (tc) of a tunnel's device do not see what goes out by the programs; those of
//!   the device underneath do, but for filters of what it receives.
//! - Rules of routing that name the protocol (`ip rule … ipproto`) are not followed.
//! - Packets that may be fragmented on the way, Teredo, and devices underneath that are not of the
//!   kind of Ethernet stay in user space.

mod attributes;
mod firewall;
mod ipsec;
mod layout;
mod programs;
mod rows;
mod ways;

use self::firewall::Firewall;
use self::layout::{Admission, AdmissionKey, Life, Path, PathKey, Used};
use self::programs::{Programs, Side};
use self::rows::{GOOD, RENEWED, Rows};
use self::ways::Ways;
use crate::driver::Shortcut;
use crate::error::Error;
use crate::netlink::Netlink;
use crate::proto41_socket::Bound;
use isatap_core::engine::{Admits, Carried, Sends};
use isatap_core::packet::LinkId;
use isatap_core::proto41::OVERHEAD;
use isatap_core::time::{Expiry, Instant};
use nix::net::if_::if_nametoindex;
use nix::time::{ClockId, clock_gettime};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// How often it is asked what went by.
const COUNTED: Duration = Duration::from_secs(1);

/// Decisions in the kernel.
pub(crate) struct KernelPath {
    programs: Programs,
    paths: Rows<PathKey, Path>,
    admissions: Rows<AdmissionKey, Admission>,
    netlink: Netlink,
    ways: Ways,
    /// Of the links: interface indexes.
    devices: Vec<(LinkId, u32)>,
    /// Devices underneath that cannot have a program.
    refused: Vec<u32>,
    /// The driver's number of the decisions that hold; 0: none does.
    wanted: u64,
    /// Counts these numbers, and obstacles: no row of an earlier one is ever good again.
    serial: u64,
    /// What the programs were told: rows of another generation are not good; 0: none is.
    generation: u64,
    count_at: Instant,
    /// Tells of its rules, where they count as an obstacle.
    firewall: Option<Firewall>,
    /// When it was asked for obstacles, and what was found.
    obstacle: (Instant, Option<&'static str>),
}

impl KernelPath {
    /// Loads the programs.
    ///
    /// # Errors
    ///
    /// The kernel is too old for them, or this process may not load any.
    pub(crate) fn open(heeds_firewall: bool) -> Result<Self, Error> {
        let (programs, tables) = Programs::load()?;
        Ok(Self {
            programs,
            paths: Rows::new(tables.paths),
            admissions: Rows::new(tables.admissions),
            netlink: Netlink::open()?,
            ways: Ways::default(),
            devices: Vec::new(),
            refused: Vec::new(),
            wanted: 0,
            serial: 0,
            generation: 0,
            count_at: Instant::ZERO,
            obstacle: (Instant::ZERO, obstacle(heeds_firewall)),
            firewall: heeds_firewall.then(Firewall::open),
        })
    }

    fn device(&self, link: LinkId) -> Option<u32> {
        self.devices.iter().find(|(of, _)| *of == link).map(|(_, index)| *index)
    }

    /// Whether rows may be written: they are not while the programs would go past something.
    fn is_open(&mut self, now: Instant) -> bool {
        if self.obstacle.0.saturating_add(COUNTED) <= now {
            self.obstacle.0 = now;
            self.look();
        }
        self.generation != 0
    }

    /// Looks for obstacles.
    fn look(&mut self) {
        let found = obstacle(self.firewall.is_some());
        if self.obstacle.1 != found {
            self.obstacle.1 = found;
            self.serial += 1;
        }
        self.tell();
    }

    /// Tells the programs which rows are good.
    fn tell(&mut self) {
        let good = if self.obstacle.1.is_some() || self.wanted == 0 { 0 } else { self.serial };
        if self.generation != good && self.programs.set_generation(good).is_ok() {
            self.generation = good;
        }
    }

    /// Whether the program is in front of the device underneath; puts it there.
    fn listens(&mut self, index: u32) -> bool {
        if self.programs.is_attached(index, Side::Underlay) {
            return true;
        }
        if self.refused.contains(&index) {
            return false;
        }
        let device = self.ways.device(&self.netlink, index);
        let attached = device.is_some_and(|device| self.programs.attach(index, &device.name, Side::Underlay).is_ok());
        if !attached {
            self.refused.push(index);
        }
        attached
    }

    /// How long a row is good that is written now.
    fn life(&self, now: Instant, until: Expiry) -> Life {
        let clock = coarse_now();
        let at = |after: Duration| clock.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        let good = until.instant().map_or(GOOD, |until| until.saturating_duration_since(now).min(GOOD));
        Life { generation: self.generation, until: at(good), renew: at(RENEWED) }
    }
}

impl fmt::Debug for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelPath({} rows)", self.rows())
    }
}

impl Shortcut for KernelPath {
    fn sends(&mut self, now: Instant, from: LinkId, sends: &Sends, bound: Bound) {
        let Some(device) = self.device(from).filter(|_| self.is_open(now)) else { return };
        let key =
            PathKey { source: words(sends.source), destination: words(sends.destination), device: u64::from(device) };
        if !self.paths.wants(now, &key, self.generation) {
            return;
        }
        let Some(way) = self.ways.of(&self.netlink, now, [sends.outer_source, sends.outer_destination], bound) else {
            return;
        };
        let path = Path {
            life: self.life(now, sends.until),
            used: Used::default(),
            outer_source: half(sends.outer_source),
            outer_destination: half(sends.outer_destination),
            underlay: way.interface,
            mark: bound.mark,
            mtu: u32::from(sends.mtu).min(way.mtu.saturating_sub(OVERHEAD.into())),
            tos: sends.tos,
            tos_mask: sends.tos_mask,
            ttl: sends.ttl,
            unused: 0,
        };
        // A row that is not there is a packet more for user space.
        let _ = self.paths.write(now, key, path, (sends.link, from, Some(sends.outer_destination)));
    }

    fn admits(&mut self, now: Instant, interface: u32, admits: &Admits) {
        let Some(device) = self.device(admits.link).filter(|_| self.is_open(now)) else { return };
        // By any device: in the kernel, by the one that leads to the sender.
        let back_from = [admits.outer_destination, admits.outer_source];
        let mut back = || self.ways.of(&self.netlink, now, back_from, Bound::default());
        let Some(interface) = NonZeroU32::new(interface).map(NonZeroU32::get).or_else(|| Some(back()?.interface))
        else {
            return;
        };
        let key = AdmissionKey {
            inner_source: words(admits.source),
            inner_destination: words(admits.destination),
            outer_source: half(admits.outer_source),
            outer_destination: half(admits.outer_destination),
            device: u64::from(interface),
        };
        if !self.admissions.wants(now, &key, self.generation) || !self.listens(interface) {
            return;
        }
        let life = self.life(now, admits.until);
        let admission = Admission { life, used: Used::default(), device, awaited: admits.awaited.into() };
        // A row that is not there is a packet more for user space.
        let _ = self.admissions.write(now, key, admission, (admits.link, admits.link, None));
    }

    fn follow(&mut self, generation: u64) {
        if self.wanted != generation {
            self.wanted = generation;
            self.serial += 1;
        }
        self.tell();
    }

    fn forget_ways(&mut self) {
        self.ways.forget();
        self.refused.clear();
        if let Ok(devices) = self.netlink.links() {
            self.programs.retain(|index| devices.iter().any(|device| device.index == index));
        }
    }

    fn follow_device(&mut self, link: LinkId, device: Option<&str>) -> Result<(), Error> {
        for (_, index) in self.devices.extract_if(.., |(of, _)| *of == link) {
            self.programs.detach(index, Side::Tunnel);
        }
        let Some(name) = device else { return Ok(()) };
        let index = if_nametoindex(name).map_err(|errno| Error::refused("find the device", name, errno.into()))?;
        self.programs.attach(index, name, Side::Tunnel)?;
        self.devices.push((link, index));
        Ok(())
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        self.firewall.as_ref()?.as_fd()
    }

    fn hear(&mut self) {
        if let Some(firewall) = &mut self.firewall {
            firewall.drain();
        }
        self.look();
    }

    fn obstacle(&self) -> Option<&str> {
        self.obstacle.1
    }

    fn rows(&self) -> usize {
        self.paths.len() + self.admissions.len()
    }

    fn deadline(&self) -> Option<Instant> {
        (self.rows() > 0).then_some(self.count_at)
    }

    fn collect(&mut self, now: Instant, carried: &mut dyn FnMut(Carried)) {
        self.is_open(now);
        self.paths.collect(now, self.generation, carried);
        self.admissions.collect(now, self.generation, carried);
        self.count_at = now.saturating_add(COUNTED);
    }
}

/// What packets that the programs carry would go past.
fn obstacle(heeds_firewall: bool) -> Option<&'static str> {
    let ipsec = ipsec::has_policies().then_some("IPsec has policies (ip xfrm policy)");
    ipsec.or_else(|| firewall::rules().filter(|_| heeds_firewall))
}

/// An address as it lies in a packet.
fn words(address: Ipv6Addr) -> [u64; 2] {
    let [high, low] = [address.to_bits() >> 64, address.to_bits() & u128::from(u64::MAX)];
    [high, low].map(|half| u64::try_from(half).unwrap_or_default().to_be())
}

/// The same of IPv4.
fn half(address: Ipv4Addr) -> u32 {
    address.to_bits().to_be()
}

/// The clock of the programs, in nanoseconds.
fn coarse_now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

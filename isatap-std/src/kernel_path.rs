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
//!   daemon that hangs forwards no longer than that.
//! - Changes of IPv4 routes, rules, addresses and devices are heard, whatever links follow. Then the
//!   kernel is asked again by which device packets leave, and rows of which that has changed go; others
//!   stay. Where changes come in a flood, four times a second.
//! - The programs are attached by links of this process (tcx, Linux 6.6): whatever ends it,
//!   nothing forwards any more. A device that goes, to another namespace too, loses them at once.
//! - What went by a row is counted once a second, and notes that the neighbour is used (NDP-50).
//! - New flows cost the kernel's tables 2,000 writings a second at most. A new one takes the place of a
//!   row that carried nothing lately; a row stays when the daemon has forgotten the flow; one by which
//!   nothing goes, since its packets are not plain or come another way, is not written again and again.
//!
//! # What it cannot do
//!
//! - Outer packets that the programs carry pass neither the firewall of IPv4 nor conntrack; those of a
//!   flow that stay in user space do, and inner packets pass the firewall of IPv6 as ever. So while
//!   there are rules that outer packets would pass, all stay in user space, unless somebody wants it
//!   otherwise ([`Require`](crate::spec::KernelPath::Require)). The same holds, always, while IPsec has
//!   policies, and while packets are recorded. Of nftables it is heard at once, else it is looked at once a second.
//! - Queues and filters (tc) of a tunnel's device do not see what goes out by the programs, and filters of
//!   what a device underneath receives do not see what comes in: `queues` says which leave a device to user space.
//! - Rules of routing that name what nobody can be asked about, such as a protocol (`ip rule … ipproto`), leave
//!   the packets that they may concern to user space, and so do routes that put them in others (`ip route … encap`).
//! - What the programs carry is not in the counters of the tunnel's device.
//! - Programs of others that are put behind ours later (tcx) do not see what ours carry.
//! - Packets that may be fragmented on the way, Teredo, and devices underneath that are not of the
//!   kind of Ethernet stay in user space.

mod budget;
mod firewall;
mod ipsec;
mod layout;
mod messages;
mod news;
mod programs;
mod queues;
mod rows;
mod rules;
mod tunnel;
mod ways;

use self::budget::Budget;
use self::firewall::Firewall;
use self::layout::{Admission, AdmissionKey, Life, Path, PathKey, Used};
use self::news::News;
use self::programs::{Programs, Side};
use self::queues::Obstacle;
use self::rows::{About, GOOD, RENEWED, Rows, SLICE, Wish};
use self::tunnel::Tunnel;
use self::ways::{Answer, Question, Ways};
use crate::driver::Shortcut;
use crate::error::Error;
use crate::netlink::Netlink;
use crate::proto41_socket::Bound;
use isatap_core::engine::{Admits, Carried, Sends};
use isatap_core::packet::LinkId;
use isatap_core::proto41::OVERHEAD;
use isatap_core::time::{Expiry, Instant};
use nix::time::{ClockId, clock_gettime};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How often it is asked what went by each row, and what stands in the way.
const COUNTED: Duration = Duration::from_secs(1);

const NO_PROGRAM: &str = "the device underneath takes no program, or is not of the kind of Ethernet";

/// Decisions in the kernel.
pub(crate) struct KernelPath {
    programs: Programs,
    paths: Rows<PathKey, Path>,
    admissions: Rows<AdmissionKey, Admission>,
    netlink: Netlink,
    ways: Ways,
    news: News,
    budget: Budget,
    tunnels: Vec<Tunnel>,
    /// Devices underneath that cannot have a program.
    refused: Vec<u32>,
    /// What tc has at devices with programs.
    queues: Vec<Obstacle>,
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
        // Listening comes first, so that no change falls between.
        let news = News::open()?;
        Ok(Self {
            programs,
            paths: Rows::new(tables.paths),
            admissions: Rows::new(tables.admissions),
            netlink: Netlink::open()?,
            ways: Ways::new(),
            news,
            budget: Budget::default(),
            tunnels: Vec::new(),
            refused: Vec::new(),
            queues: Vec::new(),
            wanted: 0,
            serial: 0,
            generation: 0,
            count_at: Instant::ZERO,
            obstacle: (Instant::ZERO, obstacle(heeds_firewall)),
            firewall: heeds_firewall.then(Firewall::open),
        })
    }

    /// The device of a link, if the programs may have its packets.
    fn device(&self, link: LinkId) -> Option<u32> {
        let tunnel = self.tunnels.iter().find(|tunnel| tunnel.link == link && tunnel.is_attached)?;
        self.obstacle_at(tunnel.index, Side::Tunnel).is_none().then_some(tunnel.index)
    }

    /// What tc has there.
    fn obstacle_at(&self, index: u32, side: Side) -> Option<&'static str> {
        self.queues.iter().find(|(place, _)| *place == (index, side)).map(|(_, why)| *why)
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

    /// Looks what tc has at devices with programs.
    fn look_at_queues(&mut self) {
        self.queues = queues::obstacles(&self.programs.places());
        for ((index, _), _) in self.queues.clone() {
            self.forget_rows(|about| about.interfaces.contains(&index));
        }
    }

    /// Tells the programs which rows are good.
    fn tell(&mut self) {
        let good = if self.obstacle.1.is_some() || self.wanted == 0 { 0 } else { self.serial };
        if self.generation != good && self.programs.set_generation(good).is_ok() {
            self.generation = good;
        }
    }

    /// Sees to it that the program is in front of the device underneath; or why it may not have its packets.
    fn listens(&mut self, index: u32) -> Result<(), &'static str> {
        if !self.programs.is_attached(index, Side::Underlay) {
            if self.refused.contains(&index) {
                return Err(NO_PROGRAM);
            }
            let device = self.ways.device(&self.netlink, index).filter(|device| device.is_ethernet);
            let attached =
                device.is_some_and(|device| self.programs.attach(index, &device.name, Side::Underlay).is_ok());
            if !attached {
                self.refused.push(index);
                return Err(NO_PROGRAM);
            }
            self.look_at_queues();
        }
        self.obstacle_at(index, Side::Underlay).map_or(Ok(()), Err)
    }

    /// The way of a flow: a new one may be one too many to ask about.
    fn way(&mut self, now: Instant, question: Question, wish: Wish) -> Option<Answer> {
        let known = self.ways.known(now, &question);
        if known.is_none() && wish == Wish::New && !self.budget.take(now) {
            return None;
        }
        Some(known.unwrap_or_else(|| self.ways.ask(&self.netlink, now, question)))
    }

    /// How long a row is good that is written now, upon an answer that was asked for then.
    fn life(&self, now: Instant, asked: Instant, until: Expiry) -> Life {
        let clock = coarse_now();
        let at = |after: Duration| clock.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        let until = Expiry::at(asked.saturating_add(GOOD)).min(until);
        let good = until.instant().map_or(GOOD, |until| until.saturating_duration_since(now).min(GOOD));
        Life { generation: self.generation, until: at(good), renew: at(RENEWED) }
    }

    fn forget_rows(&mut self, goes: impl Fn(&About) -> bool) {
        self.paths.remove_if(&goes);
        self.admissions.remove_if(&goes);
    }

    /// Says why packets of a link stay in user space, of those that go out or come in; `None`: they do not.
    fn note(&mut self, link: LinkId, side: Side, why: Option<&'static str>) {
        let Some(tunnel) = self.tunnels.iter_mut().find(|tunnel| tunnel.link == link) else { return };
        match side {
            Side::Tunnel => tunnel.why_not_out = why,
            Side::Underlay => tunnel.why_not_in = why,
        }
    }

    /// A device came, changed or went.
    fn hear_of(&mut self, index: u32, is_gone: bool) {
        self.ways.forget_device(index);
        self.refused.retain(|refused| *refused != index);
        if is_gone {
            self.programs.detach_if(|at, _| at == index);
            self.forget_rows(|about| about.interfaces.contains(&index));
        }
        let device = if is_gone { None } else { self.ways.device(&self.netlink, index).cloned() };
        for tunnel in self.tunnels.iter_mut().filter(|tunnel| tunnel.index == index) {
            tunnel.follow(&mut self.programs, device.as_ref());
        }
    }

    /// More has changed than was told.
    fn begin_anew(&mut self) {
        self.ways.forget();
        self.refused.clear();
        self.serial += 1;
        self.programs.detach_if(|_, side| side == Side::Underlay);
        for index in self.tunnels.iter().map(|tunnel| tunnel.index).collect::<Vec<_>>() {
            let is_gone = self.netlink.device(index).is_err();
            self.hear_of(index, is_gone);
        }
        self.look();
        self.look_at_queues();
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
        let wish = self.paths.wish(now, &key, self.generation);
        if wish == Wish::Nothing || (wish == Wish::New && !sends.again) {
            return;
        }
        let question = (sends.outer_source, sends.outer_destination, bound);
        let Some((asked, way)) = self.way(now, question, wish) else { return };
        self.note(from, Side::Tunnel, way.err());
        let Ok(way) = way else { return };
        if wish == Wish::New && !self.budget.take(now) {
            return;
        }
        let path = Path {
            life: self.life(now, asked, sends.until),
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
        let about = About {
            link: sends.link,
            device: from,
            destination: Some(sends.outer_destination),
            interfaces: [device, way.interface],
            way: Some(question),
        };
        // A row that is not there is a packet more for user space.
        let _ = self.paths.write(now, key, path, about);
    }

    fn admits(&mut self, now: Instant, interface: u32, admits: &Admits) {
        let Some(device) = self.device(admits.link).filter(|_| self.is_open(now)) else { return };
        // By any device: in the kernel, by the one that leads to the sender.
        let question = (interface == 0).then_some((admits.outer_destination, admits.outer_source, Bound::default()));
        let interface = match question {
            None => interface,
            Some(question) => {
                let last = self.ways.last(&question);
                let ask = || if admits.again { self.way(now, question, Wish::New) } else { None };
                let Some((_, way)) = last.or_else(ask) else { return };
                self.note(admits.link, Side::Underlay, way.err());
                let Ok(way) = way else { return };
                way.interface
            }
        };
        let key = AdmissionKey {
            inner_source: words(admits.source),
            inner_destination: words(admits.destination),
            outer_source: half(admits.outer_source),
            outer_destination: half(admits.outer_destination),
            device: u64::from(interface),
        };
        let wish = self.admissions.wish(now, &key, self.generation);
        if wish == Wish::Nothing || (wish == Wish::New && !(admits.again && self.budget.take(now))) {
            return;
        }
        let asked = match question.map(|question| self.way(now, question, wish)) {
            None => now,
            Some(Some((asked, Ok(way)))) if way.interface == interface => asked,
            Some(_) => return,
        };
        let stands_free = self.listens(interface);
        self.note(admits.link, Side::Underlay, stands_free.err());
        if stands_free.is_err() {
            return;
        }
        let life = self.life(now, asked, admits.until);
        let admission = Admission { life, used: Used::default(), device, awaited: admits.awaited.into() };
        let about = About {
            link: admits.link,
            device: admits.link,
            destination: None,
            interfaces: [device, interface],
            way: question,
        };
        // A row that is not there is a packet more for user space.
        let _ = self.admissions.write(now, key, admission, about);
    }

    fn follow(&mut self, generation: u64) {
        if self.wanted != generation {
            self.wanted = generation;
            self.serial += 1;
        }
        self.tell();
    }

    fn follow_device(&mut self, link: LinkId, device: Option<&str>) -> Result<(), Error> {
        for tunnel in self.tunnels.extract_if(.., |tunnel| tunnel.link == link) {
            self.programs.detach_if(|at, side| (at, side) == (tunnel.index, Side::Tunnel));
        }
        let Some(name) = device else { return Ok(()) };
        self.tunnels.push(Tunnel::open(&mut self.programs, link, name)?);
        self.look_at_queues();
        Ok(())
    }

    /// To put a program there takes some 20 milliseconds, in which no packet is carried.
    fn expect(&mut self, addresses: &[Ipv4Addr]) {
        let here = self.netlink.ipv4_addresses().unwrap_or_default();
        for address in here.iter().filter(|address| addresses.contains(&address.address)) {
            // Where it cannot be, the packets say why.
            let _ = self.listens(address.interface);
        }
    }

    fn news(&self) -> Vec<BorrowedFd<'_>> {
        let firewall = self.firewall.as_ref().and_then(Firewall::as_fd);
        firewall.into_iter().chain([self.news.as_fd()]).collect()
    }

    fn hear(&mut self, now: Instant) {
        if self.firewall.as_mut().is_some_and(Firewall::drain) {
            self.look();
        }
        let told = self.news.take();
        if told.is_lost {
            return self.begin_anew();
        }
        if told.rules {
            self.ways.read_rules();
        }
        for (index, is_gone) in &told.devices {
            self.hear_of(*index, *is_gone);
        }
        if told.ways {
            self.ways.doubt(now);
        }
        if told.queues {
            self.look_at_queues();
        }
    }

    fn obstacle(&self, link: LinkId) -> Option<&str> {
        let tunnel = self.tunnels.iter().find(|tunnel| tunnel.link == link);
        let of_link = |tunnel: &Tunnel| {
            let here = self.obstacle_at(tunnel.index, Side::Tunnel);
            here.or(tunnel.why_not_out).or(tunnel.why_not_in)
        };
        self.obstacle.1.or_else(|| tunnel.and_then(of_link))
    }

    fn rows(&self) -> usize {
        self.paths.len() + self.admissions.len()
    }

    fn deadline(&self) -> Option<Instant> {
        let is_counted = self.paths.is_counted() || self.admissions.is_counted();
        let count_at = is_counted.then_some(self.count_at);
        count_at.into_iter().chain(self.ways.deadline()).min()
    }

    fn collect(&mut self, now: Instant, carried: &mut dyn FnMut(Carried)) {
        self.is_open(now);
        for question in self.ways.check(&self.netlink, now) {
            self.forget_rows(|about| about.way == Some(question));
        }
        if self.count_at <= now {
            self.paths.collect(now, self.generation, SLICE, carried);
            self.admissions.collect(now, self.generation, SLICE, carried);
            let most = self.paths.len().max(self.admissions.len());
            let turns = u32::try_from(most.div_ceil(SLICE).max(1)).unwrap_or(u32::MAX);
            self.count_at = now.saturating_add(COUNTED / turns);
        }
    }

    fn collect_all(&mut self, now: Instant, carried: &mut dyn FnMut(Carried)) {
        self.paths.collect(now, self.generation, usize::MAX, carried);
        self.admissions.collect(now, self.generation, usize::MAX, carried);
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

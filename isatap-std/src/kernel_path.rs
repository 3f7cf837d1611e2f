//! The kernel's path: decisions of a [driver](crate::driver) mirrored into the kernel, whose
//! programs encapsulate and decapsulate what user space has decided about before.
//!
//! ```text
//! TUN ─▶ program: row? ──yes──▶ device underneath        user space sees the first packets of a
//!                  ╰──no──▶ user space decides ─▶ row    flow, and whatever is not plain
//! device underneath ─▶ program: row? ──yes──▶ TUN
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
//! - A row is good for 10 seconds. One that carries packets is written anew once it has less than 5 left, without
//!   a packet: the driver says until when the decision holds, and the kernel whether packets go the same way. So a daemon that
//!   hangs forwards no longer than 10 seconds. All are void once the machine has slept, within a second.
//! - Every 5 minutes a packet of a flow is seen all the same, for the sake of what nobody tells of (a program of a cgroup
//!   that refuses it); every 10 seconds, where there are rules of the firewall that were to be passed by.
//! - Changes of IPv4 routes, nexthops, rules, addresses, settings and devices are heard, whatever links follow. Then the
//!   kernel is asked again by which device packets leave, and rows of which that has changed go; others
//!   stay. Where changes come in a flood, four times a second; so it is with queues and rules of the firewall. What the
//!   kernel does not answer is asked again once a second, and until then nothing is sure.
//! - Programs and tables are loaded once, before privileges are given up, and each driver has a part in them: one program
//!   at a device underneath is for all links. Rows of one driver are void at once when that ends, and a flood of new flows
//!   of one costs others no rows: there is an equal share of the tables for each.
//! - The programs are attached by links of this process (tcx, Linux 6.6): whatever ends it,
//!   nothing forwards any more. A device that goes, to another namespace too, loses them at once, and so does one
//!   that no packets of any link come by any more.
//! - What went by a row is counted once a second, and notes that the neighbour is used (NDP-50), or that a peer
//!   of Teredo was spoken to or heard: when it was counted the time before, up to two seconds too early, of 30.
//! - Of Teredo there are rows for peers that know each other and with which nothing is under way, ports and all:
//!   those about one go as soon as it moves, is asked for or is forgotten (`isatap_core`'s `teredo::carried`): who does that
//!   all the time costs others none. Datagrams that leave have a checksum, which is made of that of the packet
//!   inside: where that one is wrong, so is this, and the receiver of the packet inside finds it out.
//! - New flows, and those whose rows are void, cost the kernel's tables 2,000 writings a second at most. A new one takes the place of a
//!   row that carried nothing lately; a row stays when the daemon has forgotten the flow; one by which
//!   nothing goes, since its packets are not plain or come another way, is written once in 10 seconds.
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
//! - Packets that user space has when their row is written may be overtaken by later ones: when a flow begins, and
//!   whenever its row was void. So it is every 10 seconds where rules of the firewall are to be passed by.
//! - Packets of protocol 41 that may be fragmented on the way, and devices underneath that are not of the
//!   kind of Ethernet stay in user space; so do packets that come by a VRF, whose devices tell a program of themselves.
//! - So does TCP by Teredo, and UDP that comes or goes joined: sockets cut and join 64 KiB of datagrams
//!   (`UDP_SEGMENT`, `UDP_GRO`). A program cannot, and rows for TCP carried about half of what sockets did, when that was tried: nobody
//!   joins what a program has taken the headers off; a piece that is cut from a super-packet gets no checksum of its own, and
//!   without one no receiver joins it. Joined datagrams leave a flow to user space for a second, see `Used::joined`: also those of
//!   somebody who forges the addresses and ports of a peer, as nothing in them can be checked here.
//! - Of Teredo also peers behind a symmetric NAT stay there (to send to), port 3544 (to hear from), and datagrams whose checksum
//!   a device was to complete: those of a daemon of this machine that sends by its sockets.

mod budget;
mod contents;
mod firewall;
mod holders;
mod ipsec;
mod layout;
mod messages;
mod news;
mod pace;
mod places;
mod programs;
mod queues;
mod rows;
mod rules;
mod shortcut;
mod suspend;
mod tunnel;
mod ways;

use self::budget::Budget;
use self::firewall::Firewall;
use self::layout::{Admission, AdmissionKey, Path, PathKey};
use self::news::News;
use self::pace::Pace;
use self::places::Places;
pub(crate) use self::programs::Loaded;
use self::rows::{About, Rows};
use self::suspend::Suspend;
use self::ways::{Answer, Question, Ways};
use crate::error::Error;
use crate::netlink::Netlink;
use isatap_core::time::Instant;
use std::fmt;
use std::time::Duration;

/// How often it is asked what went by each row, and what stands in the way.
const COUNTED: Duration = Duration::from_secs(1);

/// Decisions in the kernel.
pub(crate) struct KernelPath {
    places: Places,
    paths: Rows<PathKey, Path>,
    admissions: Rows<AdmissionKey, Admission>,
    netlink: Netlink,
    ways: Ways,
    news: News,
    budget: Budget,
    /// The driver's number of the decisions that hold; 0: none does.
    wanted: u64,
    /// Counts these numbers, and obstacles, from the last generation of the slot: no row of an earlier one is ever good again.
    serial: u64,
    /// What the programs were told: rows of another generation are not good; 0: none is.
    generation: u64,
    count_at: Instant,
    suspend: Suspend,
    /// Tells of its rules, where they count as an obstacle.
    firewall: Option<Firewall>,
    firewall_told: Pace,
    /// When it was asked for obstacles, and what was found.
    looked: Instant,
    obstacles: Obstacles,
}

/// What packets that the programs carry go past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Obstacles {
    /// Nobody lets them.
    firm: Option<&'static str>,
    /// Rules of the firewall.
    rules: Option<&'static str>,
}

impl Obstacles {
    fn find() -> Self {
        let firm = ipsec::has_policies().then_some("IPsec has policies (ip xfrm policy)");
        Self { firm, rules: firewall::rules() }
    }
}

impl KernelPath {
    /// A part in the programs for a driver more; it takes no privileges.
    ///
    /// # Errors
    ///
    /// There are as many parts as can be; out of descriptors.
    pub(crate) fn open(loaded: &Loaded, heeds_firewall: bool) -> Result<Self, Error> {
        let (programs, tables) = loaded.join()?;
        // Listening comes first, so that no change falls between.
        let news = News::open()?;
        let firewall = heeds_firewall.then(Firewall::open);
        let (share, serial) = (programs.share(), programs.last_generation());
        Ok(Self {
            places: Places::new(programs),
            paths: Rows::new(tables.paths, share),
            admissions: Rows::new(tables.admissions, share),
            netlink: Netlink::open()?,
            ways: Ways::new(),
            news,
            budget: Budget::default(),
            wanted: 0,
            serial,
            generation: 0,
            count_at: Instant::ZERO,
            suspend: Suspend::new(),
            looked: Instant::ZERO,
            obstacles: Obstacles::find(),
            firewall,
            firewall_told: Pace::default(),
        })
    }

    /// Whether rows may be written: they are not while the programs would go past something.
    fn is_open(&mut self, now: Instant) -> bool {
        let is_old = self.looked.saturating_add(COUNTED) <= now;
        if self.firewall_told.begin(now) || is_old {
            self.looked = now;
            let found = Obstacles::find();
            self.serial += u64::from(self.obstacles != found);
            self.obstacles = found;
            self.tell();
        }
        self.generation != 0
    }

    /// What all packets stay in user space for.
    fn obstacle_of_all(&self) -> Option<&'static str> {
        self.obstacles.firm.or(self.obstacles.rules.filter(|_| self.firewall.is_some()))
    }

    /// Tells the programs which rows are good.
    fn tell(&mut self) {
        let good = if self.obstacle_of_all().is_some() || self.wanted == 0 { 0 } else { self.serial };
        if self.generation != good && self.places.set_generation(good).is_ok() {
            self.generation = good;
        }
    }

    /// Looks at what was told to change, as far as it is time to.
    fn look_when_due(&mut self, now: Instant) {
        if self.suspend.was() {
            self.make_void();
        }
        self.is_open(now);
        let share = self.places.share();
        self.paths.set_most(share);
        self.admissions.set_most(share);
        for index in self.places.look_at_queues(now) {
            self.forget_rows(|about| about.interfaces.contains(&index));
        }
        self.ways.check(&self.netlink, now);
        self.heed_ways();
        if !self.ways.is_asking() {
            let Self { places, ways, admissions, netlink, generation, .. } = self;
            // As the kernel's answers say, or as a link is bound.
            let leads = |places: &Places, index: u32| {
                ways.lead_by(index, |source| places.is_expected(source))
                    || admissions.any_good(now, *generation, |about| about.interfaces.contains(&index))
            };
            places.tidy(now, || netlink.ipv4_addresses(), leads);
        }
    }

    /// Sees to it that the program is in front of the device underneath; or why it may not have its packets.
    fn listens(&mut self, now: Instant, index: u32) -> Result<(), &'static str> {
        let Self { places, ways, netlink, .. } = self;
        places.listens(now, index, || ways.device(netlink, index).cloned())
    }

    /// The way of a flow, and a token to write its row upon: there may be too many for that.
    fn way(&mut self, now: Instant, question: Question) -> Option<Answer> {
        if !self.budget.take(now) {
            return None;
        }
        let known = self.ways.known(now, &question);
        let answer = known.unwrap_or_else(|| self.ways.ask(&self.netlink, now, question));
        self.heed_ways();
        Some(answer)
    }

    /// Rows go that stand upon answers which are others now.
    fn heed_ways(&mut self) {
        let changed = self.ways.take_changed();
        if changed.all {
            self.make_void();
        } else if !changed.questions.is_empty() {
            self.forget_rows(|about| changed.questions.contains(&about.way.0));
        }
    }

    /// No row is good any more.
    fn make_void(&mut self) {
        self.serial += 1;
        self.tell();
    }

    fn forget_rows(&mut self, goes: impl Fn(&About) -> bool) {
        self.paths.remove_if(&goes);
        self.admissions.remove_if(&goes);
    }

    /// A device came, changed or went.
    fn hear_of(&mut self, index: u32, is_gone: bool) {
        self.ways.forget_device(index);
        self.places.try_again(index);
        // Of others it is asked by which device packets leave.
        if !self.places.has(index) {
            return;
        }
        if is_gone {
            self.forget_rows(|about| about.interfaces.contains(&index));
        }
        let device = if is_gone { None } else { self.ways.device(&self.netlink, index) };
        self.places.hear_of(index, device);
    }

    /// More has changed than was told.
    fn begin_anew(&mut self, now: Instant) {
        self.ways.forget();
        self.places.begin_anew();
        for index in self.places.tunnels() {
            let is_gone = self.netlink.device(index).is_err();
            self.hear_of(index, is_gone);
        }
        self.firewall_told.hear();
        self.make_void();
        self.look_when_due(now);
    }
}

impl Drop for KernelPath {
    /// The tables stay, for other drivers.
    fn drop(&mut self) {
        self.paths.clear();
        self.admissions.clear();
    }
}

impl fmt::Debug for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelPath({} rows)", self.paths.len() + self.admissions.len())
    }
}

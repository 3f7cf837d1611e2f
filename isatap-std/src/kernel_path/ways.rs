//! How packets leave by IPv4: the device, and how much it carries.

use super::pace::Pace;
use super::rows::{GOOD, LEAST};
use super::rules::Rules;
use crate::netlink::{Ipv4Way, NetDevice, Netlink};
use crate::proto41_socket::Bound;
use isatap_core::time::Instant;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long an answer is believed while nothing is heard: until the rows that it was asked for are renewed.
const BELIEVED: Duration = LEAST;
/// Answers that are kept: twice as many as there are rows. Beyond it those go that no row stands upon any more, or else all.
const MOST: usize = 65_536;
/// Questions in a row, and what lies between two rows of them.
const SLICE: usize = 64;
const BETWEEN: Duration = Duration::from_millis(10);

/// What is asked about: source, an address of this machine's; destination; how the socket is bound.
pub(super) type Question = (Ipv4Addr, Ipv4Addr, Bound);

/// When it was asked, and the way; or why the programs have none.
pub(super) type Answer = (Instant, Result<Way, &'static str>);

/// A device underneath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Its interface index.
    pub(super) interface: u32,
    /// Bytes of an outer packet.
    pub(super) mtu: u32,
}

/// The kernel's answers, as they were given last.
#[derive(Debug)]
pub(super) struct Ways {
    known: HashMap<Question, Answer>,
    /// By interface index; `None`: there is none.
    devices: HashMap<u32, Option<NetDevice>>,
    rules: Rules,
    rules_told: Pace,
    told: Pace,
    /// What is being asked for again.
    doubted: Vec<Question>,
    /// What has another answer now than rows stand upon.
    changed: Changed,
    /// When the next row of questions is.
    check_at: Instant,
}

/// Which rows go.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Those upon the answers to these questions.
    pub(super) questions: HashSet<Question>,
    /// All.
    pub(super) all: bool,
}

impl Ways {
    pub(super) fn new() -> Self {
        let mut ways = Self {
            known: HashMap::new(),
            devices: HashMap::new(),
            rules: Rules::ask(),
            rules_told: Pace::default(),
            told: Pace::default(),
            doubted: Vec::new(),
            changed: Changed::default(),
            check_at: Instant::ZERO,
        };
        if !ways.rules.are_known() {
            ways.rules_told.hear();
        }
        ways
    }

    /// What was answered last, however long ago.
    pub(super) fn last(&self, question: &Question) -> Option<Answer> {
        self.known.get(question).copied()
    }

    /// The answer, if it is believed.
    pub(super) fn known(&self, now: Instant, question: &Question) -> Option<Answer> {
        self.last(question).filter(|(asked, _)| now < asked.saturating_add(BELIEVED))
    }

    /// Asks.
    pub(super) fn ask(&mut self, netlink: &Netlink, now: Instant, question: Question) -> Answer {
        if self.known.len() >= MOST && !self.known.contains_key(&question) {
            self.known.retain(|_, (asked, _)| now < asked.saturating_add(GOOD));
            if self.known.len() >= MOST {
                self.known.clear();
                self.changed.all = true;
            }
        }
        let answer = (now, self.find(netlink, question));
        let before = self.known.insert(question, answer);
        if before.is_some_and(|(_, before)| before != answer.1) {
            self.changed.questions.insert(question);
        }
        answer
    }

    /// What has another answer than before, once. Where that are most of those asked and others are still to be, it is all: the
    /// kernel looks for the ends of packets at a device that no longer leads there, one by one.
    pub(super) fn take_changed(&mut self) -> Changed {
        let mut changed = std::mem::take(&mut self.changed);
        changed.all |= changed.questions.len() > SLICE / 2 && !self.doubted.is_empty();
        changed
    }

    fn find(&mut self, netlink: &Netlink, (source, destination, bound): Question) -> Result<Way, &'static str> {
        if self.rules.concern([source, destination], bound) {
            return Err("rules of routing name what nobody can be asked about, a protocol say (ip rule)");
        }
        let found = netlink.ipv4_way(source, destination, bound);
        let Ipv4Way { interface, mtu, encapsulates } = found.map_err(|_| "there is no IPv4 route to the other end")?;
        if encapsulates {
            return Err("the IPv4 route to the other end encapsulates (ip route … encap)");
        }
        let device = self.device(netlink, interface).filter(|device| device.is_ethernet);
        let device = device.ok_or("the device underneath is not of the kind of Ethernet")?;
        Ok(Way { interface, mtu: mtu.unwrap_or(device.mtu) })
    }

    /// A device, as it was found first since anything was heard of it.
    pub(super) fn device(&mut self, netlink: &Netlink, index: u32) -> Option<&NetDevice> {
        self.devices.entry(index).or_insert_with(|| netlink.device(index).ok()).as_ref()
    }

    /// Something was heard of a device.
    pub(super) fn forget_device(&mut self, index: u32) {
        self.devices.remove(&index);
    }

    /// Anything may have changed.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.devices.clear();
        self.doubted.clear();
        self.rules_told.hear();
    }

    /// Packets may leave another way: all that rows may stand for is to be asked again.
    pub(super) fn doubt(&mut self) {
        self.told.hear();
    }

    /// Rules have changed.
    pub(super) fn doubt_rules(&mut self) {
        self.rules_told.hear();
    }

    /// Whether answers that are known are still to be asked for again.
    pub(super) fn is_asking(&self) -> bool {
        !self.doubted.is_empty() || self.told.deadline().is_some()
    }

    /// Whether packets of a source that is `used` leave by this device, as far as it is known.
    pub(super) fn lead_by(&self, index: u32, used: impl Fn(Ipv4Addr) -> bool) -> bool {
        let leads = |way: &Result<Way, _>| way.is_ok_and(|way| way.interface == index);
        self.known.iter().any(|((source, ..), (_, way))| leads(way) && used(*source))
    }

    /// When [`check`](Self::check) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = if self.doubted.is_empty() { self.told.deadline() } else { Some(self.check_at) };
        next.into_iter().chain(self.rules_told.deadline()).min()
    }

    /// Asks some of what is doubted.
    pub(super) fn check(&mut self, netlink: &Netlink, now: Instant) {
        if self.rules_told.begin(now) {
            self.rules = Rules::ask();
            self.told.hear();
            if !self.rules.are_known() {
                self.rules_told.retry(now);
            }
        }
        if self.doubted.is_empty() {
            if !self.told.begin(now) {
                return;
            }
            // No row stands for longer upon an answer.
            self.known.retain(|_, (asked, _)| now < asked.saturating_add(GOOD));
            self.doubted.extend(self.known.keys());
        } else if now < self.check_at {
            return;
        }
        for question in self.doubted.split_off(self.doubted.len().saturating_sub(SLICE)) {
            let _ = self.ask(netlink, now, question);
        }
        self.check_at = now.saturating_add(BETWEEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand changes of routes are one beginning to ask, and another one later; however many ways there are,
    /// a turn asks of few.
    #[test]
    fn changes_that_come_in_a_flood_are_one() {
        let netlink = Netlink::open().unwrap();
        let mut ways = Ways::new();
        let start = Instant::from_secs(100);
        for host in 0..150 {
            let question = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 1, host), Bound::default());
            let _ = ways.ask(&netlink, start, question);
        }
        let asked = |ways: &Ways, now| ways.known.values().filter(|(asked, _)| *asked == now).count();
        let at = |millis| start.saturating_add(Duration::from_millis(millis));
        assert_eq!(ways.deadline(), None);
        (0..1000).for_each(|_| ways.doubt());
        assert!(ways.deadline().is_some_and(|due| due <= at(1)));
        ways.check(&netlink, at(1));
        assert_eq!(asked(&ways, at(1)), SLICE);
        (0..1000).for_each(|_| ways.doubt());
        ways.check(&netlink, at(2));
        assert_eq!(asked(&ways, at(2)), 0);
        ways.check(&netlink, at(11));
        ways.check(&netlink, at(21));
        assert_eq!((asked(&ways, at(11)), asked(&ways, at(21))), (SLICE, 150 - 2 * SLICE));
        // What was told meanwhile.
        assert_eq!(ways.deadline(), Some(at(251)));
        for millis in [251, 261, 271] {
            ways.check(&netlink, at(millis));
        }
        assert_eq!(ways.deadline(), None);
        assert_eq!(ways.known.values().filter(|(asked, _)| *asked >= at(251)).count(), 150);
        let changed = ways.take_changed();
        assert!(changed.questions.is_empty() && !changed.all);
    }

    /// Of a device that is not there.
    const GONE: Result<Way, &str> = Ok(Way { interface: 77, mtu: 1500 });

    fn question(host: u16) -> Question {
        let [high, low] = host.to_be_bytes();
        (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, high, low), Bound::default())
    }

    #[test]
    fn an_answer_that_is_another_one_is_told() {
        let netlink = Netlink::open().unwrap();
        let mut ways = Ways::new();
        let now = Instant::from_secs(100);
        ways.known.insert(question(1), (now, GONE));
        ways.doubt();
        assert!(ways.lead_by(77, |source| source.is_loopback()) && !ways.lead_by(77, |source| !source.is_loopback()));
        ways.check(&netlink, now);
        let changed = ways.take_changed();
        assert!(changed.questions.into_iter().eq([question(1)]) && !changed.all);
        assert!(!ways.is_asking() && !ways.lead_by(77, |_| true));
        assert!(ways.known(now, &question(1)).unwrap().1.is_err(), "lo is not of the kind of Ethernet");
        assert!(ways.take_changed().questions.is_empty(), "it is told once");
        // Whoever asks first finds it: a packet, or a row that is to be renewed.
        ways.known.insert(question(2), (now, GONE));
        assert!(ways.ask(&netlink, now, question(2)).1.is_err());
        assert!(ways.take_changed().questions.into_iter().eq([question(2)]));
    }

    /// Thousands of rows by a device that leads nowhere are not asked about one after the other.
    #[test]
    fn where_most_answers_are_others_the_rest_is_not_waited_for() {
        let netlink = Netlink::open().unwrap();
        let mut ways = Ways::new();
        let now = Instant::from_secs(100);
        (0..2 * SLICE as u16).for_each(|host| _ = ways.known.insert(question(host), (now, GONE)));
        ways.doubt();
        ways.check(&netlink, now);
        assert!(ways.take_changed().all);
    }

    #[test]
    fn rows_go_with_the_answers_that_are_forgotten() {
        let netlink = Netlink::open().unwrap();
        let mut ways = Ways::new();
        let now = Instant::from_secs(100);
        (0..u16::MAX).for_each(|host| _ = ways.known.insert(question(host), (now, GONE)));
        ways.known.insert((Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, Bound::default()), (now, GONE));
        assert_eq!(ways.known.len(), MOST);
        // After 10 seconds no row stands upon them.
        let mut late = Ways::new();
        late.known.clone_from(&ways.known);
        let _ = late.ask(&netlink, now.saturating_add(GOOD), question(u16::MAX));
        assert!(!late.take_changed().all && late.known.len() == 1);
        let _ = ways.ask(&netlink, now, question(u16::MAX));
        assert!(ways.take_changed().all && ways.known.len() == 1);
    }
}

//! What the driver tells becomes rows, and what went by them it is told.

use super::COUNTED;
use super::KernelPath;
use super::firewall::Firewall;
use super::layout::{Admission, AdmissionKey, Path, PathKey};
use super::programs::Side;
use super::rows::{About, SLICE, Standing};
use crate::driver::Shortcut;
use crate::error::Error;
use crate::proto41_socket::Bound;
use isatap_core::engine::{Admits, Carried, Sends};
use isatap_core::packet::LinkId;
use isatap_core::time::{Expiry, Instant};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

impl Shortcut for KernelPath {
    fn sends(&mut self, now: Instant, from: LinkId, sends: &Sends, bound: Bound) {
        let Some(device) = self.places.device(from).filter(|_| self.is_open(now)) else { return };
        let key = PathKey::of(sends, device);
        let standing = self.paths.standing(now, &key, self.generation);
        if standing == Standing::Good || (standing == Standing::New && !sends.again) {
            return;
        }
        let question = (sends.outer_source, sends.outer_destination, bound);
        let refused = self.ways.known(now, &question).filter(|(_, way)| way.is_err());
        let Some((asked, way)) = refused.or_else(|| self.way(now, question)) else { return };
        self.places.note(from, Side::Tunnel, way.err());
        let Ok(way) = way else { return };
        let path = Path::of(sends, way, bound.mark);
        let about = About {
            link: sends.link,
            device: from,
            destination: Some(sends.outer_destination),
            peer: sends.destination,
            interfaces: [device, way.interface],
            way: (question, Ok(way)),
            until: sends.until,
        };
        // A row that is not there is a packet more for user space.
        let _ = self.paths.write(now, (key, path), self.generation, asked, about);
    }

    fn admits(&mut self, now: Instant, by: u32, admits: &Admits) {
        let Some(device) = self.places.device(admits.link).filter(|_| self.is_open(now)) else { return };
        let question = (admits.outer_destination, admits.outer_source, Bound::default());
        let interface = match by {
            // By any device: in the kernel, by the one that leads to the sender.
            0 => {
                let last = self.ways.last(&question);
                let ask = || if admits.again { self.way(now, question) } else { None };
                let Some((_, way)) = last.or_else(ask) else { return };
                self.places.note(admits.link, Side::Underlay, way.err());
                let Ok(way) = way else { return };
                way.interface
            }
            interface => interface,
        };
        let key = AdmissionKey::of(admits, interface);
        let standing = self.admissions.standing(now, &key, self.generation);
        if standing == Standing::Good || (standing == Standing::New && !admits.again) {
            return;
        }
        let Some((asked, way)) = self.way(now, question) else { return };
        if by == 0 && !way.is_ok_and(|way| way.interface == interface) {
            return;
        }
        let stands_free = self.listens(now, interface);
        self.places.note(admits.link, Side::Underlay, stands_free.err());
        if stands_free.is_err() {
            return;
        }
        let admission = Admission::of(admits, device);
        let about = About {
            link: admits.link,
            device: admits.link,
            destination: None,
            peer: admits.source,
            interfaces: [device, interface],
            way: (question, way),
            until: admits.until,
        };
        // A row that is not there is a packet more for user space.
        let _ = self.admissions.write(now, (key, admission), self.generation, asked, about);
    }

    fn follow(&mut self, generation: u64) {
        if self.wanted != generation {
            self.wanted = generation;
            self.serial += 1;
        }
        self.tell();
    }

    fn forget(&mut self, peer: Ipv6Addr) {
        self.paths.remove_of(peer);
        self.admissions.remove_of(peer);
    }

    fn follow_device(&mut self, now: Instant, link: LinkId, device: Option<&str>) -> Result<(), Error> {
        let followed = self.places.follow_device(now, link, device);
        self.forget_rows(|about| [about.link, about.device].contains(&link));
        followed
    }

    /// To put a program there takes some 20 milliseconds, in which no packet is carried.
    fn expect(&mut self, now: Instant, link: LinkId, addresses: &[Ipv4Addr]) {
        self.places.expect(link, addresses);
        let here = self.netlink.ipv4_addresses().unwrap_or_default();
        for address in here.iter().filter(|address| addresses.contains(&address.address)) {
            // Where it cannot be, the packets say why.
            let _ = self.listens(now, address.interface);
        }
    }

    fn news(&self) -> Vec<BorrowedFd<'_>> {
        let firewall = self.firewall.as_ref().and_then(Firewall::as_fd);
        firewall.into_iter().chain([self.news.as_fd()]).collect()
    }

    fn hear(&mut self, now: Instant) {
        if self.firewall.as_mut().is_some_and(Firewall::drain) {
            self.firewall_told.hear();
        }
        let told = self.news.take(|index| self.places.has(index));
        if told.is_lost {
            return self.begin_anew(now);
        }
        if told.rules {
            self.ways.doubt_rules();
        }
        for (index, is_gone) in &told.devices {
            self.hear_of(*index, *is_gone);
        }
        if told.ways {
            self.ways.doubt();
            self.places.doubt_use();
        }
        if told.queues {
            self.places.doubt_queues();
        }
        if told.settings {
            self.make_void();
        }
        self.look_when_due(now);
    }

    fn obstacle(&self, link: LinkId) -> Option<&str> {
        self.obstacle_of_all().or_else(|| self.places.obstacle(link))
    }

    fn rows(&self) -> usize {
        self.paths.len() + self.admissions.len()
    }

    fn deadline(&self) -> Option<Instant> {
        let is_counted = self.paths.is_counted() || self.admissions.is_counted();
        let count_at = is_counted.then_some(self.count_at);
        let [queues, used] = self.places.deadlines();
        let used = used.filter(|_| !self.ways.is_asking());
        [count_at, self.firewall_told.deadline(), queues, used, self.ways.deadline()].into_iter().flatten().min()
    }

    fn collect(&mut self, now: Instant, carried: &mut dyn FnMut(Carried) -> Option<Expiry>) {
        self.look_when_due(now);
        if self.count_at <= now {
            // Rules that are gone past are to see a packet now and then.
            let is_seen = self.obstacles.rules.is_some();
            let Self { paths, admissions, ways, netlink, generation, .. } = self;
            let mut renews = |about: &About| {
                if is_seen {
                    return None;
                }
                let (question, before) = about.way;
                let (asked, way) = ways.known(now, &question).unwrap_or_else(|| ways.ask(netlink, now, question));
                (way == before).then_some(asked)
            };
            paths.collect(now, *generation, SLICE, carried, &mut renews);
            admissions.collect(now, *generation, SLICE, carried, &mut renews);
            let most = paths.len().max(admissions.len());
            let turns = u32::try_from(most.div_ceil(SLICE).max(1)).unwrap_or(u32::MAX);
            self.count_at = now.saturating_add(COUNTED / turns);
            self.heed_ways();
        }
    }

    fn collect_all(&mut self, now: Instant, carried: &mut dyn FnMut(Carried) -> Option<Expiry>) {
        self.paths.collect(now, self.generation, usize::MAX, carried, |_| None);
        self.admissions.collect(now, self.generation, usize::MAX, carried, |_| None);
    }
}

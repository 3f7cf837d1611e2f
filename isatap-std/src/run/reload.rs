//! A file that is read again: what changed ends and begins, and the rest goes on.

use super::deleted::Retry;
use super::{Begun, Run, Wanted, wanted_of};
use crate::error::Error;
use crate::locators::LocatorSource;
use crate::netlink::Netlink;
use crate::portproxy::Changes;
use crate::service::{self, LinkEvent, Notice};
use crate::signal::Signals;
use crate::spec::{LinkSpec, Native, PortProxy};
use crate::tun;
use isatap_core::packet::LinkId;
use std::fmt;

/// The devices of the links that a [`reload`](super::Run::reload) kept, remade, made and ended; and
/// rules of the port proxy, by where they listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Links that go on as they were.
    pub kept: Vec<String>,
    /// Links that ended and began again, since something else is said of their devices.
    pub changed: Vec<String>,
    /// Links of which the same is said as before, whose device is gone and is tried again now, or that
    /// lack an IPv4 address.
    pub waiting: Vec<String>,
    /// New links.
    pub began: Vec<String>,
    /// Links that are no longer there.
    pub ended: Vec<String>,
}

impl Reloaded {
    pub(super) fn between(before: &[Wanted], now: &[Wanted]) -> Self {
        let mut reloaded = Self::default();
        for wanted in now {
            let device = wanted.link.device();
            let list = match before.iter().find(|before| before.link.device() == device) {
                Some(before) if before == wanted => &mut reloaded.kept,
                Some(_) => &mut reloaded.changed,
                None => &mut reloaded.began,
            };
            list.push(device.to_owned());
        }
        let is_gone = |device: &&str| now.iter().all(|wanted| wanted.link.device() != *device);
        let gone = before.iter().map(|wanted| wanted.link.device()).filter(is_gone);
        reloaded.ended = gone.map(str::to_owned).collect();
        reloaded
    }

    /// What has no device is not kept.
    fn wait_for(&mut self, waits: impl Fn(&str) -> bool) {
        let kept = std::mem::take(&mut self.kept);
        (self.waiting, self.kept) = kept.into_iter().partition(|device| waits(device));
    }
}

impl fmt::Display for Reloaded {
    /// `kept t0, t1; waiting for t4; changed t2; ended t3`, without what there is nothing of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("kept", &self.kept),
            ("waiting for", &self.waiting),
            ("changed", &self.changed),
            ("began", &self.began),
            ("ended", &self.ended),
        ];
        let told = all.iter().filter(|(_, devices)| !devices.is_empty());
        let told: Vec<String> = told.map(|(what, devices)| format!("{what} {}", devices.join(", "))).collect();
        f.write_str(&told.join("; "))
    }
}

impl Run {
    /// Becomes what is said now. A link of which the same is said as before goes on undisturbed:
    /// its device, its counters, the routes of other programs. Hosts of LANs are told of what
    /// ends, as by [`finish`](Self::finish); what a signal asks for meanwhile is still to be taken
    /// afterwards.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with). What was before is then again, from the beginning where
    /// it had ended already; of a link that cannot begin again a [`Notice`] tells.
    pub fn reload(
        &mut self,
        links: &[LinkSpec],
        natives: &[Native],
        rules: &[PortProxy],
        signals: &mut Signals,
    ) -> Result<Reloaded, Error> {
        let natives = self.check(links, natives)?;
        let wanted = wanted_of(links)?;
        self.check_new(&wanted)?;
        let own: Vec<&str> = links.iter().map(LinkSpec::device).collect();
        let prepared = self.proxies_for(rules)?.map(|proxies| proxies.prepare(rules, &own)).transpose()?;
        let retries: Vec<Option<Retry>> = self.links.iter().map(|begun| begun.home.retry().copied()).collect();
        let before: Vec<Wanted> = self.links.iter().map(|begun| begun.wanted.clone()).collect();
        let mut outcome = self.end_others(&wanted, signals);
        if outcome.is_ok() {
            outcome = wanted.iter().try_for_each(|wanted| self.begin(wanted));
        }
        if let Err(error) = outcome {
            self.go_back(&before, &retries, signals);
            self.hurry();
            // What that meets is met again in the next turn.
            let _ = self.settle_in(&before);
            return Err(error);
        }
        self.natives = natives;
        self.hurry();
        self.settle_in(&wanted)?;
        let mut reloaded = Reloaded::between(&before, &wanted);
        reloaded.wait_for(|device| self.waits(device));
        reloaded.kept.iter().for_each(|device| self.observer.link(device, LinkEvent::Reloaded));
        if let Some((proxies, prepared)) = self.proxies.as_mut().zip(prepared) {
            let Changes { kept, changed, began, ended } = proxies.apply(prepared);
            reloaded.kept.extend(kept);
            reloaded.changed.extend(changed);
            reloaded.began.extend(began);
            reloaded.ended.extend(ended);
        }
        Ok(reloaded)
    }

    /// What is new is refused for what can be seen before anything ends: most of all the device or
    /// the port that is another program's, the file that this process may not open any more, and an
    /// address that this machine lacks, of a link that runs by another one.
    fn check_new(&self, wanted: &[Wanted]) -> Result<(), Error> {
        let netlink = Netlink::open()?;
        for Wanted { link, .. } in
            wanted.iter().filter(|wanted| self.links.iter().all(|begun| begun.wanted != **wanted))
        {
            let is_it = |begun: &&Begun| begun.wanted.link.device() == link.device();
            let old = self.links.iter().find(is_it).filter(|begun| begun.home.retry().is_none());
            let name = match old {
                // What is new waits for its address; what runs does not end for one that is mistyped.
                Some(old) => {
                    let known = old.wanted.link.locals();
                    let new = link.locals().into_iter().filter(|local| !known.contains(local));
                    LocatorSource::Fixed(new.collect()).require(&netlink)
                }
                None => tun::check_free(link.device()),
            };
            let here = match link.is_teredo() {
                true => Ok(()),
                false => service::check_here(link, &netlink, self.runtime.as_ref()).map(drop),
            };
            let recorded = link.pcap().map_or(Ok(()), |path| self.check_recording(link, path));
            let running = self.links.iter().filter(|begun| begun.home.retry().is_none());
            let ports = service::check_ports(link, running.map(|begun| &begun.wanted.link), self.proto41.as_deref());
            name.and(here).and(recorded).and(ports).map_err(|error| error.of_device(link.device()))?;
        }
        Ok(())
    }

    /// Whether the device is to be made, or its link has no IPv4 address.
    fn waits(&self, device: &str) -> bool {
        let is_to_be_made = |begun: &Begun| begun.wanted.link.device() == device && begun.home.retry().is_some();
        self.links.iter().any(is_to_be_made)
            || self.statuses().any(|status| status.dev == device && status.waiting.is_some())
    }

    /// As it was, as far as that can be: what cannot begin is tried again, as what waited for that
    /// before, of which `retries` tells.
    fn go_back(&mut self, before: &[Wanted], retries: &[Option<Retry>], signals: &mut Signals) {
        let ended = self.end_others(before, signals);
        let mut news: Vec<String> = ended.err().map(|error| error.to_string()).into_iter().collect();
        for (wanted, retry) in before.iter().zip(retries) {
            if self.links.iter().any(|begun| begun.wanted == *wanted) {
                continue;
            }
            let device = wanted.link.device();
            let now = self.poller.clock().now();
            // What waited before is tried, and told of, in its turn.
            let retry = retry.map_or_else(
                || match self.begin(wanted) {
                    Ok(()) => {
                        news.push(format!("{device} was made again: routes that other programs put on it are gone"));
                        None
                    }
                    Err(error) => {
                        news.push(error.with_advice(format!("{device} is down, and is tried again")).to_string());
                        Some(Retry::after_reload(now))
                    }
                },
                Some,
            );
            if let Some(retry) = retry {
                let home = self.wait(wanted, retry, "another try: a reload ended its device".to_owned());
                self.links.push(Begun { wanted: wanted.clone(), home, since: now, failure: None });
            }
        }
        for text in news {
            self.observer.notice(None, &Notice::Warning(text));
        }
    }

    /// Ends what is not wanted as it is: the new devices may have the names of old ones. All that
    /// is to end ends, whatever comes between.
    fn end_others(&mut self, wanted: &[Wanted], signals: &mut Signals) -> Result<(), Error> {
        let is_wanted = |begun: &Begun| wanted.contains(&begun.wanted);
        let others = self.links.iter().filter(|begun| !is_wanted(begun));
        let others: Vec<(LinkId, &LinkSpec)> =
            others.filter_map(|begun| Some((begun.home.proto41()?, &begun.wanted.link))).collect();
        let leaving: Vec<LinkId> = others.iter().map(|(id, _)| *id).collect();
        // A router that says something else from now on is none that goes.
        let again = others.iter().filter(|(_, link)| wanted.iter().any(|new| is_same_router(link, &new.link)));
        let again: Vec<LinkId> = again.map(|(id, _)| *id).collect();
        let last_words = self.proto41.as_mut().map(|proto41| proto41.take_leave(&leaving, &again)).unwrap_or_default();
        let mut outcome = self.wait_for(&last_words, signals);
        // Meanwhile a deleted device may have been made again, by another number.
        let others = self.links.iter().filter(|begun| !is_wanted(begun));
        let gone: Vec<LinkId> = others.filter_map(|begun| begun.home.proto41()).collect();
        if let Some(proto41) = &mut self.proto41 {
            for id in gone {
                outcome = outcome.and(proto41.remove_link(id));
            }
            if wanted.iter().all(|wanted| wanted.link.is_teredo() || wanted.link.pcap().is_none()) {
                proto41.stop_recording();
            }
        }
        self.links.retain(is_wanted);
        outcome
    }
}

/// Whether two links are ISATAP routers that hosts know by the same addresses.
fn is_same_router(one: &LinkSpec, other: &LinkSpec) -> bool {
    let (LinkSpec::IsatapRouter(one), LinkSpec::IsatapRouter(other)) = (one, other) else { return false };
    one.local.iter().all(|local| other.local.contains(local))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Credentials;
    use crate::spec::Tunnel;
    use crate::teredo::secrets::Secrets;
    use std::net::Ipv4Addr;

    fn wanted(dev: &str, remote: u8, tos: Option<&str>) -> Wanted {
        let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, remote).into());
        let tos = tos.map(|tos| tos.parse().unwrap());
        (tunnel.dev, tunnel.tos, tunnel.local) = (dev.to_owned(), tos, Some(Ipv4Addr::new(192, 0, 2, 1)));
        let (secrets, credentials) = (Secrets::default(), Credentials::default());
        Wanted { link: LinkSpec::from(tunnel), secrets, credentials }
    }

    #[test]
    fn each_link_is_told_once_and_a_written_default_changes_none() {
        let before = [wanted("t0", 2, None), wanted("t1", 3, None), wanted("t2", 4, None)];
        let now = [wanted("t0", 2, Some("0x00")), wanted("t1", 5, None), wanted("t3", 6, None)];
        assert_eq!(Reloaded::between(&before, &now).to_string(), "kept t0; changed t1; began t3; ended t2");
        assert_eq!(Reloaded::between(&before, &before).to_string(), "kept t0, t1, t2");
        let mut reloaded = Reloaded::between(&before, &before);
        reloaded.wait_for(|device| device == "t1");
        assert_eq!(reloaded.to_string(), "kept t0, t2; waiting for t1");
        assert_eq!(Reloaded::between(&before[..1], &[wanted("t0", 2, Some("ef"))]).to_string(), "changed t0");
    }
}

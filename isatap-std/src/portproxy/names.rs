//! Targets by name: asked for on threads of their own, and remembered for a while. `PPX-1`

use crate::resolve::Name;
use crate::spec::Family;
use crate::waker::Waker;
use isatap_core::time::Instant;
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How long addresses are remembered. The C library does not tell their TTL.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long it is remembered that there were none.
const FAILED: Duration = Duration::from_secs(2);

type Key = (Name, Family);

/// The names of targets. `W` is who waits for one.
pub(super) struct Names<W> {
    entries: HashMap<Key, Entry<W>>,
    answers: Receiver<(Key, Vec<IpAddr>)>,
    answered: Sender<(Key, Vec<IpAddr>)>,
    /// Wakes who takes the answers.
    waker: Waker,
}

enum Entry<W> {
    Known { addresses: Vec<IpAddr>, until: Instant },
    Asked { waiting: Vec<W> },
}

impl<W> Names<W> {
    pub(super) fn new(waker: Waker) -> Self {
        let (answered, answers) = channel();
        Self { entries: HashMap::new(), answers, answered, waker }
    }

    /// The addresses of a name of this IP version, none if it has none. `None`: they are being asked for,
    /// and `who` is told later.
    pub(super) fn addresses(&mut self, name: &Name, family: Family, now: Instant, who: W) -> Option<Vec<IpAddr>> {
        let key = (name.clone(), family);
        match self.entries.get_mut(&key) {
            Some(Entry::Known { addresses, until }) if *until > now => return Some(addresses.clone()),
            Some(Entry::Asked { waiting }) => {
                waiting.push(who);
                return None;
            }
            _ => {}
        }
        // Names of rules that are gone.
        self.entries.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
        if self.ask(key.clone()).is_err() {
            return Some(Vec::new());
        }
        self.entries.insert(key, Entry::Asked { waiting: vec![who] });
        None
    }

    fn ask(&self, key: Key) -> std::io::Result<()> {
        let (waker, answered) = (self.waker.clone(), self.answered.clone());
        crate::thread::spawn("isatap-name", move || {
            let addresses = look_up(&key.0, key.1);
            if answered.send((key, addresses)).is_ok() {
                waker.wake();
            }
        })
        .map(drop)
    }

    /// The answers that have come: who waited, and the addresses.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Vec<W>, Vec<IpAddr>)> {
        let mut taken = Vec::new();
        while let Ok((key, addresses)) = self.answers.try_recv() {
            let until = now.saturating_add(if addresses.is_empty() { FAILED } else { REMEMBERED });
            let entry = Entry::Known { addresses: addresses.clone(), until };
            if let Some(Entry::Asked { waiting }) = self.entries.insert(key, entry) {
                taken.push((waiting, addresses));
            }
        }
        taken
    }
}

/// As every program of this machine looks up names: hosts file, DNS, what else it is set up for.
fn look_up(name: &Name, family: Family) -> Vec<IpAddr> {
    let found = (name.as_str(), 0).to_socket_addrs().into_iter().flatten().map(|address| address.ip());
    let mut addresses = Vec::new();
    for address in found.filter(|address| Family::of(*address) == family) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn ppx_1_a_name_is_asked_once_for_all_who_wait_and_again_after_a_minute() {
        let (waker, mut bell) = Waker::pair().unwrap();
        bell.set_nonblocking(false).unwrap();
        let mut names: Names<u32> = Names::new(waker);
        let name: Name = "localhost".parse().unwrap();
        let start = Instant::ZERO;
        assert_eq!(names.addresses(&name, Family::V4, start, 1), None);
        assert_eq!(names.addresses(&name, Family::V4, start, 2), None);
        assert!(bell.read(&mut [0; 8]).unwrap() > 0);
        let loopback: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap()];
        assert_eq!(names.take(start), [(vec![1, 2], loopback.clone())]);
        let later = Instant::from_secs;
        assert_eq!(names.addresses(&name, Family::V4, later(59), 3), Some(loopback));
        assert_eq!(names.addresses(&name, Family::V4, later(60), 3), None);
    }
}

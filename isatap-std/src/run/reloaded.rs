//! What a reload did.

use super::Wanted;
use std::fmt;

/// The devices of the links that a [`reload`](super::Run::reload) kept, remade, made and ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Links that go on as they were.
    pub kept: Vec<String>,
    /// Links that ended and began again, since something else is said of their devices.
    pub changed: Vec<String>,
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
}

impl fmt::Display for Reloaded {
    /// `kept t0, t1; changed t2; ended t3`, without what there is nothing of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("kept", &self.kept), ("changed", &self.changed), ("began", &self.began), ("ended", &self.ended)];
        let told = all.iter().filter(|(_, devices)| !devices.is_empty());
        let told: Vec<String> = told.map(|(what, devices)| format!("{what} {}", devices.join(", "))).collect();
        f.write_str(&told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Link, Tunnel};
    use crate::teredo::secrets::Secrets;
    use std::net::Ipv4Addr;

    fn wanted(dev: &str, remote: u8, mtu: Option<u16>) -> Wanted {
        let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, remote));
        (tunnel.dev, tunnel.mtu) = (dev.to_owned(), mtu);
        Wanted { link: Link::from(tunnel), secrets: Secrets::default() }
    }

    #[test]
    fn each_link_is_told_once_and_a_written_default_changes_none() {
        let before = [wanted("t0", 2, None), wanted("t1", 3, None), wanted("t2", 4, None)];
        let now = [wanted("t0", 2, Some(1280)), wanted("t1", 5, None), wanted("t3", 6, None)];
        assert_eq!(Reloaded::between(&before, &now).to_string(), "kept t0; changed t1; began t3; ended t2");
        assert_eq!(Reloaded::between(&before, &before).to_string(), "kept t0, t1, t2");
        assert_eq!(Reloaded::between(&before[..1], &[wanted("t0", 2, Some(1400))]).to_string(), "changed t0");
    }
}

//! What is told of the name that an ISATAP router answers to: each change once. A lost name is claimed
//! again each minute, and that it is still lost is no news.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::net::Ipv4Addr;

use crate::resolve::{Holding, NameService, ResponderReport};
use crate::service::Notice;

/// What was told last. `Checking` is never told.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    links: BTreeMap<(String, NameService), Holding>,
    wins: BTreeMap<Ipv4Addr, Holding>,
    is_stopped: bool,
}

impl Holdings {
    /// What is new, for people.
    pub(super) fn follow(&mut self, report: &ResponderReport) -> Vec<Notice> {
        let links: Vec<_> = report.links.iter().map(|l| ((l.interface.clone(), l.service), l.holding)).collect();
        self.links.retain(|known, _| links.iter().any(|(key, _)| key == known));
        let mut told = Vec::new();
        for (key, holding) in links {
            let (interface, service) = &key;
            let text = match holding {
                Holding::Checking => continue,
                Holding::Held => format!("answers to the name isatap on {interface} by {service}"),
                Holding::Lost(other) => format!(
                    "{other} has the name isatap on {interface}: this router does not answer to it there by {service}; \
                     of two routers on one link one is found so, all of them by the DNS"
                ),
                Holding::Silent | Holding::Failing => format!(
                    "cannot listen to {service} on {interface}, or ask by it, and does not answer there; raise \
                     net.ipv4.igmp_max_memberships, or let a firewall of this machine pass UDP port {}",
                    if service == &NameService::Llmnr { 5355 } else { 137 }
                ),
            };
            told.extend(news(self.links.insert(key, holding), holding, text));
        }
        for (server, holding) in &report.wins {
            let text = match holding {
                Holding::Checking => continue,
                Holding::Held => format!("the WINS server {server} has registered the name isatap"),
                Holding::Lost(_) => format!(
                    "the WINS server {server} does not register the name isatap: another machine has it; delete the \
                     entry there, or leave the server out"
                ),
                Holding::Silent => format!(
                    "the WINS server {server} does not answer, and is asked again each minute; see ping {server}"
                ),
                Holding::Failing => format!(
                    "the WINS server {server} answers with an error or cannot be sent to, and is asked again each \
                     minute; see its log, and ip route get {server}"
                ),
            };
            told.extend(news(self.wins.insert(*server, *holding), *holding, text));
        }
        if report.is_stopped && !std::mem::replace(&mut self.is_stopped, true) {
            let text = "nothing answers to the name isatap any more: its thread has ended; start the daemon again";
            told.push(Notice::Warning(text.to_owned()));
        }
        told
    }
}

/// Another holder of a name that is lost is none: whoever claims it by turns would fill the log.
fn news(before: Option<Holding>, now: Holding, text: String) -> Option<Notice> {
    match (before, now) {
        (Some(before), now) if discriminant(&before) == discriminant(&now) => None,
        (None, Holding::Held) => Some(Notice::Info(text)),
        (Some(_), Holding::Held) => Some(Notice::Mended(text)),
        _ => Some(Notice::Warning(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::LinkReport;

    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);

    fn told(holdings: &mut Holdings, link: Holding, server: Holding) -> Vec<&'static str> {
        let link = LinkReport { interface: "eth0".into(), service: NameService::Llmnr, holding: link };
        let report = ResponderReport { links: vec![link], wins: vec![(SERVER, server)], ..ResponderReport::default() };
        let kind = |notice: &Notice| match notice {
            Notice::Info(_) => "info",
            Notice::Warning(_) => "warning",
            Notice::Mended(_) => "mended",
            _ => "other",
        };
        holdings.follow(&report).iter().map(kind).collect()
    }

    #[test]
    fn a_lost_name_is_told_once_and_that_it_is_back() {
        let mut holdings = Holdings::default();
        let none: [&str; 0] = [];
        assert_eq!(told(&mut holdings, Holding::Checking, Holding::Checking), none);
        assert_eq!(told(&mut holdings, Holding::Lost(OTHER), Holding::Silent), ["warning", "warning"]);
        for _ in 0..3 {
            assert_eq!(told(&mut holdings, Holding::Checking, Holding::Checking), none);
            assert_eq!(told(&mut holdings, Holding::Lost(OTHER), Holding::Silent), none);
        }
        assert_eq!(told(&mut holdings, Holding::Checking, Holding::Lost(SERVER)), ["warning"]);
        assert_eq!(told(&mut holdings, Holding::Held, Holding::Held), ["mended", "mended"]);
        // A check that a conflict set off.
        assert_eq!(told(&mut holdings, Holding::Checking, Holding::Held), none);
        assert_eq!(told(&mut holdings, Holding::Held, Holding::Held), none);
        assert_eq!(told(&mut holdings, Holding::Failing, Holding::Failing), ["warning", "warning"]);
    }

    #[test]
    fn a_name_that_is_held_from_the_start_is_an_information() {
        assert_eq!(told(&mut Holdings::default(), Holding::Held, Holding::Held), ["info", "info"]);
    }

    #[test]
    fn the_end_of_the_thread_is_told_once() {
        let (mut holdings, report) =
            (Holdings::default(), ResponderReport { is_stopped: true, ..ResponderReport::default() });
        assert!(matches!(holdings.follow(&report)[..], [Notice::Warning(_)]));
        assert!(holdings.follow(&report).is_empty());
    }
}

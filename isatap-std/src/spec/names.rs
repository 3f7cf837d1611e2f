//! How names of routers and relays are looked up: what links have in common that can be given some.

use super::Refusals;
use crate::error::Error;
use crate::resolve::{Entry, Settings, Step};
use std::net::Ipv4Addr;
use std::path::Path;

/// The fields that `spec!` adds to such a link.
pub(super) struct NameOptions<'s> {
    pub(super) steps: &'s [Step],
    pub(super) wins: &'s [Ipv4Addr],
    pub(super) lmhosts: Option<&'s Path>,
    pub(super) refuse_conflicts: bool,
    pub(super) devolution: bool,
}

/// Steps as they are taken, each once; none that are written mean the default.
pub(super) fn in_order(steps: &[Step]) -> Vec<Step> {
    let taken = if steps.is_empty() { &Step::DEFAULT[..] } else { steps };
    Step::ALL.into_iter().filter(|step| taken.contains(step)).collect()
}

/// That a WINS server can be one; `doing` says what it is for.
pub(super) fn check_wins(doing: &'static str, server: Ipv4Addr) -> Result<(), Error> {
    if isatap_core::isatap::addr::is_locator(server) {
        return Ok(());
    }
    let error = Error::usage(doing, server, "no host can have this address");
    Err(error.with_advice("give the IPv4 address of the server"))
}

impl NameOptions<'_> {
    fn takes(&self, step: Step) -> bool {
        in_order(self.steps).contains(&step)
    }

    /// What is looked up: the names that are given, or the protocol's own.
    pub(super) fn settings(&self, routers: Vec<Entry>) -> Settings {
        let default = Settings::default();
        Settings {
            routers,
            steps: in_order(self.steps),
            wins: self.wins.to_vec(),
            refuse_conflicts: self.refuse_conflicts,
            devolution: self.devolution,
            lmhosts_file: self.lmhosts.map_or(default.lmhosts_file, Path::to_owned),
            ..Settings::default()
        }
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        if self.takes(Step::Wins) && self.wins.is_empty() {
            let error = Error::usage("look up names by", Step::Wins, "no WINS server is given");
            refusals.add("resolve-by", error.with_advice("name one: wins"));
        }
        for server in self.wins {
            if !self.takes(Step::Wins) {
                let error = Error::usage("ask the WINS server", server, "names are not looked up by wins");
                refusals.add("wins", error.with_advice("add wins to resolve-by"));
            } else {
                refusals.note("wins", check_wins("ask the WINS server", *server));
            }
        }
        if let Some(file) = self.lmhosts
            && !self.takes(Step::Lmhosts)
            && !self.takes(Step::NetbiosCache)
        {
            let why = "names are looked up neither by lmhosts nor by netbios-cache";
            let error = Error::usage("read", file.display(), why);
            refusals.add("lmhosts", error.with_advice("add lmhosts to resolve-by"));
        }
        if self.refuse_conflicts && self.open_to_neighbors().is_empty() {
            let why = "names are looked up neither by llmnr nor by broadcast";
            let error = Error::usage("refuse", "conflicts", why);
            refusals.add("refuse-conflicts", error.with_advice("leave it out, or add one of them to resolve-by"));
        }
    }

    /// The steps that anybody on a link of this host can answer.
    pub(super) fn open_to_neighbors(&self) -> Vec<Step> {
        in_order(self.steps).into_iter().filter(|step| matches!(step, Step::Llmnr | Step::Broadcast)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::resolve::Step;
    use crate::spec::{IsatapHost, LinkSpec};

    fn refused(change: impl FnOnce(&mut IsatapHost)) -> Vec<String> {
        let mut host = IsatapHost::new();
        change(&mut host);
        LinkSpec::from(host).check().iter().map(|refusal| format!("{}: {}", refusal.key, refusal.error)).collect()
    }

    #[test]
    fn nam_1_steps_in_any_order_are_the_same_link() {
        let host = |steps: &[Step]| {
            let mut host = IsatapHost::new();
            host.resolve_by = steps.to_vec();
            LinkSpec::from(host).resolved()
        };
        assert_eq!(host(&[]), host(&[Step::Dns, Step::Hosts, Step::HostName, Step::Dns]));
        assert_ne!(host(&[]), host(&[Step::Dns, Step::Llmnr]));
    }

    #[test]
    fn nam_3_nam_10_the_older_name_and_devolution_are_asked_for_by_key() {
        let default = IsatapHost::new().settings();
        assert!(!default.devolution && !default.legacy_name && default.steps == Step::DEFAULT);
        let mut host = IsatapHost::new();
        (host.devolution, host.legacy_name, host.lmhosts) = (true, true, Some("/etc/lmhosts".into()));
        let settings = host.settings();
        assert!(settings.devolution && settings.legacy_name);
        assert_eq!(settings.lmhosts_file, std::path::Path::new("/etc/lmhosts"));
        // There is no name to guess where one is given.
        let refused = refused(|host| {
            (host.legacy_name, host.router) = (true, vec!["router.example".parse().unwrap()]);
        });
        assert!(refused[0].starts_with("legacy-name: "), "{refused:?}");
    }

    #[test]
    fn wins_and_lmhosts_need_their_steps_and_wins_a_server() {
        let without_server = refused(|host| host.resolve_by = vec![Step::Wins]);
        assert!(without_server[0].starts_with("resolve-by: ") && without_server[0].contains("WINS server"));
        let server = "10.0.0.53".parse().unwrap();
        let without_step = refused(|host| host.wins = vec![server]);
        assert!(without_step[0].contains("add wins to resolve-by"), "{without_step:?}");
        let file = refused(|host| host.lmhosts = Some("/etc/lmhosts".into()));
        assert!(file[0].contains("add lmhosts to resolve-by"), "{file:?}");
        let sound = refused(|host| {
            (host.resolve_by, host.wins) = (vec![Step::Wins, Step::NetbiosCache], vec![server]);
            host.lmhosts = Some("/etc/lmhosts".into());
        });
        assert!(sound.is_empty(), "{sound:?}");
        let group = refused(|host| {
            (host.resolve_by, host.wins) = (vec![Step::Wins], vec!["224.0.0.1".parse().unwrap()]);
        });
        assert!(group[0].starts_with("wins: "), "{group:?}");
    }

    #[test]
    fn nam_23_nam_33_conflicts_are_refused_where_that_is_asked_for_and_there_can_be_some() {
        assert!(!IsatapHost::new().settings().refuse_conflicts);
        let mut host = IsatapHost::new();
        (host.refuse_conflicts, host.resolve_by) = (true, vec![Step::Broadcast]);
        assert!(host.settings().refuse_conflicts && LinkSpec::from(host).check().is_empty());
        let alone = refused(|host| host.refuse_conflicts = true);
        assert!(alone[0].starts_with("refuse-conflicts: ") && alone[0].contains("resolve-by"), "{alone:?}");
    }

    #[test]
    fn nam_35_a_host_that_asks_its_neighbors_is_warned() {
        let mut host = IsatapHost::new();
        host.resolve_by = vec![Step::Dns, Step::Broadcast, Step::Llmnr];
        let warnings = LinkSpec::from(host).warnings();
        assert!(warnings.iter().any(|warning| warning.contains("llmnr, broadcast")), "{warnings:?}");
    }
}

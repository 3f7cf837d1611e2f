//! What a process does beside its links: hooks, names in the DNS, answers to its own name. A link works
//! without, so no step waits for these, and these wait for none.

use super::shared::reconfigured;
use super::{Facts, Finding, Step};
use crate::service::status::{DnsUpdateStatus, HeldName, HooksStatus, ResponderStatus};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let status = &facts.evidence.status;
    let responder = status.responder.iter().map(|of_it| responder(facts, of_it));
    let names = status.dns_updates.iter().map(dns_update);
    responder.chain(names).chain(status.hooks.iter().map(|of_it| hooks(facts, of_it))).collect()
}

/// `NAM-25`: the first place where the name is not this router's.
fn responder(facts: &Facts, of_it: &ResponderStatus) -> Finding {
    if of_it.stopped {
        let cause = "the thread that answers to the name isatap has ended";
        return Finding::bad(Step::Responder, cause, reconfigured(facts));
    }
    let places = || of_it.links.iter().chain(&of_it.wins);
    if let Some((cause, fix)) = places().find_map(not_held) {
        return Finding::bad(Step::Responder, cause, fix);
    }
    if of_it.links.is_empty() {
        let cause = "no interface of this machine has the router's IPv4 address: nobody is answered there";
        return Finding::bad(Step::Responder, cause, "ip address add V4/LEN dev DEV");
    }
    let held: Vec<String> = places().map(|place| format!("{} by {}", place.at, place.by)).collect();
    let held = held.join(", ");
    if places().any(|place| place.state == "checking") {
        return Finding::unknown(
            Step::Responder,
            format!("it is being asked whether another has the name isatap: {held}"),
        );
    }
    let refused: Vec<String> = of_it.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let warning = (!refused.is_empty()).then(|| format!("messages that were not answered: {}", refused.join(", ")));
    let answered = of_it.answered;
    Finding::good(Step::Responder, format!("the name isatap is held at {held}; {answered} answered")).warn(warning)
}

fn not_held(place: &HeldName) -> Option<(String, String)> {
    let HeldName { at, by, .. } = place;
    let holder = place.holder.map_or("another machine".to_owned(), |holder| holder.to_string());
    Some(match (place.state.as_str(), by.as_str()) {
        ("lost", "wins") => (
            format!("the WINS server {at} says that {holder} has the name isatap"),
            format!("take the name from {holder}, or its entry from the server; it is tried again by itself"),
        ),
        ("lost", _) => (
            format!("{holder} answers to the name isatap at {at} by {by}, so this router does not"),
            format!("end the responder of {holder}; two routers on one link need the DNS, or --router at the hosts"),
        ),
        ("silent", _) => (
            format!("the WINS server {at} does not answer"),
            format!("start it, let UDP port 137 through to it, or leave {at} out of wins"),
        ),
        ("failing", "wins") => {
            (format!("the WINS server {at} answers with an error"), format!("see its log, or leave {at} out of wins"))
        }
        ("failing", _) => (
            format!("the kernel lets nobody listen at {at} by {by}"),
            format!(
                "see: ip link show dev {at} (it has to be up, with MULTICAST), and sysctl net.ipv4.igmp_max_memberships"
            ),
        ),
        _ => return None,
    })
}

fn dns_update(of_it: &DnsUpdateStatus) -> Finding {
    let name = &of_it.name;
    if let Some(failure) = &of_it.failure {
        let fix = of_it.fix.clone().unwrap_or_else(|| "see the daemon's log".to_owned());
        return Finding::bad(Step::DnsUpdate, format!("{name} is not up to date: {failure}"), fix);
    }
    let forgotten = of_it.forgotten.as_ref();
    let warning = forgotten.map(|why| format!("{why}: the records stay, should this daemon be killed"));
    let (Some(server), Some(age)) = (&of_it.server, of_it.updated) else {
        return Finding::unknown(Step::DnsUpdate, format!("{name}: no server was asked yet")).warn(warning);
    };
    let has = match of_it.addresses.as_slice() {
        [] => " no address".to_owned(),
        all => all.iter().map(|address| format!(" {address}")).collect(),
    };
    Finding::good(Step::DnsUpdate, format!("{name} has{has} by {server}, {age} s ago")).warn(warning)
}

fn hooks(facts: &Facts, of_it: &HooksStatus) -> Finding {
    let HooksStatus { runs, failures, lost, .. } = of_it;
    if let Some(how) = &of_it.ended {
        let cause =
            format!("the process that runs hooks has ended, {how}: no hook runs any more, {lost} events are lost");
        return Finding::bad(Step::Hooks, cause, reconfigured(facts));
    }
    let failed = of_it.last_failure.as_ref().filter(|_| *failures > 0);
    let age = of_it.failed.map(|age| format!(", {age} s ago")).unwrap_or_default();
    let failed = failed.map(|failure| format!("{failures} of {runs} runs failed; the last{age}: {failure}"));
    let lost = (*lost > 0).then(|| format!("{lost} events were lost, since the hook takes too long"));
    let warning: Vec<String> = failed.into_iter().chain(lost).collect();
    let seen = match &of_it.command {
        Some(command) => format!("{command} has run {runs} times"),
        None => "none is to run any more".to_owned(),
    };
    let of_it = if *runs == 0 && of_it.command.is_some() { Finding::unknown } else { Finding::good };
    of_it(Step::Hooks, seen).warn((!warning.is_empty()).then(|| warning.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{healthy, router};
    use super::super::{Facts, Finding, Step, diagnose};
    use serde_json::{Value, from_value, json};

    fn beside(mut facts: Facts, change: Value) -> Vec<Finding> {
        let mut status = serde_json::to_value(&facts.evidence.status).unwrap();
        status.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        facts.evidence.status = from_value(status).unwrap();
        let judged = diagnose(&facts);
        judged.into_iter().filter(|finding| finding.step >= Step::Responder).collect()
    }

    fn dns(failure: Value, updated: Value) -> Value {
        json!({"dns_updates": [{"name": "host.example.net", "server": "10.0.0.53:53", "addresses": ["2001:db8::1"],
            "updated": updated, "failure": failure, "fix": failure.as_str().map(|_| "allow it")}]})
    }

    fn responder(links: &Value, wins: &Value) -> Value {
        json!({"responder": {"links": links, "wins": wins, "answered": 3, "refused": {}}})
    }

    #[test]
    fn what_fails_beside_a_link_is_told_though_the_link_fails_too() {
        let hooks = json!({"hooks": {"command": "/etc/hook", "alive": false, "ended": "signal: 9 (SIGKILL)", "runs": 4,
            "failures": 0, "last_failure": null, "failed": null, "waiting": 0, "lost": 2}});
        for disabled in [false, true] {
            let mut facts = healthy();
            facts.kernel.ipv6_disabled = disabled;
            let all = beside(facts, hooks.clone());
            let [finding] = all.as_slice() else { panic!("{all:?}") };
            assert!(!finding.ok && finding.step == Step::Hooks);
            assert!(finding.cause.as_ref().unwrap().contains("signal: 9 (SIGKILL): no hook runs any more, 2 events"));
            assert!(finding.fix.as_ref().unwrap().starts_with("restart it: isatap host"));
        }
        assert!(beside(healthy(), json!({})).is_empty());
    }

    #[test]
    fn a_failed_run_is_a_warning() {
        let hooks = json!({"hooks": {"command": "/etc/hook", "alive": true, "ended": null, "runs": 4, "failures": 1,
            "last_failure": "up of isatap0: exit status: 3", "failed": 7, "waiting": 0, "lost": 0}});
        let finding = &beside(healthy(), hooks)[0];
        assert_eq!(finding.seen.as_deref(), Some("/etc/hook has run 4 times"));
        let warning = "1 of 4 runs failed; the last, 7 s ago: up of isatap0: exit status: 3";
        assert_eq!(finding.warning.as_deref(), Some(warning));
    }

    #[test]
    fn a_hook_that_has_not_run_is_not_known_to_work() {
        let hooks = json!({"hooks": {"command": "/etc/hook", "alive": true, "ended": null, "runs": 0, "failures": 0,
            "last_failure": null, "failed": null, "waiting": 0, "lost": 0}});
        let finding = &beside(healthy(), hooks)[0];
        assert!(finding.ok && finding.unknown, "{finding:?}");
        assert_eq!(finding.seen.as_deref(), Some("/etc/hook has run 0 times"));
    }

    #[test]
    fn each_name_in_the_dns_has_its_last_answer_judged() {
        let good = &beside(healthy(), dns(Value::Null, json!(5)))[0];
        assert!(good.ok && !good.unknown);
        assert_eq!(good.seen.as_deref(), Some("host.example.net has 2001:db8::1 by 10.0.0.53:53, 5 s ago"));
        assert!(beside(healthy(), dns(Value::Null, Value::Null))[0].unknown);
        let bad = &beside(healthy(), dns(json!("10.0.0.53:53 refuses it"), json!(5)))[0];
        assert_eq!(bad.cause.as_deref(), Some("host.example.net is not up to date: 10.0.0.53:53 refuses it"));
        assert_eq!(bad.fix.as_deref(), Some("allow it"));
    }

    #[test]
    fn the_name_isatap_is_judged_at_each_place() {
        let at = |state: &str| json!([{"at": "eth0", "by": "llmnr", "state": state, "holder": "10.0.0.7"}]);
        let wins = |state: &str| json!([{"at": "10.0.0.53", "by": "wins", "state": state, "holder": null}]);
        let judge = |links: Value, wins: Value| beside(router(), responder(&links, &wins)).remove(0);
        let held = judge(at("held"), wins("held"));
        assert_eq!(
            held.seen.as_deref(),
            Some("the name isatap is held at eth0 by llmnr, 10.0.0.53 by wins; 3 answered")
        );
        assert!(judge(at("checking"), json!([])).unknown);
        for (links, wins, cause) in [
            (at("lost"), wins("held"), "10.0.0.7 answers to the name isatap at eth0 by llmnr"),
            (at("held"), wins("silent"), "the WINS server 10.0.0.53 does not answer"),
            (at("held"), wins("lost"), "says that another machine has the name"),
            (at("held"), wins("failing"), "answers with an error"),
            (at("failing"), wins("held"), "the kernel lets nobody listen at eth0 by llmnr"),
            (json!([]), json!([]), "no interface of this machine has the router's IPv4 address"),
        ] {
            let finding = judge(links, wins);
            assert!(!finding.ok && finding.cause.as_ref().unwrap().contains(cause), "{finding:?}");
        }
    }
}

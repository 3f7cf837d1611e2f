//! Rules beside each other: two at one place, and those that lead in a circle.

use super::super::whole::Conflict;
use super::super::{Family, LinkSpec, ZonedAddress};
use super::PortProxy;
use crate::resolve::{LLMNR_PORT, NameService};

/// What rules cannot be beside each other: two that listen at one place (`PPX-5`), and those that
/// lead in a circle (`PPX-12`). [`Conflict::link`] is the number of the rule.
#[must_use]
pub fn rule_conflicts(rules: &[PortProxy]) -> Vec<Conflict> {
    conflicts_among(rules, &|_| false)
}

/// Rules that listen where a router of the same file answers to its name: by TCP that is LLMNR alone.
#[must_use]
pub fn rules_at_answerers(rules: &[PortProxy], links: &[LinkSpec]) -> Vec<Conflict> {
    let Some(router) = links.iter().find(|link| link.answer_by().contains(&NameService::Llmnr)) else {
        return Vec::new();
    };
    // It answers over IPv4 alone; a listener at [::] takes no IPv4.
    let is_there = |rule: &PortProxy| {
        let listen = rule.resolved().listen;
        listen.port == LLMNR_PORT && listen.address.is_some_and(|address| Family::of(address.address) == Family::V4)
    };
    let at_port = rules.iter().enumerate().filter(|(_, rule)| is_there(rule));
    let conflict = |(link, rule): (usize, &PortProxy)| {
        let text = format!(
            "{} answers by llmnr at TCP port {LLMNR_PORT}: choose another port, or leave llmnr out of its answer-by",
            router.device()
        );
        Conflict { link, key: "listen", value: rule.listen.to_string(), text }
    };
    at_port.map(conflict).collect()
}

/// Rules that lead in a circle on the machine that has these addresses, and not by themselves: a rule for
/// all addresses has those too.
pub(crate) fn rule_loops(rules: &[PortProxy], own: &dyn Fn(&ZonedAddress) -> bool) -> Vec<Conflict> {
    let refused = rule_conflicts(rules);
    let mut loops = conflicts_among(rules, own);
    loops.retain(|found| !refused.iter().any(|conflict| conflict.link == found.link));
    loops
}

fn conflicts_among(rules: &[PortProxy], own: &dyn Fn(&ZonedAddress) -> bool) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut add = |link: usize, key: &'static str, value: String, text: String| {
        found.push(Conflict { link, key, value, text });
    };
    for (at, rule) in rules.iter().enumerate() {
        let key = rule.key();
        if rules.iter().take(at).any(|other| other.key() == key) {
            let text = format!("a second rule listens at {key}: keep one, or choose another port or address");
            add(at, "listen", rule.listen.to_string(), text);
            continue;
        }
        let Some(last) = end_of_circle(rules, at, own) else { continue };
        let value = rule.connect.as_ref().map(ToString::to_string).unwrap_or_default();
        match rules.get(last).filter(|_| last != at) {
            Some(end) => {
                let text =
                    format!("{key} and {} lead to each other: connect one to another machine or port", end.key());
                add(at, "connect", value, text);
            }
            // What it is on any machine it says itself: `check`.
            None if rule.leads_to(rule, &|_| false) => {}
            None => {
                let text = format!(
                    "the rule itself listens at {key}, and {value} is this machine now: what comes back is reset; choose \
                     another port, or listen at another address"
                );
                add(at, "connect", value.clone(), text);
            }
        }
    }
    found
}

/// The rule from which a circle comes back to rule `at`, which is its last in the file.
fn end_of_circle(rules: &[PortProxy], at: usize, own: &dyn Fn(&ZonedAddress) -> bool) -> Option<usize> {
    let mut end = at;
    for _ in rules {
        let from = rules.get(end)?;
        // A rule for one address has what would be another's for all.
        let to = |own: &dyn Fn(&ZonedAddress) -> bool, is_any: bool| {
            rules.iter().position(|rule| {
                let listen = rule.resolved().listen.address;
                listen.is_some_and(|listen| listen.address.is_unspecified() == is_any) && from.leads_to(rule, own)
            })
        };
        let next = to(own, false).or_else(|| to(own, true))?;
        if next == at {
            return Some(end);
        }
        if next > at {
            return None;
        }
        end = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule;
    use super::*;

    #[test]
    fn ppx_5_a_place_to_listen_is_one_rules() {
        let rules =
            [rule("80", "8080", "v4tov6"), rule("80", "8080", "v6tov4"), rule("192.0.2.1:80", "8080", "v4tov6")];
        assert!(rule_conflicts(&rules).is_empty());
        let again = [rules[0].clone(), rules[1].clone(), rule("0.0.0.0:80", "192.0.2.9", "")];
        let conflicts = rule_conflicts(&again);
        assert_eq!((conflicts.len(), conflicts[0].link, conflicts[0].key), (1, 2, "listen"));
        assert!(conflicts[0].text.contains("a second rule listens at 0.0.0.0:80"), "{conflicts:?}");
    }

    #[test]
    fn ppx_12_rules_in_a_circle_are_refused() {
        let circle = [rule("80", "81", "v4tov4"), rule("0.0.0.0:81", "127.0.0.1:82", ""), rule("82", "80", "v4tov4")];
        let conflicts = rule_conflicts(&circle);
        assert_eq!((conflicts.len(), conflicts[0].link, conflicts[0].key), (1, 2, "connect"), "{conflicts:?}");
        assert!(rule_conflicts(&circle[..2]).is_empty());
    }

    #[test]
    fn ppx_12_a_rule_for_all_addresses_leads_to_itself_by_one_of_this_machines() {
        let own = |address: &ZonedAddress| ["192.0.2.1", "2001:db8::1"].contains(&&*address.address.to_string());
        let told = |rules: &[PortProxy]| {
            let found = rule_loops(rules, &own).into_iter();
            found.map(|conflict| format!("{} {}: {}", conflict.link, conflict.value, conflict.text)).collect::<Vec<_>>()
        };
        for (listen, connect, direction) in
            [("*:81", "192.0.2.1:81", "v4tov4"), ("0.0.0.0:81", "192.0.2.1", ""), ("[::]:81", "[2001:db8::1]:81", "")]
        {
            let rule = rule(listen, connect, direction);
            let told = told(std::slice::from_ref(&rule));
            assert!(
                told.len() == 1
                    && told[0].contains("is this machine now: what comes back is reset; choose another port"),
                "{listen}: {told:?}"
            );
            assert!(rule_conflicts(&[rule]).is_empty(), "it may be another machine's file");
        }
        let circle = [rule("0.0.0.0:81", "192.0.2.1:82", ""), rule("0.0.0.0:82", "192.0.2.1:81", "")];
        assert!(told(&circle)[0].starts_with("1 192.0.2.1:81: 0.0.0.0:82 and 0.0.0.0:81 lead to each other"));
        // Another rule has just that address, and leads out.
        let chain = [rule("0.0.0.0:81", "192.0.2.1:81", ""), rule("192.0.2.1:81", "192.0.2.9:81", "")];
        assert_eq!(told(&chain), [""; 0]);
        for (listen, connect) in
            [("0.0.0.0:81", "192.0.2.1:82"), ("0.0.0.0:81", "192.0.2.9:81"), ("[::]:81", "192.0.2.1:81")]
        {
            assert_eq!(told(&[rule(listen, connect, "")]), [""; 0], "{listen} {connect}");
        }
    }

    #[test]
    fn ppx_5_a_rule_listens_at_no_port_of_a_router_that_answers_to_its_name() {
        let mut router = crate::spec::IsatapRouter::new(
            vec!["10.0.0.1".parse().unwrap()],
            vec!["2001:db8:0:7::/64".parse().unwrap()],
        );
        router.answer_by = vec![NameService::Netbios];
        let rules = [
            rule("0.0.0.0:5355", "192.0.2.1:80", ""),
            rule("192.0.2.9:5355", "192.0.2.1:80", ""),
            rule("[::]:5355", "192.0.2.1:80", ""),
            // NetBIOS names are UDP.
            rule("0.0.0.0:137", "192.0.2.1:80", ""),
        ];
        assert!(rules_at_answerers(&rules, &[router.clone().into()]).is_empty());
        router.answer_by.push(NameService::Llmnr);
        let found = rules_at_answerers(&rules, &[router.into()]);
        assert_eq!(found.iter().map(|conflict| conflict.link).collect::<Vec<_>>(), [0, 1]);
        assert!(found[0].text.starts_with("isatap0 answers by llmnr at TCP port 5355: "), "{found:?}");
    }
}

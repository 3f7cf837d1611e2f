//! Whether the names of potential routers have addresses, and which routers that makes.

use super::list;
use crate::doctor::shared::restarted;
use crate::doctor::{Facts, Finding, Step};
use crate::resolve::Discard;
use crate::service::evidence::{NameFailure, NameFailureKind, Names};
use crate::service::status::NameStep;

pub(super) fn name(facts: &Facts) -> Finding {
    let Some(names) = &facts.evidence.names else {
        return Finding::good(Step::Name, "not needed: routers are given by address");
    };
    let asked = list(&names.names);
    let has_routers = !facts.evidence.status.prl.is_empty();
    if let Some(failure) = &names.failure {
        // ISA-24: what was known is kept while nobody denies it.
        if has_routers {
            let known = list(facts.evidence.status.prl.iter().map(|row| row.address));
            let warning = format!("looking up {asked} fails now: {}", failure.text);
            return Finding::good(Step::Name, format!("{asked}: {known}")).warn(Some(warning));
        }
        return no_name(facts, names, failure);
    }
    if names.sources.is_empty() && !has_routers {
        let servers = list(&names.nameservers);
        let cause = format!("{asked} is being looked up; the name servers {servers} have not answered yet");
        return Finding::bad(Step::Name, cause, "wait for the answer and run isatap doctor again");
    }
    let mut warnings: Vec<String> =
        names.unresolved.iter().map(|(name, why)| format!("{name} brings nothing: {why}")).collect();
    if let Some(refused) = facts.evidence.status.names.as_ref().filter(|names| !names.refused.is_empty()) {
        // A router that still checks that the name is its own says so: tentative.
        let refused = refused.refused.iter().filter(|(reason, _)| reason.as_str() != Discard::Tentative.as_str());
        let refused = list(refused.map(|(reason, count)| format!("{reason} {count}")));
        if !refused.is_empty() {
            warnings.push(format!("somebody on the link sends other answers, which were refused: {refused}"));
        }
    }
    if let Some(conflicts) = conflicts(facts) {
        let steps = facts.evidence.status.names.iter().flat_map(|names| &names.steps);
        let is_refused = steps.filter(|said| !said.conflict.is_empty()).all(|said| said.failure.is_some());
        let believed = if is_refused { "none of them" } else { "the first" };
        warnings.push(format!("machines of one link contradict each other, and {believed} is believed: {conflicts}"));
    }
    warnings.extend(names.refused.iter().map(|(address, why)| format!("{address} is not used: it is {why}")));
    if names.automatic {
        warnings.push(format!(
            "no router is given, so whoever answers for isatap {} is believed in everything; own that name, or give \
             --router",
            where_asked(facts, names)
        ));
    }
    let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
    Finding::good(Step::Name, format!("{asked} by {}", list(&names.sources))).warn(warning)
}

/// Who can answer for a name: by the steps that were taken.
fn where_asked(facts: &Facts, names: &Names) -> String {
    let steps = facts.evidence.status.names.as_ref().map_or(&[][..], |names| &names.steps);
    let is_of_link = |said: &&NameStep| matches!(said.step.as_str(), "llmnr" | "wins" | "broadcast");
    let mut links: Vec<&str> = steps.iter().filter(is_of_link).map(|said| said.step.as_str()).collect();
    links.dedup();
    let mut asked = Vec::new();
    if asks_dns(facts) && !names.search.is_empty() {
        asked.push(format!("in {}", list(&names.search)));
    }
    if !links.is_empty() {
        asked.push(format!("by {}", list(links)));
    }
    if asked.is_empty() { "in the hosts file".to_owned() } else { asked.join(", or ") }
}

fn no_name(facts: &Facts, names: &Names, failure: &NameFailure) -> Finding {
    let asked = list(&names.names);
    let by_address = || restarted(facts, "--router", "V4");
    let servers = list(&names.nameservers);
    let others = other_steps(facts);
    match failure.kind {
        NameFailureKind::NoSuchName if !asks_dns(facts) => Finding::bad(
            Step::Name,
            format!("{asked} is not known, and the DNS is not asked{others}"),
            format!("add a line `V4 {asked}` to /etc/hosts, or dns to resolve-by, or {}", by_address()),
        ),
        NameFailureKind::NoSuchName if names.bare && names.search.is_empty() => Finding::bad(
            Step::Name,
            format!(
                "{asked} is a bare name, and there is no search domain to put behind it: /etc/resolv.conf has no \
                 `search` line{others}"
            ),
            "add the site's domain to /etc/resolv.conf: search DOMAIN",
        ),
        NameFailureKind::NoSuchName => {
            let suffixes =
                if names.bare { format!(" in the search domains {}", list(&names.search)) } else { String::new() };
            Finding::bad(
                Step::Name,
                format!("the name servers {servers} know no IPv4 address for {asked}{suffixes}{others}"),
                format!(
                    "add an A record for {asked}, or a line `V4 {asked}` to /etc/hosts, or {}; a Windows DNS server \
                     refuses `isatap` until it is off its global query block list",
                    by_address()
                ),
            )
        }
        // There is a name; what it brings is no list of routers.
        NameFailureKind::NoUsableAddress => Finding::good(Step::Name, format!("{asked} has addresses")),
        NameFailureKind::NoServer => Finding::bad(
            Step::Name,
            format!("{asked} cannot be looked up: {} ({servers}){others}", failure.text),
            format!("name a DNS server that answers in /etc/resolv.conf: nameserver V4; or {}", by_address()),
        ),
        NameFailureKind::BadServer => Finding::bad(
            Step::Name,
            format!("{asked} cannot be looked up: {} ({servers}){others}", failure.text),
            format!("mend that name server, or name another in /etc/resolv.conf; or {}", by_address()),
        ),
        NameFailureKind::Conflict => Finding::bad(
            Step::Name,
            format!("{asked} is not used: {}: {}", failure.text, conflicts(facts).unwrap_or_default()),
            format!(
                "take the name from the machine that should not have it, or leave out refuse-conflicts, or {}",
                by_address()
            ),
        ),
        NameFailureKind::Local => Finding::bad(
            Step::Name,
            format!("{asked} cannot be looked up: {}", failure.text),
            "make /etc/hosts and /etc/resolv.conf readable for the daemon, and restart it",
        ),
    }
}

/// Whether the DNS is among the steps; an old daemon does not say which it took.
fn asks_dns(facts: &Facts) -> bool {
    let steps = facts.evidence.status.names.as_ref().map_or(&[][..], |names| &names.steps);
    // A bare name without a search domain is not asked for either.
    let takes_others = steps.iter().any(is_other);
    !takes_others
        || steps.iter().any(|said| said.step == "dns")
        || facts.evidence.names.as_ref().is_some_and(|names| names.dns && has_no_suffix(names))
}

fn has_no_suffix(names: &Names) -> bool {
    names.bare && names.search.is_empty()
}

/// Whether it is none of the steps that every host takes.
fn is_other(said: &NameStep) -> bool {
    !matches!(said.step.as_str(), "host-name" | "hosts" | "dns")
}

/// What LLMNR and NetBIOS said, as far as they were asked, and how many answers were refused.
fn other_steps(facts: &Facts) -> String {
    let Some(names) = &facts.evidence.status.names else { return String::new() };
    let said = names.steps.iter().filter(|said| is_other(said));
    let mut parts: Vec<String> = said
        .filter_map(|said| Some(format!("{} says of {}: {}", said.step, said.name, said.failure.as_ref()?)))
        .collect();
    if !names.refused.is_empty() {
        let refused = names.refused.iter().map(|(reason, count)| format!("{reason} {count}"));
        parts.push(format!("answers were refused: {}", list(refused)));
    }
    parts.into_iter().map(|part| format!("; {part}")).collect()
}

/// Who contradicts whom about names; `None`: nobody.
fn conflicts(facts: &Facts) -> Option<String> {
    let conflicts: Vec<String> = facts.evidence.status.names.as_ref()?.conflicts().collect();
    (!conflicts.is_empty()).then(|| conflicts.join("; "))
}

pub(super) fn prl(facts: &Facts) -> Finding {
    let rows = &facts.evidence.status.prl;
    if !rows.is_empty() {
        return Finding::good(Step::Prl, list(rows.iter().map(|row| format!("{} ({})", row.address, row.source))));
    }
    let names = facts.evidence.names.as_ref();
    let unusable = names.and_then(|names| names.failure.as_ref().map(|failure| (names, failure)));
    match unusable {
        Some((names, failure)) => Finding::bad(
            Step::Prl,
            format!(
                "{} leads to no address that a router can have: only to this machine itself, to loopback or the like \
                 ({})",
                list(&names.names),
                failure.text
            ),
            format!("correct the A record of {} (or its line in /etc/hosts)", list(&names.names)),
        ),
        None => Finding::bad(Step::Prl, "the list of potential routers is empty", restarted(facts, "--router", "V4")),
    }
}

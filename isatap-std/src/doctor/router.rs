//! The steps of a router, and of any link that solicits nobody: the others are left out.

use super::shared::{firewall, kernel_addresses, kernel_mtu, kernel_routes, refused_lately};
use super::{Facts, Finding, Step};
use crate::node::dotted;

pub(super) fn judge(facts: &Facts, step: Step) -> Finding {
    match step {
        Step::Address => address(facts),
        Step::Route => route(facts),
        Step::Lan => lan(facts),
        Step::Mtu => {
            let mtu = facts.evidence.status.mtu;
            kernel_mtu(facts).unwrap_or_else(|| Finding::good(Step::Mtu, format!("{mtu} bytes")))
        }
        _ => peer(facts),
    }
}

fn address(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    if status.locators.is_empty() {
        let wanted: Vec<String> = facts.evidence.wanted_locators.iter().map(ToString::to_string).collect();
        let wanted = wanted.join(", ");
        return Finding::bad(
            Step::Address,
            format!("this machine no longer has the IPv4 address {wanted}: nothing is sent"),
            format!("ip address add {wanted}/LEN dev DEV"),
        );
    }
    if let Some(finding) = kernel_addresses(facts, Step::Address) {
        return finding;
    }
    let addresses: Vec<String> = status.addresses.iter().map(|address| dotted(&address.address)).collect();
    Finding::good(Step::Address, addresses.join(", "))
}

fn route(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    if status.role == "isatap-router" && !status.forwarding {
        return Finding::bad(
            Step::Route,
            "the kernel does not forward IPv6, so hosts get no default route from here (RFC 4861 §6.2.5)",
            format!("sysctl -w net.ipv6.conf.all.forwarding=1 && sysctl -w net.ipv6.conf.{}.forwarding=1", status.dev),
        );
    }
    if let Some(finding) = kernel_routes(facts) {
        return finding;
    }
    let seen = match &status.advertises {
        Some(told) => format!("forwards; advertises {}", told.prefixes.join(", ")),
        None => status.routes.iter().map(|route| route.prefix.as_str()).collect::<Vec<_>>().join(", "),
    };
    Finding::good(Step::Route, seen)
}

/// The first LAN whose hosts get no prefix or no way on.
fn lan(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    let mut seen = Vec::new();
    let mut warning = None;
    for lan in &status.lans {
        let dev = &lan.dev;
        if let Some(problem) = &lan.problem {
            let fix =
                lan.fix.clone().unwrap_or_else(|| format!("wait a moment; then see: ip -6 address show dev {dev}"));
            return Finding::bad(Step::Lan, format!("the hosts of {dev} get no prefix: {problem}"), fix);
        }
        if !lan.forwarding {
            return Finding::bad(
                Step::Lan,
                format!("the kernel does not forward IPv6, so the hosts of {dev} hear of no default router"),
                format!("sysctl -w net.ipv6.conf.all.forwarding=1 && sysctl -w net.ipv6.conf.{dev}.forwarding=1"),
            );
        }
        let current: Vec<&str> =
            lan.prefixes.iter().filter(|prefix| !prefix.deprecated).map(|prefix| prefix.prefix.as_str()).collect();
        if current.is_empty() {
            let cause = format!("there is no prefix for the hosts of {dev}: the tunnel has none to give");
            return Finding::bad(Step::Lan, cause, format!("isatap status {}", status.dev));
        }
        if !lan.default_router {
            let why = format!("the hosts of {dev} hear of no default router: the tunnel has no default route");
            warning = warning.or(Some(format!("{why}; name a relay (--relay, --br)")));
        }
        seen.push(format!("{dev} has {}", current.join(", ")));
    }
    Finding::good(Step::Lan, seen.join("; ")).warn(warning)
}

fn peer(facts: &Facts) -> Finding {
    if let Some(finding) = firewall(facts, Step::Peer) {
        return finding;
    }
    let packets = &facts.evidence.status.packets;
    let seen = format!("{} packets tunnelled, {} delivered", packets.tunnelled, packets.delivered);
    Finding::good(Step::Peer, seen).warn(refused_lately(facts))
}

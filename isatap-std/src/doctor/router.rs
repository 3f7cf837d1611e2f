//! The steps of a router, and of any link that solicits nobody: the others are left out.

use super::shared::{
    Complaint, LATELY, answered, carried, complaint, firewall, has_begun_anew, input_fix, kernel_addresses, kernel_mtu,
    kernel_routes, own_input, refused_lately, restarted, route_get, with_flag,
};
use super::{Facts, Finding, Step};
use crate::service::dotted;
use crate::service::evidence::RefusedFrom;
use isatap_core::drop_reason::DropReason;
use isatap_core::prefix::is_ambiguous;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn judge(facts: &Facts, step: Step) -> Finding {
    match step {
        Step::Address => address(facts),
        Step::Route => route(facts),
        Step::Lan => lan(facts),
        Step::Mtu => {
            let mtu = facts.evidence.status.mtu;
            kernel_mtu(facts).unwrap_or_else(|| Finding::good(Step::Mtu, format!("{mtu} bytes at the device")))
        }
        _ => peer(facts),
    }
}

fn address(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    if status.addresses.is_empty()
        && let Some(taken) = facts.evidence.taken.first()
    {
        return Finding::bad(Step::Address, &taken.cause, &taken.fix);
    }
    if status.locators.is_empty() {
        let wanted: Vec<String> = facts.evidence.wanted_locators.iter().map(ToString::to_string).collect();
        if wanted.is_empty() {
            let what = status.waiting.as_deref().unwrap_or("an IPv4 address to send from");
            let cause = format!("this machine lacks {what}: nothing is sent");
            return Finding::bad(Step::Address, cause, give_address(what));
        }
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
    if status.addresses.is_empty() {
        return no_address(facts);
    }
    let addresses: Vec<String> = status.addresses.iter().map(|address| dotted(&address.address)).collect();
    Finding::good(Step::Address, addresses.join(", "))
}

/// How the machine gets what a link waits for: a device, or an address of it.
fn give_address(what: &str) -> String {
    match what.strip_prefix("the device ") {
        Some(device) => format!("ip link show {device}: switch it on, or name another one (--via)"),
        None => "give it one: ip address add V4/LEN dev DEV".to_owned(),
    }
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
    let mut seen = match &status.advertises {
        Some(told) => {
            let default = if told.default_route { "" } else { ", no default route" };
            format!("forwards; advertises {}{default}", told.prefixes.join(", "))
        }
        None => status.routes.iter().map(|route| route.prefix.as_str()).collect::<Vec<_>>().join(", "),
    };
    if status.role == "configured" && !status.forwarding {
        seen += "; for this machine alone, since the kernel does not forward IPv6";
    }
    Finding::good(Step::Route, seen).warn(no_way_out(facts))
}

/// A configured tunnel that could lead to the Internet, as a tunnel broker's, and does not.
fn no_way_out(facts: &Facts) -> Option<String> {
    let status = &facts.evidence.status;
    let is_global = |address: &Ipv6Addr| !address.is_unicast_link_local() && !address.is_unique_local();
    let could = status.role == "configured" && status.addresses.iter().any(|own| is_global(&own.address));
    (could && facts.kernel.without_default_route).then(|| {
        format!(
            "this machine has no IPv6 default route; if the other end leads to the Internet, as a tunnel broker does: \
             ip -6 route add default dev {} metric 2049",
            status.dev
        )
    })
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
                format!("the kernel does not forward IPv6, so hosts on {dev} are not told of a default router"),
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
            let why = format!("hosts on {dev} are not told of a default router: the tunnel has no default route");
            warning = warning.or(Some(format!("{why}; name a relay (--relay, --br)")));
        }
        seen.push(format!("{dev} has {}", current.join(", ")));
    }
    Finding::good(Step::Lan, seen.join("; ")).warn(warning)
}

/// There are IPv4 addresses, and no IPv6 address can be made of them.
fn no_address(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    let locators = status.locators.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(what) = status.waiting.as_ref().filter(|_| status.role == "6rd-ce") {
        let cause = format!("{} has no address: it waits for {what}", status.dev);
        return Finding::bad(
            Step::Address,
            cause,
            "have the DHCP client ask for option 212 and renew its lease; the daemon follows the file by itself",
        );
    }
    if !status.role.starts_with("6to4") {
        let cause = format!("{} has no address: none can be made of {locators}", status.dev);
        return Finding::bad(Step::Address, cause, "see its warnings: start it again with --verbose");
    }
    Finding::bad(
        Step::Address,
        format!(
            "6to4 needs a public IPv4 address, and this machine has only {locators}, which others do not reach \
             (RFC 3056 §2): nothing is sent"
        ),
        format!(
            "give this machine a public IPv4 address; behind a NAT use Teredo: isatap teredo client --server HOST; in a \
             lab {}",
            with_flag(facts, "--accept-bogons")
        ),
    )
}

fn peer(facts: &Facts) -> Finding {
    if let Some(finding) = firewall(facts, Step::Peer) {
        return finding;
    }
    if let Some(finding) = open_loop(facts) {
        return finding;
    }
    let status = &facts.evidence.status;
    let finding = match status.role.as_str() {
        "isatap-router" => hosts(facts),
        "configured" | "6to4-host-router" | "6to4-router" | "6rd-ce" => match status.remote {
            Some(remote) => other_end(facts, remote),
            None => nobody_in_particular(facts, "there is no relay, and no other site was asked"),
        },
        "compatible" => nobody_in_particular(facts, "which hosts have such addresses is not known"),
        _ => nobody_in_particular(facts, "its customers are not asked"),
    };
    if finding.ok { finding.warn(trusts_blindly(facts).or_else(|| refused_lately(facts))) } else { finding }
}

/// Those who come by themselves are there when they do.
fn nobody_in_particular(facts: &Facts, why: &str) -> Finding {
    let packets = &facts.evidence.status.packets;
    match carried(facts) {
        Some(seen) => Finding::good(Step::Peer, seen),
        None => Finding::unknown(
            Step::Peer,
            format!("{why}; {} packets tunnelled, {} delivered since the start", packets.tunnelled, packets.delivered),
        ),
    }
}

/// The hosts of an ISATAP router.
fn hosts(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    // SEC-2: what the administrator has shut out himself.
    let is_stranger = |row: &&RefusedFrom| row.age <= LATELY && row.reason == DropReason::NotAMember.as_str();
    if let Some(row) = facts.evidence.refused.iter().find(is_stranger) {
        let [a, b, c, _] = row.from.octets();
        let prefix = format!("{}/24", Ipv4Addr::new(a, b, c, 0));
        return Finding::bad(
            Step::Peer,
            format!(
                "{} packets of {} were dropped, the last {} s ago: it is in none of the site's prefixes (--member; \
                 {})",
                row.count, row.from, row.age, row.reason
            ),
            format!("if {} belongs to the site, {}; else filter protocol 41 at the border", row.from, {
                with_flag(facts, &format!("--member {prefix}"))
            }),
        );
    }
    let entered = status.packets.entered > facts.before.entered || has_begun_anew(facts);
    if let Some(arrived) = facts.arrived.as_ref().and_then(|arrived| arrived.first()).filter(|_| !entered) {
        let cause = format!(
            "packets of {} come in at {}, and this machine's own firewall drops them: IPv4 protocol 41 is not let in",
            arrived.from, arrived.device
        );
        return Finding::bad(Step::Peer, cause, input_fix(facts));
    }
    match (carried(facts), status.answered) {
        (Some(seen), _) => Finding::good(Step::Peer, seen),
        (None, Some(age)) => Finding::good(Step::Peer, format!("a host was answered {age} s ago")),
        (None, None) => Finding::unknown(Step::Peer, "no host has asked yet"),
    }
}

/// The far end of a configured tunnel, or a relay.
fn other_end(facts: &Facts, remote: Ipv4Addr) -> Finding {
    let status = &facts.evidence.status;
    let is_tunnel = status.role == "configured";
    if answered(facts, |probe| probe.tunnel).is_some() || status.relay_answers == Some(true) {
        return Finding::good(Step::Peer, format!("{remote} answers through the tunnel"));
    }
    if status.role != "6rd-ce" && facts.probes.iter().all(|probe| probe.tunnel.is_none()) {
        let why = "not tried: a ping takes CAP_NET_RAW; run isatap doctor as root";
        return Finding::unknown(Step::Peer, why);
    }
    let local = status.locators.first().map(ToString::to_string).unwrap_or_default();
    let there = match is_tunnel {
        true => format!("isatap tunnel --local {remote} --remote {local}"),
        false => format!("let a relay run on {remote}, or name another"),
    };
    if let Some((complaint, heard)) = complaint(facts, remote, facts.elapsed) {
        let from = heard.from;
        return match complaint {
            Complaint::NoTunnel => Finding::bad(
                Step::Peer,
                format!(
                    "{remote} {}: {from} says {} unreachable",
                    if is_tunnel { format!("has no tunnel to {local}") } else { "is no relay".to_owned() },
                    if heard.code == 2 { "protocol" } else { "port" }
                ),
                format!("set up the other end: {there}"),
            ),
            Complaint::Filter => Finding::bad(
                Step::Peer,
                format!("{from} filters protocol 41 to {remote} (administratively prohibited)"),
                format!("allow IPv4 protocol 41 on {from}, both ways"),
            ),
            Complaint::Unreachable => Finding::bad(
                Step::Peer,
                format!("{remote} cannot be reached: {from} says host or network unreachable"),
                format!("switch it on, or correct its address; see ping {remote} and {}", route_get(facts, remote)),
            ),
        };
    }
    if let Some(finding) = own_input(facts, Step::Peer, remote) {
        return finding;
    }
    // One way works, and of the other nothing is known.
    if let Some(seen) = carried(facts) {
        let why = format!("{seen}; whether what is sent arrives is not known: {remote} answers no ping");
        return Finding::unknown(Step::Peer, why);
    }
    if answered(facts, |probe| probe.ipv4).is_some() {
        return Finding::bad(
            Step::Peer,
            format!(
                "{remote} answers an IPv4 ping, and nothing of protocol 41 comes back, not even an error: a filter on the \
                 way or there drops it, or there is no tunnel to {local}"
            ),
            format!("allow IPv4 protocol 41 on the way to {remote} and on it, both ways; {there}"),
        );
    }
    Finding::bad(
        Step::Peer,
        format!("no answer of any kind from {remote}"),
        format!("switch it on, or correct its address; see ping {remote}"),
    )
}

/// `SEC-1`: nothing sees a loop where addresses are private and nobody is asked.
fn open_loop(facts: &Facts) -> Option<Finding> {
    let status = &facts.evidence.status;
    let is_off = status.check_neighbors.as_deref() == Some("off");
    let private = status.locators.iter().find(|locator| is_ambiguous(**locator)).filter(|_| is_off)?;
    let cause = format!(
        "the neighbour check is off, and nothing else sees a routing loop on private IPv4 ({private}): one forged packet \
         can go round between this router and another tunnel router until its hop limit ends it (RFC 6324)"
    );
    Some(Finding::bad(Step::Peer, cause, restarted(facts, "--check-neighbors", "where-blind")))
}

/// What a trusted router sends back is no loop to this one.
fn trusts_blindly(facts: &Facts) -> Option<String> {
    let status = &facts.evidence.status;
    let is_blind = status.locators.iter().copied().any(is_ambiguous);
    let router = status.trusted_routers.iter().find(|router| is_blind || is_ambiguous(**router))?;
    Some(format!(
        "{router} is trusted on private IPv4: a forged packet can go round between it and this router unless it checks \
         its neighbours too; name it --known-router if it is no router of this very link"
    ))
}

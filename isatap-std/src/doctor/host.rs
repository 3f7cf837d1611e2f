//! The steps of a host.

mod names;

use super::shared::{
    Complaint, answered, complaint, firewall, is_configured_end, kernel_addresses, kernel_mtu, kernel_routes,
    own_input, refused_lately, restarted, route_get,
};
use super::{Facts, Finding, Longest, Step};
use crate::service::dotted;
use crate::service::evidence::RefusedFrom;
use crate::service::status::{Address, PotentialRouterStatus};
use isatap_core::configured::link_local;
use isatap_core::prefix::Ipv6Prefix;
use std::net::Ipv4Addr;

/// Seconds for which an ICMPv4 error tells of the present: the probes have just called for
/// new ones, unless their sender limits them.
const PRESENT: u64 = 60;
/// Seconds for which a stranger's advertisement counts. Unsolicited ones come every ten
/// minutes by default [RFC 4861 §6.2.1].
const STRANGER: u64 = 1200;

pub(super) fn judge(facts: &Facts, step: Step) -> Finding {
    match step {
        Step::Name => names::name(facts),
        Step::Prl => names::prl(facts),
        Step::RsSent => rs_sent(facts),
        Step::RaSeen => ra_seen(facts),
        Step::Address => address(facts),
        Step::Route => route(facts),
        Step::Mtu => mtu(facts),
        _ => peer(facts),
    }
}

/// Whether a router has answered the solicitation of this examination.
fn answers(facts: &Facts, row: &PotentialRouterStatus) -> bool {
    facts.answered.contains(&row.address)
}

/// A router that answers, for what it could do.
fn router(facts: &Facts) -> String {
    let row = facts.evidence.status.prl.iter().find(|row| answers(facts, row));
    row.map(|row| row.address.to_string()).unwrap_or_default()
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn rs_sent(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    let routers = list(status.prl.iter().map(|row| row.address));
    let first = status.prl.first().map(|row| row.address.to_string()).unwrap_or_default();
    if status.locators.is_empty() {
        if let Some(taken) = facts.evidence.taken.first() {
            return Finding::bad(Step::RsSent, &taken.cause, &taken.fix);
        }
        let wanted = &facts.evidence.wanted_locators;
        return if wanted.is_empty() {
            let cause = match status.waiting.as_deref().filter(|what| !what.contains(" route ")) {
                Some(what) => format!("this machine lacks {what}"),
                None => format!("no IPv4 address of this machine leads to {routers}"),
            };
            Finding::bad(
                Step::RsSent,
                cause,
                format!("give this machine an IPv4 route: see {}", route_get(facts, first)),
            )
        } else {
            let cause = format!("this machine no longer has the IPv4 address {}", list(wanted));
            let again = format!("ip address add {}/LEN dev DEV", list(wanted));
            Finding::bad(Step::RsSent, cause, format!("{again}; or name one that it has: ip -4 address"))
        };
    }
    if let Some(finding) = firewall(facts, Step::RsSent) {
        return finding;
    }
    if facts.unsent.unreachable > 0 && status.prl.iter().all(|row| !answers(facts, row)) {
        let cause = format!("the kernel has no IPv4 route to {routers} from {}", list(&status.locators));
        return Finding::bad(Step::RsSent, cause, format!("give this machine one: see {}", route_get(facts, first)));
    }
    let is_asked = |row: &PotentialRouterStatus| answers(facts, row) || row.attempts > 0;
    let from = list(&status.locators);
    if let Some(row) = status.prl.iter().find(|row| is_asked(row)) {
        let count = if answers(facts, row) { "answered".to_owned() } else { format!("{} in this round", row.attempts) };
        return Finding::good(Step::RsSent, format!("{from} to {}: {count}", row.address));
    }
    let next = status.prl.iter().filter_map(|row| row.next_solicitation).min();
    let when = next.map_or_else(String::new, |seconds| format!("; the first is due in {seconds} s"));
    let wait = next.unwrap_or_default().saturating_add(1);
    let fix = format!("wait {wait} s and run isatap doctor again, or restart the daemon");
    Finding::bad(Step::RsSent, format!("nothing was sent to {routers} yet{when}"), fix)
}

fn ra_seen(facts: &Facts) -> Finding {
    let rows = &facts.evidence.status.prl;
    // What was heard before this examination says nothing of now.
    let (heard, silent): (Vec<_>, Vec<_>) = rows.iter().partition(|row| answers(facts, row));
    if !heard.is_empty() {
        let warning =
            (!silent.is_empty()).then(|| format!("{} does not answer", list(silent.iter().map(|row| row.address))));
        let seen = list(heard.iter().map(|row| row.address));
        return Finding::good(Step::RaSeen, format!("{seen}, now")).warn(warning);
    }
    let before = |row: &PotentialRouterStatus| match row.heard {
        Some(age) => format!("{} (heard {age} s ago, and not now)", row.address),
        None => row.address.to_string(),
    };
    let routers = list(rows.iter().map(before));
    let is_listed = |address: Ipv4Addr| rows.iter().any(|row| row.address == address);
    let is_stranger =
        |row: &&RefusedFrom| row.reason == "ra-not-from-router" && !is_listed(row.from) && row.age <= STRANGER;
    let stranger = facts.evidence.refused.iter().find(is_stranger);
    if let Some(RefusedFrom { from, count, .. }) = stranger {
        return Finding::bad(
            Step::RaSeen,
            format!(
                "{routers} is silent, and {from} advertises ({count} refused) without being a potential router \
                 (ra-not-from-router, RFC 5214 §7.3)"
            ),
            format!("if {from} is this site's router, {}; if not, find out who it is", restarted_router(facts, *from)),
        );
    }
    if let Some(row) = facts.evidence.refused.iter().find(|row| is_listed(row.from) && is_configured_end(row)) {
        return Finding::bad(
            Step::RaSeen,
            format!(
                "{} is the end of a configured tunnel and no ISATAP router: it sends from {}",
                row.from,
                link_local(row.from)
            ),
            format!(
                "set it to ISATAP there (Cisco: tunnel mode ipv6ip isatap; Linux: mode isatap), or run isatap tunnel here; \
                 if it is both, its tunnel to {} takes all protocol 41: give this host another IPv4 address",
                list(&facts.evidence.status.locators)
            ),
        );
    }
    let unsound = |row: &&RefusedFrom| {
        is_listed(row.from) && (row.reason.starts_with("nd-") || row.reason == "ra-not-from-router")
    };
    if let Some(row) = facts.evidence.refused.iter().find(unsound) {
        let inner = row.inner_source.map(|source| format!(" from {}", dotted(&source))).unwrap_or_default();
        return Finding::bad(
            Step::RaSeen,
            format!("what {} sends{inner} is no sound advertisement: {} ({})", row.from, row.reason, row.count),
            format!("look at what it sends: {}", restarted(facts, "--pcap", "FILE")),
        );
    }
    if let Some(finding) = rows.iter().find_map(|row| icmpv4(facts, row)) {
        return finding;
    }
    if let Some(finding) = rows.iter().find_map(|row| own_input(facts, Step::RaSeen, row.address)) {
        return finding;
    }
    silence(facts)
}

/// The command of the daemon, with a router in the place of those that it has.
fn restarted_router(facts: &Facts, router: Ipv4Addr) -> String {
    restarted(facts, "--router", &router.to_string())
}

/// What somebody on the way says of packets to a silent router.
fn icmpv4(facts: &Facts, row: &PotentialRouterStatus) -> Option<Finding> {
    let router = row.address;
    let (complaint, heard) = complaint(facts, router, PRESENT)?;
    let from = heard.from;
    Some(match complaint {
        Complaint::NoTunnel => Finding::bad(
            Step::RaSeen,
            format!("{router} takes no protocol 41: {from} says protocol unreachable; no ISATAP router runs there"),
            format!("start one on {router}: isatap router --local {router} --prefix P/64; or list another router"),
        ),
        Complaint::Filter => Finding::bad(
            Step::RaSeen,
            format!("{from} filters protocol 41 to {router} (administratively prohibited)"),
            format!(
                "allow IPv4 protocol 41 on {from}, both ways: nft insert rule inet filter {} ip protocol 41 accept",
                if from == router { "input" } else { "forward" }
            ),
        ),
        Complaint::Unreachable => Finding::bad(
            Step::RaSeen,
            format!("{router} cannot be reached: {from} says host or network unreachable{}", origin(row)),
            format!("switch the router on, or correct its address; see ping {router} and {}", route_get(facts, router)),
        ),
    })
}

fn origin(row: &PotentialRouterStatus) -> String {
    if row.source == "static" { String::new() } else { format!("; the address comes from {}", row.source) }
}

/// Nobody says anything: what the probes tell.
fn silence(facts: &Facts) -> Finding {
    let rows = &facts.evidence.status.prl;
    let routers = list(rows.iter().map(|row| row.address));
    let sources = list(rows.iter().map(|row| match row.heard {
        Some(age) => format!("{}{} (heard {age} s ago, and not now)", row.address, origin(row)),
        None => format!("{}{}", row.address, origin(row)),
    }));
    if let Some(probe) = answered(facts, |probe| probe.tunnel) {
        let router = probe.router;
        return Finding::bad(
            Step::RaSeen,
            format!(
                "{router} answers pings through the tunnel and no solicitation: it is no router, or lets nobody in"
            ),
            format!("advertise there: isatap router --local {router} --prefix P/64; or list the router that does"),
        );
    }
    if let Some(probe) = answered(facts, |probe| probe.ipv4) {
        let router = probe.router;
        return Finding::bad(
            Step::RaSeen,
            format!(
                "{router} answers an IPv4 ping, and nothing of protocol 41 comes back, not even an error: a filter on \
                 the way or on the router drops protocol 41"
            ),
            format!(
                "allow IPv4 protocol 41 on the way to {router} and on it, both ways: nft insert rule inet filter input \
                 ip protocol 41 accept"
            ),
        );
    }
    Finding::bad(
        Step::RaSeen,
        format!("no answer of any kind from {sources}"),
        format!("switch the router on, or list another one, or correct the name; see ping {routers}"),
    )
}

fn address(facts: &Facts) -> Finding {
    if let Some(finding) = kernel_addresses(facts, Step::Address) {
        return finding;
    }
    let status = &facts.evidence.status;
    let global: Vec<&Address> =
        status.addresses.iter().filter(|address| !address.address.is_unicast_link_local()).collect();
    let router = router(facts);
    if global.is_empty() {
        let fix = format!("advertise a prefix of 64 bits on {router} with the A flag set and a lifetime that is not 0");
        return Finding::bad(Step::Address, format!("{router} advertises no prefix to make an address of"), fix);
    }
    let deprecated = global.iter().all(|address| address.preferred == Some(0));
    let warning = deprecated.then(|| format!("every address is deprecated: raise the preferred lifetime on {router}"));
    Finding::good(Step::Address, list(global.iter().map(|address| dotted(&address.address)))).warn(warning)
}

fn route(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    let router = router(facts);
    if let Some(finding) = kernel_routes(facts) {
        return finding;
    }
    // ISA-83: an address does not make its prefix on-link.
    let on_link: Vec<Ipv6Prefix> = status
        .routes
        .iter()
        .filter(|route| route.via.is_none())
        .filter_map(|route| route.prefix.parse().ok())
        .collect();
    let is_off_link = |address: &&Address| {
        !address.address.is_unicast_link_local() && !on_link.iter().any(|prefix| prefix.contains(&address.address))
    };
    if let Some(address) = status.addresses.iter().find(is_off_link) {
        let prefix = Ipv6Prefix::subnet_of(&address.address);
        return Finding::bad(
            Step::Route,
            format!(
                "{router} advertises {prefix} without the L flag: it is not on-link, so neighbours in it are reached \
                 by way of the router only, and what they send directly is dropped (isatap-source-mismatch)"
            ),
            format!("set the L flag of {prefix} on {router}: radvd: AdvOnLink on; Windows: publish=yes"),
        );
    }
    let by_router: Vec<_> = status.routes.iter().filter(|route| route.via.is_some()).collect();
    let is_default = |prefix: &str| prefix == "::/0";
    if by_router.is_empty() {
        return Finding::bad(
            Step::Route,
            format!("{router} offers neither a default route (router lifetime 0) nor any other"),
            format!("let {router} forward, and say so: there, sysctl -w net.ipv6.conf.all.forwarding=1"),
        );
    }
    let warning = (!by_router.iter().any(|route| is_default(&route.prefix)))
        .then(|| format!("{router} offers no default route: only what is listed is reached"));
    Finding::good(Step::Route, list(by_router.iter().map(|route| &route.prefix))).warn(warning)
}

fn mtu(facts: &Facts) -> Finding {
    if let Some(finding) = kernel_mtu(facts) {
        return finding;
    }
    let mtu = facts.evidence.status.mtu;
    for probe in &facts.probes {
        let router = probe.router;
        match probe.longest {
            Some(Longest::Bytes(bytes)) => {
                return Finding::bad(
                    Step::Mtu,
                    format!(
                        "a black hole on the way to {router}: packets of {bytes} bytes are answered, longer ones up to \
                         the MTU of {mtu} vanish, and no ICMPv4 says \"fragmentation needed\""
                    ),
                    match facts.evidence.advertised_mtu {
                        // Its other hosts are in the same place.
                        Some(_) => format!(
                            "advertise an MTU of {bytes} on {router} (isatap router: --mtu {bytes}; radvd: AdvLinkMTU \
                             {bytes}), then restart the daemon here; for this host alone {}",
                            restarted(facts, "--mtu", &bytes.to_string())
                        ),
                        None => restarted(facts, "--mtu", &bytes.to_string()),
                    },
                );
            }
            Some(Longest::BelowMinimum) => {
                return Finding::bad(
                    Step::Mtu,
                    format!(
                        "a black hole on the way to {router}: small packets are answered, 1280 bytes are not, and IPv6 \
                         needs 1280; 1300 bytes of IPv4 do not get through, and no ICMPv4 says so"
                    ),
                    format!(
                        "let IPv4 packets of 1300 bytes, or ICMPv4 \"fragmentation needed\", through on the way: see \
                         ping -M do -s 1272 {router}"
                    ),
                );
            }
            _ => {}
        }
    }
    match facts.probes.iter().find(|probe| probe.longest == Some(Longest::Full)) {
        Some(probe) => Finding::good(Step::Mtu, format!("{mtu} bytes, answered by {}", probe.router)),
        None => Finding::unknown(
            Step::Mtu,
            format!("{mtu} bytes at the device; the path was not tried, since no router answers pings"),
        ),
    }
}

fn peer(facts: &Facts) -> Finding {
    if let Some(probe) = answered(facts, |probe| probe.tunnel) {
        let seen = format!("{} answers through the tunnel", probe.router);
        return Finding::good(Step::Peer, seen).warn(refused_lately(facts));
    }
    // Pings may be filtered where solicitations are not, whose answer came by the tunnel just now.
    let router = router(facts);
    let warning = match facts.probes.iter().all(|probe| probe.tunnel.is_none()) {
        true => "no ping was sent: that takes CAP_NET_RAW; run isatap doctor as root".to_owned(),
        false => format!("{router} answers no ping"),
    };
    Finding::good(Step::Peer, format!("{router} answers Router Solicitations through the tunnel")).warn(Some(warning))
}

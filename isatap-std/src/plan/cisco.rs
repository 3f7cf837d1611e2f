//! Cisco IOS: lines for its configuration mode.

use isatap_core::prefix::Ipv6Prefix;

use super::end::{Common, GIVE_LOCAL, OtherEnd, Router, Site, SixRdEnd, TunnelEnd};
use super::iproute2::{nobody, unknown_addresses};
use super::steps::{Steps, words};

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(_) => steps.cannot("Be an ISATAP host.", "IOS is an ISATAP router only"),
        OtherEnd::IsatapRouter(router) => isatap_router(router, steps),
        OtherEnd::Tunnel(tunnel) => configured(tunnel, steps),
        OtherEnd::SixRdEdge(edge) => sixrd(edge, steps, false),
        OtherEnd::SixRdRelay(relay) => sixrd(relay, steps, true),
        OtherEnd::SixToFourSite(site) | OtherEnd::SixToFourRelay(site) => sixtofour(site, steps),
        OtherEnd::TeredoClient { .. } | OtherEnd::TeredoServer { .. } => {
            steps.cannot("Speak Teredo.", "IOS has none");
        }
        OtherEnd::Compatible { common, local } => {
            let Some(local) = local else {
                return steps.not_known("Make the tunnel.", "its IPv4 address", GIVE_LOCAL);
            };
            let lines = vec![words!["tunnel", "source", local], words!["tunnel", "mode", "ipv6ip", "auto-tunnel"]];
            tunnel(common, lines, steps);
        }
        OtherEnd::Nobody => nobody(steps),
    }
}

fn isatap_router(router: &Router<'_>, steps: &mut Steps<'_>) {
    let Some(local) = router.address else {
        return steps.not_known("Make the tunnel.", router.unknown, GIVE_LOCAL);
    };
    if router.prefixes.is_empty() {
        return steps.not_known("Make the tunnel.", "the prefix that the router advertises", "give --prefix PREFIX/64");
    }
    routing(steps);
    // [RFC 5214 §6.1] eui-64 of such a tunnel is the ISATAP identifier.
    let mut lines: Vec<Vec<String>> =
        router.prefixes.iter().map(|prefix| words!["ipv6", "address", prefix, "eui-64"]).collect();
    lines.extend([
        words!["no", "ipv6", "nd", "ra", "suppress"],
        words!["tunnel", "source", local],
        words!["tunnel", "mode", "ipv6ip", "isatap"],
    ]);
    tunnel(&router.common, lines, steps).note("Before IOS 12.4: no ipv6 nd suppress-ra.");
}

fn configured(end: &TunnelEnd<'_>, steps: &mut Steps<'_>) {
    let mut lines = vec![words!["ipv6", "enable"]];
    lines.extend(end.addresses.iter().map(|own| words!["ipv6", "address", with_length(own)]));
    lines.extend([
        words!["tunnel", "source", end.local],
        words!["tunnel", "destination", end.remote],
        words!["tunnel", "mode", "ipv6ip"],
    ]);
    tunnel(&end.common, lines, steps);
    unknown_addresses(end, steps);
}

fn sixrd(end: &SixRdEnd<'_>, steps: &mut Steps<'_>, is_relay: bool) {
    let Some(local) = end.local else {
        return steps.not_known("Make the tunnel.", "its IPv4 address", GIVE_LOCAL);
    };
    routing(steps);
    let mut lines = vec![
        words!["ipv6", "address", format!("{}/128", end.address(local))],
        words!["tunnel", "source", local],
        words!["tunnel", "mode", "ipv6ip", "6rd"],
        words!["tunnel", "6rd", "prefix", end.domain.prefix()],
    ];
    if end.domain.ipv4_mask_len() > 0 {
        lines.push(words!["tunnel", "6rd", "ipv4", "prefix-len", end.domain.ipv4_mask_len()]);
    }
    if let Some(relay) = end.relay.filter(|_| !is_relay) {
        lines.push(words!["tunnel", "6rd", "br", relay]);
    }
    tunnel(&end.common, lines, steps);
    let name = format!("Tunnel{}", steps.number);
    route(steps, words![end.domain.prefix(), name]);
    if let Some(relay) = end.relay.filter(|_| !is_relay) {
        route(steps, words![Ipv6Prefix::DEFAULT, name, end.domain.anycast(relay)]);
    }
}

fn sixtofour(site: &Site<'_>, steps: &mut Steps<'_>) {
    let Some(local) = site.local else {
        return steps.not_known("Make the tunnel.", "its public IPv4 address", GIVE_LOCAL);
    };
    routing(steps);
    let lines = vec![
        words!["ipv6", "address", format!("{}/64", Site::address(local))],
        words!["tunnel", "source", local],
        words!["tunnel", "mode", "ipv6ip", "6to4"],
    ];
    tunnel(&site.common, lines, steps);
    route(steps, words![Ipv6Prefix::SIX_TO_FOUR, format!("Tunnel{}", steps.number)]);
    if let Some(relay) = site.relay {
        route(steps, words![Ipv6Prefix::DEFAULT, Site::address(relay)]);
    }
}

fn with_length(own: &crate::spec::AddressWithLength) -> String {
    format!("{}/{}", own.0.address, own.0.prefix_length)
}

fn routing(steps: &mut Steps<'_>) {
    steps
        .run("Route IPv6.", words!["ipv6", "unicast-routing"])
        .note("The undo leaves it as it is: others may need it.");
}

/// An interface with these lines, each a word further in, as IOS shows them.
fn tunnel<'s>(common: &Common<'_>, lines: Vec<Vec<String>>, steps: &'s mut Steps<'_>) -> &'s mut super::Step {
    let interface = words!["interface", format!("Tunnel{}", steps.number)];
    let no = [words!["no"], interface.clone()].concat();
    let ip = words!["no", "ip", "address"];
    let mtu = common.mtu.map(|mtu| words!["ipv6", "mtu", mtu]);
    let all = [vec![interface, ip], lines, Vec::from_iter(mtu), vec![words!["exit"]]].concat();
    steps.run_all("Make the tunnel.", all).undo(no)
}

fn route(steps: &mut Steps<'_>, to: Vec<String>) {
    let words = |verb: &[&str]| verb.iter().map(ToString::to_string).chain(to.clone()).collect();
    steps.run("Add the route.", words(&["ipv6", "route"])).undo(words(&["no", "ipv6", "route"]));
}

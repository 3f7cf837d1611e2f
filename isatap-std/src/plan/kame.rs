//! KAME and the BSDs by `ifconfig`: lasts until the next boot.
//!
//! ISATAP is KAME's own device `ist`, in its snapshots of 2004 and later; the commands are those of
//! its guide. `gif` and `stf` are in every BSD.

use isatap_core::prefix::Ipv6Prefix;
use std::net::Ipv4Addr;

use super::end::{GIVE_LOCAL, Host, OtherEnd, Router, Site, TunnelEnd};
use super::iproute2::{nobody, unknown_addresses};
use super::steps::{Steps, words};

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(host) => isatap_host(host, steps),
        OtherEnd::IsatapRouter(router) => isatap_router(router, steps),
        OtherEnd::Tunnel(tunnel) => configured(tunnel, steps),
        OtherEnd::SixRdEdge(_) | OtherEnd::SixRdRelay(_) => steps.cannot("Join the 6rd domain.", "KAME has no 6rd"),
        OtherEnd::SixToFourSite(site) | OtherEnd::SixToFourRelay(site) => sixtofour(site, steps),
        OtherEnd::TeredoClient { .. } | OtherEnd::TeredoServer { .. } => {
            steps.cannot("Speak Teredo.", "KAME has none; miredo runs on BSDs");
        }
        OtherEnd::Compatible { .. } => steps.cannot("Join ::/96.", "KAME has no device for such tunnels"),
        OtherEnd::Nobody => nobody(steps),
    }
}

/// KAME knows the identifier with u = 0 alone, and shows it dotted.
fn identifier(ipv4: Ipv4Addr) -> String {
    format!("5efe:{ipv4}")
}

fn isatap_host(host: &Host<'_>, steps: &mut Steps<'_>) {
    let Some(local) = host.local else {
        return steps.not_known("Give the device its address.", "the host's IPv4 address", GIVE_LOCAL);
    };
    let dev = format!("ist{}", steps.number);
    link_local(steps, &dev, local);
    steps.run("Name the ISATAP router.", words!["ifconfig", dev, "isataprtr", host.router]).undo(words![
        "ifconfig",
        dev,
        "deleteisataprtr",
        host.router
    ]);
    steps
        .run("Solicit it again and again.", words!["rtsold", dev])
        .raw_undo("kill \"$(cat /var/run/rtsold.pid)\"")
        .note(format!("rtsol alone is not enough: what it learns lapses. Here within {} s.", host.solicits_every()));
}

fn isatap_router(router: &Router<'_>, steps: &mut Steps<'_>) {
    let Some(local) = router.address else {
        return steps.not_known("Give the device its address.", router.unknown, GIVE_LOCAL);
    };
    let dev = format!("ist{}", steps.number);
    link_local(steps, &dev, local);
    if router.prefixes.is_empty() {
        return steps.not_known("Advertise the prefix.", "the prefix", "give --prefix PREFIX/64");
    }
    // ISA-54
    for prefix in router.prefixes {
        let address = format!("{}{}", prefix.address(), identifier(local));
        steps
            .run("Add the address.", words!["ifconfig", dev, "inet6", address, "prefixlen", 64, "alias"])
            .undo(words!["ifconfig", dev, "inet6", address, "delete"]);
    }
    steps.run("Forward.", words!["sysctl", "net.inet6.ip6.forwarding=1"]);
    steps.run("Advertise the prefix.", words!["rtadvd", dev]).raw_undo("kill \"$(cat /var/run/rtadvd.pid)\"");
}

fn link_local(steps: &mut Steps<'_>, dev: &str, local: Ipv4Addr) {
    let address = format!("fe80::{}", identifier(local));
    steps
        .run("Give the device its address.", words!["ifconfig", dev, "inet6", address, "prefixlen", 64])
        .undo(words!["ifconfig", dev, "inet6", address, "delete"])
        .note("Programs of KAME's snapshots are in /usr/local/v6/sbin.");
}

fn configured(tunnel: &TunnelEnd<'_>, steps: &mut Steps<'_>) {
    let dev = format!("gif{}", steps.number);
    steps.run("Make the device.", words!["ifconfig", dev, "create"]).undo(words!["ifconfig", dev, "destroy"]);
    steps.run("Name both ends.", words!["ifconfig", dev, "tunnel", tunnel.local, tunnel.remote]);
    let (what, mtu) = tunnel.common.switch_on();
    steps.run(what, [words!["ifconfig", dev], mtu, words!["up"]].concat());
    for own in &tunnel.addresses {
        steps.run(
            "Add the address.",
            words!["ifconfig", dev, "inet6", own.0.address, "prefixlen", own.0.prefix_length, "alias"],
        );
    }
    unknown_addresses(tunnel, steps);
}

fn sixtofour(site: &Site<'_>, steps: &mut Steps<'_>) {
    let Some(local) = site.local else {
        return steps.not_known("Make the device.", "its public IPv4 address", GIVE_LOCAL);
    };
    steps.run("Make the device.", words!["ifconfig", "stf0", "create"]).undo(words!["ifconfig", "stf0", "destroy"]);
    steps.run(
        "Add the address.",
        words![
            "ifconfig",
            "stf0",
            "inet6",
            Site::address(local),
            "prefixlen",
            Ipv6Prefix::SIX_TO_FOUR.length(),
            "alias"
        ],
    );
    if let Some(relay) = site.relay {
        let route = |verb: &str| words!["route", verb, "-inet6", "default", Site::address(relay)];
        steps.run("Add the default route.", route("add")).undo(route("delete"));
    }
}

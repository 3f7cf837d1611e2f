//! Linux by `ip`: lasts until the next boot.

use std::net::Ipv4Addr;

use isatap_core::isatap::addr as isatap;
use isatap_core::prefix::Ipv6Prefix;

use super::end::{Common, GIVE_LOCAL, Host, OtherEnd, Router, Site, SixRdEnd, TunnelEnd};
use super::quote::is_plain_name;
use super::steps::{Steps, words};
use crate::spec::DEFAULT_METRIC;

/// What a kernel does not need that does what this plan says.
const STATIC: &str = "Linux solicits no ISATAP router by itself: addresses and routes are written out here, as the \
                      router advertises them. When its prefixes change, plan again; isatap host follows them.";
/// By radvd.
pub(super) const ADVERTISE: &str = "Answer the hosts' solicitations (package radvd).";
const SWITCH: &str = "The undo leaves it as it is: others may need it.";

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(host) => isatap_host(host, steps),
        OtherEnd::IsatapRouter(router) => isatap_router(router, steps),
        OtherEnd::Tunnel(tunnel) => configured(tunnel, steps),
        OtherEnd::SixRdEdge(edge) => sixrd(edge, steps, false),
        OtherEnd::SixRdRelay(relay) => sixrd(relay, steps, true),
        OtherEnd::SixToFourSite(site) => sixtofour(site, steps, false),
        OtherEnd::SixToFourRelay(relay) => sixtofour(relay, steps, true),
        OtherEnd::TeredoClient { .. } | OtherEnd::TeredoServer { .. } => teredo(end, steps),
        OtherEnd::Compatible { common, local } => compatible(common, *local, steps),
        OtherEnd::Nobody => nobody(steps),
    }
}

/// What other tools for Linux say as well.
pub(super) fn teredo(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    let what = if matches!(end, OtherEnd::TeredoClient { .. }) { "client" } else { "server" };
    steps.cannot(
        format!("Run the Teredo {what}."),
        "Linux's kernel has no Teredo; isatap plan --for isatap gives the command of this tool, and miredo is another",
    );
}

/// Of a Teredo relay.
pub(super) fn nobody(steps: &mut Steps<'_>) {
    steps.nothing(
        "Nothing to set up at Teredo clients.",
        "They find the relay by themselves. The routers of native hosts need a route to 2001::/32 through it.",
    );
}

fn isatap_host(host: &Host<'_>, steps: &mut Steps<'_>) {
    let (common, dev) = (&host.common, host.common.dev);
    let Some(local) = host.local else {
        return steps.not_known("Make the tunnel.", "the host's IPv4 address", GIVE_LOCAL);
    };
    make(common, "isatap", local, None, steps).note(STATIC);
    trust_router(host, steps);
    up(common, steps);
    for address in host.addresses(local) {
        add_address(steps, dev, format!("{address}/64"));
    }
    for route in &host.routes {
        add_route(steps, route, host.gateway().to_string(), common);
    }
}

/// Without it the kernel takes packets of ISATAP hosts alone, and none that the router forwards.
fn trust_router(host: &Host<'_>, steps: &mut Steps<'_>) {
    let dev = host.common.dev;
    steps
        .run("Accept what the router forwards.", words!["ip", "tunnel", "prl", "dev", dev, "prl-default", host.router]);
}

fn isatap_router(router: &Router<'_>, steps: &mut Steps<'_>) {
    let (common, dev) = (&router.common, router.common.dev);
    let Some(local) = router.address else {
        return steps.not_known("Make the tunnel.", router.unknown, GIVE_LOCAL);
    };
    make(common, "isatap", local, None, steps);
    up(common, steps);
    for address in router.prefixes.iter().filter_map(|prefix| isatap::address(prefix, local)) {
        add_address(steps, dev, format!("{address}/64"));
    }
    forward(steps);
    if let Some(path) = describe_advertisements(router, "/run", steps) {
        let pid = format!("/run/radvd-{dev}.pid");
        let undo = format!("kill \"$(cat {pid})\"");
        steps.run(ADVERTISE, words!["radvd", "-C", path, "-p", pid]).raw_undo(undo).only_with(&[&path]);
    }
}

/// What radvd is told, in a file of `folder`: its path.
pub(super) fn describe_advertisements(router: &Router<'_>, folder: &str, steps: &mut Steps<'_>) -> Option<String> {
    let dev = router.common.dev;
    if router.prefixes.is_empty() {
        steps.not_known(ADVERTISE, "the prefix that the router advertises", "give --prefix PREFIX/64");
        return None;
    }
    if !is_plain_name(dev) {
        steps.cannot(ADVERTISE, "the device's name has signs that radvd.conf has no way to write");
        return None;
    }
    let prefixes: String = router.prefixes.iter().map(|prefix| format!("  prefix {prefix} {{ }};\n")).collect();
    let path = format!("{folder}/radvd-{dev}.conf");
    let mtu = router.common.mtu.map(|mtu| format!("  AdvLinkMTU {mtu};\n")).unwrap_or_default();
    let text = format!("interface {dev} {{\n  AdvSendAdvert on;\n  UnicastOnly on;\n{mtu}{prefixes}}};\n");
    steps.write("Write what hosts are told.", &path, &text);
    Some(path)
}

fn configured(tunnel: &TunnelEnd<'_>, steps: &mut Steps<'_>) {
    let common = &tunnel.common;
    make(common, "sit", tunnel.local, Some(tunnel.remote), steps);
    up(common, steps);
    for address in &tunnel.addresses {
        add_address(steps, common.dev, format!("{}/{}", address.0.address, address.0.prefix_length));
    }
    unknown_addresses(tunnel, steps);
}

/// A tunnel without them has link-local addresses alone.
pub(super) fn unknown_addresses(tunnel: &TunnelEnd<'_>, steps: &mut Steps<'_>) {
    for prefix in &tunnel.without_address {
        let what = format!("the other end's address in {prefix}");
        steps.not_known("Add the address.", &what, &format!("give --address V6/{}", prefix.length()));
    }
}

fn sixrd(end: &SixRdEnd<'_>, steps: &mut Steps<'_>, is_relay: bool) {
    let (common, dev) = (&end.common, end.common.dev);
    let Some(local) = end.local else {
        return steps.not_known("Make the tunnel.", "its IPv4 address", GIVE_LOCAL);
    };
    let (prefix, common_block) = (end.domain.prefix(), end.domain.common());
    make(common, "sit", local, None, steps);
    let mut domain = words!["ip", "tunnel", "6rd", "dev", dev, "6rd-prefix", prefix];
    if common_block.length() > 0 {
        domain.extend(words!["6rd-relay_prefix", common_block]);
    }
    let step = steps.run("Tell it the 6rd domain.", domain);
    if let Some(option) = end.option_212().filter(|_| !is_relay) {
        step.note(format!("By DHCP instead: option 212 with the value {option}."));
    }
    up(common, steps);
    add_address(steps, dev, format!("{}/{}", end.address(local), prefix.length()));
    match end.relay.filter(|_| !is_relay) {
        // The kernel takes the IPv4 address of a next hop from its last 32 bits.
        Some(relay) => add_route(steps, &Ipv6Prefix::DEFAULT, format!("::{relay}"), common),
        None => forward(steps),
    }
}

fn sixtofour(site: &Site<'_>, steps: &mut Steps<'_>, is_relay: bool) {
    let common = &site.common;
    let Some(local) = site.local else {
        return steps.not_known("Make the tunnel.", "its public IPv4 address", GIVE_LOCAL);
    };
    make(common, "sit", local, None, steps);
    up(common, steps);
    add_address(steps, common.dev, format!("{}/16", Site::address(local)));
    if let Some(relay) = site.relay {
        add_route(steps, &Ipv6Prefix::DEFAULT, format!("::{relay}"), common);
    }
    if is_relay {
        forward(steps);
    }
}

fn compatible(common: &Common<'_>, local: Option<Ipv4Addr>, steps: &mut Steps<'_>) {
    let Some(local) = local else {
        return steps.not_known("Make the tunnel.", "the host's IPv4 address", GIVE_LOCAL);
    };
    make(common, "sit", local, None, steps);
    up(common, steps);
    let address = format!("{}/96", local.to_ipv6_compatible());
    steps
        .run(
            "Add the address, if it is not there.",
            words!["ip", "-6", "address", "replace", address, "dev", common.dev],
        )
        .note("Linux adds it by itself to a sit device without a remote end.");
}

fn make<'s>(
    common: &Common<'_>,
    mode: &str,
    local: Ipv4Addr,
    remote: Option<Ipv4Addr>,
    steps: &'s mut Steps<'_>,
) -> &'s mut super::Step {
    let mut words = words!["ip", "tunnel", "add", common.dev, "mode", mode, "local", local];
    if let Some(remote) = remote {
        words.extend(words!["remote", remote]);
    }
    words.extend(words!["ttl", common.ttl]);
    words.extend(common.tos().into_iter().flat_map(|tos| words!["tos", tos]));
    steps.run("Make the tunnel.", words).undo(words!["ip", "tunnel", "del", common.dev])
}

fn up(common: &Common<'_>, steps: &mut Steps<'_>) {
    let (what, mtu) = common.switch_on();
    let link = [words!["ip", "link", "set", "dev", common.dev], mtu, words!["up"]].concat();
    steps.run(what, link);
}

fn add_address(steps: &mut Steps<'_>, dev: &str, address: String) {
    steps.run("Add the address.", words!["ip", "-6", "address", "add", address, "dev", dev]);
}

fn add_route(steps: &mut Steps<'_>, route: &Ipv6Prefix, via: String, common: &Common<'_>) {
    let to = if route.is_default() { "default".to_owned() } else { route.to_string() };
    steps.run(
        "Add the route; native ones come first.",
        words!["ip", "-6", "route", "add", to, "via", via, "dev", common.dev, "metric", DEFAULT_METRIC],
    );
}

/// What a router needs, whoever configures its devices.
pub(super) fn forward(steps: &mut Steps<'_>) {
    steps.run("Let the kernel forward.", words!["sysctl", "-w", "net.ipv6.conf.all.forwarding=1"]).note(SWITCH);
}

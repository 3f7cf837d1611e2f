//! The other end runs this tool as well.

use isatap_core::link::OuterPolicy;

use super::end::{Common, GIVE_LOCAL, OtherEnd, Site, SixRdEnd};
use super::iproute2::{forward, nobody, unknown_addresses};
use super::steps::{Steps, words};

const RUNS: &str = "It runs in the foreground, and leaves nothing behind when it ends. In a file for isatap run each \
                    option is a key.";

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(host) => {
            let mut words = words!["host", format!("--router={}", host.told)];
            words.extend(host.local.into_iter().flat_map(|local| words!["--local", local]));
            run("Run the host.", words, Some(&host.common), steps);
        }
        OtherEnd::IsatapRouter(router) => {
            let Some(local) = router.address else {
                return steps.not_known("Run the router.", router.unknown, GIVE_LOCAL);
            };
            if router.prefixes.is_empty() {
                return steps.not_known("Run the router.", "the prefix that it advertises", "give --prefix PREFIX/64");
            }
            forward(steps);
            let mut words = words!["router", "--local", local];
            words.extend(router.prefixes.iter().flat_map(|prefix| words!["--prefix", prefix]));
            run("Run the router.", words, Some(&router.common), steps);
        }
        OtherEnd::Tunnel(tunnel) => {
            let mut words = words!["tunnel", "--local", tunnel.local, "--remote", tunnel.remote];
            let addresses = tunnel.addresses.iter().map(|own| format!("{}/{}", own.0.address, own.0.prefix_length));
            words.extend(addresses.flat_map(|address| words!["--address", address]));
            run("Run the tunnel.", words, Some(&tunnel.common), steps);
            unknown_addresses(tunnel, steps);
        }
        OtherEnd::SixRdEdge(edge) => sixrd(edge, "ce", steps),
        OtherEnd::SixRdRelay(relay) => sixrd(relay, "br", steps),
        OtherEnd::SixToFourSite(site) => sixtofour(site, "host-router", steps),
        OtherEnd::SixToFourRelay(site) => sixtofour(site, "relay", steps),
        OtherEnd::TeredoClient { server, dev, accept_bogons } => {
            let words = words!["teredo", "client", "--server", server, format!("--dev={dev}")];
            run("Run the Teredo client.", bogons(words, *accept_bogons), None, steps);
        }
        OtherEnd::TeredoServer { server, secondary, dev, accept_bogons } => {
            let Some(server) = server else {
                return steps.not_known("Run the Teredo server.", "the address behind its name", GIVE_LOCAL);
            };
            forward(steps);
            let mut words = words!["teredo", "server", "--primary", server, format!("--dev={dev}")];
            words.extend(secondary.iter().flat_map(|secondary| words!["--secondary", secondary]));
            run("Run the Teredo server.", bogons(words, *accept_bogons), None, steps);
        }
        OtherEnd::Compatible { common, local } => {
            let Some(local) = local else {
                return steps.not_known("Run the tunnel.", "the host's IPv4 address", GIVE_LOCAL);
            };
            run("Run the tunnel.", words!["compatible", "--local", local], Some(common), steps);
        }
        OtherEnd::Nobody => nobody(steps),
    }
}

fn sixrd(end: &SixRdEnd<'_>, role: &str, steps: &mut Steps<'_>) {
    let what = format!("Run the {}.", if role == "br" { "border relay" } else { "customer edge" });
    let Some(local) = end.local else {
        return steps.not_known(what, "its IPv4 address", GIVE_LOCAL);
    };
    let mut words = words!["6rd", "--role", role, "--prefix", end.domain.prefix(), "--local", local];
    words.extend(words!["--v4-mask-len", end.domain.ipv4_mask_len()]);
    if let Some(relay) = end.relay.filter(|_| role == "ce") {
        words.extend(words!["--br", relay]);
    }
    if role == "br" {
        forward(steps);
        // S6R-15: a relay outside of the block learns it from a customer's address.
        if let Some(customer) = end.customer.filter(|_| !end.domain.common().contains(local)) {
            words.extend(words!["--customer", customer]);
        }
    }
    run(&what, words, Some(&end.common), steps);
}

fn sixtofour(site: &Site<'_>, role: &str, steps: &mut Steps<'_>) {
    let what = format!("Run the 6to4 {role}.");
    let Some(local) = site.local else {
        return steps.not_known(what, "its public IPv4 address", GIVE_LOCAL);
    };
    if role == "relay" {
        forward(steps);
    }
    let mut words = words!["6to4", "--role", role, "--local", local];
    words.extend(site.relay.into_iter().flat_map(|relay| words!["--relay", relay]));
    run(&what, bogons(words, site.accept_bogons), Some(&site.common), steps);
}

fn bogons(mut words: Vec<String>, accept_bogons: bool) -> Vec<String> {
    words.extend(accept_bogons.then(|| "--accept-bogons".to_owned()));
    words
}

fn run(what: &str, words: Vec<String>, common: Option<&Common<'_>>, steps: &mut Steps<'_>) {
    let mut all = words!["isatap"];
    all.extend(words);
    if let Some(common) = common {
        all.push(format!("--dev={}", common.dev));
        all.extend(common.mtu.into_iter().flat_map(|mtu| words!["--mtu", mtu]));
        if common.ttl.0 != OuterPolicy::DEFAULT.ttl {
            all.extend(words!["--ttl", common.ttl]);
        }
        all.extend(common.tos.into_iter().flat_map(|tos| words!["--tos", tos]));
        all.extend(common.ecn.into_iter().flat_map(|ecn| words!["--ecn", ecn]));
    }
    steps.run(what, all).note(RUNS);
}

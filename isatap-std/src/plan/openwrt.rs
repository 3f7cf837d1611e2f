//! OpenWrt by uci: lasts.

use isatap_core::link::TtlMode;

use super::end::{Common, GIVE_LOCAL, OtherEnd, Site, SixRdEnd, TunnelEnd};
use super::iproute2::{nobody, unknown_addresses};
use super::steps::{Steps, words};

/// The kernel's device is `6in4-` and the name, of 15 bytes together.
const LONGEST_NAME: usize = 10;

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(_) | OtherEnd::IsatapRouter(_) => {
            steps.cannot("Speak ISATAP.", "OpenWrt's network configuration has no such protocol");
        }
        OtherEnd::Tunnel(tunnel) => configured(tunnel, steps),
        OtherEnd::SixRdEdge(edge) => sixrd(edge, steps),
        OtherEnd::SixRdRelay(_) => {
            steps.cannot("Be the 6rd border relay.", "OpenWrt's protocol 6rd is that of a customer edge");
        }
        OtherEnd::SixToFourSite(site) => sixtofour(site, steps),
        OtherEnd::SixToFourRelay(_) => {
            steps.cannot("Be the 6to4 relay.", "OpenWrt's protocol 6to4 is that of a site");
        }
        OtherEnd::TeredoClient { .. } | OtherEnd::TeredoServer { .. } => {
            steps.cannot("Speak Teredo.", "OpenWrt's network configuration has no such protocol");
        }
        OtherEnd::Compatible { .. } => steps.cannot("Join ::/96.", "OpenWrt has no such protocol"),
        OtherEnd::Nobody => nobody(steps),
    }
}

fn configured(tunnel: &TunnelEnd<'_>, steps: &mut Steps<'_>) {
    let mut options = vec![("ipaddr", tunnel.local.to_string()), ("peeraddr", tunnel.remote.to_string())];
    let addresses = tunnel.addresses.iter().map(|own| format!("{}/{}", own.0.address, own.0.prefix_length));
    options.extend(addresses.map(|address| ("ip6addr", address)));
    options.push(("defaultroute", "0".to_owned()));
    interface(&tunnel.common, "6in4", &options, None, steps);
    unknown_addresses(tunnel, steps);
}

fn sixrd(edge: &SixRdEnd<'_>, steps: &mut Steps<'_>) {
    let Some(relay) = edge.relay else {
        return steps.not_known("Make the interface.", "the border relay", GIVE_LOCAL);
    };
    let prefix = edge.domain.prefix();
    let mut options = vec![
        ("peeraddr", relay.to_string()),
        ("ip6prefix", prefix.address().to_string()),
        ("ip6prefixlen", prefix.length().to_string()),
        ("ip4prefixlen", edge.domain.ipv4_mask_len().to_string()),
    ];
    options.extend(edge.local.map(|local| ("ipaddr", local.to_string())));
    interface(&edge.common, "6rd", &options, None, steps);
}

fn sixtofour(site: &Site<'_>, steps: &mut Steps<'_>) {
    let mut options = Vec::new();
    options.extend(site.local.map(|local| ("ipaddr", local.to_string())));
    // Its own default route is to 192.88.99.1, which is deprecated [RFC 7526].
    options.push(("defaultroute", "0".to_owned()));
    interface(&site.common, "6to4", &options, site.relay.map(|relay| format!("::{relay}")), steps);
}

/// An interface of `/etc/config/network`, and the route through it.
fn interface(
    common: &Common<'_>,
    protocol: &str,
    options: &[(&str, String)],
    gateway: Option<String>,
    steps: &mut Steps<'_>,
) {
    let name = section(common.dev, steps.number);
    let set = |section: &str, option: &str, value: &str| {
        let option = if option.is_empty() { String::new() } else { format!(".{option}") };
        words!["uci", "set", format!("network.{section}{option}={value}")]
    };
    steps.run(
        format!("Install the protocol, where it is missing (package {protocol})."),
        words!["opkg", "install", protocol],
    );
    let mut lines = vec![set(&name, "", "interface"), set(&name, "proto", protocol)];
    lines.extend(common.mtu.map(|mtu| set(&name, "mtu", &mtu.to_string())));
    lines.extend(options.iter().map(|(option, value)| match *option {
        "ip6addr" => words!["uci", "add_list", format!("network.{name}.ip6addr={value}")],
        option => set(&name, option, value),
    }));
    // The kernel inherits by 0.
    let ttl = match common.ttl.0 {
        TtlMode::Fixed(ttl) => ttl,
        TtlMode::CopyHopLimit => 0,
    };
    lines.push(set(&name, "ttl", &ttl.to_string()));
    lines.extend(common.tos().map(|tos| set(&name, "tos", &tos.to_string())));
    steps.run_all("Make the interface.", lines).undo(words!["uci", "delete", format!("network.{name}")]);
    if let Some(gateway) = gateway {
        let route = format!("{name}_default");
        let lines = [("", "route6"), ("interface", name.as_str()), ("target", "::/0"), ("gateway", gateway.as_str())]
            .map(|(option, value)| set(&route, option, value));
        steps.run_all("Add the default route.", lines.to_vec()).undo(words![
            "uci",
            "delete",
            format!("network.{route}")
        ]);
    }
    let apply = vec![words!["uci", "commit", "network"], words!["/etc/init.d/network", "reload"]];
    steps.run_all("Apply it.", apply.clone()).note("To take it back, commit and reload again behind the other undos.");
}

/// A section's name has letters, digits and underscores.
fn section(dev: &str, number: usize) -> String {
    let name: String = dev.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name == dev && name.len() <= LONGEST_NAME { name } else { format!("isatap{number}") }
}

//! Linux by files of systemd-networkd: they last.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::isatap::addr as isatap;
use isatap_core::link::TtlMode;
use isatap_core::prefix::Ipv6Prefix;

use super::end::{Common, GIVE_LOCAL, Host, OtherEnd, Router, Site, SixRdEnd};
use super::iproute2::{ADVERTISE, describe_advertisements, forward, nobody, teredo, unknown_addresses};
use super::quote::is_plain_name;
use super::steps::{Steps, words};
use crate::spec::DEFAULT_METRIC;

/// What stands in the files beside the tunnel's ends.
#[derive(Default)]
struct Files<'s> {
    /// Lines of `[Tunnel]`.
    tunnel: String,
    addresses: Vec<String>,
    /// A prefix and its next hop.
    routes: Vec<(Ipv6Prefix, String)>,
    dns: &'s [Ipv6Addr],
    search: Vec<String>,
}

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(host) => isatap_host(host, steps),
        OtherEnd::IsatapRouter(router) => isatap_router(router, steps),
        OtherEnd::Tunnel(tunnel) => {
            // TUN-61
            let link_local = format!("fe80::{}/64", tunnel.local);
            let addresses = tunnel.addresses.iter().map(|own| format!("{}/{}", own.0.address, own.0.prefix_length));
            let files = Files {
                tunnel: format!("Remote={}\n", tunnel.remote),
                addresses: [link_local].into_iter().chain(addresses).collect(),
                ..Files::default()
            };
            if write(&tunnel.common, tunnel.local, &files, steps) {
                unknown_addresses(tunnel, steps);
            }
        }
        OtherEnd::SixRdEdge(edge) => sixrd(edge, steps, false),
        OtherEnd::SixRdRelay(relay) => sixrd(relay, steps, true),
        OtherEnd::SixToFourSite(site) => sixtofour(site, steps, false),
        OtherEnd::SixToFourRelay(relay) => sixtofour(relay, steps, true),
        OtherEnd::TeredoClient { .. } | OtherEnd::TeredoServer { .. } => teredo(end, steps),
        OtherEnd::Compatible { common, local } => {
            let Some(local) = *local else {
                return steps.not_known("Write the tunnel's files.", "the host's IPv4 address", GIVE_LOCAL);
            };
            let files = Files { addresses: vec![format!("{}/96", local.to_ipv6_compatible())], ..Files::default() };
            write(common, local, &files, steps);
        }
        OtherEnd::Nobody => nobody(steps),
    }
}

fn isatap_host(host: &Host<'_>, steps: &mut Steps<'_>) {
    let Some(local) = host.local else {
        return steps.not_known("Write the tunnel's files.", "the host's IPv4 address", GIVE_LOCAL);
    };
    let files = Files {
        tunnel: "ISATAP=yes\n".to_owned(),
        addresses: isatap_addresses(local, &host.prefixes),
        routes: host.routes.iter().map(|route| (*route, host.gateway().to_string())).collect(),
        dns: host.dns,
        search: host.search.iter().map(ToString::to_string).collect(),
    };
    if !write(&host.common, local, &files, steps) {
        return;
    }
    let dev = host.common.dev;
    let list =
        format!("Type=oneshot\nRemainAfterExit=yes\nExecStart=ip tunnel prl dev {dev} prl-default {}", host.router);
    follow_device(dev, "prl", &list, "Keep the potential router list, which networkd has no key for.", steps);
}

/// The link-local one too: networkd has the kernel make none on tunnels.
fn isatap_addresses(local: Ipv4Addr, prefixes: &[Ipv6Prefix]) -> Vec<String> {
    let global = prefixes.iter().filter_map(|prefix| isatap::address(prefix, local));
    [isatap::link_local(local)].into_iter().chain(global).map(|address| format!("{address}/64")).collect()
}

fn isatap_router(router: &Router<'_>, steps: &mut Steps<'_>) {
    let Some(local) = router.address else {
        return steps.not_known("Write the tunnel's files.", router.unknown, GIVE_LOCAL);
    };
    let files = Files {
        tunnel: "ISATAP=yes\n".to_owned(),
        addresses: isatap_addresses(local, router.prefixes),
        ..Files::default()
    };
    if write(&router.common, local, &files, steps) {
        forward(steps);
        if let Some(path) = describe_advertisements(router, "/etc", steps) {
            let radvd = format!("Type=exec\nExecStart=radvd -n -C {path} -p /run/radvd-{}.pid", router.common.dev);
            follow_device(router.common.dev, "radvd", &radvd, ADVERTISE, steps);
        }
    }
}

fn sixrd(end: &SixRdEnd<'_>, steps: &mut Steps<'_>, is_relay: bool) {
    const STEP: &str = "Write the tunnel's files.";
    let Some(local) = end.local else {
        return steps.not_known(STEP, "its IPv4 address", GIVE_LOCAL);
    };
    let prefix = end.domain.prefix();
    if end.domain.ipv4_mask_len() > 0 {
        let option = end.option_212().map(|option| format!(": option 212 with the value {option}"));
        let by_dhcp = "networkd's IPv6RapidDeploymentPrefix= takes all 32 bits of the IPv4 address; it learns other \
                       domains by DHCP alone (Use6RD=yes)";
        return steps.cannot(STEP, &format!("{by_dhcp}{}", option.filter(|_| !is_relay).unwrap_or_default()));
    }
    let relay = end.relay.filter(|_| !is_relay);
    let files = Files {
        tunnel: format!("IPv6RapidDeploymentPrefix={prefix}\n"),
        addresses: vec![format!("{}/{}", end.address(local), prefix.length())],
        routes: relay.map(|relay| (Ipv6Prefix::DEFAULT, format!("::{relay}"))).into_iter().collect(),
        ..Files::default()
    };
    if write(&end.common, local, &files, steps) && is_relay {
        forward(steps);
    }
}

fn sixtofour(site: &Site<'_>, steps: &mut Steps<'_>, is_relay: bool) {
    let Some(local) = site.local else {
        return steps.not_known("Write the tunnel's files.", "its public IPv4 address", GIVE_LOCAL);
    };
    let files = Files {
        addresses: vec![format!("{}/16", Site::address(local))],
        routes: site.relay.map(|relay| (Ipv6Prefix::DEFAULT, format!("::{relay}"))).into_iter().collect(),
        ..Files::default()
    };
    if write(&site.common, local, &files, steps) && is_relay {
        forward(steps);
    }
}

/// The two files, and the call that reads them; whether that can be.
fn write(common: &Common<'_>, local: Ipv4Addr, files: &Files<'_>, steps: &mut Steps<'_>) -> bool {
    let dev = common.dev;
    if !is_plain_name(dev) {
        steps.cannot(
            "Write the tunnel's files.",
            "networkd would read signs in the device's name as a pattern; choose a name of letters and digits",
        );
        return false;
    }
    // The kernel inherits by 0.
    let ttl = match common.ttl.0 {
        TtlMode::Fixed(ttl) => ttl,
        TtlMode::CopyHopLimit => 0,
    };
    let mtu = common.mtu.map(|mtu| format!("MTUBytes={mtu}\n")).unwrap_or_default();
    let netdev = format!(
        "[NetDev]\nName={dev}\nKind=sit\n{mtu}\n[Tunnel]\nIndependent=yes\nLocal={local}\nTTL={ttl}\n{}",
        files.tunnel
    );
    let path = format!("/etc/systemd/network/50-{dev}.netdev");
    let netdev = steps.write("Describe the tunnel.", &path, &netdev);
    netdev.undo = netdev.undo.take().map(|undo| format!("{undo}\nnetworkctl reload"));
    let mut network = format!("[Match]\nName={dev}\n\n[Network]\nIPv6AcceptRA=no\n");
    for address in &files.addresses {
        let _ = writeln!(network, "Address={address}");
    }
    for server in files.dns {
        let _ = writeln!(network, "DNS={server}");
    }
    if !files.search.is_empty() {
        let _ = writeln!(network, "Domains={}", files.search.join(" "));
    }
    for (route, gateway) in &files.routes {
        let _ = write!(
            network,
            "\n[Route]\nDestination={route}\nGateway={gateway}\nGatewayOnLink=yes\nMetric={DEFAULT_METRIC}\n",
        );
    }
    let of_network = format!("/etc/systemd/network/50-{dev}.network");
    steps.write("Give it addresses and routes; native routes come first.", &of_network, &network);
    steps
        .run("Let networkd read the files.", words!["networkctl", "reload"])
        .undo_all(vec![words!["networkctl", "delete", dev]])
        .only_with(&[&path, &of_network]);
    if let Some(tos) = common.tos() {
        let change = format!("Type=oneshot\nRemainAfterExit=yes\nExecStart=ip tunnel change {dev} tos {tos}");
        follow_device(dev, "tos", &change, "Set the TOS: networkd's TOS= is for tunnels of other kinds.", steps);
    }
    true
}

/// A unit that systemd starts whenever the device comes, and ends with it.
fn follow_device(dev: &str, what: &str, service: &str, step: &str, steps: &mut Steps<'_>) {
    let unit = format!("isatap-{what}-{dev}.service");
    let device = format!("sys-subsystem-net-devices-{}.device", escaped(dev));
    let text =
        format!("[Unit]\nBindsTo={device}\nAfter={device}\n\n[Service]\n{service}\n\n[Install]\nWantedBy={device}\n");
    let path = format!("/etc/systemd/system/{unit}");
    steps.write(step, &path, &text);
    steps
        .run_all(
            "Let systemd start it, now and whenever the device comes.",
            vec![words!["systemctl", "daemon-reload"], words!["systemctl", "enable", "--now", unit]],
        )
        .undo(words!["systemctl", "disable", "--now", unit])
        .only_with(&[&path]);
}

/// A name in that of a unit, as systemd-escape writes it.
fn escaped(name: &str) -> String {
    name.replace('-', "\\x2d")
}

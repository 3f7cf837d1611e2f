//! Windows: by netsh, and by cmdlets where Windows has them.
//!
//! ISATAP by netsh is what Microsoft's white paper and administrators' guides have, argument by
//! argument; cmdlets have their names and parameters of Microsoft's reference.

use super::Platform;
use super::end::{GIVE_LOCAL, Host, OtherEnd, Router, Site, TunnelEnd};
use super::iproute2::{nobody, unknown_addresses};
use super::steps::{Steps, words};

const INTERFACES: &str = "netsh interface ipv6 show interface lists names and indexes";

pub(super) fn plan(end: &OtherEnd<'_>, steps: &mut Steps<'_>) {
    match end {
        OtherEnd::IsatapHost(host) => isatap_host(host, steps),
        OtherEnd::IsatapRouter(router) => isatap_router(router, steps),
        OtherEnd::Tunnel(tunnel) => configured(tunnel, steps),
        OtherEnd::SixRdEdge(_) | OtherEnd::SixRdRelay(_) => {
            steps.cannot("Join the 6rd domain.", "Windows has no 6rd");
        }
        OtherEnd::SixToFourSite(site) => sixtofour(site, steps),
        OtherEnd::SixToFourRelay(site) => relay(site, steps),
        OtherEnd::TeredoClient { server, .. } => teredo_client(&server.to_string(), steps),
        OtherEnd::TeredoServer { .. } => {
            steps.cannot(
                "Run the Teredo server.",
                "Windows runs one as a part of DirectAccess alone, whose wizard sets it up",
            );
        }
        OtherEnd::Compatible { .. } => steps.cannot("Join ::/96.", "Windows since Vista has no such tunnels"),
        OtherEnd::Nobody => nobody(steps),
    }
}

fn isatap_host(host: &Host<'_>, steps: &mut Steps<'_>) {
    set_router(steps, &host.told);
    if host.told != host.router.to_string() {
        resolves(steps, &host.told);
    }
}

/// Which router a host asks; `ISA-20`: by address or name.
pub(super) fn set_router(steps: &mut Steps<'_>, router: &str) {
    const STEP: &str = "Name the ISATAP router.";
    if router.starts_with('-') {
        return steps.cannot(STEP, "its name begins with a hyphen, and would be an option");
    }
    if steps.platform == Platform::PowerShell {
        steps
            .run(STEP, words!["Set-NetIsatapConfiguration", "-Router", router])
            .raw_undo("Set-NetIsatapConfiguration -Router ''")
            .note("The undo lets the interface go down.");
    } else {
        steps
            .run(STEP, words!["netsh", "interface", "isatap", "set", "router", router])
            .undo(words!["netsh", "interface", "isatap", "set", "router", "default"])
            .note("Windows XP and Server 2003: netsh interface ipv6 isatap set router.");
    }
}

/// `NAM-9`: Windows servers answer no question for the name `isatap` itself.
fn resolves(steps: &mut Steps<'_>, name: &str) {
    if name.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case("isatap")) {
        steps.nothing(
            "See to it that the name resolves.",
            "A Windows DNS server refuses isatap while it is on its global query block list; every host of the site \
             becomes an ISATAP host once it answers. Another name, or the hosts file, reaches only those that are told.",
        );
    }
}

fn isatap_router(router: &Router<'_>, steps: &mut Steps<'_>) {
    let Some(told) = router.told.clone() else {
        return steps.not_known("Name the ISATAP router, which is this machine.", router.unknown, GIVE_LOCAL);
    };
    set_router(steps, &told);
    let give = format!("give --isatap-interface NAME or INDEX; {INTERFACES}");
    let Some(isatap) = router.isatap_interface else {
        return steps.not_known("Forward, and advertise the prefix.", "its ISATAP interface", &give);
    };
    switch(steps, "Forward on the ISATAP interface.", isatap, "forwarding");
    switch(steps, "Answer solicitations.", isatap, "advertise");
    if router.prefixes.is_empty() {
        steps.not_known("Advertise the prefix.", "the prefix that the router advertises", "give --prefix PREFIX/64");
    }
    for prefix in router.prefixes {
        add_route(steps, "Advertise the prefix.", &prefix.to_string(), isatap, None, Some("publish"));
    }
    switch(steps, "Offer a default route.", isatap, "advertisedefaultroute");
    match router.lan_interface {
        Some(lan) => switch(steps, "Forward on the interface of the IPv6 network.", lan, "forwarding"),
        None => {
            let give = format!("give --lan-interface NAME or INDEX; {INTERFACES}");
            steps.not_known("Forward on the interface of the IPv6 network.", "that interface", &give);
        }
    }
}

/// A switch of an interface. `RTE-7`
pub(super) fn switch(steps: &mut Steps<'_>, step: &str, interface: &str, switch: &str) {
    if steps.platform == Platform::PowerShell {
        let parameter = match switch {
            "forwarding" => "-Forwarding",
            "advertise" => "-Advertising",
            _ => "-AdvertiseDefaultRoute",
        };
        let words = |value: &str| {
            let mut words = words!["Set-NetIPInterface"];
            words.extend(by_name_or_index(interface));
            words.extend(words!["-AddressFamily", "IPv6", parameter, value]);
            words
        };
        steps.run(step, words("Enabled")).undo(words("Disabled"));
    } else {
        let words = |value: &str| {
            words!["netsh", "interface", "ipv6", "set", "interface", interface, format!("{switch}={value}")]
        };
        steps.run(step, words("enabled")).undo(words("disabled"));
    }
}

/// A route; `with` is what distinguishes it: `publish`, or a metric.
pub(super) fn add_route(
    steps: &mut Steps<'_>,
    step: &str,
    prefix: &str,
    interface: &str,
    next_hop: Option<&str>,
    with: Option<&str>,
) {
    if steps.platform == Platform::PowerShell {
        let route = |verb: &str| {
            let mut words = words![verb, "-DestinationPrefix", prefix];
            words.extend(by_name_or_index(interface));
            words.extend(next_hop.into_iter().flat_map(|next_hop| words!["-NextHop", next_hop]));
            words
        };
        let mut add = route("New-NetRoute");
        match with {
            Some("publish") => add.extend(words!["-Publish", "Yes"]),
            Some(metric) => add.extend(words!["-RouteMetric", metric]),
            None => {}
        }
        let step = steps.run(step, add);
        step.undo(route("Remove-NetRoute"));
        step.undo = step.undo.take().map(|undo| format!("{undo} -Confirm:$false"));
    } else {
        let route = |verb: &str| words!["netsh", "interface", "ipv6", verb, "route", prefix, interface];
        let (mut add, mut remove) = (route("add"), route("delete"));
        if let Some(next_hop) = next_hop {
            add.push(format!("nexthop={next_hop}"));
            remove.push(format!("nexthop={next_hop}"));
        }
        match with {
            Some("publish") => add.push("publish=yes".to_owned()),
            Some(metric) => add.push(format!("metric={metric}")),
            None => {}
        }
        steps.run(step, add).undo(remove);
    }
}

/// How cmdlets name an interface.
pub(super) fn by_name_or_index(interface: &str) -> Vec<String> {
    let is_index = interface.bytes().all(|byte| byte.is_ascii_digit());
    words![if is_index { "-InterfaceIndex" } else { "-InterfaceAlias" }, interface]
}

// TUN-65: there is no cmdlet.
fn configured(tunnel: &TunnelEnd<'_>, steps: &mut Steps<'_>) {
    let dev = tunnel.common.dev;
    let netsh = |words: Vec<String>| [words!["netsh", "interface", "ipv6"], words].concat();
    let make = words![
        "add",
        "v6v4tunnel",
        format!("interface={dev}"),
        format!("localaddress={}", tunnel.local),
        format!("remoteaddress={}", tunnel.remote),
    ];
    steps.run("Make the tunnel.", netsh(make)).undo(netsh(words!["delete", "interface", dev]));
    if let Some(mtu) = tunnel.common.mtu {
        let words = words!["set", "subinterface", dev, format!("mtu={mtu}"), "store=persistent"];
        steps.run("Give it the MTU of this end.", netsh(words));
    }
    for own in &tunnel.addresses {
        let address = format!("address={}/{}", own.0.address, own.0.prefix_length);
        steps.run("Add the address.", netsh(words!["add", "address", format!("interface={dev}"), address]));
    }
    unknown_addresses(tunnel, steps);
}

fn sixtofour(site: &Site<'_>, steps: &mut Steps<'_>) {
    const STEP: &str = "Name the relay.";
    let relay = site.relay.map(|relay| relay.to_string());
    let note = "Windows makes 6to4 addresses of every public IPv4 address while no router advertises a prefix.";
    if steps.platform == Platform::PowerShell {
        steps
            .run("Switch 6to4 on.", words!["Set-Net6to4Configuration", "-State", "Enabled"])
            .undo(words!["Reset-Net6to4Configuration"])
            .note(note);
        if let Some(relay) = relay {
            steps.run(STEP, words!["Set-Net6to4Configuration", "-RelayName", relay, "-RelayState", "Enabled"]);
        }
    } else {
        let set = |words: Vec<String>| [words!["netsh", "interface", "6to4", "set"], words].concat();
        steps.run("Switch 6to4 on.", set(words!["state", "enabled"])).undo(set(words!["state", "default"])).note(note);
        if let Some(relay) = relay {
            steps.run(STEP, set(words!["relay", relay])).undo(set(words!["relay", "default"]));
        }
    }
}

fn relay(_: &Site<'_>, steps: &mut Steps<'_>) {
    steps.cannot(
        "Be the 6to4 relay.",
        "Windows is a relay as a DirectAccess server alone; Linux and Cisco IOS are relays too (--for iproute2, cisco)",
    );
}

fn teredo_client(server: &str, steps: &mut Steps<'_>) {
    const STEP: &str = "Qualify by the server.";
    const NOTE: &str = "In a domain Windows stays off-line as client: enterpriseclient.";
    if steps.platform == Platform::PowerShell {
        steps
            .run(STEP, words!["Set-NetTeredoConfiguration", "-Type", "Enterpriseclient", "-ServerName", server])
            .undo(words!["Reset-NetTeredoConfiguration"])
            .note(NOTE);
    } else {
        let set = |words: Vec<String>| [words!["netsh", "interface", "teredo", "set", "state"], words].concat();
        steps
            .run(STEP, set(words!["type=enterpriseclient", format!("servername={server}")]))
            .undo(set(words!["type=default", "servername=default"]))
            .note(NOTE);
    }
}

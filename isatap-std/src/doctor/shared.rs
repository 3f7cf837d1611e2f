//! What host and router are judged by alike: the kernel's side of the device, and firewalls.

use super::{Facts, Finding, Probe, Rival, Step};
use crate::service::dotted;
use crate::service::evidence::{Icmpv4Heard, RefusedFrom};
use crate::service::status::{Address, OuterStatus};
use isatap_core::configured::link_local;
use std::fmt::Display;
use std::net::Ipv4Addr;

/// The command that started the daemon, with an option added or set.
pub(super) fn restarted(facts: &Facts, option: &str, value: &str) -> String {
    let Some(command) = &facts.command else { return format!("restart the daemon with {option} {value}") };
    let mut words: Vec<&str> = command.split(' ').collect();
    if let ["isatap", "run", rest @ ..] = words.as_slice() {
        let file = rest.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("its file");
        let key = option.trim_start_matches('-');
        // A number stands without quotes.
        let value = if value.parse::<u64>().is_ok() { value.to_owned() } else { format!("{value:?}") };
        return format!("write {key} = {value} into {file}, and: kill -HUP {}", facts.evidence.pid);
    }
    if let Some(at) = words.iter().position(|word| *word == option) {
        words.drain(at..(at + 2).min(words.len()));
    }
    format!("restart it: {} {option} {value}", words.join(" "))
}

/// The same with words that stand for themselves.
pub(super) fn with_flag(facts: &Facts, words: &str) -> String {
    match &facts.command {
        Some(command) if !command.starts_with("isatap run ") => format!("restart it: {command} {words}"),
        _ => format!("restart the daemon with {words}"),
    }
}

/// How the daemon begins anew, with what it was told before.
pub(super) fn reconfigured(facts: &Facts) -> String {
    match &facts.command {
        Some(command) => format!("restart it: {command}"),
        None => "restart the daemon".to_owned(),
    }
}

/// EPERM: the packet met a rule of this machine's own.
pub(super) fn firewall(facts: &Facts, step: Step) -> Option<Finding> {
    if facts.unsent.not_permitted == 0 {
        return None;
    }
    let chains = &facts.kernel.output_chains;
    let commands: Vec<String> =
        chains.iter().map(|chain| format!("nft insert rule {chain} ip protocol 41 accept")).collect();
    let fix = if commands.is_empty() { "iptables -I OUTPUT -p 41 -j ACCEPT".to_owned() } else { commands.join(" && ") };
    let cause = "a firewall of this machine forbids it to send IPv4 protocol 41 (EPERM)";
    Some(Finding::bad(step, cause, fix))
}

/// Whether the link was made again meanwhile, as by a reload: what it has counted says nothing then
/// of what came before.
pub(super) fn has_begun_anew(facts: &Facts) -> bool {
    facts.evidence.status.packets.entered < facts.before.entered
}

/// Packets of `peer` come as far as the device underneath, and the daemon, which hears every
/// packet of protocol 41 that the kernel lets in, does not know of them.
pub(super) fn own_input(facts: &Facts, step: Step, peer: Ipv4Addr) -> Option<Finding> {
    let arrived = facts.arrived.as_ref()?.iter().find(|arrived| arrived.from == peer)?;
    let refused = facts.evidence.refused.iter().any(|row| row.from == peer && row.age <= facts.elapsed);
    if refused || facts.evidence.status.packets.delivered > facts.before.delivered || has_begun_anew(facts) {
        return None;
    }
    let device = &arrived.device;
    Some(Finding::bad(
        step,
        format!(
            "what {peer} answers comes in at {device}, and this machine's own firewall drops it: IPv4 protocol 41 is \
             not let in (or a reverse-path filter drops it: sysctl net.ipv4.conf.{device}.rp_filter)"
        ),
        input_fix(facts),
    ))
}

pub(super) fn input_fix(facts: &Facts) -> String {
    let rule = |chain: &String| format!("nft insert rule {chain} ip protocol 41 accept");
    let commands: Vec<String> = facts.kernel.input_chains.iter().map(rule).collect();
    if commands.is_empty() { "iptables -I INPUT -p 41 -j ACCEPT".to_owned() } else { commands.join(" && ") }
}

/// Where a packet was to go that somebody on the way has complained of.
pub(super) enum Complaint {
    /// The other end takes no protocol 41, or not from here.
    NoTunnel,
    /// A filter.
    Filter,
    /// There is no way to it.
    Unreachable,
}

/// What ICMPv4 says of packets to `about`, `age` seconds ago at most.
pub(super) fn complaint(facts: &Facts, about: Ipv4Addr, age: u64) -> Option<(Complaint, &Icmpv4Heard)> {
    const UNREACHABLE: u8 = 3;
    let is_present = |heard: &&Icmpv4Heard| heard.about == about && heard.age <= age && heard.kind == UNREACHABLE;
    let heard = facts.evidence.icmpv4.iter().filter(is_present).min_by_key(|heard| heard.age)?;
    let complaint = match heard.code {
        2 | 3 => Complaint::NoTunnel,
        9 | 10 | 13 => Complaint::Filter,
        0 | 1 | 5..=7 | 11 | 12 => Complaint::Unreachable,
        _ => return None,
    };
    Some((complaint, heard))
}

/// The command that shows how outer packets go to `address`.
pub(super) fn route_get(facts: &Facts, address: impl Display) -> String {
    let options = facts.evidence.status.outer.as_ref().map(OuterStatus::route_options);
    format!("ip route get {address}{}", options.unwrap_or_default())
}

/// What has been carried while the doctor looked.
pub(super) fn carried(facts: &Facts) -> Option<String> {
    let (now, before) = (&facts.evidence.status.packets, &facts.before);
    let delivered = now.delivered.saturating_sub(before.delivered);
    let packets = if delivered == 1 { "packet" } else { "packets" };
    (delivered > 0).then(|| format!("{delivered} {packets} came in during the last {} s", facts.elapsed.max(1)))
}

/// The first of the probes that a function says yes to.
pub(super) fn answered(facts: &Facts, by: fn(&Probe) -> Option<bool>) -> Option<&Probe> {
    facts.probes.iter().find(|probe| by(probe) == Some(true))
}

/// The device and its addresses as the daemon wants them.
pub(super) fn kernel_addresses(facts: &Facts, step: Step) -> Option<Finding> {
    let status = &facts.evidence.status;
    let dev = &status.dev;
    let bounce = format!("ip link set {dev} down && ip link set {dev} up");
    let Some(device) = &facts.kernel.device else {
        return Some(Finding::bad(step, format!("the kernel has no device {dev}"), "restart the daemon"));
    };
    if facts.kernel.ipv6_disabled {
        let cause = format!("IPv6 is switched off on {dev} (net.ipv6.conf.{dev}.disable_ipv6 = 1)");
        return Some(Finding::bad(step, cause, format!("sysctl -w net.ipv6.conf.{dev}.disable_ipv6=0 && {bounce}")));
    }
    if !device.is_up {
        let cause = format!("another program has switched {dev} off");
        return Some(Finding::bad(step, cause, format!("ip link set {dev} up")));
    }
    let missing = |address: &&Address| !device.addresses.contains(&address.address);
    if let Some(address) = status.addresses.iter().find(missing) {
        let cause = format!("another program removed {} from {dev}", dotted(&address.address));
        return Some(Finding::bad(step, cause, bounce));
    }
    // Links of one daemon are told apart by it, and each tunnel of an IPv4 address has the same
    // link-local one.
    let is_own = |rival: &&Rival| rival.holder.as_ref().is_some_and(|(pid, _)| *pid == facts.evidence.pid);
    let is_harmless = |rival: &&Rival| status.role == "configured" && rival.address.is_unicast_link_local();
    let rival = facts.kernel.rivals.iter().find(|rival| !is_own(rival) && !is_harmless(rival));
    rival.map(|rival| rivalry(dev, step, rival))
}

fn rivalry(dev: &str, step: Step, rival: &Rival) -> Finding {
    let other = &rival.device;
    let address = dotted(&rival.address);
    match &rival.holder {
        // Not of ours: another Teredo client.
        holder if rival.address.segments()[..2] == [0x2001, 0] => Finding::bad(
            step,
            format!(
                "a second Teredo client runs on {other} with {address}: process {}; the kernel gives packets to one of \
                 the two",
                holder.as_ref().map_or_else(|| "unknown".to_owned(), |(pid, name)| format!("{pid} ({name})"))
            ),
            holder.as_ref().map_or_else(|| format!("ip link set {other} down"), |(pid, _)| format!("kill {pid}")),
        ),
        Some((pid, name)) => Finding::bad(
            step,
            format!("{other} has the address {address} of {dev} too: process {pid} ({name}) speaks for it as well"),
            format!("kill {pid}"),
        ),
        None => Finding::bad(
            step,
            format!("{other} has the address {address} of {dev} too: two tunnels speak for one IPv4 address"),
            format!("ip link set {other} down"),
        ),
    }
}

/// Routes that the daemon has made and somebody else has removed.
pub(super) fn kernel_routes(facts: &Facts) -> Option<Finding> {
    let status = &facts.evidence.status;
    let device = facts.kernel.device.as_ref()?;
    let there = |prefix: &str, via| device.routes.iter().any(|(known, hop)| known == prefix && *hop == via);
    let ours = status.routes.iter().filter(|route| route.origin != "mirrored");
    let missing = ours.into_iter().find(|route| !there(&route.prefix, route.via))?;
    let via = missing.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let (prefix, dev) = (&missing.prefix, &status.dev);
    let cause = format!("another program removed route {prefix}{via} from {dev}");
    Some(Finding::bad(Step::Route, cause, format!("ip link set {dev} down && ip link set {dev} up")))
}

/// The kernel's MTU is the daemon's.
pub(super) fn kernel_mtu(facts: &Facts) -> Option<Finding> {
    let status = &facts.evidence.status;
    let device = facts.kernel.device.as_ref()?;
    let (dev, told) = (&status.dev, status.mtu);
    if device.mtu == u32::from(told) {
        return None;
    }
    let cause = format!("{dev} has MTU {} where the daemon wants {told}: another program has set it", device.mtu);
    Some(Finding::bad(Step::Mtu, cause, format!("ip link set {dev} mtu {told}")))
}

/// How many seconds ago what was refused may explain what is seen now.
pub(super) const LATELY: u64 = 60;

/// What came in and was refused in the last minute, by reason, for a warning.
pub(super) fn refused_lately(facts: &Facts) -> Option<String> {
    let lately = facts.evidence.refused.iter().filter(|row| row.age <= LATELY && row.reason != "not-addressed");
    let is_isatap = facts.evidence.status.role.starts_with("isatap");
    let rows: Vec<String> = lately
        .map(|row| {
            let hint = if is_isatap && is_configured_end(row) {
                "; the end of a configured tunnel: not set to ISATAP"
            } else {
                ""
            };
            format!("{} from {} ({}{hint})", row.count, row.from, row.reason)
        })
        .collect();
    (!rows.is_empty()).then(|| format!("packets refused in the last minute: {}", rows.join(", ")))
}

/// Whether the sender speaks from the link-local address of a configured tunnel, as Cisco's
/// `tunnel mode ipv6ip` and Linux's `mode sit` do.
pub(super) fn is_configured_end(row: &RefusedFrom) -> bool {
    row.inner_source == Some(link_local(row.from))
}

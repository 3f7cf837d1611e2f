//! `isatap status`: what running daemons say of themselves.

use std::io::{self, ErrorKind, Write};

use isatap_core::isatap::addr::Dotted;
use isatap_std::Error;
use isatap_std::control::{self, Request};
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::service::status::{HooksStatus, KernelPathStatus, LanStatus, NamesStatus, Status as Device, Teredo};
use serde_json::Value;

use crate::exit::{Failure, Status};
use crate::{output, portproxy};

/// Show what running links know and have counted: addresses, routers, routes, dropped packets; and the
/// rules of the port proxy.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON, one object a device or rule.
    #[arg(short, long)]
    json: bool,
    /// One device; all of this network namespace if it is left out.
    dev: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut out = io::BufWriter::new(output::answer());
    let runtime = RuntimeDir::new();
    let rules = if args.dev.is_none() { control::ask_port_proxies(&runtime)? } else { Vec::new() };
    let has_links = rules.is_empty() || !runtime.devices().is_empty();
    let outcome = if !has_links {
        Ok(())
    } else {
        ask_each(args.dev.as_deref(), Request::Status, |device, answer| {
            if args.json {
                writeln!(out, "{answer}")?;
                return Ok(());
            }
            match serde_json::from_value(answer) {
                Ok(status) => Ok(print(&mut out, &status)?),
                Err(error) => Err(Failure::Refused(format!("cannot read the status of {device}: {error}"))),
            }
        })
    };
    portproxy::print_all(&mut out, rules, args.json)?;
    out.flush()?;
    outcome.map(|()| Status::Done)
}

/// Asks the daemon of one device, or all of this network namespace.
///
/// # Errors
///
/// Of all, each error but the last is told, and none hides the answers of others. A daemon that
/// refuses is no error as long as another one answers.
pub(crate) fn ask_each(
    device: Option<&str>,
    request: Request,
    mut answered: impl FnMut(&str, Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = RuntimeDir::new();
    let devices = device.map_or_else(|| runtime.devices(), |device| vec![device.to_owned()]);
    if devices.is_empty() {
        let folder = runtime.path().display();
        return Err(Failure::Refused(format!("no daemon runs here: {folder} is empty; start one, as isatap host")));
    }
    let (mut failed, mut refused, mut is_answered) = (None::<Error>, None, false);
    for device in devices {
        match control::ask(&runtime, &device, request) {
            Ok(answer) => {
                answered(&device, answer)?;
                is_answered = true;
            }
            Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::Other) => {
                refused = Some(error);
            }
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    output::say(earlier);
                }
            }
        }
    }
    match failed.or(refused.filter(|_| !is_answered)) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn print(out: &mut impl Write, status: &Device) -> io::Result<()> {
    let has_device = status.up || status.mtu > 0;
    let state = match (status.up, has_device) {
        (true, _) => "up",
        (false, true) => "down",
        (false, false) => "without a device",
    };
    let underlay = status.underlay_mtu.map(|mtu| format!(" over IPv4 mtu {mtu}")).unwrap_or_default();
    writeln!(out, "{}: {} {state} mtu {}{underlay}", status.dev, status.role, status.mtu)?;
    if let Some(outer) = &status.outer {
        let mark = outer.mark.as_ref().map(|mark| format!(" mark {mark}")).unwrap_or_default();
        let device = outer.bind_device.as_ref().map(|device| format!(" by {device} only")).unwrap_or_default();
        writeln!(out, "    outer packets: ttl {} tos {} ecn {}{mark}{device}", outer.ttl, outer.tos, outer.ecn)?;
    }
    match &status.kernel_path {
        Some(KernelPathStatus { on: false, why, .. }) => {
            writeln!(out, "    kernel path: off: {}", why.as_deref().unwrap_or("not wanted"))?;
        }
        Some(path) => {
            writeln!(out, "    kernel path: {} packets out, {} in, {} decisions", path.sent, path.received, path.rows)?;
        }
        None => {}
    }
    if let Some(device) = &status.yields_to {
        writeln!(out, "    rests: this machine has IPv6 by {device}")?;
    }
    match (status.locators.as_slice(), &status.waiting) {
        ([], Some(_)) => {}
        ([], None) if status.resting => {}
        ([], None) => writeln!(out, "    no IPv4 address to send from")?,
        (locators, _) => {
            let list: Vec<String> = locators.iter().map(ToString::to_string).collect();
            writeln!(out, "    from {}", list.join(", "))?;
        }
    }
    if let Some(what) = &status.waiting {
        writeln!(out, "    waits for {what}")?;
    }
    if let Some(table) = &status.full_table {
        writeln!(out, "    full table: {} routes in {} KiB", table.routes, table.bytes.div_ceil(1024))?;
    }
    for address in &status.addresses {
        write!(out, "    address {}/{}", Dotted(address.address), address.prefix_length)?;
        writeln!(out, "{}{}", span(" preferred for ", address.preferred), span(" valid for ", address.valid))?;
    }
    for router in &status.prl {
        let health = match (router.alive, router.default) {
            (true, true) => "alive",
            (true, false) => "alive, never a default router,",
            (false, _) => "silent",
        };
        let heard = ago(router.heard);
        let next = span(", asked again in ", router.next_solicitation);
        let attempts = match router.attempts {
            0 => String::new(),
            1 => " after 1 solicitation".to_owned(),
            attempts => format!(" after {attempts} solicitations"),
        };
        writeln!(out, "    router {} ({}) {health}{heard}{next}{attempts}", router.address, router.source)?;
    }
    if let Some(error) = &status.prl_error {
        writeln!(out, "    no router by name: {error}")?;
    }
    for conflict in status.names.iter().flat_map(NamesStatus::conflicts) {
        writeln!(out, "    contested name {conflict}")?;
    }
    if let Some(names) = status.names.as_ref().filter(|names| !names.refused.is_empty()) {
        let refused: Vec<String> = names.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(out, "    refused answers to names: {}", refused.join(", "))?;
    }
    if let Some(responder) = &status.responder {
        if responder.stopped {
            writeln!(out, "    nobody answers to the name isatap any more: start the daemon again")?;
        }
        for place in responder.links.iter().chain(&responder.wins) {
            let holder = place.holder.map(|holder| format!(" to {holder}")).unwrap_or_default();
            writeln!(out, "    name isatap at {} by {}: {}{holder}", place.at, place.by, place.state)?;
        }
    }
    if let Some(remote) = status.remote {
        let reachability = status.reachability.as_ref().map(|state| format!(" {state}")).unwrap_or_default();
        writeln!(out, "    to {remote}{reachability}{}", ago(status.heard).trim_start_matches(','))?;
        if let Some(silent) = status.silent {
            let silent = span("", Some(silent));
            writeln!(
                out,
                "        no answer for {silent} to neighbor probes: the other end is down, or protocol 41 is filtered; \
                 see: isatap doctor {}",
                status.dev
            )?;
        }
    }
    if let Some(prefix) = &status.delegated {
        writeln!(out, "    prefix for LANs {prefix}")?;
    }
    for lan in &status.lans {
        print_lan(out, lan)?;
    }
    if let Some(teredo) = &status.teredo {
        print_teredo(out, teredo)?;
    }
    for route in &status.routes {
        let via = route.via.map(|via| format!(" via {}", Dotted(via))).unwrap_or_default();
        writeln!(out, "    route {}{via} {}{}", route.prefix, route.origin, span(" for ", route.lifetime))?;
    }
    for refused in &status.refused {
        writeln!(out, "    no room for {refused}")?;
    }
    if status.unusable_options > 0 {
        writeln!(out, "    {} options of advertisements were unusable", status.unusable_options)?;
    }
    if let Some(advertised) = &status.advertises {
        for prefix in &advertised.prefixes {
            writeln!(out, "    advertises prefix {prefix}")?;
        }
        for route in &advertised.routes {
            writeln!(out, "    advertises route {route}")?;
        }
        if advertised.default_route {
            writeln!(out, "    advertises a default route")?;
        }
        if !status.forwarding {
            writeln!(out, "    does not forward")?;
        }
    }
    if let Some(check) = &status.check_neighbors {
        writeln!(out, "    neighbour check {check}")?;
    }
    for router in &status.known_routers {
        writeln!(out, "    known router {router}: no host")?;
    }
    for router in &status.trusted_routers {
        writeln!(out, "    trusted router {router}")?;
    }
    for server in &status.dns.servers {
        writeln!(out, "    dns server {server} (not applied)")?;
    }
    for domain in &status.dns.search {
        writeln!(out, "    search domain {domain} (not applied)")?;
    }
    for update in &status.dns_updates {
        let addresses: String = update.addresses.iter().map(|address| format!(" {address}")).collect();
        let server = update.server.as_ref().map(|server| format!(" at {server}")).unwrap_or_default();
        let updated = span(", updated ", update.updated).replacen(", updated 0 s", ", updated now", 1);
        writeln!(out, "    dns name {}{addresses}{server}{updated}", update.name)?;
        if let Some(failure) = &update.failure {
            let fix = update.fix.as_ref().map(|fix| format!(": {fix}")).unwrap_or_default();
            writeln!(out, "        the update failed: {failure}{fix}")?;
        }
        if let Some(why) = &update.forgotten {
            writeln!(out, "        not known to the next daemon: {why}")?;
        }
    }
    if let Some(hooks) = &status.hooks {
        print_hooks(out, hooks)?;
    }
    if let Some(update) = &status.update {
        let has =
            update.address.zip(update.answer.as_ref()).map(|(address, answer)| format!(" has {address}: {answer}"));
        let answered = span(", ", update.answered);
        writeln!(out, "    tunnel broker {}{}{answered}", update.host, has.unwrap_or_default())?;
        if let Some(failure) = &update.failure {
            let fix = update.fix.as_ref().map(|fix| format!(": {fix}")).unwrap_or_default();
            writeln!(out, "        the last call failed: {failure}{fix}{}", span("; again in ", update.again))?;
        }
    }
    let packets = &status.packets;
    writeln!(
        out,
        "    packets: {} in, {} tunnelled, {} delivered, {} consumed, {} held, {} dropped",
        packets.entered, packets.tunnelled, packets.delivered, packets.consumed, packets.held, packets.dropped
    )?;
    for (reason, count) in &status.counters {
        writeln!(out, "        {reason} {count}")?;
    }
    if let Some(decisions) = &status.decisions {
        let (hits, misses) = (decisions.hits, decisions.misses);
        writeln!(out, "    decisions of the process: {hits} remembered, {misses} made, room for {}", decisions.flows)?;
    }
    for (counted, what) in
        [(&status.unclaimed, "packets for no link of the process"), (&status.io, "not taken by the system")]
    {
        if !counted.is_empty() {
            let counted: Vec<String> = counted.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            writeln!(out, "    {what}: {}", counted.join(", "))?;
        }
    }
    Ok(())
}

fn print_hooks(out: &mut impl Write, hooks: &HooksStatus) -> io::Result<()> {
    let HooksStatus { runs, failures, waiting, lost, .. } = hooks;
    let command = hooks.command.as_deref().unwrap_or("none any more");
    let counted = [("wait", waiting), ("lost", lost)].into_iter().filter(|(_, count)| **count > 0);
    let counted: String = counted.map(|(what, count)| format!(", {count} {what}")).collect();
    writeln!(out, "    hook {command}: {runs} runs, {failures} failed{counted}")?;
    if let Some(failure) = &hooks.last_failure {
        writeln!(out, "        failed{} ago: {failure}", span(" ", hooks.failed))?;
    }
    match &hooks.ended {
        Some(how) => writeln!(out, "        its process has ended, {how}: no hook runs any more; start isatap again"),
        None => Ok(()),
    }
}

fn print_lan(out: &mut impl Write, lan: &LanStatus) -> io::Result<()> {
    let subnet = lan.subnet.as_ref().map(|subnet| format!(" subnet {subnet}")).unwrap_or_default();
    let router = match (&lan.link_local, lan.default_router) {
        (None, _) => " not served".to_owned(),
        (Some(address), true) => format!(" default router {address}"),
        (Some(address), false) => format!(" router {address}, no default router"),
    };
    writeln!(out, "    lan {}{subnet}{router}", lan.dev)?;
    if let Some(problem) = &lan.problem {
        let fix = lan.fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default();
        writeln!(out, "        {problem}{fix}")?;
    }
    for prefix in &lan.prefixes {
        let deprecated = if prefix.deprecated { " deprecated" } else { "" };
        writeln!(out, "        prefix {}{deprecated}{}", prefix.prefix, span(" for ", prefix.until))?;
    }
    Ok(())
}

fn print_teredo(out: &mut impl Write, teredo: &Teredo) -> io::Result<()> {
    let server = teredo.server.map(|server| format!(" server {server}")).unwrap_or_default();
    let heard = ago(teredo.server_heard);
    let reason = teredo.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let again = span(", asked again in ", teredo.asked_again);
    writeln!(out, "    teredo {}{reason} port {}{server}{heard}{again}", teredo.state, teredo.port)?;
    if let (Some(mapped), Some(nat)) = (teredo.mapped, &teredo.nat) {
        writeln!(out, "    nat {nat} shows {mapped}")?;
    }
    if let Some(id) = &teredo.client_id {
        writeln!(out, "    qualifies as {id}")?;
    }
    if let Some(mapping) = &teredo.port_mapping {
        match (mapping.external, &mapping.by, &mapping.failure) {
            (Some(external), Some(by), _) => writeln!(out, "    port mapping {external} by {by}")?,
            (_, _, why) => writeln!(out, "    no port mapping: {}", why.as_deref().unwrap_or_default())?,
        }
    }
    for peer in &teredo.peers {
        let state = match (peer.trusted, peer.reachable) {
            (true, true) => "reachable",
            (true, false) => "known",
            (false, _) => "untested",
        };
        writeln!(out, "    peer {} at {} {state}", peer.address, peer.mapped)?;
    }
    Ok(())
}

/// How long ago somebody was heard.
fn ago(seconds: Option<u64>) -> String {
    let heard = span(", last heard ", seconds);
    if heard.is_empty() { heard } else { heard + " ago" }
}

/// A time in its two largest units: `6 s`, `2m5s`, `5d18h`; nothing where there is none.
fn span(before: &str, seconds: Option<u64>) -> String {
    let Some(seconds) = seconds else { return String::new() };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |many, unit, few, small| match few {
        0 => format!("{before}{many}{unit}"),
        few => format!("{before}{many}{unit}{few}{small}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{before}{seconds} s"),
        (0, 0, _) => two(minutes, "m", seconds % 60, "s"),
        (0, _, _) => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(change: impl FnOnce(&mut Value)) -> String {
        let mut status = json!({
            "dev": "isatap0", "role": "isatap-host", "up": true, "locators": ["10.0.0.2"],
            "addresses": [{"address": "fe80::5efe:a00:2", "prefix_length": 64, "preferred": null, "valid": null},
                {"address": "2001:db8:0:7:0:5efe:a00:2", "prefix_length": 64, "preferred": 496_800, "valid": 125}],
            "routers": [], "prl": [{"address": "10.0.0.1", "source": "static", "alive": true, "heard": 6,
                "attempts": 0, "next_solicitation": 890}],
            "prl_error": null, "mtu": 1280, "underlay_mtu": 1500, "routes": [
                {"prefix": "::/0", "via": "fe80::5efe:a00:1", "origin": "advertised", "preference": "medium",
                 "lifetime": 1800}],
            "dns": {"servers": [], "search": [], "applied": false}, "forwarding": false, "advertises": null,
            "remote": null, "reachability": null, "delegated": null, "counters": {"own-source": 3},
            "packets": {"entered": 9, "tunnelled": 3, "delivered": 2, "consumed": 1, "dropped": 3}, "io": {},
        });
        change(&mut status);
        let mut text = Vec::new();
        print(&mut text, &serde_json::from_value(status).unwrap()).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn nam_23_who_contradicts_whom_about_a_name_is_said() {
        let text = printed(|status| {
            let conflict = json!([{"by": "10.0.0.1", "addresses": ["10.0.0.1"]},
                {"by": "10.0.0.4", "addresses": ["10.0.0.4", "10.0.0.5"]}]);
            let step = |step: &str, conflict: &Value| json!({"step": step, "name": "isatap", "addresses": [], "failure": null, "conflict": conflict});
            status["names"] = json!({"steps": [step("dns", &json!([])), step("llmnr", &conflict)], "refused": {}});
        });
        let line = "    contested name isatap by llmnr: 10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4, 10.0.0.5\n";
        assert!(text.contains(line) && text.matches("contested").count() == 1, "{text}");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(
            printed(|_| {}),
            "isatap0: isatap-host up mtu 1280 over IPv4 mtu 1500\n    from 10.0.0.2\n    \
             address fe80::5efe:10.0.0.2/64\n    \
             address 2001:db8:0:7:0:5efe:10.0.0.2/64 preferred for 5d18h valid for 2m5s\n    \
             router 10.0.0.1 (static) alive, last heard 6 s ago, asked again in 14m50s\n    \
             route ::/0 via fe80::5efe:10.0.0.1 advertised for 30m\n    \
             packets: 9 in, 3 tunnelled, 2 delivered, 1 consumed, 0 held, 3 dropped\n\
             \x20       own-source 3\n"
        );
    }

    #[test]
    fn remembered_decisions_have_a_line() {
        let text = printed(|status| status["decisions"] = json!({"hits": 90, "misses": 7, "flows": 4096}));
        assert!(text.contains("    decisions of the process: 90 remembered, 7 made, room for 4096\n"), "{text}");
    }

    #[test]
    fn a_dead_far_end_is_called_dead() {
        let to = |heard: Option<u64>, silent: Option<u64>| {
            let text = printed(|status| {
                status["remote"] = "192.0.2.2".into();
                (status["heard"], status["silent"]) = (heard.into(), silent.into());
                status["reachability"] = "probe".into();
            });
            text.split_once("    to ").unwrap().1.split("    route").next().unwrap().to_owned()
        };
        assert_eq!(to(Some(6), None), "192.0.2.2 probe last heard 6 s ago\n");
        assert_eq!(
            to(None, Some(65)),
            "192.0.2.2 probe\n        no answer for 1m5s to neighbor probes: the other end is down, or protocol 41 is \
             filtered; see: isatap doctor isatap0\n"
        );
    }

    #[test]
    fn only_what_is_advertised_is_said_to_be() {
        let router = |default: bool| {
            printed(|status| {
                status["forwarding"] = default.into();
                status["advertises"] =
                    json!({"prefixes": ["2001:db8:0:7::/64"], "routes": [], "default_route": default});
            })
        };
        let told = |text: &str| text.lines().filter(|line| line.contains("advertises")).count();
        let (with, without) = (router(true), router(false));
        assert!(told(&with) == 2 && with.contains("    advertises a default route\n"), "{with}");
        assert!(told(&without) == 1 && without.contains("    does not forward\n"), "{without}");
    }
}

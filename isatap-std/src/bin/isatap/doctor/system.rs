//! What the kernel has, to be compared with what the daemon tells.

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use isatap_core::prefix::Ipv6Prefix;
use isatap_std::Error;
use isatap_std::doctor::{Device, Kernel, Rival};
use isatap_std::netlink::{Netlink, sysctl};

/// The kernel's side of `device`; `is_rival` says which addresses no other device may have.
/// The index comes with it.
pub(super) fn kernel(device: &str, is_rival: impl Fn(&Ipv6Addr) -> bool) -> Result<(Kernel, Option<u32>), Error> {
    let netlink = Netlink::open()?;
    let links = netlink.links()?;
    let Some(link) = links.iter().find(|link| link.name == device) else { return Ok((Kernel::default(), None)) };
    let mut routes = netlink.own_routes(link.index)?;
    routes.extend(netlink.foreign_routes(link.index)?.into_iter().map(|foreign| foreign.route));
    let route = |route: &isatap_std::netlink::Route| {
        Some((Ipv6Prefix::new(route.destination, route.prefix_len)?.to_string(), route.next_hop))
    };
    let all = netlink.ipv6_addresses()?;
    let rivals = all.iter().filter(|(index, _)| *index != link.index).filter_map(|(index, address)| {
        let other = links.iter().find(|link| link.index == *index)?.name.clone();
        let holder = holder(&other);
        is_rival(&address.address).then_some(Rival { device: other, address: address.address, holder })
    });
    let mut rivals: Vec<Rival> = rivals.collect();
    // The address by which they are known first, in whatever order the kernel has them.
    rivals.sort_by_key(|rival| !rival.address.is_unicast_link_local());
    let kernel = Kernel {
        device: Some(Device {
            is_up: link.is_up,
            mtu: link.mtu,
            addresses: netlink.addresses(link.index)?.iter().map(|address| address.address).collect(),
            routes: routes.iter().filter_map(route).collect(),
        }),
        without_default_route: fs::read_to_string("/proc/net/ipv6_route").is_ok_and(|table| !has_default_route(&table)),
        ipv6_disabled: sysctl::ipv6(device, "disable_ipv6").is_ok_and(|value| value != 0),
        rivals,
        output_chains: Vec::new(),
        input_chains: Vec::new(),
    };
    Ok((kernel, Some(link.index)))
}

/// Whether a table as of `/proc/net/ipv6_route` has a default route: all zeros of length 00. The
/// loopback device has one that refuses.
fn has_default_route(table: &str) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (destination, length, device) = (fields.next(), fields.next(), fields.last());
        destination.is_some_and(|all| all.bytes().all(|digit| digit == b'0'))
            && length == Some("00")
            && device != Some("lo")
    })
}

/// The process that holds a TUN device of this network namespace, and its name.
pub(super) fn holder(device: &str) -> Option<(u32, String)> {
    let here = fs::read_link("/proc/self/ns/net").ok()?;
    let wanted = format!("iff:\t{device}");
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let holds = |process: &PathBuf| {
        let same_network = fs::read_link(process.join("ns/net")).is_ok_and(|there| there == here);
        let descriptors = || fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten();
        let is_device =
            |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line == wanted));
        same_network && descriptors().any(|descriptor| is_device(&descriptor.path()))
    };
    let is_process = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    let process = processes.filter(is_process).find(holds)?;
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

/// How a process was started, by its bare name.
pub(super) fn command(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next()?;
    let name = program.rsplit('/').next().filter(|name| !name.is_empty())?.to_owned();
    let rest = words.filter(|word| !word.is_empty());
    Some(std::iter::once(name).chain(rest.map(std::borrow::Cow::into_owned)).collect::<Vec<_>>().join(" "))
}

/// The nftables chains that packets pass at some of the hooks: `inet filter output` at `output`.
/// Nothing when nft is not there or says nothing for a second.
pub(super) fn chains_at(hooks: &[&str]) -> Vec<String> {
    let child = Command::new("nft").args(["-j", "list", "chains"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return Vec::new() };
    let end = Instant::now() + Duration::from_secs(1);
    // Chains are few: the pipe holds what it says.
    while child.try_wait().is_ok_and(|status| status.is_none()) {
        if Instant::now() > end {
            let _ = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Ok(output) = child.wait_with_output() else { return Vec::new() };
    chains(&output.stdout, hooks)
}

fn chains(json: &[u8], hooks: &[&str]) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let objects = answer["nftables"].as_array().into_iter().flatten().map(|object| &object["chain"]);
    let at_hooks = objects.filter(|chain| hooks.iter().any(|hook| chain["hook"] == *hook));
    at_hooks
        .filter_map(|chain| {
            let family = chain["family"].as_str().filter(|family| matches!(*family, "ip" | "inet"))?;
            Some(format!("{family} {} {}", chain["table"].as_str()?, chain["name"].as_str()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_at_a_hook_are_named_as_nft_takes_them() {
        let json = br#"{"nftables": [{"metainfo": {"version": "1.1.3"}},
            {"chain": {"family": "inet", "table": "t", "name": "out", "handle": 1, "type": "filter", "hook": "output", "prio": 0}},
            {"chain": {"family": "inet", "table": "t", "name": "in", "handle": 2, "type": "filter", "hook": "input", "prio": 0}},
            {"chain": {"family": "ip6", "table": "u", "name": "out", "handle": 1, "hook": "output"}},
            {"chain": {"family": "ip", "table": "t", "name": "jumped", "handle": 3}}]}"#;
        assert_eq!(chains(json, &["output"]), ["inet t out"]);
        assert_eq!(chains(json, &["prerouting", "input"]), ["inet t in"]);
        assert!(chains(b"not json", &["output"]).is_empty());
    }

    #[test]
    fn a_default_route_is_told_from_the_one_that_refuses() {
        const ZEROS: &str = "00000000000000000000000000000000";
        let line = |length: &str, device: &str| {
            format!("{ZEROS} {length} {ZEROS} 00 {ZEROS} 00000400 00000001 00000000 00000003 {device:>8}\n")
        };
        let refuses = line("00", "lo");
        assert!(!has_default_route(&refuses) && !has_default_route(&(line("60", "tun6in4") + &refuses)));
        assert!(has_default_route(&(refuses + &line("00", "tun6in4"))));
    }

    #[test]
    fn a_process_is_told_by_how_it_was_started() {
        let command = command(std::process::id()).unwrap();
        assert!(command.starts_with("isatap-"), "{command}");
        assert!(super::command(u32::MAX).is_none());
    }
}

//! What `isatap plan` prints, carried out at the other ends: there the link comes up, and the undo
//! leaves nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{Daemon, Guest, Lab, Namespace, Node, Output, PATIENCE, Wire, isatap_binary, peers, wait_until};

/// The file of our end, each link at an IPv4 address of its own.
const FILE: &str = r#"
[[isatap-router]]
local = "10.0.0.1"
prefix = "2001:db8:0:7::/64"
tos = "inherit"

[[tunnel]]
local = "192.0.2.1"
remote = "192.0.2.9"
address = "2001:db8:77::1/64"
mtu = 1400
ttl = "inherit"
tos = "0x14"

[[6to4]]
role = "relay"
local = "198.51.100.1"
client = ["198.51.100.0/24"]
accept-bogons = true

[[compatible]]
local = "203.0.113.1"
"#;

/// Each link with what the other end is told beside the file, and addresses to ping from there.
const ENDS: [(&str, &str, &[&str]); 4] = [
    ("isatap0", "--local 10.0.0.2", &["2001:db8:0:7:0:5efe:a00:1", "2600::1"]),
    ("tun6in4", "--address 2001:db8:77::9/64", &["2001:db8:77::1"]),
    ("tun6to4", "--local 198.51.100.2", &["2002:c633:6401::1", "2600::1"]),
    ("tuncompat", "--local 203.0.113.2", &["::203.0.113.1"]),
];

/// The guest's, one for each.
const ADDRESSES: &str = "ip address add 192.0.2.9/24 dev eth0 && ip address add 198.51.100.2/24 dev eth0 && \
                         ip address add 203.0.113.2/24 dev eth0";

/// systemd is not a guest's first process: here units are started as it would, once their device is there.
const SYSTEMCTL: &str = r#"
systemctl() {
  [ "$1" = daemon-reload ] && return
  verb=$1 unit=$3
  dev=${unit##*-} dev=${dev%.service}
  [ "$verb" = enable ] || kill "$(cat "/tmp/$unit.pid")" 2>/dev/null || true
  command systemctl --root=/ "$verb" "$unit"
  [ "$verb" = disable ] && return
  until [ -e "/sys/class/net/$dev" ]; do sleep 0.1; done
  (sed -n 's/^ExecStart=/exec /p' "/etc/systemd/system/$unit" | sh & echo $! >"/tmp/$unit.pid")
}
"#;

/// What the tool prints for a file.
#[track_caller]
fn plan(file: &Path, arguments: &str) -> String {
    let output =
        Command::new(isatap_binary()).arg("plan").arg(file).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Our end, with a native host's address behind it.
fn ours(lab: &Lab, wire: &Wire<'_>) -> (Namespace, Daemon) {
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "10.0.0.1/24");
    ours.ok("ip address add 192.0.2.1/24 dev eth0 && ip address add 198.51.100.1/24 dev eth0 && \
         ip address add 203.0.113.1/24 dev eth0 && \
         sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2600::1/128 dev lo");
    let file = ours.file("node.toml", FILE);
    let mut daemon = Daemon::isatap(&ours, &format!("run {file}"));
    for (device, ..) in ENDS {
        daemon.wait_for_line(&format!("{device} up: "), PATIENCE);
    }
    (ours, daemon)
}

/// Devices, addresses and routes of a guest.
fn everything(guest: &Guest) -> String {
    guest.ok("ip -o link | cut -d' ' -f2; ip -o -6 address show | cut -d' ' -f2-7; ip -6 route show; ls /etc /run /etc/systemd/network /etc/systemd/system | grep -e tun -e isatap0 || true")
}

/// TUN-60, as the guest's kernel has it.
fn has_outer_fields(guest: &Guest, device: &str) {
    let (ttl, tos) = match device {
        "isatap0" => ("64", Some("inherit")),
        "tun6in4" => ("inherit", Some("0x14")),
        _ => ("64", None),
    };
    wait_until(&format!("ttl {ttl} tos {tos:?} of {device}"), PATIENCE, || {
        let tunnel = guest.ok(&format!("ip -d tunnel show {device}"));
        let words: Vec<&str> = tunnel.split_whitespace().collect();
        let behind = |name: &str| words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        behind("ttl") == Some(ttl) && behind("tos") == tos
    });
}

/// Runs a script of many programs, each of which takes a guest long on a busy machine.
#[track_caller]
fn run_script(guest: &Guest, path: &str) {
    let output = guest.run_for(PATIENCE * 3, &format!("sh -e {path}"));
    assert!(output.success(), "{output:#?}");
}

/// Carries out a plan, pings, takes it back.
fn carry_out(guest: &Guest, ours: &Namespace, platform: &str, before_ping: impl Fn(&str)) {
    let file = ours.shared().join("node.toml");
    let before = everything(guest);
    for (device, told, targets) in ENDS {
        let arguments = format!("--for {platform} --link {device} {told}");
        let script = guest.file("plan.sh", &format!("{SYSTEMCTL}{}", plan(&file, &arguments)));
        run_script(guest, &script);
        before_ping(device);
        for target in targets {
            peers::ping(guest, target);
        }
        let undo = plan(&file, &format!("{arguments} --undo"));
        let undo = guest.file("undo.sh", &format!("{SYSTEMCTL}{undo}"));
        run_script(guest, &undo);
        wait_until(&format!("nothing left of {device}"), PATIENCE, || everything(guest) == before);
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_plan_for_iproute2_brings_the_kernels_end_up_and_its_undo_leaves_nothing() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (ours, _daemon) = ours(&lab, &wire);
    let guest = lab.guest("kernel", &[&wire]);
    peers::ipv4(&guest, "10.0.0.2/24");
    guest.ok(ADDRESSES);
    carry_out(&guest, &ours, "iproute2", |device| has_outer_fields(&guest, device));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_plan_for_networkd_brings_the_kernels_end_up_and_its_undo_leaves_nothing() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (ours, _daemon) = ours(&lab, &wire);
    let guest = lab.guest("networkd", &[&wire]);
    peers::ipv4(&guest, "10.0.0.2/24");
    guest.ok(ADDRESSES);
    networkd(&guest);
    carry_out(&guest, &ours, "networkd", |device| {
        has_outer_fields(&guest, device);
        let units: &[&str] = if device == "isatap0" { &["prl", "tos"] } else { &[] };
        for unit in units.iter().map(|what| format!("isatap-{what}-isatap0.service")) {
            guest.ok(&format!("cp /etc/systemd/system/{unit} /run/share/"));
            let unit = guest.shared().join(unit);
            let output = Command::new("systemd-analyze").arg("verify").arg(unit).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    });
}

/// systemd-networkd with D-Bus, without systemd and udev: /sys is read-only, as in a container.
fn networkd(guest: &Guest) {
    guest.ok("mkdir -p /run/etc/systemd/network /run/etc/systemd/system && cd /etc && \
         cp -a passwd group nsswitch.conf hosts ld.so.cache dbus-1 /run/etc && mount --bind /run/etc /etc && \
         mount -o remount,ro /sys && mkdir -p /run/dbus /run/systemd/netif/links /run/systemd/netif/leases && \
         chown -R systemd-network /run/systemd/netif");
    guest.start("dbus", "dbus-daemon --system --nofork --nopidfile");
    wait_until("D-Bus", PATIENCE, || guest.succeeds("test -S /run/dbus/system_bus_socket"));
    guest.start("systemd-networkd", "/usr/lib/systemd/systemd-networkd");
    // A question to it before it is there would have D-Bus start another one.
    let is_there = "busctl call org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s org.freedesktop.network1";
    wait_until("networkd", PATIENCE * 2, || guest.run(is_there).text.contains("true"));
}

/// Our host, and a router that the kernel and radvd make.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn plans_make_the_kernel_and_radvd_an_isatap_router_and_their_undo_leaves_nothing() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "10.0.0.1/24");
    let file = ours.file("node.toml", "[[isatap-host]]\nrouter = \"10.0.0.2\"\n");
    let guest = lab.guest("router", &[&wire]);
    peers::ipv4(&guest, "10.0.0.2/24");
    guest.ok("ip -6 address add 2600::1/128 dev lo");
    networkd(&guest);
    let before = everything(&guest);
    for platform in ["iproute2", "networkd"] {
        let arguments = format!("--for {platform} --prefix 2001:db8:0:7::/64");
        let script = guest.file("plan.sh", &format!("{SYSTEMCTL}{}", plan(Path::new(&file), &arguments)));
        run_script(&guest, &script);
        let daemon = Daemon::isatap(&ours, &format!("run {file}"));
        peers::ping(&ours, "2600::1");
        assert!(ours.ok("ip -6 address show dev isatap0").contains("2001:db8:0:7:0:5efe:a00:1"), "{platform}");
        assert!(daemon.terminate(PATIENCE).success());
        let undo = plan(Path::new(&file), &format!("{arguments} --undo"));
        let undo = guest.file("undo.sh", &format!("{SYSTEMCTL}{undo}"));
        run_script(&guest, &undo);
        wait_until("nothing left", PATIENCE, || everything(&guest) == before);
    }
}

/// 6rd needs Debian's own kernel.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_plan_for_a_6rd_customer_edge_brings_it_up_and_its_undo_leaves_nothing() {
    const FILE: &str = "[[6rd]]\nrole = \"br\"\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"10.0.0.1\"\n";
    let lab = Lab::new();
    let wire = lab.wire();
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "10.0.0.1/24");
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2600::1/128 dev lo");
    let file = ours.file("node.toml", FILE);
    let _daemon = Daemon::isatap(&ours, &format!("run {file}"));
    let guest = lab.stock_guest("edge", &[&wire]);
    peers::ipv4(&guest, "10.0.0.2/24");
    let before = everything(&guest);
    let arguments = "--for iproute2 --local 10.0.0.2";
    let script = guest.file("plan.sh", &plan(Path::new(&file), arguments));
    run_script(&guest, &script);
    for target in ["2001:db8:0:100::1", "2600::1"] {
        peers::ping(&guest, target);
    }
    let undo = guest.file("undo.sh", &plan(Path::new(&file), &format!("{arguments} --undo")));
    run_script(&guest, &undo);
    wait_until("nothing left", PATIENCE, || everything(&guest) == before);
}

/// The other end runs this tool as well: a router for our host, a tunnel for our tunnel, and so on.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_plan_for_this_tool_runs_as_it_is_printed() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (near, far) = (lab.namespace("near"), lab.namespace("far"));
    wire.join(&near, "eth0", "10.0.0.1/24");
    wire.join(&far, "eth0", "10.0.0.2/24");
    for (table, told, target) in [
        ("[[isatap-host]]\nrouter = \"10.0.0.2\"\n", "--prefix 2001:db8:0:7::/64", "2001:db8:0:7:0:5efe:a00:2"),
        (
            "[[tunnel]]\nlocal = \"10.0.0.1\"\nremote = \"10.0.0.2\"\naddress = \"2001:db8:77::/127\"\n",
            "",
            "2001:db8:77::1",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"10.0.0.1\"\nbr = \"10.0.0.2\"\n",
            "",
            "2001:db8:0:200::1",
        ),
    ] {
        let file = near.file("node.toml", table);
        let near_daemon = Daemon::isatap(&near, &format!("run {file}"));
        let steps = plan(Path::new(&file), &format!("--for isatap -j {told}"));
        let mut daemons = Vec::new();
        for step in steps.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            carry_out_step(&far, step["command"].as_str().unwrap(), &mut daemons);
        }
        peers::ping(&near, target);
        for daemon in daemons.into_iter().chain([near_daemon]) {
            assert!(daemon.terminate(PATIENCE).success());
        }
    }
}

/// Runs one command of a plan; what stays runs until the end of the test.
#[track_caller]
fn carry_out_step(node: &Namespace, command: &str, daemons: &mut Vec<Daemon>) {
    let folder = Path::new(isatap_binary()).parent().unwrap().display();
    let command = format!("PATH={folder}:$PATH; {command}");
    let stays = ["isatap run ", "isatap host ", "isatap router ", "isatap tunnel ", "isatap 6rd "];
    if stays.iter().any(|begin| command.contains(&format!("; {begin}"))) {
        let name = format!("daemon{}", daemons.len());
        let mut daemon = Daemon::start(node, &name, "bash", &["-c", &command.replacen("; isatap", "; exec isatap", 1)]);
        daemon.wait_for_line(" up", PATIENCE);
        daemons.push(daemon);
        return;
    }
    let mut last: Option<Output> = None;
    // A check may come before a daemon has learned what it checks.
    wait_until(&format!("{} on {}", command, node.name()), PATIENCE, || last.insert(node.run(&command)).success());
}

/// The guide for manage-out, step by step as it is printed: the intranet's host reaches clients of
/// both servers by name, and afterwards nothing is left.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_9_s64_41_s64_42_the_direct_access_guide_leads_to_a_client_by_name() {
    let lab = Lab::new();
    let (intranet, servers) = (lab.wire(), lab.wire());
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    intranet.join(&router, "eth0", "172.16.10.31/24");
    intranet.join(&host, "eth0", "172.16.10.40/24");
    host.etc("hosts", "127.0.0.1 localhost\n");
    servers.join(&router, "eth1", "fd9c:30c:2da4:111::f/64");
    // What DirectAccess itself has set up: a server and a client, between them its tunnel.
    let mut sites = Vec::new();
    for (number, own, prefix) in [(1, "25", "1000"), (2, "26", "1001")] {
        let tunnel = lab.wire();
        let server = lab.namespace(&format!("server{number}"));
        let client = lab.namespace(&format!("client{number}"));
        servers.join(&server, "eth0", &format!("fd9c:30c:2da4:111::{own}/64"));
        tunnel.join(&server, "eth1", &format!("fd9c:30c:2da4:{prefix}::1/64"));
        tunnel.join(&client, "eth0", &format!("fd9c:30c:2da4:{prefix}::5/64"));
        server.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
        client.ok(&format!("ip -6 route add default via fd9c:30c:2da4:{prefix}::1"));
        client.start("rdp", "socat TCP6-LISTEN:3389,fork,reuseaddr EXEC:cat");
        sites.push((server, client));
    }
    let machine = |on: &str| match on {
        "router" => &router,
        "management host" => &host,
        "server 1" => &sites[0].0,
        "server 2" => &sites[1].0,
        other => panic!("nobody plays {other}"),
    };
    let file = router.directory().join("isatap.toml").display().to_string();
    let output = Command::new(isatap_binary())
        .args(["plan", "recipe", "direct-access-manage-out", "-j", "--for", "isatap"])
        .args(["--organisation", "fd9c:30c:2da4::/48", "--router", "172.16.10.31", "--router-dev", "eth1"])
        .args(["--router-address", "fd9c:30c:2da4:111::31/64", "--server-interface", "eth0"])
        .args(["--server", "fd9c:30c:2da4:111::25", "--server", "fd9c:30c:2da4:111::26"])
        .args(["--name", "da-isatap.corp.example", "--client", "client1.corp.example=fd9c:30c:2da4:1000::5"])
        .args(["--file", &file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let steps: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Not before the guide has been followed.
    assert!(!host.succeeds("ping -6 -c 1 -W 1 fd9c:30c:2da4:1000::5"));
    let mut daemons = Vec::new();
    for step in steps.iter().filter(|step| !step["command"].is_null()) {
        carry_out_step(machine(step["on"].as_str().unwrap()), step["command"].as_str().unwrap(), &mut daemons);
    }
    // What the checks cannot see: the clients of the other server, and that only the routes that are
    // meant were learned.
    peers::ping(&host, "fd9c:30c:2da4:1001::5");
    assert!(!host.ok("ip -6 route show default").contains("isatap0"));
    assert!(host.ok("ip -6 route show dev isatap0").contains("fd9c:30c:2da4:1000::/64"));
    assert!(host.ok("cat /etc/hosts").contains("da-isatap.corp.example"));
    for daemon in daemons {
        assert!(daemon.terminate(PATIENCE).success());
    }
    for step in steps.iter().rev() {
        if let Some(undo) = step["undo"].as_str() {
            machine(step["on"].as_str().unwrap()).ok(undo);
        }
    }
    assert_eq!(host.ok("cat /etc/hosts"), "127.0.0.1 localhost\n");
    assert!(!Path::new(&file).exists());
    for node in [&router, &host, &sites[0].0] {
        assert!(!node.ok("ip -6 route show; ip -6 address show").contains(":2da4:1::"), "{}", node.name());
    }
}

/// The page for who tries the guide on one machine, block by block in one shell.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_page_on_direct_access_works_as_written() {
    const PAGE: &str = include_str!("../../docs/direct-access.md");
    let blocks: Vec<&str> = PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let (end, before) = blocks.split_last().unwrap();
    assert!(end.contains("ip netns delete"));
    // Whatever fails on the way, the last block leaves nothing.
    let script = format!("trap '{}' EXIT\nset -e\n{}", end.replace('\'', r"'\''"), before.concat());
    let folder = Path::new(isatap_binary()).parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("bash").args(["-c", &script]).env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("failed: "), "{output:?}");
    assert!(text.contains("da-host: Check: a connection comes about too."), "{text}");
    assert!(text.contains("2 packets transmitted, 2 received"), "{text}");
    assert!(text.contains("fd9c:30c:2da4:1000::/64 via fe80::5efe:ac10:a1f"), "{text}");
    let left = Command::new("ip").arg("netns").output().unwrap();
    assert!(!String::from_utf8_lossy(&left.stdout).contains("da-"), "{left:?}");
}

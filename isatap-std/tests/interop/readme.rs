//! The commands of the README's section "On Linux", as they are written there.

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, peers, wait_for, wait_until};

const README: &str = include_str!("../../../README.md");

/// The commands of a block, in their order.
struct Block(Vec<String>);

impl Block {
    /// The block of the section that has this in it.
    fn with(text: &str) -> Self {
        let found = blocks().into_iter().find(|block| block.contains(text));
        let block = found.unwrap_or_else(|| panic!("no block of README.md's section \"On Linux\" has {text:?}"));
        let lines = block.lines().skip(1).map(|line| line.split('#').next().unwrap_or("").trim());
        Self(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// The next command, which is to begin like this.
    #[track_caller]
    fn next(&mut self, begin: &str) -> String {
        assert!(self.0.first().is_some_and(|line| line.starts_with(begin)), "{begin} was expected: {:#?}", self.0);
        self.0.remove(0)
    }

    /// The same of the tool's, without its name.
    #[track_caller]
    fn isatap(&mut self, begin: &str) -> String {
        self.next(&format!("isatap {begin}")).trim_start_matches("isatap ").to_owned()
    }

    #[track_caller]
    fn end(self) {
        assert!(self.0.is_empty(), "nobody runs {:#?}: add it to this test", self.0);
    }
}

/// The blocks of the section, each with the word behind its fence in front.
fn blocks() -> Vec<&'static str> {
    let section = README.split("\n## ").find(|section| section.starts_with("On Linux\n")).unwrap();
    section.split("```").skip(1).step_by(2).collect()
}

/// A machine on a wire where every IPv4 address is a neighbour's.
fn machine(lab: &Lab, wire: &Wire<'_>, name: &str, addresses: &[&str]) -> Namespace {
    let machine = lab.namespace(name);
    wire.join(&machine, "eth0", &format!("{}/32", addresses[0]));
    for address in &addresses[1..] {
        machine.ok(&format!("ip address add {address}/32 dev eth0"));
    }
    machine.ok("ip route add default dev eth0");
    machine
}

/// Runs a tool's command that ends by itself and has to succeed.
#[track_caller]
fn succeeds(node: &Namespace, command: &str) -> String {
    let output = isatap(node, command);
    assert!(output.success(), "{output:#?}");
    output.text
}

#[test]
fn every_block_of_the_readme_is_run_by_a_test() {
    let first: Vec<&str> = blocks().iter().map(|block| block.lines().nth(1).unwrap_or("")).collect();
    let known = ["# the router", "isatap tunnel", "[[isatap-router]]", "isatap config check", "isatap policy show"];
    assert_eq!(first.len(), known.len(), "{first:#?}");
    assert!(first.iter().zip(known).all(|(first, known)| first.starts_with(known)), "{first:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_readmes_router_and_host_work_as_written() {
    let lab = Lab::new();
    let wire = lab.wire();
    let mut block = Block::with("isatap host");
    let router = machine(&lab, &wire, "router", &["10.0.0.1"]);
    router.ok(&block.next("sysctl -w"));
    // The way on that hosts are to have.
    router.ok("ip -6 address add 2001:db8:9::1/64 dev eth0 && ip -6 route add default via 2001:db8:9::2");
    let _router = Daemon::isatap(&router, &block.isatap("router --local 10.0.0.1"));
    let host = machine(&lab, &wire, "host", &["10.0.0.2"]);
    let _host = Daemon::isatap(&host, &block.isatap("host --local 10.0.0.2"));
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);
    peers::ping(&host, "2001:db8:0:7:0:5efe:a00:1");
    assert!(succeeds(&host, &block.isatap("status")).contains("isatap0"));
    // It goes on until somebody ends it, here `timeout`; what is there now comes first.
    let monitor = format!("timeout -s INT 2 {} {}", isatap_binary(), block.isatap("monitor"));
    assert!(host.run_for(PATIENCE, &monitor).text.contains("isatap0"), "{monitor}");
    assert!(succeeds(&host, &block.isatap("solicit")).contains("10.0.0.1"));
    let doctor = block.isatap("doctor");
    wait_until("the doctor to find nothing", PATIENCE, || isatap(&host, &doctor).success());
    block.end();
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_readmes_other_tunnels_work_as_written() {
    let lab = Lab::new();
    let (wire, lan, other_lan) = (lab.wire(), lab.wire(), lab.wire());
    let forwards = Block::with("isatap host").next("sysctl -w");
    let mut block = Block::with("isatap tunnel");

    let near = machine(&lab, &wire, "near", &["192.0.2.1"]);
    let far = machine(&lab, &wire, "far", &["192.0.2.9"]);
    let _near = Daemon::isatap(&near, &block.isatap("tunnel --local 192.0.2.1 --remote 192.0.2.9"));
    let _far = Daemon::isatap(&far, "tunnel --local 192.0.2.9 --remote 192.0.2.1 --address 2001:db8:77::9/64");
    peers::ping(&near, "2001:db8:77::9");

    // Behind the relay, and the border relay, is what is native.
    let native = |name: &str, address: &str| {
        let relay = machine(&lab, &wire, name, &[address]);
        relay.ok(&format!("{forwards} && ip -6 address add 2600::1/128 dev lo"));
        relay
    };
    let relay = native("relay", "131.107.0.1");
    let _relay = Daemon::isatap(&relay, &block.isatap("6to4 --role relay"));
    let site = machine(&lab, &wire, "site", &["157.60.0.1"]);
    site.etc("hosts", "127.0.0.1 localhost\n131.107.0.1 relay.example.com\n");
    lan.join(&site, "eth1", "192.168.1.1/24");
    other_lan.join(&site, "eth2", "192.168.2.1/24");
    site.ok(&forwards);
    let behind = lab.namespace("behind");
    other_lan.join(&behind, "eth0", "192.168.2.2/24");
    let _site = Daemon::isatap(&site, &block.isatap("6to4 --role router"));
    wait_until("a way out of the LAN", PATIENCE, || behind.succeeds("ping -6 -c 1 -W 1 2600::1"));
    assert!(behind.ok("ip -6 address show dev eth0").contains(" 2002:9d3c:1:a0:"));

    let border = native("border", "10.0.0.1");
    let _border = Daemon::isatap(&border, &block.isatap("6rd --role br"));
    let edge = machine(&lab, &wire, "edge", &["10.100.100.1"]);
    let home_lan = lab.wire();
    home_lan.join(&edge, "eth1", "192.168.1.1/24");
    edge.ok(&forwards);
    let home = lab.namespace("home");
    home_lan.join(&home, "eth0", "192.168.1.2/24");
    let _edge = Daemon::isatap(&edge, &block.isatap("6rd --prefix"));
    wait_until("a way out of the home", PATIENCE, || home.succeeds("ping -6 -c 1 -W 1 2600::1"));

    let server = machine(&lab, &wire, "server", &["131.107.0.8", "131.107.0.9"]);
    let _server = Daemon::isatap(&server, "teredo server --primary 131.107.0.8");
    let client = machine(&lab, &wire, "client", &["157.60.0.7"]);
    client.etc("hosts", "127.0.0.1 localhost\n131.107.0.8 teredo.example.com\n");
    succeeds(&client, &block.isatap("teredo qualify"));
    let _client = Daemon::isatap(&client, &block.isatap("teredo client"));
    assert!(succeeds(&client, "status -j").contains(r#""state":"qualified""#));
    block.end();
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_readmes_file_runs_as_written() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = machine(&lab, &wire, "node", &["10.0.0.1", "192.0.2.1"]);
    let toml = blocks().into_iter().find_map(|block| block.strip_prefix("toml\n")).unwrap();
    node.file("node.toml", toml);
    let mut block = Block::with("isatap run");
    // They name a file in the folder where they are run.
    let here = |command: String| format!("cd {} && exec {} {command}", node.directory().display(), isatap_binary());
    let checked = node.ok(&here(block.isatap("config check")));
    assert_eq!(checked, "node.toml: no mistake: isatap0 (ISATAP router), tun6in4 (configured tunnel)\n");
    let mut daemon = Daemon::start(&node, "run", "bash", &["-c", &here(block.isatap("run"))]);
    for device in ["isatap0", "tun6in4"] {
        daemon.wait_for_line(&format!("{device} up: "), PATIENCE);
    }
    let far = machine(&lab, &wire, "far", &["192.0.2.9"]);
    let _far = Daemon::isatap(&far, "tunnel --local 192.0.2.9 --remote 192.0.2.1 --address 2001:db8:77::9/64");
    wait_for("the tunnel's other end", PATIENCE, || node.succeeds("ping -6 -c 1 -W 1 2001:db8:77::9").then_some(()));
    assert!(daemon.terminate(PATIENCE).success());
    block.end();
}

/// What the section "At every boot" has systemd do after the start.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_readmes_routes_through_tunnels_are_taken() {
    let commands: Vec<&str> = README.lines().filter_map(|line| line.strip_prefix("ExecStartPost=+")).collect();
    let devices: Vec<&str> =
        commands.iter().map(|command| command.split(" dev ").nth(1).unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(devices, ["tun6in4", "customer1", "customer2"]);
    let lab = Lab::new();
    let wire = lab.wire();
    let node = machine(&lab, &wire, "node", &["192.0.2.1"]);
    let _far = machine(&lab, &wire, "far", &["192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    let tunnel = |(at, dev): (usize, &&str)| {
        let remote = at + 2;
        format!(
            "[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.{remote}\"\n\
             address = \"2001:db8:7{remote}::1/64\"\n"
        )
    };
    let file = node.file("node.toml", &devices.iter().enumerate().map(tunnel).collect::<String>());
    let mut daemon = Daemon::isatap(&node, &format!("run {file}"));
    for device in &devices {
        daemon.wait_for_line(&format!("{device} up: "), PATIENCE);
    }
    commands.iter().for_each(|command| drop(node.ok(command)));
    for (destination, device) in
        [("2600::1", "tun6in4"), ("2001:db8:100::1", "customer1"), ("2001:db8:200::1", "customer2")]
    {
        assert!(node.ok(&format!("ip -6 route get {destination}")).contains(&format!(" dev {device} ")));
        let capture = wire.capture("ip proto 41");
        node.run(&format!("ping -6 -c 1 -W 1 {destination}"));
        let at = devices.iter().position(|own| *own == device).unwrap();
        let sent = capture.so_far().count(&format!("ipv6.dst == {destination} and ip.dst == 192.0.2.{}", at + 2));
        assert_eq!(sent, 1, "{device}");
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_readmes_policy_is_set_as_written() {
    let lab = Lab::new();
    let machine = lab.namespace("machine");
    machine.etc("gai.conf", "");
    let mut block = Block::with("isatap policy");
    assert!(succeeds(&machine, &block.isatap("policy show")).contains("no rows in it"));
    succeeds(&machine, &block.isatap("policy reset"));
    succeeds(&machine, &block.isatap("policy set"));
    machine.ok("ip addrlabel flush");
    succeeds(&machine, &block.isatap("policy apply"));
    block.end();
    let labels = machine.ok("ip addrlabel list");
    assert!(labels.contains("2002:c000:201::/48 label 14") && labels.lines().count() == 10, "{labels}");
}

//! OpenWrt's protocol `isatap`: the handler and the hook under busybox' shell. netifd is played by `peers/netifd.sh`.

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap_binary, wait_for, wait_until};

/// A machine with OpenWrt's folders, in a mount namespace of its own.
struct OpenWrt<'a> {
    node: &'a Namespace,
    first: Daemon,
}

impl<'a> OpenWrt<'a> {
    fn new(node: &'a Namespace) -> Self {
        let here = env!("CARGO_MANIFEST_DIR");
        let script = format!(
            "set -e; mkdir {folder}; mount -t tmpfs layers {folder}; mkdir {folder}/upper {folder}/work; \
             mount -t overlay usr -o lowerdir=/usr,upperdir={folder}/upper,workdir={folder}/work /usr; \
             mount -t tmpfs run /run; mkdir -p /usr/lib/functions /usr/lib/netifd/proto; \
             for name in functions functions/network netifd/netifd-proto; do cp {here}/tests/peers/netifd.sh /usr/lib/$name.sh; done; \
             cp {here}/packaging/openwrt/isatap/files/isatap.sh /usr/lib/netifd/proto/; \
             cp {here}/packaging/openwrt/isatap/files/isatap.event /usr/lib/netifd/; \
             ln -sf {tool} /usr/bin/isatap; cp /bin/busybox /usr/bin/new; mv -f /usr/bin/new $(readlink -f /bin/sh); \
             echo ready; exec sleep infinity",
            folder = node.directory().join("layers").display(),
            tool = isatap_binary(),
        );
        let mut first = Daemon::start(node, "openwrt", "unshare", &["--mount", "bash", "-c", &script]);
        first.wait_for_line("ready", PATIENCE);
        Self { node, first }
    }

    #[track_caller]
    fn ok(&self, command: &str) -> String {
        self.node.ok(&format!("nsenter --mount=/proc/{}/ns/mnt {command}", self.first.id()))
    }

    /// What netifd calls.
    #[track_caller]
    fn handler(&self, arguments: &str) {
        self.run(&format!("./isatap.sh {arguments}"));
    }

    /// In the folder where netifd runs handlers, and their commands.
    #[track_caller]
    fn run(&self, command: &str) {
        self.ok(&format!("busybox sh -c 'cd /lib/netifd/proto && {command}'"));
    }

    #[track_caller]
    fn setup(&self, interface: &str, options: &str) {
        self.handler(&format!("isatap setup {interface} \"{}\"", options.replace('"', "\\\"")));
    }

    /// What netifd was told so far.
    fn told(&self) -> String {
        self.ok("sh -c 'cat /run/netifd.log /run/*.log 2>/dev/null || true'")
    }

    #[track_caller]
    fn wait_for_update(&self, interface: &str, texts: &[&str]) -> String {
        wait_for(&format!("an update of {interface} with {texts:?} in {}", self.told()), PATIENCE, || {
            let told = self.told();
            let line = told.lines().rfind(|line| line.starts_with(&format!("{interface} device ")))?;
            texts.iter().all(|text| line.contains(text)).then(|| line.to_owned())
        })
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn openwrt_runs_an_isatap_host() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    wire.join(&router, "eth0", "10.0.0.1/24");
    wire.join(&host, "eth0", "10.0.0.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let own =
        format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always --dns {PREFIX}53 --search lan.test");
    let _router = Daemon::isatap(&router, &own);
    let openwrt = OpenWrt::new(&host);

    openwrt.handler("\"\" dump");
    let told = openwrt.told();
    assert!(told.contains("protocol isatap device 0 available 1"), "{told}");
    for option in ["option role", "list router", "option tunlink", "list flags", "option defaultroute"] {
        assert!(told.lines().any(|line| line == option), "{told}");
    }

    // By the interface below, whose device netifd knows, and with something that only the command knows.
    openwrt.setup("site", r#"{"tunlink":"wan","router":["10.0.0.1"],"metric":512,"flags":["--member","10.0.0.0/8"]}"#);
    let address = isatap_address(PREFIX, "10.0.0.2");
    peers::wait_for_address(&host, "is-site", address);
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev is-site", true, PATIENCE);
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    let (with_length, server) = (format!("address {address}/64 "), format!("dns {PREFIX}53"));
    let update =
        openwrt.wait_for_update("site", &["device is-site up 1 external 1 ", &with_length, &server, "search lan.test"]);
    // Lifetimes are seconds that run out, and a link-local address has none.
    let preferred = update.split(&with_length).nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(preferred.parse::<u32>().unwrap() > 0, "{update}");
    assert!(openwrt.told().contains("<--metric> <512> <--via> <eth0> <--router> <10.0.0.1> <--member> <10.0.0.0/8>"));

    // The IPv4 address goes, and comes.
    host.ok("ip address del 10.0.0.2/24 dev eth0");
    openwrt.wait_for_update("site", &["device is-site up 0"]);
    host.ok("ip address add 10.0.0.2/24 dev eth0");
    openwrt.wait_for_update("site", &["up 1", &with_length]);

    openwrt.handler("isatap teardown site {}");
    wait_until("the device to go", PATIENCE, || !host.succeeds("ip link show dev is-site"));
    assert_eq!(host.ok("ip -6 route show default").trim(), "");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn openwrt_gets_the_prefixes_of_6rd_and_a_tunnel_and_hears_what_is_wrong() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (far, node) = (lab.namespace("far"), lab.namespace("node"));
    wire.join(&far, "eth0", "10.0.0.1/8");
    wire.join(&node, "eth0", "10.100.100.1/8");
    let openwrt = OpenWrt::new(&node);
    let _far = Daemon::isatap(&far, "tunnel --local 10.0.0.1 --remote 10.100.100.1 --address 2001:db8:77::1/64");
    openwrt.setup(
        "broker",
        r#"{"role":"tunnel","ipaddr":"10.100.100.1","peeraddr":"10.0.0.1","ip6addr":["2001:db8:77::2/64"],"ip6prefix":["2001:db8:9::/48"]}"#,
    );
    openwrt.wait_for_update("broker", &["address 2001:db8:77::2/64 ", "prefix 2001:db8:9::/48"]);
    peers::ping(&node, "2001:db8:77::1");
    peers::wait_for_route(&node, "default dev is-broker", true, PATIENCE);
    openwrt.setup(
        "home",
        r#"{"role":"6rd","tunlink":"wan","peeraddr":"10.0.0.1","ip6prefix":["2001:db8::"],"ip6prefixlen":32,"ip4prefixlen":8}"#,
    );
    openwrt.wait_for_update("home", &["up 1", "prefix 2001:db8:6464:100::/56"]);

    for (interface, options, error) in [
        ("wrong", r#"{"role":"moon"}"#, "wrong error UNKNOWN_ROLE\nwrong blocked"),
        ("muchtoolongname", r#"{}"#, "muchtoolongname error NAME_TOO_LONG\nmuchtoolongname blocked"),
        ("early", r#"{"tunlink":"wwan"}"#, "early depends on wwan for any host\nearly error NO_DEVICE"),
    ] {
        openwrt.setup(interface, options);
        let told = openwrt.told();
        assert!(told.contains(error) && !told.contains(&format!("{interface} runs")), "{told}");
    }
    for interface in ["broker", "home"] {
        openwrt.handler(&format!("isatap teardown {interface} {{}}"));
        wait_until("the device to go", PATIENCE, || !node.succeeds(&format!("ip link show dev is-{interface}")));
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn openwrt_hands_each_value_on_as_one_word_and_rests_after_a_failure() {
    let lab = Lab::new();
    let node = lab.namespace("node");
    let openwrt = OpenWrt::new(&node);
    openwrt.setup(
        "words",
        r#"{"role":"tunnel","ipaddr":"*","peeraddr":"192.0.2.9 --hook /tmp/x","ip6addr":["*"],"ip6prefix":["* *"],"flags":["--member","*"]}"#,
    );
    openwrt.setup("hosts", r#"{"router":["*","192.0.2.9 --hook /tmp/x"],"mtu":"1280 *"}"#);
    openwrt.setup(
        "edge",
        r#"{"role":"6rd","ip6prefix":["* --hook"],"ip6prefixlen":"3 2","ip4prefixlen":"*","peeraddr":"* *"}"#,
    );
    openwrt.setup("client", r#"{"role":"teredo","server":"* --hook /tmp/x"}"#);
    let told = openwrt.told();
    for words in [
        "<--local> <*> <--remote> <192.0.2.9 --hook /tmp/x> <--address> <*> <--routed-prefix> <* *> <--default-route> <--member> <*>\n",
        "<--mtu> <1280 *> <--router> <*> <--router> <192.0.2.9> <--router> <--hook> <--router> </tmp/x>\n",
        "<--prefix> <* --hook/3 2> <--v4-mask-len> <*> <--br> <* *>\n",
        "<--server> <* --hook /tmp/x>\n",
    ] {
        assert!(told.contains(words), "{words} in {told}");
    }
    // The command takes none of them.
    wait_until("the commands to refuse", PATIENCE, || openwrt.told().matches("isatap: ").count() >= 4);

    for (status, told) in [("1", "words error OPTION_REFUSED\nwords blocked\n"), ("2", "words sleeps 4\n")] {
        openwrt.ok("truncate -s 0 /run/netifd.log");
        openwrt.run(&format!("ERROR={status} ./isatap.sh isatap teardown words {{}}; true"));
        assert_eq!(openwrt.ok("cat /run/netifd.log"), told);
    }

    // A router's search list, as the daemon would have it.
    let status = r#"{"addresses":[],"dns":{"servers":["2001:db8::53"],"search":["*","lan.test"]}}"#;
    let folder = node.directory().join("bin");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("status.json"), status).unwrap();
    let folder = folder.display();
    node.ok(&format!(
        "busybox sh -c 'echo \"exec cat {folder}/status.json\" >{folder}/isatap; chmod +x {folder}/isatap'"
    ));
    openwrt.run(&format!("PATH={folder}:$PATH ISATAP_EVENT=up ISATAP_DEV=is-words ../isatap.event"));
    openwrt.wait_for_update("words", &["up 1 external 1 dns 2001:db8::53 search * search lan.test"]);
}

//! What daemons of one machine share and what they do not: names of devices and tunnel ends
//! belong to one network namespace.

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, Output, PATIENCE, isatap, isatap_binary, status, wait_until};

const ROUTER: &str = "router --local 10.0.0.1 --prefix 2001:db8:0:7::/64";
const HOST: &str = "host --local 10.0.0.2 --router 10.0.0.1";

/// A machine with this address, connected to nothing.
fn machine(lab: &Lab, name: &str, address: &str) -> Namespace {
    let machine = lab.namespace(name);
    lab.wire().join(&machine, "eth0", address);
    machine
}

/// Starts a daemon that is to end at once; what it said.
#[track_caller]
fn refused(machine: &Namespace, command: &str) -> String {
    let output = isatap(machine, command);
    assert_eq!(output.status, 2, "{output:#?}");
    output.text
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_second_daemon_with_the_same_tunnel_ends_is_refused() {
    let lab = Lab::new();
    let machine = machine(&lab, "machine", "10.0.0.2/24");
    let file = machine.file("host.toml", "[[isatap-host]]\ndev = \"second\"\nlocal = [\"10.0.0.2\"]\n");
    let sixrd = "6rd --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.0.0.2";
    let sixtofour = "6to4 --role relay --accept-bogons --local 10.0.0.2";
    for (first, second, what) in [
        (HOST, "host --local 10.0.0.2 --router 10.0.0.9", "ISATAP at 10.0.0.2"),
        (HOST, "host --via eth0 --router 10.0.0.9", "ISATAP at 10.0.0.2"),
        // The address that leads to the router.
        (HOST, "host --router 10.0.0.9", "ISATAP at 10.0.0.2"),
        (HOST, "router --local 10.0.0.2 --prefix 2001:db8:0:9::/64", "ISATAP at 10.0.0.2"),
        (HOST, &format!("run {file}"), "ISATAP at 10.0.0.2"),
        (
            "tunnel --local 10.0.0.2 --remote 10.0.0.9",
            "tunnel --local 10.0.0.2 --remote 10.0.0.9 --address 2001:db8:77::1/64",
            "the tunnel from 10.0.0.2 to 10.0.0.9",
        ),
        (sixrd, &format!("{sixrd} --role br"), "6rd of 2001:db8::/32 at 10.0.0.2"),
        (sixtofour, "6to4 --accept-bogons --local 10.0.0.2", "6to4 at 10.0.0.2"),
        // Of all addresses.
        (sixtofour, "6to4 --accept-bogons", "6to4 at 10.0.0.2"),
    ] {
        let mut daemon = Daemon::start(&machine, "first", isatap_binary(), &words(first, "first"));
        wait_until("the first device", PATIENCE, || machine.succeeds("ip link show dev first up"));
        wait_until("its status", PATIENCE, || status(&machine, ".dev == \"first\""));
        let second = if second.starts_with("run") { second.to_owned() } else { format!("{second} --dev second") };
        let text = refused(&machine, &second);
        let pid = daemon.id();
        for told in [what, &format!("process {pid} "), "device first", &format!("kill {pid}"), "another --local"] {
            assert!(text.contains(told), "{second}: no {told:?} in {text}");
        }
        assert!(!machine.succeeds("ip link show dev second"), "{second} made its device");
        assert!(daemon.is_running());
        assert!(daemon.terminate(PATIENCE).success());
        assert_eq!(machine.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
    }
    // What SIGKILL leaves keeps nobody out.
    let daemon = Daemon::isatap(&machine, &format!("{HOST} --dev first"));
    daemon.kill();
    let daemon = Daemon::isatap(&machine, &format!("{HOST} --dev second"));
    assert!(daemon.terminate(PATIENCE).success());
}

fn words<'w>(command: &'w str, device: &'w str) -> Vec<&'w str> {
    command.split(' ').chain(["--dev", device]).collect()
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn daemons_of_other_mechanisms_share_an_address() {
    let lab = Lab::new();
    let machine = machine(&lab, "machine", "10.0.0.2/24");
    let commands = [
        HOST,
        "tunnel --local 10.0.0.2 --remote 10.0.0.8",
        "tunnel --local 10.0.0.2 --remote 10.0.0.9",
        "6to4 --accept-bogons --local 10.0.0.2",
        "6rd --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.0.0.2",
        "6rd --prefix 2001:db9::/32 --v4-mask-len 8 --local 10.0.0.2",
        "teredo relay --accept-bogons --local 10.0.0.2",
    ];
    let mut daemons = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        let device = format!("tun{at}");
        let mut daemon = Daemon::start(&machine, &device, isatap_binary(), &words(command, &device));
        daemon.wait_for_line(&format!("{device} up: "), PATIENCE);
        daemons.push(daemon);
    }
    for mut daemon in daemons {
        assert!(daemon.is_running());
        assert!(daemon.terminate(PATIENCE).success());
    }
}

/// Two daemons may have the same ends if what is the one's is not the other's.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn daemons_with_the_same_tunnel_ends_are_bound_to_devices_of_their_own() {
    let lab = Lab::new();
    let machine = machine(&lab, "machine", "10.0.0.2/24");
    machine.ok("ip link add eth1 type veth peer name hte1 && ip link set eth1 up && ip link set hte1 up");
    let tunnel = "tunnel --local 10.0.0.2 --remote 10.0.0.9";
    let start = |device: &str, by: &str| {
        let mut daemon = Daemon::start(&machine, device, isatap_binary(), &words(&format!("{tunnel}{by}"), device));
        daemon.wait_for_line(&format!("{device} up: "), PATIENCE);
        daemon
    };
    let refused_for = |by: &str, holder: &Daemon, told: &str| {
        let text = refused(&machine, &format!("{tunnel}{by} --dev again"));
        assert!(text.contains(told) && text.contains(&format!("process {} ", holder.id())), "{text}");
        assert!(!machine.succeeds("ip link show dev again"));
    };
    let first = start("first", " --bind-device eth0");
    let second = start("second", " --bind-device eth1");
    refused_for(" --bind-device eth1", &second, "cannot run the tunnel from 10.0.0.2 to 10.0.0.9 by eth1: ");
    assert!(second.terminate(PATIENCE).success());
    refused_for("", &first, "give both a bind-device of their own");
    assert!(first.terminate(PATIENCE).success());
    let open = start("open", "");
    refused_for(" --bind-device eth1", &open, "give both a bind-device of their own");
    // Another tunnel leads nowhere for its packets.
    let inside = isatap(&machine, "tunnel --local 10.0.0.2 --remote 10.0.0.8 --dev again --bind-device open");
    let told = "cannot bind to the device open: it is a tunnel's, and carries IPv6 alone; name";
    assert!(inside.status == 1 && inside.text.contains(told), "{inside:#?}");
    assert!(open.terminate(PATIENCE).success());
    assert_eq!(machine.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
}

/// Locators come and go after the start: the daemon that comes second to an address waits.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn an_address_of_another_daemon_is_used_when_that_has_ended() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (router, machine) = (lab.namespace("router"), lab.namespace("machine"));
    wire.join(&router, "eth0", "10.0.0.1/24");
    wire.join(&machine, "eth0", "10.0.0.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    machine.ok("ip link add eth1 type veth peer name hte1 && ip link set eth1 up && ip link set hte1 up");
    let _router = Daemon::isatap(&router, ROUTER);
    let first = Daemon::isatap(&machine, &format!("{HOST} --dev first"));
    let second = "host --via eth1 --router 10.0.0.1 --verbose";
    let mut second = Daemon::start(&machine, "second", isatap_binary(), &words(second, "second"));
    second.wait_for_line("second waits for an IPv4 address on eth1", PATIENCE);
    machine.ok("ip address add 10.0.0.2/32 dev eth1");
    let pid = first.id();
    let warning = second.wait_for_line("warning: cannot run ISATAP at 10.0.0.2", PATIENCE);
    assert!(warning.contains(&format!("process {pid} ")) && warning.contains("not used meanwhile"), "{warning}");
    assert!(status(&machine, "select(.dev == \"second\") | .locators == []"));
    let doctor = isatap(&machine, "doctor -j second");
    assert_eq!(doctor.status, 3, "{doctor:#?}");
    assert!(doctor.text.contains("cannot run ISATAP at 10.0.0.2") && doctor.text.contains(&format!("kill {pid}")));
    // The first goes on meanwhile, and hears each packet once.
    peers::wait_for_address(&machine, "first", isatap_address(PREFIX, "10.0.0.2"));
    let answer = router.ok(&format!("ping -6 -n -c 3 -i 0.2 {}", isatap_address(PREFIX, "10.0.0.2")));
    assert!(answer.contains("3 received") && !answer.contains("DUP"), "{answer}");

    assert!(first.terminate(PATIENCE).success());
    second.wait_for_line("sends from 10.0.0.2", PATIENCE);
    peers::wait_for_address(&machine, "second", isatap_address(PREFIX, "10.0.0.2"));
    peers::ping(&machine, &isatap_address(PREFIX, "10.0.0.1").to_string());
    assert_eq!(second.output().matches("cannot run ISATAP").count(), 1, "told once: {}", second.output());

    // It leaves what it has no more.
    machine.ok("ip address delete 10.0.0.2/32 dev eth1");
    second.wait_for_line("no IPv4 address to send from", PATIENCE);
    let first = Daemon::isatap(&machine, &format!("{HOST} --dev first"));
    for daemon in [first, second] {
        assert!(daemon.terminate(PATIENCE).success());
    }
    assert_eq!(machine.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
}

/// The folder of a network namespace other than the initial one; gone at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn of(machine: &Namespace) -> Self {
        let inode = machine.ok("stat -L -c %i /proc/self/ns/net");
        Self(format!("/run/isatap/netns-{}", inode.trim()).into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The tool where no folder is named, as it is used outside of tests.
fn by_default(machine: &Namespace, arguments: &str) -> Output {
    machine.run(&format!("env -u ISATAP_RUNTIME_DIR {} {arguments}", isatap_binary()))
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn one_device_name_and_one_address_serve_in_each_network_namespace() {
    let lab = Lab::new();
    let machines = ["one", "two"].map(|name| machine(&lab, name, "10.0.0.2/24"));
    let folders = machines.each_ref().map(Folder::of);
    let mut daemons = machines.each_ref().map(|machine| {
        let arguments = ["-u", "ISATAP_RUNTIME_DIR", isatap_binary(), "host", "--local", "10.0.0.2"];
        let mut daemon = Daemon::start(machine, "host", "env", &[&arguments[..], &["--router", "10.0.0.1"]].concat());
        daemon.wait_for_line("isatap0 up: ", PATIENCE);
        daemon
    });
    for (at, machine) in machines.iter().enumerate() {
        assert!(folders[at].0.join("isatap0.sock").exists());
        let text = by_default(machine, "status -j");
        assert_eq!(text.text.lines().count(), 1, "{text:#?}");
        // That of this namespace answers.
        let evidence = format!(
            "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"{}\"); \
             s.sendall(b\"{{\\\"ask\\\":\\\"evidence\\\"}}\\n\"); print(s.makefile().readline())' | jq .pid",
            folders[at].0.join("isatap0.sock").display()
        );
        assert_eq!(machine.ok(&evidence).trim(), daemons[at].id().to_string());
    }
    // A third namespace has none: neither of the others is seen.
    let third = machine(&lab, "three", "10.0.0.2/24");
    let _folder = Folder::of(&third);
    let text = by_default(&third, "status");
    assert!(text.text.contains("no daemon runs here"), "{text:#?}");
    let text = by_default(&third, "doctor");
    assert!(text.status == 3 && text.text.contains("no daemon runs isatap0"), "{text:#?}");

    // In one of them the device is taken, and the process is the one of this namespace.
    let text = by_default(&machines[1], "host --local 10.0.0.2 --router 10.0.0.1");
    assert_eq!(text.status, 2, "{text:#?}");
    assert!(text.text.contains(&format!("kill {}", daemons[1].id())), "{text:#?}");
    for daemon in &mut daemons {
        assert!(daemon.is_running());
    }
    for daemon in daemons {
        assert!(daemon.terminate(PATIENCE).success());
    }
}

/// `/proc/1/ns/net` is root's to look at, and the unit's daemon is not root's.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn every_user_finds_the_daemons_of_a_namespace_in_the_same_folder() {
    let lab = Lab::new();
    let machine = machine(&lab, "machine", "10.0.0.2/24");
    let folder = Folder::of(&machine);
    // For a user who may not look into the folder of the build.
    let tool = machine.program("isatap", isatap_binary());
    let empty = format!("{} is empty", folder.0.display());
    for user in ["", "setpriv --reuid nobody --regid nogroup --clear-groups"] {
        let status = machine.run(&format!("env -u ISATAP_RUNTIME_DIR {user} {tool} status 2>&1"));
        assert!(status.status == 2 && status.text.contains(&empty), "{user}: {}", status.text);
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn one_folder_for_two_namespaces_is_no_reason_to_end_a_process() {
    let lab = Lab::new();
    let [one, two] = ["one", "two"].map(|name| machine(&lab, name, "10.0.0.2/24"));
    let _daemon = Daemon::isatap(&one, HOST);
    for device in ["isatap0", "isatap1"] {
        let folder = one.directory().join("run");
        let command = format!("ISATAP_RUNTIME_DIR={} {} {HOST} --dev {device}", folder.display(), isatap_binary());
        let output = two.run(&command);
        assert_eq!(output.status, 2, "{output:#?}");
        assert!(output.text.contains("of another network namespace"), "{output:#?}");
        assert!(
            output.text.contains("an ISATAP_RUNTIME_DIR of its own") && !output.text.contains("kill"),
            "{output:#?}"
        );
    }
}

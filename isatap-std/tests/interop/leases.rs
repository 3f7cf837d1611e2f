//! Leases of DHCP clients that people have, with dnsmasq as the provider's server, and what becomes of
//! their option 212. busybox' udhcpc is in `follow`.

use std::fs;

use crate::common::names::UNPACKED;
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, peers, status, wait_until};
use crate::follow::dnsmasq;

/// The server at 10.0.0.2, and a customer's machine without an address.
fn machines(lab: &Lab, provider: &Wire<'_>) -> (Namespace, Namespace) {
    let (server, ours) = (lab.namespace("server"), lab.namespace("ours"));
    provider.join(&server, "eth0", "10.0.0.2/8");
    provider.join(&ours, "eth0", "10.9.9.9/8");
    ours.ok("ip -4 address flush dev eth0");
    (server, ours)
}

/// A border relay at 10.0.0.1.
fn relay(relay: &Namespace, prefix: &str) -> Daemon {
    Daemon::isatap(relay, &format!("6rd --role br --prefix {prefix}::/32 --v4-mask-len 8 --local 10.0.0.1"))
}

/// Its own leases file, which it keeps open and adds to, and the file of the script in `examples`.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_11_s6r_14_dhclient_brings_a_6rd_domain_and_another_one() {
    let lab = Lab::new();
    let provider = lab.wire();
    let (server, ours) = machines(&lab, &provider);
    let border = lab.namespace("relay");
    provider.join(&border, "eth0", "10.0.0.1/8");
    border.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let capture = provider.capture("udp port 67");
    let first = (relay(&border, "2001:db8"), dnsmasq(&server, 1, Some("20:01:0d:b8")));

    let leases = ours.file("leases", "");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/dhclient-6rd.sh");
    // What the example says of the configuration is what dhclient is given.
    let told = fs::read_to_string(example).unwrap();
    let wanted = told.lines().filter_map(|line| line.strip_prefix("#     ")).filter(|line| line.ends_with(';'));
    let configuration = ours.file("dhclient.conf", &(wanted.collect::<Vec<_>>().join("\n") + "\n"));
    let script = ours.file(
        "script.sh",
        &format!(
            "#!/bin/sh\ncase $reason in\n\
             BOUND | RENEW | REBIND | REBOOT) ip address replace $new_ip_address/8 dev $interface ;;\nesac\n. {example}\n"
        ),
    );
    ours.ok(&format!("chmod +x {script}"));
    let program = std::env::var(UNPACKED).unwrap_or_default() + "/sbin/dhclient";
    let (pid, of_script) = (ours.directory().join("pid"), ours.directory().join("of-script"));
    let (pid, lease) = (pid.display().to_string(), format!("ISATAP_LEASE={}", of_script.display()));
    let arguments =
        ["-4", "-d", "-cf", &configuration, "-lf", &leases, "-pf", &pid, "-e", &lease, "-sf", &script, "eth0"];
    let client = Daemon::start(&ours, "dhclient1", &program, &arguments);
    let mut daemon = Daemon::isatap(&ours, &format!("6rd --via eth0 --dhcp-lease {leases}"));
    daemon.wait_for_line("tun6rd up: 2001:db8:6464:100::1 ", PATIENCE);
    wait_until("the relay", PATIENCE, || status(&ours, ".remote == \"10.0.0.1\" and .waiting == null"));
    peers::ping(&ours, "2001:db8:0:100::1");
    assert!(capture.so_far().count("dhcp.option.request_list_item == 212") > 0, "S6R-11");
    wait_until("the script's file", PATIENCE, || {
        let text = fs::read_to_string(&of_script).unwrap_or_default();
        text == "interface='eth0'\nlease='120'\nip6rd='8 32 2001:db8:: 10.0.0.1'\n"
    });

    // The provider's network is another, and the client asks for its address again.
    drop((first, client));
    let _second = (relay(&border, "2001:db9"), dnsmasq(&server, 2, Some("20:01:0d:b9")));
    let _client = Daemon::start(&ours, "dhclient2", &program, &arguments);
    wait_until("another domain", PATIENCE, || status(&ours, ".delegated == \"2001:db9:6464:100::/56\""));
    peers::ping(&ours, "2001:db9:0:100::1");
    let written = fs::read_to_string(&leases).unwrap();
    assert!(written.contains("8 32 2001:db8:: 10.0.0.1") && written.contains("8 32 2001:db9:: 10.0.0.1"), "{written}");
    assert!(daemon.terminate(PATIENCE).success());
}

/// It asks for option 212 where it is told to, gets it, and does not write it down.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_14_a_lease_of_networkd_has_no_6rd_domain_and_that_is_told() {
    let lab = Lab::new();
    let provider = lab.wire();
    let (server, ours) = machines(&lab, &provider);
    let mut dnsmasq = dnsmasq(&server, 1, Some("20:01:0d:b8"));
    let network = ours.file(
        "eth0.network",
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nRequestOptions=212\nUse6RD=no\n",
    );
    let folder = ours.directory().join("netif");
    let script = ours.file(
        "networkd.sh",
        &format!(
            "set -e\n\
             mkdir -p {0}/links {0}/leases {0}/lldp; chown -R systemd-network {0}\n\
             mount -t tmpfs none /run; mkdir -p /run/systemd/netif /run/etc/systemd/network\n\
             mount --bind {0} /run/systemd/netif\n\
             cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache /run/etc\n\
             cp {network} /run/etc/systemd/network/eth0.network\n\
             echo 0123456789abcdef0123456789abcdef >/run/etc/machine-id; chmod -R a+rX /run/etc\n\
             mount --bind /run/etc /etc; mount -o remount,ro /sys\n\
             exec /lib/systemd/systemd-networkd\n",
            folder.display()
        ),
    );
    ours.start("networkd", &format!("unshare --mount bash {script}"));
    dnsmasq.wait_for_line("sent size: 22 option:212", PATIENCE);
    let leases = folder.join("leases");
    let mut lease = None;
    wait_until("its lease", PATIENCE, || {
        lease = fs::read_dir(&leases).unwrap().find_map(|entry| {
            let file = entry.unwrap().path();
            fs::read_to_string(&file).is_ok_and(|text| text.contains("ADDRESS=10.100.100.1")).then_some(file)
        });
        lease.is_some()
    });
    let lease = lease.unwrap().display().to_string();
    let arguments = ["6rd", "--via", "eth0", "--dhcp-lease", &lease];
    let mut daemon = Daemon::start(&ours, "6rd", crate::common::isatap_binary(), &arguments);
    daemon.wait_for_line("has no 6rd domain, and systemd-networkd writes none down: have dhclient", PATIENCE);
    assert!(daemon.terminate(PATIENCE).success());
}

/// As a unit with RuntimeDirectory= does with each start of the client.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_14_a_lease_is_read_where_its_folder_is_made_again() {
    let lab = Lab::new();
    let provider = lab.wire();
    let ours = lab.namespace("ours");
    provider.join(&ours, "eth0", "10.9.9.9/8");
    let folder = ours.directory().join("client");
    let write = |prefix: &str| {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("lease"), format!("ip6rd='8 32 {prefix}:: 10.0.0.1'\n")).unwrap();
    };
    write("2001:db8");
    let lease = folder.join("lease").display().to_string();
    let daemon = Daemon::isatap(&ours, &format!("6rd --local 10.9.9.9 --dhcp-lease {lease} --user nobody"));
    wait_until("the first domain", PATIENCE, || status(&ours, ".delegated == \"2001:db8:909:900::/56\""));
    for prefix in ["2001:db9", "2001:dba"] {
        fs::remove_dir_all(&folder).unwrap();
        write(prefix);
        let delegated = format!(".delegated == \"{prefix}:909:900::/56\"");
        wait_until("the domain of the new folder", PATIENCE, || status(&ours, &delegated));
    }
    assert!(daemon.terminate(PATIENCE).success());
}

//! Addresses and devices that come, change and go under running links, and what follows them.

use std::fs;
use std::time::{Duration, Instant};

use crate::changes::says;
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, peers, status, wait_until};
use crate::lan::{autoconfigured, site, wait_for_address_in};

/// From an address or a device that is there to a link that sends: this soon, however long it has
/// waited. The retries of a link that waits are far longer apart by then.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn links_wait_for_addresses_and_devices_and_start_when_they_come() {
    let lab = Lab::new();
    let wire = lab.wire();
    let far = lab.guest("far", &[&wire]);
    peers::ipv4(&far, "192.0.2.2/24");
    peers::point_to_point(&far, "192.0.2.2", "192.0.2.5", "2001:db8:1::2".parse().unwrap());
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "192.0.2.1/24");
    let text = "[[tunnel]]\ndev = \"t0\"\nlocal = \"192.0.2.5\"\nremote = \"192.0.2.2\"\naddress = \"2001:db8:1::1/64\"\n\
                [[6rd]]\ndev = \"rd\"\nvia = \"late0\"\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlan = \"late1\"\n\
                [[isatap-host]]\ndev = \"host\"\nlocal = \"192.0.2.8\"\nrouter = \"192.0.2.2\"\n\
                [[teredo-relay]]\ndev = \"relay\"\nlocal = \"192.0.2.6\"\naccept-bogons = true\n";
    let file = ours.file("links.toml", text);
    let mut daemon = Daemon::start(&ours, "run", isatap_binary(), &["run", &file]);
    for (dev, what) in [("t0", "192.0.2.5"), ("rd", "the device late0"), ("host", "192.0.2.8"), ("relay", "192.0.2.6")]
    {
        daemon.wait_for_line(&format!("{dev} waits for {what}: "), PATIENCE);
        wait_until("a status", PATIENCE, || says(&ours, dev, &format!(".waiting == \"{what}\" and .locators == []")));
        let doctor = isatap(&ours, &format!("doctor {dev}"));
        assert_eq!(doctor.status, 3, "{doctor:#?}");
        assert!(doctor.text.contains(what), "{doctor:#?}");
        assert!(isatap(&ours, &format!("status {dev}")).text.contains(&format!("waits for {what}")));
    }
    assert!(says(&ours, "relay", ".up == false and .role == \"teredo-relay\""));
    assert!(says(&ours, "rd", ".lans[0].problem == \"there is no device late1\""));
    assert!(!ours.succeeds("ip link show dev relay"));
    // A file that says the same keeps what waits.
    daemon.signal("HUP");
    daemon.wait_for_line("waiting for t0, rd, host, relay", PATIENCE);
    assert!(!daemon.output().contains(" up: "), "{}", daemon.output());

    let began = Instant::now();
    ours.ok("for last in 5 6 8; do ip address add 192.0.2.$last/24 dev eth0; done");
    for dev in ["t0", "host", "relay"] {
        daemon.wait_for_line(&format!("{dev} up: "), AT_ONCE);
        assert!(says(&ours, dev, ".waiting == null and .up"));
    }
    peers::ping(&ours, "2001:db8:1::2");
    // A device, then its address; and the LAN.
    ours.ok("ip link add late0 type bridge && ip link set late0 up");
    wait_until("the device to be seen", AT_ONCE, || says(&ours, "rd", ".waiting == \"an IPv4 address on late0\""));
    ours.ok("ip address add 10.100.100.1/8 dev late0");
    daemon.wait_for_line("rd up: 2001:db8:6464:100::1 ", AT_ONCE);
    ours.ok("ip link add late1 type veth peer name etal1 && ip link set etal1 up && ip link set late1 up");
    wait_until("the LAN", PATIENCE, || says(&ours, "rd", ".lans[0].problem == null"));
    println!("all began within {:?}", began.elapsed());

    // A device that another program deletes while its address is away is made when that is back.
    ours.ok("ip address delete 192.0.2.6/24 dev eth0 && ip link delete relay");
    daemon.wait_for_line("cannot make relay again: ", PATIENCE);
    wait_until("a status", PATIENCE, || says(&ours, "relay", ".waiting | contains(\"192.0.2.6\")"));
    // Longer than its first waits.
    std::thread::sleep(Duration::from_secs(4));
    ours.ok("ip address add 192.0.2.6/24 dev eth0");
    wait_until("the relay", Duration::from_millis(1500), || says(&ours, "relay", ".up"));
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!ours.succeeds("ip link show dev relay") && !ours.succeeds("ip link show dev t0"));
}

/// The kernel's end of the tunnel is told of the new address as a tunnel broker's would be.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_60_tun_61_a_tunnel_follows_the_address_of_its_device() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = lab.guest("kernel", &[&wire]);
    peers::ipv4(&kernel, "192.0.2.2/24");
    peers::point_to_point(&kernel, "192.0.2.2", "192.0.2.1", "2001:db8:77::2".parse().unwrap());
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "192.0.2.1/24");
    let mut daemon = Daemon::isatap(&ours, "tunnel --via eth0 --remote 192.0.2.2 --address 2001:db8:77::1/64");
    peers::ping(&ours, "2001:db8:77::2");
    assert!(ours.succeeds("ip -6 address show dev tun6in4 | grep -q fe80::c000:201"));

    ours.ok("ip address delete 192.0.2.1/24 dev eth0");
    daemon.wait_for_line("tun6in4 waits for an IPv4 address on eth0: ", PATIENCE);
    assert!(status(&ours, ".locators == [] and .waiting == \"an IPv4 address on eth0\""));
    // It has its own address still, and nothing is up.
    daemon.wait_for_line("tun6in4: down", PATIENCE);
    assert_eq!(daemon.output().matches("tun6in4 up: ").count(), 1, "{}", daemon.output());
    kernel.ok("ip tunnel change p2p local 192.0.2.2 remote 192.0.2.7");
    ours.ok("ip address add 192.0.2.7/24 dev eth0");
    daemon.wait_for_line("tun6in4 sends from 192.0.2.7", PATIENCE);
    daemon.wait_for_line("tun6in4 up: fe80::c000:207 mtu ", PATIENCE);
    peers::ping(&ours, "2001:db8:77::2");
    peers::ping(&kernel, "2001:db8:77::1");
    let addresses = ours.ok("ip -6 -o address show dev tun6in4");
    assert!(addresses.contains("fe80::c000:207") && !addresses.contains("fe80::c000:201"), "{addresses}");
    assert!(status(&ours, ".locators == [\"192.0.2.7\"] and .waiting == null"));
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_9_a_lan_of_6rd_is_renumbered_when_the_address_of_the_device_changes() {
    let lab = Lab::new();
    let (provider, lan) = (lab.wire(), lab.wire());
    let relay = lab.namespace("relay");
    provider.join(&relay, "eth0", "10.0.0.1/8");
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2600::1/128 dev lo");
    let domain = "6rd --prefix 2001:db8::/32 --v4-mask-len 8";
    let _relay = Daemon::isatap(&relay, &format!("{domain} --role br --local 10.0.0.1"));
    let (ours, host) = site(&lab, &provider, "10.100.100.1/8", &lan);
    let daemon = Daemon::isatap(&ours, &format!("{domain} --via eth0 --br 10.0.0.1 --lan eth1:a0"));
    let first = wait_for_address_in(&host, "2001:db8:6464:1a0::");
    peers::ping(&host, "2600::1");

    ours.ok("ip address delete 10.100.100.1/8 dev eth0 && ip address add 10.7.7.7/8 dev eth0");
    let second = wait_for_address_in(&host, "2001:db8:707:7a0::");
    wait_until("the first address to be deprecated", PATIENCE, || {
        autoconfigured(&host, "2001:db8:6464:1a0::", true) == Some(first)
    });
    peers::ping(&host, "2600::1");
    peers::ping(&relay, &second.to_string());
    assert!(status(&ours, ".delegated == \"2001:db8:707:700::/56\" and .locators == [\"10.7.7.7\"]"));
    assert!(daemon.terminate(PATIENCE).success());
}

/// dnsmasq, which has one address to give: 10.100.100.1, for two minutes, and a 6rd domain.
pub(crate) fn dnsmasq(server: &Namespace, number: u8, domain: Option<&str>) -> Daemon {
    // Option 212 as RFC 5969 §7.1.1 lays it out, for the border relay 10.0.0.1.
    let option = domain.map(|prefix| {
        format!("--dhcp-option-force=212,08:20:{prefix}:00:00:00:00:00:00:00:00:00:00:00:00:0a:00:00:01")
    });
    let leases = format!("--dhcp-leasefile={}", server.file("leases", ""));
    let mut arguments = vec![
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--interface=eth0",
        "--dhcp-authoritative",
        "--no-ping",
        "--dhcp-range=10.100.100.1,10.100.100.1,255.0.0.0,120",
        "--user=root",
        "--log-dhcp",
        &leases,
    ];
    arguments.extend(option.as_deref());
    let mut daemon = Daemon::start(server, &format!("dnsmasq{number}"), "dnsmasq", &arguments);
    daemon.wait_for_line("started", PATIENCE);
    daemon
}

/// The provider: dnsmasq, and Debian's own kernel as border relay. The customer: busybox' udhcpc
/// with the script of `examples`.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_8_s6r_9_s6r_11_s6r_12_s6r_14_a_lease_of_dhcp_brings_6rd_and_another_lease_another_domain() {
    let lab = Lab::new();
    let (provider, lan) = (lab.wire(), lab.wire());
    let capture = provider.capture("udp port 67");
    let kernel = lab.stock_guest("kernel", &[&provider]);
    let (ours, host) = site(&lab, &provider, "10.9.9.9/8", &lan);
    ours.ok("ip -4 address flush dev eth0");
    let server = lab.namespace("server");
    provider.join(&server, "eth0", "10.0.0.2/8");
    peers::ipv4(&kernel, "10.0.0.1/8");
    let domain = |prefix: &str| {
        kernel.ok(&format!(
            "ip tunnel 6rd dev rd 6rd-prefix {prefix}::/32 6rd-relay_prefix 10.0.0.0/8 && \
             ip -6 address flush dev rd scope global && ip address add {prefix}:0:100::1/32 dev rd"
        ));
    };
    kernel.ok(
        "ip tunnel add rd mode sit local 10.0.0.1 ttl 64 && ip link set rd up && ip -6 address add 2600::1/128 dev lo",
    );
    domain("2001:db8");

    let lease = ours.shared().join("lease").display().to_string();
    let words: Vec<String> =
        format!("6rd --verbose --via eth0 --dhcp-lease {lease} --lan eth1:a0").split(' ').map(str::to_owned).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut daemon = Daemon::start(&ours, "6rd", isatap_binary(), &words);
    daemon.wait_for_line("has no 6rd domain", PATIENCE);
    daemon.wait_for_line("waits for an IPv4 address on eth0", PATIENCE);

    let first = dnsmasq(&server, 1, Some("20:01:0d:b8"));
    let usual = ours.script(
        "usual.sh",
        "#!/bin/sh\ncase $1 in\nbound|renew) ip address replace $ip/8 dev $interface ;;\n\
         deconfig) ip -4 address flush dev $interface ;;\nesac\n",
    );
    let (lease, usual) = (format!("ISATAP_LEASE={lease}"), format!("UDHCPC_SCRIPT={usual}"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/udhcpc-6rd.sh");
    let client = ["busybox", "udhcpc", "-f", "-i", "eth0", "-O", "ip6rd", "-s", script];
    let client = Daemon::start(&ours, "udhcpc", "env", &[&[lease.as_str(), usual.as_str()], &client[..]].concat());

    daemon.wait_for_line("tun6rd up: 2001:db8:6464:100::1 ", PATIENCE);
    let address = wait_for_address_in(&host, "2001:db8:6464:1a0::");
    peers::ping(&host, "2600::1");
    peers::ping(&kernel, &address.to_string());
    assert!(status(&ours, ".waiting == null and .delegated == \"2001:db8:6464:100::/56\" and .remote == \"10.0.0.1\""));
    // S6R-8: the kernel knows of no lifetime here, and the lease does.
    let lifetimes = host.ok("ip -6 -o address show dev eth0 scope global dynamic");
    let valid: u32 = lifetimes.split("valid_lft ").nth(1).unwrap().split("sec").next().unwrap().parse().unwrap();
    assert!(valid <= 120, "{lifetimes}");
    assert!(capture.so_far().count("dhcp.option.request_list_item == 212") > 0, "S6R-11");

    // The provider's network is another.
    assert!(first.terminate(PATIENCE).code().is_some());
    let second = dnsmasq(&server, 2, Some("20:01:0d:b9"));
    domain("2001:db9");
    client.signal("USR1");
    let renumbered = wait_for_address_in(&host, "2001:db9:6464:1a0::");
    wait_until("the first address to be deprecated", PATIENCE, || {
        autoconfigured(&host, "2001:db8:6464:1a0::", true) == Some(address)
    });
    peers::ping(&host, "2600::1");
    peers::ping(&kernel, &renumbered.to_string());

    // S6R-12: without the option there is no 6rd.
    assert!(second.terminate(PATIENCE).code().is_some());
    let _third = dnsmasq(&server, 3, None);
    client.signal("USR1");
    wait_until("the domain to be gone", PATIENCE, || {
        status(&ours, ".delegated == null and (.waiting | contains(\"option 212\"))")
    });
    wait_until("the second address to be deprecated", PATIENCE, || {
        autoconfigured(&host, "2001:db9:6464:1a0::", true) == Some(renumbered)
    });
    assert!(daemon.terminate(PATIENCE).success());
}

/// The client makes the folder of its leases with the first one; the daemon has given up its privileges by then.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_14_s6r_14_a_lease_is_read_whose_folder_comes_after_the_start() {
    let lab = Lab::new();
    let provider = lab.wire();
    let ours = lab.namespace("ours");
    provider.join(&ours, "eth0", "10.9.9.9/8");
    let later = ours.directory().join("later").display().to_string();
    let (lease, link) = (format!("{later}/leases/lease"), ours.directory().join("link").display().to_string());
    ours.ok(&format!("ln -s {lease} {link}"));
    for path in [&lease, &link] {
        let words = format!("6rd --verbose --via eth0 --user nobody --dhcp-lease {path}");
        let mut daemon = Daemon::start(&ours, "6rd", isatap_binary(), &words.split(' ').collect::<Vec<_>>());
        daemon.wait_for_line("has no 6rd domain", PATIENCE);
        wait_until("seccomp", PATIENCE, || {
            fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap().contains("Seccomp:\t2")
        });
        ours.ok(&format!(
            "mkdir -p {later}/leases && printf \"ip6rd='8 32 2001:db8:: 10.0.0.1'\\nlease=900\\n\" > {lease}"
        ));
        wait_until("the domain", PATIENCE, || status(&ours, ".waiting == null and .remote == \"10.0.0.1\""));
        assert!(daemon.terminate(PATIENCE).success());
        ours.ok(&format!("rm -r {later}"));
    }
    // Not all of the system for one file.
    let words = "6rd --via eth0 --dhcp-lease /isatap-has-no-such-folder/lease";
    let mut daemon = Daemon::start(&ours, "6rd", isatap_binary(), &words.split(' ').collect::<Vec<_>>());
    daemon.wait_for_line(
        "warning: /isatap-has-no-such-folder/lease cannot be read should its folder come later: make",
        PATIENCE,
    );
    assert!(daemon.terminate(PATIENCE).success());
}

/// What a tunnel broker gives: its server by name, a default route, and a prefix for LANs. The server
/// is the kernel, which moves to another address; the hosts file says so.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_tunnel_has_a_default_route_lans_and_another_end_by_name() {
    let lab = Lab::new();
    let (internet, lan) = (lab.wire(), lab.wire());
    let kernel = lab.guest("kernel", &[&internet]);
    peers::ipv4(&kernel, "192.0.2.2/24");
    peers::point_to_point(&kernel, "192.0.2.2", "192.0.2.1", "2001:db8:77::2".parse().unwrap());
    kernel.ok("ip -6 address add 2600::1/128 dev lo && ip -6 route add 2001:db8:9::/48 dev p2p");
    let (ours, host) = site(&lab, &internet, "192.0.2.1/24", &lan);
    ours.etc("hosts", "192.0.2.2 tunnel.broker.example\n");
    let mut daemon = Daemon::isatap(
        &ours,
        "tunnel --via eth0 --remote tunnel.broker.example --address 2001:db8:77::1/64 --default-route \
         --routed-prefix 2001:db8:9::/48 --lan eth1:1",
    );
    let address = wait_for_address_in(&host, "2001:db8:9:1::");
    wait_until("the other end", PATIENCE, || status(&ours, ".remote == \"192.0.2.2\" and .waiting == null"));
    peers::wait_for_route(&host, "default via", true, PATIENCE);
    peers::ping(&host, "2600::1");
    peers::ping(&kernel, &address.to_string());
    peers::ping(&ours, "2600::1");
    assert!(ours.ok("ip -6 route show default").contains("default dev tun6in4"));
    // What no LAN has does not go round between the two ends.
    kernel.run("ping -6 -n -c 2 -i 0.2 -W 1 2001:db8:9:7::1");
    assert!(status(&ours, ".packets.tunnelled < 100"));

    kernel.ok("ip address add 192.0.2.3/24 dev eth0 && ip tunnel change p2p local 192.0.2.3 remote 192.0.2.1 && \
         ip address delete 192.0.2.2/24 dev eth0 && ip address replace 192.0.2.3/24 dev eth0");
    ours.etc("hosts", "192.0.2.3 tunnel.broker.example\n");
    assert!(isatap(&ours, "solicit tun6in4").success());
    daemon.wait_for_line("the other end is 192.0.2.3", PATIENCE);
    peers::ping(&host, "2600::1");
    peers::ping(&kernel, &address.to_string());
    assert!(daemon.terminate(PATIENCE).success());
    wait_until("the last words", PATIENCE, || autoconfigured(&host, "2001:db8:9:1::", true) == Some(address));
}

//! 6rd of ours with Debian's own kernel as border relay and as customer edge.

use std::mem;
use std::net::Ipv6Addr;
use std::thread::sleep;
use std::time::Duration;

use crate::common::{Daemon, Lab, Node, PATIENCE, isatap, peers, status, wait_until};

const DOMAIN: &str = "6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8";
const OURS: &str = "6rd --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.100.100";

// One test, since the kernel takes long to boot: first it is the border relay, then a
// customer that knows 6rd, then one that sends everything to the border relay.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_7_s6r_20_s6r_25_s6r_31_s6r_34_both_ends_work_with_the_kernel_at_the_other() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let capture = near.capture("ip proto 41");
    let kernel = lab.stock_guest("kernel", &[&far]);
    let [router, ours, relay] = ["router", "ours", "relay"].map(|name| lab.namespace(name));
    near.join(&router, "eth0", "10.100.100.77/24");
    far.join(&router, "eth1", "10.0.0.77/24");
    router.ok("sysctl -qw net.ipv4.ip_forward=1");
    near.join(&ours, "eth0", "10.100.100.1/24");
    near.join(&relay, "eth0", "10.100.100.2/24");
    peers::ipv4(&kernel, "10.0.0.1/24");
    ours.ok("ip route add default via 10.100.100.77");
    relay.ok("ip route add default via 10.100.100.77");
    // The delegated prefix of 10.0.0.1 is 2001:db8:0:100::/56.
    kernel.ok(&format!(
        "ip route add default via 10.0.0.77 && \
         ip tunnel add rd mode sit local 10.0.0.1 ttl 64 && ip tunnel 6rd dev rd {DOMAIN} && ip link set rd up && \
         ip address add 2001:db8:0:100::1/32 dev rd && ip -6 address add 2600::1/128 dev lo"
    ));
    let [of_kernel, of_ours, of_relay]: [Ipv6Addr; 3] =
        ["2001:db8:0:100::1", "2001:db8:6464:100::1", "2001:db8:6464:200::1"].map(|text| text.parse().unwrap());

    let edge = Daemon::isatap(&ours, &format!("{OURS}.1 --br 10.0.0.1"));
    peers::wait_for_address(&ours, "tun6rd", of_ours);
    peers::ping_sizes(&ours, &of_kernel.to_string(), 1480);
    peers::ping_sizes(&kernel, &of_ours.to_string(), 1480);
    // What is native behind the relay: by the default route.
    peers::ping(&ours, "2600::1");
    // S6R-7: nobody speaks from it, but somebody answers.
    peers::ping(&kernel, "2001:db8:6464:100::");
    assert!(status(&ours, ".delegated == \"2001:db8:6464:100::/56\" and .role == \"6rd-ce\""));

    // S6R-25: a path that carries less than both think.
    peers::narrow(&router, ["10.100.100.0/24 dev eth0", "10.0.0.0/24 dev eth1"], 1400);
    peers::wait_for_path_mtu(&ours, &of_kernel.to_string(), 1380);
    peers::wait_for_path_mtu(&kernel, &of_ours.to_string(), 1380);
    peers::download(&ours, &kernel, of_kernel, 1 << 18);
    peers::download(&kernel, &ours, of_ours, 1 << 18);
    assert!(capture.so_far().count("ip.src == 10.100.100.1 && ip.len == 1400 && tcp") > 0);
    assert!(capture.so_far().count("ip.src == 10.0.0.1 && ip.len == 1400 && tcp") > 0);
    assert!(edge.terminate(PATIENCE).success());

    // S6R-15: the same relay outside the block, and a customer with its lower bits.
    kernel.ok(&format!(
        "ip address add 198.51.100.1/32 dev lo && ip tunnel add out mode sit local 198.51.100.1 ttl 64 && \
         ip tunnel 6rd dev out {DOMAIN} && ip link set out up && \
         ip -6 route add 2001:db8:3364:100::/56 dev out src 2600::1"
    ));
    router.ok("ip route add 198.51.100.1 via 10.0.0.1 && ip route add 10.51.100.1 dev eth0");
    ours.ok("ip address add 10.51.100.1/32 dev eth0");
    for mask in [8, 32] {
        // With all bits in common the prefix is this customer's, and the relay's longer.
        let prefix = if mask == 8 { "2001:db8::/32" } else { "2001:db8:3364:100::/56" };
        let alike = Daemon::isatap(
            &ours,
            &format!("6rd --prefix {prefix} --v4-mask-len {mask} --local 10.51.100.1 --br 198.51.100.1"),
        );
        peers::ping(&ours, "2600::1");
        assert!(alike.terminate(PATIENCE).success());
    }
    kernel.ok("ip tunnel del out");

    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2600::2/128 dev lo");
    kernel.ok("ip -6 route add 2600::2/128 via ::10.100.100.2 dev rd");
    let border = Daemon::isatap(&relay, &format!("{OURS}.2 --role br"));
    peers::wait_for_address(&relay, "tun6rd", of_relay);
    // The kernel learns a path MTU by what it sends itself, not by what it answers.
    peers::ping_sizes(&kernel, &of_relay.to_string(), 1380);
    peers::ping(&kernel, "2600::2");
    peers::ping(&kernel, "2001:db8:6464:200::");
    peers::http(&kernel, &relay, of_relay);
    assert!(status(&relay, ".role == \"6rd-br\""));

    // Customers find each other directly.
    let edge = Daemon::isatap(&ours, &format!("{OURS}.1 --br 10.100.100.2"));
    peers::ping_sizes(&ours, &of_kernel.to_string(), 1380);
    peers::ping(&ours, "2600::2");
    let direct = "ip.src == 10.0.0.1 && ip.dst == 10.100.100.1";
    let hairpin = "ip.src == 10.100.100.2 && ip.dst == 10.0.0.1 && ipv6.src == 2001:db8:6464:100::1";
    let packets = capture.so_far();
    assert!(packets.count(direct) > 0);
    assert_eq!(packets.count(hairpin), 0);

    // S6R-34: one that sends everything to the border relay, by a device that knows no 6rd.
    kernel.ok("ip tunnel del rd && ip tunnel add hub mode sit local 10.0.0.1 remote 10.100.100.2 ttl 64 && \
         ip link set hub up && ip address add 2001:db8:0:100::1/32 dev hub");
    ours.ok(&format!("ip -6 route add 2001:db8:0:100::/56 via {of_relay} dev tun6rd"));
    // What crossed before has been recorded when the count stands still.
    let mut before = packets.count(direct);
    wait_until("the end of what went directly", PATIENCE, || {
        sleep(Duration::from_millis(500));
        let now = capture.so_far().count(direct);
        mem::replace(&mut before, now) == now
    });
    peers::ping_sizes(&ours, &of_kernel.to_string(), 1480);
    peers::http(&kernel, &ours, of_ours);
    let packets = capture.so_far();
    assert!(packets.count(&format!("{hairpin} && ipv6.hlim == 63")) > 0);
    assert!(packets.count("ip.src == 10.100.100.2 && ip.dst == 10.100.100.1 && ipv6.src == 2001:db8:0:100::1") > 0);
    assert_eq!(packets.count(direct), before, "the kernel sent to us directly");
    packets.assert_clean();
    assert!(edge.terminate(PATIENCE).success() && border.terminate(PATIENCE).success());
}

/// A relay outside the block of its customers has the lower bits of one of them: of the one
/// that asks, or of another. Both have a way out, and find each other.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_15_s6r_20_a_relay_with_the_lower_bits_of_a_customer_is_the_way_out_of_all() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [relay, like_it, other] = ["relay", "like-it", "other"].map(|name| lab.namespace(name));
    for (node, address) in [(&relay, "198.51.100.1"), (&like_it, "10.51.100.1"), (&other, "10.0.0.5")] {
        wire.join(node, "eth0", &format!("{address}/24"));
        node.ok("for net in 10.0.0.0/8 198.51.100.0/24; do ip route replace $net dev eth0; done");
    }
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2600::1/128 dev lo");
    let domain = "6rd --prefix 2001:db8::/32";
    let _relay =
        Daemon::isatap(&relay, &format!("{domain} --v4-mask-len 8 --role br --local 198.51.100.1 --customer 10.0.0.5"));
    let customer = |node, local: &str, mask: u8| {
        Daemon::isatap(node, &format!("{domain} --v4-mask-len {mask} --local {local} --br 198.51.100.1"))
    };
    let alike = customer(&like_it, "10.51.100.1", 8);
    let _other = customer(&other, "10.0.0.5", 8);
    // Ours as the relay has the prefix of the one that is like it; the kernel, above, has none.
    for node in [&like_it, &other] {
        assert!(node.ok("ip -6 route show default").contains("default dev tun6rd"));
    }
    peers::ping(&other, "2600::1");
    peers::ping(&other, "2001:db8:3364:100::1");
    peers::ping(&like_it, "2001:db8:0:500::1");
    let doctor = isatap(&other, "doctor tun6rd").text;
    assert!(!doctor.contains("another program"), "{doctor}");
    assert!(alike.terminate(PATIENCE).success());

    // All bits in common: the relay sees a domain of its own.
    let _alike = customer(&like_it, "10.51.100.1", 32);
    assert!(like_it.ok("ip -6 route show default").contains("default dev tun6rd"));
}

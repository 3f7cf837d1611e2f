//! 6rd of ours with Debian's own kernel as border relay and as customer edge.
#![cfg(target_os = "linux")]

mod common;

use std::net::Ipv6Addr;

use common::{Daemon, Lab, Node, PATIENCE, peers, status};

// One test, since the kernel takes long to boot: first it is the border relay, then a customer.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_20_s6r_31_both_ends_work_with_the_kernel_at_the_other() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = lab.stock_guest("kernel", &[&wire]);
    peers::ipv4(&kernel, "10.0.0.1/8");
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "10.100.100.1/8");
    let domain = "6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8";
    // The relay's delegated prefix is 2001:db8:0:100::/56.
    kernel.ok(&format!(
        "ip tunnel add rd mode sit local 10.0.0.1 ttl 64 && ip tunnel 6rd dev rd {domain} && ip link set rd up && \
         ip address add 2001:db8:0:100::1/32 dev rd && ip -6 address add 2600::1/128 dev lo"
    ));
    let [of_kernel, of_ours]: [Ipv6Addr; 2] =
        ["2001:db8:0:100::1", "2001:db8:6464:100::1"].map(|text| text.parse().unwrap());

    let edge = Daemon::isatap(&ours, "6rd --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.100.100.1 --br 10.0.0.1");
    peers::wait_for_address(&ours, "tun6rd", of_ours);
    peers::ping_sizes(&ours, &of_kernel.to_string(), 1280);
    peers::ping_sizes(&kernel, &of_ours.to_string(), 1280);
    peers::http(&ours, &kernel, of_kernel);
    peers::http(&kernel, &ours, of_ours);
    // What is native behind the relay: by the default route.
    peers::ping(&ours, "2600::1");
    assert!(status(&ours, ".delegated == \"2001:db8:6464:100::/56\" and .role == \"6rd-ce\""));
    assert!(edge.terminate(PATIENCE).success());

    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2600::2/128 dev lo");
    kernel.ok("ip -6 route add 2600::2/128 via ::10.100.100.1 dev rd");
    let relay = Daemon::isatap(&ours, "6rd --role br --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.100.100.1");
    peers::wait_for_address(&ours, "tun6rd", of_ours);
    peers::ping_sizes(&kernel, &of_ours.to_string(), 1280);
    peers::ping(&kernel, "2600::2");
    peers::http(&kernel, &ours, of_ours);
    assert!(status(&ours, ".role == \"6rd-br\""));
    assert!(relay.terminate(PATIENCE).success());
}

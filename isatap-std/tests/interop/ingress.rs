//! What our daemons let in, asked by packets that a stranger made by hand.

use std::time::Duration;

use crate::common::forge::Forged;
use crate::common::{Daemon, Lab, Node, PATIENCE, status, wait_until};

/// Live, the kernel judges the options and fills some in before our socket has the packet.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_11_sec_12_outer_options_are_skipped_and_source_routes_are_not() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [peer, ours] = [("peer", "10.0.0.1/24"), ("ours", "10.0.0.2/24")].map(|(name, address)| {
        let namespace = lab.namespace(name);
        wire.join(&namespace, "eth0", address);
        namespace
    });
    let _daemon = Daemon::isatap(&ours, "tunnel --local 10.0.0.2 --remote 10.0.0.1 --address 2001:db8:77::2/64");
    let forged =
        |options| Forged { outer: ["10.0.0.1", "10.0.0.2"], options, inner: ["2001:db8:77::1", "2001:db8:77::2"] };
    assert!(forged(&[]).is_answered(&peer, PATIENCE), "without options");

    let timestamp = &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let answered: [(&str, &[u8]); 6] = [
        ("Record Route", &[7, 7, 4, 0, 0, 0, 0, 0]),
        ("Record Route whose rest is less than an address", &[7, 9, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("Record Route that is full", &[7, 7, 8, 10, 0, 0, 9, 0]),
        ("Timestamp", timestamp),
        ("Timestamp that has missed fourteen", &[68, 8, 9, 0xe0, 0, 0, 0, 0]),
        ("Router Alert", &[148, 4, 0, 0]),
    ];
    for (what, options) in answered {
        assert!(forged(options).is_answered(&peer, PATIENCE), "{what}");
    }

    // The kernel lets a source route in where somebody allows it; we do not.
    let routes: [&[u8]; 2] = [&[131, 7, 8, 10, 0, 0, 2, 0], &[137, 7, 8, 10, 0, 0, 2, 0]];
    ours.ok("sysctl -qw net.ipv4.conf.all.accept_source_route=1 net.ipv4.conf.eth0.accept_source_route=1");
    for (before, options) in routes.into_iter().enumerate() {
        wait_until("a source route to be counted", PATIENCE, || {
            assert!(!forged(options).is_answered(&peer, Duration::from_secs(1)));
            status(&ours, &format!(".counters[\"outer-source-route\"] > {before}"))
        });
    }
    assert!(!status(&ours, ".counters[\"outer-checksum\"] > 0"));
}

//! Debian's own kernel as a peer: that the harness boots it, and that it has the 6rd
//! which user-mode Linux lacks.

use crate::common::{Lab, Node, PATIENCE, peers, wait_until};

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_the_stock_kernel_has_6rd_and_meets_user_mode_linux() {
    let lab = Lab::new();
    let wire = lab.wire();
    let stock = lab.stock_guest("stock", &[&wire]);
    let other = lab.guest("other", &[&wire]);
    peers::ipv4(&stock, "10.0.0.1/24");
    peers::ipv4(&other, "10.0.0.2/24");
    stock.ok("ip tunnel add rd mode sit local 10.0.0.1 ttl 64 && ip tunnel 6rd dev rd 6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8");
    assert!(stock.ok("ip tunnel show rd").contains("6rd-prefix 2001:db8::/32"));
    wait_until("IPv4 between the guests", PATIENCE, || other.succeeds("ping -c 1 -W 2 10.0.0.1"));
}

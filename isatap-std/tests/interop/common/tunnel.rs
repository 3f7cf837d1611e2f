//! A configured tunnel of ours with the Linux kernel's (in a guest) at its other end.

use super::{Guest, Lab, Namespace, Node, Wire, peers};

/// Our inner address, and the kernel's.
pub const OURS: &str = "2001:db8:77::1";
pub const THEIRS: &str = "2001:db8:77::2";
/// The IPv4 addresses of the ends, as options of `isatap tunnel`.
pub const BETWEEN: &str = "--local 192.0.2.1 --remote 198.51.100.2";

/// Our end at 192.0.2.1, a router, the kernel's end at 198.51.100.2, whose tunnel is made with `options`.
pub fn ends<'l>(lab: &'l Lab, wires: &'l [Wire<'l>; 2], options: &str) -> (Namespace, Namespace, Guest) {
    let [near, far] = wires;
    let ours = lab.namespace("ours");
    near.join(&ours, "eth0", "192.0.2.1/24");
    ours.ok("ip route add default via 192.0.2.254");
    let router = lab.namespace("router");
    near.join(&router, "eth0", "192.0.2.254/24");
    far.join(&router, "eth1", "198.51.100.254/24");
    router.ok("sysctl -qw net.ipv4.ip_forward=1");
    let kernel = lab.guest("kernel", &[far]);
    peers::ipv4(&kernel, "198.51.100.2/24");
    kernel.ok("ip route add default via 198.51.100.254");
    kernel_end(&kernel, options);
    (ours, router, kernel)
}

/// The kernel's end, made with `options` (`ttl 64`), in a guest that has 198.51.100.2 and a way to 192.0.2.1.
pub fn kernel_end(kernel: &Guest, options: &str) {
    kernel.ok(&format!(
        "ip tunnel add p2p mode sit local 198.51.100.2 remote 192.0.2.1 {options} && ip link set p2p up && \
         ip address add {THEIRS}/64 dev p2p"
    ));
}

//! The Linux kernel as an ISATAP node in a guest, and what every pair of an
//! ISATAP host and an ISATAP router has to be able to do, whoever plays them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{Guest, Node, PATIENCE, wait_for, wait_until};

/// The prefix of the white paper's ISATAP subnet.
pub const PREFIX: &str = "2001:db8:0:7::";
/// The kernel's name for its ISATAP device.
pub const DEVICE: &str = "is0";

/// An ISATAP address with a private IPv4 address inside (u = 0), in a /64.
pub fn isatap_address(prefix: &str, address: &str) -> Ipv6Addr {
    let prefix: Ipv6Addr = prefix.parse().unwrap();
    let address: Ipv4Addr = address.parse().unwrap();
    assert!(address.is_private(), "the other form of the identifier is wanted for {address}");
    Ipv6Addr::from_bits(prefix.to_bits() | 0x5efe << 32 | u128::from(address.to_bits()))
}

pub fn link_local(address: &str) -> Ipv6Addr {
    isatap_address("fe80::", address)
}

/// What a router of a test advertises.
pub struct Advertisement {
    /// Seconds; 0: no default router.
    pub router_lifetime: u32,
    pub prefix: &'static str,
    pub valid: u32,
    pub preferred: u32,
    pub mtu: Option<u32>,
    /// Prefixes of route information options.
    pub routes: &'static [&'static str],
    pub rdnss: Option<&'static str>,
}

impl Default for Advertisement {
    fn default() -> Self {
        Self {
            router_lifetime: 1800,
            prefix: PREFIX,
            valid: 3600,
            preferred: 1800,
            mtu: None,
            routes: &[],
            rdnss: None,
        }
    }
}

impl Advertisement {
    fn radvd_configuration(&self) -> String {
        let mtu = self.mtu.map(|mtu| format!("AdvLinkMTU {mtu};")).unwrap_or_default();
        let rdnss =
            self.rdnss.map(|server| format!("RDNSS {server} {{ AdvRDNSSLifetime 1800; }};")).unwrap_or_default();
        let routes: String =
            self.routes.iter().map(|route| format!("route {route} {{ AdvRouteLifetime 1800; }};")).collect();
        format!(
            "interface {DEVICE} {{ AdvSendAdvert on; UnicastOnly on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime {}; {mtu}
               prefix {}/64 {{ AdvValidLifetime {}; AdvPreferredLifetime {}; }}; {routes} {rdnss} }};\n",
            self.router_lifetime, self.prefix, self.valid, self.preferred
        )
    }
}

/// Gives a guest its IPv4 address on eth0 (`10.0.0.1/24`).
pub fn ipv4(guest: &Guest, address: &str) {
    guest.ok(&format!("ip address add {address} dev eth0 && ip link set eth0 up"));
}

/// Makes a guest an ISATAP router with radvd.
pub fn kernel_router(guest: &Guest, address: &str, advertisement: &Advertisement) {
    let router = isatap_address(advertisement.prefix, address);
    guest.ok(&format!(
        "ip tunnel add {DEVICE} mode isatap local {address} ttl 64 && sysctl -qw net.ipv6.conf.all.forwarding=1 && \
         ip link set {DEVICE} up && ip address add {router}/64 dev {DEVICE}"
    ));
    advertise(guest, advertisement);
}

/// Starts radvd; [`Node::stop`] with `radvd` ends it.
pub fn advertise(guest: &Guest, advertisement: &Advertisement) {
    let configuration = guest.file("radvd.conf", &advertisement.radvd_configuration());
    guest.start("radvd", &format!("radvd -n -m stderr -p /run/radvd.pid -C {configuration}"));
}

/// Has the running radvd say something else from now on.
pub fn advertise_otherwise(guest: &Guest, advertisement: &Advertisement) {
    let before = guest.log("radvd").len();
    guest.file("radvd.conf", &advertisement.radvd_configuration());
    guest.signal("radvd", "HUP");
    wait_until("radvd to read its file", PATIENCE, || {
        guest.log("radvd").get(before..).is_some_and(|log| log.contains("resuming normal operation"))
    });
}

/// Makes a guest an ISATAP host that knows one router. The kernel sends no solicitation itself: see [`solicit`].
pub fn kernel_host(guest: &Guest, address: &str, router: &str) {
    guest.ok(&format!(
        "ip tunnel add {DEVICE} mode isatap local {address} ttl 64 && ip tunnel prl dev {DEVICE} prl-default {router} && \
         sysctl -qw net.ipv6.conf.{DEVICE}.accept_ra=1 net.ipv6.conf.{DEVICE}.accept_ra_rt_info_max_plen=64 && \
         ip link set {DEVICE} up"
    ));
}

/// Makes a kernel host solicit until it is answered; what rdisc6 says of the answer. A
/// guest can miss the first packet on its tap.
#[track_caller]
pub fn solicit(guest: &Guest, router: Ipv6Addr) -> String {
    solicit_by(guest, DEVICE, &router.to_string())
}

/// The same by another device or to another destination (`ff02::2`).
#[track_caller]
pub fn solicit_by(guest: &Guest, device: &str, destination: &str) -> String {
    wait_for(&format!("an advertisement from {destination}"), PATIENCE, || {
        let output = guest.run(&format!("rdisc6 -1 -r 2 -w 2000 {destination} {device}"));
        output.success().then_some(output.text)
    })
}

/// Gives a guest a second tunnel to one machine, by which it can send what an ISATAP device of
/// the kernel's refuses to: multicast, and inner sources that embed somebody else's address.
pub fn point_to_point(guest: &Guest, local: &str, remote: &str, inner: Ipv6Addr) {
    guest.ok(&format!(
        "ip tunnel add p2p mode sit local {local} remote {remote} ttl 64 && \
         sysctl -qw net.ipv6.conf.p2p.addr_gen_mode=1 && ip link set p2p up && ip address add {inner}/64 dev p2p"
    ));
}

/// Waits until `ip` says that a device has an address.
#[track_caller]
pub fn wait_for_address(node: &dyn Node, device: &str, address: Ipv6Addr) {
    wait_until(&format!("{address} on {device} of {}", node.name()), PATIENCE, || {
        node.succeeds(&format!("ip -6 address show dev {device} | grep -qF ' {address}/'"))
    });
}

/// Waits until `ip` shows a route that begins like this, or until it no longer does.
#[track_caller]
pub fn wait_for_route(node: &dyn Node, route: &str, present: bool, limit: Duration) {
    wait_until(&format!("route '{route}' on {}: {present}", node.name()), limit, || {
        // By the exit status of grep alone, a command that failed would pass for an absent route.
        let routes = node.ok("ip -6 route show");
        routes.lines().any(|line| line.starts_with(route)) == present
    });
}

/// Makes what an IPv4 router carries between two subnets (`10.0.0.0/24 dev eth0`) less than
/// both think; it says so to whoever sends more.
pub fn narrow(router: &dyn Node, subnets: [&str; 2], mtu: u32) {
    router.ok("sysctl -qw net.ipv4.ip_forward_use_pmtu=1");
    for subnet in subnets {
        router.ok(&format!("ip route replace {subnet} mtu lock {mtu}"));
    }
}

/// Waits until a node, by sending what is longer, has learned an IPv6 path MTU.
#[track_caller]
pub fn wait_for_path_mtu(node: &dyn Node, address: &str, mtu: u32) {
    wait_until(&format!("path MTU {mtu} from {} to {address}", node.name()), PATIENCE, || {
        node.run(&format!("ping -6 -n -c 1 -W 1 -s 1432 {address}"));
        node.succeeds(&format!("ip -6 route get {address} | grep -q 'mtu {mtu}'"))
    });
}

/// One answer within two seconds. Requests go on until it comes, since the first may be lost.
const ONE_ANSWER: &str = "ping -6 -n -c 1 -w 2 -i 0.5";

/// Waits until a node answers echo requests of another; both may have to find routers first.
#[track_caller]
pub fn ping(from: &dyn Node, target: &str) {
    let command = format!("{ONE_ANSWER} {target}");
    wait_until(&format!("{} reaches {target}", from.name()), PATIENCE, || from.succeeds(&command));
}

/// Packets that need every byte of the path MTU, and packets that are fragmented.
#[track_caller]
pub fn ping_sizes(from: &dyn Node, target: &str, mtu: usize) {
    for size in [0, 1280 - 48, mtu - 48, 4000] {
        let command = format!("{ONE_ANSWER} -s {size} {target}");
        wait_until(&format!("{} reaches {target} with {size} bytes", from.name()), PATIENCE, || {
            from.succeeds(&command)
        });
    }
}

/// A page by HTTP.
#[track_caller]
pub fn http(client: &dyn Node, server: &dyn Node, address: Ipv6Addr) {
    let text = format!("page of {} for {}", server.name(), client.name());
    serve(server, &text);
    assert_eq!(client.ok(&format!("curl -sS --retry 3 --retry-all-errors -m 20 http://[{address}]/")), text);
}

/// A page of `size` bytes by HTTP: many packets as long as the path carries.
#[track_caller]
pub fn download(client: &dyn Node, server: &dyn Node, address: Ipv6Addr, size: usize) {
    serve(server, &"x".repeat(size));
    let command =
        format!("curl -sS --retry 3 --retry-all-errors -m 25 -o /dev/null -w '%{{size_download}}' http://[{address}]/");
    assert_eq!(client.ok(&command), size.to_string());
}

/// Serves a page from now on, in place of the one before: the server stays until its node ends.
fn serve(server: &dyn Node, text: &str) {
    let page = server.file("page", &format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
    if server.shared().join("http.log").exists() {
        return;
    }
    let answer = server.file("answer", &format!("read -r line; cat {page}\n"));
    server.start("http", &format!("socat TCP6-LISTEN:80,fork,reuseaddr EXEC:\"sh {answer}\""));
    wait_until("an HTTP server", PATIENCE, || server.succeeds("ss -ltn | grep -q :80"));
}

/// Bits per second of a TCP stream of a second: to the server, and back from it.
#[track_caller]
pub fn iperf3(client: &dyn Node, server: &dyn Node, address: Ipv6Addr) -> [f64; 2] {
    // A server for each stream: who has just served one may still be busy with its end, and refuses the next.
    let rates = [(5201, ""), (5202, "-R")].map(|(port, direction)| {
        server.start("iperf3", &format!("iperf3 -s -6 -1 -p {port}"));
        wait_until("an iperf3 server", PATIENCE, || server.succeeds(&format!("ss -ltn | grep -q :{port}")));
        let rate = "jq -e '.end.sum_received.bits_per_second // error(.error)'";
        let command = format!("iperf3 -6 -c {address} -p {port} -t 1 -J {direction} | {rate}");
        let output = client.run(&format!("set -o pipefail; {command}"));
        assert!(output.success(), "{output:#?}");
        output.text.trim().parse::<f64>().unwrap()
    });
    eprintln!("{} to {}: {rates:.0?} bit/s there and back", client.name(), server.name());
    rates
}

/// Makes a namespace's host solicit the routers of its LAN; what rdisc6 says of the answer.
#[track_caller]
pub fn solicit_router(host: &dyn Node, device: &str) -> String {
    wait_for(&format!("an advertisement on {device} of {}", host.name()), PATIENCE, || {
        let output = host.run(&format!("rdisc6 -1 -r 3 -w 5000 {device}"));
        output.success().then_some(output.text)
    })
}

//! What is measured: ways from one namespace to the other, one line each.

use std::env;
use std::net::Ipv6Addr;
use std::path::Path;

use crate::Result;
use crate::lab::{A, B, Pair, Running};

/// The variants, in the order of the table. Another mode of the daemon is another line: its
/// option behind the commands of both ends.
pub const VARIANTS: &[Variant] = &[
    Variant { name: "veth, no tunnel", setup: Setup::Veth },
    Variant { name: REFERENCE, setup: Setup::Vxlan },
    Variant { name: "naive forwarder", setup: Setup::Naive { queues: 1 } },
    Variant { name: "naive, two queues", setup: Setup::Naive { queues: 2 } },
    ours("configured", &[TUNNEL_A], &[TUNNEL_B], "fd00::2"),
    by_kernel("configured, kernel", &[TUNNEL_A], &[TUNNEL_B], "fd00::2"),
    ours("ISATAP", &[HOST], &[ROUTER], "2001:db8:0:7:200:5efe:836b:2"),
    by_kernel("ISATAP, kernel", &[HOST], &[ROUTER], "2001:db8:0:7:200:5efe:836b:2"),
    ours("6to4", &["6to4 --local A"], &["6to4 --local B"], "2002:836b:2::836b:2"),
    by_kernel("6to4, kernel", &["6to4 --local A"], &["6to4 --local B"], "2002:836b:2::836b:2"),
    ours("6rd", &[EDGE], &[BORDER_RELAY], "2001:db8:6b00:200::1"),
    by_kernel("6rd, kernel", &[EDGE], &[BORDER_RELAY], "2001:db8:6b00:200::1"),
    ours("Teredo", &["teredo client --server 131.107.0.3"], &TEREDO_B, "2001:4860:1::1"),
    by_kernel("Teredo, kernel", &["teredo client --server 131.107.0.3"], &TEREDO_B, "2001:4860:1::1"),
];

/// Whose figures the others are divided by.
pub const REFERENCE: &str = "kernel vxlan";

const TUNNEL_A: &str = "tunnel --local A --remote B --address fd00::1/64";
const TUNNEL_B: &str = "tunnel --local B --remote A --address fd00::2/64";
const HOST: &str = "host --local A --router B";
const ROUTER: &str = "router --local B --prefix 2001:db8:0:7::/64";
const EDGE: &str = "6rd --prefix 2001:db8::/32 --v4-mask-len 8 --local A --br B";
const BORDER_RELAY: &str = "6rd --role br --prefix 2001:db8::/32 --v4-mask-len 8 --local B";
/// Server and relay. The server has two addresses; what it and the relay stand before has one of
/// no tunnel.
const TEREDO_B: [&str; 5] = [
    "ip address add 131.107.0.3/24 dev veth0",
    "ip address add 131.107.0.4/24 dev veth0",
    "ip address add 2001:4860:1::1/128 dev lo",
    "teredo server --primary 131.107.0.3 --dev server",
    "teredo relay --local B --dev relay",
];

/// One way, one row of the table.
pub struct Variant {
    /// As the table calls it.
    pub name: &'static str,
    /// How it is made.
    pub setup: Setup,
}

/// How a way is made.
pub enum Setup {
    /// IPv6 on the wire itself.
    Veth,
    /// The kernel's own tunnel.
    Vxlan,
    /// [`naive`](crate::naive) at both ends, with so many queues and threads for what goes out.
    Naive { queues: u8 },
    /// `isatap` with these arguments in each namespace, or a command `ip …`; `A` and `B` stand for
    /// the two IPv4 addresses. Those of `b` come first. `to`: the address that is sent to. `kernel_path`: who
    /// carries packets, as a mode of the daemon.
    Ours { a: Commands, b: Commands, to: &'static str, kernel_path: &'static str },
}

type Commands = &'static [&'static str];

/// The daemon carries all packets.
const fn ours(name: &'static str, a: Commands, b: Commands, to: &'static str) -> Variant {
    Variant { name, setup: Setup::Ours { a, b, to, kernel_path: "off" } }
}

/// The kernel carries those of flows that are known.
const fn by_kernel(name: &'static str, a: Commands, b: Commands, to: &'static str) -> Variant {
    Variant { name, setup: Setup::Ours { a, b, to, kernel_path: "require" } }
}

/// A way while it is there.
pub struct Made {
    /// B's address on it.
    pub to: Ipv6Addr,
    _running: Vec<Running>,
}

impl Variant {
    /// Makes the way, and waits until packets cross it.
    pub fn make(&self, pair: &Pair, binary: &Path) -> Result<Made> {
        let mut running = Vec::new();
        let to = match &self.setup {
            Setup::Veth => {
                addresses(pair, "veth0")?;
                "fd00::2"
            }
            Setup::Vxlan => {
                for (namespace, local, remote) in [(&pair.a, A, B), (&pair.b, B, A)] {
                    let ends = format!("local {local} remote {remote} dstport 4789 dev veth0");
                    namespace.run(&format!("ip link add vxlan0 type vxlan id 1 {ends}"))?;
                }
                addresses(pair, "vxlan0")?;
                "fd00::2"
            }
            Setup::Naive { queues } => {
                let program = env::current_exe()?;
                for (namespace, local, remote) in [(&pair.a, A, B), (&pair.b, B, A)] {
                    let mut forwarder =
                        namespace.start(&program, &format!("naive naive0 {local} {remote} {queues}"))?;
                    forwarder.wait_until(|| namespace.run("ip link set naive0 mtu 1480").is_ok())?;
                    running.push(forwarder);
                }
                addresses(pair, "naive0")?;
                "fd00::2"
            }
            Setup::Ours { a, b, to, kernel_path } => {
                let commands =
                    b.iter().map(|command| (&pair.b, command)).chain(a.iter().map(|command| (&pair.a, command)));
                for (namespace, command) in commands {
                    let words = command.split(' ').map(|word| match word {
                        "A" => A,
                        "B" => B,
                        word => word,
                    });
                    let command = words.collect::<Vec<_>>().join(" ");
                    if command.starts_with("ip ") {
                        namespace.run(&command)?;
                        continue;
                    }
                    let mut daemon = namespace.start(binary, &format!("{command} --kernel-path {kernel_path}"))?;
                    daemon.wait_up()?;
                    running.push(daemon);
                }
                *to
            }
        };
        let ping = format!("ping -6 -n -q -c 1 -W 1 {to}");
        match running.last_mut() {
            Some(last) => last.wait_until(|| pair.a.run(&ping).is_ok())?,
            // Devices of the kernel's take a moment as well.
            None => drop((0..30).find(|_| pair.a.run(&ping).is_ok())),
        }
        Ok(Made { to: to.parse()?, _running: running })
    }
}

/// Gives a device its addresses at both ends, and sets it up.
fn addresses(pair: &Pair, device: &str) -> Result<()> {
    for (namespace, last) in [(&pair.a, 1), (&pair.b, 2)] {
        namespace.run(&format!("ip link set {device} up"))?;
        namespace.run(&format!("ip address add fd00::{last}/64 dev {device} nodad"))?;
    }
    Ok(())
}

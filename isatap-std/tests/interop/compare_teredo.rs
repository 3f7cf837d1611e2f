//! What a packet through a relay costs, miredo's beside ours, in the same namespaces one after
//! the other. It prints a table and judges nothing: the machine decides. Run it with
//!
//! ```text
//! cargo test --release -p isatap-std --features cli --test compare_teredo -- --ignored --nocapture
//! ```
//!
//! Processor time is that of the relay's processes, by the kernel's account in ticks of 10 ms:
//! what it does in system calls is theirs, the network of the namespace beyond the relay
//! included, which is the same for both. Packets are counted where they cross IPv4. On a busy
//! machine of 2 cores, Linux 6.18, best of 3, µs a packet:
//!
//! | load | miredo 1.2.6 | ours | without `UDP_SEGMENT` | and without super-packets of the TUN |
//! |---|---|---|---|---|
//! | UDP to the client, 1200 bytes | 5.52 | 5.32 | 5.52 | 5.76 |
//! | TCP to the client | 5.23 | 5.15 | 5.49 | 6.12 |
//! | TCP from the client | 6.37 | 3.81 | 4.06 | 4.43 |
//!
//! Both are used, since both measure better where there is bulk. So is `UDP_GRO` since then: in `benches/netns.rs`'s
//! set-up one TCP stream went from 0.49 to 0.94 times what the kernel's vxlan carries.

use crate::common::teredo::{Internet, NATIVE, RELAY, miredo, our_client, start_our_relay};
use crate::common::{Lab, Namespace, Node, PATIENCE, peers, wait_until};
use std::fs;
use std::time::Duration;

const SECONDS: u32 = 4;
/// Each load of each relay so often, in turns: the cheapest counts, since what else the machine
/// does only adds.
const ROUNDS: usize = 3;

/// User and system time in µs, and packets so far.
#[derive(Clone, Copy, Debug)]
struct Account {
    user: u64,
    system: u64,
    packets: u64,
}

fn account(relay: &Namespace) -> Account {
    let mut account = Account { user: 0, system: 0, packets: 0 };
    for pid in relay.pids() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may have spaces: field 3 on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
        account.user += ticks(11) * 10_000;
        account.system += ticks(12) * 10_000;
    }
    let counters = relay.ok("cat /sys/class/net/eth0/statistics/[rt]x_packets");
    account.packets = counters.lines().map(|line| line.trim().parse::<u64>().unwrap()).sum();
    account
}

/// What one load has cost.
#[derive(Clone, Debug)]
struct Row {
    rate: f64,
    packets: u64,
    user: f64,
    system: f64,
}

impl Row {
    fn total(&self) -> f64 {
        self.user + self.system
    }
}

fn measure(relay: &Namespace, load: impl FnOnce() -> f64) -> Row {
    let before = account(relay);
    let rate = load();
    let after = account(relay);
    let packets = (after.packets - before.packets).max(1);
    let each = |now: u64, then: u64| (now - then) as f64 / packets as f64;
    Row { rate, packets, user: each(after.user, before.user), system: each(after.system, before.system) }
}

/// Mbit/s.
fn iperf3(client: &Namespace, address: &str, options: &str) -> f64 {
    let limit = Duration::from_secs(SECONDS.into()) + PATIENCE;
    let command = format!(
        "set -o pipefail; iperf3 -6 -c {address} -t {SECONDS} -J {options} | jq -e '.end.sum_received.bits_per_second // .end.sum.bits_per_second'"
    );
    let output = client.run_for(limit, &command);
    assert!(output.success(), "{output:#?}");
    output.text.trim().parse::<f64>().unwrap() / 1e6
}

/// Three loads through one relay.
fn round(name: &str) -> [Row; 3] {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let server = internet.miredo_server();
    let (relay, native) = internet.relay(&server);
    let client = internet.host("client", 7);
    let mut daemon = None;
    if name == "miredo" {
        miredo(&relay, &format!("RelayType relay\nBindAddress {RELAY}"));
    } else {
        daemon = Some(start_our_relay(&relay, ""));
    }
    peers::wait_for_route(&relay, "2001::/32 ", true, PATIENCE);
    let (_client, address) = our_client(&client, "");
    let address = address.to_string();
    peers::ping(&native, &address);
    for namespace in [&client, &native] {
        namespace.start("iperf3", "iperf3 -s -6");
        wait_until("an iperf3 server", PATIENCE, || namespace.succeeds("ss -ltn | grep -q :5201"));
    }
    let rows = [
        measure(&relay, || iperf3(&native, &address, "-u -b 100M -l 1200")),
        measure(&relay, || iperf3(&native, &address, "")),
        measure(&relay, || iperf3(&client, NATIVE, "")),
    ];
    drop(daemon);
    rows
}

const LOADS: [&str; 3] = ["UDP to the client, 1200 bytes", "TCP to the client", "TCP from the client"];

#[test]
#[ignore = "prints a table; see the module"]
fn relays_by_processor_time_a_packet() {
    let names = ["miredo", "ours"];
    let mut best: Vec<Vec<Option<Row>>> = vec![vec![None; LOADS.len()]; names.len()];
    for _ in 0..ROUNDS {
        for (name, best) in names.into_iter().zip(&mut best) {
            for (row, best) in round(name).into_iter().zip(best) {
                if best.as_ref().is_none_or(|best| row.total() < best.total()) {
                    *best = Some(row);
                }
            }
        }
    }
    println!("| relay | load | Mbit/s | packets | user µs | system µs | µs a packet |");
    println!("|---|---|---|---|---|---|---|");
    for (name, rows) in names.into_iter().zip(best) {
        for (what, row) in LOADS.into_iter().zip(rows.into_iter().flatten()) {
            let Row { rate, packets, user, system } = &row;
            println!("| {name} | {what} | {rate:.0} | {packets} | {user:.2} | {system:.2} | {:.2} |", row.total());
        }
    }
}

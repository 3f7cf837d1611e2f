//! The port proxy beside socat and HAProxy, in one namespace and in turns. It prints a table and
//! judges nothing: the machine decides. Run it with
//!
//! ```text
//! cargo test --release -p isatap-std --features cli --test interop compare_portproxy -- --ignored --nocapture
//! ```
//!
//! Clients speak IPv4, the target IPv6, all over the loopback device. Rates are the median of some
//! rounds, in each of which every proxy has its turn, so that what else the machine does meets all.
//! Processor time is that of the proxy's processes, system calls included.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap_binary, wait_until};

const ROUNDS: usize = 5;
const SECONDS: Duration = Duration::from_secs(2);
const PIECE: usize = 256 * 1024;
const IDLE: usize = 10_000;
const CLIENTS: usize = 4;

const BULK_TARGET: u16 = 7001;
const ECHO_TARGET: u16 = 7002;
const HOLD_TARGET: u16 = 7003;

/// A proxy: its name, how it is started with the ports to listen at and to connect to, and how many
/// idle connections it is asked for.
struct Proxy {
    name: &'static str,
    idle: usize,
    start: fn(&Namespace, u16, u16) -> Daemon,
}

const PROXIES: [Proxy; 5] = [
    Proxy { name: "isatap portproxy", idle: IDLE, start: ours },
    Proxy { name: "HAProxy", idle: IDLE, start: |node, from, to| haproxy(node, from, to, "") },
    Proxy {
        name: "HAProxy, splice",
        idle: IDLE,
        start: |node, from, to| haproxy(node, from, to, " option splice-auto\n"),
    },
    Proxy { name: "socat", idle: 500, start: |node, from, to| socat(node, from, to, "-b8192") },
    Proxy { name: "socat -b 65536", idle: 500, start: |node, from, to| socat(node, from, to, "-b65536") },
];

fn ours(node: &Namespace, from: u16, to: u16) -> Daemon {
    let rule = format!(
        "portproxy --listen 127.0.0.1:{from} --connect [::1]:{to} --max-connections 20000 --max-per-source 20000"
    );
    Daemon::start(node, &format!("ours-{from}"), isatap_binary(), &rule.split(' ').collect::<Vec<_>>())
}

/// Connections that a process can have both ends of, by its limit of open files.
fn most() -> usize {
    let (limit, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    (usize::try_from(limit).unwrap_or(usize::MAX) - 200) / 2
}

fn haproxy(node: &Namespace, from: u16, to: u16, more: &str) -> Daemon {
    let most = IDLE.min(most());
    let text = format!(
        "global\n maxconn {most}\n maxpipes 50\ndefaults\n mode tcp\n maxconn {most}\n timeout client 1h\n timeout server 1h\n timeout connect 20s\n{more}\
         listen one\n bind 127.0.0.1:{from}\n server there [::1]:{to}\n"
    );
    let file = node.file(&format!("haproxy-{from}.cfg"), &text);
    Daemon::start(node, &format!("haproxy-{from}"), "haproxy", &["-db", "-f", &file])
}

fn socat(node: &Namespace, from: u16, to: u16, block: &str) -> Daemon {
    let (listen, connect) = (format!("TCP4-LISTEN:{from},fork,reuseaddr,backlog=4096"), format!("TCP6:[::1]:{to}"));
    Daemon::start(node, &format!("socat-{from}"), "socat", &[block, &listen, &connect])
}

/// Processor time of a process, its threads and its children, in ns; those that ended count for their parent.
fn processor(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // User and system time, and those of children that were waited for, in ticks of 10 ms.
    let ticks: u64 = (11..15).filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum();
    ticks * 10_000_000 + children(pid).into_iter().map(processor).sum::<u64>()
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Memory of a process and its children that nobody shares, in KiB.
fn memory(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let own = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or_default();
    own + children(pid).into_iter().map(memory).sum::<u64>()
}

/// Takes what comes, answers each connection's first bytes, or holds connections: those that it returns.
fn targets(node: &Namespace) -> Arc<Mutex<Vec<TcpStream>>> {
    let listen = |port: u16| node.inside(|| TcpListener::bind(("::1", port)).unwrap());
    let (bulk, echo, hold) = (listen(BULK_TARGET), listen(ECHO_TARGET), listen(HOLD_TARGET));
    thread::spawn(move || {
        for mut stream in bulk.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = vec![0; PIECE];
                // The first byte asks for data to send, or says that data comes.
                let mut kind = [0];
                let _ = stream.read_exact(&mut kind);
                while if kind == *b"<" {
                    stream.write_all(&buffer).is_ok()
                } else {
                    stream.read(&mut buffer).is_ok_and(|count| count > 0)
                } {}
            });
        }
    });
    thread::spawn(move || {
        for mut stream in echo.incoming().flatten() {
            let mut buffer = [0; 64];
            if let Ok(count) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..count]);
            }
        }
    });
    let held = Arc::new(Mutex::new(Vec::new()));
    let holder = held.clone();
    thread::spawn(move || hold.incoming().flatten().for_each(|stream| holder.lock().unwrap().push(stream)));
    held
}

/// Bytes a second through one connection, to the target (`>`) or from it (`<`).
fn bulk(node: &Namespace, port: u16, kind: u8) -> f64 {
    let mut stream = connect(node, port);
    stream.write_all(&[kind]).unwrap();
    let mut buffer = vec![0; PIECE];
    let (begin, mut bytes) = (Instant::now(), 0);
    while begin.elapsed() < SECONDS {
        bytes += if kind == b'<' { stream.read(&mut buffer).unwrap() } else { stream.write(&buffer).unwrap() };
    }
    bytes as f64 / begin.elapsed().as_secs_f64()
}

fn connect(node: &Namespace, port: u16) -> TcpStream {
    node.inside(|| TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// Connections a second: each asks, and waits for the answer and the end.
fn connections(node: &Namespace, port: u16) -> f64 {
    let (ends, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (ends, count) = (ends.clone(), count.clone());
            scope.spawn(move || {
                node.inside(|| {
                    while !ends.load(Ordering::Relaxed) {
                        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                        stream.write_all(b"question").unwrap();
                        let mut answer = Vec::new();
                        stream.read_to_end(&mut answer).unwrap();
                        assert_eq!(answer, b"question");
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        thread::sleep(SECONDS);
        ends.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

#[derive(Default)]
struct Row {
    rates: [Vec<f64>; 3],
    /// ns of processor time a MB, a MB, a connection.
    costs: [Vec<f64>; 3],
    idle_kib: f64,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[test]
#[ignore = "prints a table; see the module"]
fn port_proxies_by_bytes_connections_and_memory() {
    let lab = Lab::new();
    let node = lab.namespace("node");
    node.ok("sysctl -qw net.ipv4.ip_local_port_range='10000 65000' net.core.somaxconn=8192");
    let held_by_target = targets(&node);
    let mut daemons = Vec::new();
    for (at, proxy) in PROXIES.iter().enumerate() {
        let base = 8000 + 10 * at as u16;
        for (port, target) in [(base, BULK_TARGET), (base + 1, ECHO_TARGET), (base + 2, HOLD_TARGET)] {
            let daemon = (proxy.start)(&node, port, target);
            wait_until(proxy.name, PATIENCE, || node.succeeds(&format!("ss -Hltn 'sport = :{port}' | grep -q {port}")));
            daemons.push(daemon);
        }
    }
    let mut rows: Vec<Row> = PROXIES.iter().map(|_| Row::default()).collect();
    for round in 0..ROUNDS {
        for turn in 0..PROXIES.len() {
            // Another one is the first each time.
            let at = (turn + round) % PROXIES.len();
            let base = 8000 + 10 * at as u16;
            for (load, kind) in [b'>', b'<', b'c'].into_iter().enumerate() {
                let daemon = &daemons[3 * at + usize::from(kind == b'c')];
                let (before, begin) = (processor(daemon.id()), Instant::now());
                let rate = if kind == b'c' { connections(&node, base + 1) } else { bulk(&node, base, kind) };
                let spent = (processor(daemon.id()) - before) as f64;
                let done = rate * begin.elapsed().as_secs_f64() / if kind == b'c' { 1.0 } else { 1e6 };
                rows[at].rates[load].push(rate);
                rows[at].costs[load].push(spent / done);
            }
        }
    }
    for (at, proxy) in PROXIES.iter().enumerate() {
        let daemon = &daemons[3 * at + 2];
        let before = memory(daemon.id());
        let (port, idle) = (8000 + 10 * at as u16 + 2, proxy.idle.min(most()));
        let held: Vec<TcpStream> = node.inside(|| {
            (0..idle)
                .map(|_| {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    stream.write_all(b"something, and then nothing").unwrap();
                    stream
                })
                .collect()
        });
        thread::sleep(Duration::from_secs(1));
        rows[at].idle_kib = (memory(daemon.id()) - before) as f64 / idle as f64;
        drop(held);
        held_by_target.lock().unwrap().clear();
    }
    let best = |load: usize| {
        let others = rows.iter().skip(1).map(|row| median(&row.rates[load]));
        others.fold(0.0, f64::max)
    };
    println!(
        "| proxy | to the target, MB/s | from it | connections/s | µs of processor a MB to | from | a connection | idle, KiB each |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (proxy, row) in PROXIES.iter().zip(&rows) {
        let [to, from, each] = [0, 1, 2].map(|load| median(&row.rates[load]));
        let costs = [0, 1, 2].map(|load| median(&row.costs[load]) / 1e3);
        println!(
            "| {} | {:.0} | {:.0} | {each:.0} | {:.0} | {:.0} | {:.0} | {:.2} ({}) |",
            proxy.name,
            to / 1e6,
            from / 1e6,
            costs[0],
            costs[1],
            costs[2],
            row.idle_kib,
            proxy.idle.min(most())
        );
    }
    let ratio = |load: usize| median(&rows[0].rates[load]) / best(load);
    println!("ours by the best other: {:.2} to, {:.2} from, {:.2} connections", ratio(0), ratio(1), ratio(2));
}

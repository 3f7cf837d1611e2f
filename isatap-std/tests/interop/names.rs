//! Names beyond the DNS: LLMNR with systemd-resolved, NetBIOS with Samba's nmbd, and answers
//! that are forged.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::names::{Forger, LLMNR, NETBIOS, llmnr_answer, netbios_answer, nmbd, nmblookup, resolved};
use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{
    Daemon, Lab, Namespace, Node, PATIENCE, Stopwatch, Wire, isatap, isatap_binary, status, wait_until,
};

const ROUTER: [u8; 4] = [10, 0, 0, 1];

/// A machine at 10.0.0.N/24.
fn machine(lab: &Lab, wire: &Wire<'_>, name: &str, last: u8) -> Namespace {
    let machine = lab.namespace(name);
    wire.join(&machine, "eth0", &format!("10.0.0.{last}/24"));
    machine.etc("resolv.conf", "# no DNS\n");
    machine
}

/// The same with our router on it.
fn router(lab: &Lab, wire: &Wire<'_>) -> (Namespace, Daemon) {
    let router = machine(lab, wire, "router", 1);
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let daemon = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64"));
    (router, daemon)
}

/// Where the only entry of the list of potential routers comes from.
fn source(host: &Namespace) -> String {
    host.run(&format!("{} status -j | jq -r '.prl[0] | .address + \" by \" + .source'", isatap_binary())).text
}

fn wait_for_source(host: &Namespace, expected: &str) {
    wait_until(&format!("a router by {expected}, not {}", source(host)), PATIENCE, || source(host).trim() == expected);
}

fn wait_for_address(host: &Namespace) {
    peers::wait_for_address(host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_20_nam_21_nam_24_systemd_resolved_answers_for_the_router() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (router, _router) = router(&lab, &wire);
    resolved(&router, "isatap");
    let host = machine(&lab, &wire, "host", 2);
    let capture = wire.capture("udp port 5355");
    let daemon = Daemon::isatap(&host, "host --resolve-by hosts,dns,llmnr --prl-refresh-interval 3");
    wait_for_source(&host, "10.0.0.1 by llmnr isatap from 10.0.0.1 on eth0");
    wait_for_address(&host);
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    assert!(status(&host, ".names.steps | map(.step) | . == [\"hosts\", \"llmnr\"]"));
    // Until it knows that the name is its own, its answers are tentative.
    let refused = ".names.refused | keys - [\"tentative\"] == []";
    assert!(status(&host, refused), "{}", isatap(&host, "status -j").text);
    assert!(isatap(&host, "doctor").text.contains("by llmnr isatap from 10.0.0.1 on eth0"));

    // NAM-24: nothing is remembered: the link is asked again at each refresh, before the TTL of 30 s ends.
    let of_host = "ip.src == 10.0.0.2 && dns.flags.response == 0";
    let asked = || capture.so_far().count(of_host);
    let before = asked();
    wait_until("the question again", PATIENCE, || asked() > before);
    let fields = ["ip.dst", "ip.ttl", "udp.dstport", "dns.count.queries", "dns.qry.name", "dns.qry.type", "dns.flags"];
    for question in capture.so_far().fields(of_host, &fields) {
        assert_eq!(question, ["224.0.0.252", "255", "5355", "1", "isatap", "1", "0x0000"]);
    }
    capture.so_far().assert_clean();
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_31_nam_32_nam_34_nmbd_answers_by_broadcast_and_as_wins_server() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (router, _router) = router(&lab, &wire);
    let host = machine(&lab, &wire, "host", 2);

    // WINS: a machine of another name, which has the router's in its database.
    let server = machine(&lab, &wire, "server", 53);
    let database = server.directory().join("samba");
    std::fs::create_dir_all(&database).unwrap();
    std::fs::write(database.join("wins.dat"), "VERSION 1 0\n\"ISATAP#00\" 0 10.0.0.1 66R\n").unwrap();
    nmbd(&server, "SERVER", "wins support = yes");
    let capture = wire.capture("udp port 137");
    let daemon =
        Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by wins,broadcast --wins 10.0.0.99 --wins 10.0.0.53");
    // The first server is not there: nobody answers its address.
    wait_for_source(&host, "10.0.0.1 by wins 10.0.0.53");
    wait_for_address(&host);
    let to_server = "ip.src == 10.0.0.2 && ip.dst == 10.0.0.53";
    assert_eq!(capture.so_far().fields(to_server, &["nbns.flags", "nbns.count.queries"]), [["0x0100", "1"]]);
    assert!(daemon.terminate(PATIENCE).success());

    // Broadcast: the router's own machine has the name.
    nmbd(&router, "ISATAP", "");
    wait_until("nmbd to have the name", PATIENCE, || nmblookup(&host, "ISATAP") == [Ipv4Addr::from(ROUTER)]);
    let daemon =
        Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by broadcast,netbios-cache --prl-refresh-interval 4");
    wait_for_source(&host, "10.0.0.1 by netbios broadcast on eth0");
    wait_for_address(&host);
    let by_broadcast = "ip.src == 10.0.0.2 && ip.dst == 10.0.0.255";
    let fields = capture.so_far().fields(by_broadcast, &["nbns.flags", "nbns.name"]);
    assert!(!fields.is_empty() && fields.iter().all(|field| field[0] == "0x0110"), "{fields:?}");
    // NAM-34: what is known is not asked for again.
    let asked = capture.so_far().count(by_broadcast);
    wait_for_source(&host, "10.0.0.1 by netbios cache");
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(capture.so_far().count(by_broadcast), asked);
    capture.so_far().assert_clean();

    // lmhosts: a file that only this daemon knows, which gives up all other files.
    let lmhosts = host.file("lmhosts", "10.0.0.1 isatap #PRE\n");
    let _daemon = Daemon::isatap(&host, &format!("host --resolve-by netbios-cache --lmhosts {lmhosts}"));
    wait_for_source(&host, "10.0.0.1 by netbios cache");
    wait_for_address(&host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_23_nam_33_forged_answers_are_refused_and_counted() {
    let lab = Lab::new();
    let wire = lab.wire();
    let host = machine(&lab, &wire, "host", 2);
    host.ok("ip route add 192.0.2.0/24 dev eth0");
    // On the same wire, in another subnet.
    let stranger = lab.namespace("stranger");
    wire.join(&stranger, "eth0", "192.0.2.66/24");
    stranger.ok("ip route add 10.0.0.0/24 dev eth0");
    let evil = [10, 0, 0, 66];
    let _stranger = Forger::udp(&stranger, [192, 0, 2, 66].into(), LLMNR, move |query| {
        vec![(llmnr_answer(query, 0x8000, &[evil]), true)]
    });
    let neighbor = machine(&lab, &wire, "neighbor", 66);
    let is_honest = Arc::new(AtomicUsize::new(0));
    let honest = is_honest.clone();
    let _neighbor = Forger::udp(&neighbor, evil.into(), LLMNR, move |query| {
        let sound = llmnr_answer(query, 0x8000, &[evil]);
        let mut other_id = sound.clone();
        other_id[0] ^= 1;
        let mut answers = vec![
            (other_id, true),
            (sound.clone(), false),
            (llmnr_answer(query, 0x8100, &[evil]), true),
            (llmnr_answer(query, 0x8003, &[]), true),
            (llmnr_answer(query, 0x8000, &[]), true),
            (query.to_vec(), true),
        ];
        if honest.load(Ordering::Relaxed) > 0 {
            answers.push((sound, true));
        }
        answers
    });
    let names = machine(&lab, &wire, "names", 67);
    let _names = Forger::udp(&names, [10, 0, 0, 67].into(), NETBIOS, move |query| {
        let mut other_id = netbios_answer(query, 0x8500, 60, &[(0, evil)]);
        other_id[1] ^= 1;
        vec![
            (other_id, true),
            (netbios_answer(query, 0x8500, 60, &[(0x8000, evil)]), true),
            (netbios_answer(query, 0x8500, 60, &[(0, evil)]), false),
        ]
    });
    let mut daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by llmnr,broadcast");
    daemon.wait_for_line("no router yet", PATIENCE);
    let refused = |filter: &str| status(&host, &format!(".names.refused | {filter}"));
    // Three questions by LLMNR, and three broadcasts.
    wait_until("forged answers to be counted", PATIENCE, || refused(".\"off-link\" >= 3"));
    assert!(
        refused(".\"wrong-id\" >= 6 and .\"wrong-port\" >= 6 and .tentative >= 3"),
        "{}",
        isatap(&host, "status -j").text
    );
    assert!(refused(".\"error-code\" >= 3 and .\"no-address\" >= 3 and .malformed >= 3 and .group >= 3"));
    assert!(status(&host, ".prl == []"));
    let doctor = isatap(&host, "doctor").text;
    assert!(doctor.contains("llmnr says of isatap") && doctor.contains("off-link"), "{doctor}");

    // The same machine with a sound answer among the others is believed: nothing is authenticated.
    is_honest.store(1, Ordering::Relaxed);
    daemon.signal("HUP");
    wait_for_source(&host, "10.0.0.66 by llmnr isatap from 10.0.0.66 on eth0");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_23_answers_that_contradict_each_other_are_told_to_the_link_once() {
    let lab = Lab::new();
    let wire = lab.wire();
    let host = machine(&lab, &wire, "host", 2);
    let capture = wire.capture("udp port 5355");
    let shared = Arc::new(AtomicUsize::new(0));
    let mut forgers = Vec::new();
    for last in [1, 4] {
        let node = machine(&lab, &wire, &format!("r{last}"), last);
        let shared = shared.clone();
        let forger = Forger::udp(&node, [10, 0, 0, last].into(), LLMNR, move |query| {
            // Nobody answers to a conflict.
            if query[2] & 4 != 0 {
                return Vec::new();
            }
            let flags = if shared.load(Ordering::Relaxed) > 0 { 0x8400 } else { 0x8000 };
            vec![(llmnr_answer(query, flags, &[[10, 0, 0, last]]), true)]
        });
        forgers.push((node, forger));
    }
    let mut daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by llmnr --prl-refresh-interval 2");
    wait_until("the conflict", PATIENCE, || status(&host, ".names.refused.conflicting >= 1"));
    assert!(status(&host, ".prl | length == 1"));
    let told = || capture.so_far().fields("dns.flags.conflict == 1", &["ip.src", "dns.count.add_rr", "dns.a"]);
    wait_until("the conflict to be told", PATIENCE, || !told().is_empty());
    // Who is first may be another each time; the conflict is the same, and one line for people.
    let conflict = "the name isatap is contested on eth0, by llmnr: 10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4; the \
                    first to answer is used";
    daemon.wait_for_line(conflict, PATIENCE);
    wait_until("it to be looked up again", PATIENCE, || status(&host, ".names.refused.conflicting >= 3"));
    assert_eq!(daemon.output().matches("contested").count(), 1, "{}", daemon.output());
    assert!(status(&host, ".names.steps[0].conflict | map(.by) == [\"10.0.0.1\", \"10.0.0.4\"]"));
    assert!(isatap(&host, "doctor").text.contains("isatap by llmnr: 10.0.0.1 says 10.0.0.1; 10.0.0.4 says"));
    // Once for each question.
    let times = told().len();
    let asked = capture.so_far().count("ip.src == 10.0.0.2 && dns.flags.conflict == 0");
    assert!(times <= asked, "{asked} {:?}", told());
    assert_eq!((told()[0][0].as_str(), told()[0][1].as_str()), ("10.0.0.2", "2"));
    assert!(told()[0][2].contains("10.0.0.1") && told()[0][2].contains("10.0.0.4"));
    assert!(daemon.terminate(PATIENCE).success());

    // NAM-23: where it is asked for, a contested name is none.
    let options = "host --local 10.0.0.2 --resolve-by llmnr --refuse-conflicts";
    let mut daemon = Daemon::isatap(&host, options);
    daemon.wait_for_line("none is used", PATIENCE);
    daemon.wait_for_line("machines of one link contradict each other about the name", PATIENCE);
    assert!(status(&host, ".prl == [] and .names.steps[0].addresses == []"));
    assert!(isatap(&host, "doctor").text.contains("or leave out refuse-conflicts"));
    assert!(daemon.terminate(PATIENCE).success());

    // A name that both mean to share: both are routers, and nothing contradicts.
    shared.store(1, Ordering::Relaxed);
    let _daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by llmnr");
    wait_until("both routers", PATIENCE, || {
        status(&host, ".prl | map(.address) | sort == [\"10.0.0.1\", \"10.0.0.4\"]")
    });
    assert!(status(&host, ".names.refused == {}"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_20_nam_61_an_answer_that_is_cut_is_fetched_by_tcp() {
    let lab = Lab::new();
    let wire = lab.wire();
    let host = machine(&lab, &wire, "host", 2);
    let router = machine(&lab, &wire, "router", 1);
    let capture = wire.capture("port 5355");
    let _udp = Forger::udp(&router, ROUTER.into(), LLMNR, |query| {
        vec![(llmnr_answer(query, 0x8200, &[[10, 0, 0, 66]]), true)]
    });
    // Longer than an Ethernet frame: 100 addresses, of which the list has room for some.
    let all: Vec<[u8; 4]> = (100..200).map(|last| [10, 0, 0, last]).collect();
    let whole = all.clone();
    let _tcp = Forger::tcp(&router, LLMNR, move |query| llmnr_answer(query, 0x8000, &whole));
    let _daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by llmnr");
    wait_for_source(&host, "10.0.0.100 by llmnr isatap from 10.0.0.1 on eth0");
    assert!(status(&host, ".names.steps[0].addresses | length == 100"));
    // A connection that is over is the kernel's, and has its TTL.
    let ours = "ip.src == 10.0.0.2 && tcp && (tcp.flags.syn == 1 || tcp.len > 0)";
    let ours = capture.so_far().fields(ours, &["ip.ttl"]);
    assert!(!ours.is_empty() && ours.iter().all(|ttl| ttl[0] == "1"), "{ours:?}");

    // NAM-61: 9,194 bytes by UDP as well, in fragments.
    drop(_udp);
    drop(_tcp);
    let most = (9194 - 12 - 12) / 16;
    let many: Vec<[u8; 4]> = (0..most).map(|at: u16| [10, 1, at.to_be_bytes()[0], at.to_be_bytes()[1] | 1]).collect();
    let _udp =
        Forger::udp(&router, ROUTER.into(), LLMNR, move |query| vec![(llmnr_answer(query, 0x8000, &many), true)]);
    drop(_daemon);
    let _daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by llmnr");
    wait_until("a long answer", PATIENCE, || status(&host, &format!(".names.steps[0].addresses | length == {most}")));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_62_a_wins_server_asks_to_wait_or_sends_to_another_one() {
    let lab = Lab::new();
    let wire = lab.wire();
    let host = machine(&lab, &wire, "host", 2);
    let first = machine(&lab, &wire, "first", 53);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let _first = Forger::udp(&first, [10, 0, 0, 53].into(), NETBIOS, move |query| {
        count.fetch_add(1, Ordering::Relaxed);
        // "ns" has the name: an NS record for it, and the A record of "ns".
        let mut redirect = query[..2].to_vec();
        redirect.extend([0x81, 0x00, 0, 0, 0, 0, 0, 1, 0, 1]);
        redirect.extend(&query[12..12 + 34]);
        redirect.extend([0, 2, 0, 1, 0, 0, 0, 0, 0, 4, 2, b'n', b's', 0]);
        redirect.extend([2, b'n', b's', 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, 0, 54]);
        vec![(redirect, true)]
    });
    let second = machine(&lab, &wire, "second", 54);
    let _second = Forger::udp(&second, [10, 0, 0, 54].into(), NETBIOS, |query| {
        let mut wait = netbios_answer(query, 0xbc00, 6, &[]);
        let length = wait.len() - 2;
        wait[length..].copy_from_slice(&[0, 2]);
        wait.extend([0x01, 0x00]);
        vec![(wait, true), (netbios_answer(query, 0x8580, 600, &[(0x6000, ROUTER)]), true)]
    });
    let _daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --resolve-by wins --wins 10.0.0.53");
    wait_for_source(&host, "10.0.0.1 by wins 10.0.0.54");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(status(&host, ".names.refused == {}"));
}

/// Only "name error" says that there is no such name; a server with another error is none to believe.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_32_a_wins_server_with_an_error_is_passed_over_and_no_router_is_lost() {
    let lab = Lab::new();
    let wire = lab.wire();
    let host = machine(&lab, &wire, "host", 2);
    let [broken, sound] = [("broken", 53), ("sound", 54)].map(|(name, last)| machine(&lab, &wire, name, last));
    let error = |query: &[u8]| vec![(netbios_answer(query, 0x8502, 0, &[]), true)];
    let _broken = Forger::udp(&broken, [10, 0, 0, 53].into(), NETBIOS, error);
    let has_error = Arc::new(AtomicUsize::new(0));
    let errs = has_error.clone();
    let _sound = Forger::udp(&sound, [10, 0, 0, 54].into(), NETBIOS, move |query| match errs.load(Ordering::Relaxed) {
        0 => vec![(netbios_answer(query, 0x8580, 600, &[(0x6000, ROUTER)]), true)],
        _ => error(query),
    });
    let servers = "--wins 10.0.0.53 --wins 10.0.0.54";
    let _daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 --resolve-by wins {servers}"));
    wait_for_source(&host, "10.0.0.1 by wins 10.0.0.54");
    // ISA-24: the list stays while no server can tell.
    has_error.store(1, Ordering::Relaxed);
    assert!(isatap(&host, "solicit isatap0").success());
    let failed = ".names.steps[0].failure | strings | test(\"answered with an error\")";
    wait_until("a failed question", PATIENCE, || status(&host, failed));
    assert!(source(&host).starts_with("10.0.0.1 by "), "{}", source(&host));
}

/// A server that keeps silent is waited for on a thread: 15 seconds, in which the loop goes on.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_22_nam_31_a_lookup_holds_neither_the_loop_nor_the_end() {
    let lab = Lab::new();
    let wire = lab.wire();
    let host = machine(&lab, &wire, "host", 2);
    let silent = machine(&lab, &wire, "silent", 53);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let _silent = Forger::udp(&silent, [10, 0, 0, 53].into(), NETBIOS, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    });
    let file = host
        .file("isatap.toml", "[[isatap-host]]\nlocal = \"10.0.0.2\"\nresolve-by = [\"wins\"]\nwins = \"10.0.0.53\"\n");
    let run = || {
        let before = heard.load(Ordering::Relaxed);
        let mut daemon = Daemon::isatap(&host, &format!("run {file}"));
        wait_until("the question", PATIENCE, || heard.load(Ordering::Relaxed) > before);
        assert!(daemon.is_running());
        daemon
    };
    let mut daemon = run();
    let started = Stopwatch::start();
    assert!(status(&host, ".prl == []"));
    assert!(started.elapsed() < Duration::from_secs(2), "status took {:?}", started.elapsed());
    // A reload while the thread waits: another list, and the old question is nobody's.
    let started = Stopwatch::start();
    host.file("isatap.toml", "[[isatap-host]]\nlocal = \"10.0.0.2\"\nrouter = \"10.0.0.1\"\n");
    daemon.signal("HUP");
    daemon.wait_for_line("changed isatap0", Duration::from_secs(3));
    assert!(started.elapsed() < Duration::from_secs(3), "the reload took {:?}", started.elapsed());
    assert!(daemon.terminate(Duration::from_secs(1)).success());

    host.file("isatap.toml", "[[isatap-host]]\nlocal = \"10.0.0.2\"\nresolve-by = [\"wins\"]\nwins = \"10.0.0.53\"\n");
    let daemon = run();
    assert!(daemon.terminate(Duration::from_secs(1)).success());
    assert!(!host.succeeds("ip link show dev isatap0"));
    // NAM-31: three questions, five seconds apart, and no more of one daemon.
    assert!(heard.load(Ordering::Relaxed) <= 3 + 3);
}

/// A server of the DNS at 10.0.0.N that knows one router, for a day.
fn dns(lab: &Lab, wire: &Wire<'_>, last: u8, router: &str) -> (Namespace, Daemon) {
    let server = machine(lab, wire, &format!("dns{last}"), last);
    let name = format!("/isatap.example.test/{router}");
    let daemon = Daemon::start(
        &server,
        "dnsmasq",
        "dnsmasq",
        &[
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
            "--address",
            &name,
            "--local-ttl=86400",
        ],
    );
    wait_until("dnsmasq", PATIENCE, || server.succeeds("ss -Huan 'sport = :53' | grep -q ."));
    (server, daemon)
}

/// The refresh interval is an hour, so nothing but the file can bring the other router in time.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_6_another_resolver_configuration_starts_a_refresh() {
    let lab = Lab::new();
    let wire = lab.wire();
    let _servers = [(53, "10.0.0.1"), (54, "10.0.0.4")].map(|(last, router)| dns(&lab, &wire, last, router));
    let host = machine(&lab, &wire, "host", 2);
    let by = |last: u8| format!("nameserver 10.0.0.{last}\nsearch example.test\n");
    let router = |address: &str| format!(".prl | map(.address) == [\"{address}\"]");
    let wait_for_router = |address: &str| {
        wait_until(&format!("the router {address}"), PATIENCE, || status(&host, &router(address)));
    };

    // Mounted over /etc/resolv.conf, as in a container, and written in place.
    host.etc("resolv.conf", &by(53));
    let mut daemon = Daemon::isatap(&host, "host --local 10.0.0.2");
    wait_for_router("10.0.0.1");
    host.etc("resolv.conf", &by(54));
    wait_for_router("10.0.0.4");
    // The same text again is no news, and neither is a server that nobody answers at: what is known stays.
    let before = daemon.output().matches("potential routers").count();
    host.etc("resolv.conf", &by(54));
    host.etc("resolv.conf", &by(99));
    daemon.wait_for_line("no potential router by name", PATIENCE);
    assert!(status(&host, &router("10.0.0.4")));
    assert_eq!(daemon.output().matches("potential routers").count(), before);
    assert!(daemon.terminate(PATIENCE).success());

    // A link into another folder, as of systemd-resolved, whose file is replaced; then a file in place of the link.
    let etc = host.directory().join("etc");
    let stub = host.directory().join("stub");
    [&etc, &stub].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
    let put = |folder: &std::path::Path, name: &str, text: &str| {
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
    };
    put(&stub, "resolv.conf", &by(53));
    std::os::unix::fs::symlink(stub.join("resolv.conf"), etc.join("resolv.conf")).unwrap();
    let mounted =
        format!("mount --bind {} /etc; exec {} host --local 10.0.0.2 --verbose", etc.display(), isatap_binary());
    let mut daemon = Daemon::start(&host, "linked", "bash", &["-c", &mounted]);
    daemon.wait_for_line(" up: ", PATIENCE);
    wait_for_router("10.0.0.1");
    put(&stub, "resolv.conf", &by(54));
    wait_for_router("10.0.0.4");
    put(&etc, "resolv.conf", &by(53));
    wait_for_router("10.0.0.1");
    assert!(daemon.terminate(PATIENCE).success());
}

//! What the tool does around Teredo: several roles in one process, secrets, port mappings,
//! and the doctor before clients that do not work.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::common::teredo::{
    Home, Internet, NATIVE, Nat, PORT, SERVER, download, miredo_client, our_client, start, start_our_server,
    teredo_address,
};
use crate::common::{
    Daemon, Lab, Namespace, Node, PATIENCE, Stopwatch, isatap, isatap_binary, peers, status, wait_for, wait_until,
};
use serde_json::Value;

const SECRET: &str = "laptop-7 0x8f3c62aa10b94d27ce5517e06b8bd041\n";
const OTHER_SECRET: &str = "laptop-7 0x00000000000000000000000000000000\n";

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn one_file_makes_an_isatap_router_a_teredo_server_and_a_teredo_relay_of_one_process() {
    let lab = Lab::new();
    let (internet, intranet, native) = (Internet::new(&lab), lab.wire(), lab.wire());
    let server = internet.server();
    intranet.join(&server, "eth1", "10.0.0.1/24");
    native.join(&server, "eth6", "2001:db8:1::1/64");
    let host = lab.namespace("host");
    native.join(&host, "eth0", &format!("{NATIVE}/64"));
    host.ok("ip -6 route add default via 2001:db8:1::1");
    let site = lab.namespace("site");
    intranet.join(&site, "eth0", "10.0.0.2/24");
    let [a, b] = [1, 2].map(|number| internet.home(number, Nat::PortRestricted));

    let text = format!(
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\ndefault = \"always\"\n\n\
         [[teredo-server]]\ndev = \"tserver\"\nprimary = \"{SERVER}\"\n\n\
         [[teredo-relay]]\ndev = \"trelay\"\nlocal = \"{SERVER}\"\nport = 41000\n"
    );
    let file = server.file("node.toml", &text);
    let told = server.shared().join("notify");
    let socket = UnixDatagram::bind(&told).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // What is said of the state comes between.
    let mut states = Vec::new();
    let mut told_line = || loop {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
        match line.strip_prefix("STATUS=") {
            Some(state) => states.push(state.to_owned()),
            None => return (line, states.clone()),
        }
    };
    let notify = format!("NOTIFY_SOCKET={}", told.display());
    let mut daemon = Daemon::start(&server, "run", "env", &[&notify, isatap_binary(), "run", &file, "--verbose"]);
    let (ready, states) = told_line();
    assert_eq!(ready, "READY=1");
    assert!(states.iter().any(|state| state.starts_with("trelay up: fe80::")), "{states:?}");
    daemon.wait_for_line("tserver up: fe80::8000:f227:", PATIENCE);
    assert!(isatap(&server, "status -j tserver").text.contains(r#""role":"teredo-server""#));
    assert!(isatap(&server, "status -j trelay").text.contains(r#""role":"teredo-relay""#));

    // miredo behind one NAT, ours behind the other, an ISATAP host, and a native one.
    let theirs = miredo_client(&a.client);
    let (_client, ours) = our_client(&b.client, "");
    let _site = Daemon::isatap(&site, "host --local 10.0.0.2 --router 10.0.0.1");
    peers::ping(&b.client, NATIVE);
    peers::ping(&host, &theirs.to_string());
    peers::ping(&b.client, &theirs.to_string());
    peers::ping(&site, NATIVE);
    peers::ping(&site, &ours.to_string());
    download(&b.client, &host, NATIVE.parse().unwrap());
    for (device, steps) in [("tserver", 4), ("trelay", 5)] {
        let output = isatap(&server, &format!("doctor -j {device}"));
        assert_eq!((output.status, output.text.lines().count()), (0, steps), "{output:#?}");
    }

    // A mistake changes nothing; a relay that goes disturbs neither the server nor ISATAP.
    server.file("node.toml", &text.replace("41000", "\"x\""));
    daemon.signal("HUP");
    daemon.wait_for_line("node.toml:13:8: x: a port is a number of 0 to 65535", PATIENCE);
    let process = status_pid(&server, "tserver");
    server.file("node.toml", text.split("[[teredo-relay]]").next().unwrap());
    daemon.signal("HUP");
    wait_until("the relay to go", PATIENCE, || !server.succeeds("ip link show dev trelay"));
    assert_eq!(status_pid(&server, "tserver"), process);
    peers::ping(&a.client, &ours.to_string());
    peers::ping(&site, NATIVE);
    assert!(!daemon.output()[daemon.output().find("node.toml:13").unwrap()..].contains("tserver up"));
    assert!(daemon.terminate(PATIENCE).success());
    for device in ["tserver", "isatap0"] {
        assert!(!server.succeeds(&format!("ip link show dev {device}")));
    }
}

/// The answer about the name comes when nothing else wakes the process: what it makes due has
/// to.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_teredo_client_with_a_named_server_starts_beside_a_tunnel_of_the_same_process() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let a = internet.home(1, Nat::PortRestricted);
    a.client.etc("hosts", &format!("127.0.0.1 localhost\n{SERVER} teredo.example.net\n"));
    let text = format!(
        "[[tunnel]]\nlocal = \"192.168.1.2\"\nremote = \"192.168.1.1\"\n\n\
         [[teredo-client]]\nserver = \"teredo.example.net.\"\nbind = \":{PORT}\"\n"
    );
    let file = a.client.file("node.toml", &text);
    let mut daemon = Daemon::isatap(&a.client, &format!("run {file}"));
    daemon.wait_for_line("teredo up: 2001:0:c633:6401:", PATIENCE);
    let told = isatap(&a.client, "status -j teredo").text;
    assert!(told.contains(r#""state":"qualified""#), "{told}");
    assert!(daemon.terminate(PATIENCE).success());
}

/// The process behind a device, and the device's index: the same while it was not made anew.
fn status_pid(namespace: &Namespace, device: &str) -> String {
    namespace.ok(&format!("ip -o link show dev {device} | cut -d: -f1"))
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_34_our_server_answers_clients_with_a_secret_and_no_others() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let server = internet.server();
    let a = internet.home(1, Nat::PortRestricted);
    let secrets = server.file("secrets", &format!("# all of them\n{SECRET}gateway correct horse battery staple\n"));
    let refused = server.run(&format!("{} teredo server --primary {SERVER} --secret-file {secrets}", isatap_binary()));
    assert_eq!(refused.status, 1, "{refused:#?}");
    assert!(refused.text.contains(&format!("everybody may read the file; chmod 640 {secrets}")), "{refused:#?}");
    server.ok(&format!("chmod 640 {secrets}"));
    let _server = start(&server, "server", &format!("--primary {SERVER} --secret-file {secrets}"));

    let file = |name: &str, text: &str| {
        let path = a.client.file(name, text);
        a.client.ok(&format!("chmod 600 {path}"));
        path
    };
    let (right, wrong) = (file("right", SECRET), file("wrong", OTHER_SECRET));
    // Who has none or another one is not answered, and the server says why.
    let (none, other) = std::thread::scope(|scope| {
        let none = scope.spawn(|| isatap(&a.client, &format!("teredo qualify --json {SERVER}")));
        let other = isatap(&a.client, &format!("teredo qualify --json --secret-file {wrong} {SERVER}"));
        (none.join().unwrap(), other)
    });
    for refused in [none, other] {
        assert_eq!(refused.status, 3, "{refused:#?}");
        assert!(refused.text.contains("server-silent"), "{refused:#?}");
    }
    assert!(status(&server, r#".counters["teredo-authentication"] >= 2"#));
    let doctor = isatap(&server, "doctor -j");
    assert!(
        doctor.success() && doctor.text.contains("without a known secret are refused from 203.0.113.1"),
        "{doctor:#?}"
    );

    let _client = our_client(&a.client, &format!("--secret-file {right}"));
    assert!(status(&a.client, r#".teredo.client_id == "laptop-7" and .teredo.state == "qualified""#));
}

/// In place of ours a server that is asked for verification and does not know how: miredo's
/// repeats the identifier, and has no value to show.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_34_our_client_believes_no_server_without_its_secret() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let a = internet.home(1, Nat::PortRestricted);
    let secret = a.client.file("secret", SECRET);
    a.client.ok(&format!("chmod 600 {secret}"));
    let seen = isatap(&a.client, &format!("teredo qualify --json --secret-file {secret} {SERVER}"));
    assert_eq!(seen.status, 3, "{seen:#?}");
    assert!(seen.text.contains("authentication-failed"), "{seen:#?}");
    let options = format!("teredo client --server {SERVER} --bind :{PORT} --secret-file {secret}");
    let options: Vec<&str> = options.split(' ').collect();
    let _client = Daemon::start(&a.client, "client", isatap_binary(), &options);
    let fix = fix_of(&a.client, "answered", "198.51.100.1 answers, and not with the secret of laptop-7");
    assert!(fix.contains("--secret-file"), "{fix}");
}

/// A NAT that opens ports when it is asked to; symmetric otherwise.
fn mapping_home<'l>(internet: &Internet<'l>, number: u8, protocols: &str) -> Home<'l> {
    let home = internet.home(number, Nat::Symmetric);
    // miniupnpd opens nothing at a documentation address: of all wires, this one is cut off
    // from where 203.0.112/24 lives.
    home.nat.ok(&format!(
        "ip address flush dev eth0 && ip address add 203.0.112.{number}/24 dev eth0 && ip route add 198.51.100.0/24 dev eth0"
    ));
    home.nat.ok("nft delete table ip filter && nft delete table ip nat");
    let rules = home.nat.file(
        "upnp.nft",
        "table inet miniupnpd {
            chain forward { type filter hook forward priority 0; jump opened
            }
            chain opened {
            }
            chain input { type filter hook input priority 0; iifname eth0 meta l4proto udp drop
            }
            chain in { type nat hook prerouting priority -100; iifname eth0 jump mapped
            }
            chain mapped {
            }
            chain out { type nat hook postrouting priority 100; oifname eth0 masquerade random,fully-random
            }
            chain unused {
            }
        }\n",
    );
    home.nat.ok(&format!("nft -f {rules}"));
    let configuration = home.nat.file(
        "miniupnpd.conf",
        &format!(
            "ext_ifname=eth0\nlistening_ip=eth1\n{protocols}\nsecure_mode=yes\nhttp_port=5000\n\
             uuid=00000000-0000-0000-0000-00000000000{number}\n\
             upnp_table_name=miniupnpd\nupnp_nat_table_name=miniupnpd\nupnp_forward_chain=opened\n\
             upnp_nat_chain=mapped\nupnp_nat_postrouting_chain=unused\n\
             allow 1024-65535 192.168.{number}.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
        ),
    );
    let pid = home.nat.directory().join("miniupnpd.pid");
    home.nat.start("miniupnpd", &format!("miniupnpd -d -f {configuration} -P {}", pid.display()));
    let pcp = if protocols.contains("natpmp=yes") { " && ss -lun | grep -q :5351" } else { "" };
    wait_until("miniupnpd", PATIENCE, || home.nat.succeeds(&format!("ss -lun | grep -q :1900{pcp}")));
    home
}

/// Whether the NAT has an opening for the client.
fn is_mapped(home: &Home<'_>) -> bool {
    home.nat.ok("nft list chain inet miniupnpd mapped").contains(&format!("dport {PORT}"))
}

/// TER-105: SU. Without mappings two such NATs never let each other in.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_72_ter_105_port_mappings_connect_clients_behind_symmetric_nats() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (server, _daemon) = internet.our_server();
    server.ok("ip route add 203.0.112.0/24 dev eth0");
    let [a, b] = [1, 2].map(|number| mapping_home(&internet, number, "enable_natpmp=yes\nenable_upnp=yes"));
    let options = |how: &str| format!("--server {SERVER} --bind :{PORT} --port-mapping {how}");
    let pcp = start(&a.client, "client", &options("pcp"));
    let upnp = start(&b.client, "client", &options("upnp"));
    let (of_a, of_b) = (teredo_address(&a.client), teredo_address(&b.client));
    assert!(is_mapped(&a) && is_mapped(&b));
    for (home, by) in [(&a, "PCP"), (&b, "UPnP")] {
        assert!(
            status(&home.client, &format!(".teredo.nat == \"symmetric\" and .teredo.port_mapping.by == \"{by}\"")),
            "{}",
            isatap(&home.client, "status").text
        );
    }
    peers::ping(&a.client, &of_b.to_string());
    peers::ping(&b.client, &of_a.to_string());
    download(&a.client, &b.client, of_b);

    // The control: the same NATs, and nobody asks them for anything.
    assert!(pcp.terminate(PATIENCE).success() && upnp.terminate(PATIENCE).success());
    wait_until("the openings to go", PATIENCE, || !is_mapped(&a) && !is_mapped(&b));
    let (_a, _) = our_client(&a.client, "");
    let (_b, unreached) = our_client(&b.client, "");
    let lost = a.client.run(&format!("ping -6 -n -c 1 -W 12 {unreached}"));
    assert!(!lost.success(), "{lost:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_72_what_a_killed_client_left_is_taken_back_and_a_silent_gateway_is_no_harm() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (server, _daemon) = internet.our_server();
    server.ok("ip route add 203.0.112.0/24 dev eth0");
    let a = mapping_home(&internet, 1, "enable_natpmp=no\nenable_upnp=yes");
    // PCP is off there: UPnP is what is left.
    let (client, _) = our_client(&a.client, "--port-mapping auto");
    assert!(is_mapped(&a));
    client.kill();
    assert!(is_mapped(&a));
    let kept = a.client.ok("cat $ISATAP_STATE_DIR/*.port-mapping");
    assert!(kept.starts_with("192.168.1.1:5000") && kept.ends_with(&format!(":{PORT} 203.0.112.1\n")), "{kept}");
    // As a restart of the machine leaves it; the mapping is for ever.
    a.client.ok("rm -r $ISATAP_RUNTIME_DIR");
    let other = start(&a.client, "client", &format!("--server {SERVER} --bind :40002 --port-mapping auto"));
    teredo_address(&a.client);
    assert!(!is_mapped(&a), "{}", a.nat.ok("nft list ruleset"));
    assert!(other.terminate(PATIENCE).success());

    a.nat.stop("miniupnpd");
    let _client = our_client(&a.client, "--port-mapping auto");
    assert!(status(&a.client, r#".teredo.port_mapping.failure | contains("UPnP")"#));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn bogons_make_a_teredo_internet_of_private_addresses() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [server, a, b] = ["server", "a", "b"].map(|name| lab.namespace(name));
    for (namespace, last) in [(&server, 1), (&a, 3), (&b, 4)] {
        wire.join(namespace, "eth0", &format!("10.9.0.{last}/24"));
    }
    server.ok("ip address add 10.9.0.2/24 dev eth0");
    let refused = isatap(&server, "teredo server --primary 10.9.0.1");
    assert_eq!(refused.status, 1, "{refused:#?}");
    assert!(refused.text.contains("--accept-bogons"), "{refused:#?}");
    let _server = start(&server, "server", "--primary 10.9.0.1 --accept-bogons");
    let options = format!("--server 10.9.0.1 --bind :{PORT} --accept-bogons");
    let (_a, _b) = (start(&a, "client", &options), start(&b, "client", &options));
    let (_, address) = (teredo_address(&a), teredo_address(&b));
    peers::ping(&a, &address.to_string());
}

// --- the doctor --------------------------------------------------------------

/// What the doctor says: one object a step.
#[track_caller]
fn findings(namespace: &Namespace) -> (i32, String, Vec<Value>) {
    // Standard output alone, and every line of it: what a busy machine has it say on standard
    // error is for people.
    let output = isatap(namespace, "doctor -j 2>/dev/null");
    assert!(matches!(output.status, 0 | 3), "{output:#?}");
    let findings = output.text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    (output.status, output.text, findings)
}

/// Waits until the doctor finds that this step fails for this cause; the fix.
#[track_caller]
fn fix_of(namespace: &Namespace, step: &str, cause: &str) -> String {
    let begin = Stopwatch::start();
    loop {
        let (_, text, findings) = findings(namespace);
        let failed = findings.iter().find(|finding| finding["ok"] == false);
        let fits = |failed: &&Value| failed["step"] == step && failed["cause"].as_str().unwrap().contains(cause);
        if let Some(failed) = failed.filter(fits) {
            return failed["fix"].as_str().unwrap().to_owned();
        }
        assert!(begin.elapsed() < Duration::from_secs(40), "{step}, {cause}: the doctor says\n{text}");
    }
}

/// Waits until the doctor has nothing to say against a client; what it sees.
#[track_caller]
fn content(namespace: &Namespace) -> Vec<Value> {
    let mut last = String::new();
    let limit = Duration::from_secs(60);
    let begin = Stopwatch::start();
    while begin.elapsed() < limit {
        let (status, text, findings) = findings(namespace);
        if status == 0 {
            return findings;
        }
        last = text;
    }
    panic!("the doctor is not content:\n{last}")
}

/// A client that asks again soon, up or not.
fn client(namespace: &Namespace, options: &str) -> Daemon {
    let arguments = format!("teredo client --bind :{PORT} --retry-interval 4 {options}");
    let arguments: Vec<_> = arguments.split(' ').collect();
    Daemon::start(namespace, "client", isatap_binary(), &arguments)
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_doctor_tells_a_silent_server_a_host_without_one_and_a_filter_apart() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let a = internet.home(1, Nat::PortRestricted);
    let fix = fix_of(&a.client, "daemon", "no daemon runs");
    assert!(fix.starts_with("isatap "), "{fix}");
    let daemon = client(&a.client, &format!("--server {SERVER}"));
    let fix = fix_of(&a.client, "answered", "no answer of any kind from 198.51.100.1");
    assert!(fix.contains("--server HOST"), "{fix}");

    let server = internet.server();
    let fix = fix_of(&a.client, "answered", "nobody listens at UDP port 3544");
    assert!(fix.starts_with("start one there: isatap teredo server --primary 198.51.100.1"), "{fix}");
    let _server = start_our_server(&server);
    drop(daemon);
    let daemon = client(&a.client, &format!("--server {SERVER}"));
    let seen = content(&a.client);
    let steps: Vec<&str> = seen.iter().map(|finding| finding["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["name", "socket", "rs-sent", "answered", "nat", "address", "route", "mtu", "peer"]);
    assert!(seen[4]["seen"].as_str().unwrap().contains("restricted: seen as 203.0.113.1:40000"), "{seen:#?}");

    // A filter on the way, in the NAT.
    drop(daemon);
    a.nat.ok("nft 'add table inet filter; add chain inet filter forward { type filter hook forward priority 0; }; \
              add rule inet filter forward udp dport 3544 drop'");
    let daemon = client(&a.client, &format!("--server {SERVER}"));
    let fix = fix_of(&a.client, "answered", "a filter on the way drops it");
    let command = fix.split("NAT included: ").nth(1).unwrap().split(';').next().unwrap();
    a.nat.ok(command);
    drop(daemon);
    let _daemon = client(&a.client, &format!("--server {SERVER}"));
    content(&a.client);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_doctor_names_what_this_machine_itself_forbids() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let a = internet.home(1, Nat::PortRestricted);
    a.client.ok("nft 'add table inet filter; add chain inet filter output { type filter hook output priority 0; }; \
                 add rule inet filter output udp dport 3544 drop'");
    a.client.etc("hosts", "127.0.0.1 localhost\n");
    a.client.etc("resolv.conf", "nameserver 198.51.100.77\noptions timeout:1 attempts:1\n");
    let daemon = client(&a.client, "--server teredo.example.net.");
    let fix = fix_of(&a.client, "name", "teredo.example.net. cannot be looked up");
    assert!(fix.contains("nameserver V4"), "{fix}");
    drop(daemon);
    a.client.etc("hosts", &format!("{SERVER} teredo.example.net\n"));
    let daemon = client(&a.client, "--server teredo.example.net.");
    let fix = fix_of(&a.client, "rs-sent", "a firewall of this machine forbids it");
    a.client.ok(&fix);
    teredo_address(&a.client);

    // Routes and the MTU in other programs.
    a.client.ok("ip -6 route del 2001::/32 dev teredo");
    wait_until("the route to come back", PATIENCE, || a.client.ok("ip -6 route show dev teredo").contains("2001::/32"));
    a.client.ok("ip link set teredo mtu 1400");
    let fix = fix_of(&a.client, "mtu", "teredo has MTU 1400 where the daemon wants 1280");
    a.client.ok(&fix);

    // The port is taken: the second one does not begin, and says who has it.
    let second =
        isatap(&a.client, &format!("teredo client --server {SERVER} --dev other --bind :{PORT} --beside-native"));
    assert_eq!(second.status, 2, "{second:#?}");
    assert!(second.text.contains("(isatap) has this port: end it, or choose another"), "{second:#?}");
    let same = isatap(&a.client, &format!("teredo client --server {SERVER} --beside-native"));
    assert!(same.status != 0 && same.text.contains("teredo"), "{same:#?}");

    // A second client with a device of its own takes packets away.
    let configuration = a.client.file("miredo.conf", &format!("InterfaceName second\nServerAddress {SERVER}\n"));
    let pid = a.client.directory().join("miredo.pid");
    a.client.start("miredo", &format!("miredo -f -c {configuration} -u nobody -p {}", pid.display()));
    let fix = fix_of(&a.client, "address", "a second Teredo client runs on second");
    assert!(fix.starts_with("kill "), "{fix}");
    a.client.ok(&fix);
    content(&a.client);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_doctor_names_a_nat_that_is_not_supported_and_a_second_address_that_is_silent() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let server = lab.namespace("server");
    internet.join(&server, &[SERVER, "198.51.100.5"]);
    let a = internet.home(1, Nat::Symmetric);
    let _server = start(&server, "server", &format!("--primary {SERVER} --secondary 198.51.100.5"));
    let daemon = client(&a.client, &format!("--server {SERVER} --no-symmetric-nat"));
    let fix = fix_of(&a.client, "answered", "198.51.100.1 answers, and its second address 198.51.100.2 does not");
    assert!(fix.contains("--secondary V4"), "{fix}");
    drop(daemon);
    let daemon = client(&a.client, &format!("--server {SERVER} --no-symmetric-nat --secondary 198.51.100.5"));
    let fix = fix_of(&a.client, "nat", "the NAT is symmetric");
    let command = fix.strip_prefix("restart it: isatap teredo client ").unwrap_or_else(|| panic!("{fix}")).to_owned();
    assert!(!command.contains("--no-symmetric-nat"), "{fix}");
    drop(daemon);
    let _daemon = start(&a.client, "client", &command);
    let seen = wait_for("a content doctor", PATIENCE, || Some(content(&a.client)));
    assert!(seen[4]["warning"].as_str().unwrap().contains("--port-mapping auto"), "{seen:#?}");
    // The server's side: an address that is gone, and the kernel that does not forward.
    let fix = fix_of(&server, "route", "the kernel does not forward IPv6");
    server.ok(&fix);
    content(&server);
    server.ok("ip address del 198.51.100.5/24 dev eth0");
    let fix = fix_of(&server, "socket", "no longer has the IPv4 address 198.51.100.5");
    server.ok(&fix.replace("/LEN dev DEV", "/24 dev eth0"));
    content(&server);
}

/// What another program takes from the device of a relay, and the kernel's switch.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_relay_and_a_server_keep_their_devices_and_follow_the_kernels_forwarding() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "198.51.100.1/24");
    ours.ok("ip address add 198.51.100.2/24 dev eth0");
    let run = |name: &str, arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut daemon = Daemon::start(&ours, name, isatap_binary(), &arguments);
        daemon.wait_for_line(" up: ", PATIENCE);
        daemon.wait_for_line("the kernel does not forward IPv6", PATIENCE);
        daemon
    };
    let mut relay = run("relay", "teredo relay --dev trelay --local 198.51.100.1 --accept-bogons --verbose");
    let mut server = run("server", "teredo server --dev tserver --primary 198.51.100.1 --accept-bogons --verbose");
    for (theft, there) in [
        ("ip -6 route del 2001::/32 dev trelay", "ip -6 route show dev trelay | grep -q 2001::/32"),
        ("ip -6 address flush dev trelay", "ip -6 address show dev trelay | grep -q fe80"),
        ("ip link set trelay down && ip link set trelay up", "ip -6 route show dev trelay | grep -q 2001::/32"),
    ] {
        ours.ok(theft);
        wait_until(theft, PATIENCE, || ours.succeeds(there));
    }
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    for daemon in [&mut relay, &mut server] {
        daemon.wait_for_line("the kernel forwards IPv6 now", PATIENCE);
    }
    for device in ["trelay", "tserver"] {
        assert!(ours.succeeds(&format!("{} status -j {device} | jq -e .forwarding", isatap_binary())), "{device}");
    }
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=0");
    wait_until("the warning again", PATIENCE, || relay.output().matches("does not forward IPv6").count() == 2);
}

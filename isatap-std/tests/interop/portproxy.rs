//! The port proxy between real clients and servers: curl, socat, HAProxy, Python's http.server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, names, wait_for, wait_until};

/// Clients on one side, servers on the other, and nothing that routes between: both IP versions.
struct Net {
    client: Namespace,
    proxy: Namespace,
    server: Namespace,
}

const TO_CLIENTS: [&str; 2] = ["192.0.2.1", "[2001:db8:1::1]"];

impl Net {
    fn new(lab: &Lab, [near, far]: [&Wire<'_>; 2]) -> Self {
        let [client, proxy, server] = ["client", "proxy", "server"].map(|name| lab.namespace(name));
        near.join(&client, "eth0", "192.0.2.7/24");
        near.join(&proxy, "eth0", "192.0.2.1/24");
        far.join(&proxy, "eth1", "198.51.100.1/24");
        far.join(&server, "eth0", "198.51.100.9/24");
        client.ok("ip address add 2001:db8:1::7/64 dev eth0");
        proxy.ok("ip address add 2001:db8:1::1/64 dev eth0 && ip address add 2001:db8:2::1/64 dev eth1");
        server.ok("ip address add 2001:db8:2::9/64 dev eth0");
        Self { client, proxy, server }
    }

    /// One rule, as a command.
    fn rule(&self, arguments: &str) -> Daemon {
        static RULES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("rule{}", RULES.fetch_add(1, Ordering::Relaxed));
        let arguments: Vec<&str> = std::iter::once("portproxy").chain(arguments.split(' ')).collect();
        let mut daemon = Daemon::start(&self.proxy, &name, isatap_binary(), &arguments);
        daemon.wait_for_line(" up: ", PATIENCE);
        daemon
    }

    fn connect(&self, to: &str) -> TcpStream {
        connect(&self.client, to).unwrap()
    }

    /// A server of this process.
    fn listen(&self, at: &str) -> TcpListener {
        self.server.inside(|| TcpListener::bind(at).unwrap())
    }
}

fn connect(client: &Namespace, to: &str) -> std::io::Result<TcpStream> {
    let to: SocketAddr = to.parse().unwrap();
    let stream = client.inside(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What a connection answers to some bytes.
fn echo(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// One read. The kernel interrupts one that has a time limit when the process is stopped for a moment,
/// as by whoever looks at it or takes a picture of the machine.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// How a connection ends that has nothing more to say.
fn ending(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    read(stream, &mut [0; 1]).map_err(|error| error.kind())
}

fn is_reset(stream: &mut TcpStream) -> bool {
    matches!(ending(stream), Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

/// Whether it is reset, perhaps before we look at it.
fn is_refused(client: &Namespace, to: &str) -> bool {
    connect(client, to)
        .map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |mut client| is_reset(&mut client))
}

/// Closes it by a reset.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A filter of jq's over the list of rules.
#[track_caller]
fn shows(proxy: &Namespace, filter: &str) -> bool {
    proxy.succeeds(&format!("{} portproxy show -j | jq -es '{filter}'", isatap_binary()))
}

#[track_caller]
fn wait_to_show(proxy: &Namespace, filter: &str) {
    let told = || isatap(proxy, "portproxy show").text;
    let begin = Instant::now();
    while !shows(proxy, filter) {
        assert!(begin.elapsed() < PATIENCE, "{filter}: {}", told());
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a process has written to: its code comes in page by page for a long time.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The four directions and the proxy's own service, in one file; 20 MB of noise come through unchanged.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_11_ppx_1_ppx_3_clients_and_servers_of_either_version_reach_each_other() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    let mut file = String::new();
    // Port 80 in both IP versions. PPX-9
    for (listen, connect) in [
        ("192.0.2.1:80", "[2001:db8:2::9]:8080"),
        ("[2001:db8:1::1]:80", "198.51.100.9:8080"),
        ("192.0.2.1:81", "198.51.100.9:8080"),
        ("[2001:db8:1::1]:81", "[2001:db8:2::9]:8080"),
        ("[::]:8000", "127.0.0.1:8000"),
    ] {
        file += &format!("[[portproxy]]\nlisten = \"{listen}\"\nconnect = \"{connect}\"\n");
    }
    let file = net.proxy.file("rules.toml", &file);
    for (node, bind) in
        [(&net.server, "198.51.100.9 8080"), (&net.server, "2001:db8:2::9 8080"), (&net.proxy, "127.0.0.1 8000")]
    {
        let (address, port) = bind.split_once(' ').unwrap();
        let www = format!("www-{}", address.replace([':', '.'], "-"));
        node.ok(&format!(
            "cd {0} && mkdir {www} && echo {address} >{www}/name && head -c 20000000 /dev/urandom >{www}/noise",
            node.directory().display()
        ));
        let folder = node.directory().join(&www).display().to_string();
        node.start(&www, &format!("python3 -m http.server -b {address} {port} -d {folder}"));
        wait_until("a web server", PATIENCE, || {
            node.succeeds(&format!("ss -Hltn 'sport = :{port}' | grep -qF '{address}'"))
        });
    }
    let mut daemon = Daemon::isatap(&net.proxy, &format!("run {file} --user nobody"));
    daemon.wait_for_line("[::]:8000 is open to everyone", PATIENCE);
    daemon.wait_for_line("[::]:8000 up: v6tov4 to 127.0.0.1:8000", PATIENCE);
    let fetch = |url: &str, file: &str| net.client.ok(&format!("curl -sSg --max-time 20 http://{url}/{file}"));
    for (url, server) in [
        (format!("{}:80", TO_CLIENTS[0]), "2001:db8:2::9"),
        (format!("{}:80", TO_CLIENTS[1]), "198.51.100.9"),
        (format!("{}:81", TO_CLIENTS[0]), "198.51.100.9"),
        (format!("{}:81", TO_CLIENTS[1]), "2001:db8:2::9"),
        (format!("{}:8000", TO_CLIENTS[1]), "127.0.0.1"),
    ] {
        assert_eq!(fetch(&url, "name").trim(), server);
        let node = if server == "127.0.0.1" { &net.proxy } else { &net.server };
        let folder = format!("{}/www-{}", node.directory().display(), server.replace([':', '.'], "-"));
        net.client.ok(&format!("curl -sSg --max-time 20 http://{url}/noise | cmp - {folder}/noise"));
    }
    let directions = "map(.direction) == [\"v4tov6\", \"v6tov4\", \"v4tov4\", \"v6tov6\", \"v6tov4\"]";
    assert!(shows(&net.proxy, directions), "{}", isatap(&net.proxy, "portproxy show").text);
    assert!(shows(&net.proxy, "all(.total == 2 and .bytes_to_client > 20000000 and .bytes_to_target > 100)"));
    wait_to_show(&net.proxy, "all(.connections == 0 and .reset == 0 and .refused == {})");
    assert_eq!(isatap(&net.proxy, "portproxy show v6tov4").text.matches(": portproxy v6tov4 to ").count(), 2);
    assert!(isatap(&net.proxy, "status").text.contains("192.0.2.1:80: portproxy v4tov6 to [2001:db8:2::9]:8080"));
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(net.proxy.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
}

/// The server answers once it has seen the end of the question; a large answer to who has ended.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_7_ends_go_each_way_alone_and_resets_go_both_ways() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.server.start(
        "sums",
        "socat TCP6-LISTEN:9001,reuseaddr,fork SYSTEM:'sha256sum; cat /proc/self/status; head -c 3000000 /dev/zero'",
    );
    wait_until("the server", PATIENCE, || net.server.succeeds("ss -Hltn 'sport = :9001' | grep -q 9001"));
    let daemon = net.rule("--listen 192.0.2.1:9001 --connect [2001:db8:2::9]");
    let _other = net.rule("--listen 192.0.2.1:9002 --connect [2001:db8:2::9]");
    let sent = "head -c 30000000 /dev/urandom >sent; sha256sum <sent; socat -u OPEN:sent STDOUT | socat -t 20 - TCP:192.0.2.1:9001 >answer";
    let sum = net.client.ok(&format!("cd {} && {sent}", net.client.directory().display()));
    let answer = std::fs::read(net.client.shared().join("answer")).unwrap();
    assert!(answer.starts_with(sum.trim().as_bytes()) && answer.len() > 3_000_000, "{sum} {}", answer.len());

    let listener = net.listen("[2001:db8:2::9]:9002");
    // A reset of the client, before and after data.
    for bytes in [0, 100_000] {
        let mut client = net.connect("192.0.2.1:9002");
        let mut server = accept(&listener);
        client.write_all(&vec![7; bytes]).unwrap();
        server.read_exact(&mut vec![0; bytes]).unwrap();
        reset(client);
        assert!(is_reset(&mut server));
    }
    // Of the server, while the client waits.
    let mut client = net.connect("192.0.2.1:9002");
    reset(accept(&listener));
    assert!(is_reset(&mut client));
    // Of the server, after the client's end.
    let mut client = net.connect("192.0.2.1:9002");
    let mut server = accept(&listener);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&mut server), Ok(0));
    reset(server);
    assert!(is_reset(&mut client));
    // What was sent before a reset arrives.
    let mut client = net.connect("192.0.2.1:9002");
    let mut server = accept(&listener);
    server.write_all(b"last words").unwrap();
    let mut words = [0; 10];
    client.read_exact(&mut words).unwrap();
    reset(server);
    assert!(words == *b"last words" && is_reset(&mut client));
    // The server's end first, then the client talks on.
    let mut client = net.connect("192.0.2.1:9002");
    let mut server = accept(&listener);
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&mut client), Ok(0));
    client.write_all(b"still here").unwrap();
    server.read_exact(&mut words).unwrap();
    drop(client);
    assert!(words == *b"still here" && ending(&mut server) == Ok(0));
    // A side that is reset before the proxy has seen the target's answer makes it a refusal.
    wait_to_show(
        &net.proxy,
        "length == 2 and all(.connections == 0) and (map(.reset + ([.refused[]] | add // 0)) | sort) == [0, 5]",
    );
    assert!(daemon.terminate(PATIENCE).success());
}

/// A reader that stops for a while: the proxy keeps no more than the kernel's buffers hold.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_7_a_reader_that_stops_costs_no_memory() {
    const LENGTH: usize = 1 << 30;
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    let listener = net.listen("[2001:db8:2::9]:9000");
    let daemon = net.rule("--listen 192.0.2.1:9000 --connect [2001:db8:2::9]");
    let mut client = net.connect("192.0.2.1:9000");
    let mut server = accept(&listener);
    // So that the measured part begins with everything in use.
    client.write_all(&vec![1; 1 << 20]).unwrap();
    server.read_exact(&mut vec![0; 1 << 20]).unwrap();
    let carried = || {
        let text = isatap(&net.proxy, "portproxy show -j").text;
        text.split("\"bytes_to_target\":").nth(1).unwrap().split(',').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(carried() > 0);
    let before = resident_kib(daemon.id());
    client.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let sender = thread::spawn(move || {
        let piece = vec![2; 1 << 20];
        (0..LENGTH / piece.len()).for_each(|_| client.write_all(&piece).unwrap());
        client
    });
    let mut last = 0;
    wait_until("the sender to be stopped", PATIENCE, || {
        thread::sleep(Duration::from_millis(300));
        let now = carried();
        std::mem::replace(&mut last, now) == now && now > 1 << 20
    });
    let stopped = resident_kib(daemon.id());
    assert!(last < 64 << 20, "{last} bytes were taken");
    assert!(stopped < before + 512, "{before} KiB became {stopped} KiB");
    let mut left = LENGTH;
    let (mut buffer, sent) = (vec![0; 1 << 20], vec![2; 1 << 20]);
    while left > 0 {
        let count = read(&mut server, &mut buffer).unwrap();
        assert!(count > 0 && buffer[..count] == sent[..count]);
        left -= count;
    }
    drop(sender.join().unwrap());
    assert_eq!(ending(&mut server), Ok(0));
    let after = resident_kib(daemon.id());
    assert!(after < before + 512, "{before} KiB became {after} KiB");
    assert_eq!(carried(), (LENGTH + (1 << 20)) as u64);
}

/// A target that refuses, one that nobody has, and one that says nothing.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_6_a_target_that_is_not_there_resets_the_client_within_20_seconds() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    // Somebody takes the packets, and is not there.
    net.proxy.ok("ip -6 neighbour add 2001:db8:2::66 lladdr 02:00:00:00:00:66 dev eth1 nud permanent");
    net.proxy.ok("ip route add unreachable 203.0.113.0/24");
    let _rules = [
        net.rule("--listen 192.0.2.1:1001 --connect [2001:db8:2::66]"),
        net.rule("--listen 192.0.2.1:1002 --connect [2001:db8:2::66] --connect-timeout 1"),
        net.rule("--listen 192.0.2.1:1003 --connect [2001:db8:2::9]"),
        net.rule("--listen 192.0.2.1:1004 --connect 203.0.113.1"),
    ];
    let mut silent = net.connect("192.0.2.1:1001");
    let mut gone = net.connect("192.0.2.1:1001");
    let begin = Instant::now();
    // PPX-6: what is sent meanwhile waits in the kernel.
    silent.write_all(b"hello").unwrap();
    for (port, reason, least) in
        [(1002, "target-timeout", 1), (1003, "target-refused", 0), (1004, "target-unreachable", 0)]
    {
        let begin = Instant::now();
        assert!(is_refused(&net.client, &format!("192.0.2.1:{port}")), "{port}");
        let took = begin.elapsed();
        assert!(took >= Duration::from_secs(least) && took < Duration::from_secs(least + 3), "{port}: {took:?}");
        wait_to_show(&net.proxy, &format!("any(.listen == \"192.0.2.1:{port}\" and .refused == {{\"{reason}\": 1}})"));
    }
    // A client that does not wait for it.
    gone.write_all(b"hello").unwrap();
    reset(gone);
    wait_to_show(
        &net.proxy,
        "any(.listen == \"192.0.2.1:1001\" and .connections == 1 and .refused == {\"client-gone\": 1})",
    );
    let end = ending(&mut silent);
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(18) && took < Duration::from_secs(22), "{took:?}");
    wait_to_show(
        &net.proxy,
        "any(.listen == \"192.0.2.1:1001\" and .bytes_to_target == 0 and .refused[\"target-timeout\"] == 1)",
    );
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_12_connections_are_limited_in_all_for_each_source_and_by_descriptors() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.client.ok("ip address add 192.0.2.8/24 dev eth0 && ip address add 192.0.2.9/24 dev eth0");
    let echo_server = "socat -b 64 TCP6-LISTEN:9000,reuseaddr,fork,backlog=500 EXEC:cat";
    net.server.start("echo", echo_server);
    wait_until("the server", PATIENCE, || net.server.succeeds("ss -Hltn 'sport = :9000' | grep -q 9000"));
    let limited = net.rule("--listen 192.0.2.1:9000 --connect [2001:db8:2::9] --max-connections 3 --max-per-source 2");
    let from = |source: &str, port: u16| {
        let to: SocketAddr = format!("192.0.2.1:{port}").parse().unwrap();
        let stream = net.client.inside(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&format!("{source}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
            socket.connect(&to.into()).unwrap();
            socket
        });
        let stream = TcpStream::from(stream);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut first = from("192.0.2.7", 9000);
    let mut second = from("192.0.2.7", 9000);
    assert!(echo(&mut first, "1") == "1" && echo(&mut second, "2") == "2");
    assert!(is_reset(&mut from("192.0.2.7", 9000)));
    let mut third = from("192.0.2.8", 9000);
    assert_eq!(echo(&mut third, "3"), "3");
    assert!(is_reset(&mut from("192.0.2.9", 9000)));
    wait_to_show(&net.proxy, "all(.connections == 3 and .refused == {\"too-many\": 1, \"too-many-of-source\": 1})");
    // The place of one that ends is free.
    drop(first);
    wait_to_show(&net.proxy, "all(.connections == 2)");
    assert_eq!(echo(&mut from("192.0.2.9", 9000), "4"), "4");
    drop(limited);

    // Too few descriptors: who cannot be served is told so, nothing spins, and it works again afterwards.
    let arguments = [
        "--nofile=64:64",
        isatap_binary(),
        "portproxy",
        "--listen",
        "192.0.2.1:9001",
        "--connect",
        "[2001:db8:2::9]:9000",
    ];
    let mut few = Daemon::start(&net.proxy, "few", "prlimit", &arguments);
    few.wait_for_line("2176 open files are needed", PATIENCE);
    few.wait_for_line(" up: ", PATIENCE);
    // One that is reset before it looks has no connection to begin with.
    let attempts = (0..100).map(|_| connect(&net.client, "192.0.2.1:9001"));
    let mut clients: Vec<TcpStream> = attempts
        .filter_map(|attempt| attempt.map_err(|error| assert_eq!(error.kind(), ErrorKind::ConnectionReset)).ok())
        .collect();
    let served = clients.iter_mut().map(|client| {
        // One that was reset already takes nothing.
        let _ = client.write_all(b"x");
        ending(client) == Ok(1)
    });
    let served = served.filter(|is_served| *is_served).count();
    assert!((8..24).contains(&served), "{served} were served");
    few.wait_for_line("no descriptor is left", PATIENCE);
    wait_to_show(&net.proxy, "any(.refused[\"no-room\"] > 0)");
    drop(clients);
    wait_to_show(&net.proxy, "all(.connections == 0)");
    let is_served = |limit: Duration| {
        connect(&net.client, "192.0.2.1:9001").is_ok_and(|mut client| {
            client.set_read_timeout(Some(limit)).unwrap();
            client.write_all(b"x").is_ok() && ending(&mut client) == Ok(1)
        })
    };
    assert!(is_served(PATIENCE));
    // None at all: it waits, and does not spin.
    let limit = |files: &str| net.proxy.ok(&format!("prlimit --pid {} --nofile={files}:64", few.id()));
    limit("8");
    let processor = || std::fs::read_to_string(format!("/proc/{}/schedstat", few.id())).unwrap();
    let (before, begin) = (nanoseconds(&processor()), Instant::now());
    assert!(!is_served(Duration::from_millis(700)));
    assert!(nanoseconds(&processor()) - before < begin.elapsed().as_nanos() as u64 / 4, "it spins");
    limit("64");
    assert!(is_served(PATIENCE));
    assert_eq!(few.output().matches("no descriptor is left").count(), 1);
}

/// Processor time so far.
fn nanoseconds(schedstat: &str) -> u64 {
    schedstat.split_whitespace().next().unwrap().parse().unwrap()
}

/// A changed rule, one that goes, one that comes: connections go on, and the list is told.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_13_ppx_5_ppx_14_a_reload_changes_rules_and_cuts_no_connection() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    for name in ["one", "two"] {
        let port = if name == "one" { 9001 } else { 9002 };
        let server = format!("socat TCP6-LISTEN:{port},reuseaddr,fork SYSTEM:'echo {name}; cat'");
        net.server.start(name, &server);
        wait_until("a server", PATIENCE, || {
            net.server.succeeds(&format!("ss -Hltn 'sport = :{port}' | grep -q {port}"))
        });
    }
    let rule = |listen: &str, port: u16| {
        format!("[[portproxy]]\nlisten = \"{listen}\"\nconnect = \"[2001:db8:2::9]:{port}\"\n")
    };
    let tunnel = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.7\"\n";
    let file =
        net.proxy.file("rules.toml", &[rule("192.0.2.1:80", 9001), rule("192.0.2.1:81", 9001), tunnel.into()].concat());
    let mut daemon = Daemon::isatap(&net.proxy, &format!("run {file}"));
    daemon.wait_for_line("192.0.2.1:81 up: v4tov6 to [2001:db8:2::9]:9001", PATIENCE);
    let open = |port: u16, name: &str| {
        let mut stream = net.connect(&format!("192.0.2.1:{port}"));
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, *format!("{name}\n").as_bytes());
        stream
    };
    let (mut changed, mut ended) = (open(80, "one"), open(81, "one"));
    // Another target, one rule less, one more, beside the one that it is more special than.
    let text = [rule("192.0.2.1:80", 9002), rule("0.0.0.0:82", 9001), tunnel.into()].concat();
    net.proxy.file("rules.toml", &text);
    daemon.signal("HUP");
    daemon.wait_for_line(
        "read again: kept tun6in4; changed 192.0.2.1:80; began 0.0.0.0:82; ended 192.0.2.1:81",
        PATIENCE,
    );
    // PPX-14: each is in the log.
    daemon.wait_for_line("192.0.2.1:80 changed: v4tov6 to [2001:db8:2::9]:9002", PATIENCE);
    daemon.wait_for_line("192.0.2.1:81 ended: v4tov6 to [2001:db8:2::9]:9001; 1 connections go on", PATIENCE);
    daemon.wait_for_line("0.0.0.0:82 up: v4tov6 to [2001:db8:2::9]:9001", PATIENCE);
    assert!(echo(&mut changed, "still") == "still" && echo(&mut ended, "there") == "there");
    open(80, "two");
    wait_until("the listener to go", PATIENCE, || connect(&net.client, "192.0.2.1:81").is_err());
    // PPX-9: the one at an address beside the one at all, and the other way round.
    net.proxy.ok("ip address add 192.0.2.2/24 dev eth0");
    for text in [
        [rule("0.0.0.0:82", 9001), rule("192.0.2.1:82", 9002)],
        [rule("192.0.2.1:82", 9002), rule("0.0.0.0:83", 9001)],
        [rule("192.0.2.1:83", 9002), rule("0.0.0.0:82", 9001)],
        [rule("192.0.2.1:82", 9002), rule("0.0.0.0:82", 9001)],
    ] {
        net.proxy.file("rules.toml", &[text.concat(), tunnel.into()].concat());
        let before = daemon.output().matches("read again: ").count();
        daemon.signal("HUP");
        wait_until("a reload", PATIENCE, || daemon.output().matches("read again: ").count() > before);
    }
    open(82, "two");
    let mut stream = net.connect("192.0.2.2:82");
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, *b"one\n");
    // Nobody else gets into these ports.
    assert!(!net.proxy.succeeds("timeout 1 socat TCP4-LISTEN:82,reuseport,reuseaddr STDOUT"));
    // A file that cannot be carried out changes nothing.
    net.proxy.start("taken", "socat TCP4-LISTEN:90,reuseaddr,fork STDOUT");
    wait_until("a listener", PATIENCE, || net.proxy.succeeds("ss -Hltn 'sport = :90' | grep -q 90"));
    net.proxy.file("rules.toml", &[rule("192.0.2.1:85", 9001), rule("0.0.0.0:90", 9001), tunnel.into()].concat());
    daemon.signal("HUP");
    daemon.wait_for_line("rules.toml:5:10: cannot listen at 0.0.0.0:90: Address already in use", PATIENCE);
    daemon.wait_for_line("the new file is not used", PATIENCE);
    assert!(connect(&net.client, "192.0.2.1:85").is_err());
    open(82, "two");
    assert!(echo(&mut changed, "still") == "still" && echo(&mut ended, "there") == "there");
    // The end of the process is none of the data's.
    assert!(daemon.terminate(PATIENCE).success());
    assert!(is_reset(&mut changed) && is_reset(&mut ended));
}

/// Names by the system's resolver: of the right IP version, each address in turn, and never waited for.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_1_names_are_resolved_to_the_targets_version_and_hold_up_nobody() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.proxy.etc("resolv.conf", "nameserver 198.51.100.9\noptions timeout:10\n");
    net.proxy.etc("hosts", "127.0.0.1 localhost\n2001:db8:2::9 local.example\n192.0.2.1 round.example\n");
    let records = "address=/both.example/198.51.100.9 address=/both.example/2001:db8:2::9 \
                   address=/dead.example/2001:db8:2::77 address=/dead.example/2001:db8:2::9 address=/old.example/198.51.100.9";
    let file = records.replace(' ', "\n");
    let file = net.server.file(
        "dnsmasq.conf",
        &format!("no-resolv\nno-hosts\nbind-interfaces\nlisten-address=198.51.100.9\nlocal=/example/\n{file}\n"),
    );
    net.server.start("dnsmasq", &format!("dnsmasq -k -C {file} --user=root"));
    net.server.start("names", "socat TCP6-LISTEN:9000,ipv6only=1,reuseaddr,fork SYSTEM:'echo v6'");
    net.server.start("names4", "socat TCP4-LISTEN:9000,reuseaddr,fork SYSTEM:'echo v4'");
    for port in [53, 9000] {
        wait_until("a server", PATIENCE, || {
            net.server.succeeds(&format!("ss -Hltn 'sport = :{port}' | grep -q {port}"))
        });
    }
    let mut rules = String::new();
    for (listen, name, direction) in [
        (1, "both.example", "v4tov6"),
        (2, "both.example", "v4tov4"),
        (3, "dead.example", "v4tov6"),
        (4, "old.example", "v4tov6"),
        (5, "local.example", "v4tov6"),
        (6, "silent.elsewhere", "v4tov6"),
    ] {
        rules += &format!(
            "[[portproxy]]\nlisten = \"192.0.2.1:{listen}\"\nconnect = \"{name}:9000\"\ndirection = \"{direction}\"\nconnect-timeout = 5\n"
        );
    }
    rules += "[[portproxy]]\nlisten = \"192.0.2.1:7\"\nconnect = \"round.example:7\"\ndirection = \"v4tov4\"\n";
    let file = net.proxy.file("rules.toml", &rules);
    let mut daemon = Daemon::isatap(&net.proxy, &format!("run {file} --user nobody"));
    daemon.wait_for_line("192.0.2.1:7 up: v4tov4 to round.example:7", PATIENCE);
    // The name server has no answer to this one, and the client waits.
    net.server.ok("nft 'add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in udp dport 53 @th,160,48 0x0673696c656e drop'");
    let mut waits = net.connect("192.0.2.1:6");
    let begin = Instant::now();
    for (port, answer) in [(1, "v6\n"), (2, "v4\n"), (3, "v6\n"), (5, "v6\n")] {
        let mut text = String::new();
        net.connect(&format!("192.0.2.1:{port}")).read_to_string(&mut text).unwrap();
        assert_eq!(text, answer, "{port}");
    }
    // PPX-12: the second is a rule that leads to itself by a name.
    assert!(is_refused(&net.client, "192.0.2.1:4") && is_refused(&net.client, "192.0.2.1:7"));
    assert!(begin.elapsed() < Duration::from_secs(5), "a name that is not answered held up others");
    assert!(is_reset(&mut waits));
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
    for (port, refused) in [(4, "name-not-resolved"), (6, "name-not-resolved"), (7, "loop")] {
        wait_to_show(&net.proxy, &format!("any(.listen == \"192.0.2.1:{port}\" and .refused[\"{refused}\"] == 1)"));
    }
    wait_to_show(&net.proxy, "all(.connections == 0)");
    // A slow look-up does not hold the end up either.
    let _waits = net.connect("192.0.2.1:6");
    let begin = Instant::now();
    assert!(daemon.terminate(PATIENCE).success());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

/// nsswitch.conf names a module that is no part of the C library, and the daemon may not load it any more
/// when the first client comes: systemd's nss-myhostname, which knows every name below localhost.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_1_names_are_found_by_modules_of_the_c_library() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.proxy.etc("nsswitch.conf", "hosts: files myhostname\n");
    net.proxy.etc("hosts", "127.0.0.1 localhost\n");
    net.proxy.start("server", "socat TCP4-LISTEN:9000,bind=127.0.0.1,reuseaddr,fork SYSTEM:'echo found'");
    wait_until("the server", PATIENCE, || net.proxy.succeeds("ss -Hltn 'sport = :9000' | grep -q 9000"));
    let rule = "[[portproxy]]\nlisten = \"192.0.2.1:80\"\nconnect = \"web.localhost:9000\"\ndirection = \"v4tov4\"\n";
    let file = net.proxy.file("rules.toml", rule);
    let folder = names::library_folder("libnss_myhostname.so.2");
    let arguments = [&format!("LD_LIBRARY_PATH={folder}"), isatap_binary(), "run", &file, "--user", "nobody"];
    let mut daemon = Daemon::start(&net.proxy, "daemon", "env", &arguments);
    daemon.wait_for_line("192.0.2.1:80 up: ", PATIENCE);
    let mut text = String::new();
    net.connect("192.0.2.1:80").read_to_string(&mut text).unwrap();
    assert_eq!(text, "found\n", "{}", daemon.output());
    assert!(daemon.terminate(PATIENCE).success());
}

/// HAProxy reads the header and says who it takes the client for.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_8_haproxy_learns_the_client_by_the_proxy_protocol() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    let text = "defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 10s\n\
                frontend told\n bind :::8080 v6only accept-proxy\n bind 0.0.0.0:8080 accept-proxy\n http-request return status 200 content-type text/plain lf-string \"%ci %[dst] %fp\"\n\
                frontend untold\n bind :::8081 v6only\n http-request return status 200 content-type text/plain lf-string \"%ci\"\n";
    let file = net.server.file("haproxy.cfg", text);
    net.server.start("haproxy", &format!("haproxy -db -f {file}"));
    wait_until("HAProxy", PATIENCE, || net.server.succeeds("ss -Hltn 'sport = :8081' | grep -q 8081"));
    let _rules = [
        net.rule("--listen 192.0.2.1:81 --connect [2001:db8:2::9]:8080 --proxy-protocol v1"),
        net.rule("--listen 192.0.2.1:82 --connect [2001:db8:2::9]:8080 --proxy-protocol v2"),
        net.rule("--listen [2001:db8:1::1]:81 --connect 198.51.100.9:8080 --proxy-protocol v1"),
        net.rule("--listen [2001:db8:1::1]:82 --connect 198.51.100.9:8080 --proxy-protocol v2"),
        net.rule("--listen 192.0.2.1:80 --connect [2001:db8:2::9]:8081"),
    ];
    let fetch = |url: &str| net.client.ok(&format!("curl -sSg --max-time 20 http://{url}/"));
    for version in [81, 82] {
        assert_eq!(fetch(&format!("192.0.2.1:{version}")), format!("192.0.2.7 192.0.2.1 {version}"));
        assert_eq!(fetch(&format!("[2001:db8:1::1]:{version}")), format!("2001:db8:1::7 2001:db8:1::1 {version}"));
    }
    assert_eq!(fetch("192.0.2.1:80"), "2001:db8:2::1");
}

/// Link-local ends, an address that comes later, and connections that say nothing.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_10_ppx_9_zones_late_addresses_and_idle_connections() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.proxy.ok("ip address add fe80::1/64 dev eth0");
    net.server.ok("ip address add fe80::9/64 dev eth0");
    net.server.start("echo", "socat TCP6-LISTEN:9000,reuseaddr,fork EXEC:cat");
    wait_until("the server", PATIENCE, || net.server.succeeds("ss -Hltn 'sport = :9000' | grep -q 9000"));
    let _local = net.rule("--listen [fe80::1%eth0]:80 --connect [fe80::9%eth1]:9000");
    let answer = net.client.ok("echo hello | socat -t 5 - TCP6:[fe80::1%eth0]:80");
    assert_eq!(answer, "hello\n");
    let error = isatap(&net.proxy, "portproxy --listen [fe80::1%eth7]:80 --connect 198.51.100.9");
    assert!(error.status == 2 && error.text.contains("eth7") && error.text.contains("ip link"), "{error:?}");

    let mut late = net.rule("--listen 192.0.2.33:80 --connect [2001:db8:2::9]:9000 --idle-timeout 2");
    late.wait_for_line("does not have the address of 192.0.2.33:80 yet", PATIENCE);
    let waits = "any(.listen == \"192.0.2.33:80\" and .waiting == \"the address 192.0.2.33\")";
    assert!(shows(&net.proxy, waits));
    net.proxy.ok("ip address add 192.0.2.33/24 dev eth0");
    assert!(shows(&net.proxy, "all(.waiting == null)"));
    let mut client = net.connect("192.0.2.33:80");
    let begin = Instant::now();
    for _ in 0..3 {
        assert_eq!(echo(&mut client, "x"), "x");
        thread::sleep(Duration::from_millis(1000));
    }
    assert!(is_reset(&mut client));
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(3900) && took < Duration::from_secs(7), "{took:?}");
    wait_to_show(&net.proxy, "any(.idle == 1)");
}

/// A zone is its device by name: one that the same reload makes, and one that is made again by another
/// number, be it a link's or another program's.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_10_ppx_13_rules_listen_at_devices_that_come_and_come_again() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.server.start("echo", "socat TCP6-LISTEN:9000,reuseaddr,fork EXEC:cat");
    wait_until("the server", PATIENCE, || net.server.succeeds("ss -Hltn 'sport = :9000' | grep -q 9000"));
    let tunnel = |dev: &str, remote: &str| {
        format!("[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"{remote}\"\n")
    };
    let answers = |to: &str| net.proxy.run(&format!("echo hello | socat -t 5 - 'TCP6:{to}'")).text == "hello\n";
    let before = tunnel("t0", "192.0.2.7");
    let file = net.proxy.file("rules.toml", &before);
    let mut daemon = Daemon::isatap(&net.proxy, &format!("run {file}"));
    let reload = |daemon: &Daemon, port: u16| {
        let rule =
            format!("[[portproxy]]\nlisten = \"[fe80::c000:201%t1]:{port}\"\nconnect = \"[2001:db8:2::9]:9000\"\n");
        net.proxy.file("rules.toml", &[before.clone(), tunnel("t1", "192.0.2.8"), rule].concat());
        daemon.signal("HUP");
    };
    // Nothing changes where it may not have the port.
    reload(&daemon, 81);
    daemon.wait_for_line("need CAP_NET_BIND_SERVICE", PATIENCE);
    daemon.wait_for_line("the new file is not used", PATIENCE);
    assert!(!daemon.output().contains("t1 up"));
    reload(&daemon, 8081);
    daemon.wait_for_line("read again: kept t0; began t1, [fe80::c000:201%t1]:8081", PATIENCE);
    wait_until("an answer at the new device", PATIENCE, || answers("[fe80::c000:201%t1]:8081"));
    net.proxy.ok("ip link delete t1");
    daemon.wait_for_line("another program deleted the device t1: it is made again", PATIENCE);
    wait_until("an answer at the device that was made again", PATIENCE, || answers("[fe80::c000:201%t1]:8081"));
    assert!(daemon.terminate(PATIENCE).success());

    let make = "ip link add d0 type veth peer name d1 && ip link set d1 up && ip link set d0 up && \
                ip address add fe80::5/64 dev d0 nodad";
    net.proxy.ok(make);
    let mut alone = net.rule("--listen [fe80::5%d0]:83 --connect [2001:db8:2::9]:9000");
    wait_until("an answer", PATIENCE, || answers("[fe80::5%d0]:83"));
    net.proxy.ok("ip link delete d0");
    assert!(shows(&net.proxy, "any(.listen == \"[fe80::5%d0]:83\" and .waiting == \"the device d0\")"));
    net.proxy.ok(make);
    alone.wait_for_line("[fe80::5%d0]:83 listens at its device, which has come", PATIENCE);
    wait_until("an answer again", PATIENCE, || answers("[fe80::5%d0]:83"));
}

/// It needs no privilege, keeps none, and goes without the folder of those that have some.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ppx_14_the_port_proxy_has_no_capability() {
    let lab = Lab::new();
    let (near, far) = (lab.wire(), lab.wire());
    let net = Net::new(&lab, [&near, &far]);
    net.server.start("echo", "socat TCP6-LISTEN:9000,reuseaddr,fork EXEC:cat");
    wait_until("the server", PATIENCE, || net.server.succeeds("ss -Hltn 'sport = :9000' | grep -q 9000"));
    let of_threads = |pid: u32, field: &str| -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let text = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        text.filter_map(|text| {
            text.lines().find_map(|line| line.strip_prefix(field).map(|rest| rest.trim().to_owned()))
        })
        .collect()
    };
    // As root, with a port below 1024; and as somebody else from the beginning.
    let binary = isatap_binary();
    let rule = |port: u16| format!("portproxy --listen 192.0.2.1:{port} --connect [2001:db8:2::9]:9000");
    let mut root = Daemon::start(&net.proxy, "root", binary, &rule(80).split(' ').collect::<Vec<_>>());
    root.wait_for_line(" up: ", PATIENCE);
    let copy = net.proxy.program("isatap", binary);
    net.proxy.ok(&format!("chmod o+rx {0} {0}/..", net.proxy.directory().display()));
    let arguments = format!("--reuid 65534 --regid 65534 --clear-groups {copy} {}", rule(8080));
    let mut nobody = Daemon::start(&net.proxy, "nobody", "setpriv", &arguments.split(' ').collect::<Vec<_>>());
    nobody.wait_for_line(" up: ", PATIENCE);
    nobody.wait_for_line("portproxy show will not show this process", PATIENCE);
    for (daemon, port) in [(&root, 80), (&nobody, 8080)] {
        wait_until("the end of privileges", PATIENCE, || {
            of_threads(daemon.id(), "Seccomp:").iter().all(|mode| mode == "2")
        });
        assert_eq!(of_threads(daemon.id(), "CapEff:"), ["0000000000000000", "0000000000000000"]);
        assert_eq!(of_threads(daemon.id(), "CapPrm:"), ["0000000000000000", "0000000000000000"]);
        let mut client = net.connect(&format!("192.0.2.1:{port}"));
        assert_eq!(echo(&mut client, "hello"), "hello");
        // Spliced, by a filter that must know of it.
        let bulk = vec![5; 4 << 20];
        let mut writer = client.try_clone().unwrap();
        let sender = thread::spawn(move || writer.write_all(&bulk).unwrap());
        let mut back = vec![0; 4 << 20];
        client.read_exact(&mut back).unwrap();
        sender.join().unwrap();
        assert!(back.iter().all(|byte| *byte == 5));
        assert!(!daemon.output().contains("not permitted"), "{}", daemon.output());
    }
    let refused = wait_for("an answer", PATIENCE, || {
        let output = net.proxy.run(&format!("setpriv --reuid 65534 --regid 65534 --clear-groups {copy} {}", rule(81)));
        Some(output)
    });
    assert!(refused.status == 2 && refused.text.contains("CAP_NET_BIND_SERVICE"), "{refused:?}");
    assert!(nobody.terminate(PATIENCE).success() && root.terminate(PATIENCE).success());
}

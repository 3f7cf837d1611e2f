//! `isatap explain` against tshark, packet by packet.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use serde_json::Value;

/// 1,000 packets of every kind of tunnel, whole, in fragments, quoted by
/// errors and broken: no layer and no address that tshark sees otherwise.
#[test]
#[ignore = "wants tshark; run by .ci/run interop"]
fn a_thousand_mixed_packets_are_explained_as_tshark_does() {
    let packets = Maker { random: 5214 }.packets(1000);
    let file = std::env::temp_dir().join(format!("isatap-it-explain-{}.pcap", std::process::id()));
    fs::write(&file, pcap(&packets)).unwrap();
    let explained = Command::new(env!("CARGO_BIN_EXE_isatap")).args(["explain", "-j"]).arg(&file).output().unwrap();
    let tshark = Command::new("tshark")
        .args(["-n", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"])
        .args(["-d", "udp.port==4096,teredo", "-T", "fields"])
        .args(FIELDS.iter().flat_map(|field| ["-e", field]))
        .arg("-r")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(explained.stdout).unwrap();
    let expected = String::from_utf8(tshark.stdout).unwrap();
    assert!(explained.status.success() && tshark.status.success(), "{}", String::from_utf8_lossy(&tshark.stderr));
    assert_eq!((said.lines().count(), expected.lines().count()), (1000, 1000));
    let mut wrong = String::new();
    for (packet, (said, expected)) in packets.iter().zip(said.lines().zip(expected.lines())) {
        let answer: Value = serde_json::from_str(said).unwrap();
        if let Err(difference) = compare(&answer, expected) {
            let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(wrong, "{difference}\n  0x{hex}\n  {said}\n  {expected}").unwrap();
        }
    }
    fs::remove_file(&file).unwrap();
    assert!(wrong.is_empty(), "{} differ:\n{wrong}", wrong.matches("0x").count());
    // The mix is one: each kind of layer is there, malformed ones too.
    for kind in [
        "router-solicitation",
        "router-advertisement",
        "neighbor-solicitation",
        "neighbor-advertisement",
        "redirect",
        "echo-request",
        "packet-too-big",
        "destination-unreachable",
        "time-exceeded",
        "fragment",
        "hop-by-hop",
        "destination-options",
        "routing",
        "authentication",
        "tcp",
        "udp",
        "teredo-authentication",
        "teredo-origin",
        "teredo-trailer",
        "data",
        "cut",
        "malformed",
    ] {
        assert!(said.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
}

/// Packets as the tools print them, pasted: the same answers as about their bytes.
#[test]
#[ignore = "wants tcpdump, tshark, xxd and hexdump; run by .ci/run interop"]
fn what_tools_print_is_explained_as_its_bytes() {
    let mut maker = Maker { random: 17 };
    let packets: Vec<Vec<u8>> = (0..20)
        .map(|n| match n % 4 {
            0 => maker.protocol41(),
            1 => maker.teredo(),
            2 => maker.plain_ipv4(),
            _ => maker.ipv6_packet(),
        })
        .collect();
    assert!(packets.iter().any(|packet| packet.len() % 2 == 1), "an odd length is among them");
    let hex = |packet: &[u8]| packet.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = explained(packets.iter().map(|packet| format!("0x{}\n", hex(packet))).collect());
    assert_eq!(expected.lines().count(), packets.len());

    let folder = std::env::temp_dir().join(format!("isatap-pasted-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("packets.pcap");
    let print = |program: &str, arguments: &[&str], file: &std::path::Path| -> String {
        let output = Command::new(program).args(arguments).arg(file).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // As IP packets, and as frames with Ethernet in front, padded to 60 bytes.
    let frames: Vec<Vec<u8>> = packets.iter().map(|packet| ethernet(packet)).collect();
    for (link_type, written) in [(101, &packets), (1, &frames)] {
        fs::write(&file, pcap_of(link_type, written)).unwrap();
        for options in ["-xnr", "-xxnr", "-XXnr", "-Xnvvvr", "-Xnetr"] {
            assert_eq!(explained(print("tcpdump", &[options], &file)), expected, "tcpdump {options}, {link_type}");
        }
        for options in [&["-xr"][..], &["-n", "-V", "-xr"], &["--hexdump", "frames", "-r"]] {
            assert_eq!(explained(print("tshark", options, &file)), expected, "tshark {options:?}, {link_type}");
        }
        let paths: Vec<_> = (0..written.len()).map(|n| folder.join(format!("{n}.bin"))).collect();
        for (path, packet) in paths.iter().zip(written) {
            fs::write(path, packet).unwrap();
        }
        for command in [
            "xxd",
            "xxd -c 8",
            "xxd -c 32 -g 4",
            "xxd -g 1 -u",
            "xxd -i",
            "xxd -p",
            "xxd -d",
            "hexdump -C",
            "hexdump -Cv",
            "hexdump -b",
            "od -A x -t x1",
            "od -A x -t x1z -v",
            "od -A d -t x1",
            "od -b",
            "od -A n -t x1",
        ] {
            let (program, options) = command.split_once(' ').unwrap_or((command, ""));
            let options: Vec<&str> = options.split_whitespace().collect();
            let text: String = paths.iter().map(|path| print(program, &options, path) + "\n").collect();
            assert_eq!(explained(text), expected, "{command}, {link_type}");
        }
        // Words in the machine's order: of Ethernet the order cannot always be told.
        for command in ["hexdump -v", "hexdump -x", "od -v", "od -x", "od -A x -t x2"] {
            let (program, options) = command.split_once(' ').unwrap();
            let options: Vec<&str> = options.split_whitespace().collect();
            for (path, expected) in paths.iter().zip(expected.lines()) {
                let answer: Value = serde_json::from_str(&explained(print(program, &options, path))).unwrap();
                let expected: Value = serde_json::from_str(expected).unwrap();
                assert_eq!(answer["layers"], expected["layers"], "{command} {}", path.display());
            }
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// What `isatap explain -j -` says of a text.
fn explained(text: String) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_isatap"))
        .args(["explain", "-j", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ether_type: &[u8] = if packet[0] >> 4 == 4 { &[8, 0] } else { &[0x86, 0xdd] };
    let mut frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], ether_type, packet].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

const FIELDS: [&str; 9] = [
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "icmpv6.opt.type",
    "teredo.auth.nonce",
    "teredo.orig.addr",
    "teredo.orig.port",
];

/// Compares an answer with tshark's line about the same packet.
fn compare(answer: &Value, expected: &str) -> Result<(), String> {
    let fields: Vec<&str> = expected.split('\t').collect();
    let layers = answer["layers"].as_array().unwrap();
    let mut ours = Vec::new();
    let mut after_udp = false;
    for layer in layers {
        let token = token(layer);
        // To tshark authentication, origin and packet are one protocol.
        let is_teredo = after_udp && matches!(token, "teredo" | "ipv6" | "malformed" | "cut") && token != "data";
        if is_teredo {
            ours.push("teredo");
        }
        after_udp = token == "udp";
        if !matches!(token, "teredo" | "") {
            ours.push(token);
        }
    }
    let mut theirs: Vec<&str> = fields[0].split(':').skip(1).collect();
    if let Some(at) = ours.iter().position(|token| matches!(*token, "malformed" | "cut")) {
        // Where we stop tshark shows what it can of the layer that is broken.
        let shown = theirs.split_off(at.min(theirs.len()));
        ours.truncate(at);
        let allowed = ["ip", "ipv6", "udp", "tcp", "icmp", "icmpv6", "data", "_ws.malformed", "teredo"];
        let header = ["ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr", "ah"];
        if shown.len() > 2 || shown.iter().any(|token| !allowed.contains(token) && !header.contains(token)) {
            return Err(format!("behind what is malformed: {shown:?}"));
        }
    }
    // To a server's port tshark takes the data of an echo for Teredo's nonce.
    let to_server = layers.iter().any(|layer| layer["dst_port"] == 3544);
    if to_server && ours.ends_with(&["icmpv6", "data"]) && theirs.last() == Some(&"icmpv6") {
        ours.pop();
    }
    if ours != theirs {
        return Err(format!("layers: {ours:?}, tshark: {theirs:?}"));
    }
    let is_malformed = ["\"malformed\"", "\"cut\""].iter().any(|kind| answer.to_string().contains(kind));
    let texts = |kinds: &[&str], key: &str| -> Vec<String> {
        let of_kind = layers.iter().filter(|layer| kinds.contains(&layer["kind"].as_str().unwrap()));
        of_kind.map(|layer| layer[key].to_string().trim_matches('"').to_owned()).collect()
    };
    let options = layers.iter().filter_map(|layer| layer["options"].as_array()).flatten();
    let options = options.map(|option| option_type(option).to_string()).collect();
    for (name, field, ours) in [
        ("IPv4 sources", 1, texts(&["ipv4"], "src")),
        ("IPv4 destinations", 2, texts(&["ipv4"], "dst")),
        ("IPv6 sources", 3, texts(&["ipv6"], "src")),
        ("IPv6 destinations", 4, texts(&["ipv6"], "dst")),
        ("options", 5, options),
        ("nonces", 6, texts(&["teredo-authentication"], "nonce")),
        ("origins", 7, texts(&["teredo-origin"], "address")),
        ("origins' ports", 8, texts(&["teredo-origin"], "port")),
    ] {
        let theirs: Vec<String> =
            fields[field].split(',').filter(|text| !text.is_empty()).map(|text| canonical(name, text)).collect();
        let ours: Vec<String> = ours.iter().map(|text| canonical(name, text)).collect();
        // Of a header cut short tshark shows the fields that are there.
        let is_start = is_malformed && theirs.starts_with(&ours) && theirs.len() <= ours.len() + 1;
        // An option that is cut has a type in tshark's eyes.
        let is_cut = name == "options"
            && ours.len() == theirs.len()
            && ours.last().is_some_and(|last| *last == u64::MAX.to_string())
            && ours[..ours.len() - 1] == theirs[..theirs.len() - 1];
        if ours != theirs && !is_start && !is_cut {
            return Err(format!("{name}: {ours:?}, tshark: {theirs:?}"));
        }
    }
    Ok(())
}

/// Both write addresses; each in its own way.
fn canonical(name: &str, text: &str) -> String {
    match text.parse::<Ipv6Addr>() {
        Ok(address) if name.contains("IPv6") => format!("{:032x}", address.to_bits()),
        _ => text.replace("0x", "").replace(':', ""),
    }
}

/// tshark's name of a layer; "": it has none.
fn token(layer: &Value) -> &'static str {
    match (layer["kind"].as_str().unwrap(), layer["family"].as_str()) {
        (_, Some("icmpv4")) => "icmp",
        (_, Some("icmpv6")) => "icmpv6",
        ("ipv4", _) => "ip",
        ("ipv6", _) => "ipv6",
        ("hop-by-hop", _) => "ipv6.hopopts",
        ("destination-options", _) => "ipv6.dstopts",
        ("routing", _) => "ipv6.routing",
        ("fragment", _) => "ipv6.fraghdr",
        ("authentication", _) => "ah",
        ("udp", _) => "udp",
        ("tcp", _) => "tcp",
        ("teredo-authentication" | "teredo-origin", _) => "teredo",
        ("teredo-trailer", _) => "",
        ("data", _) => "data",
        ("cut", _) => "cut",
        ("malformed", _) => "malformed",
        _ if layer.get("options").is_some() => "icmpv6",
        (other, _) => panic!("what is {other}?"),
    }
}

fn option_type(option: &Value) -> u64 {
    match option["kind"].as_str().unwrap() {
        "source-link-layer-address" => 1,
        "target-link-layer-address" => 2,
        "prefix-information" => 3,
        "mtu" => 5,
        "route-information" => 24,
        "recursive-dns-servers" => 25,
        "dns-search-list" => 31,
        _ => option["type"].as_u64().unwrap_or(u64::MAX),
    }
}

/// Makes packets; its own writer of every header, so that nothing of what is
/// tested stands behind both.
struct Maker {
    random: u64,
}

impl Maker {
    fn packets(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.packet()).collect()
    }

    fn packet(&mut self) -> Vec<u8> {
        let packet = match self.below(12) {
            0..=2 => self.protocol41(),
            3..=5 => self.teredo(),
            6 => self.ipv6_packet(),
            7 => self.plain_ipv4(),
            8 => self.icmpv4_error(),
            9 => self.ipv4_fragment(),
            10 => {
                let inner = self.protocol41();
                let (source, destination) = (self.ipv4(), self.ipv4());
                ipv4(source, destination, 4, 0, &inner)
            }
            _ => self.broken(),
        };
        assert!(packet.len() < 65_000);
        packet
    }

    fn protocol41(&mut self) -> Vec<u8> {
        let (source, destination) = (self.ipv4(), self.ipv4());
        let inner = match self.below(3) {
            // ISATAP and 6to4 addresses that fit the outer ones; any others.
            0 => self.ipv6_between(isatap(source), isatap(destination)),
            1 => self.ipv6_between(six_to_four(source), six_to_four(destination)),
            _ => self.ipv6_packet(),
        };
        ipv4(source, destination, 41, 0, &inner)
    }

    fn teredo(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        if self.below(3) == 0 {
            let (id, value) = (self.below(4), self.below(4) * 5);
            payload.extend([0, 1, id as u8, value as u8]);
            payload.extend(self.bytes(id + value + 8));
            payload.push(0);
        }
        if self.below(3) == 0 {
            payload.extend([0, 0]);
            payload.extend(self.bytes(6));
        }
        let (source, destination) = (self.teredo_address(), self.teredo_address());
        if self.below(3) == 0 {
            payload.extend(ipv6(source, destination, 59, self.below(256) as u8, &[]));
        } else {
            payload.extend(self.ipv6_between(source, destination));
        }
        match self.below(4) {
            0 => payload.extend([1, 4, 1, 2, 3, 4]),
            1 => payload.extend([3, 8, 0, 0, 192, 168, 1, 2, 0x9c, 0x40, 5, 2, 0xc3, 0x50]),
            _ => {}
        }
        let ports = [(3544, 4096), (4096, 3544), (4096, 8192)][self.below(3)];
        let (source, destination) = (self.ipv4(), self.ipv4());
        let datagram = udp(ports, &payload);
        ipv4(source, destination, 17, 0, &datagram)
    }

    fn plain_ipv4(&mut self) -> Vec<u8> {
        let (source, destination) = (self.ipv4(), self.ipv4());
        match self.below(4) {
            0 => ipv4(source, destination, 17, 0, &udp((40_001, 40_002), b"no Teredo in here")),
            1 => ipv4(source, destination, 6, 0, &self.tcp()),
            2 => ipv4(source, destination, 1, 0, &with_checksum(vec![8, 0, 0, 0, 0, 1, 0, 2, b'e', b'c'], 2, &[])),
            _ => ipv4(source, destination, 253, 0, b"of no known protocol"),
        }
    }

    fn icmpv4_error(&mut self) -> Vec<u8> {
        let (source, destination) = (self.ipv4(), self.ipv4());
        let quoted = self.protocol41();
        let kept = [28, 60, 68, quoted.len()][self.below(4)].min(quoted.len());
        let (kind, code) = [(3, 4), (3, 1), (11, 0)][self.below(3)];
        let mut message = vec![kind, code, 0, 0, 0, 0, 5, 0];
        message.extend(&quoted[..kept]);
        ipv4(source, destination, 1, 0, &with_checksum(message, 2, &[]))
    }

    fn ipv4_fragment(&mut self) -> Vec<u8> {
        let whole = self.protocol41();
        let (source, destination) = (self.ipv4(), self.ipv4());
        if self.below(2) == 0 {
            // The first, with more than the inner header.
            let end = (20 + 64).min(whole.len());
            ipv4(source, destination, 41, 0x2000, &whole[20..end])
        } else {
            ipv4(source, destination, 41, 8, &whole[28..])
        }
    }

    /// Cut short, or with a byte changed that says what follows.
    fn broken(&mut self) -> Vec<u8> {
        let mut packet = self.protocol41();
        match self.below(3) {
            0 => packet.truncate(20 + self.below(48)),
            1 => packet[20] = [0x50, 0x70, 0x00][self.below(3)],
            _ => {
                // Cut inside of the inner packet, with an outer header that knows.
                packet.truncate(20 + 40 + self.below(7));
                let inner = packet.split_off(20);
                packet = ipv4(self.ipv4(), self.ipv4(), 41, 0, &inner);
            }
        }
        packet
    }

    fn ipv6_packet(&mut self) -> Vec<u8> {
        let (source, destination) = (self.ipv6(), self.ipv6());
        self.ipv6_between(source, destination)
    }

    fn ipv6_between(&mut self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let pseudo = [source.octets().as_slice(), &destination.octets()].concat();
        let (mut next, mut payload) = match self.below(12) {
            0..=4 => (58, self.neighbor_discovery(&pseudo)),
            5 => (58, with_checksum(vec![128, 0, 0, 0, 0, 1, 0, 2, 1, 2, 3, 4, 5], 2, &pseudo)),
            6 => (17, udp((40_003, 40_004), b"nor in here")),
            7 => (6, self.tcp()),
            8 => {
                let quoted = ipv6(destination, source, 17, 60, &udp((40_003, 40_004), b"quoted"));
                let (kind, word) = [(1, 0_u32), (2, 1280), (3, 0), (4, 6)][self.below(4)];
                let mut message = vec![kind, 0, 0, 0];
                message.extend(word.to_be_bytes());
                message.extend(&quoted[..quoted.len() - self.below(8)]);
                (58, with_checksum(message, 2, &pseudo))
            }
            9 => {
                let (source, destination) = (self.ipv6(), self.ipv6());
                (41, ipv6(source, destination, 59, 3, &[]))
            }
            10 => (253, b"something else".to_vec()),
            _ => (59, Vec::new()),
        };
        for _ in 0..[0, 0, 0, 1, 2, 3][self.below(6)] {
            let header = match self.below(5) {
                0 => (0, vec![next, 0, 1, 4, 0, 0, 0, 0]),
                1 => (60, vec![next, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                2 => (43, [vec![next, 2, 2, 0, 0, 0, 0, 0], self.ipv6().octets().to_vec()].concat()),
                3 => (44, vec![next, 0, 0, 0, 0, 0, 0, 7]),
                _ => (51, vec![next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            };
            payload.splice(0..0, header.1);
            next = header.0;
        }
        if self.below(12) == 0 {
            // A later fragment: nothing in it is a header.
            payload.splice(0..0, [next, 0, 0, 8, 0, 0, 0, 9]);
            next = 44;
        }
        ipv6(source, destination, next, if next == 58 { 255 } else { 64 }, &payload)
    }

    fn neighbor_discovery(&mut self, pseudo: &[u8]) -> Vec<u8> {
        let mut message = match self.below(5) {
            0 => vec![133, 0, 0, 0, 0, 0, 0, 0],
            1 => vec![134, 0, 0, 0, 64, 0x48, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9],
            2 => [vec![135, 0, 0, 0, 0, 0, 0, 0], self.ipv6().octets().to_vec()].concat(),
            3 => [vec![136, 0, 0, 0, 0xc0, 0, 0, 0], self.ipv6().octets().to_vec()].concat(),
            _ => {
                let (target, destination) = (self.ipv6(), self.ipv6());
                [vec![137, 0, 0, 0, 0, 0, 0, 0], target.octets().to_vec(), destination.octets().to_vec()].concat()
            }
        };
        for _ in 0..self.below(4) {
            let prefix = self.ipv6().octets();
            message.extend(match self.below(7) {
                0 => vec![1, 1, 2, 0, 0, 0, 0, 1],
                1 => [vec![3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 0, 0x38, 0x40, 0, 0, 0, 0], prefix.to_vec()].concat(),
                2 => vec![5, 1, 0, 0, 0, 0, 5, 0],
                3 => [vec![24, 3, 96, 8, 0, 0, 7, 8], prefix.to_vec()].concat(),
                4 => [vec![25, 3, 0, 0, 0, 0, 7, 8], prefix.to_vec()].concat(),
                5 => [vec![31, 3, 0, 0, 0, 0, 7, 8, 7], b"example\x03com\0\0\0\0".to_vec()].concat(),
                _ => vec![14, 1, 1, 2, 3, 4, 5, 6],
            });
        }
        with_checksum(message, 2, pseudo)
    }

    fn tcp(&mut self) -> Vec<u8> {
        let mut segment =
            vec![0x9c, 0x45, 0x9c, 0x46, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, 0x18, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0];
        if self.below(2) == 0 {
            segment.extend(b"some text");
        }
        segment
    }

    fn ipv4(&mut self) -> Ipv4Addr {
        let [_, _, a, b, ..] = self.next().to_be_bytes();
        match self.below(3) {
            0 => Ipv4Addr::new(10, 0, a, b | 1),
            1 => Ipv4Addr::new(198, 51, 100, b),
            _ => Ipv4Addr::new(131, 107, a, b),
        }
    }

    fn ipv6(&mut self) -> Ipv6Addr {
        let ipv4 = self.ipv4();
        match self.below(5) {
            0 => isatap(ipv4),
            1 => six_to_four(ipv4),
            2 => self.teredo_address(),
            3 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(self.next())),
            _ => Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(self.next())),
        }
    }

    fn teredo_address(&mut self) -> Ipv6Addr {
        Ipv6Addr::from_bits(0x2001_0000_c633_6401 << 64 | u128::from(self.next()))
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[3]).collect()
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Steele, Lea and Flood's generator.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }
}

fn isatap(ipv4: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | 0x5efe << 32 | u128::from(ipv4.to_bits()))
}

fn six_to_four(ipv4: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2002 << 112 | u128::from(ipv4.to_bits()) << 80 | 1)
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(((payload.len() + 20) as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet = with_checksum(packet, 10, &[]);
    packet.extend(payload);
    packet
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A datagram without a checksum, which only IPv4 allows; tshark shows it anyway.
fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for field in [ports.0, ports.1, (payload.len() + 8) as u16, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
}

/// Writes the internet checksum at `at`; of ICMPv6 with its pseudo-header.
fn with_checksum(mut bytes: Vec<u8>, at: usize, pseudo: &[u8]) -> Vec<u8> {
    let mut summed = bytes.clone();
    if !pseudo.is_empty() {
        summed.extend(pseudo);
        if summed.len() % 2 == 1 {
            summed.insert(bytes.len(), 0);
        }
        summed.extend((bytes.len() as u16).to_be_bytes());
        summed.extend([0, 58]);
    }
    let mut sum: u32 =
        summed.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    bytes
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    pcap_of(101, packets)
}

fn pcap_of(link_type: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, link_type] {
        file.extend(word.to_le_bytes());
    }
    for (second, packet) in (1_u32..).zip(packets) {
        for word in [second, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

//! Captures of every link type and file format against tshark, packet by packet.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, panic};

use serde_json::Value;

use crate::common::Packets;

/// A frame's bytes in front of an IPv4 packet of this length.
type Header = Box<dyn Fn(usize) -> Vec<u8>>;

/// Link types whose frames tshark reads, in the forms that they have.
fn headers() -> Vec<(u16, Header)> {
    let mut headers: Vec<(u16, Header)> = Vec::new();
    let mut fixed = |link_type: u16, text: &str| {
        let bytes = hex(text);
        headers.push((link_type, Box::new(move |_| bytes.clone())));
    };
    let ethernet = "000000000000 000000000000 0800";
    let snap = "aaaa03 000000 0800";
    let wireless = format!("0801 0000 {} {snap}", "00".repeat(20));
    // BSD's loopback; Ethernet with VLANs, bridges, labels, tags of Cisco's and of redundancy.
    for text in ["02000000", "00000002", "00080000"] {
        fixed(0, text);
    }
    let addresses = "000000000000 000000000000";
    for text in [
        "0800",
        "8100 6005 0800",
        "88a8 0005 8100 0006 0800",
        "9100 0005 0800",
        "8847 00064140",
        "8847 00010040 0006433f",
        // A pseudowire, with a control word and without; tshark knows which by the vendor.
        "8847 0006413f 00000000 001b21000001 001b21000002 0800",
        "8847 0006413f 001b21000001 001b21000002 0800",
        "88e5 00 00 00000001 0800",
        "8909 01 01 0001 0002 0800",
        &format!("8870 {snap}"),
        &format!("88e7 00000000 {ethernet}"),
        "894f 0fc60101 00000100 00000000000000000000000000000000",
        &format!("6558 {ethernet}"),
    ] {
        fixed(1, &format!("{addresses} {text}"));
    }
    for (link_type, text) in [
        (6, format!("1040 {addresses} {snap}")),
        (6, format!("1040 000000000000 800000000000 0630 0011 0010 {snap}")),
        (7, "01 02 f0".into()),
        (7, "01 02 d4 00 0001".into()),
        (129, "01 02 0000 d4 00 0001".into()),
        (129, "01 02 0000 f0".into()),
        (10, format!("50 {addresses} {snap}")),
        (10, format!("57 {addresses} {snap}")),
        (12, String::new()),
        (101, String::new()),
        (228, String::new()),
        (99, format!("{} 0800 {}", "00".repeat(6), "00".repeat(36))),
        (100, snap.into()),
        (100, format!("aaaa03 0080c2 0007 0000 {ethernet}")),
        (100, "fefe03 cc".into()),
        (106, String::new()),
        (107, "1841 03 cc".into()),
        (107, "1841 03 00 cc".into()),
        (107, "1841 03 00 80 000000 0800".into()),
        (107, "1840 4041 03 cc".into()),
        (107, "1841 0800".into()),
        (107, "1841 03 cf 0021".into()),
        (108, "00000002".into()),
        (109, format!("02000000 {}", "00".repeat(8))),
        (109, format!("00000002 {}", "00".repeat(8))),
        (117, format!("3d02 {}", "00".repeat(62))),
        (122, format!("{} {snap}", "00".repeat(16))),
        (123, format!("02000020 {snap}")),
        (242, format!("{} 08000000", "00".repeat(40))),
        (252, "000c 0002 6970 0000 0000".into()),
        (258, format!("6c000000 01000000 01000000 {} {ethernet}", "00".repeat(96))),
        (258, format!("6c000000 01000000 0c000000 {}", "00".repeat(96))),
    ] {
        fixed(link_type, &text);
    }
    // PPP with address and control or without, and with a short protocol; Cisco's HDLC.
    for text in ["ff03 0021", "ff03 21", "0021", "21", "ff03 003d c0000001 0021", "ff03 003d c0000001 21"] {
        fixed(9, text);
    }
    for text in ["ff03 0281 00064140", "0281 00064140", &format!("ff03 0031 0001 {ethernet}")] {
        fixed(9, text);
    }
    for text in ["ff03 0021", "0021", "21", "0f00 0800", "8f00 0800"] {
        fixed(50, text);
    }
    for text in ["00 ff03 0021", "01 0021"] {
        fixed(204, text);
    }
    for text in ["0f00 0800", "8f00 0800", "0f00 8847 00064140"] {
        fixed(104, text);
    }
    // Linux's "any" device, what it shows of PPP, tunnels and wireless devices.
    for (hardware, protocol) in [
        ("0001", "0800"),
        ("0001", "8100 0005 0800"),
        ("0001", "0004 aaaa03 000000 0800"),
        ("0200", "0800"),
        ("0308", "0800"),
        ("030a", "0800"),
        ("0323", &format!("0004 0000 0800 00000000 {wireless}")),
    ] {
        fixed(113, &format!("0000 {hardware} 0006 0000000000000000 {protocol}"));
    }
    for (protocol, rest) in [("0800", ""), ("8100", "0005 0800"), ("88a8", "0005 8100 0006 0800")] {
        fixed(276, &format!("{protocol} 0000 00000001 0001 00 06 0000000000000000 {rest}"));
    }
    // 802.11, with what stands in front of it.
    let zeros = "00".repeat(18);
    for frame in [
        wireless.clone(),
        format!("8801 0000 {zeros} 0000 0000 {snap}"),
        format!("0803 0000 {zeros} 0000 000000000000 {snap}"),
    ] {
        fixed(105, &frame);
        fixed(119, &format!("44000000 90000000 {} {frame}", "00".repeat(136)));
        fixed(119, &format!("80211001 00000040 {} {frame}", "00".repeat(56)));
        fixed(163, &format!("80211001 00000040 {} {frame}", "00".repeat(56)));
        fixed(127, &format!("0000 0800 00000000 {frame}"));
        fixed(127, &format!("0000 1900 03000080 00000000 0000000000000000 0000000000000000 00 {frame}"));
        fixed(192, &format!("0000 0800 69000000 {frame}"));
    }
    fixed(127, &format!("0000 0900 02000000 20 8801 0000 {zeros} 0000 0000 0000 {snap}"));
    fixed(192, &format!("0000 0800 01000000 {ethernet}"));
    // Juniper's and Endace's.
    fixed(178, &format!("4d4743 00 {ethernet}"));
    fixed(178, &format!("4d4743 80 0006 010101020102 {ethernet}"));
    // Where a length stands in front.
    let with_length = |before: &str, width: usize, more: usize, after: &str| -> Header {
        let (before, after) = (hex(before), hex(after));
        Box::new(move |length| {
            let length = u32::try_from(length + more).unwrap().to_be_bytes();
            [&before[..], &length[4 - width..], &after].concat()
        })
    };
    headers.push((1, with_length(addresses, 2, 8, snap)));
    headers.push((1, with_length(addresses, 2, 3, "060603")));
    headers.push((1, with_length(&format!("{addresses} 8864 1100 0007"), 2, 2, "0021")));
    headers.push((1, with_length(&format!("{addresses} 892f"), 2, 6, "0001 0800")));
    headers.push((226, with_length("0102 0001", 4, 0, &"00".repeat(16))));
    headers.push((51, with_length("1100 0007", 2, 2, "0021")));
    headers.push((197, with_length("0000000000000000 02 04 0000 0000", 2, 14, &format!("0000 {ethernet}"))));
    headers.push((
        239,
        Box::new(|length| {
            let length = u16::try_from(length + 4).unwrap().to_le_bytes();
            [&hex("02 00 0000 0500 0a00 78000000")[..], &length, &[9, 0]].concat()
        }),
    ));
    headers
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// Protocol 41 between addresses that are this number's, with as many bytes of data.
fn packet(number: u8) -> Vec<u8> {
    let data = usize::from(number) * 5 % 90;
    let total = u16::try_from(60 + data).unwrap();
    let mut packet = [&[0x45, 0][..], &total.to_be_bytes(), &[0, number, 0, 0, 64, 41, 0, 0]].concat();
    packet.extend([10, 0, number, 2, 10, 0, number, 1]);
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([0x60, 0, 0, 0, 0, u8::try_from(data).unwrap(), 253, 64]);
    for last in [2, 1] {
        packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe, 10, 0, number, last]);
    }
    packet.extend((0..data).map(|at| u8::try_from(at).unwrap()));
    packet
}

/// A file of pcapng, written by hand.
struct Writer {
    file: Vec<u8>,
    big: bool,
    interfaces: u32,
}

impl Writer {
    fn new() -> Self {
        Writer { file: Vec::new(), big: false, interfaces: 0 }
    }

    fn half(&self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn word(&self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = self.word(u32::try_from(padded + 12).unwrap());
        let kind = self.word(kind);
        self.file.extend([kind, length].concat());
        self.file.extend(body);
        self.file.extend(vec![0; padded - body.len()]);
        self.file.extend(length);
    }

    fn section(&mut self, big: bool) {
        (self.big, self.interfaces) = (big, 0);
        let body = [&self.word(0x1a2b_3c4d)[..], &self.half(1), &self.half(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body);
    }

    /// Adds an interface: its number.
    fn interface(&mut self, link_type: u16, resolution: Option<u8>, offset: Option<i64>) -> u32 {
        let mut body = [&self.half(link_type)[..], &self.half(0), &self.word(0)].concat();
        if let Some(resolution) = resolution {
            body.extend([&self.half(9)[..], &self.half(1), &[resolution, 0, 0, 0]].concat());
        }
        if let Some(offset) = offset {
            let value = if self.big { offset.to_be_bytes() } else { offset.to_le_bytes() };
            body.extend([&self.half(14)[..], &self.half(8), &value].concat());
        }
        body.extend([0; 4]);
        self.block(1, &body);
        self.interfaces += 1;
        self.interfaces - 1
    }

    /// A packet in a block of this kind: 2 obsolete, 3 simple, 6 enhanced.
    fn packet(&mut self, kind: u32, interface: u32, ticks: u64, frame: &[u8]) {
        let length = self.word(u32::try_from(frame.len()).unwrap());
        let [high, low] = [ticks >> 32, ticks & 0xffff_ffff].map(|half| self.word(u32::try_from(half).unwrap()));
        let body = match kind {
            3 => [&length[..], frame].concat(),
            2 => {
                let interface = self.half(u16::try_from(interface).unwrap());
                [&interface[..], &self.half(0), &high, &low, &length, &length, frame].concat()
            }
            _ => [&self.word(interface)[..], &high, &low, &length, &length, frame].concat(),
        };
        self.block(kind, &body);
    }
}

/// Every form of every link type, an interface each; and of each what is not counted.
fn all_link_types() -> (Vec<u8>, Vec<usize>) {
    let mut file = Writer::new();
    file.section(false);
    let headers = headers();
    for (number, (link_type, header)) in (1..).zip(&headers) {
        let packet = packet(number);
        let interface = file.interface(*link_type, None, None);
        let time = 1_700_000_000_123_456 + u64::from(number) * 1_000_003;
        file.packet(6, interface, time, &[header(packet.len()), packet].concat());
    }
    (file.file, headers.iter().map(|(link_type, _)| uncounted(*link_type)).collect())
}

/// Sections of both byte orders, all blocks that hold packets, all kinds of time.
fn all_times() -> (Vec<u8>, usize) {
    let mut file = Writer::new();
    let mut count = 0;
    for big in [false, true] {
        file.section(big);
        for (resolution, offset, ticks) in [
            (None, None, 1_700_000_000_500_000),
            (Some(6), Some(3600), 1_700_000_000_123_456),
            (Some(0), None, 1_700_000_000),
            (Some(3), None, 1_700_000_000_123),
            (Some(9), None, 1_700_000_000_123_456_789),
            (Some(0x80), None, 1_700_000_000),
            (Some(0x94), None, 1_700_000_000 << 20 | 1 << 19),
            (Some(0xa0), None, 1_700_000_000 << 32 | 3 << 30),
            (Some(0x8a), Some(-1000), 1_700_000_000 << 10 | 1),
        ] {
            let interface = file.interface(101, resolution, offset);
            for kind in [2, 6] {
                count += 1;
                file.packet(kind, interface, ticks, &packet(u8::try_from(count).unwrap()));
            }
        }
        // A block that nobody needs, and a packet without a time. (tshark lists custom blocks,
        // 0xbad, as if they were packets.)
        file.block(0x8000_0001, &[7; 9]);
        count += 1;
        file.packet(3, 0, 0, &packet(u8::try_from(count).unwrap()));
    }
    (file.file, count)
}

/// Bytes in front of a frame of this link type that tshark does not count: it has them apart.
fn uncounted(link_type: u16) -> usize {
    match link_type {
        123 => 4,
        197 => 18,
        204 => 1,
        _ => 0,
    }
}

const FIELDS: [&str; 12] = [
    "frame.time_epoch",
    "frame.cap_len",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ip.len",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.plen",
    "ieee8021ad.id",
    "vlan.id",
    "mpls.label",
];

/// Whether `explain` and `check` see in a file what tshark sees: a packet for each number of
/// bytes that tshark does not count.
#[track_caller]
fn compare(file: &Path, uncounted: &[usize]) {
    let count = uncounted.len();
    let tshark = Command::new("tshark")
        .args(["-n", "-T", "fields"])
        .args(FIELDS.iter().flat_map(|field| ["-e", field]))
        .arg("-r")
        .arg(file)
        .output()
        .unwrap();
    let ours = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).arg(file).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(output.stderr.is_empty(), "{file:?}: {}", String::from_utf8_lossy(&output.stderr));
        objects
    };
    let explained = ours(&["explain", "-j"]);
    let checked = ours(&["check", "-j", "--link", "isatap", "--local", "10.0.0.1"]);
    let expected = String::from_utf8(tshark.stdout).unwrap();
    let counts = (explained.len(), checked.len(), expected.lines().count());
    assert_eq!(counts, (count, count, count), "{file:?}: {}", String::from_utf8_lossy(&tshark.stderr));
    let mut wrong = String::new();
    for (number, ((explained, checked), expected)) in (1..).zip(explained.iter().zip(&checked).zip(expected.lines())) {
        let said = said(explained, checked, uncounted[number - 1]);
        let mut expected: Vec<String> =
            FIELDS.iter().zip(expected.split('\t')).map(|(field, text)| canonical(field, text)).collect();
        // Service tags stand in front of others.
        let service = expected.remove(9);
        if !service.is_empty() {
            expected[9] = format!("{service},{}", expected[9]);
        }
        // Of an IPv4 header that is cut tshark shows some fields, and the verdict is that.
        let told = if checked["verdict"] == "cut" && said[3].is_empty() { 3 } else { said.len() };
        if said.len() != expected.len() || said[..told] != expected[..told] {
            writeln!(wrong, "packet {number}: {said:?}\n  tshark: {expected:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{file:?}:\n{wrong}");
}

/// Ours, in the order of [`FIELDS`].
fn said(explained: &Value, checked: &Value, uncounted: usize) -> Vec<String> {
    let layers = explained["layers"].as_array().unwrap();
    // Of a header that is cut too, what is there.
    let is = |layer: &Value, kind: &str| {
        layer["kind"] == kind || layer["kind"] == "cut" && layer["layer"] == "IPv6 header" && kind == "ipv6"
    };
    let of = |kind: &str, key: &str| {
        let value = layers.iter().find(|layer| is(layer, kind)).and_then(|layer| layer.get(key));
        value.map_or(String::new(), |value| value.to_string().trim_matches('"').to_owned())
    };
    let less = |value: &Value| (value.as_u64().unwrap() - u64::try_from(uncounted).unwrap()).to_string();
    let tags = |kind: &str| {
        let tags = explained["frame"]["tags"].as_array().into_iter().flatten().filter(|tag| tag["kind"] == kind);
        tags.map(|tag| tag["id"].to_string()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(explained["frame"]["captured"], checked["captured"]);
    assert_eq!(explained["frame"]["length"], checked["length"]);
    assert_eq!(checked["outer_src"].as_str().unwrap_or(""), of("ipv4", "src"));
    vec![
        canonical("frame.time_epoch", explained["time"].as_str().unwrap_or("")),
        less(&checked["captured"]),
        less(&checked["length"]),
        of("ipv4", "src"),
        of("ipv4", "dst"),
        of("ipv4", "length"),
        canonical("ipv6.src", &of("ipv6", "src")),
        canonical("ipv6.dst", &of("ipv6", "dst")),
        of("ipv6", "payload_length"),
        tags("vlan"),
        tags("mpls"),
    ]
}

/// The same text for the same value: times with nine decimals, addresses in one form.
fn canonical(field: &str, text: &str) -> String {
    match (field, text.parse::<std::net::Ipv6Addr>()) {
        (_, Ok(address)) => address.to_string(),
        // A packet without a time is of 1970 to tshark.
        ("frame.time_epoch", _) if text.trim_matches(['0', '.']).is_empty() => String::new(),
        ("frame.time_epoch", _) => {
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
            format!("{seconds}.{fraction:0<9}")
        }
        _ => text.to_owned(),
    }
}

/// A file of this test's, gone at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Temporary(std::env::temp_dir().join(format!("isatap-it-captures-{}-{name}", std::process::id())))
    }

    fn with(name: &str, bytes: &[u8]) -> Self {
        let file = Temporary::new(name);
        fs::write(&file.0, bytes).unwrap();
        file
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str], from: &Path, to: &Path) {
    let output = Command::new(program).args(arguments).arg(from).arg(to).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "wants tshark; run by .ci/run interop"]
fn every_link_type_is_read_as_tshark_reads_it() {
    let (bytes, uncounted) = all_link_types();
    let file = Temporary::with("links.pcapng", &bytes);
    compare(&file.0, &uncounted);
    // The first 120 bytes of each: with every header of a link type in front, some of IPv4.
    let cut = Temporary::new("cut.pcapng");
    run("editcap", &["-s", "120"], &file.0, &cut.0);
    compare(&cut.0, &uncounted);
}

#[test]
#[ignore = "wants tshark; run by .ci/run interop"]
fn every_file_format_is_read_as_tshark_reads_it() {
    let (bytes, count) = all_times();
    let uncounted = vec![0; count];
    let file = Temporary::with("times.pcapng", &bytes);
    compare(&file.0, &uncounted);
    for format in ["pcap", "nsecpcap", "modpcap", "pcapng"] {
        let converted = Temporary::new(format);
        run("editcap", &["-F", format], &file.0, &converted.0);
        compare(&converted.0, &uncounted);
        let cut = Temporary::new("cut");
        run("editcap", &["-F", format, "-s", "50"], &file.0, &cut.0);
        compare(&cut.0, &uncounted);
    }
    for (program, extension) in [("gzip", "gz"), ("zstd", "zst")] {
        let packed = Temporary::new(&format!("times.pcapng.{extension}"));
        let output = Command::new(program).args(["-c", "-q"]).arg(&file.0).output().unwrap();
        fs::write(&packed.0, output.stdout).unwrap();
        compare(&packed.0, &uncounted);
    }
}

/// An echo request and a SYN in protocol 41, made by Scapy.
const WHOLE: [&str; 2] = [
    "4500004a00010000402966880a0000020a000001 60000000000e3a40fe8000000000000000005efe0a000002\
     fe8000000000000000005efe0a000001 8000845b00010001697361746170",
    "4500005000020000402966810a0000020a000001 6000000000140640fe8000000000000000005efe0a000002\
     fe8000000000000000005efe0a000001 9c40000900000001000000005002200024970000",
];

#[test]
#[ignore = "wants tshark; run by .ci/run interop"]
fn a_recording_with_one_wrong_byte_is_not_clean() {
    let is_clean = |packet: &[u8]| {
        // pcap 2.4 of raw IP (link type 101), its one packet at time 0.
        let length = u32::try_from(packet.len()).unwrap();
        let words = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 101, 0, 0, length, length];
        let bytes = [&words.map(u32::to_be_bytes).concat()[..], packet].concat();
        let file = Temporary::with("clean.pcap", &bytes);
        let packets = Packets::read(file.0.clone());
        panic::catch_unwind(|| packets.assert_clean()).is_ok()
    };
    let [echo, syn] = WHOLE.map(hex);
    assert!(is_clean(&echo) && is_clean(&syn));
    // The IPv4 checksum, that of ICMPv6, that of TCP, the payload length of IPv6.
    for (whole, at) in [(&echo, 11), (&echo, 63), (&syn, 77), (&syn, 25)] {
        let mut wrong = whole.clone();
        wrong[at] ^= 0x20;
        assert!(!is_clean(&wrong), "byte {at} is wrong and nobody says so");
    }
}

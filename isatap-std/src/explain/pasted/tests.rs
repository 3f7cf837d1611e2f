#![allow(clippy::unwrap_used)]
use super::*;

/// An ISATAP echo in IPv4, as tools show it.
const PACKET: &str = "4500005000010000402966820a0000020a000001600000000014\
                      3a40fe8000000000000000005efe0a000002fe8000000000000000005efe0a0000018000406300010001\
                      68656c6c6f20697361746170";

const XXD: &str = "\
00000000: 4500 0050 0001 0000 4029 6682 0a00 0002  E..P....@)f.....
00000010: 0a00 0001 6000 0000 0014 3a40 fe80 0000  ....`.....:@....
00000020: 0000 0000 0000 5efe 0a00 0002 fe80 0000  ......^.........
00000030: 0000 0000 0000 5efe 0a00 0001 8000 4063  ......^.......@c
00000040: 0001 0001 6865 6c6c 6f20 6973 6174 6170  ....hello isatap
";

fn packet() -> Vec<u8> {
    literal::digits(PACKET).unwrap()
}

/// What text comes to; a line that is a word is a target.
fn read(text: &str) -> Vec<Found> {
    pieces(text, |line| line == "::1").into_iter().map(|piece| piece.found).collect()
}

#[track_caller]
fn is_packet(text: &str) {
    assert_eq!(read(text), [Found::Packet(packet())], "{text}");
}

#[track_caller]
fn is_refused(text: &str, expected: &str) {
    match read(text).as_slice() {
        [Found::Wrong(error)] => assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_dump_is_one_packet_whatever_stands_around_its_bytes() {
    is_packet(XXD);
    // tcpdump: a heading, tabs, marks.
    let tcpdump: String = XXD.lines().map(|line| format!("\t0x{}  {}\n", &line[4..9], &line[10..49])).collect();
    is_packet(&format!("22:13:20.1 IP 10.0.0.2 > 10.0.0.1: IP6 fe80::5efe:a00:2 > fe80::5efe:a00:1: ICMP6\n{tcpdump}"));
    // Blank lines between the rows, Windows' line ends, and no blanks at the end.
    is_packet(&XXD.replace('\n', "\r\n\r\n"));
    // A text column with one space in front.
    is_packet(&XXD.replace("  ", " "));
    // tshark -x, with signs of newer versions, and what it puts together itself.
    let tshark: String = XXD
        .lines()
        .map(|line| {
            let digits: String = line[10..49].split(' ').collect();
            let pairs: Vec<&str> = (0..32).step_by(2).map(|at| &digits[at..at + 2]).collect();
            format!("{}  {}   {}\n", &line[4..8], pairs.join(" "), line[51..].replace('.', "·"))
        })
        .collect();
    is_packet(&tshark);
    is_packet(&format!(
        "Frame (80 bytes):\n{tshark}\nReassembled IPv6 (20 bytes):\n0000  80 00 40 63 00 01   ..@c..\n"
    ));
    // A text column that looks like bytes.
    let text = "00000000: 4500 001c 0000 4000 4001 0000 7f00 0001  E.....@.@.......\n00000010: 7f00 0001 6161 6262 6464 6161            ....aabbddaa\n";
    assert!(matches!(read(text).as_slice(), [Found::Packet(bytes)] if bytes.ends_with(b"aabbddaa")));
    let text =
        "00000000: 4500 001c 0000 4000 4001 0000 7f00 0001\n00000010: 7f00 0001 3631 6236 6464 6161  ....61b6ddaa\n";
    assert!(matches!(read(text).as_slice(), [Found::Packet(bytes)] if bytes.ends_with(b"61b6ddaa")));
}

#[test]
fn words_of_od_and_hexdump_are_read_when_their_length_and_order_are_told() {
    let words: Vec<String> = packet().chunks(2).map(|pair| format!("{:02x}{:02x}", pair[1], pair[0])).collect();
    let rows = |last: &str, base: fn(usize) -> String| -> String {
        let rows = words.chunks(8).enumerate().map(|(row, words)| format!("{} {}\n", base(row * 16), words.join(" ")));
        rows.collect::<String>() + last
    };
    is_packet(&rows("0000120\n", |offset| format!("{offset:07o}")));
    is_packet(&rows("0000050\n", |offset| format!("{offset:07x}")));
    is_refused(&rows("", |offset| format!("{offset:07o}")), "without the last line");
    // An odd length: the last word has a byte that is none.
    let odd = rows("0000117\n", |offset| format!("{offset:07o}"));
    assert_eq!(read(&odd), [Found::Packet(packet()[..79].to_vec())]);
    // Rows that are the same are shown once.
    let zeros = [&literal::digits("4500006400000000400100007f0000017f000001").unwrap()[..], &[0; 80]].concat();
    let squeezed = "00000000  45 00 00 64 00 00 00 00  40 01 00 00 7f 00 00 01  |E..d....@.......|\n\
                    00000010  7f 00 00 01 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
                    00000020  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n\
                    00000060  00 00 00 00                                       |....|\n00000064\n";
    assert_eq!(read(squeezed), [Found::Packet(zeros)]);
}

#[test]
fn bytes_of_languages_and_streams_are_one_packet() {
    let bytes = packet();
    let join = |format: fn(&u8) -> String, by: &str| bytes.iter().map(format).collect::<Vec<_>>().join(by);
    is_packet(PACKET);
    is_packet(&PACKET.to_uppercase());
    for separator in [" ", ":", "-"] {
        is_packet(&join(|byte| format!("{byte:02x}"), separator));
    }
    is_packet(&join(|byte| format!("\\x{byte:02x}"), ""));
    is_packet(&format!("pkt = b\"{}\"", join(|byte| format!("\\x{byte:02x}"), "")));
    is_packet(&join(|byte| format!("0x{byte:02x}"), ", "));
    is_packet(&join(|byte| format!("0x{byte:02x}"), " "));
    is_packet(&format!("[{}]", join(u8::to_string, ", ")));
    is_packet(&format!("let packet = [{}];", join(|byte| format!("0x{byte:02x}"), ", ")));
    is_packet(&format!("bytes.fromhex('{PACKET}')"));
    let rows = |format: fn(&u8) -> String, open: &str, close: &str| -> String {
        bytes.chunks(12).map(|row| format!("{open}{}{close}\n", row.iter().map(format).collect::<String>())).collect()
    };
    is_packet(&rows(|byte| format!("{byte:02x}"), "", ""));
    is_packet(&rows(|byte| format!("\\x{byte:02x}"), "\"", "\" \\"));
    is_packet(&rows(|byte| format!("\\{byte:03o}\\x"), "b'", "'").replace("\\x", "").replacen("\\105", "\\x45", 1));
    let array = rows(|byte| format!("0x{byte:02x}, "), "", "/* }.. */");
    is_packet(&format!("/* Frame (80 bytes) */\nstatic const unsigned char pkt1[80] = {{\n{array}}};\n"));
    is_packet(&format!("unsigned char p_bin[] = {{\n{array}}};\nunsigned int p_bin_len = 80;\n"));
    // Printable bytes as Python shows them.
    is_packet(
        "b'E\\x00\\x00P\\x00\\x01\\x00\\x00@)f\\x82\\n\\x00\\x00\\x02\\n\\x00\\x00\\x01`\\x00\\x00\\x00\\x00\\x14:@\
         \\xfe\\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00^\\xfe\\n\\x00\\x00\\x02\\xfe\\x80\\x00\\x00\\x00\\x00\\x00\\x00\
         \\x00\\x00^\\xfe\\n\\x00\\x00\\x01\\x80\\x00@c\\x00\\x01\\x00\\x01hello isatap'",
    );
}

#[test]
fn a_link_layer_in_front_is_left_away() {
    let macs = "020000000001020000000002";
    for front in [
        format!("{macs}0800"),
        format!("{macs}8100000a0800"),
        format!("{macs}88a8000181000002 0800"),
        "000000010006020000000000 0000 0800".to_owned(),
        "0800000000000002000100060200000000000000".to_owned(),
        "02000000".to_owned(),
        // A sender whose address begins as IPv4 does.
        "450000000001 460000000002 0800".to_owned(),
    ] {
        is_packet(&format!("{}{PACKET}", front.replace(' ', "")));
    }
    // Padding of a short frame is none of the packet, and no packet either.
    let short = "4500001c00000000400100007f0000017f0000010800f7ff00000000";
    let frame = format!("{macs}0800{short}{}", "00".repeat(18));
    assert_eq!(read(&frame), [Found::Packet(literal::digits(short).unwrap())]);
    is_refused(&format!("{macs}0806{PACKET}"), "ARP");
    is_refused(&format!("{macs}88cc{}", "01".repeat(60)), "no IPv4 or IPv6 header");
}

#[test]
fn a_length_tells_bytes_from_text_that_is_the_same() {
    // The last group is a fifth byte, or the text of the four before it.
    let dump = |length| format!("0000:  4500 00{length} 0001 0000 40fd 0000 0a00 0002\n0010:  2033 3020 30\n");
    let bytes = |end: &str| literal::digits(&format!("450000{end}")).map(Found::Packet);
    assert_eq!(read(&dump("15")), [bytes("150001000040fd00000a0000022033302030").unwrap()]);
    assert_eq!(read(&dump("14")), [bytes("140001000040fd00000a00000220333020").unwrap()]);
    is_refused(&dump("16"), "cannot be told from the text");
}

#[test]
fn several_packets_and_other_lines_keep_their_order() {
    let text = format!("::1\nnonsense\n::1\nheading\n{XXD}heading\n{XXD}{PACKET}\n{PACKET}\n::1\nmore\n");
    let packet = || Found::Packet(packet());
    let expected =
        [Found::Line, Found::Line, Found::Line, packet(), packet(), packet(), packet(), Found::Line, Found::Line];
    assert_eq!(read(&text), expected);
    // Two in one block, each in several lines.
    let lines = |text: &str| {
        text.as_bytes().chunks(32).map(|row| format!("{}\n", String::from_utf8_lossy(row))).collect::<String>()
    };
    assert_eq!(read(&format!("{0}{0}", lines(PACKET))), [packet(), packet()]);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    // Where the offset stands two bytes of a packet could stand.
    let row = "0000 4500 0050 0001 0000 4029 6682 0a00 0002";
    is_refused(row, "write 0000: for an offset");
    is_refused(&format!("{row}\n0a00 0001"), "no IPv4 or IPv6 header");
    is_refused(&XXD.lines().skip(1).collect::<Vec<_>>().join("\n"), "begins at offset 00000010");
    let missing = XXD.replace("00000020: 0000 0000 0000 5efe 0a00 0002 fe80 0000  ......^.........\n", "");
    is_refused(&missing, "at offset 00000030, with 32 bytes before it");
    // The text column of the last row says something else.
    is_refused(&XXD.replace("hello isatap", "hello isatxp"), "cannot be told from the text");
    is_refused("00000000: 01000101 00000000 00000000 01010000 00000000 00000001  E..P..\n", "a dump of bits");
    is_refused("0000000   E  \\0  \\0   P\n0000004\n", "is no byte");
    is_refused("unsigned char p[81] = { 0x45, 0x00 };", "an array of 81 bytes of which 2 are here");
    is_refused("{ 0x45, 0x00,", "paste it up to }");
    is_refused("{ 0x4500, 0x0050 }", "write each as 0x45");
    is_refused("{ 010, 0x45 }", "write each as 0x45");
    is_refused("\"\\x45\\x00", "paste it up to the quote");
    is_refused("\\x45\\xzz", "write each byte as \\x45");
    is_refused("45 00 00 50", "fewer than an IP header has");
    // Lower-case text begins as IPv6 does.
    is_refused(&"68656c6c6f20".repeat(10), "hardly begin with an IP header");
    // Neither length nor checksum fit.
    is_refused(&PACKET.replace("45000050", "45000150").replace("6682", "6683"), "hardly begin with an IP header");
    is_refused(&format!("{PACKET}{PACKET}"), "two packets without an empty line");
    // Never the offset for bytes, whatever its width.
    for text in [XXD.to_owned(), XXD.replace(": ", "  "), XXD.replace("\n0000", "\n").replacen("0000", "", 1)] {
        for found in read(&text) {
            assert!(matches!(&found, Found::Wrong(_)) || found == Found::Packet(packet()), "{text}: {found:?}");
        }
    }
}

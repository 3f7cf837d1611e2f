//! Files written by hand, byte for byte, in every form.

use super::*;
use proptest::prelude::*;
use std::io::Cursor;

const PACKET: [u8; 5] = [0x45, 1, 2, 3, 4];

/// A pcap file of these packets, each at 3.25 s.
fn pcap(big: bool, nanoseconds: bool, link_type: u32, packets: &[&[u8]]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = word(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }).to_vec();
    file.extend([half(2), half(4)].concat());
    file.extend([word(0), word(0), word(65_535), word(link_type)].concat());
    for packet in packets {
        let length = word(u32::try_from(packet.len()).unwrap());
        file.extend(word(3));
        file.extend(word(if nanoseconds { 250_000_000 } else { 250_000 }));
        file.extend([length, length].concat());
        file.extend(*packet);
    }
    file
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let padded = body.len().next_multiple_of(4);
    let length = word(u32::try_from(padded + 12).unwrap());
    let mut block = [word(kind), length].concat();
    block.extend(body);
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

/// A section with two interfaces, Ethernet in microseconds and raw IP in
/// nanoseconds; the packet on the second, one without a time on the first.
fn pcapng(big: bool) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = block(big, 0x0a0d_0d0a, &[&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat());
    file.extend(block(big, 1, &[&half(1)[..], &half(0), &word(0)].concat()));
    let resolution = [&half(9)[..], &half(1), &[9, 0, 0, 0]].concat();
    file.extend(block(big, 1, &[&half(101)[..], &half(0), &word(0), &resolution, &[0; 4]].concat()));
    // Something that nobody needs.
    file.extend(block(big, 0x0000_0bad, &[7; 9]));
    let time = 3_250_000_000_u64;
    let (high, low) = (u32::try_from(time >> 32).unwrap(), u32::try_from(time & 0xffff_ffff).unwrap());
    file.extend(block(big, 6, &[&word(1)[..], &word(high), &word(low), &word(5), &word(99), &PACKET].concat()));
    let ethernet = [&[0; 12][..], &[8, 0], &PACKET].concat();
    file.extend(block(big, 3, &[&word(19)[..], &ethernet].concat()));
    file
}

fn read(file: Vec<u8>) -> Vec<Result<Frame, String>> {
    match Reader::new(Cursor::new(file), "the test") {
        Ok(reader) => reader.map(|frame| frame.map_err(|error| error.to_string())).collect(),
        Err(error) => vec![Err(error.to_string())],
    }
}

#[test]
fn both_byte_orders_and_both_resolutions_of_pcap() {
    for (big, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let frames = read(pcap(big, nanoseconds, 101, &[&PACKET, &[]]));
        let frame = frames[0].as_ref().unwrap();
        assert_eq!((frame.number, frame.time), (1, Some(Duration::from_millis(3250))), "{big} {nanoseconds}");
        assert_eq!((frame.link_type, &frame.bytes[..], frame.original_len), (101, &PACKET[..], 5));
        assert_eq!(frame.ip(), Ok(&PACKET[..]));
        assert_eq!(frames[1].as_ref().unwrap().number, 2);
        assert_eq!(frames.len(), 2);
    }
}

#[test]
fn pcapng_with_several_interfaces_and_unknown_blocks() {
    for big in [false, true] {
        let frames = read(pcapng(big));
        assert_eq!(frames.len(), 2, "{frames:?}");
        let frame = frames[0].as_ref().unwrap();
        assert_eq!((frame.number, frame.time), (1, Some(Duration::from_millis(3250))));
        assert_eq!((frame.original_len, frame.ip()), (99, Ok(&PACKET[..])));
        let frame = frames[1].as_ref().unwrap();
        assert_eq!((frame.link_type, frame.time, frame.ip()), (1, None, Ok(&PACKET[..])));
    }
}

#[test]
fn two_sections_in_one_file() {
    let frames = read([pcapng(false), pcapng(true)].concat());
    assert_eq!(frames.iter().map(|frame| frame.as_ref().unwrap().number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn blocks_that_nobody_needs_are_passed_over_whatever_their_length() {
    let mut file = pcapng(false);
    let comment = block(false, 0xbad, &vec![1; LARGEST + 1000]);
    let interfaces_end = file.len() - block(false, 3, &[0; 23]).len();
    file.splice(interfaces_end..interfaces_end, comment);
    assert_eq!(read(file).iter().filter(|frame| frame.is_ok()).count(), 2);
    let long = vec![0x60; 65_000];
    assert_eq!(read(pcap(false, false, 101, &[&long, &PACKET])).len(), 2);
}

#[test]
fn a_file_cut_short_gives_what_is_there_and_says_where_the_cut_is() {
    let file = pcap(false, false, 101, &[&PACKET, &PACKET]);
    // In the bytes of the second packet, then in its header, then behind it.
    for (missing, frames, place) in [(1, 2, Some("in packet 2")), (6, 1, Some("behind packet 1")), (21, 1, None)] {
        let found = read(file[..file.len() - missing].to_vec());
        let good: Vec<_> = found.iter().filter_map(|frame| frame.as_ref().ok()).collect();
        assert_eq!(good.len(), frames, "{missing} bytes are missing");
        assert_eq!(found.last().unwrap().as_ref().err().is_some(), place.is_some());
        if let (Some(place), Err(error)) = (place, found.last().unwrap()) {
            assert!(error.contains("the test") && error.contains(&format!("cut short {place}")), "{error}");
        }
    }
    let cut = read(file[..file.len() - 1].to_vec());
    let frame = cut[1].as_ref().unwrap();
    assert_eq!((&frame.bytes[..], frame.original_len), (&PACKET[..4], 5));
    let packet = frame.packet().unwrap();
    assert_eq!((packet.bytes, packet.length), (&PACKET[..4], 5));
    // The same within a block of pcapng.
    let file = pcapng(true);
    let found = read(file[..file.len() - 6].to_vec());
    assert_eq!(found.len(), 3);
    assert!(found[2].as_ref().unwrap_err().contains("cut short in packet 2"), "{found:?}");
}

#[test]
fn a_pipe_gives_a_few_bytes_at_a_time_and_is_interrupted() {
    struct Pipe {
        file: Cursor<Vec<u8>>,
        calls: u32,
    }
    impl Read for Pipe {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = to.len().min(5);
            self.file.read(&mut to[..most])
        }
    }
    for file in [pcap(true, true, 101, &[&PACKET, &PACKET]), pcapng(false), gzip(&pcapng(true))] {
        let pipe = Pipe { file: Cursor::new(file.clone()), calls: 0 };
        let frames: Vec<Frame> = Reader::new(pipe, "the pipe").unwrap().map(Result::unwrap).collect();
        assert_eq!(frames.into_iter().map(Ok).collect::<Vec<_>>(), read(file));
    }
}

#[test]
fn what_is_no_capture_is_named() {
    let file = pcap(false, false, 101, &[&PACKET]);
    let named = |bytes: &[u8]| read(bytes.to_vec()).remove(0).unwrap_err();
    assert!(named(b"").contains("it is empty"));
    assert!(named(b"%PDF-1.7 and so on, long enough to be looked at").contains("neither a pcap nor a pcapng"));
    assert!(named(&file[..20]).contains("cut short before its first packet"));
    assert!(named(b"snoop\0\0\0\0\0\0\x02\0\0\0\x04").contains("snoop"));
    assert!(named(b"\xfd7zXZ\0\0\x04").contains("xz -dc"));
    assert!(read(file[..24].to_vec()).is_empty(), "a header alone is a capture of nothing");
    let directory = Reader::open(Path::new("/")).err().unwrap().to_string();
    assert!(directory.contains("is a directory"), "{directory}");
}

#[test]
fn lengths_that_cannot_be_are_said_with_the_packet_in_front() {
    let mut file = pcap(false, false, 101, &[&PACKET, &PACKET]);
    file[45 + 8..45 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let found = read(file);
    let error = found[1].as_ref().unwrap_err();
    assert!(
        found[0].is_ok() && error.contains("broken behind packet 1: it has a packet of 4294967295 bytes"),
        "{error}"
    );
    // A block whose second length is another one, or that is shorter than a block can be.
    for (place, value, what) in [(4_usize, 3_u8, "a block of 3 bytes"), (24, 29, "two lengths")] {
        let mut file = pcapng(false);
        file[place] = value;
        let error = read(file).remove(0).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_packet_of_an_interface_that_is_not_described_is_said() {
    let section = block(false, 0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat());
    let mut packet = vec![7, 0, 0, 0];
    packet.extend([0; 8]);
    packet.extend([5, 0, 0, 0, 5, 0, 0, 0]);
    packet.extend(PACKET);
    for (file, number) in [
        ([section.clone(), block(false, 6, &packet)].concat(), 7),
        ([section.clone(), block(false, 2, &packet)].concat(), 7),
        ([section, block(false, 3, &[&[5, 0, 0, 0][..], &PACKET].concat())].concat(), 0),
    ] {
        let error = read(file).remove(0).unwrap_err();
        assert!(error.contains(&format!("interface {number}, which it does not describe")), "{error}");
    }
}

/// One packet of an interface with these options, captured at this many ticks.
fn at_ticks(options: &[u8], ticks: u64) -> Option<Duration> {
    let mut file = block(false, 0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat());
    file.extend(block(false, 1, &[&[101, 0, 0, 0, 0, 0, 0, 0][..], options].concat()));
    let [high, low] = [ticks >> 32, ticks & 0xffff_ffff].map(|half| u32::try_from(half).unwrap().to_le_bytes());
    let body = [&[0; 4][..], &high, &low, &[5, 0, 0, 0, 5, 0, 0, 0], &PACKET].concat();
    file.extend(block(false, 6, &body));
    read(file).remove(0).unwrap().time
}

#[test]
fn every_resolution_of_time() {
    let resolution = |value: u8| [9, 0, 1, 0, value, 0, 0, 0, 0, 0, 0, 0];
    let time = |seconds, nanos| Some(Duration::new(seconds, nanos));
    assert_eq!(at_ticks(&[], 1_500_000), time(1, 500_000_000), "microseconds unless said");
    assert_eq!(at_ticks(&resolution(0), 7), time(7, 0));
    assert_eq!(at_ticks(&resolution(9), 1_500_000_001), time(1, 500_000_001));
    assert_eq!(at_ticks(&resolution(12), 1_500_000_001_999), time(1, 500_000_001));
    assert_eq!(at_ticks(&resolution(0x80), 9), time(9, 0));
    assert_eq!(at_ticks(&resolution(0x81), 3), time(1, 500_000_000));
    assert_eq!(at_ticks(&resolution(0x94), 3 << 19), time(1, 500_000_000));
    assert_eq!(at_ticks(&resolution(0xa0), (5 << 32) + (1 << 30)), time(5, 250_000_000));
    // Finer than any clock, and coarser than the ticks.
    for value in [0x7f, 0xff, 0x13, 0x14, 0xc0, 0x3f] {
        assert!(at_ticks(&resolution(value), u64::MAX).is_some_and(|time| time < Duration::from_secs(2)), "{value:#x}");
    }
    assert_eq!(at_ticks(&resolution(0), u64::MAX), time(u64::MAX, 0));
    // An offset of a day, and one before 1970.
    let mut offset = [14, 0, 8, 0, 0x80, 0x51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(at_ticks(&offset, 1_500_000), time(86_401, 500_000_000));
    offset[4..12].fill(0xff);
    assert_eq!(at_ticks(&offset, 1_500_000), time(0, 500_000_000));
}

#[test]
fn variants_of_pcap() {
    // Kuznetzov's records have eight bytes more.
    let mut file = pcap(false, false, 101, &[&PACKET]);
    file[..4].copy_from_slice(&0xa1b2_cd34_u32.to_le_bytes());
    file.splice(40..40, [0; 8]);
    assert_eq!(read(file).remove(0).unwrap().ip(), Ok(&PACKET[..]));
    // Version 2.2 has the lengths the other way round; 2.3 where they say so.
    for minor in [2, 3] {
        let mut file = pcap(true, false, 101, &[&PACKET]);
        file[6..8].copy_from_slice(&[0, minor]);
        file[32..36].copy_from_slice(&99_u32.to_be_bytes());
        let frame = read(file).remove(0).unwrap();
        assert_eq!((frame.bytes.len(), frame.original_len), (5, 99), "2.{minor}");
    }
    // The link type is 16 bits; those above tell of the frame check sequence.
    for big in [false, true] {
        let frame = read(pcap(big, false, 0x5400_0065, &[&PACKET])).remove(0).unwrap();
        assert_eq!((frame.link_type, frame.ip()), (101, Ok(&PACKET[..])));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, bytes).unwrap();
    packed.finish().unwrap()
}

/// Frames of one stored block each, as the specification has them. [RFC 8878 §3.1.1]
fn zstd(parts: &[&[u8]]) -> Vec<u8> {
    let mut file = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    for part in parts {
        file.extend([0x28, 0xb5, 0x2f, 0xfd, 0x80]);
        file.extend([0x58]);
        file.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
        let header = u32::try_from(part.len()).unwrap() << 3 | 1;
        file.extend(&header.to_le_bytes()[..3]);
        file.extend(*part);
    }
    file
}

#[test]
fn compressed_captures_are_read_as_they_are() {
    let file = pcap(false, false, 101, &[&PACKET, &PACKET]);
    let whole = read(file.clone());
    let members = [gzip(&file[..30]), gzip(&file[30..])].concat();
    for packed in [gzip(&file), members, zstd(&[&file]), zstd(&[&file[..3], &file[3..]])] {
        assert!(Reader::recognises(&packed[..4]));
        assert_eq!(read(packed.clone()), whole);
        // Cut where the file within is not: told all the same.
        let cut = read(packed[..packed.len() - 4].to_vec());
        assert!(cut.last().unwrap().as_ref().unwrap_err().contains("cut short"), "{cut:?}");
    }
    let error = read(gzip(&gzip(&file))).remove(0).unwrap_err();
    assert!(error.contains("compressed twice"), "{error}");
    let mut broken = gzip(&file);
    broken[12..20].fill(0xff);
    assert!(read(broken).iter().any(Result::is_err));
    assert!(read(gzip(b"no capture")).remove(0).unwrap_err().contains("neither a pcap nor a pcapng"));
}

#[test]
fn what_is_unpacked_has_a_bound() {
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            Ok(to.len())
        }
    }
    let mut limited = source::Limited { unpacked: Box::new(Endless), left: 1000 };
    let mut out = Vec::new();
    let error = limited.read_to_end(&mut out).unwrap_err().to_string();
    assert!(out.len() <= 1000 && error.contains("unpacks to more than 4 GiB"), "{error}");
}

#[test]
fn link_layers() {
    let with = |header: &[u8]| [header, &PACKET].concat();
    let ethernet = |tags: &[u8]| with(&[&[0; 12][..], tags, &[8, 0]].concat());
    for (link_type, frame) in [
        (1, ethernet(&[])),
        (1, ethernet(&[0x81, 0, 0, 5])),
        (1, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])),
        (1, with(&[&[0; 12][..], &[0x88, 0x64, 0x11, 0, 0, 1, 0, 7, 0, 0x21]].concat())),
        (12, with(&[])),
        (228, with(&[])),
        (113, with(&[&[0; 14][..], &[8, 0]].concat())),
        (276, with(&[&[0x86, 0xdd][..], &[0; 18]].concat())),
        (0, with(&[2, 0, 0, 0])),
        (108, with(&[0, 0, 0, 30])),
    ] {
        assert_eq!(ip(link_type, &frame), Ok(&PACKET[..]), "{link_type}: {frame:02x?}");
    }
    assert_eq!(ip(1, &with(&[&[0; 12][..], &[8, 6]].concat())), Err(NotIp::OtherProtocol(0x0806)));
    assert_eq!(ip(1, &[0; 13]), Err(NotIp::Short));
    assert_eq!(ip(147, &PACKET), Err(NotIp::LinkType(147)));
    assert_eq!(NotIp::LinkType(220).to_string(), "frames of link type 220 (USB_LINUX_MMAPPED) are not understood");
    assert_eq!(ip(101, &[0x15, 2]), Err(NotIp::OtherProtocol(1)));
}

#[test]
fn tags_are_told_outermost_first() {
    let tagged = |bytes: &[u8]| packet_of(1, &[&[0; 12][..], bytes, &PACKET].concat());
    let vlan = |id, priority| Tag::Vlan { id, priority };
    assert_eq!(
        tagged(&[0x88, 0xa8, 0x60, 5, 0x81, 0, 0, 6, 8, 0]),
        Ok((PACKET.to_vec(), vec![vlan(5, 3), vlan(6, 0)]))
    );
    let labels = [0x88, 0x47, 0, 1, 0, 64, 0, 6, 0x43, 63];
    let [first, second] = [Tag::Mpls { label: 16, class: 0, ttl: 64 }, Tag::Mpls { label: 100, class: 1, ttl: 63 }];
    assert_eq!(tagged(&labels), Ok((PACKET.to_vec(), vec![first, second])));
    assert_eq!(second.to_string(), "MPLS label 100, class 1, TTL 63");
    // Ethernet over MPLS with a control word and without; of most vendors' addresses the first
    // bits are those of a control word.
    let label = Tag::Mpls { label: 100, class: 0, ttl: 63 };
    for control in [&[0; 4][..], &[]] {
        let frame = [0, 0x1b, 0x21, 0, 0, 1, 0, 0x1b, 0x21, 0, 0, 2, 8, 0];
        let pseudowire = [&[0x88, 0x47, 0, 6, 0x41, 63][..], control, &frame].concat();
        assert_eq!(tagged(&pseudowire), Ok((PACKET.to_vec(), vec![label, Tag::Ethernet])), "{control:?}");
    }
    let arp = [&[0x88, 0x47, 0, 6, 0x41, 63, 0, 0, 0, 0][..], &[1; 12], &[8, 6]].concat();
    assert_eq!(tagged(&arp), Err(NotIp::OtherProtocol(0x0806)));
    assert_eq!(packet_of(1, &[&[0; 12][..], &arp[..20]].concat()), Err(NotIp::Short));
    let pppoe = [0x88, 0x64, 0x11, 0, 0, 7, 0, 7, 0, 0x21];
    assert_eq!(tagged(&pppoe), Ok((PACKET.to_vec(), vec![Tag::Pppoe { session: 7 }])));
    // A stack that never ends, and tags without number.
    assert!(tagged(&[&[0x88, 0x47][..], &[0; 400]].concat()).is_err());
    assert!(tagged(&[[0x81, 0, 0, 1]; 60].concat()).is_err());
}

fn packet_of(link_type: u16, frame: &[u8]) -> Result<(Vec<u8>, Vec<Tag>), NotIp> {
    link::packet(link_type, frame).map(|packet| (packet.bytes.to_vec(), packet.tags))
}

#[test]
fn ppp_in_all_its_forms() {
    let with = |header: &[u8]| [header, &PACKET].concat();
    for (link_type, header) in [
        (9, &[0xff, 3, 0, 0x21][..]),
        (9, &[0xff, 3, 0x21]),
        (9, &[0, 0x57]),
        (9, &[0x57]),
        (9, &[0x0f, 0, 8, 0]),
        (50, &[0xff, 3, 0, 0x21]),
        (50, &[0, 0x21]),
        (50, &[0x21]),
        (50, &[0x0f, 0, 8, 0]),
        (50, &[0x8f, 0, 0x86, 0xdd]),
        (51, &[0x11, 0, 0, 1, 0, 7, 0, 0x21]),
        (166, &[1, 3, 0, 0x21]),
        (204, &[0, 0xff, 3, 0, 0x21]),
        (104, &[0x0f, 0, 8, 0]),
        (205, &[1, 0x0f, 0, 8, 0]),
        // Multilink, of which this is all; MPLS.
        (9, &[0xff, 3, 0, 0x3d, 0xc0, 0, 0, 1, 0, 0x21]),
        (9, &[2, 0x81, 0, 6, 0x41, 64]),
    ] {
        assert_eq!(ip(link_type, &with(header)), Ok(&PACKET[..]), "{link_type}: {header:02x?}");
    }
    assert_eq!(ip(9, &with(&[0xc0, 0x21])), Err(NotIp::OtherProtocol(0xc021)));
    assert!(matches!(ip(9, &with(&[0, 0x2d])), Err(NotIp::Opaque(_))));
    assert!(matches!(ip(9, &with(&[0, 0x3d, 0x80, 0, 0, 1, 0, 0x21])), Err(NotIp::Opaque(_))));
}

#[test]
fn wireless_frames_with_what_stands_in_front_of_them() {
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &PACKET].concat();
    let plain = [&[8, 1, 0, 0][..], &[1; 18], &[0, 0], &llc].concat();
    let quality = [&[0x88, 1, 0, 0][..], &[1; 18], &[0, 0, 0, 0], &llc].concat();
    let bridge = [&[8, 3, 0, 0][..], &[1; 18], &[0, 0], &[2; 6], &llc].concat();
    for frame in [&plain, &quality, &bridge] {
        assert_eq!(ip(105, frame), Ok(&PACKET[..]));
        let radiotap = [&[0, 0, 8, 0, 0, 0, 0, 0][..], frame].concat();
        assert_eq!(ip(127, &radiotap), Ok(&PACKET[..]));
        let ppi = [&[0, 0, 8, 0, 105, 0, 0, 0][..], frame].concat();
        assert_eq!(ip(192, &ppi), Ok(&PACKET[..]));
        let prism = [&[0x44, 0, 0, 0, 144, 0, 0, 0][..], &[0; 136], frame].concat();
        assert_eq!(ip(119, &prism), Ok(&PACKET[..]));
        let avs = [&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64][..], &[0; 56], frame].concat();
        assert_eq!((ip(163, &avs), ip(119, &avs)), (Ok(&PACKET[..]), Ok(&PACKET[..])));
    }
    // Radiotap with a time, two words of fields, and a header padded to four bytes.
    let mut padded = quality.clone();
    padded.splice(26..26, [0, 0]);
    let fields = [0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x20];
    assert_eq!(ip(127, &[&fields[..], &padded].concat()), Ok(&PACKET[..]));
    for (at, value, what) in
        [(0, 0x80, "management"), (0, 0x48, "without data"), (1, 0x41, "encrypted"), (22, 1, "fragment")]
    {
        let mut frame = plain.clone();
        frame[at] = value;
        assert!(ip(105, &frame).unwrap_err().to_string().contains(what), "{what}");
    }
}

#[test]
fn link_layers_of_other_networks() {
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &PACKET].concat();
    let bridged = [&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0][..], &[0; 12], &[8, 0], &PACKET].concat();
    let with = |header: &[u8], rest: &[u8]| [header, rest].concat();
    for (link_type, frame) in [
        (1, with(&[&[0; 12][..], &[0, 13]].concat(), &snap)),
        (1, with(&[&[0; 12][..], &[0, 8]].concat(), &with(&[6, 6, 3], &PACKET))),
        (1, with(&[&[0; 12][..], &[0x65, 0x58], &[0; 12], &[8, 0]].concat(), &PACKET)),
        (6, with(&[0; 14], &snap)),
        (6, with(&[0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 4, 0, 0, 0], &snap)),
        (10, with(&[&[0x50][..], &[0; 12]].concat(), &snap)),
        (7, with(&[1, 2, 0xf0], &PACKET)),
        (7, with(&[1, 2, 0xd4, 0, 0, 1], &PACKET)),
        (129, with(&[1, 2, 0, 0, 0xd4, 0, 0, 1], &PACKET)),
        (100, snap.clone()),
        (100, bridged),
        (100, with(&[0xfe, 0xfe, 3, 0xcc], &PACKET)),
        (106, PACKET.to_vec()),
        (123, with(&[2, 0, 0, 32], &snap)),
        (107, with(&[0x18, 0x41, 3, 0xcc], &PACKET)),
        (107, with(&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &PACKET)),
        (107, with(&[0x18, 0x41, 8, 0], &PACKET)),
        (206, with(&[0, 0x18, 0x41, 3, 0xcc], &PACKET)),
        (8, with(&[0; 16], &PACKET)),
        (109, with(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0], &PACKET)),
        (117, with(&[&[61, 2][..], &[0; 62]].concat(), &PACKET)),
        (122, with(&[0; 16], &snap)),
        (226, with(&[&[1, 2][..], &[0; 22]].concat(), &PACKET)),
        (239, with(&[2, 0, 0, 0, 5, 0, 10, 0, b'x', 0, 0, 0, 9, 0, 9, 0], &PACKET)),
        (239, with(&[2, 0, 0, 0, 0, 5, 0, 10, b'x', 0, 0, 0, 0, 9, 0, 9], &PACKET)),
        (219, with(&[0, 6, 0x41, 64], &PACKET)),
        (258, with(&[&[108, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0][..], &[0; 96]].concat(), &PACKET)),
        (197, with(&[&[0; 8][..], &[2, 0, 0, 0, 0, 0, 0, 0], &[0; 14], &[8, 0]].concat(), &PACKET)),
        (178, with(&[&b"MGC"[..], &[0x80, 0, 2, 1, 1], &[0; 12], &[8, 0]].concat(), &PACKET)),
        (252, with(&[0, 12, 0, 2, b'i', b'p', 0, 0, 0, 0], &PACKET)),
        (0, with(&[0, 0, 8, 0], &PACKET)),
        (113, with(&[0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 5, 8, 0], &PACKET)),
        (276, with(&[&[0x88, 0xa8][..], &[0; 18], &[0, 5, 0x81, 0, 0, 6, 8, 0]].concat(), &PACKET)),
    ] {
        assert_eq!(ip(link_type, &frame), Ok(&PACKET[..]), "{link_type}: {frame:02x?}");
        // Of a frame cut anywhere there is less of the packet, or none.
        for length in 0..frame.len() {
            if let Ok(found) = ip(link_type, &frame[..length]) {
                assert!(PACKET.starts_with(found), "{link_type}, cut to {length}");
            }
        }
    }
}

#[test]
fn the_cases_of_the_field_are_read() {
    const CASES: [(&str, &[u8], u32); 9] = [
        ("snap68", include_bytes!("../../tests/cases/snap68.pcap"), 123_456),
        ("ppp9", include_bytes!("../../tests/cases/ppp9.pcap"), 123_456),
        ("ppp9_pfc", include_bytes!("../../tests/cases/ppp9_pfc.pcap"), 123_456),
        ("mpls", include_bytes!("../../tests/cases/mpls.pcap"), 123_456),
        ("eth.gz", include_bytes!("../../tests/cases/eth.pcap.gz"), 123_456),
        ("pow2", include_bytes!("../../tests/cases/pow2.pcapng"), 500_000),
        ("obsoletepb", include_bytes!("../../tests/cases/obsoletepb.pcapng"), 0),
        ("cs0", include_bytes!("../../tests/cases/cs0.pcap"), 82_161),
        ("tso0", include_bytes!("../../tests/cases/tso0.pcap"), 84_227),
    ];
    for (name, file, micros) in CASES {
        let frames = read(file.to_vec());
        assert_eq!(frames.len(), 1, "{name}");
        let frame = frames[0].as_ref().unwrap();
        assert_eq!(frame.time.unwrap().subsec_micros(), micros, "{name}");
        let packet = frame.packet().unwrap();
        assert_eq!(packet.bytes[..2], [0x45, 0], "{name}");
        let length = match name {
            "cs0" => 68,
            "tso0" => 3080,
            _ => 80,
        };
        assert_eq!(packet.length, length, "{name}");
    }
}

#[test]
fn captures_are_recognised_by_their_first_bytes() {
    for file in [pcap(false, false, 1, &[]), pcap(true, true, 1, &[]), pcapng(false), pcapng(true)] {
        assert!(Reader::recognises(&file[..4]));
    }
    assert!(!Reader::recognises(b"2001:db8::1\n") && !Reader::recognises(b""));
}

proptest! {
    /// Any bytes, and a good file with any bytes changed: an end, no panic.
    #[test]
    fn any_bytes_are_read_to_an_end(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        which in 0..6_usize,
        at in any::<prop::sample::Index>(),
    ) {
        let mut file = match which {
            0 => vec![],
            1 => pcap(false, false, 1, &[&PACKET, &PACKET]),
            2 => pcapng(false),
            3 => pcapng(true),
            4 => gzip(&pcap(false, false, 1, &[&PACKET])),
            _ => zstd(&[&pcap(false, false, 1, &[&PACKET])]),
        };
        let at = at.index(file.len() + 1);
        file.splice(at.., noise);
        for frame in read(file).into_iter().flatten() {
            let _ = frame.ip();
        }
    }

    /// Any bytes as a frame of any link type: a part of it is a packet, or none is.
    #[test]
    fn any_bytes_are_a_frame(noise in proptest::collection::vec(any::<u8>(), 0..120), link_type in 0..300_u16) {
        if let Ok(packet) = link::packet(link_type, &noise) {
            let length = packet.bytes.len();
            prop_assert!(length == 0 || noise.windows(length).any(|part| part == packet.bytes));
            prop_assert_eq!(packet.length, length);
        }
    }
}

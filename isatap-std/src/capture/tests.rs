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
        assert_eq!((frame.number, frame.time), (1, Duration::from_millis(3250)), "{big} {nanoseconds}");
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
        assert_eq!((frame.number, frame.time), (1, Duration::from_millis(3250)));
        assert_eq!((frame.original_len, frame.ip()), (99, Ok(&PACKET[..])));
        let frame = frames[1].as_ref().unwrap();
        assert_eq!((frame.link_type, frame.time, frame.ip()), (1, Duration::ZERO, Ok(&PACKET[..])));
    }
}

#[test]
fn two_sections_in_one_file() {
    let frames = read([pcapng(false), pcapng(true)].concat());
    assert_eq!(frames.iter().map(|frame| frame.as_ref().unwrap().number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_block_longer_than_the_buffer_is_read_all_the_same() {
    let mut file = pcapng(false);
    let comment = block(false, 0xbad, &vec![1; BUFFER * 3]);
    let interfaces_end = file.len() - block(false, 3, &[0; 23]).len();
    file.splice(interfaces_end..interfaces_end, comment);
    assert_eq!(read(file).iter().filter(|frame| frame.is_ok()).count(), 2);
    let long = vec![0x60; 65_000];
    assert_eq!(read(pcap(false, false, 101, &[&long, &PACKET])).len(), 2);
}

#[test]
fn a_file_cut_short_gives_what_is_before_the_cut_and_says_where_it_is() {
    let file = pcap(false, false, 101, &[&PACKET, &PACKET]);
    let frames = read(file[..file.len() - 1].to_vec());
    assert_eq!(frames.len(), 2);
    assert!(frames[0].is_ok());
    let error = frames[1].as_ref().unwrap_err();
    assert!(error.contains("the test") && error.contains("cut short behind packet 1"), "{error}");
    let error = read(b"%PDF-1.7 and so on, long enough to be looked at".to_vec()).remove(0).unwrap_err();
    assert!(error.contains("neither a pcap nor a pcapng"), "{error}");
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
        which in 0..4_usize,
        at in any::<prop::sample::Index>(),
    ) {
        let mut file = match which {
            0 => vec![],
            1 => pcap(false, false, 1, &[&PACKET, &PACKET]),
            2 => pcapng(false),
            _ => pcapng(true),
        };
        let at = at.index(file.len() + 1);
        file.splice(at.., noise);
        for frame in read(file).into_iter().flatten() {
            let _ = frame.ip();
        }
    }
}

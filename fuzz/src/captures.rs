//! Captures: any bytes as a file.

use std::io::Cursor;
use std::net::Ipv4Addr;
use std::sync::OnceLock;

use isatap_std::capture::Reader;
use isatap_std::check::{Checker, Decision, Subject};
use isatap_std::spec::{IsatapRouter, LinkSpec, SixToFour, TeredoClient};

/// Every frame is a part of the file, in order; its packet is a part of the
/// frame; a node judges it, with a reason for each refusal and no other. A
/// plain pcap file has the frames that a second reading of its format finds.
pub fn captures(data: &[u8]) {
    let read_again = plain_pcap(data);
    let Ok(reader) = Reader::new(Cursor::new(data.to_vec()), "the input") else {
        assert!(read_again.is_none(), "a pcap file is refused");
        return;
    };
    let is_packed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5]) || data.get(2) == Some(&0x4d);
    let mut frames = Vec::new();
    for frame in reader.map_while(Result::ok) {
        assert_eq!(frame.number, frames.len() as u64 + 1);
        assert!(is_packed || frame.bytes.len() < data.len());
        assert!(frame.original_len >= frame.bytes.len());
        if let Ok(packet) = frame.packet() {
            let start = packet.bytes.as_ptr() as usize - frame.bytes.as_ptr() as usize;
            assert!(start + packet.bytes.len() <= frame.bytes.len());
            assert_eq!(packet.length - packet.bytes.len(), frame.original_len - frame.bytes.len());
            judge(packet.bytes, packet.length);
        }
        frames.push((frame.bytes, frame.original_len));
    }
    if let Some(read_again) = read_again {
        assert_eq!(frames, read_again);
    }
}

fn judge(packet: &[u8], length: usize) {
    static CHECKER: OnceLock<Checker> = OnceLock::new();
    let checker = CHECKER.get_or_init(|| {
        let local = Ipv4Addr::new(10, 0, 0, 1);
        let isatap = IsatapRouter::new(vec![local], vec!["2001:db8:0:7::/64".parse().unwrap()]);
        let mut sixtofour = SixToFour::new();
        (sixtofour.local, sixtofour.accept_bogons) = (vec![local], true);
        let mut teredo = TeredoClient::new("198.51.100.1".parse().unwrap());
        teredo.accept_bogons = true;
        let mut subjects = [LinkSpec::from(isatap), sixtofour.into(), teredo.into()].map(Subject::from);
        subjects[2].mapped = Some("10.0.0.1:4000".parse().unwrap());
        Checker::new(&subjects).unwrap()
    });
    let judged = checker.judge_captured(packet, length);
    assert_eq!(judged.reason.is_some(), judged.decision == Decision::Drop, "{judged:?}");
    assert!(judged.decision != Decision::Cut || packet.len() < length, "{judged:?}");
    assert!(judged.decision != Decision::Accept || judged.admitted.is_some() || judged.inner_source.is_some());
    assert!(!judged.is_elsewhere || judged.decision == Decision::Drop, "{judged:?}");
    let received = checker.judge(packet);
    assert_eq!(received.reason.is_some(), received.decision == Decision::Drop, "{received:?}");
}

/// The frames of a little-endian pcap file of version 2.4 in microseconds, and
/// their lengths on the wire; `None`: it is another file.
fn plain_pcap(file: &[u8]) -> Option<Vec<(Vec<u8>, usize)>> {
    if file.len() < 24 || file[..8] != [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0] {
        return None;
    }
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]) as usize;
        let (captured, length) = (word(8), word(12));
        if captured > 16 << 20 {
            break;
        }
        let end = rest.len().min(16 + captured);
        frames.push((rest[16..end].to_vec(), length.max(captured)));
        rest = &rest[end..];
    }
    Some(frames)
}

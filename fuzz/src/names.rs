//! What comes as an answer to a name: by LLMNR, by NetBIOS, or in lmhosts.

use std::net::Ipv4Addr;
use std::time::Duration;

use isatap_std::resolve::{LlmnrReply, Name, NetbiosName, NetbiosReply, llmnr_reply, lmhosts, netbios_reply};

/// The first byte says which of the three; the others are the message or the file. What is taken
/// for an answer has the identification, the flags and the addresses that a second, simpler look at the
/// bytes finds too.
pub fn name_answers(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 3 {
        0 => llmnr(bytes),
        1 => netbios(bytes),
        _ => lines(&String::from_utf8_lossy(bytes)),
    }
}

const ID: u16 = 0x1234;

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Whether the bytes of an address stand in the message.
fn stands(bytes: &[u8], address: Ipv4Addr) -> bool {
    bytes.windows(4).any(|window| window == address.octets())
}

fn llmnr(bytes: &[u8]) {
    let name: Name = "isatap".parse().unwrap();
    let Ok(LlmnrReply { addresses, is_shared, is_cut, .. }) = llmnr_reply(bytes, ID, &name) else { return };
    assert!(bytes.len() >= 12 + 12, "a header and a question");
    let flags = word(bytes, 2);
    // An answer, of opcode 0, not tentative, without error, to one question.
    assert_eq!((word(bytes, 0), flags & 0xf90f, word(bytes, 4)), (ID, 0x8000, 1));
    assert_eq!((is_shared, is_cut), (flags & 0x0400 != 0, flags & 0x0200 != 0));
    assert!(bytes[12..20].eq_ignore_ascii_case(b"\x06isatap\0") && bytes[20..24] == [0, 1, 0, 1]);
    assert!(is_cut || !addresses.is_empty());
    assert!(addresses.len() <= usize::from(word(bytes, 6)));
    assert!(addresses.iter().all(|address| stands(bytes, *address)));
}

fn netbios(bytes: &[u8]) {
    let name = NetbiosName::new("isatap", 0).unwrap();
    let Ok(reply) = netbios_reply(bytes, ID, &name) else { return };
    let flags = word(bytes, 2);
    assert_eq!((word(bytes, 0), flags & 0x8000, word(bytes, 4)), (ID, 0x8000, 0));
    // The name stands once at least, whole: a record is about it.
    assert!(bytes.windows(32).any(|window| window.eq_ignore_ascii_case(&name.letters())));
    let opcode = flags >> 11 & 0xf;
    match reply {
        NetbiosReply::Addresses { addresses, ttl } => {
            assert_eq!((opcode, flags & 0x040f), (0, 0x0400));
            assert!(!addresses.is_empty() && addresses.iter().all(|address| stands(bytes, *address)));
            // Each needs six bytes of the message.
            assert!(addresses.len() * 6 < bytes.len() && ttl != Some(Duration::ZERO));
        }
        NetbiosReply::NoSuchName => assert!(opcode == 0 && flags & 0xf != 0),
        NetbiosReply::Wait(_) => assert_eq!(opcode, 7),
        NetbiosReply::Redirect(server) => {
            assert_eq!((opcode, flags & 0x040f), (0, 0));
            assert!(stands(bytes, server) && word(bytes, 8) > 0 && word(bytes, 10) > 0);
        }
        _ => {}
    }
}

fn lines(text: &str) {
    let name = NetbiosName::new("isatap", 0).unwrap();
    let all = lmhosts::addresses(text, &name, false);
    let preloaded = lmhosts::addresses(text, &name, true);
    assert!(preloaded.iter().all(|address| all.contains(address)));
    for (at, address) in all.iter().enumerate() {
        assert!(!all[..at].contains(address), "{address} twice");
        let is_line = |line: &str| {
            let line = line.trim_ascii_start();
            line.starts_with(&address.to_string()) && line.to_ascii_lowercase().contains("isatap")
        };
        assert!(text.lines().any(is_line), "{address} stands in no line with the name");
    }
}

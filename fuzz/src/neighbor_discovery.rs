//! Neighbor Discovery messages: what is read is written again, and what
//! `validate` lets through keeps the rules of RFC 4861, read a second time.

use std::net::Ipv6Addr;

use isatap_core::nd::message::Message;
use isatap_core::nd::option::{NdOption, Options};
use isatap_core::nd::validate::{self, Received};
use isatap_core::wire::field::Writer;

use crate::input::{Input, sum};

/// Hop limit, flags, two addresses, then the ICMPv6 message.
pub fn nd_message(data: &[u8]) {
    let mut input = Input::new(data);
    let hop_limit = input.among(&[255, 255, 255, 64]);
    let flags = input.byte();
    let (source, destination) = (input.ipv6(), input.ipv6());
    let mut message = input.rest().to_vec();
    if flags & 1 != 0 && message.len() >= 4 {
        message[2..4].fill(0);
        let checksum = !covered(&source, &destination, &message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    let received = Received { source, destination, hop_limit, fragmented: flags & 2 != 0, icmpv6: &message };
    let parsed = Message::parse(&message);
    let validated = validate::message(&received);
    if validated.is_ok() {
        assert!(parsed.is_ok());
        assert!(hop_limit == 255 && flags & 2 == 0);
        assert_eq!(covered(&source, &destination, &message), 0xffff);
        let link_local = source.octets()[0] == 0xfe && source.octets()[1] & 0xc0 == 0x80;
        assert!(link_local || !matches!(message[0], 134 | 137), "{source}");
    }
    match &parsed {
        Ok(message) => {
            // NDP-5: the walk was checked when the message was read.
            assert!(message.options().all(|option| option.is_ok()));
            for option in message.options().flatten() {
                round_trip(&option);
            }
            if let Message::RouterAdvertisement(advertisement) = message {
                let repr = advertisement.repr();
                let bytes = written(|writer| repr.emit(writer));
                let Ok(Message::RouterAdvertisement(again)) = Message::parse(&bytes) else { panic!("{repr:?}") };
                assert_eq!(again.repr(), repr);
            }
        }
        Err(_) => assert!(Options::new(&message, 0).count() <= message.len() + 1),
    }
}

/// The sum over pseudo-header and message.
fn covered(source: &Ipv6Addr, destination: &Ipv6Addr, message: &[u8]) -> u16 {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    sum(&[&source.octets(), &destination.octets(), &len, &[0, 0, 0, 58], message])
}

/// An option that was read is written and read as the same again, and a
/// counting writer says how long.
fn round_trip(option: &NdOption<'_>) {
    let bytes = written(|writer| option.emit(writer));
    let mut counting = Writer::counting();
    option.emit(&mut counting);
    assert_eq!(counting.written(), bytes.len());
    let mut options = Options::new(&bytes, 0);
    assert_eq!(options.next(), Some(Ok(*option)), "{bytes:02x?}");
    assert_eq!(options.next(), None, "{bytes:02x?}");
}

fn written(emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut space = vec![0xa5; 4096];
    let mut writer = Writer::new(&mut space);
    emit(&mut writer);
    let len = writer.finish().unwrap();
    space.truncate(len);
    space
}

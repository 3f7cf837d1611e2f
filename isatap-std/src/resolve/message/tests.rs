//! Messages written by hand, octet for octet.

use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    assert_eq!(digits.len() % 2, 0);
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn isatap() -> WireName {
    wire_name(&"isatap.example.com".parse::<Name>().unwrap())
}

/// The header, flags and counts to choose, and a question at offset 12.
fn answer(flags: &str, answers: &str, records: &str) -> Vec<u8> {
    hex(&format!(
        "1234 {flags} 0001 {answers} 0000 0000
         06 697361746170 07 6578616d706c65 03 636f6d 00 0001 0001 {records}"
    ))
}

fn read(message: &[u8]) -> Option<Reply> {
    reply(message, 0x1234, &isatap(), MAX_ALIASES)
}

fn addresses(list: &[[u8; 4]], ttl: u64) -> Option<Reply> {
    Some(Reply::Addresses {
        addresses: list.iter().map(|octets| (*octets).into()).collect(),
        ttl: Duration::from_secs(ttl),
    })
}

/// A query byte for byte.
#[test]
fn nam_2_the_question_is_the_vector() {
    let question = query(0x1234, &isatap()).unwrap();
    let vector = hex("1234 0100 0001 0000 0000 0000 06 697361746170
                      07 6578616d706c65 03 636f6d 00 0001 0001");
    assert_eq!(question.as_dgram_slice(), vector);
    assert_eq!(question.as_stream_slice(), [&[0, 36][..], &vector].concat());
}

#[test]
fn nam_5_addresses_come_with_the_smallest_ttl() {
    let two = "c00c 0001 0001 00000e10 0004 0a000001 c00c 0001 0001 0000001e 0004 0a00000a";
    assert_eq!(read(&answer("8180", "0002", two)), addresses(&[[10, 0, 0, 1], [10, 0, 0, 10]], 30));
}

#[test]
fn nam_5_a_negative_ttl_is_zero() {
    let record = "c00c 0001 0001 80000001 0004 0a000001";
    assert_eq!(read(&answer("8180", "0001", record)), addresses(&[[10, 0, 0, 1]], 0));
}

#[test]
fn nam_7_the_ttl_is_the_minimum_over_the_chain() {
    // isatap -> da-isatap.example.com -> 10.0.0.1, the records out of order and
    // in mixed case; c013 is "example.com" of the question.
    let chain = "09 44412d495341544150 c013 0001 0001 00000e10 0004 0a000001
                 c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013";
    assert_eq!(read(&answer("8180", "0002", chain)), addresses(&[[10, 0, 0, 1]], 60));
}

#[test]
fn nam_7_a_chain_without_its_end_names_the_target() {
    let chain = "c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013";
    let target = wire_name(&"da-isatap.example.com".parse::<Name>().unwrap());
    assert_eq!(
        read(&answer("8180", "0001", chain)),
        Some(Reply::Alias { target, ttl: Duration::from_secs(60), links: 1 })
    );
}

#[test]
fn nam_7_a_loop_of_aliases_ends() {
    // An alias to itself, by pointer to the question.
    let own = "c00c 0005 0001 0000003c 0002 c00c";
    assert_eq!(read(&answer("8180", "0001", own)), Some(Reply::Malformed));
}

#[test]
fn nam_7_eight_aliases_are_followed_and_nine_are_not() {
    for (links, expected) in [(8, addresses(&[[10, 0, 0, 1]], 2)), (9, Some(Reply::Malformed))] {
        // x0 is the name asked for; x1, x2 … are "b", "c" … under the root.
        let mut records = String::new();
        for link in 0..links {
            let owner = match link {
                0 => "c00c".to_owned(),
                n => format!("01 {:02x} 00", 0x61 + n),
            };
            let target = 0x61 + link + 1;
            let ttl = if link == 0 { 2 } else { 5 };
            records += &format!("{owner} 0005 0001 {ttl:08x} 0003 01 {target:02x} 00 ");
        }
        records += &format!("01 {:02x} 00 0001 0001 00000e10 0004 0a000001", 0x61 + links);
        let count = format!("{:04x}", links + 1);
        assert_eq!(read(&answer("8180", &count, &records)), expected, "{links}");
    }
}

#[test]
fn nam_8_aaaa_and_foreign_records_are_ignored() {
    let records = "c00c 001c 0001 0000001e 0010 20010db8000000000000000000000001
                   00 0001 0001 00000001 0004 0a0000fe
                   c00c 0001 0003 00000001 0004 0a0000fd
                   c00c 0010 0001 00000001 0000
                   c00c 0001 0001 00000e10 0004 0a000001";
    assert_eq!(read(&answer("8180", "0005", records)), addresses(&[[10, 0, 0, 1]], 3600));
    let only_aaaa = "c00c 001c 0001 0000001e 0010 20010db8000000000000000000000001";
    assert_eq!(read(&answer("8180", "0001", only_aaaa)), Some(Reply::NoSuchName));
}

#[test]
fn isa_24_no_such_name_and_failure_are_told_apart() {
    assert_eq!(read(&answer("8183", "0000", "")), Some(Reply::NoSuchName), "NXDOMAIN");
    assert_eq!(read(&answer("8180", "0000", "")), Some(Reply::NoSuchName), "an empty answer");
    assert_eq!(read(&answer("8500", "0000", "")), Some(Reply::NoSuchName), "an empty answer of the zone's own server");
    for (flags, what) in
        [("8181", "FORMERR"), ("8182", "SERVFAIL"), ("8184", "NOTIMP"), ("8185", "REFUSED"), ("8100", "a referral")]
    {
        let expected = Some(Reply::ServerFailure);
        assert_eq!(read(&answer(flags, "0000", "")), expected, "{what}");
    }
    let bare = |flags: &str| hex(&format!("1234 {flags} 0000 0000 0000 0000"));
    assert_eq!(read(&bare("8181")), Some(Reply::ServerFailure));
    assert_eq!(read(&bare("8183")), None, "NXDOMAIN needs the question");
}

#[test]
fn nam_7_truncated_is_told() {
    let record = "c00c 0001 0001 0000001e 0004 0a000001";
    assert_eq!(read(&answer("8380", "0001", record)), Some(Reply::Truncated));
}

#[test]
fn answers_to_other_questions_are_not_ours() {
    let record = "c00c 0001 0001 0000001e 0004 0a000001";
    let good = answer("8180", "0001", record);
    assert!(read(&good).is_some());
    assert_eq!(reply(&good, 0x1235, &isatap(), MAX_ALIASES), None, "id");
    let other = wire_name(&"isatap.example.net".parse::<Name>().unwrap());
    assert_eq!(reply(&good, 0x1234, &other, MAX_ALIASES), None, "name");
    assert_eq!(read(query(0x1234, &isatap()).unwrap().as_dgram_slice()), None, "our own question");
    assert_eq!(read(&answer("a980", "0001", record)), None, "opcode 5");
    for (at, value, what) in [(33, 0x1c, "type AAAA"), (35, 3, "class CH"), (5, 2, "QDCOUNT")] {
        let mut changed = good.clone();
        changed[at] = value;
        assert_eq!(read(&changed), None, "{what}");
    }
}

#[test]
fn pointers_lead_strictly_backwards() {
    for owner in [
        "c024",       // to itself
        "c026",       // forwards
        "c0ff",       // past the end
        "01 61 c024", // back to the part it is in
        "40",         // a label type that was never defined
        "80",
    ] {
        let record = format!("{owner} 0001 0001 0000001e 0004 0a000001");
        let message = answer("8180", "0001", &record);
        assert_eq!(read(&message), Some(Reply::Malformed), "{owner}");
    }
}

#[test]
fn a_pointer_forward_of_the_one_that_led_to_it_is_refused() {
    // Octets 36..47 are an unknown record's head, 47.. its data: at 47 a pointer, at
    // 49 the root. The owner of the second record points to 47.
    let ladder = |target: &str| {
        let records = format!(
            "00 0063 0001 00000000 0003 {target} 00
             c02f 0001 0001 0000001e 0004 0a000001"
        );
        read(&answer("8180", "0002", &records))
    };
    assert_eq!(ladder("c031"), Some(Reply::Malformed));
    assert_eq!(ladder("c00c"), addresses(&[[10, 0, 0, 1]], 30));
}

/// Pointers to pointers without a label are counted too: else one answer takes a second to read.
#[test]
fn a_ladder_of_pointers_ends() {
    let mut message = answer("8180", "0002", "");
    // An unknown record whose data is the ladder, each rung to the one before.
    message.extend(hex("00 0063 0001 00000000"));
    message.extend_from_slice(&2000u16.to_be_bytes());
    let mut target = 12u16;
    for _ in 0..1000 {
        let here = u16::try_from(message.len()).unwrap();
        message.extend_from_slice(&(0xc000 | target).to_be_bytes());
        target = here;
    }
    let short = message.len() - 2 * 900;
    let record = "0001 0001 0000001e 0004 0a000001";
    let mut long_ladder = message.clone();
    long_ladder.extend_from_slice(&(0xc000 | target).to_be_bytes());
    long_ladder.extend(hex(record));
    assert_eq!(read(&long_ladder), Some(Reply::Malformed));
    // Entered at its hundredth rung it is short enough, and leads to the question.
    message.extend_from_slice(&(0xc000 | u16::try_from(short - 2).unwrap()).to_be_bytes());
    message.extend(hex(record));
    assert_eq!(read(&message), addresses(&[[10, 0, 0, 1]], 30));
}

#[test]
fn a_short_message_is_refused_at_every_length() {
    let message = chain();
    assert_eq!(read(&message), addresses(&[[10, 0, 0, 1]], 60));
    for length in 0..message.len() {
        let expected = (length >= 36).then_some(Reply::Malformed);
        assert_eq!(read(&message[..length]), expected, "{length}");
    }
}

#[test]
fn record_lengths_must_fit() {
    for record in [
        "c00c 0001 0001 0000001e 0003 0a0000",
        "c00c 0001 0001 0000001e 0005 0a00000100",
        "c00c 0005 0001 0000001e 0001 c00c",
        "c00c 0005 0001 0000001e 0003 c00c00",
        "c00c 0010 0001 0000001e 00ff 00",
    ] {
        let message = answer("8180", "0001", record);
        assert_eq!(read(&message), Some(Reply::Malformed), "{record}");
    }
}

#[test]
fn no_bit_flip_panics() {
    let message = chain();
    let mut refused = 0;
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused += usize::from(!matches!(read(&flipped), Some(Reply::Addresses { .. })));
    }
    // Far from all bits matter to us: TTLs, addresses, counts we do not read.
    assert!(refused > 300, "{refused}");
}

/// An alias and the address of its target.
fn chain() -> Vec<u8> {
    let records = "c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013
                   c030 0001 0001 00000e10 0004 0a000001";
    answer("8180", "0002", records)
}

proptest! {
    /// A name survives the way through a message, and another case of it is the same.
    #[test]
    fn a_name_is_written_and_read(name in "[!-\\-/-~]{1,63}(\\.[!-\\-/-~]{1,63}){0,2}\\.?") {
        let wire = wire_name(&name.parse().unwrap());
        let question = query(7, &wire).unwrap();
        let mut message = question.as_dgram_slice().to_vec();
        message[2..4].copy_from_slice(&[0x81, 0x83]);
        prop_assert_eq!(reply(&message, 7, &wire, MAX_ALIASES), Some(Reply::NoSuchName));
        let length = message.len() - 4;
        message[12..length].make_ascii_uppercase();
        prop_assert_eq!(reply(&message, 7, &wire, MAX_ALIASES), Some(Reply::NoSuchName));
        let other = wire_name(&"isatap.other.example".parse().unwrap());
        prop_assert_eq!(reply(&message, 7, &other, MAX_ALIASES), None);
    }

    /// Any octets behind a good question, and a good answer with octets changed: what they say,
    /// and no panic. Addresses are octets of the message.
    #[test]
    fn any_octets_are_read(
        is_noise in any::<bool>(),
        count in any::<u16>(),
        noise in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), Just(0), Just(1), Just(12)], 0..120),
        at in any::<prop::sample::Index>(),
    ) {
        let mut message = if is_noise { answer("8180", &format!("{count:04x}"), "") } else { chain() };
        let at = if is_noise { message.len() } else { at.index(message.len()) };
        message.splice(at.., noise);
        if let Some(Reply::Addresses { addresses, .. }) = read(&message) {
            for address in addresses {
                prop_assert!(message.windows(4).any(|octets| octets == address.octets()));
            }
        }
    }
}

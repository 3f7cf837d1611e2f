use super::*;

fn isatap() -> NetbiosName {
    NetbiosName::new("isatap", 0).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// `ISATAP<00>` as it stands in a message.
const NAME: &str = "20454a46444542464545424641434143414341434143414341434143414341414100";

/// A header, then a record of the name: type and class, TTL, length, data.
fn answer(flags: &str, record: &str) -> Vec<u8> {
    bytes(&format!("1234 {flags} 0000 0001 0000 0000 {NAME} {record}"))
}

fn read(message: &[u8]) -> Result<Reply, Discard> {
    reply(message, 0x1234, &isatap())
}

fn addresses(addresses: &[[u8; 4]], ttl: Option<u64>) -> Result<Reply, Discard> {
    let addresses = addresses.iter().copied().map(Ipv4Addr::from).collect();
    Ok(Reply::Addresses { addresses, ttl: ttl.map(Duration::from_secs) })
}

#[test]
fn nam_31_queries_as_rfc_1002_draws_them() {
    let expected = |flags: &str| bytes(&format!("1234 {flags} 0001 0000 0000 0000 {NAME} 0020 0001"));
    assert_eq!(query(0x1234, &isatap(), true), expected("0110"));
    assert_eq!(query(0x1234, &isatap(), false), expected("0100"));
}

/// What Samba's nmbd answers, recorded.
#[test]
fn nam_32_an_answer_of_nmbd() {
    let recorded = bytes(
        "447e8580000000010000000020454a46444542464545424641434143414341434143414341434143414341414100\
         002000010003f480000660000a000001",
    );
    assert_eq!(reply(&recorded, 0x447e, &isatap()), addresses(&[[10, 0, 0, 1]], Some(259_200)));
}

#[test]
fn nam_32_recursion_available_or_not_and_a_ttl_of_zero_is_for_ever() {
    for flags in ["8500", "8580"] {
        let one = answer(flags, "0020 0001 00000000 0006 6000 0a000001");
        assert_eq!(read(&one), addresses(&[[10, 0, 0, 1]], None));
        let two = answer(flags, "0020 0001 0000003c 000c 0000 0a000001 2000 0a000002");
        assert_eq!(read(&two), addresses(&[[10, 0, 0, 1], [10, 0, 0, 2]], Some(60)));
    }
}

#[test]
fn nam_32_groups_and_answers_without_entries_do_not_count() {
    assert_eq!(read(&answer("8500", "0020 0001 0000003c 0006 8000 0a000001")), Err(Discard::Group));
    assert_eq!(read(&answer("8500", "0020 0001 0000003c 0000")), Err(Discard::NoAddress));
    let mixed = answer("8500", "0020 0001 0000003c 000c 8000 0a000001 0000 0a000002");
    assert_eq!(read(&mixed), addresses(&[[10, 0, 0, 2]], Some(60)));
    // A length that is no multiple of six, and one beyond the end.
    assert_eq!(read(&answer("8500", "0020 0001 0000003c 0005 0000 0a0000")), Err(Discard::Malformed));
    assert_eq!(read(&answer("8500", "0020 0001 0000003c 000c 0000 0a000001")), Err(Discard::Malformed));
}

#[test]
fn nam_32_a_negative_answer_says_that_there_is_no_such_name() {
    assert_eq!(read(&answer("8503", "000a 0001 00000000 0000")), Ok(Reply::NoSuchName));
    // Any other error says nothing of the name: hosts keep their routers (ISA-24).
    for failed in ["8501", "8502", "8504", "8505", "8506", "8507"] {
        assert_eq!(read(&answer(failed, "000a 0001 00000000 0000")), Ok(Reply::ServerFailure), "{failed}");
    }
    // For another name it says nothing.
    let other = NetbiosName::new("other", 0).unwrap();
    assert_eq!(reply(&answer("8503", "000a 0001 00000000 0000"), 0x1234, &other), Err(Discard::OtherQuestion));
}

#[test]
fn nam_33_answers_to_another_question_are_none() {
    let sound = answer("8500", "0020 0001 00000000 0006 6000 0a000001");
    assert_eq!(reply(&sound, 0x1235, &isatap()), Err(Discard::WrongId));
    let other = NetbiosName::new("_isatap", 0).unwrap();
    assert_eq!(reply(&sound, 0x1234, &other), Err(Discard::OtherQuestion));
    let service = NetbiosName::new("isatap", 0x20).unwrap();
    assert_eq!(reply(&sound, 0x1234, &service), Err(Discard::OtherQuestion));
    // The query itself, which comes back from one's own broadcast.
    assert_eq!(read(&query(0x1234, &isatap(), true)), Err(Discard::Malformed));
    // A registration is no query.
    assert_eq!(read(&answer("ad80", "0020 0001 00000000 0006 6000 0a000001")), Err(Discard::Malformed));
}

#[test]
fn nam_62_a_server_asks_to_wait_or_names_another() {
    assert_eq!(read(&answer("bc00", "0020 0001 00000005 0002 0100")), Ok(Reply::Wait(Duration::from_secs(5))));
    // RFC 1002 §4.2.15: the server's name in the authority section, its address in the additional one.
    let server = "03 6e7331 00";
    let redirect = |additional: &str| {
        bytes(&format!(
            "1234 8100 0000 0000 0001 0001 {NAME} 0002 0001 00000000 0005 {server} {server} 0001 0001 00000000 {additional}"
        ))
    };
    assert_eq!(read(&redirect("0004 0a000035")), Ok(Reply::Redirect(Ipv4Addr::new(10, 0, 0, 53))));
    assert_eq!(read(&redirect("0003 0a0000")), Err(Discard::Malformed));
}

#[test]
fn names_with_a_scope_or_of_another_form_are_none_of_ours() {
    let record = "0020 0001 00000000 0006 6000 0a000001";
    let scoped = NAME.replace("414100", "41410573636f706500");
    let scoped = bytes(&format!("1234 8500 0000 0001 0000 0000 {scoped} {record}"));
    assert_eq!(read(&scoped), Err(Discard::OtherQuestion));
}

/// Pointers lead backwards, and not in a circle.
#[test]
fn a_pointer_leads_backwards_a_few_times() {
    let record = "0020 0001 00000000 0006 6000 0a000001";
    let pointing = |to: &str| bytes(&format!("1234 8500 0000 0001 0000 0000 {to} {record}"));
    for wrong in ["c00c", "c00e", "ffff", "c0"] {
        assert_eq!(read(&pointing(wrong)), Err(Discard::Malformed), "{wrong}");
    }
    let question = bytes(&format!("1234 2910 0001 0000 0000 0001 {NAME} 0020 0001 c00c {record}"));
    let message = Message::read(&question).unwrap();
    assert_eq!(message.question, Some((Some(isatap()), NB, INTERNET)));
    assert_eq!(message.records[0].name, Some(isatap()));
}

#[test]
fn what_is_cut_is_no_message() {
    let whole = answer("8500", "0020 0001 00000000 0006 6000 0a000001");
    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length]), Err(Discard::Malformed), "{length} bytes");
    }
}

#[test]
fn what_is_written_is_read() {
    let entries = [(0x6000, Ipv4Addr::new(10, 0, 0, 1)), (0, Ipv4Addr::new(10, 0, 0, 2))];
    let flags = flag::RESPONSE | flag::AUTHORITATIVE | flag::RECURSION_DESIRED;
    let written = Writer::new(0x1234, flags, [0, 1, 0, 0]).record(Some(&isatap()), 300, &entries).finish();
    assert_eq!(read(&written), addresses(&[[10, 0, 0, 1], [10, 0, 0, 2]], Some(300)));
}

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn isatap() -> Name {
    "isatap".parse().unwrap()
}

/// The question for isatap, type A, class IN.
const QUESTION: &str = "06697361746170 00 0001 0001";
/// 10.0.0.1 for 30 seconds.
const RECORD: &str = "c00c 0001 0001 0000001e 0004 0a000001";

fn answer(flags: &str) -> Vec<u8> {
    bytes(&format!("1234 {flags} 0001 0001 0000 0000 {QUESTION} {RECORD}"))
}

fn said(message: &[u8]) -> Result<LlmnrReply, Discard> {
    llmnr_reply(message, 0x1234, &isatap())
}

fn one(is_shared: bool, is_cut: bool) -> Result<LlmnrReply, Discard> {
    let addresses = vec![Ipv4Addr::new(10, 0, 0, 1)];
    Ok(LlmnrReply { addresses, ttl: Duration::from_secs(30), is_shared, is_cut })
}

#[test]
fn nam_20_nam_61_a_query_is_one_question_with_all_flags_clear_that_offers_room_by_edns0() {
    let name = message::wire_name(&isatap());
    let query = query(0x1234, &name, &[]).unwrap();
    // The last record: root, OPT, 9,194 bytes.
    let opt = "00 0029 23ea 00000000 0000";
    assert_eq!(query.as_dgram_slice(), bytes(&format!("1234 0000 0001 0000 0000 0001 {QUESTION} {opt}")));
}

#[test]
fn nam_23_a_conflict_is_told_with_the_records_that_contradict() {
    let name = message::wire_name(&isatap());
    let records = [(Ipv4Addr::new(10, 0, 0, 1), Duration::from_secs(30))];
    let told = query(0x1234, &name, &records).unwrap();
    let record = "06697361746170 00 0001 0001 0000001e 0004 0a000001";
    let whole = bytes(&format!("1234 0400 0001 0000 0000 0001 {QUESTION} {record}"));
    let pointed = bytes(&format!("1234 0400 0001 0000 0000 0001 {QUESTION} {RECORD}"));
    let told = told.as_dgram_slice();
    assert!(told == whole || told == pointed, "{told:02x?}");
}

/// What systemd-resolved answers, recorded.
#[test]
fn nam_23_an_answer_of_systemd_resolved() {
    let recorded = "123480000001000100000000066973617461700000010001c00c000100010000001e00040a000001";
    assert_eq!(said(&bytes(recorded)), one(false, false));
}

#[test]
fn nam_23_flags_of_an_answer() {
    assert_eq!(said(&answer("8000")), one(false, false));
    assert_eq!(said(&answer("8400")), one(true, false));
    assert_eq!(said(&answer("8200")), one(false, true));
    // Z bits are ignored.
    assert_eq!(said(&answer("80f0")), one(false, false));
    assert_eq!(said(&answer("8100")), Err(Discard::Tentative));
    assert_eq!(said(&answer("8003")), Err(Discard::ErrorCode));
    assert_eq!(said(&answer("0000")), Err(Discard::Malformed));
    assert_eq!(said(&answer("a800")), Err(Discard::Malformed));
}

#[test]
fn nam_23_answers_to_another_question_are_none() {
    assert_eq!(llmnr_reply(&answer("8000"), 0x1235, &isatap()), Err(Discard::WrongId));
    assert_eq!(llmnr_reply(&answer("8000"), 0x1234, &"wpad".parse().unwrap()), Err(Discard::OtherQuestion));
    let of_ipv6 = bytes(&format!("1234 8000 0001 0001 0000 0000 06697361746170 00 001c 0001 {RECORD}"));
    assert_eq!(said(&of_ipv6), Err(Discard::OtherQuestion));
    // No question, and two.
    assert_eq!(said(&bytes(&format!("1234 8000 0000 0000 0000 0000 {RECORD}"))), Err(Discard::Malformed));
    let two = bytes(&format!("1234 8000 0002 0001 0000 0000 {QUESTION} {QUESTION} {RECORD}"));
    assert_eq!(said(&two), Err(Discard::Malformed));
}

#[test]
fn nam_23_an_answer_without_an_address_is_none() {
    assert_eq!(said(&bytes(&format!("1234 8000 0001 0000 0000 0000 {QUESTION}"))), Err(Discard::NoAddress));
    let other = "03666f6f 00 0001 0001 0000001e 0004 0a000001";
    assert_eq!(said(&bytes(&format!("1234 8000 0001 0001 0000 0000 {QUESTION} {other}"))), Err(Discard::NoAddress));
}

#[test]
fn nam_61_one_that_is_cut_may_have_no_address_in_it() {
    let cut = bytes(&format!("1234 8200 0001 0000 0000 0000 {QUESTION}"));
    let expected = LlmnrReply { addresses: Vec::new(), ttl: Duration::ZERO, is_shared: false, is_cut: true };
    assert_eq!(said(&cut), Ok(expected));
}

#[test]
fn what_is_cut_without_saying_so_is_no_message() {
    let whole = answer("8000");
    for length in 0..whole.len() {
        assert_eq!(said(&whole[..length]), Err(Discard::Malformed), "{length} bytes");
    }
}

#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::panic, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec::Vec;

const LINK: LinkId = LinkId(2);
type Checks<const ROWS: usize = 4> = NeighborChecks<[CheckedNeighbor; ROWS]>;

fn host(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0x5efe, 0x0a00, number)
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

/// Noise that is the same each time.
fn noise() -> impl FnMut(&mut [u8]) {
    let mut state = 0x9e37_79b9_u32;
    move |out: &mut [u8]| {
        for byte in out {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [*byte, ..] = state.to_be_bytes();
        }
    }
}

fn keyed<const ROWS: usize>() -> Checks<ROWS> {
    let mut checks = Checks::EMPTY;
    checks.handle_timeout(at(0), true, &mut noise());
    checks
}

fn turn<const ROWS: usize>(checks: &mut Checks<ROWS>, now: Instant) {
    checks.handle_timeout(now, true, &mut noise());
}

fn wait<const ROWS: usize>(checks: &mut Checks<ROWS>, now: Instant, address: Ipv6Addr) -> Ticket {
    match checks.check(now, LINK, &address) {
        NeighborCheck::Wait(ticket) => ticket,
        other => panic!("{address}: {other:?}"),
    }
}

fn verify<const ROWS: usize>(checks: &mut Checks<ROWS>, now: Instant, address: Ipv6Addr) {
    let ticket = wait(checks, now, address);
    assert_eq!(checks.due(), Some(address));
    checks.sent(now);
    assert!(checks.answered(now, &address));
    assert_eq!(checks.poll_event(now, LINK), Some(Event::Released { link: LINK, ticket }));
    assert_eq!(checks.check(now, LINK, &address), NeighborCheck::Pass);
}

/// Sends every question that is due.
fn send<const ROWS: usize>(checks: &mut Checks<ROWS>, now: Instant) -> Vec<Ipv6Addr> {
    let mut sent = Vec::new();
    while let Some(address) = checks.due() {
        checks.sent(now);
        sent.push(address);
    }
    sent
}

#[test]
fn sec_1_silence_after_three_solicitations_ends_the_wait() {
    let mut checks: Checks = keyed();
    let ticket = wait(&mut checks, at(0), host(1));
    assert!(!checks.answered(at(0), &host(1)), "nothing was asked yet");
    for second in 0..3 {
        turn(&mut checks, at(second));
        assert_eq!(send(&mut checks, at(second)), [host(1)]);
        assert_eq!((checks.due(), checks.deadline()), (None, Expiry::at(at(second + 1))));
        assert_eq!(wait(&mut checks, at(second), host(1)), ticket, "all wait for the same");
    }
    turn(&mut checks, at(3));
    let reason = DropReason::NeighborUnverified;
    assert_eq!(checks.poll_event(at(3), LINK), Some(Event::Abandoned { link: LINK, ticket, reason }));
    assert_eq!((checks.poll_event(at(3), LINK), checks.deadline()), (None, Expiry::NEVER));
    assert_eq!(checks.check(at(3), LINK, &host(1)), NeighborCheck::Refused);
    assert!(!checks.answered(at(3), &host(1)), "too late");
    let almost = Instant::from_micros(5_999_999);
    assert_eq!(checks.check(almost, LINK, &host(1)), NeighborCheck::Refused);
    let again = wait(&mut checks, at(6), host(1));
    assert_ne!(again, ticket, "another wait");
}

#[test]
fn sec_1_a_neighbour_in_use_is_asked_anew_and_lost_when_it_is_silent() {
    let mut checks: Checks = keyed();
    verify(&mut checks, at(0), host(1));
    assert_eq!((checks.check(at(29), LINK, &host(1)), checks.due()), (NeighborCheck::Pass, None));
    assert_eq!((checks.check(at(30), LINK, &host(1)), checks.due()), (NeighborCheck::Pass, Some(host(1))));
    checks.sent(at(30));
    assert!(checks.answered(at(30), &host(1)));
    assert_eq!(checks.poll_event(at(30), LINK), None, "nobody waited");
    assert_eq!(checks.check(at(60), LINK, &host(1)), NeighborCheck::Pass);
    for second in 60..63 {
        turn(&mut checks, at(second));
        assert_eq!(send(&mut checks, at(second)), [host(1)]);
    }
    assert_eq!(checks.check(at(62), LINK, &host(1)), NeighborCheck::Pass);
    turn(&mut checks, at(63));
    assert_eq!((checks.is_verified(&host(1)), checks.poll_event(at(63), LINK)), (false, None));
}

/// Its packets are carried by the kernel, say, which tells of them once a second.
#[test]
fn sec_1_a_neighbour_whose_packets_pass_unseen_is_asked_before_they_would_stop() {
    let mut checks: Checks = keyed();
    assert_eq!(checks.prolong(at(0), &host(1)), None);
    verify(&mut checks, at(0), host(1));
    for second in 1..27 {
        assert_eq!((checks.prolong(at(second), &host(1)), checks.due()), (Some(Expiry::at(at(30))), None));
    }
    assert_eq!((checks.prolong(at(27), &host(1)), checks.due()), (Some(Expiry::at(at(30))), Some(host(1))));
    checks.sent(at(27));
    assert_eq!((checks.prolong(at(27), &host(1)), checks.due()), (Some(Expiry::at(at(30))), None), "asked once");
    assert!(checks.answered(at(28), &host(1)) && checks.is_verified(&host(1)));
    assert_eq!(checks.prolong(at(28), &host(1)), Some(Expiry::at(at(58))));
    // Silence ends it.
    assert_eq!(checks.prolong(at(55), &host(1)), Some(Expiry::at(at(58))));
    for second in 55..58 {
        turn(&mut checks, at(second));
        assert_eq!(send(&mut checks, at(second)), [host(1)]);
    }
    turn(&mut checks, at(58));
    assert_eq!((checks.prolong(at(58), &host(1)), checks.is_verified(&host(1))), (None, false));
    // Nobody is believed for longer than the answer is good: the next packet that is seen renews it.
    verify(&mut checks, at(100), host(2));
    turn(&mut checks, at(130));
    assert_eq!((checks.prolong(at(130), &host(2)), checks.due()), (Some(Expiry::at(at(130))), None));
}

/// Threads look at a copy, and have no clock.
#[test]
fn sec_1_who_only_reads_believes_an_answer_for_30_s() {
    let mut checks: Checks = keyed();
    verify(&mut checks, at(5), host(1));
    verify(&mut checks, at(6), host(2));
    let believed = |checks: &Checks| [1, 2].map(|number| checks.is_verified(&host(number)));
    assert_eq!((checks.deadline(), believed(&checks)), (Expiry::at(at(35)), [true, true]));
    turn(&mut checks, at(35));
    assert_eq!((checks.deadline(), believed(&checks)), (Expiry::at(at(36)), [false, true]));
    turn(&mut checks, at(36));
    assert_eq!((checks.deadline(), believed(&checks)), (Expiry::NEVER, [false, false]), "nothing more is done");
    // The owner lets the packet pass that was left to it, and asks.
    assert_eq!(checks.check(at(40), LINK, &host(1)), NeighborCheck::Renewed, "who reads is to look again");
    assert_eq!(checks.check(at(40), LINK, &host(1)), NeighborCheck::Pass);
    assert_eq!((send(&mut checks, at(40)), believed(&checks)), (Vec::from([host(1)]), [true, false]));
    assert!(checks.answered(at(41), &host(1)));
    assert_eq!((checks.deadline(), believed(&checks)), (Expiry::at(at(71)), [true, false]));
    // Nobody uses what is told too late.
    let ticket = wait(&mut checks, at(42), host(3));
    send(&mut checks, at(42));
    assert!(checks.answered(at(42), &host(3)));
    turn(&mut checks, at(80));
    assert_eq!(checks.poll_event(at(80), LINK), Some(Event::Released { link: LINK, ticket }));
    assert_eq!((checks.deadline(), checks.is_verified(&host(3))), (Expiry::NEVER, false));
}

#[test]
fn sec_1_a_neighbour_not_used_is_forgotten() {
    let mut checks: Checks = keyed();
    verify(&mut checks, at(5), host(1));
    turn(&mut checks, at(35));
    assert_eq!(checks.deadline(), Expiry::NEVER, "nothing is done for it");
    let mut later = checks.clone();
    assert_eq!(later.check(at(604), LINK, &host(1)), NeighborCheck::Renewed);
    wait(&mut checks, at(605), host(1));
}

#[test]
fn sec_1_the_oldest_question_gives_way_and_nobody_verified() {
    let mut checks: Checks = keyed();
    verify(&mut checks, at(0), host(1));
    verify(&mut checks, at(0), host(2));
    let first = wait(&mut checks, at(1), host(101));
    let second = wait(&mut checks, at(2), host(102));
    assert_eq!(wait(&mut checks, at(3), host(103)), first, "what waited waits on");
    assert_eq!(wait(&mut checks, at(3), host(102)), second);
    for number in 104..=200 {
        wait(&mut checks, at(4), host(number));
    }
    assert!(checks.is_verified(&host(1)) && checks.is_verified(&host(2)));
    // One that was refused, and told of it, goes first.
    for second in 4..=7 {
        turn(&mut checks, at(second));
        send(&mut checks, at(second));
    }
    assert_eq!(core::iter::from_fn(|| checks.poll_event(at(7), LINK)).count(), 2);
    verify(&mut checks, at(7), host(3));
    verify(&mut checks, at(7), host(4));
    assert_eq!(checks.check(at(7), LINK, &host(5)), NeighborCheck::TableFull, "all rows are verified");
}

#[test]
fn sec_1_nobody_takes_a_row_whose_end_was_not_told() {
    let mut checks: Checks<1> = keyed();
    wait(&mut checks, at(0), host(1));
    for second in 0..=3 {
        turn(&mut checks, at(second));
        send(&mut checks, at(second));
    }
    assert_eq!(checks.check(at(3), LINK, &host(2)), NeighborCheck::TableFull);
    assert!(checks.poll_event(at(3), LINK).is_some());
    wait(&mut checks, at(3), host(2));
}

#[test]
fn sec_1_a_host_that_is_expected_is_known_before_it_sends() {
    let mut checks: Checks = keyed();
    checks.expect(at(0), &host(1));
    assert_eq!(send(&mut checks, at(0)), [host(1)]);
    checks.expect(at(0), &host(1));
    assert_eq!(checks.due(), None, "once");
    assert!(checks.answered(at(0), &host(1)));
    assert_eq!(checks.check(at(0), LINK, &host(1)), NeighborCheck::Pass);
    while checks.poll_event(at(0), LINK).is_some() {}
    // It solicits again when its answer is old.
    checks.expect(at(29), &host(1));
    assert_eq!(checks.due(), None);
    checks.expect(at(30), &host(1));
    assert_eq!(checks.due(), Some(host(1)));
}

#[test]
fn sec_1_tickets_of_two_links_differ() {
    let (mut one, mut other): (Checks, Checks) = (keyed(), keyed());
    assert_ne!(one.check(at(0), LinkId(0), &host(1)), other.check(at(0), LinkId(1), &host(1)));
}

#[test]
fn sec_1_who_waits_for_a_neighbour_that_is_no_longer_one_is_told() {
    let mut checks: Checks = keyed();
    verify(&mut checks, at(0), host(1));
    let ticket = wait(&mut checks, at(0), host(2));
    checks.retain(at(0), |address| *address == host(3));
    assert!(!checks.is_verified(&host(1)));
    let reason = DropReason::NeighborUnverified;
    assert_eq!(checks.poll_event(at(0), LINK), Some(Event::Abandoned { link: LINK, ticket, reason }));
}

#[test]
fn sec_1_without_a_key_the_first_question_is_put_again_and_nobody_is_refused_for_it() {
    let mut checks: Checks = Checks::EMPTY;
    assert_eq!(checks.deadline(), Expiry::NEVER, "who asks nobody needs none");
    let ticket = wait(&mut checks, at(10), host(1));
    assert!(checks.deadline().is_due(at(10)));
    checks.handle_timeout(at(10), false, &mut noise());
    assert_eq!(checks.deadline(), Expiry::NEVER);
    assert!(matches!(checks.poll_event(at(10), LINK), Some(Event::Abandoned { ticket: told, .. }) if told == ticket));
    verify(&mut checks, at(10), host(1));
}

/// 20 hosts that come one after the other while `rate` forged packets a second
/// arrive; each has to answer within `round_trip`. Gives how many were served
/// and how many of 400 that were there before have been lost.
fn flood<const ROWS: usize>(rate: u64, round_trip: Duration) -> (usize, usize) {
    let mut checks = std::boxed::Box::new(keyed::<ROWS>());
    for number in 0..400 {
        verify(&mut checks, at(0), host(number));
    }
    let mut made_up = 0_u32;
    let mut answers: Vec<(Instant, Ipv6Addr)> = Vec::new();
    let step = Duration::from_micros(1_000_000 / rate);
    let mut now = at(1);
    let mut next_host = 1000;
    while now < at(11) {
        made_up += 1;
        let [a, b, c, d] = made_up.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        checks.check(now, LINK, &Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0x200, 0x5efe, high, low));
        if next_host < 1020 && at(5).saturating_add(Duration::from_millis(u64::from(next_host - 1000) * 100)) <= now {
            checks.check(now, LINK, &host(next_host));
            next_host += 1;
        }
        turn(&mut checks, now);
        let is_real = |address: &Ipv6Addr| address.segments()[4] == 0;
        let real = send(&mut checks, now).into_iter().filter(is_real);
        answers.extend(real.map(|address| (now.saturating_add(round_trip), address)));
        for (_, address) in answers.extract_if(.., |(due, _)| *due <= now) {
            checks.answered(now, &address);
        }
        while checks.poll_event(now, LINK).is_some() {}
        now = now.saturating_add(step);
    }
    let verified = |numbers: core::ops::Range<u16>| numbers.filter(|number| checks.is_verified(&host(*number))).count();
    (verified(1000..1020), 400 - verified(0..400))
}

#[test]
fn sec_1_new_hosts_are_served_during_a_flood_of_made_up_ones() {
    let round_trip = Duration::from_millis(100);
    assert_eq!(flood::<8192>(100, round_trip), (20, 0));
    assert_eq!(flood::<8192>(10_000, round_trip), (20, 0));
    // The control: with as many rows as hosts there is no room for questions.
    assert!(flood::<512>(10_000, round_trip).0 < 20);
}

#[test]
fn sec_1_three_quarters_of_the_rows_hold_that_many_hosts() {
    let mut checks = std::boxed::Box::new(keyed::<4096>());
    let refused = (0..3072).filter(|number| {
        let full = checks.check(at(0), LINK, &host(*number)) == NeighborCheck::TableFull;
        checks.sent(at(0));
        full || !checks.answered(at(0), &host(*number))
    });
    assert_eq!(refused.count(), 0);
    assert_eq!((0..3072).filter(|number| checks.is_verified(&host(*number))).count(), 3072);
}

#[test]
fn sec_1_nobody_can_make_up_addresses_that_want_the_same_places() {
    // 4,096 addresses whose windows all begin at the same place without a key.
    let rows = 4096;
    let unkeyed = Checks::<4096>::EMPTY;
    let first = |checks: &Checks<4096>, address: &Ipv6Addr| {
        let [mut first, _] = checks.windows(address, rows);
        first.next().unwrap()
    };
    let chosen: Vec<Ipv6Addr> = (0..60_000).map(host).filter(|address| first(&unkeyed, address) < 64).collect();
    assert!(chosen.len() > 500);
    let keyed = keyed::<4096>();
    let mut places: HashMap<u16, usize> = HashMap::new();
    for address in &chosen {
        *places.entry(first(&keyed, address) / 64).or_default() += 1;
    }
    assert!(*places.values().max().unwrap() < chosen.len() / 16, "{places:?}");
}

#[test]
fn sec_1_an_old_answer_is_no_better_for_a_question_that_is_not_sent() {
    let mut checks: Checks<6> = Checks::EMPTY;
    assert!(matches!(checks.check(at(0), LINK, &host(1)), NeighborCheck::Wait(_)));
    checks.sent(at(0));
    assert!(checks.answered(at(0), &host(1)));
    while checks.poll_event(at(0), LINK).is_some() {}
    // Asked anew, but the link does not send.
    assert_eq!(checks.check(at(31), LINK, &host(1)), NeighborCheck::Pass);
    assert_eq!(checks.due(), Some(host(1)));
    assert_eq!(checks.check(at(599), LINK, &host(1)), NeighborCheck::Pass);
    assert!(matches!(checks.check(at(600), LINK, &host(1)), NeighborCheck::Wait(_)));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Check(u16),
    Expect(u16),
    Answer(u16),
    Forget(u16),
    Turn(u64),
    Send,
    Poll,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let number = 0_u16..12;
    let op = prop_oneof![
        4 => number.clone().prop_map(Op::Check),
        1 => number.clone().prop_map(Op::Expect),
        3 => number.clone().prop_map(Op::Answer),
        1 => number.prop_map(Op::Forget),
        3 => (0_u64..40).prop_map(Op::Turn),
        3 => Just(Op::Send),
        2 => Just(Op::Poll),
    ];
    proptest::collection::vec(op, 0..200)
}

/// What anybody can see of a table by its inputs: who answered a question, and
/// when. Written without looking at rows.
#[derive(Default)]
struct Model {
    solicited: HashMap<u16, Instant>,
    answered: HashMap<u16, Instant>,
}

proptest! {
    /// Nobody passes who has not answered within the last ten minutes what he
    /// was asked before; every wait ends; lists and rows agree.
    #[test]
    fn sec_1_only_who_answered_passes_and_every_wait_ends(ops in ops()) {
        let mut checks: Checks<6> = Checks::EMPTY;
        let mut model = Model::default();
        let mut now = at(1);
        let mut open: Vec<Ticket> = Vec::new();
        let number = |address: Ipv6Addr| address.segments()[7];
        for op in ops {
            match op {
                Op::Check(of) => match checks.check(now, LINK, &host(of)) {
                    NeighborCheck::Pass => {
                        let answered = model.answered.get(&of).copied();
                        prop_assert!(answered.is_some_and(|then| now < then.saturating_add(UNUSED)), "{of}: {answered:?}");
                    }
                    NeighborCheck::Wait(ticket) => open.push(ticket),
                    _ => {}
                },
                Op::Expect(of) => checks.expect(now, &host(of)),
                Op::Answer(of) => {
                    let taken = checks.answered(now, &host(of));
                    prop_assert!(!taken || model.solicited.contains_key(&of), "{of} was not asked");
                    if taken {
                        model.answered.insert(of, now);
                    }
                }
                Op::Forget(of) => {
                    checks.retain(now, |address| *address != host(of));
                    model.answered.remove(&of);
                    model.solicited.remove(&of);
                }
                Op::Turn(secs) => {
                    now = now.saturating_add(Duration::from_secs(secs));
                    turn(&mut checks, now);
                    prop_assert!(!checks.deadline().is_due(now) || checks.due().is_some());
                }
                Op::Send => for address in send(&mut checks, now) {
                    model.solicited.insert(number(address), now);
                },
                Op::Poll => while let Some((ticket, _)) = checks.poll_event(now, LINK).and_then(|event| event.wait_end()) {
                    open.retain(|waiting| *waiting != ticket);
                },
            }
            for (list, place) in [(List::Due, 0), (List::Asked, 1), (List::Ended, 2), (List::Fresh, 3)] {
                let mut walked = Vec::new();
                let mut row = checks.first(list);
                while let Some(found) = row {
                    walked.push(found);
                    prop_assert!(walked.len() <= 6, "a circle");
                    row = Some(checks.get(found).unwrap().behind).filter(|behind| *behind != NONE);
                }
                prop_assert_eq!(walked.last().copied().unwrap_or(NONE), checks.ends[place].1);
                prop_assert_eq!(walked.len(), checks.rows.iter().filter(|row| row.list == list).count());
            }
        }
        for _ in 0..8 {
            turn(&mut checks, now);
            send(&mut checks, now);
            while let Some((ticket, _)) = checks.poll_event(now, LINK).and_then(|event| event.wait_end()) {
                open.retain(|waiting| *waiting != ticket);
            }
            now = now.saturating_add(INTERVAL);
        }
        prop_assert!(open.is_empty(), "wait for ever: {open:?}");
    }
}

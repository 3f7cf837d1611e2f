//! When an ISATAP host asks: exact times, jitter at both ends, and bounds that
//! no event can break.

use isatap_core::time::Duration;
use std::net::Ipv6Addr;

use crate::support::*;
use isatap_core::engine::Event;
use isatap_core::isatap::{HostConfig, ResolveFailure, SolicitDestination};
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use proptest::prelude::*;

const SLAAC: u8 = ON_LINK | AUTONOMOUS;
const LINK: LinkId = LinkId(0);

fn seconds_after(start: Instant, times: &[(Instant, std::net::Ipv4Addr, Ipv6Addr)]) -> Vec<f64> {
    times.iter().map(|(at, ..)| at.saturating_duration_since(start).as_micros() as f64 / 1e6).collect()
}

/// A host that has just been given the router 10.0.0.1.
fn asking(dice: Dice) -> Host {
    let mut host = host(by_address(), &["10.0.0.2"], dice);
    host.router("10.0.0.1");
    host
}

#[test]
fn isa_33_isa_34_the_round_of_the_vectors_without_jitter() {
    let mut host = asking(Dice::Middle);
    let start = host.now;
    host.pass(secs(15000));
    let times = seconds_after(start, &host.solicitations());
    // The first after half of MAX_RTR_SOLICITATION_DELAY, then 4, 8, 16 … 3600 s.
    let intervals = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600].map(f64::from);
    let mut expected = vec![0.5];
    for interval in intervals {
        expected.push(expected.last().unwrap() + interval);
    }
    assert_eq!(times, expected);
}

#[test]
fn isa_34_jitter_of_a_tenth_at_both_ends() {
    // [RFC 7559 §2]: RT = IRT ± 0.1 IRT; RT = 2 RTprev ± 0.1 RTprev; MRT ± 0.1 MRT.
    for (dice, first, factor, last) in [(Dice::Low, 3.6, 1.9, 3240.0), (Dice::High, 4.4, 2.1, 3960.0)] {
        let mut host = asking(dice);
        let start = host.now;
        host.pass(secs(30000));
        let times = seconds_after(start, &host.solicitations());
        let spans: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut expected: f64 = first;
        for span in spans {
            assert!((span - expected).abs() < 0.001 * expected, "{span} {expected}");
            expected = if expected * factor > 3600.0 { last } else { expected * factor };
        }
    }
}

#[test]
fn isa_33_with_backoff_off_three_solicitations_four_seconds_apart() {
    let mut config = by_address();
    config.solicitation.backoff = false;
    let mut host = host(config, &["10.0.0.2"], Dice::High);
    host.router("10.0.0.1");
    host.pass(secs(86400));
    let sent = host.solicitations();
    let spans: Vec<_> = sent.windows(2).map(|pair| pair[1].0.saturating_duration_since(pair[0].0)).collect();
    assert_eq!(spans, [secs(4), secs(4)]);
}

#[test]
fn isa_27_isa_30_repeats_go_to_the_other_form_and_to_all_routers_in_turn() {
    let destinations = |solicit, try_other_forms| {
        let mut config = by_address();
        config.solicit = solicit;
        config.try_other_forms = try_other_forms;
        let mut host = host(config, &["100.64.1.2"], Dice::Middle);
        host.router("100.64.1.1");
        host.pass(secs(40));
        host.solicitations().iter().map(|(_, _, to)| *to).collect::<Vec<_>>()
    };
    let (own, other) = (local("100.64.1.1"), universal("100.64.1.1"));
    assert_eq!(destinations(SolicitDestination::Unicast, true), [own, other, ALL_ROUTERS, own]);
    assert_eq!(destinations(SolicitDestination::AllRouters, true), [ALL_ROUTERS, own, other, ALL_ROUTERS]);
    assert_eq!(destinations(SolicitDestination::Unicast, false), [own; 4]);
    assert_eq!(destinations(SolicitDestination::AllRouters, false), [ALL_ROUTERS; 4]);
}

#[test]
fn isa_32_what_starts_a_round() {
    let mut config = by_address();
    config.probe_neighbors = false;
    let mut host = host(config, &[], Dice::Middle);
    host.router("10.0.0.1");
    host.pass(secs(100));
    assert_eq!(host.solicitations(), [], "no locator, no round");
    let answer = |host: &mut Host| {
        host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
        host.pass(secs(200));
        assert_eq!(host.solicitations(), [], "it was answered");
    };
    // The interface comes up.
    host.locators(&["10.0.0.2"]);
    host.pass(secs(1));
    assert_eq!(host.solicitations().len(), 1);
    answer(&mut host);
    // A new locator.
    host.locators(&["10.0.0.2", "10.0.0.3"]);
    host.pass(secs(1));
    assert_eq!(host.solicitations().len(), 1);
    answer(&mut host);
    // A new entry: the others are not asked.
    host.router("10.0.0.5");
    host.pass(secs(1));
    assert_eq!(host.solicitations().iter().map(|sent| sent.1).collect::<Vec<_>>(), [v4("10.0.0.5")]);
    // ISA-33: an answer of one does not end the asking of another.
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
    host.pass(secs(13));
    assert_eq!(host.solicitations().len(), 2, "10.0.0.5 after 4 and 8 s");
    host.hear("10.0.0.5", "10.0.0.2", 1800, &[]);
    // TIMER(i): at once, without a delay.
    let heard = host.now;
    host.pass(secs(1441));
    let sent = host.solicitations();
    assert!(sent.iter().any(|(at, to, _)| *to == v4("10.0.0.5") && *at == heard.saturating_add(secs(1440))));
}

#[test]
fn isa_35_timer_of_the_vectors_with_jitter_at_both_ends() {
    let options = [pio("2001:db8:0:7::/64", SLAAC, 86400, 14400), rio("2001:db8:1::/48", 0x08, 1800)];
    let short = [rio("2001:db8:1::/48", 0x08, 100)];
    let infinite = [pio("2001:db8:0:7::/64", SLAAC, u32::MAX, u32::MAX), rio("2001:db8:1::/48", 0, u32::MAX)];
    // Router lifetime, options; TIMER(i) at both ends of the jitter and between; whether a warning is due.
    type Case<'a> = (u16, &'a [Vec<u8>], [f64; 3], bool);
    let cases: [Case<'_>; 10] = [
        (1800, &options, [1296.0, 1440.0, 1584.0], false),
        // 80 s, of which MinRouterSolicitInterval makes 120 s, whatever the jitter.
        (1800, &short, [120.0, 120.0, 120.0], true),
        // 104 ± 10 % s: never less than 120 s, and before 130 s are over.
        (130, &[], [120.0, 120.0, 120.0], false),
        (120, &[], [120.0, 120.0, 120.0], true),
        (160, &[], [120.0, 128.0, 140.8], false),
        // Nothing ends: PrlRefreshInterval, and never later than that.
        (0, &infinite, [3240.0, 3420.0, 3600.0], false),
        // The preferred lifetime and that of DNS servers count as well.
        (9000, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 1000)], [720.0, 800.0, 880.0], false),
        (9000, &[rdnss(500, &["2001:db8::53"])], [360.0, 400.0, 440.0], false),
        // Zeros are skipped; the refresh interval caps what is left.
        (4000, &[rio("2001:db8:1::/48", 0x08, 0), rdnss(0, &["2001:db8::53"])], [2880.0, 3200.0, 3520.0], false),
        (9000, &[], [3240.0, 3420.0, 3600.0], false),
    ];
    for (lifetime, options, expected, warned) in cases {
        for (dice, expected) in [Dice::Low, Dice::Middle, Dice::High].into_iter().zip(expected) {
            let mut config = by_address();
            config.probe_neighbors = false;
            let mut host = host(config, &["10.0.0.2"], dice);
            host.router("10.0.0.1");
            host.pass(secs(1));
            host.take();
            // Late enough that ISA-37 does not move the round.
            host.now = host.now.saturating_add(Duration::from_millis(500));
            let heard = host.now;
            host.hear("10.0.0.1", "10.0.0.2", lifetime, options);
            host.pass(secs(10000));
            let times = seconds_after(heard, &host.solicitations());
            assert!((times[0] - expected).abs() < 0.001, "{lifetime} {dice:?}: {} {expected}", times[0]);
            let warnings = host.events.iter().filter(|(_, event)| matches!(event, Event::LifetimeTooShort { .. }));
            assert_eq!(warnings.count(), usize::from(warned), "{lifetime}");
        }
    }
}

/// Runs until the next solicitation, and takes it.
fn next_solicitation(host: &mut Host) -> Instant {
    while host.sent.iter().all(|(_, sent)| sent.kind() != RS) {
        host.next();
    }
    host.solicitations()[0].0
}

/// The spans between solicitations, each of which is answered by the same advertisement.
fn spans_when_answered(host: &mut Host, count: usize, lifetime: u16, options: &[Vec<u8>]) -> Vec<u64> {
    let mut last = next_solicitation(host);
    let mut spans = Vec::new();
    while spans.len() < count {
        host.hear("10.0.0.1", "10.0.0.2", lifetime, options);
        let asked = next_solicitation(host);
        spans.push(asked.saturating_duration_since(last).as_secs());
        last = asked;
    }
    spans
}

/// The host that was dead for 5.6 days: the router did not forward yet when it asked.
#[test]
fn isa_34_an_advertisement_without_a_way_on_does_not_end_the_asking() {
    let thirty_days = [pio("2001:db8:0:7::/64", SLAAC, 2_592_000, 604_800)];
    for options in [&[][..], &thirty_days] {
        let mut config = by_address();
        config.probe_neighbors = false;
        let mut host = host(config, &["10.0.0.2"], Dice::Middle);
        host.router("10.0.0.1");
        let spans = spans_when_answered(&mut host, 12, 0, options);
        // TIMER(i) sees to it that the refresh interval is not exceeded by its jitter.
        assert_eq!(spans, [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3420, 3420]);
        assert_eq!(host.next_hops("::/0"), []);
        // A way on ends it.
        host.hear("10.0.0.1", "10.0.0.2", 1800, options);
        assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.1"))]);
        let heard = host.now;
        assert_eq!(next_solicitation(&mut host), heard.saturating_add(secs(1440)));
    }
    // So does a route that is none by default.
    let mut config = by_address();
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    next_solicitation(&mut host);
    host.hear("10.0.0.1", "10.0.0.2", 0, &[rio("2001:db8:1::/48", 0, 1800)]);
    let heard = host.now;
    assert_eq!(next_solicitation(&mut host), heard.saturating_add(secs(1440)));
}

#[test]
fn isa_35_a_short_lifetime_is_renewed_while_a_way_on_is_asked_for() {
    let mut config = by_address();
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    let spans = spans_when_answered(&mut host, 12, 0, &[pio("2001:db8:0:7::/64", SLAAC, 600, 600)]);
    // 80 % of 600 s where the back-off is beyond it.
    assert_eq!(spans, [4, 8, 16, 32, 64, 128, 256, 480, 480, 480, 480, 480]);
}

#[test]
fn isa_35_without_back_off_rounds_without_a_way_on_become_rarer_up_to_the_refresh_interval() {
    let mut config = by_address();
    config.probe_neighbors = false;
    config.solicitation.backoff = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    let spans = spans_when_answered(&mut host, 18, 0, &[]);
    // Each round has three; TIMER(i) is redrawn with every answer.
    let longest: Vec<u64> = spans.iter().copied().filter(|span| *span != 4).collect();
    assert!(longest.windows(2).all(|pair| pair[0] <= pair[1]), "{spans:?}");
    assert_eq!((spans[..2].to_vec(), longest.last()), (vec![4, 4], Some(&3420)), "{spans:?}");
}

/// NDP-67, ISA-47: it said by itself that it forwards no more, or answered a Neighbor
/// Solicitation as a host.
#[test]
fn isa_32_a_router_that_stops_forwarding_is_asked_again() {
    let stops = |host: &mut Host, by_advertisement: bool| {
        if by_advertisement {
            host.hear("10.0.0.1", "10.0.0.2", 0, &[]);
        } else {
            let reply = nd(local("10.0.0.1"), local("10.0.0.2"), na(0x40, local("10.0.0.1")));
            host.receive(&outer("10.0.0.1", "10.0.0.2", &reply));
        }
    };
    for by_advertisement in [true, false] {
        let mut host = asking(Dice::Middle);
        next_solicitation(&mut host);
        host.hear("10.0.0.1", "10.0.0.2", 9000, &[]);
        let reply = nd(local("10.0.0.1"), local("10.0.0.2"), na(0xc0, local("10.0.0.1")));
        host.receive(&outer("10.0.0.1", "10.0.0.2", &reply));
        host.pass(secs(500));
        host.take();
        stops(&mut host, by_advertisement);
        let (stopped, none) = (host.now, host.next_hops("::/0"));
        assert_eq!(none, []);
        let asked = next_solicitation(&mut host).saturating_duration_since(stopped);
        assert_eq!(asked, Duration::from_millis(500), "MAX_RTR_SOLICITATION_DELAY, {by_advertisement}");
        // ISA-37: and no round begins sooner than 120 s after the last one.
        host.hear("10.0.0.1", "10.0.0.2", 9000, &[]);
        let round = host.now;
        host.pass(secs(10));
        host.take();
        stops(&mut host, true);
        assert_eq!(next_solicitation(&mut host), round.saturating_add(Duration::from_millis(120_500)));
    }
}

#[test]
fn isa_37_an_administrator_who_asks_does_not_wait() {
    let mut config = HostConfig::DEFAULT;
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.resolved(&["10.0.0.1"], None);
    next_solicitation(&mut host);
    host.hear("10.0.0.1", "10.0.0.2", 9000, &[]);
    host.pass(secs(30));
    let ask = |host: &mut Host| {
        host.machine.with_interface(host.now, LINK, |host, cx| host.solicit_routers(cx)).unwrap();
        host.drain();
        host.now
    };
    let questions = host.questions();
    let asked = ask(&mut host);
    assert_eq!((next_solicitation(&mut host), host.questions()), (asked, questions + 1));
    // Whoever asks all the time is no flood: 4 s apart, answered or not.
    let mut sent = Vec::new();
    for turn in 0..80 {
        host.pass(Duration::from_millis(500));
        let times = host.solicitations();
        if !times.is_empty() && turn > 40 {
            host.hear("10.0.0.1", "10.0.0.2", 9000, &[]);
        }
        sent.extend(times.iter().map(|sent| sent.0));
        ask(&mut host);
    }
    assert!(sent.windows(2).all(|pair| pair[1].saturating_duration_since(pair[0]) >= secs(4)), "{sent:?}");
    assert!((9..=10).contains(&sent.len()), "{sent:?}");
}

#[test]
fn isa_35_a_second_advertisement_adds_to_the_first_one() {
    // [RFC 4861 §6.2.3]: options that do not fit go into another one.
    let mut host = asking(Dice::Middle);
    host.pass(secs(1));
    host.take();
    let heard = host.now;
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[rio("2001:db8:1::/48", 0, 600)]);
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[rdnss(1800, &["2001:db8::53"])]);
    let reply = nd(local("10.0.0.1"), local("10.0.0.2"), na(0xc0, local("10.0.0.1")));
    host.receive(&outer("10.0.0.1", "10.0.0.2", &reply));
    host.pass(secs(1000));
    assert_eq!(seconds_after(heard, &host.solicitations())[0], 480.0, "before the route of the first is over");
}

#[test]
fn isa_36_a_host_that_asks_again_keeps_its_prefix_for_a_month() {
    let mut host = asking(Dice::Seeded(7));
    let address = v6("2001:db8:0:7:0:5efe:a00:2");
    let end = host.now.saturating_add(secs(30 * 86400));
    let mut rounds = 0;
    host.pass(secs(1));
    while host.now < end {
        host.next();
        for sent in host.take() {
            if sent.kind() == RS {
                rounds += 1;
                host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 2400, 1800)]);
            } else if sent.kind() == NS {
                let reply = nd(local("10.0.0.1"), local("10.0.0.2"), na(0xc0, local("10.0.0.1")));
                host.receive(&outer("10.0.0.1", "10.0.0.2", &reply));
            }
        }
        assert!(host.addresses.contains_key(&address) && !host.next_hops("::/0").is_empty(), "at {}", host.now);
    }
    // 80 % of 1800 s, ± 10 %: 30 days are 1,800 of them.
    assert!((1700..1900).contains(&rounds), "{rounds}");
    let routers = host.events.iter().filter(|(_, event)| matches!(event, Event::Router { .. })).count();
    assert_eq!(routers, 1, "told once");
}

#[test]
fn isa_36_a_router_that_stops_takes_all_with_it_in_time_and_is_asked_for_ever() {
    let mut host = asking(Dice::Middle);
    host.pass(secs(1));
    let heard = host.now;
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 7200, 3600)]);
    host.take();
    host.until(heard.saturating_add(secs(1799)));
    assert_eq!(host.next_hops("::/0").len(), 1);
    host.until(heard.saturating_add(secs(1800)));
    assert_eq!(host.next_hops("::/0"), []);
    let address = v6("2001:db8:0:7:0:5efe:a00:2");
    host.until(heard.saturating_add(secs(3600)));
    assert!(host.addresses[&address].preferred_until.is_due(host.now), "deprecated");
    host.until(heard.saturating_add(secs(7200)));
    assert!(!host.addresses.contains_key(&address));
    assert_eq!(host.routes, []);
    let gone = |event: &Event| matches!(event, Event::Router { change: isatap_core::engine::Change::Removed, .. });
    assert!(host.events.iter().any(|(_, event)| gone(event)));
    host.take();
    host.pass(secs(86400));
    let asked = host.solicitations().len();
    assert!((22..=27).contains(&asked), "every 3600 s ± 10 %: {asked}");
}

#[test]
fn isa_37_a_name_that_flaps_every_second_is_no_flood() {
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Seeded(3));
    for turn in 0..3600 {
        host.resolved(if turn % 2 == 0 { &["10.0.0.1", "10.0.0.5"] } else { &["10.0.0.5"] }, Some(1));
        host.pass(secs(1));
    }
    let sent = host.solicitations();
    let to = |address: &str| sent.iter().filter(|sent| sent.1 == v4(address)).map(|sent| sent.0).collect::<Vec<_>>();
    let flapping = to("10.0.0.1");
    assert!(flapping.len() > 10, "{}", flapping.len());
    assert!(flapping.windows(2).all(|pair| pair[1].saturating_duration_since(pair[0]) >= secs(120)), "{flapping:?}");
    // The other one's round went on as if nothing had been.
    assert!((9..=11).contains(&to("10.0.0.5").len()));
}

#[test]
fn isa_37_a_locator_that_flaps_every_second_is_no_flood() {
    let mut host = asking(Dice::Seeded(4));
    for turn in 0..3600 {
        host.locators(if turn % 2 == 0 { &[] } else { &["10.0.0.2"] });
        host.pass(secs(1));
    }
    let sent = host.solicitations();
    assert!(sent.len() > 10);
    assert!(sent.windows(2).all(|pair| pair[1].0.saturating_duration_since(pair[0].0) >= secs(120)));
}

#[test]
fn isa_21_an_interval_without_end_is_one_round_and_no_refresh() {
    let mut config = HostConfig::DEFAULT;
    config.solicitation.min_round_interval = Duration::MAX;
    config.refresh_interval = Duration::MAX;
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.resolved(&["10.0.0.1"], None);
    host.pass(secs(1));
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
    assert_eq!(host.solicitations().len(), 1);
    host.pass(secs(365 * 86400));
    assert_eq!((host.solicitations().len(), host.questions()), (0, 1));
}

#[test]
fn isa_22_isa_24_when_names_are_asked_for() {
    let asked_after = |host: &mut Host, limit: u64| {
        let (start, before) = (host.now, host.questions());
        while host.questions() == before && host.now < start.saturating_add(secs(limit)) {
            host.pass(Duration::from_millis(500));
        }
        host.now.saturating_duration_since(start).as_micros() as f64 / 1e6
    };
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Middle);
    // The smaller of the TTL and PrlRefreshInterval.
    for (ttl, expected) in [(Some(60), 60.0), (Some(86400), 3600.0), (None, 3600.0)] {
        host.resolved(&["10.0.0.1"], ttl);
        assert_eq!(asked_after(&mut host, 10000), expected, "{ttl:?}");
    }
    // Failures: 10, 20, 40 … s, at most the refresh interval.
    for failure in [ResolveFailure::Unavailable, ResolveFailure::NoSuchName] {
        host.resolved(&["10.0.0.1"], None);
        assert_eq!(asked_after(&mut host, 10000), 3600.0);
        for expected in [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 3600.0, 3600.0] {
            host.machine.routers_resolved(host.now, Err(failure)).unwrap();
            host.drain();
            assert_eq!(asked_after(&mut host, 10000), expected, "{failure:?}");
        }
    }
}

#[test]
fn isa_22_with_ttl_zero_each_round_asks_for_the_name_first() {
    let mut config = HostConfig::DEFAULT;
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    assert_eq!(host.questions(), 1);
    host.resolved(&["10.0.0.1"], Some(0));
    host.pass(secs(1));
    assert_eq!((host.questions(), host.solicitations().len()), (1, 1), "the first round has a fresh answer");
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
    host.pass(secs(1439));
    assert_eq!((host.questions(), host.solicitations().len()), (1, 0));
    // TIMER(i): the name first; without an answer nobody is asked.
    host.pass(secs(60));
    assert_eq!((host.questions(), host.solicitations().len()), (2, 0));
    host.resolved(&["10.0.0.5", "10.0.0.1"], Some(0));
    host.pass(secs(1));
    let asked: Vec<_> = host.solicitations().iter().map(|sent| sent.1).collect();
    assert_eq!((host.questions(), asked), (2, vec![v4("10.0.0.1"), v4("10.0.0.5")]));
    // Nobody answers the resolver: the old list is asked.
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
    host.hear("10.0.0.5", "10.0.0.2", 9000, &[]);
    host.pass(secs(1500));
    assert_eq!((host.questions(), host.solicitations().len()), (3, 0));
    host.machine.routers_resolved(host.now, Err(ResolveFailure::Unavailable)).unwrap();
    host.pass(secs(1));
    assert_eq!(host.solicitations().iter().map(|sent| sent.1).collect::<Vec<_>>(), [v4("10.0.0.1")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is advertised, TIMER(i) fires before the soonest lifetime is
    /// over, but never before MinRouterSolicitInterval.
    #[test]
    fn isa_35_isa_37_timer_lies_between_the_least_interval_and_the_soonest_lifetime(
        seed in 1_u64.., router in 0_u16..10000, valid: u32, preferred: u32, route in 0_u32..100_000, least in 1_u64..1000,
    ) {
        let mut config = by_address();
        config.probe_neighbors = false;
        config.solicitation.min_round_interval = secs(least);
        let mut host = host(config, &["10.0.0.2"], Dice::Seeded(seed));
        host.router("10.0.0.1");
        host.pass(secs(1));
        host.take();
        let heard = host.now;
        let options = [pio("2001:db8:0:7::/64", SLAAC, valid, preferred), rio("2001:db8:1::/48", 0, route)];
        host.hear("10.0.0.1", "10.0.0.2", router, &options);
        let soonest = [u32::from(router), valid, preferred, route].into_iter().filter(|&s| s != 0 && s != u32::MAX).min();
        while host.sent.is_empty() {
            host.pass(secs(60));
        }
        let fired = host.solicitations()[0].0.saturating_duration_since(heard);
        // Without a way on the round goes on: 4.4 s after its first solicitation at most.
        if (router, route) == (0, 0) {
            prop_assert!(fired <= Duration::from_millis(4_400), "{fired:?}");
            return Ok(());
        }
        prop_assert!(fired >= secs(least), "{fired:?} {least}");
        prop_assert!(fired <= secs(3600), "{fired:?}");
        if let Some(soonest) = soonest.filter(|&s| u64::from(s) > least) {
            prop_assert!(fired < secs(soonest.into()), "{fired:?} {soonest}");
        }
    }
}

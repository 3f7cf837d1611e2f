#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
use super::*;
use proptest::prelude::*;
use std::vec::Vec;

/// RAND is 0: the middle of every span.
fn middle(out: &mut [u8]) {
    out.fill(0);
    out[0] = 0x80;
}

/// Times in seconds at which a round sends, as far as `count`.
fn times(config: &Config, with_delay: bool, count: usize, entropy: &mut dyn Entropy) -> Vec<f64> {
    let start = Instant::from_secs(1000);
    let mut solicitation = Solicitation::IDLE;
    solicitation.start(start, with_delay, config);
    let mut sent = Vec::new();
    while sent.len() < count {
        let Some(now) = solicitation.deadline().instant() else { break };
        if solicitation.handle_timeout(now, config, entropy) {
            sent.push(now.saturating_duration_since(start).as_micros() as f64 / 1e6);
        }
    }
    sent
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn isa_34_intervals_without_jitter_are_those_of_the_vectors() {
    let sent = times(&Config::DEFAULT, false, 14, &mut middle);
    assert_eq!(sent[0], 0.0);
    let expected = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600].map(f64::from);
    assert_eq!(gaps(&sent), expected);
}

#[test]
fn isa_34_backoff_is_on_by_default() {
    assert!(Config::default().backoff);
    assert_eq!(Config::default().initial_interval.as_secs(), 4);
    assert_eq!(Config::default().max_interval.as_secs(), 3600);
}

#[test]
fn isa_33_without_backoff_three_solicitations_four_seconds_apart() {
    let config = Config { backoff: false, ..Config::DEFAULT };
    assert_eq!(times(&config, true, 9, &mut middle), [0.5, 4.5, 8.5]);
    let mut solicitation = Solicitation::IDLE;
    solicitation.start(Instant::ZERO, false, &config);
    for _ in 0..4 {
        let now = solicitation.deadline().instant().unwrap();
        solicitation.handle_timeout(now, &config, &mut middle);
    }
    assert_eq!(solicitation.phase(), Phase::Exhausted);
    assert_eq!(solicitation.attempts(), 3);
    assert_eq!(solicitation.deadline(), Expiry::NEVER);
}

#[test]
fn isa_33_an_answer_ends_the_round() {
    let mut solicitation = Solicitation::IDLE;
    solicitation.start(Instant::ZERO, false, &Config::DEFAULT);
    assert!(solicitation.handle_timeout(Instant::ZERO, &Config::DEFAULT, &mut middle));
    solicitation.answered();
    assert_eq!(solicitation.deadline(), Expiry::NEVER);
    assert!(!solicitation.handle_timeout(Instant::from_secs(100), &Config::DEFAULT, &mut middle));
}

#[test]
fn isa_37_rounds_keep_their_distance_whatever_the_events() {
    let config = Config::DEFAULT;
    let mut solicitation = Solicitation::IDLE;
    let mut rounds = Vec::new();
    for second in 0..600 {
        let now = Instant::from_secs(second);
        // A flapping interface, and a router that always answers.
        solicitation.start(now, false, &config);
        if solicitation.handle_timeout(now, &config, &mut middle) {
            rounds.push(second);
            solicitation.answered();
        }
    }
    assert_eq!(rounds, [0, 120, 240, 360, 480]);
}

#[test]
fn isa_37_an_event_in_a_running_round_changes_nothing_before_its_time() {
    let config = Config::DEFAULT;
    let mut solicitation = Solicitation::IDLE;
    let mut sent = Vec::new();
    for second in 0..200 {
        let now = Instant::from_secs(second);
        if [0, 10, 119, 150].contains(&second) {
            solicitation.start(now, false, &config);
        }
        if solicitation.handle_timeout(now, &config, &mut middle) {
            sent.push(second);
        }
    }
    // 124 would be the next repeat; the round that begins at 150 cuts its interval of 128 s short.
    assert_eq!(sent, [0, 4, 12, 28, 60, 124, 150, 154, 162, 178]);
}

#[test]
fn isa_21_an_infinite_interval_means_one_round() {
    let config = Config { min_round_interval: Duration::MAX, ..Config::DEFAULT };
    let mut solicitation = Solicitation::IDLE;
    solicitation.start(Instant::ZERO, false, &config);
    assert!(solicitation.handle_timeout(Instant::ZERO, &config, &mut middle));
    solicitation.answered();
    solicitation.start(Instant::from_secs(1 << 40), false, &config);
    assert_eq!(solicitation.deadline(), Expiry::NEVER);
}

/// A small generator: what matters is that it varies.
fn generator(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |out| {
        for byte in out {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        }
    }
}

proptest! {
    #[test]
    fn isa_34_intervals_keep_their_bounds(seed: u64, with_delay: bool) {
        let sent = times(&Config::DEFAULT, with_delay, 20, &mut generator(seed));
        prop_assert_eq!(sent.len(), 20);
        let latest = if with_delay { 1.0 } else { f64::MIN_POSITIVE };
        prop_assert!(sent[0] < latest);
        let gaps = gaps(&sent);
        prop_assert!((3.599..=4.4).contains(&gaps[0]), "{}", gaps[0]);
        for pair in gaps.windows(2) {
            let (last, next) = (pair[0], pair[1]);
            let doubled = 1.9 * last - 0.002 <= next && next <= 2.1 * last + 0.002;
            let longest = (3239.999..=3960.001).contains(&next) && 2.1 * last + 0.002 >= 3600.0;
            prop_assert!(doubled || longest, "{last} then {next}");
        }
        prop_assert!(gaps.iter().all(|gap| *gap <= 3960.001));
    }

    #[test]
    fn no_deadline_survives_being_polled(
        seed: u64,
        backoff: bool,
        initial in 0_u64..10,
        steps in prop::collection::vec((0_u8..4, 0_u64..300_000_000), 1..60),
    ) {
        let config = Config { backoff, initial_interval: Duration::from_secs(initial), ..Config::DEFAULT };
        let mut entropy = generator(seed);
        let mut solicitation = Solicitation::IDLE;
        let mut now = Instant::ZERO;
        for (event, gap) in steps {
            now = now.saturating_add(Duration::from_micros(gap));
            match event {
                0 => solicitation.start(now, true, &config),
                1 => solicitation.start(now, false, &config),
                2 => solicitation.answered(),
                _ => {}
            }
            solicitation.handle_timeout(now, &config, &mut entropy);
            prop_assert!(!solicitation.deadline().is_due(now));
        }
    }
}

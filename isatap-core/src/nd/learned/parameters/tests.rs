#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::nd::message::RouterAdvertisementRepr;
use crate::wire::field::Writer;
use proptest::prelude::*;

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn middle(out: &mut [u8]) {
    out.fill(0);
    out[0] = 0x80;
}

fn learn(parameters: &mut LinkParameters, now: u64, hop_limit: u8, reachable_time: u32, retrans_timer: u32) -> bool {
    let mut bytes = [0; 16];
    RouterAdvertisementRepr { cur_hop_limit: hop_limit, reachable_time, retrans_timer, ..Default::default() }
        .emit(&mut Writer::new(&mut bytes));
    parameters.learn(at(now), &RouterAdvertisement::parse(&bytes).unwrap())
}

#[test]
fn ndp_30_zero_says_nothing() {
    let mut parameters = LinkParameters::DEFAULT;
    assert_eq!(parameters.reachable_time(), Duration::from_secs(30));
    assert_eq!(parameters.retrans_timer(), Duration::from_secs(1));
    assert!(!learn(&mut parameters, 1, 0, 0, 0));
    assert_eq!(parameters, LinkParameters::default());
    assert!(learn(&mut parameters, 2, 32, 0, 500));
    assert_eq!((parameters.cur_hop_limit(), parameters.retrans_timer().as_millis()), (32, 500));
    assert!(!learn(&mut parameters, 3, 0, 0, 0));
    assert_eq!((parameters.cur_hop_limit(), parameters.retrans_timer().as_millis()), (32, 500));
}

#[test]
fn ndp_31_the_last_advertisement_wins() {
    let mut parameters = LinkParameters::DEFAULT;
    learn(&mut parameters, 1, 32, 10_000, 500);
    learn(&mut parameters, 2, 128, 20_000, 700);
    parameters.handle_timeout(at(2), &mut middle);
    assert_eq!(parameters.cur_hop_limit(), 128);
    assert_eq!(parameters.retrans_timer().as_millis(), 700);
    assert_eq!(parameters.reachable_time().as_millis(), 20_000);
}

#[test]
fn ndp_30_reachable_time_is_drawn_on_change_and_every_few_hours() {
    let mut parameters = LinkParameters::DEFAULT;
    assert!(parameters.deadline().is_due(at(0)));
    parameters.handle_timeout(at(0), &mut |out: &mut [u8]| out.fill(0));
    assert_eq!(parameters.reachable_time(), Duration::from_secs(15));
    // The same base again: nothing to draw.
    learn(&mut parameters, 10, 64, 30_000, 0);
    assert!(!parameters.deadline().is_due(at(10)));
    learn(&mut parameters, 11, 64, 40_000, 0);
    assert!(parameters.deadline().is_due(at(11)));
    parameters.handle_timeout(at(11), &mut |out: &mut [u8]| out.fill(0xff));
    assert!(parameters.reachable_time() > Duration::from_millis(59_999));
    assert!(parameters.reachable_time() < Duration::from_secs(60));
    assert_eq!(parameters.deadline(), Expiry::at(at(11 + 7200)));
    parameters.handle_timeout(at(11 + 7200), &mut middle);
    assert_eq!(parameters.reachable_time(), Duration::from_secs(40));
    assert!(!parameters.deadline().is_due(at(11 + 7200)));
}

#[test]
fn ndp_14_the_mtu_lies_between_1280_and_the_links() {
    let mut parameters = LinkParameters::DEFAULT;
    for wrong in [0, 1279, 1481, 65_536, u32::MAX] {
        assert!(!parameters.learn_mtu(Mtu(wrong), 1480));
        assert_eq!(parameters.mtu(), None);
    }
    assert!(parameters.learn_mtu(Mtu(1280), 1480));
    assert!(!parameters.learn_mtu(Mtu(1280), 1480));
    assert!(parameters.learn_mtu(Mtu(1480), 1480));
    // Ignored, not taken as the nearest.
    assert!(!parameters.learn_mtu(Mtu(1500), 1480));
    assert_eq!(parameters.mtu(), Some(1480));
}

proptest! {
    #[test]
    fn ndp_30_reachable_time_lies_between_half_and_one_and_a_half(base in 1_u32.., bits: u32) {
        let mut parameters = LinkParameters::DEFAULT;
        learn(&mut parameters, 1, 0, base, 0);
        parameters.handle_timeout(at(1), &mut |out: &mut [u8]| out.copy_from_slice(&bits.to_be_bytes()));
        let micros = parameters.reachable_time().as_micros();
        let base = u64::from(base) * 1000;
        prop_assert!(base / 2 <= micros && micros <= base + base / 2);
        prop_assert!(!parameters.deadline().is_due(at(1)));
    }
}

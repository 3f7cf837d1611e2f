//! Which hosts were answered, and when.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::{Array, Row};
use crate::engine::{Entropy, draw_key};
use crate::isatap::addr;
use crate::prefix::halves;
use crate::proto41::identification::siphash;
use crate::time::{Duration, Instant};

/// Hosts that were answered, as far as they are remembered: a place for each
/// pair of host and locator, by a secret hash. A pair takes the place of
/// another.
///
/// A solicitation may be forged, and its answer then goes to somebody who did
/// not ask: once in [`QUIET`], and once more for every time that the forger's
/// other packets hit its place by chance.
#[derive(Clone)]
pub(super) struct Answered<S> {
    places: S,
    key: [u64; 2],
}

/// The last pair of one place.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    host: u32,
    locator: u32,
    /// [`USED`], [`OTHER_FORM`], and the tick of the answer.
    when: u32,
}

impl Row for Mark {
    const EMPTY: Self = Mark { host: 0, locator: 0, when: 0 };
}

/// A host that is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    /// Its link-local address, under the u bit that it used.
    pub(super) address: Ipv6Addr,
    pub(super) host: Ipv4Addr,
    /// By which it was answered.
    pub(super) locator: Ipv4Addr,
}

/// No host is answered more often than once in so many ticks: a second, less
/// than the 4 s at which hosts repeat.
const QUIET: u32 = 8;

const USED: u32 = 1 << 31;
/// Its address has the other u bit than ours would. `ISA-26`
const OTHER_FORM: u32 = 1 << 30;
const TICKS: u32 = OTHER_FORM - 1;

/// 131 ms, counted around in four years.
const TICK: Duration = Duration::from_micros(1 << 17);

fn tick(now: Instant) -> u32 {
    let [.., a, b, c, d] = now.micros().wrapping_shr(17).to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) & TICKS
}

impl Mark {
    fn is_of(&self, host: Ipv4Addr, locator: Ipv4Addr) -> bool {
        self.when & USED != 0 && self.host == host.to_bits() && self.locator == locator.to_bits()
    }

    /// In ticks.
    fn age(&self, now: Instant) -> u32 {
        tick(now).wrapping_sub(self.when) & TICKS
    }
}

impl<S: Array<Mark>> Answered<S> {
    /// Nobody.
    pub(super) const EMPTY: Self = Answered { places: S::EMPTY, key: [0; 2] };

    /// Draws the secret, if there is none yet.
    pub(super) fn draw(&mut self, entropy: &mut dyn Entropy) {
        if self.key == [0; 2] {
            self.key = draw_key(entropy);
        }
    }

    /// Whether the host was answered by this locator a moment ago.
    pub(super) fn has(&self, now: Instant, host: Ipv4Addr, locator: Ipv4Addr) -> bool {
        let mark = self.places.as_ref().get(self.place(host, locator));
        mark.is_some_and(|mark| mark.is_of(host, locator) && mark.age(now) < QUIET)
    }

    /// The host of this address is answered now.
    pub(super) fn note(&mut self, now: Instant, address: &Ipv6Addr, locator: Ipv4Addr) {
        let Some(host) = addr::embedded_ipv4(address) else { return };
        // Memory that is taken when it is needed has no places before.
        let _ = self.places.as_mut();
        let place = self.place(host, locator);
        let (_, ours) = halves(&addr::link_local(host));
        let form = if halves(address).1 == ours { 0 } else { OTHER_FORM };
        if let Some(mark) = self.places.as_mut().get_mut(place) {
            *mark = Mark { host: host.to_bits(), locator: locator.to_bits(), when: USED | form | tick(now) };
        }
    }

    /// How many places there are: none before the first host.
    pub(super) fn places(&self) -> usize {
        self.places.as_ref().len()
    }

    /// The host of a place that was answered at most `lately` ago.
    pub(super) fn at(&self, place: usize, now: Instant, lately: Duration) -> Option<Remembered> {
        let mark = self.places.as_ref().get(place).filter(|mark| mark.when & USED != 0)?;
        if TICK.saturating_mul(mark.age(now)) > lately {
            return None;
        }
        let host = Ipv4Addr::from_bits(mark.host);
        let address = if mark.when & OTHER_FORM == 0 { addr::link_local(host) } else { addr::other_link_local(host) };
        Some(Remembered { address, host, locator: Ipv4Addr::from_bits(mark.locator) })
    }

    fn place(&self, host: Ipv4Addr, locator: Ipv4Addr) -> usize {
        let word = u64::from(host.to_bits()) << 32 | u64::from(locator.to_bits());
        let [a, b, c, d, ..] = siphash(self.key, word).to_be_bytes();
        let place = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        place.checked_rem(self.places().max(1)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use std::vec::Vec;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn host(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a01_0000 + number)
    }

    fn address(number: u32) -> Ipv6Addr {
        addr::link_local(host(number))
    }

    fn at(micros: u64) -> Instant {
        Instant::from_secs(1000).saturating_add(Duration::from_micros(micros))
    }

    #[test]
    fn isa_57_a_host_is_known_for_a_second_by_the_locator_that_answered() {
        let mut answered: Answered<[Mark; 64]> = Answered::EMPTY;
        assert!(!answered.has(at(0), host(1), ROUTER));
        answered.note(at(0), &address(1), ROUTER);
        assert!(answered.has(at(0), host(1), ROUTER) && answered.has(at(900_000), host(1), ROUTER));
        assert!(!answered.has(at(1_050_000), host(1), ROUTER));
        assert!(!answered.has(at(0), host(1), Ipv4Addr::new(10, 0, 0, 2)) && !answered.has(at(0), host(2), ROUTER));
    }

    #[test]
    fn isa_57_who_does_not_know_the_secret_hits_a_place_by_chance() {
        let mut hits = 0;
        for secret in 0_u64..200 {
            let mut answered: Answered<[Mark; 64]> = Answered::EMPTY;
            let mut bytes = secret;
            answered.draw(&mut |out: &mut [u8]| {
                for byte in out {
                    bytes = bytes.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    *byte = bytes.to_be_bytes()[0];
                }
            });
            answered.note(at(0), &address(0), ROUTER);
            answered.note(at(0), &address(77), ROUTER);
            hits += usize::from(!answered.has(at(0), host(0), ROUTER));
        }
        assert!((1..=12).contains(&hits), "one in 64: {hits}");
    }

    #[test]
    fn without_places_everybody_is_new() {
        let mut answered: Answered<[Mark; 0]> = Answered::EMPTY;
        answered.note(at(0), &address(1), ROUTER);
        assert!(!answered.has(at(0), host(1), ROUTER));
    }

    #[test]
    fn a_host_is_remembered_under_the_address_that_it_used() {
        let mut answered: Answered<[Mark; 8]> = Answered::EMPTY;
        let lately = Duration::from_secs(1800);
        for (number, address) in [(1, address(1)), (2, addr::other_link_local(host(2)))] {
            answered = Answered::EMPTY;
            answered.note(at(0), &address, ROUTER);
            let all = |now| (0..8).filter_map(|place| answered.at(place, now, lately)).collect::<Vec<_>>();
            let known = all(at(0));
            assert_eq!((known.len(), known[0].address, known[0].host), (1, address, host(number)));
            assert_eq!(known[0].locator, ROUTER);
            assert_eq!(all(at(1_799_000_000)).len(), 1);
            assert_eq!(all(at(1_801_000_000)).len(), 0, "its default route is gone by now");
        }
        let global: Ipv6Addr = "2001:db8:0:7:200:5efe:a01:3".parse().unwrap();
        answered.note(at(0), &global, ROUTER);
        let known = (0..8).find_map(|place| answered.at(place, at(0), lately).filter(|known| known.host == host(3)));
        assert_eq!(known.unwrap().address, addr::other_link_local(host(3)));
    }
}

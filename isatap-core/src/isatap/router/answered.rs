//! Which hosts were answered a moment ago.

use core::net::Ipv4Addr;

use crate::capacity::{Array, Row};
use crate::engine::{Entropy, draw_key};
use crate::proto41::identification::siphash;
use crate::time::Instant;

/// Hosts that were answered less than [`QUIET`] ago, as far as they are
/// remembered: a place for each pair of host and locator, by a secret hash. A
/// pair takes the place of another.
///
/// A solicitation may be forged, and its answer then goes to somebody who did
/// not ask: once a second, and once more for every time that the forger's
/// other packets hit its place by chance.
#[derive(Clone)]
pub(super) struct Answered<S> {
    places: S,
    key: [u64; 2],
}

/// The last pair of one place: what tells it from others, never zero, above
/// the `tick` of its answer. A host that comes back after 9 minutes to the
/// tick is taken for one that was answered, and is answered when it repeats.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u32);

impl Row for Mark {
    const EMPTY: Self = Mark(0);
}

/// No host is answered more often than once in so many ticks: a second, less
/// than the 4 s at which hosts repeat.
const QUIET: u32 = 8;

const TICK_BITS: u32 = 12;
const TICKS: u32 = (1 << TICK_BITS) - 1;

/// 131 ms, counted around.
fn tick(now: Instant) -> u32 {
    let [.., a, b, c, d] = now.micros().wrapping_shr(17).to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) & TICKS
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
        let (place, tag) = self.place(host, locator);
        let mark = self.places.as_ref().get(place);
        mark.is_some_and(|mark| mark.0 & !TICKS == tag && tick(now).wrapping_sub(mark.0) & TICKS < QUIET)
    }

    /// The host is answered now.
    pub(super) fn note(&mut self, now: Instant, host: Ipv4Addr, locator: Ipv4Addr) {
        let (place, tag) = self.place(host, locator);
        if let Some(mark) = self.places.as_mut().get_mut(place) {
            *mark = Mark(tag | tick(now));
        }
    }

    fn place(&self, host: Ipv4Addr, locator: Ipv4Addr) -> (usize, u32) {
        let word = u64::from(host.to_bits()) << 32 | u64::from(locator.to_bits());
        let [a, b, c, d, e, f, g, h] = siphash(self.key, word).to_be_bytes();
        let place = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        let tag = u32::from_be_bytes([e, f, g, h]) & !TICKS | 1 << TICK_BITS;
        (place.checked_rem(self.places.as_ref().len()).unwrap_or(0), tag)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use core::time::Duration;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn host(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a01_0000 + number)
    }

    fn at(micros: u64) -> Instant {
        Instant::from_secs(1000).saturating_add(Duration::from_micros(micros))
    }

    #[test]
    fn isa_57_a_host_is_known_for_a_second_by_the_locator_that_answered() {
        let mut answered: Answered<[Mark; 64]> = Answered::EMPTY;
        assert!(!answered.has(at(0), host(1), ROUTER));
        answered.note(at(0), host(1), ROUTER);
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
            answered.note(at(0), host(0), ROUTER);
            answered.note(at(0), host(77), ROUTER);
            hits += usize::from(!answered.has(at(0), host(0), ROUTER));
        }
        assert!((1..=12).contains(&hits), "one in 64: {hits}");
    }

    #[test]
    fn without_places_everybody_is_new() {
        let mut answered: Answered<[Mark; 0]> = Answered::EMPTY;
        answered.note(at(0), host(1), ROUTER);
        assert!(!answered.has(at(0), host(1), ROUTER));
    }
}

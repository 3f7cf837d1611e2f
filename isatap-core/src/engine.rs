//! What every machine of this crate keeps.
//!
//! Randomness, like time, is the caller's: it enters by `handle_timeout`
//! alone, so that any run can be replayed. A packet that calls for a jitter
//! marks its row as due now.

use core::time::Duration;

/// A source of random bytes.
///
/// Times of transmission are not secrets: a small seeded generator serves on
/// a board that has nothing better, as long as boards differ.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) {
        self(out);
    }
}

/// A duration drawn uniformly from `low` (included) to `high` (excluded), in
/// whole microseconds; `low` when the span is empty.
///
/// Draws 32 bits: a span longer than 71 minutes has steps of more than 1 µs.
pub fn uniform(entropy: &mut dyn Entropy, low: Duration, high: Duration) -> Duration {
    let mut drawn = [0; 4];
    entropy.fill(&mut drawn);
    let drawn = u64::from(u32::from_be_bytes(drawn));
    let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
    // span * drawn / 2^32 in two halves, neither of which can overflow.
    let upper = (span >> 32).saturating_mul(drawn);
    let lower = (span & 0xffff_ffff).saturating_mul(drawn) >> 32;
    low.saturating_add(Duration::from_micros(upper.saturating_add(lower)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn uniform_stays_inside_its_span(low in 0_u64..1 << 60, span in 1_u64..1 << 60, bits: u32) {
            let mut entropy = |out: &mut [u8]| out.copy_from_slice(&bits.to_be_bytes());
            let (low, high) = (Duration::from_micros(low), Duration::from_micros(low + span));
            let drawn = uniform(&mut entropy, low, high);
            prop_assert!(low <= drawn && drawn < high);
            let exact = low.as_micros() + (u128::from(span) * u128::from(bits) >> 32);
            prop_assert_eq!(drawn.as_micros(), exact);
        }
    }

    #[test]
    fn an_empty_span_gives_its_low_end() {
        let mut entropy = |out: &mut [u8]| out.fill(0xff);
        assert_eq!(uniform(&mut entropy, Duration::from_secs(3), Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(uniform(&mut entropy, Duration::from_secs(3), Duration::ZERO), Duration::from_secs(3));
    }
}

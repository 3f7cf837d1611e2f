//! The addresses of a target, one after the other. `PPX-6`

use isatap_core::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// Those that are left, and the time for all of them.
#[derive(Debug)]
pub(super) struct Attempts {
    /// The next one last.
    left: Vec<SocketAddr>,
    until: Instant,
}

impl Attempts {
    pub(super) fn new(addresses: impl DoubleEndedIterator<Item = SocketAddr>, until: Instant) -> Self {
        Self { left: addresses.rev().collect(), until }
    }

    /// The next address, and until when it is waited for: what is left of the time is shared equally, so
    /// that an address that is silent does not take the time of those behind it.
    pub(super) fn next(&mut self, now: Instant) -> Option<(SocketAddr, Instant)> {
        let shares = u32::try_from(self.left.len()).unwrap_or(u32::MAX);
        let address = self.left.pop()?;
        let left = Duration::from(self.until.saturating_duration_since(now));
        let share = left.checked_div(shares).unwrap_or_default();
        Some((address, now.saturating_add(share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// `PPX-6`: each address has its turn once and in order, and an equal share of the time that the
        /// ones before have left; all are done when the time is over.
        #[test]
        fn ppx_6_addresses_share_what_is_left_of_the_time(
            begin in 0_u64..1_000_000_000,
            limit in 1_u64..600_000_000,
            // In thousandths of its share, when each has failed.
            fails in vec(0_u64..=1000, 0..20),
        ) {
            let places: Vec<SocketAddr> =
                (0..fails.len()).map(|at| SocketAddr::from(([192, 0, 2, at as u8], 80))).collect();
            let until = Instant::from_micros(begin + limit);
            let mut attempts = Attempts::new(places.iter().copied(), until);
            let mut now = Instant::from_micros(begin);
            for (at, fails) in fails.iter().enumerate() {
                let left = until.micros() - now.micros();
                let (place, due) = attempts.next(now).unwrap();
                prop_assert_eq!(place, places[at]);
                let share = due.micros() - now.micros();
                prop_assert_eq!(share, left / (places.len() - at) as u64);
                now = Instant::from_micros(now.micros() + share * fails / 1000);
            }
            prop_assert!(now <= until && attempts.next(now).is_none());
        }
    }
}

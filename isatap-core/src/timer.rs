//! Deadlines of a machine, one for each variant of an enum.
//!
//! ```
//! use isatap_core::time::{Expiry, Instant};
//! use isatap_core::timer::TimerTable;
//!
//! isatap_core::timers! {
//!     /// What the machine waits for.
//!     pub enum Timer {
//!         /// The next Router Solicitation.
//!         Solicit,
//!         /// The next name query.
//!         Resolve,
//!     }
//! }
//!
//! let mut timers: TimerTable<Timer, { Timer::COUNT }> = TimerTable::new();
//! timers.set(Timer::Solicit, Expiry::at(Instant::from_secs(4)));
//! assert_eq!(timers.next(), Expiry::at(Instant::from_secs(4)));
//! assert_eq!(timers.take_due(Instant::from_secs(4)), Some(Timer::Solicit));
//! assert_eq!(timers.take_due(Instant::from_secs(4)), None);
//! ```

use core::fmt;
use core::marker::PhantomData;

use crate::time::{Expiry, Instant};

/// An enum whose variants name timers; made by [`timers!`](crate::timers).
pub trait TimerId: Copy + fmt::Debug + 'static {
    /// Every variant, in the order of declaration.
    const ALL: &'static [Self];
    /// How many variants there are.
    const COUNT: usize = Self::ALL.len();

    /// The variant's place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

/// Declares a fieldless enum and its [`TimerId`], so that the number of
/// deadlines cannot differ from the number of variants.
///
/// The number is `Name::COUNT`, the second parameter of [`TimerTable`].
#[macro_export]
macro_rules! timers {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_attribute:meta])* $variant:ident),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant),+
        }

        impl $name {
            /// How many timers there are.
            $visibility const COUNT: usize = <Self as $crate::timer::TimerId>::ALL.len();
        }

        impl $crate::timer::TimerId for $name {
            const ALL: &'static [Self] = &[$($name::$variant),+];

            fn index(self) -> usize {
                // A fieldless enum counts its variants from 0.
                #[allow(clippy::as_conversions, reason = "the only way to a variant's number")]
                {
                    self as usize
                }
            }
        }
    };
}

/// A deadline for each variant of `T`; `N` is `T::COUNT`, which is checked
/// when the program is built.
///
/// A deadline is due when `now >= deadline`.
#[derive(Clone)]
pub struct TimerTable<T, const N: usize> {
    deadlines: [Expiry; N],
    timers: PhantomData<T>,
}

impl<T: TimerId, const N: usize> TimerTable<T, N> {
    const HAS_A_DEADLINE_FOR_EACH: () = assert!(N == T::COUNT, "N must be T::COUNT");

    /// No timer is set.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::HAS_A_DEADLINE_FOR_EACH;
        TimerTable { deadlines: [Expiry::NEVER; N], timers: PhantomData }
    }

    /// Sets a timer anew; [`Expiry::NEVER`] clears it.
    pub fn set(&mut self, timer: T, deadline: Expiry) {
        if let Some(place) = self.deadlines.get_mut(timer.index()) {
            *place = deadline;
        }
    }

    /// Stops a timer.
    pub fn clear(&mut self, timer: T) {
        self.set(timer, Expiry::NEVER);
    }

    /// When the timer ends; [`Expiry::NEVER`]: it is not set.
    #[must_use]
    pub fn get(&self, timer: T) -> Expiry {
        self.deadlines.get(timer.index()).copied().unwrap_or(Expiry::NEVER)
    }

    /// Whether the timer is set.
    #[must_use]
    pub fn is_set(&self, timer: T) -> bool {
        self.get(timer) != Expiry::NEVER
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Expiry {
        self.deadlines.iter().copied().min().unwrap_or(Expiry::NEVER)
    }

    /// The timer that ends first; of several at once, the one declared first.
    /// Says what a machine waits for.
    #[must_use]
    pub fn next_timer(&self) -> Option<T> {
        T::ALL.iter().copied().filter(|&timer| self.is_set(timer)).min_by_key(|&timer| self.get(timer))
    }

    /// Stops a timer that is due at `now` and names it, the earliest first;
    /// of several at once, the one declared first. Call it until it says
    /// `None`: afterwards [`next`](Self::next) is later than `now`.
    pub fn take_due(&mut self, now: Instant) -> Option<T> {
        let timer = self.next_timer().filter(|&timer| self.get(timer).is_due(now))?;
        self.clear(timer);
        Some(timer)
    }
}

impl<T: TimerId, const N: usize> Default for TimerTable<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: TimerId, const N: usize> fmt::Debug for TimerTable<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = T::ALL.iter().filter(|&&timer| self.is_set(timer));
        f.debug_map().entries(set.map(|&timer| (timer, self.get(timer)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    timers! {
        enum Timer { Solicit, Resolve, Refresh }
    }

    // A table may be a static.
    static TABLE: TimerTable<Timer, { Timer::COUNT }> = TimerTable::new();

    fn at(secs: u64) -> Expiry {
        Expiry::at(Instant::from_secs(secs))
    }

    #[test]
    fn the_earliest_timer_is_taken_first_and_once() {
        let mut timers = TABLE.clone();
        assert_eq!((timers.next(), timers.next_timer()), (Expiry::NEVER, None));
        assert_eq!(timers.take_due(Instant::from_micros(u64::MAX)), None);

        timers.set(Timer::Refresh, at(5));
        timers.set(Timer::Resolve, at(7));
        timers.set(Timer::Solicit, at(7));
        assert_eq!((timers.next(), timers.next_timer()), (at(5), Some(Timer::Refresh)));
        assert_eq!(timers.take_due(Instant::from_micros(4_999_999)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(Instant::from_secs(7))).collect();
        assert_eq!(due, [Timer::Refresh, Timer::Solicit, Timer::Resolve]);
        assert_eq!(timers.next(), Expiry::NEVER);

        timers.set(Timer::Resolve, at(9));
        timers.set(Timer::Resolve, at(8));
        assert!(timers.is_set(Timer::Resolve));
        assert_eq!(timers.get(Timer::Resolve), at(8));
        assert_eq!(format!("{timers:?}"), "{Resolve: Expiry(8.000000s)}");
        timers.clear(Timer::Resolve);
        assert_eq!(timers.next(), Expiry::NEVER);
    }

    #[test]
    fn places_and_variants_agree() {
        assert_eq!(Timer::COUNT, 3);
        assert_eq!(<Timer as TimerId>::COUNT, 3);
        for (place, timer) in Timer::ALL.iter().enumerate() {
            assert_eq!(timer.index(), place);
        }
    }

    proptest! {
        /// None is lost, none comes early, and none is due after a drain.
        #[test]
        fn no_deadline_survives_being_taken(ends in prop::collection::vec(0_u64..50, 3), now in 0_u64..60) {
            let mut timers: TimerTable<Timer, 3> = TimerTable::new();
            for (timer, end) in Timer::ALL.iter().zip(&ends) {
                timers.set(*timer, at(*end));
            }
            let now = Instant::from_secs(now);
            let taken: Vec<_> = std::iter::from_fn(|| timers.take_due(now)).collect();
            prop_assert!(timers.next() > Expiry::at(now));
            for (timer, end) in Timer::ALL.iter().zip(&ends) {
                let due = Instant::from_secs(*end) <= now;
                prop_assert_eq!(taken.iter().filter(|&taken| taken == timer).count(), usize::from(due));
                prop_assert_eq!(timers.get(*timer), if due { Expiry::NEVER } else { at(*end) });
            }
        }
    }
}

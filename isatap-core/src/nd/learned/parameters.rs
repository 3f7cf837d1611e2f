//! Values of which a link has one. [RFC 4861 §6.3.2, 6.3.4]

use crate::engine::{Entropy, uniform};
use crate::nd::message::RouterAdvertisement;
use crate::nd::option::Mtu;
use crate::time::{Duration, Expiry, Instant};

/// The hop limit to send with, the times of unreachability detection and the
/// MTU, as routers last advertised them.
///
/// `NDP-31 [RFC 4861 §6.3.4]`: whoever spoke last is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkParameters {
    cur_hop_limit: u8,
    mtu: Option<u16>,
    /// As messages carry them, in ms: two words less than durations.
    base_reachable_ms: u32,
    retrans_ms: u32,
    reachable_micros: u64,
    redraw_at: Expiry,
    /// Options that broke their own rules and were skipped. `NDP-13`
    pub(crate) unusable_options: u16,
}

impl LinkParameters {
    /// The least MTU of a link that carries IPv6. [RFC 8200 §5]
    const LEAST_MTU: u16 = 1280;

    /// How often the reachable time is drawn anew, at least: RFC 4861
    /// §6.3.4 says every few hours.
    const REDRAW_INTERVAL: Duration = Duration::from_secs(2 * 3600);

    /// What holds as long as nobody advertises: hop limit 64, the times of
    /// RFC 4861 §10, no MTU. The reachable time is drawn by the first
    /// [`handle_timeout`](Self::handle_timeout).
    pub const DEFAULT: LinkParameters = LinkParameters {
        cur_hop_limit: 64,
        mtu: None,
        base_reachable_ms: 30_000,
        retrans_ms: 1_000,
        reachable_micros: 30_000_000,
        redraw_at: Expiry::at(Instant::ZERO),
        unusable_options: 0,
    };

    /// Takes in the fixed part of a valid advertisement. `true`: something
    /// changed.
    ///
    /// `NDP-30 [RFC 4861 §6.3.4]`: zero says nothing.
    pub fn learn(&mut self, now: Instant, advertisement: &RouterAdvertisement<'_>) -> bool {
        let before = *self;
        if advertisement.cur_hop_limit() != 0 {
            self.cur_hop_limit = advertisement.cur_hop_limit();
        }
        if advertisement.retrans_timer() != 0 {
            self.retrans_ms = advertisement.retrans_timer();
        }
        let base = advertisement.reachable_time();
        if base != 0 && base != self.base_reachable_ms {
            // The value between 0.5 and 1.5 of it needs entropy: due now.
            self.base_reachable_ms = base;
            self.redraw_at = Expiry::at(now);
        }
        *self != before
    }

    /// Takes in an MTU option, on a link whose MTU may be `largest` bytes at
    /// most. `true`: the MTU changed.
    ///
    /// `NDP-14 [RFC 4861 §6.3.4]`: what lies outside is ignored.
    pub fn learn_mtu(&mut self, option: Mtu, largest: u16) -> bool {
        let usable = |mtu: &u16| (Self::LEAST_MTU..=largest).contains(mtu);
        let Some(mtu) = u16::try_from(option.0).ok().filter(usable) else { return false };
        self.mtu.replace(mtu) != Some(mtu)
    }

    /// Lets time pass up to `now`: draws the reachable time when it is due.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.redraw_at.is_due(now) {
            let base = Duration::from_millis(u64::from(self.base_reachable_ms));
            let half = base.half();
            let drawn = uniform(entropy, half, base.saturating_add(half));
            self.reachable_micros = drawn.as_micros();
            self.redraw_at = Expiry::at(now.saturating_add(Self::REDRAW_INTERVAL));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        self.redraw_at
    }

    /// The hop limit to send with.
    #[must_use]
    pub fn cur_hop_limit(&self) -> u8 {
        self.cur_hop_limit
    }

    /// How long a confirmation of a neighbour holds, randomised.
    #[must_use]
    pub fn reachable_time(&self) -> Duration {
        Duration::from_micros(self.reachable_micros)
    }

    /// Time between two solicitations of a neighbour.
    #[must_use]
    pub fn retrans_timer(&self) -> Duration {
        Duration::from_millis(u64::from(self.retrans_ms))
    }

    /// The MTU in bytes, if one was advertised that the link can have.
    #[must_use]
    pub fn mtu(&self) -> Option<u16> {
        self.mtu
    }
}

impl Default for LinkParameters {
    fn default() -> Self {
        LinkParameters::DEFAULT
    }
}

#[cfg(test)]
mod tests;

//! When potential routers are asked, and under which address.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{HostConfig, HostInterface, SolicitDestination};
use crate::capacity::Capacity;
use crate::engine::{Entropy, uniform};
use crate::interface::Context;
use crate::isatap::prl::{EntryOrigin, PotentialRouter, Timer};
use crate::isatap::{addr, ingress};
use crate::nd::solicit::{Config, Phase};
use crate::time::Instant;

impl<C: Capacity> HostInterface<C> {
    /// Starts a round of solicitations to one router, or sees to it that one
    /// starts when it may. `ISA-33`, `ISA-37`
    pub(super) fn start_round(&mut self, now: Instant, slot: usize, with_delay: bool) {
        if self.link.underlay.locators.is_empty() {
            return;
        }
        let Some(row) = self.link.prl.row_mut(slot).filter(|row| row.is_listed()) else { return };
        if self.names.before_each_round && row.origin == EntryOrigin::Resolved {
            // ISA-22 [RFC 5214 §8.3.2]: the answer begins the round.
            row.timer = Timer::Off;
            row.round_pending = true;
            self.names.wanted = true;
            return;
        }
        Self::begin(&self.config, row, now, with_delay);
    }

    /// The same for a router that has just been listed: its name is fresh.
    pub(super) fn start_first_round(&mut self, now: Instant, slot: usize) {
        if self.link.underlay.locators.is_empty() {
            return;
        }
        if let Some(row) = self.link.prl.row_mut(slot) {
            Self::begin(&self.config, row, now, true);
        }
    }

    /// Begins the rounds that waited for the names.
    pub(super) fn start_pending(&mut self, now: Instant) {
        for (_, row) in self.link.prl.rows_mut() {
            if row.is_listed() && row.round_pending {
                Self::begin(&self.config, row, now, false);
            }
        }
    }

    /// Asks all potential routers now, and the names for their addresses,
    /// whatever the timers say: for an administrator who has changed
    /// something. 4 s after the last solicitation, if that was a moment ago.
    pub fn solicit_routers(&mut self, cx: &mut Context<'_, C>) {
        self.names.wanted |= self.config.resolve;
        if self.link.locators().is_empty() {
            return;
        }
        for (_, row) in self.link.prl.rows_mut().filter(|(_, row)| row.is_listed()) {
            row.timer = Timer::Off;
            row.round_pending = false;
            row.solicitation.start_now(cx.now, row.heard);
        }
    }

    fn begin(config: &HostConfig, row: &mut PotentialRouter, now: Instant, with_delay: bool) {
        row.timer = Timer::Off;
        row.round_pending = false;
        row.solicitation.start(now, with_delay, &config.solicitation);
    }

    /// What is due in one row of the router list.
    pub(super) fn row_timeout(&mut self, now: Instant, slot: usize, entropy: &mut dyn Entropy) {
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        row.expire_default(now);
        if row.answered && row.alive_until.is_due(now) {
            row.answered = false;
        }
        if let (Timer::Draw(interval), Some(from)) = (row.timer, row.heard.instant()) {
            // ISA-35: ±10 %. A round that would start before
            // MinRouterSolicitInterval is over waits for it.
            let spread = interval.tenth();
            let longest = interval.saturating_add(spread).min(self.config.refresh_interval);
            let drawn = uniform(entropy, interval.saturating_sub(spread).min(longest), longest);
            // The least interval is least after the jitter as well.
            let drawn = drawn.max(self.config.solicitation.min_round_interval);
            row.timer = Timer::At(from.saturating_add(drawn));
        }
        if matches!(row.timer, Timer::At(due) if due <= now) {
            row.timer = Timer::Off;
            if row.useless > 0 && row.solicitation.phase() == Phase::Soliciting {
                // The round that waits for a way on goes on, and no slower.
                row.solicitation.hurry(now);
            } else {
                // ISA-33: no delay when it is the timer that asks.
                self.start_round(now, slot, false);
            }
        }
        // No silence is longer than the refresh interval.
        let config = self.config.solicitation;
        let config = Config { max_interval: config.max_interval.min(self.config.refresh_interval), ..config };
        let Some(row) = self.link.prl.row_mut(slot) else { return };
        if row.solicitation.handle_timeout(now, &config, entropy) {
            row.solicitation_wanted = true;
        }
    }

    /// The inner destination of the next solicitation to a router. `ISA-27`
    pub(super) fn solicitation_destination(&self, row: &PotentialRouter) -> Ipv6Addr {
        let (own, other) = if row.other_form {
            (addr::other_link_local(row.address()), addr::link_local(row.address()))
        } else {
            (addr::link_local(row.address()), addr::other_link_local(row.address()))
        };
        let order = match self.config.solicit {
            SolicitDestination::Unicast => [own, other, ingress::ALL_ROUTERS],
            SolicitDestination::AllRouters => [ingress::ALL_ROUTERS, own, other],
        };
        let turn = if self.config.try_other_forms { row.attempts().saturating_sub(1).checked_rem(3) } else { None };
        let turn = usize::from(turn.unwrap_or(0));
        order.get(turn).copied().unwrap_or(own)
    }

    /// The next router to which a solicitation waits to be written.
    pub(super) fn next_solicited(&self) -> Option<PotentialRouter> {
        self.link.prl.rows().find(|row| row.solicitation_wanted).copied()
    }

    /// The solicitation to `address` has been written.
    pub(super) fn solicited(&mut self, address: Ipv4Addr) {
        for (_, row) in self.link.prl.rows_mut().filter(|(_, row)| row.address() == address) {
            row.solicitation_wanted = false;
            row.heard_since_asked = false;
        }
    }
}

//! Telling hosts what they did not ask for: that something has changed, and
//! that the router goes.

use super::RouterInterface;
use super::advertise::{QUIET, Reply};
use super::answered::Remembered;
use crate::capacity::{Capacity, Count as _};
use crate::engine::Transmit;
use crate::error::EmitError;
use crate::interface::Context;
use crate::isatap::addr;
use crate::link::Link as _;
use crate::nd::message;
use crate::packet::PacketMut;
use crate::time::{Duration, Expiry, Instant};

/// The hosts that are remembered, one after another.
#[derive(Clone, Copy)]
pub(super) struct Round {
    /// The place of the next one, and which of its advertisements is next.
    next: Option<(usize, u8)>,
    /// How many places are left, that one included; behind the last comes the first.
    left: usize,
    /// Not before this.
    from: Instant,
}

impl Round {
    /// None under way.
    pub(super) const NONE: Self = Round { next: None, left: 0, from: Instant::ZERO };

    /// All of these places, from where the last round was cut: of what flaps the last hosts hear as often
    /// as the first.
    fn begin(&mut self, now: Instant, places: usize) {
        // ISA-57: what flaps is told once a second. A round that has not begun is the answer to all changes.
        let is_waiting = self.left == places && self.next.is_some_and(|(_, part)| part == 0);
        if !is_waiting {
            let last = self.from.saturating_add(QUIET);
            self.from = if self.from == Instant::ZERO { now } else { now.max(last) };
        }
        self.all(places);
    }

    fn all(&mut self, places: usize) {
        let (place, _) = self.next.unwrap_or_default();
        (self.next, self.left) = ((places > 0).then_some((place, 0)), places);
    }

    /// To the next place.
    fn go_on(&mut self, places: usize) {
        self.left = self.left.saturating_sub(1);
        self.next = self.next.filter(|_| self.left > 0).map(|(place, _)| {
            let next = place.saturating_add(1);
            (if next < places { next } else { 0 }, 0)
        });
    }
}

impl<C: Capacity> RouterInterface<C> {
    /// Has every host that was answered lately told again, since what is
    /// advertised has changed: call it after [`config_mut`](Self::config_mut),
    /// or when forwarding or routes change. `ISA-56`, `NDP-67 [RFC 4861 §6.2.4,
    /// §6.2.5]`
    ///
    /// They are those that are still remembered and can have a route by this
    /// router. Most are told within half a second, each by a packet to it alone
    /// and no oftener than if it had asked (`ISA-57`). Who is not reached asks
    /// again in time.
    pub fn advertise_again(&mut self, now: Instant) {
        if self.is_stopping {
            return;
        }
        for row in self.solicitors.iter_mut() {
            if let Reply::Given { quiet_until } = row.answer {
                row.answer = Reply::Draw { from: now.max(quiet_until) };
                row.part = 0;
            }
        }
        if C::Answered::ROWS > 0 {
            self.round.begin(now, self.recent.places());
        }
    }

    /// Ends: the hosts that [`advertise_again`](Self::advertise_again) would
    /// tell hear that there is no default router and no route here any more, at
    /// once, and nobody who asks later is answered. Prefixes keep their
    /// lifetimes: other routers may have them too. `NDP-42 [RFC 4861 §6.2.5,
    /// RFC 4191 §4]`
    ///
    /// Send until [`has_stopped`](Self::has_stopped), then remove the interface.
    pub fn stop(&mut self, now: Instant) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        for row in self.solicitors.iter_mut() {
            row.answer = Reply::Due(now);
            row.part = 0;
        }
        if C::Answered::ROWS > 0 {
            self.round.from = now;
            self.round.all(self.recent.places());
        }
    }

    /// Whether all were told, after [`stop`](Self::stop).
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        let waits = |answer| !matches!(answer, Reply::Given { .. });
        self.is_stopping && self.round.next.is_none() && !self.solicitors.iter().any(|row| waits(row.answer))
    }

    /// When the next one is told.
    pub(super) fn round_deadline(&self) -> Expiry {
        let from = Expiry::at(self.round.from);
        self.round.next.map_or(Expiry::NEVER, |_| from.max(self.next_answer()))
    }

    /// The next host of the round, if one is due: who has a row is told by that.
    fn next_remembered(&mut self, now: Instant) -> Option<(Remembered, u8)> {
        let lifetime = Duration::from_secs(self.config.router_lifetime.into());
        let lately = self.config.route_lifetime.duration().map_or(lifetime, |routes| routes.max(lifetime));
        while let Some((place, part)) = self.round.next.filter(|_| C::Answered::ROWS > 0) {
            if !self.round_deadline().is_due(now) {
                return None;
            }
            let known = self.recent.at(place, now, lately).filter(|known| {
                let rows = &mut self.solicitors.iter().filter(|row| row.locator == known.locator);
                self.link.owns_ipv4(known.locator)
                    && !rows.any(|row| addr::embedded_ipv4(&row.host) == Some(known.host))
            });
            match known {
                Some(known) => return Some((known, part)),
                None => self.round.go_on(self.recent.places()),
            }
        }
        None
    }

    /// Writes the next advertisement of the round.
    pub(super) fn tell(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        while let Some((known, part)) = self.next_remembered(cx.now).filter(|_| C::Answered::ROWS > 0) {
            let mut more = false;
            let source = addr::link_local(known.locator);
            message::write_packet(out, &source, &known.address, |writer| more = self.emit(cx, part, writer))?;
            self.count(cx.now, out.len());
            match &mut self.round.next {
                Some((_, part)) if more => *part = part.saturating_add(1),
                _ => self.round.go_on(self.recent.places()),
            }
            if let Some(sent) = cx.send(&*self.link, known.locator, known.host, out) {
                return Ok(Some(sent));
            }
        }
        Ok(None)
    }
}

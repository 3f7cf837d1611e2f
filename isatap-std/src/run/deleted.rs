//! Devices that another program deletes: their links end alone, and are made again.

use super::{Begun, Home, Run, Wanted};
use crate::error::Error;
use crate::service::{News, Notice};
use crate::spec::LinkSpec;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::time::Duration;

/// Between two times that the device of a link is made, as between two repairs of what is on it:
/// two programs that disagree do not keep a machine busy.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after it could not be made; each is twice as long as the one before.
const LAST_WAIT: Duration = Duration::from_secs(600);

/// When a device is to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    due: Instant,
    /// It is tried no sooner, whatever comes.
    earliest: Instant,
    /// The wait after the next failure.
    wait: Duration,
    loss: Loss,
}

/// Why a link has no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Deleted,
    /// It needs an IPv4 address that this machine lacked from the beginning.
    Address,
    /// It ended for a new file that could not be carried out, and could not begin again.
    Reload,
}

impl Retry {
    /// Of a device that was made at this time.
    fn after(made: Instant, now: Instant) -> Self {
        let due = now.max(made.saturating_add(FIRST_WAIT));
        Self { due, earliest: due, wait: FIRST_WAIT, loss: Loss::Deleted }
    }

    /// Of a link that cannot begin without an IPv4 address.
    pub(super) fn for_address(now: Instant) -> Self {
        Self { loss: Loss::Address, ..Self::after_reload(now) }
    }

    /// Of a link that could not begin again after a reload.
    pub(super) fn after_reload(now: Instant) -> Self {
        let due = now.saturating_add(FIRST_WAIT);
        Self { due, earliest: due, wait: FIRST_WAIT, loss: Loss::Reload }
    }

    /// Now, however often it has failed: somebody asks for it.
    pub(super) fn hurried(self, now: Instant) -> Self {
        Self { due: self.due.min(now), wait: FIRST_WAIT, ..self }
    }

    /// Sooner, if these news may help, though not sooner than a second after the last try.
    fn after_news(self, news: News, now: Instant) -> Self {
        let helps = match news {
            News::None => false,
            News::Device => self.loss == Loss::Address,
            News::Address => true,
        };
        if helps { Self { due: self.due.min(now.max(self.earliest)), ..self } } else { self }
    }

    fn failed(self, now: Instant) -> Self {
        let (due, earliest) = (now.saturating_add(self.wait), now.saturating_add(FIRST_WAIT));
        Self { due, earliest, wait: self.wait.saturating_mul(2).min(LAST_WAIT), ..self }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// What came of another try.
    fn notice(&self, link: &LinkSpec, error: Option<&Error>) -> Notice {
        let device = link.device();
        let lead = match self.loss {
            Loss::Deleted => "another program deleted the device ",
            Loss::Reload => "a reload ended the device ",
            Loss::Address => "the IPv4 address is there now for ",
        };
        let port = if has_any_port(link) { ", and its UDP port is another" } else { "" };
        match error {
            Some(error) => Notice::Warning(format!(
                "cannot make {device} again: {error}; {lead}{device}, and it is tried again in {} s",
                self.wait.as_secs()
            )),
            None if self.loss == Loss::Address => Notice::Mended(format!("{lead}{device}: it is made")),
            None => Notice::Warning(format!(
                "{lead}{device}: it is made again; routes that other programs put on it are gone{port}"
            )),
        }
    }
}

impl Run {
    /// Ends the links whose devices are gone, and makes again what is due.
    ///
    /// # Errors
    ///
    /// What the others meet, as in any round.
    pub(super) fn remake(&mut self, now: Instant) -> Result<(), Error> {
        let mut outcome = self.end_deleted();
        for begun in &mut self.links {
            if let Home::Waiting(retry, Some((_, waiting))) = &mut begun.home {
                *retry = retry.after_news(waiting.take_news(), now);
            }
        }
        let due = |at: usize, run: &Self| run.links.get(at)?.home.retry().filter(|retry| retry.due <= now).copied();
        let mut is_made = false;
        for at in 0..self.links.len() {
            let Some(retry) = due(at, self) else { continue };
            let Some(wanted) = self.links.get(at).map(|begun| begun.wanted.clone()) else { continue };
            if let (Ok(Some(_)), Loss::Address, Some(begun)) =
                (self.missing(&wanted), retry.loss, self.links.get_mut(at))
                && let Home::Waiting(retry, _) = &mut begun.home
            {
                *retry = retry.failed(now);
                continue;
            }
            // The member has the name of the device, and what it asks for is not what it does itself.
            if let Some(Begun { home: Home::Waiting(_, waiting), .. }) = self.links.get_mut(at) {
                *waiting = None;
            }
            let made = self.home_of(&wanted);
            let why = made.as_ref().err().map(ToString::to_string);
            // The same failure is told once, however often it is met.
            if why.is_none() || self.links.get(at).is_some_and(|begun| begun.failure != why) {
                self.observer.notice(Some(wanted.link.device()), &retry.notice(&wanted.link, made.as_ref().err()));
            }
            is_made |= made.is_ok();
            let home =
                made.unwrap_or_else(|error| self.wait(&wanted, retry.failed(now), format!("another try: {error}")));
            if let Some(begun) = self.links.get_mut(at) {
                (begun.since, begun.home, begun.failure) = (now, home, why);
            }
        }
        if is_made {
            let wanted: Vec<Wanted> = self.links.iter().map(|begun| begun.wanted.clone()).collect();
            outcome = outcome.and(self.settle_in(&wanted));
        }
        outcome
    }

    /// Tries in the next round whatever is to be made again.
    pub(super) fn hurry(&mut self) {
        let now = self.poller.clock().now();
        for begun in &mut self.links {
            if let Home::Waiting(retry, _) = &mut begun.home {
                *retry = retry.hurried(now);
            }
        }
    }

    fn end_deleted(&mut self) -> Result<(), Error> {
        let gone: Vec<(u16, LinkId)> = self
            .members_mut()
            .flat_map(|(number, member)| member.take_deleted().into_iter().map(move |id| (number, id)))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.next = None;
        let now = self.poller.clock().now();
        let mut outcome = Ok(());
        for (number, id) in gone {
            let is_it = |home: &Home| match home {
                Home::Proto41(own) => number == super::PROTO41 && *own == id,
                Home::Alone(own, _) => *own == number,
                Home::Waiting(..) => false,
            };
            let Some(at) = self.links.iter().position(|begun| is_it(&begun.home)) else { continue };
            let Some(begun) = self.links.get_mut(at) else { continue };
            let (wanted, retry) = (begun.wanted.clone(), Retry::after(begun.since, now));
            let home = std::mem::replace(&mut begun.home, Home::Waiting(retry, None));
            match home {
                Home::Proto41(id) => {
                    outcome = outcome.and(self.proto41.as_mut().map_or(Ok(()), |proto41| proto41.remove_link(id)));
                }
                Home::Alone(_, member) => drop(member),
                Home::Waiting(..) => {}
            }
            // Only now is the name of the device free.
            if retry.due > now {
                let waiting = self.wait(&wanted, retry, "another try: another program deleted its device".to_owned());
                if let Some(begun) = self.links.get_mut(at) {
                    begun.home = waiting;
                }
            }
        }
        outcome
    }
}

/// Whether the kernel chooses the UDP port of a Teredo link.
fn has_any_port(link: &LinkSpec) -> bool {
    match link {
        LinkSpec::TeredoClient(client) => client.socket().port() == 0,
        LinkSpec::TeredoRelay(relay) => relay.socket().port() == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_made_once_a_second_at_most_and_less_often_where_that_fails() {
        let seconds = Instant::from_secs;
        assert_eq!(Retry::after(seconds(5), seconds(100)).due(), seconds(100));
        assert_eq!(Retry::after(seconds(100), seconds(100)).due(), seconds(101));
        let mut retry = Retry::after(seconds(5), seconds(100));
        let mut waits = Vec::new();
        for _ in 0..12 {
            let now = retry.due();
            retry = retry.failed(now);
            waits.push(retry.due().saturating_duration_since(now).as_secs());
        }
        let hurried = retry.hurried(seconds(101));
        assert_eq!((hurried.due(), hurried.failed(seconds(101)).due()), (seconds(101), seconds(102)));
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn news_of_other_devices_cancel_no_wait() {
        let seconds = Instant::from_secs;
        let failed = |retry: Retry| (0..5).fold(retry, |retry, _| retry.failed(seconds(100)));
        let deleted = failed(Retry::after(seconds(5), seconds(50)));
        assert_eq!(deleted.due(), seconds(116));
        assert_eq!(deleted.after_news(News::Device, seconds(100)), deleted, "as when the MTU of another is changed");
        assert_eq!(failed(Retry::after_reload(seconds(50))).after_news(News::Device, seconds(100)).due(), seconds(116));
        let waits = failed(Retry::for_address(seconds(50)));
        for (retry, news) in [(waits, News::Device), (waits, News::Address), (deleted, News::Address)] {
            let sooner = retry.after_news(news, seconds(100)).after_news(news, seconds(100));
            assert_eq!(sooner.due(), seconds(101), "not twice in a second");
            assert_eq!(retry.after_news(news, seconds(103)).due(), seconds(103));
            assert_eq!(sooner.failed(seconds(101)).due(), seconds(133), "the next wait is as long as it would be");
        }
    }
}

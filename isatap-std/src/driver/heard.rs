//! What was refused lately and from whom, and what ICMPv4 said: for the person who asks why
//! nothing comes.
//!
//! Bounded: [`SENDERS`] of each link and reason and [`REPORTS`] of ICMPv4, the longest silent of them
//! making room. A flood of one kind hides nothing of another.

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Senders that are remembered of each link and reason.
pub const SENDERS: usize = 4;
/// ICMPv4 errors that are remembered.
pub const REPORTS: usize = 16;

/// What was refused, and what ICMPv4 said.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    refused: Vec<Refused>,
    reports: Vec<Icmpv4Report>,
}

/// Packets of one sender to one link that were dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The link that they were for; `None`: of several links none.
    pub link: Option<LinkId>,
    /// Why.
    pub reason: DropReason,
    /// The outer source.
    pub outer_source: Ipv4Addr,
    /// The inner source of the last one, where there was an IPv6 header.
    pub inner_source: Option<Ipv6Addr>,
    /// How many.
    pub count: u64,
    /// When the last one came.
    pub last: Instant,
}

/// ICMPv4 errors of one sender about one destination of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv4Report {
    /// Who says so.
    pub from: Ipv4Addr,
    /// Where the packet was to go.
    pub about: Ipv4Addr,
    /// Type of the message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// How many.
    pub count: u64,
    /// When the last one came.
    pub last: Instant,
}

impl Heard {
    /// What was dropped of what came in.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// What ICMPv4 said.
    pub fn reports(&self) -> &[Icmpv4Report] {
        &self.reports
    }

    /// Notes that what came from `outer_source` behind its headers was dropped.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        link: Option<LinkId>,
        reason: DropReason,
        outer_source: Ipv4Addr,
        inner: &[u8],
    ) {
        let is_ipv6 = inner.first().is_some_and(|byte| byte >> 4 == 6);
        let source = inner.get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let inner_source = source.filter(|_| is_ipv6).map(Ipv6Addr::from);
        let same = |row: &&mut Refused| (row.link, row.reason, row.outer_source) == (link, reason, outer_source);
        if let Some(row) = self.refused.iter_mut().find(same) {
            (row.count, row.last, row.inner_source) = (row.count + 1, now, inner_source);
            return;
        }
        let of_reason = self.refused.iter().enumerate().filter(|(_, row)| (row.link, row.reason) == (link, reason));
        let rows = of_reason.clone().count();
        let oldest = of_reason.min_by_key(|(_, row)| row.last).map(|(at, _)| at);
        if let Some(at) = oldest.filter(|_| rows >= SENDERS) {
            self.refused.swap_remove(at);
        }
        self.refused.push(Refused { link, reason, outer_source, inner_source, count: 1, last: now });
    }

    /// Forgets what was refused on a link that ends: its number may be another's soon.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.refused.retain(|row| row.link != Some(link));
    }

    /// Notes an ICMPv4 error: `message` from its type on.
    pub(super) fn report(&mut self, now: Instant, from: Ipv4Addr, message: &[u8]) {
        let (Some(&kind), Some(&code), Some(about)) = (message.first(), message.get(1), ipv4_at(message, 8 + 16))
        else {
            return;
        };
        let same = |row: &&mut Icmpv4Report| (row.from, row.about, row.kind, row.code) == (from, about, kind, code);
        if let Some(row) = self.reports.iter_mut().find(same) {
            (row.count, row.last) = (row.count + 1, now);
            return;
        }
        if self.reports.len() >= REPORTS {
            let oldest = self.reports.iter().enumerate().min_by_key(|(_, row)| row.last).map(|(at, _)| at);
            if let Some(at) = oldest {
                self.reports.swap_remove(at);
            }
        }
        self.reports.push(Icmpv4Report { from, about, kind, code, count: 1, last: now });
    }
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Option<LinkId> = Some(LinkId(0));

    const fn sender(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn inner() -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[8..24].copy_from_slice(&"fe80::9".parse::<Ipv6Addr>().unwrap().octets());
        packet
    }

    #[test]
    fn a_sender_is_remembered_once_for_each_reason() {
        let mut heard = Heard::default();
        let later = Instant::from_micros(7);
        heard.refuse(Instant::ZERO, LINK, DropReason::RaNotFromRouter, sender(9), &inner());
        heard.refuse(later, LINK, DropReason::RaNotFromRouter, sender(9), &inner());
        heard.refuse(later, LINK, DropReason::NdChecksum, sender(9), &inner());
        let [first, second] = heard.refused() else { panic!("{heard:?}") };
        assert_eq!((first.outer_source, first.count, first.last), (Ipv4Addr::new(10, 0, 0, 9), 2, later));
        assert_eq!(first.inner_source, "fe80::9".parse().ok());
        assert_eq!((second.reason, second.count), (DropReason::NdChecksum, 1));
    }

    #[test]
    fn a_flood_of_one_reason_hides_no_other_and_does_not_grow() {
        let mut heard = Heard::default();
        heard.refuse(Instant::ZERO, LINK, DropReason::RaNotFromRouter, sender(9), &inner());
        for last in 0..=255 {
            heard.refuse(
                Instant::from_micros(last.into()),
                LINK,
                DropReason::IsatapSourceMismatch,
                sender(last),
                &inner(),
            );
        }
        assert_eq!(heard.refused().len(), 1 + SENDERS);
        assert!(heard.refused().iter().any(|row| row.reason == DropReason::RaNotFromRouter));
        assert!(heard.refused().iter().any(|row| row.outer_source.octets()[3] == 255));
    }

    #[test]
    fn a_link_that_ends_takes_along_what_was_refused_on_it_and_nothing_else() {
        let mut heard = Heard::default();
        for link in [LINK, Some(LinkId(1)), None] {
            heard.refuse(Instant::ZERO, link, DropReason::NdChecksum, sender(9), &inner());
        }
        assert_eq!(heard.refused().len(), 3);
        heard.forget(LinkId(0));
        assert_eq!(heard.refused().iter().map(|row| row.link).collect::<Vec<_>>(), [Some(LinkId(1)), None]);
    }

    #[test]
    fn icmpv4_errors_are_remembered_by_what_they_are_about() {
        let mut heard = Heard::default();
        let router = Ipv4Addr::new(10, 0, 0, 1);
        let mut message = vec![0; 28];
        (message[0], message[1]) = (3, 2);
        message[24..28].copy_from_slice(&router.octets());
        heard.report(Instant::ZERO, router, &message);
        heard.report(Instant::ZERO, router, &message);
        let [row] = heard.reports() else { panic!("{heard:?}") };
        assert_eq!((row.from, row.about, row.kind, row.code, row.count), (router, router, 3, 2, 2));
        heard.report(Instant::ZERO, router, &message[..20]);
        for last in 0..100 {
            heard.report(Instant::from_micros(1), Ipv4Addr::new(10, 0, 1, last), &message);
        }
        assert_eq!(heard.reports().len(), REPORTS);
    }

    #[test]
    fn what_is_too_short_has_no_inner_source() {
        let mut heard = Heard::default();
        heard.refuse(Instant::ZERO, LINK, DropReason::TooShort, sender(9), &inner()[..22]);
        assert_eq!(heard.refused()[0].inner_source, None);
    }
}

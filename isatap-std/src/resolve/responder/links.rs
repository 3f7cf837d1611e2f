//! The links that a responder answers on, and whether its name is its own there.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::Holding;
use crate::resolve::NameService;
use crate::resolve::client::random_id;
use crate::resolve::interfaces::Interface;
use crate::resolve::{llmnr, netbios};

/// How long after it was lost a name is claimed again.
pub(super) const RECLAIM: Duration = Duration::from_secs(60);
/// How long after the kernel sent no question it is tried again.
const RESEND: Duration = Duration::from_secs(5);

/// A link with addresses of the router on it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) interface: Interface,
    /// Those of the router; not empty.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) llmnr: Option<Check>,
    pub(super) netbios: Option<Check>,
}

impl Link {
    /// `None`: none of the router's addresses is on it.
    pub(super) fn of(interface: Interface, router: &[Ipv4Addr], services: &[NameService]) -> io::Result<Option<Self>> {
        let addresses: Vec<Ipv4Addr> = router.iter().copied().filter(|own| interface.has(*own)).collect();
        if addresses.is_empty() {
            return Ok(None);
        }
        let check = |service, is_possible: bool| {
            (is_possible && services.contains(&service)).then(|| Check::begin(Instant::now(), service)).transpose()
        };
        let llmnr = check(NameService::Llmnr, interface.is_multicast)?;
        let netbios = check(NameService::Netbios, interface.broadcasts().next().is_some())?;
        Ok(Some(Self { interface, addresses, llmnr, netbios }))
    }

    /// The first of the router's addresses here.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Whether the same router is on the same link.
    pub(super) fn is(&self, other: &Link) -> bool {
        self.interface == other.interface && self.addresses == other.addresses
    }
}

/// A name that is claimed on one link.
#[derive(Clone, Debug)]
pub(super) struct Check {
    service: NameService,
    /// Of the questions that are out.
    pub(super) id: u16,
    pub(super) holding: Holding,
    sent: u8,
    due: Option<Instant>,
}

/// What is to be sent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The question whether somebody has the name.
    Ask,
    /// That nobody had it.
    Take,
}

impl Check {
    pub(super) fn begin(now: Instant, service: NameService) -> io::Result<Self> {
        let (id, holding) = (random_id()?, Holding::Checking);
        Ok(Self { service, id, holding, sent: 0, due: Some(now + llmnr::jitter()?) })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What is due now.
    pub(super) fn step(&mut self, now: Instant) -> io::Result<Option<Step>> {
        if self.due.is_none_or(|due| due > now) {
            return Ok(None);
        }
        Ok(match self.holding {
            Holding::Checking if self.sent < self.tries() => {
                self.sent = self.sent.saturating_add(1);
                let wait = match self.service {
                    NameService::Llmnr => llmnr::TIMEOUT + llmnr::jitter()?,
                    NameService::Netbios => netbios::LINK_TIMEOUT,
                };
                self.due = Some(now + wait);
                Some(Step::Ask)
            }
            Holding::Checking => {
                (self.holding, self.due) = (Holding::Held, None);
                Some(Step::Take)
            }
            Holding::Lost(_) | Holding::Silent | Holding::Failing => {
                *self = Self::begin(now, self.service)?;
                None
            }
            Holding::Held => {
                self.due = None;
                None
            }
        })
    }

    /// How often it is asked whether somebody has the name.
    fn tries(&self) -> u8 {
        match self.service {
            NameService::Llmnr => llmnr::TRIES,
            NameService::Netbios => netbios::LINK_TRIES,
        }
    }

    /// The link cannot be listened to: it goes on once it can.
    pub(super) fn fail(&mut self) {
        (self.holding, self.due) = (Holding::Failing, None);
    }

    /// The question could not be sent: a name that nobody was asked for is not taken.
    pub(super) fn unsent(&mut self, now: Instant) {
        (self.holding, self.due) = (Holding::Failing, Some(now + RESEND));
    }

    /// Somebody else has the name.
    pub(super) fn lose(&mut self, now: Instant, to: Ipv4Addr) {
        (self.holding, self.due) = (Holding::Lost(to), Some(now + RECLAIM));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_25_a_name_is_asked_for_three_times_before_it_is_taken() {
        for service in NameService::ALL {
            let mut now = Instant::now();
            let mut check = Check::begin(now, service).unwrap();
            assert_eq!(check.step(now - Duration::from_millis(1)).unwrap(), None);
            for _ in 0..3 {
                now = check.deadline().unwrap();
                assert_eq!((check.step(now).unwrap(), check.holding), (Some(Step::Ask), Holding::Checking));
                let wait = check.deadline().unwrap() - now;
                // NAM-22: a second, and a random tenth of one.
                let (least, most) = if service == NameService::Llmnr { (1000, 1100) } else { (250, 250) };
                assert!((least..=most).contains(&wait.as_millis()), "{wait:?}");
            }
            now = check.deadline().unwrap();
            assert_eq!((check.step(now).unwrap(), check.holding), (Some(Step::Take), Holding::Held));
            assert_eq!((check.step(now).unwrap(), check.deadline()), (None, None));
        }
    }

    #[test]
    fn nam_25_a_name_that_nobody_was_asked_for_is_not_taken() {
        let now = Instant::now();
        let mut check = Check::begin(now, NameService::Llmnr).unwrap();
        let asked = check.deadline().unwrap();
        assert_eq!(check.step(asked).unwrap(), Some(Step::Ask));
        check.unsent(asked);
        assert_eq!((check.holding, check.deadline()), (Holding::Failing, Some(asked + RESEND)));
        assert_eq!(check.step(asked + RESEND).unwrap(), None);
        assert_eq!((check.holding, check.sent), (Holding::Checking, 0));
    }

    #[test]
    fn nam_25_a_name_that_another_machine_has_is_claimed_again_a_minute_later() {
        let now = Instant::now();
        let mut check = Check::begin(now, NameService::Llmnr).unwrap();
        check.lose(now, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(check.deadline(), Some(now + RECLAIM));
        assert_eq!(check.step(now + RECLAIM).unwrap(), None);
        assert_eq!(check.holding, Holding::Checking);
    }
}

//! The tunnel ends of this process's links: no other daemon of the network namespace has them. Ends that are bound to
//! devices of their own are not the same.
//!
//! Addresses that the options name are taken at the start, before a device is made, and kept:
//! where another daemon has one, this one does not start. The addresses that a link starts with
//! otherwise (of a device, toward a router, all) are taken then as well. Those that it comes to
//! later are taken when they come and left when they go. One that another daemon has is not
//! used, which is told, and tried again each second until the other has ended or moved. Where
//! the lock fails for another reason (a full disk), that is told and the address is used.

use crate::error::Error;
use crate::runtime_dir::{Ends, Lock, RuntimeDir};
#[cfg(feature = "control")]
use crate::service::evidence::Taken;
use isatap_core::link::Locator;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The ends of a link at one of its IPv4 addresses; `None`: it has no use for that.
pub(crate) type EndsAt = Box<dyn Fn(Ipv4Addr) -> Option<Ends> + Send>;

/// How soon another try is made for what another daemon has.
const RETRY: Duration = Duration::from_secs(1);

/// What the links of a process have taken, and what others have.
#[derive(Default)]
pub(super) struct Claims {
    links: Vec<OfLink>,
    held: Vec<Held>,
}

struct OfLink {
    link: LinkId,
    device: String,
    /// The device that it is bound to.
    by: Option<String>,
    runtime: RuntimeDir,
    ends: EndsAt,
    /// What the options name.
    fixed: Vec<Ipv4Addr>,
    refused: Vec<(Ipv4Addr, Error)>,
    retry: Option<Instant>,
}

/// Ends that one link has, or several of this process.
struct Held {
    ends: Ends,
    by: Option<String>,
    links: Vec<LinkId>,
    _lock: Lock,
}

impl Claims {
    /// Takes what a link starts with.
    ///
    /// # Errors
    ///
    /// Another daemon has some of it.
    pub(super) fn start(
        &mut self,
        link: LinkId,
        (device, by): (&str, Option<&str>),
        runtime: &RuntimeDir,
        ends: EndsAt,
        (fixed, locators): (&[Ipv4Addr], &[Locator]),
    ) -> Result<(), Error> {
        let (device, by, runtime, fixed) = (device.to_owned(), by.map(str::to_owned), runtime.clone(), fixed.to_vec());
        let of_link = OfLink { link, device, by, runtime, ends, fixed, refused: Vec::new(), retry: None };
        let found = locators.iter().map(|locator| locator.address);
        for address in of_link.fixed.iter().copied().chain(found) {
            of_link.take(&mut self.held, address)?;
        }
        self.links.push(of_link);
        Ok(())
    }

    /// Leaves all that a link has.
    pub(super) fn end(&mut self, link: LinkId) {
        self.links.retain(|of_link| of_link.link != link);
        self.held.retain_mut(|held| {
            held.links.retain(|user| *user != link);
            !held.links.is_empty()
        });
    }

    /// Leaves what a link has no more and takes what it comes to. Locators that another daemon
    /// has are removed from the list. Warnings about what is new.
    pub(super) fn follow(&mut self, now: Instant, link: LinkId, locators: &mut Vec<Locator>) -> Vec<String> {
        let Some(of_link) = self.links.iter_mut().find(|of_link| of_link.link == link) else { return Vec::new() };
        let found = locators.iter().map(|locator| locator.address);
        let wanted: Vec<Ends> =
            of_link.fixed.iter().copied().chain(found).filter_map(|address| (of_link.ends)(address)).collect();
        self.held.retain_mut(|held| {
            held.links.retain(|user| *user != link || wanted.contains(&held.ends));
            !held.links.is_empty()
        });
        let before = std::mem::take(&mut of_link.refused);
        let mut news = Vec::new();
        locators.retain(|locator| match of_link.take(&mut self.held, locator.address) {
            Ok(()) => true,
            Err(error) => {
                let is_taken = is_taken(&error);
                if before.iter().all(|(address, _)| *address != locator.address) {
                    let use_it = if is_taken { "the address is not used meanwhile" } else { "it is used all the same" };
                    news.push(format!("{error}; {use_it}"));
                }
                of_link.refused.push((locator.address, error));
                !is_taken
            }
        });
        of_link.retry = (!of_link.refused.is_empty()).then(|| now.saturating_add(RETRY));
        news
    }

    /// When a link is to [`follow`](Self::follow) again, though nothing has changed here.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.links.iter().filter_map(|of_link| of_link.retry).min()
    }

    /// Whether another daemon has some of a link's.
    pub(super) fn lacks(&self, link: LinkId) -> bool {
        self.links
            .iter()
            .any(|of_link| of_link.link == link && of_link.refused.iter().any(|(_, error)| is_taken(error)))
    }

    pub(super) fn is_due(&self, now: Instant, link: LinkId) -> bool {
        self.links.iter().any(|of_link| of_link.link == link && of_link.retry.is_some_and(|due| due <= now))
    }

    /// Why a link does not use addresses that it would use: another daemon has them.
    #[cfg(feature = "control")]
    pub(super) fn taken(&self, link: LinkId) -> Vec<Taken> {
        let of_link = self.links.iter().filter(|of_link| of_link.link == link);
        let refused = of_link.flat_map(|of_link| &of_link.refused);
        let taken = refused.filter(|(_, error)| is_taken(error));
        taken.map(|(_, error)| Taken { cause: error.cause(), fix: error.advice().to_owned() }).collect()
    }
}

fn is_taken(error: &Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == ErrorKind::AddrInUse)
}

impl OfLink {
    fn take(&self, held: &mut Vec<Held>, address: Ipv4Addr) -> Result<(), Error> {
        let Some(ends) = (self.ends)(address) else { return Ok(()) };
        match held.iter_mut().find(|held| (held.ends, &held.by) == (ends, &self.by)) {
            Some(held) if held.links.contains(&self.link) => {}
            // Two links of a process are told apart by it: a packet goes to one of them.
            Some(held) => held.links.push(self.link),
            None => {
                let lock = self.runtime.claim_ends(&ends, self.by.as_deref(), &self.device)?;
                held.push(Held { ends, by: self.by.clone(), links: vec![self.link], _lock: lock });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

    struct Scratch(RuntimeDir);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("isatap-ends-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(RuntimeDir::at(path.join("run")))
        }

        fn start(&self, claims: &mut Claims, link: u8, fixed: &[Ipv4Addr], found: &[Ipv4Addr]) -> Result<(), Error> {
            let ends: EndsAt = Box::new(|local| Some(Ends::Isatap { local }));
            let device = format!("isatap{link}");
            claims.start(LinkId(link), (&device, None), &self.0, ends, (fixed, &locators(found)))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.path().parent().unwrap());
        }
    }

    fn locators(addresses: &[Ipv4Addr]) -> Vec<Locator> {
        addresses.iter().map(|address| Locator { address: *address, subnet_length: 24 }).collect()
    }

    /// What a link uses of these addresses, and what it warns of.
    fn follow(claims: &mut Claims, now: Instant, link: u8, found: &[Ipv4Addr]) -> (Vec<Ipv4Addr>, Vec<String>) {
        let mut locators = locators(found);
        let warnings = claims.follow(now, LinkId(link), &mut locators);
        (locators.iter().map(|locator| locator.address).collect(), warnings)
    }

    #[test]
    fn an_address_of_another_daemon_is_tried_until_it_is_free() {
        let scratch = Scratch::new("retry");
        let (mut first, mut second) = (Claims::default(), Claims::default());
        scratch.start(&mut first, 0, &[ADDRESS], &[]).unwrap();
        scratch.start(&mut second, 1, &[], &[OTHER]).unwrap();
        assert_eq!(second.deadline(), None);
        let (used, warnings) = follow(&mut second, Instant::ZERO, 1, &[OTHER, ADDRESS]);
        assert_eq!(used, [OTHER]);
        assert!(warnings.len() == 1 && warnings[0].ends_with("the address is not used meanwhile"), "{warnings:?}");
        assert!(second.lacks(LinkId(1)) && !second.lacks(LinkId(0)));
        let due = second.deadline().unwrap();
        assert!(due > Instant::ZERO && second.is_due(due, LinkId(1)) && !second.is_due(Instant::ZERO, LinkId(1)));
        assert_eq!(follow(&mut second, due, 1, &[OTHER, ADDRESS]), (vec![OTHER], vec![]), "told once");
        // What the options name is kept while the machine does not have it.
        assert_eq!(follow(&mut first, due, 0, &[]), (vec![], vec![]));
        assert!(!follow(&mut second, due, 1, &[ADDRESS]).0.contains(&ADDRESS));
        drop(first);
        assert_eq!(follow(&mut second, due, 1, &[ADDRESS]), (vec![ADDRESS], vec![]));
        assert!(second.deadline().is_none() && !second.lacks(LinkId(1)));
        // The one that it has no more is free.
        scratch.start(&mut Claims::default(), 2, &[OTHER], &[]).unwrap();
    }

    #[test]
    fn links_of_one_process_share_an_address_until_the_last_leaves_it() {
        let scratch = Scratch::new("share");
        let mut claims = Claims::default();
        scratch.start(&mut claims, 0, &[], &[ADDRESS]).unwrap();
        scratch.start(&mut claims, 1, &[], &[ADDRESS]).unwrap();
        let is_free = || scratch.start(&mut Claims::default(), 2, &[ADDRESS], &[]).is_ok();
        follow(&mut claims, Instant::ZERO, 0, &[]);
        assert!(!is_free());
        follow(&mut claims, Instant::ZERO, 1, &[]);
        assert!(is_free());
    }

    #[test]
    fn a_lock_that_cannot_be_made_takes_no_address_from_a_running_link() {
        let scratch = Scratch::new("broken");
        let mut claims = Claims::default();
        scratch.start(&mut claims, 0, &[], &[]).unwrap();
        fs::create_dir_all(scratch.0.path().parent().unwrap()).unwrap();
        fs::write(scratch.0.path(), "no folder").unwrap();
        let (used, warnings) = follow(&mut claims, Instant::ZERO, 0, &[ADDRESS]);
        assert_eq!(used, [ADDRESS]);
        assert!(warnings.len() == 1 && warnings[0].ends_with("it is used all the same"), "{warnings:?}");
        assert!(!claims.lacks(LinkId(0)));
        scratch.start(&mut claims, 1, &[], &[ADDRESS]).unwrap_err();
    }
}

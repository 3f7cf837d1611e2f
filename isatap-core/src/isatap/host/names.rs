//! The names of potential routers, and what their addresses do to the list.

use core::net::Ipv4Addr;

use super::HostInterface;
use crate::capacity::Capacity;
use crate::error::TableFull;
use crate::interface::Context;
use crate::isatap::prl::EntryOrigin;
use crate::time::{Duration, Expiry};

/// The potential routers' names, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// All addresses of all names.
    pub addresses: &'a [Ipv4Addr],
    /// The smallest TTL of the records; `None` when they have none.
    pub ttl: Option<Duration>,
}

/// Why names were not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolveFailure {
    /// Nobody could be asked, or nobody answered: the old list is kept.
    Unavailable,
    /// The names have no address: entries that came from names are removed.
    NoSuchName,
}

/// Where the resolution of names stands. `ISA-22`, `ISA-24`
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) wanted: bool,
    pub(super) asked: bool,
    pub(super) refresh: Expiry,
    pub(super) failures: u8,
    /// TTL 0: resolve before each round. `ISA-22`
    pub(super) before_each_round: bool,
}

impl<C: Capacity> HostInterface<C> {
    /// The answer to [`Event::ResolveRouters`](crate::engine::Event::ResolveRouters).
    ///
    /// # Errors
    /// More addresses than the router list holds: as many as fit are used.
    pub fn routers_resolved(
        &mut self,
        cx: &mut Context<'_, C>,
        answer: Result<Resolved<'_>, ResolveFailure>,
    ) -> Result<(), TableFull> {
        self.names.asked = false;
        let mut result = Ok(());
        let addresses = match answer {
            Ok(answer) => {
                self.names.failures = 0;
                self.names.before_each_round = answer.ttl == Some(Duration::ZERO);
                // ISA-22 [RFC 5214 §8.3.2]
                let ttl = answer.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(Duration::MAX);
                self.names.refresh = Expiry::at(cx.now.saturating_add(ttl.min(self.config.refresh_interval)));
                answer.addresses
            }
            Err(failure) => {
                // ISA-24: what is known stays as long as nobody denies it.
                // Ask again after 10 s, 20 s, 40 s … at most the refresh interval.
                let wait = Duration::from_secs(10_u64.checked_shl(self.names.failures.into()).unwrap_or(u64::MAX));
                self.names.failures = self.names.failures.saturating_add(1).min(16);
                self.names.refresh = Expiry::at(cx.now.saturating_add(wait.min(self.config.refresh_interval)));
                if failure == ResolveFailure::Unavailable {
                    self.start_pending(cx.now);
                    return Ok(());
                }
                &[]
            }
        };
        // ISA-23, NAM-50: whole addresses are compared; entries in both keep all.
        for slot in 0..self.slots() {
            let gone = self.link.prl.row_mut(slot).is_some_and(|row| {
                row.is_listed() && row.origin == EntryOrigin::Resolved && !addresses.contains(&row.address())
            });
            if gone {
                self.retire(cx, slot);
            }
        }
        for &address in addresses {
            if let Err(full) = self.list(cx, address, EntryOrigin::Resolved) {
                result = Err(full);
            }
        }
        self.start_pending(cx.now);
        self.sync_addresses(cx.now);
        result
    }
}

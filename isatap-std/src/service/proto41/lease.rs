//! The 6rd domain of a customer edge, from the lease of a DHCPv4 client.

use super::Environment;
use crate::dhcp_lease::LeaseFile;
use crate::error::Error;
use crate::file_watch::FOLDER_WAIT;
use crate::spec::list;
use isatap_core::node::AnyInterface;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixrd::ConfigureError;
use isatap_core::time::Instant;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The prefix and IPv4MaskLen of the domain now, for who has the ends of the tunnel.
pub(super) type KnownDomain = Arc<Mutex<Option<(Ipv6Prefix, u8)>>>;

/// See the module.
#[derive(Debug)]
pub(super) struct DhcpDomain {
    file: LeaseFile,
    known: KnownDomain,
    /// When to look although nothing tells.
    look_at: Option<Instant>,
    /// Whether the lease is over and no other has come.
    is_over: bool,
}

impl DhcpDomain {
    /// Of a lease in this file, and of this device, where it is known.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub(super) fn open(path: &Path, device: Option<&str>) -> Result<Self, Error> {
        let file = LeaseFile::open(path, device).map_err(|error| Error::refused("watch", path.display(), error))?;
        Ok(Self { file, known: KnownDomain::default(), look_at: None, is_over: false })
    }

    pub(super) fn known(&self) -> KnownDomain {
        self.known.clone()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.file.ends().filter(|_| !self.is_over);
        self.look_at.into_iter().chain(end).min()
    }

    /// What it waits for, for people; `None`: there is a domain.
    pub(super) fn waiting(&self) -> Option<String> {
        let has_domain = self.file.lease().is_some_and(|lease| lease.option().is_some()) && !self.is_over;
        (!has_domain).then(|| format!("a 6rd domain (DHCPv4 option 212) in {}", self.file.path().display()))
    }

    /// How long the lease lasts. `S6R-8`
    pub(super) fn valid(&self, now: Instant) -> Option<Duration> {
        Some(self.file.ends()?.saturating_duration_since(now).into())
    }

    /// Tells the edge what the file says now; whether that is something else than before.
    /// `S6R-14`
    pub(super) fn follow(&mut self, env: &mut Environment<'_>) -> bool {
        let news = self.file.take_news(env.now);
        self.look_at = self.file.is_unwatched().then(|| env.now.saturating_add(FOLDER_WAIT));
        let was_over = std::mem::replace(&mut self.is_over, self.file.ends().is_some_and(|ends| ends <= env.now));
        if news.is_none() && self.is_over == was_over {
            return false;
        }
        let path = self.file.path().display().to_string();
        if let Some(Err(why)) = &news {
            // S6R-10
            env.warn(format!("{path}: {why}: it is not used"));
        }
        if self.is_over {
            env.warn(format!("the lease in {path} is over"));
        }
        let lease = self.file.lease().filter(|_| !self.is_over).cloned().unwrap_or_default();
        let option = lease.option();
        let domain = option.map(|option| (option.prefix(), option.ipv4_mask_len()));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = domain;
        let told = env.tell(|interface, cx| match (interface, &option) {
            (AnyInterface::SixRdEdge(edge), Some(option)) => {
                edge.set_enabled(cx, true)?;
                edge.configure_by_dhcp(cx, option)
            }
            (AnyInterface::SixRdEdge(edge), None) => Ok(edge.set_enabled(cx, false)?),
            _ => Ok::<(), ConfigureError>(()),
        });
        if let Some(Err(error)) = told {
            env.warn(format!("not all of {path} is used: {error}"));
        }
        match option {
            Some(option) => {
                let relays: Vec<Ipv4Addr> = option.relays().collect();
                env.info(format!(
                    "6rd prefix {} with {} common IPv4 bits, border relay {}, by {path}",
                    option.prefix(),
                    option.ipv4_mask_len(),
                    list(&relays)
                ));
            }
            None if lease.is_of_networkd() => env.warn(format!(
                "{path} has no 6rd domain, and systemd-networkd writes none down: have dhclient or udhcpc write the lease, \
                 write prefix and br instead of dhcp-lease, or let systemd-networkd make the tunnel by Use6RD=yes"
            )),
            None => env.warn(format!(
                "{path} has no 6rd domain: nothing is sent until a lease with DHCPv4 option 212 comes, for which the \
                 DHCP client has to ask"
            )),
        }
        true
    }
}

impl AsFd for DhcpDomain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

//! The other end of a configured tunnel, by its name.

use super::Environment;
use crate::error::Error;
use crate::resolve::Entry;
use crate::service::question::Question;
use isatap_core::node::AnyInterface;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The other end now, for who has the ends of the tunnel.
pub(super) type KnownRemote = Arc<Mutex<Option<Ipv4Addr>>>;

/// Between two lookups: names of machines whose address changes have short lifetimes.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct NamedRemote {
    names: Question,
    known: KnownRemote,
}

impl NamedRemote {
    /// `None`: it is given by address.
    ///
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn of(remote: &Entry) -> Result<Option<Self>, Error> {
        Ok(Question::of(remote)?.map(|names| Self { names, known: KnownRemote::default() }))
    }

    pub(super) fn names(&self) -> &Question {
        &self.names
    }

    pub(super) fn known(&self) -> KnownRemote {
        self.known.clone()
    }

    fn now(&self) -> Option<Ipv4Addr> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it waits for, for people; `None`: the end is known.
    pub(super) fn waiting(&self) -> Option<String> {
        self.now().is_none().then(|| format!("an IPv4 address of {}", self.names.names()))
    }

    pub(super) fn names_mut(&mut self) -> &mut Question {
        &mut self.names
    }

    pub(super) fn ask(&mut self, env: &Environment<'_>) {
        self.names.ask(&env.found.locators);
    }

    /// Takes an answer, and tells the tunnel of it; whether the other end is another. While the name
    /// brings nothing, the end that was known is kept.
    pub(super) fn take(&mut self, env: &mut Environment<'_>) -> bool {
        let Some((outcome, before)) = self.names.take(env.now) else { return false };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                let wait = self.names.ask_later(env.now).as_secs();
                if !matches!(before, Some(Err(before)) if before == failure) {
                    let names = self.names.names();
                    env.warn(format!("no other end by name: {names}: {failure}; it is looked up again in {wait} s"));
                }
                return false;
            }
        };
        self.names.ask_in(env.now, answer.ttl.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST));
        // Of several any will do, so the one in use stays.
        let known = self.now();
        let remote = known.filter(|known| answer.addresses.contains(known)).or(answer.addresses.first().copied());
        if remote == known {
            return false;
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = remote;
        let told = env.tell(|interface, cx| match interface {
            AnyInterface::Configured(tunnel) => tunnel.set_remote(cx, remote),
            _ => Ok(()),
        });
        if let Some(Err(full)) = told {
            env.warn(format!("not all of the tunnel is used: {full}"));
        }
        if let Some(remote) = remote {
            env.info(format!("the other end is {remote}, by {}", self.names.names()));
        }
        true
    }
}

impl AsFd for NamedRemote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.names.as_fd()
    }
}

//! The update URL of a tunnel broker, called when the tunnel's IPv4 address changes.
//!
//! Brokers speak the protocol of dynamic DNS, "dyndns2": a GET with a user name and a password,
//! answered by a word such as `good 192.0.2.1`. No RFC has it; [`answer`] lists the words. A thread of
//! its own calls, so that no loop waits: by IPv4 and from the tunnel's address, since brokers look at
//! where a call comes from, and by the device that the tunnel is bound to. It has no right to mark packets:
//! a call leaves without the tunnel's mark.
//!
//! A broker locks out who calls too often, or goes on with a wrong password. So a call follows the
//! last one after 10 seconds at the earliest; one that failed is repeated after 10 seconds to 30
//! minutes, one that will mostly be the same after 30 minutes to a day; one that the broker refused is
//! not, until the URL or the login is another or a person asks. Another address waits no less, nor does a
//! link that a reload changes otherwise: see [`calls`].
//!
//! # Security limits
//!
//! The file with the password is read at the start and at a reload; it is never printed. Over `http` it
//! can be read on the way. The name of the broker is looked up in the DNS, which proves nothing:
//! over `https` its certificate does.

#[cfg(not(feature = "update-url"))]
mod absent;
#[cfg(feature = "update-url")]
mod answer;
#[cfg(feature = "update-url")]
mod calls;
#[cfg(feature = "update-url")]
mod http;
mod login;
#[cfg(feature = "update-url")]
mod mask;
#[cfg(feature = "update-url")]
mod schedule;

#[cfg(not(feature = "update-url"))]
pub(crate) use self::absent::{Calls, Updater};
#[cfg(feature = "update-url")]
pub(crate) use self::calls::{Calls, Updater};
pub(crate) use self::login::Credentials;

use crate::told::Failure;
use std::net::Ipv4Addr;
use std::time::Instant;

/// How the calls went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The address that the broker took last.
    pub(crate) address: Option<Ipv4Addr>,
    /// What it answered then.
    pub(crate) answer: Option<String>,
    pub(crate) answered: Option<Instant>,
    /// Why the last call failed; `None`: it did not.
    pub(crate) failure: Option<Failure>,
    /// When it is called again; `None`: when something changes.
    pub(crate) again: Option<Instant>,
}

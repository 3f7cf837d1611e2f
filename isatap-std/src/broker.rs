//! The update URL of a tunnel broker, called when the tunnel's IPv4 address changes.
//!
//! Brokers speak the protocol of dynamic DNS, "dyndns2": a GET with a user name and a password,
//! answered by a word such as `good 192.0.2.1`. No RFC has it; [`answer`] lists the words. A thread of
//! its own calls, so that no loop waits: by IPv4 and from the tunnel's address, since brokers look at
//! where a call comes from.
//!
//! A broker locks out who calls too often, or goes on with a wrong password. So a call follows the
//! last one after 10 seconds at the earliest; one that failed is repeated after 10 seconds to 30
//! minutes, one that will mostly be the same after 30 minutes to a day; one that the broker refused is
//! not, until something else is configured or a person asks. Another address waits no less.
//!
//! # Security limits
//!
//! The file with the password is read at the start and at a reload; it is never printed. Over `http` it
//! can be read on the way. The name of the broker is looked up in the DNS, which proves nothing:
//! over `https` its certificate does.

#[cfg(feature = "update-url")]
mod answer;
#[cfg(feature = "update-url")]
mod http;
mod login;
#[cfg(feature = "update-url")]
mod mask;
#[cfg(feature = "update-url")]
mod schedule;
#[cfg(feature = "update-url")]
mod worker;

pub(crate) use self::login::Credentials;

use crate::error::Error;
use crate::spec::UpdateUrl;
use crate::told::Told;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    pub(crate) failure: Option<String>,
    /// When it is called again; `None`: when something changes.
    pub(crate) again: Option<Instant>,
}

/// What the thread is told.
#[cfg_attr(not(feature = "update-url"), expect(dead_code, reason = "nobody calls"))]
#[derive(Clone, Copy, Debug)]
enum Order {
    /// The tunnel has this address; `None`: none.
    Follow(Option<Ipv4Addr>),
    /// A person wants a call.
    Ask,
    /// Whether the other end of the tunnel is silent: it may send to another address.
    Silent(bool),
}

/// Calls the URL of one tunnel, until it is dropped.
#[derive(Debug)]
pub(crate) struct Updater {
    host: String,
    follows_silence: bool,
    orders: Sender<Order>,
    /// The thread tells nobody any more when this is gone.
    state: Arc<Mutex<State>>,
}

impl Updater {
    /// Reads the system's certificates, where no others are given, and starts the thread.
    ///
    /// # Errors
    ///
    /// A usage error for certificates that cannot be used, or a program that was built without a client
    /// of HTTP.
    pub(crate) fn start(
        url: &UpdateUrl,
        credentials: &Credentials,
        tell: impl FnMut(Told) + Send + 'static,
    ) -> Result<Self, Error> {
        let (orders, received) = channel();
        let state = Arc::new(Mutex::new(State::default()));
        #[cfg(feature = "update-url")]
        worker::start(url, credentials, received, &state, Box::new(tell))?;
        #[cfg(not(feature = "update-url"))]
        drop((credentials, received, tell));
        Ok(Self { host: url.host().to_string(), follows_silence: !url.has_address(), orders, state })
    }

    /// The server that is called.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The tunnel's IPv4 address now.
    pub(crate) fn follow(&self, address: Option<Ipv4Addr>) {
        self.order(Order::Follow(address));
    }

    /// Calls although nothing has changed.
    pub(crate) fn ask(&self) {
        self.order(Order::Ask);
    }

    /// Whether the other end is silent. Whose NAT has another public address learns it no other way.
    pub(crate) fn other_end(&self, is_silent: bool) {
        if self.follows_silence {
            self.order(Order::Silent(is_silent));
        }
    }

    fn order(&self, order: Order) {
        // A thread that has ended has told why.
        let _ = self.orders.send(order);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

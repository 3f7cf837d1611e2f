//! What a tunnel broker says.

use crate::broker::Updater;
use std::net::Ipv4Addr;
use std::time::Instant;

/// How the calls of a tunnel broker's update URL went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct UpdateStatus {
    /// The server of the URL.
    pub host: String,
    /// The IPv4 address for which the broker was called last and agreed; absent: it has not.
    pub address: Option<Ipv4Addr>,
    /// What it answered then.
    pub answer: Option<String>,
    /// Seconds since then.
    pub answered: Option<u64>,
    /// Why the last call failed; absent: it did not.
    pub failure: Option<String>,
    /// The fix.
    #[cfg_attr(feature = "control", serde(default))]
    pub fix: Option<String>,
    /// Seconds until it is called again; absent: it is when something changes or asks for it.
    pub again: Option<u64>,
}

impl UpdateStatus {
    pub(in crate::service) fn of(updater: &Updater) -> Self {
        let state = updater.state();
        Self {
            host: updater.host().to_owned(),
            address: state.address,
            answer: state.answer,
            answered: state.answered.map(|at| at.elapsed().as_secs()),
            fix: state.failure.as_ref().map(|failure| failure.fix.clone()),
            failure: state.failure.map(|failure| failure.cause),
            again: state.again.map(|at| at.saturating_duration_since(Instant::now()).as_secs()),
        }
    }
}

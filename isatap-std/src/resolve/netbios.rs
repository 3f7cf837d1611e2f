//! NetBIOS names over IPv4: names, messages, the cache, and asking for a name \[RFC 1001, 1002\].
//!
//! Only the name service is spoken, at UDP port 137, and of it only what a router's name needs.
//! Nothing in it is authenticated: whoever sees a broadcast can answer it.

mod cache;
#[cfg(target_os = "linux")]
mod claim;
mod message;
mod name;
#[cfg(target_os = "linux")]
mod query;

#[cfg(target_os = "linux")]
use std::time::Duration;

pub(super) use self::cache::Cache;
#[cfg(target_os = "linux")]
pub(super) use self::claim::{Claim, Saying, Verdict};
pub use self::message::{Reply, query, reply};
pub use self::name::NetbiosName;
#[cfg(target_os = "linux")]
pub(super) use self::query::{ask_broadcast, ask_wins};

/// The port of the name service, at both ends of registrations and at the answering end of queries.
pub(super) const PORT: u16 = 137;

/// RFC 1002 §6: how often a server is asked, and how long it has each time.
#[cfg(target_os = "linux")]
pub(super) const SERVER_TRIES: u8 = 3;
#[cfg(target_os = "linux")]
pub(super) const SERVER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for everybody on a link.
#[cfg(target_os = "linux")]
pub(super) const LINK_TRIES: u8 = 3;
#[cfg(target_os = "linux")]
pub(super) const LINK_TIMEOUT: Duration = Duration::from_millis(250);
/// A server that asks for more time gets no more than this (NAM-62).
#[cfg(target_os = "linux")]
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

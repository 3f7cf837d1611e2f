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

pub(super) use self::cache::Cache;
#[cfg(target_os = "linux")]
pub(super) use self::claim::{Claim, Saying, Verdict};
pub use self::message::{Reply, query, reply};
pub use self::name::NetbiosName;
#[cfg(target_os = "linux")]
pub(super) use self::query::{ask_broadcast, ask_wins};

/// The port of the name service, at both ends of registrations and at the answering end of queries.
pub(super) const PORT: u16 = 137;
